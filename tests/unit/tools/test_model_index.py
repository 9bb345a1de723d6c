"""Files that are written from the configs: the lists of models that OpenMMLab's tools read, and the page of the zoo."""
from importlib.util import module_from_spec, spec_from_file_location

from tests.conftest import ROOT


def loaded(name):
    """A module of tools/."""
    spec = spec_from_file_location(name, ROOT / f'tools/{name}.py')
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_zoo_is_that_of_the_configs():
    zoo = loaded('model_zoo')
    assert zoo.PAGE.read_text() == zoo.page(), 'run python tools/model_zoo.py'
    assert zoo.page().count('| not run |') == len(list((ROOT / 'configs').glob('*_coco*.py'))) - 1  # all but COCO128's
