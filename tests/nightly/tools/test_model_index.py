"""Files that are written from the configs: the lists of models that OpenMMLab's tools read, and the page of the zoo."""
from importlib.util import module_from_spec, spec_from_file_location

from tests.conftest import ROOT


def loaded(name):
    """A module of tools/."""
    spec = spec_from_file_location(name, ROOT / f'tools/{name}.py')
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_they_are_those_of_the_configs():
    for file, content in loaded('model_index').files().items():
        assert file.read_text() == content, f'{file} is not that of the configs: run python tools/model_index.py'
