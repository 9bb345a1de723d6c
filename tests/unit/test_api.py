"""The Python API: what a script or a notebook calls."""
import pytest

import ghostdet
from ghostdet.errors import UserError
from ghostdet.messages import LOGGER
from tests.conftest import MINI


@pytest.mark.parametrize('call', [
    lambda: ghostdet.train('none.py'), lambda: ghostdet.train(), lambda: ghostdet.evaluate('none.pth', config=MINI),
    lambda: ghostdet.export('none.pth', 'out.txt'), lambda: ghostdet.export('none.pth', 'out.onnx', config=MINI),
    lambda: ghostdet.export('none.pth', None),
    lambda: ghostdet.export('none.pth', 'out.onnx', precision='fp16'),
    *(lambda shape=shape: ghostdet.export('none.pth', 'out.onnx', shape=shape)
      for shape in (320, (320,), ('320', '320'), (320.5, 320), (0, 320))),
    lambda: ghostdet.train(MINI, resume=1), lambda: ghostdet.train(MINI, data_root=3),
    lambda: ghostdet.train(dict(a=1)), lambda: ghostdet.train(MINI, load_from='a.pth', from_scratch=True),
    lambda: ghostdet.train(MINI, cfg_options={'val_dataloader': None})])
def test_what_is_wrong_is_raised(call, tmp_path, monkeypatch):
    """In words for Python, where no command has called `show_messages`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LOGGER, 'handlers', [])
    with pytest.raises(UserError) as raised:
        call()
    assert '--' not in str(raised.value)
