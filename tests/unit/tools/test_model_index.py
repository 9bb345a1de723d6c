"""Files that are written from the configs: the lists of models that OpenMMLab's tools read, and the page of the zoo."""
from importlib.util import module_from_spec, spec_from_file_location

from ghostdet.packaged_configs import packaged_configs
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
    assert all(f'`{name}`' in zoo.page() for name in packaged_configs())
