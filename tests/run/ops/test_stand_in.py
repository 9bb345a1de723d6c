"""What `import ghostdet` does to mmcv: where it has operators nothing, where it has none it supplies ours."""
import json
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import mmcv
import mmcv.ops
import pytest
import torch

from ghostdet import ops
from ghostdet.ops import stand_in
from tests.conftest import nightly

MMCV = Path(mmcv.__file__).parent


def python(code, *path):
    """Run `code` in a process that looks for packages in `path` first."""
    return subprocess.run([sys.executable, '-c',
                           f'import sys; sys.path[:0] = {[str(folder) for folder in path]!r}\n{code}'],
                          capture_output=True, text=True)


@pytest.fixture
def other_mmcv(tmp_path):
    """mmcv once more, to add an extension to."""
    package = tmp_path / 'mmcv'
    package.mkdir()
    for entry in MMCV.iterdir():
        if not entry.name.startswith('_ext'):
            (package / entry.name).symlink_to(entry)
    return package


def test_mmcv_without_operators_gets_ours():
    assert isinstance(sys.modules['mmcv._ext'], stand_in.StandIn)
    assert find_spec('mmcv._ext').loader  # by which mmengine and mmcv ask whether there are operators
    assert ops.origin().startswith(f'torchvision {version("torchvision")}, through ghostdet.ops')
    assert mmcv.ops.get_compiling_cuda_version() == (torch.version.cuda or 'not available')
    assert 'ghostdet.ops' in mmcv.ops.get_compiler_version()


def test_compiled_operators_are_not_touched(other_mmcv):
    (other_mmcv / '_ext.py').write_text('def __getattr__(name):\n'
                                        '    if name[0] == "_": raise AttributeError\n'
                                        '    return lambda: "own"\n')
    result = python('import ghostdet, mmcv._ext; print(mmcv._ext.nms(), ghostdet.ops.origin())', other_mmcv.parent)
    assert result.stdout.endswith('own mmcv, compiled\n'), result.stderr


def test_operators_that_do_not_load_raise_their_own_error(other_mmcv):
    (other_mmcv / '_ext.cpython-3-any.so').touch()
    (other_mmcv / '_ext.abi3.so').write_bytes(b'compiled for another torch')
    result = python('import ghostdet; from mmdet.registry import MODELS; MODELS.get("GhostNet")', other_mmcv.parent)
    assert 'ImportError' in result.stderr
    assert f'{other_mmcv}/_ext.abi3.so' in result.stderr
    assert 'ghostdet.ops' not in result.stderr


def test_other_operators_raise_when_they_are_called():
    with pytest.raises(NotImplementedError, match='ball_query_forward') as caught:
        mmcv.ops.ball_query(0, 1, 2, torch.zeros(1, 4, 3), torch.zeros(1, 2, 3))
    assert f'onedl-mmcv=={version("onedl-mmcv")}' in str(caught.value)
    assert '--no-build-isolation' in str(caught.value)
    for name in stand_in.PROVIDED:
        assert callable(getattr(sys.modules['mmcv._ext'], name))
    with pytest.raises(AttributeError, match='__wrapped__'):
        _ = sys.modules['mmcv._ext'].__wrapped__


@pytest.mark.parametrize('first', ['mmdet.models', *nightly('mmdet.apis')])
def test_mmdet_imported_before_gets_operators_too(first):
    '''Without operators `mmdet.apis` is imported with functions that only raise, and `mmdet.models` fails half-way.'''
    result = python(f'''
import importlib, sys
try:
    importlib.import_module({first!r})
except ModuleNotFoundError as error:
    assert error.name == 'mmcv._ext'
assert 'mmcv._ext' not in sys.modules
import ghostdet, mmcv.ops, mmdet.models, mmdet.structures.mask.structures as masks
from mmdet.models.layers import bbox_nms
from mmdet.models.losses import focal_loss
from mmdet.models.dense_heads import corner_head
assert masks.roi_align is mmcv.ops.roi_align
assert bbox_nms.batched_nms is mmcv.ops.batched_nms
assert focal_loss._sigmoid_focal_loss is mmcv.ops.sigmoid_focal_loss
assert corner_head.CornerPool is mmcv.ops.CornerPool
assert mmdet.structures.bbox.bbox_overlaps.__module__ == 'mmdet.structures.bbox.bbox_overlaps'
for name, module in list(sys.modules.items()):
    if name.startswith('mmdet.'):
        for key, value in vars(module).items():
            known = key in ('ConcatCell', 'GlobalPoolingCell', 'SumCell')
            assert known or not ghostdet.ops._only_raises(value), (name, key)
''')
    assert result.returncode == 0, result.stderr


def test_torchvision_of_another_build_is_told_with_the_cure(tmp_path):
    (tmp_path / 'torchvision').mkdir()
    (tmp_path / 'torchvision/__init__.py').write_text('raise RuntimeError("operator torchvision::nms does not exist")')
    result = python('import ghostdet; from mmdet.registry import MODELS; MODELS.get("GhostNet")', tmp_path)
    assert 'pip install --force-reinstall torch==' in result.stderr
    assert 'torchvision::nms does not exist' in result.stderr.splitlines()[-1]

IMPORT_ALL = '''
import importlib, json, pkgutil, sys
import ghostdet, mmdet
failed = []
for module in pkgutil.walk_packages(mmdet.__path__, 'mmdet.'):
    try:
        importlib.import_module(module.name)
    except Exception as error:
        failed.append(f'{module.name}: {error}')
print(json.dumps([sum(name.startswith('mmdet.') for name in sys.modules), failed]))
'''


@pytest.mark.nightly
def test_all_of_mmdet_that_imports_with_compiled_operators_imports():
    count, failed = json.loads(python(IMPORT_ALL).stdout.splitlines()[-1])
    assert failed == ["mmdet.datasets.onedl: No module named 'loguru'",
                      "mmdet.datasets.transforms.loading_onedl: No module named 'onedl'"]  # as with compiled operators
    assert count > 500
