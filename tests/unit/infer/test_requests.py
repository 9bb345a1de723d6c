"""The number of requests of an opened file."""
import pytest

from ghostdet.errors import UserError
from ghostdet.infer.sessions import open_session


@pytest.mark.parametrize('name', ['d.onnx', 'd.xml', 'd.ncnn.param'])
def test_a_file_without_requests_would_wait_forever(name, tmp_path):
    for part in (name, 'd.bin', 'd.ncnn.bin', 'd.ncnn.json'):
        (tmp_path / part).touch()
    with pytest.raises(UserError, match='0 requests: expected at least 1'):
        open_session(tmp_path / name, requests=0)
