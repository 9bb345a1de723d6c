"""Files that are written from the configs: the lists of models that OpenMMLab's tools read, and the page of the zoo."""
import pytest

from tests.unit.tools.test_model_index import loaded


@pytest.mark.nightly  # and in CI
def test_they_are_those_of_the_configs():
    for file, content in loaded('model_index').files().items():
        assert file.read_text() == content, f'{file} is not that of the configs: run python tools/model_index.py'
