"""The lists of models that OpenMMLab's tools read."""
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_they_are_those_of_the_configs():
    spec = spec_from_file_location('model_index', ROOT / 'tools/model_index.py')
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    for file, content in module.files().items():
        assert file.read_text() == content, f'{file} is not that of the configs: run python tools/model_index.py'
