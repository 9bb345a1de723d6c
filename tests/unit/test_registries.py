"""Which module each registry imports."""
import ast

import pytest
from mmengine.runner.checkpoint import CheckpointLoader

from ghostdet import registries
from ghostdet.errors import UserError
from tests.conftest import ROOT

PACKAGE = ROOT / 'ghostdet'


def test_modules_are_all_that_register_a_name():
    found = {kind: set() for kind in registries.MODULES}
    for file in PACKAGE.rglob('*.py'):
        for node in ast.parse(file.read_text()).body:
            for decorator in getattr(node, 'decorator_list', ()):
                registry, _, method = ast.unparse(decorator).partition('.')
                if method.startswith('register_module(') and registry != 'CHEAP':  # ghostdet.models.cheap's own
                    found[registry].add('.'.join(file.relative_to(PACKAGE).with_suffix('').parts))
    assert {kind: sorted(modules) for kind, modules in found.items()} == {
        kind: sorted(modules) for kind, modules in registries.MODULES.items()}


def test_scheme_is_read_by_our_loader():
    assert CheckpointLoader._schemes['ghostdet://'] is registries.load_from_ghostdet
    with pytest.raises(UserError, match='ghostnet_9x'):
        CheckpointLoader.load_checkpoint('ghostdet://ghostnet_9x')
