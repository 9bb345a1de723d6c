"""Rooms, and the arrows between them: imports run one way, from the commands down to the table of the architecture."""
import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT, nightly
from tests.other_environments import LOOK_UP, ROOMS

PACKAGE = ROOT / 'ghostdet'


def test_the_runtime_needs_no_training_stack():
    """Nor what other systems have not; prediction neither."""
    light = [file for room in ('images', 'infer') for file in sorted((PACKAGE / room).glob('*.py'))]
    heavy = ('__init__', 'checkpoint', 'page')
    modules = [f'ghostdet.{file.parent.name}.{file.stem}' for file in light if file.stem not in heavy]
    modules += ['ghostdet.cli.predict']
    assert len(modules) > 12
    result = python(HIDE_MMDET + f'''
import sys
for name in ('torch', 'mmengine', 'mmcv', 'mmdet', 'fcntl'):
    sys.modules[name] = None  # import raises
import {', '.join(modules)}
''')
    assert result.returncode == 0, result.stderr


def python(code):
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)

HIDE_MMDET = '''
import sys
sys.modules['mmdet'] = None  # import raises
'''


def test_without_the_stack_it_imports_and_names_the_extra():
    result = python(HIDE_MMDET + 'import ghostdet\nassert "torch" not in sys.modules\nghostdet.GhostNet')
    assert result.returncode == 1
    assert 'PackageError: ghostdet.GhostNet needs mmdet, which is not installed' in result.stderr
    assert '[train]' in result.stderr

LIGHT = '''
import sys, time
start = time.perf_counter()
import ghostdet
seconds = time.perf_counter() - start
loaded = {"torch", "mmdet", "mmengine", "mmcv", "cv2", "numpy", "ghostdet.models"} & set(sys.modules)
assert not loaded, loaded
assert set(ghostdet.__all__) <= set(dir(ghostdet))
'''


def test_the_import_is_light():
    """The time itself is in no test: machines differ. `python -X importtime -c "import ghostdet"` shows it."""
    result = python(LIGHT + 'assert ghostdet.GhostNet.__name__ == "GhostNet" and "torch" in sys.modules')
    assert result.returncode == 0, result.stderr

AS_IF_COMPILED = '''
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
class Operators(ModuleType):
    __spec__ = ModuleSpec('mmcv._ext', None)
    def __getattr__(self, name):
        if name.startswith('_'):
            raise AttributeError(name)
        return print
sys.modules['mmcv._ext'] = Operators('mmcv._ext')
'''


@pytest.mark.parametrize('before', [
    'import mmdet.models, mmengine.runner',
    *nightly('', 'from mmdet.registry import MODELS, HOOKS; MODELS.get("RetinaNet"); HOOKS.get("EMAHook")')])
def test_names_are_known_whatever_was_imported_before(before):
    """In mmengine's own registries too, and the scheme with them."""
    result = python(AS_IF_COMPILED + before + '''
import ghostdet
from mmengine.registry import HOOKS, MODELS as ROOT
from mmdet.registry import MODELS, TRANSFORMS
from mmengine.registry import FUNCTIONS
assert MODELS.build(dict(type='GhostNet', width=0.5)).out_strides == (4, 8, 16, 32)
assert ROOT.get('mmdet.GhostNet') is ghostdet.GhostNet
assert TRANSFORMS.get('LoadWholeImage') and HOOKS.get('WholeCheckpointHook') and FUNCTIONS.get('start_worker')
from mmengine.runner.checkpoint import CheckpointLoader
assert 'ghostdet://' in CheckpointLoader._schemes
''')
    assert result.returncode == 0, result.stderr


def test_a_look_up_of_a_model_imports_the_models_alone():
    result = python(LOOK_UP)
    assert result.returncode == 0, result.stderr
    rooms, ours, _ = json.loads(result.stdout.splitlines()[-1])
    assert set(rooms) == ROOMS
    assert not ours


def test_a_broken_stack_raises_its_own_error(tmp_path):
    (tmp_path / 'mmdet').mkdir()
    (tmp_path / 'mmdet/__init__.py').write_text('raise RuntimeError("mmdet is broken in its own way")')
    result = python(f'import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport ghostdet; ghostdet.GhostNet')
    assert 'RuntimeError: mmdet is broken in its own way' in result.stderr
