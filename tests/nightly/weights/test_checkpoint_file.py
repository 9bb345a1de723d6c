"""Safe loading for a whole process."""
import sys

from tests import hostile
from tests.conftest import made_by

GUEST = '''
import ghostdet
from mmdet.registry import MODELS
from mmengine.model import Sequential
from mmengine.model.weight_init import PretrainedInit
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner.checkpoint import CheckpointLoader
from torch.nn import Linear
MODELS.get('GhostNet')
own = {prefix for prefix, loader in CheckpointLoader._schemes.items() if loader.__module__.startswith('ghostdet')}
assert own == {'ghostdet://'}, own
assert WEIGHT_INITIALIZERS.get('Pretrained') is PretrainedInit
'''


def test_importing_replaces_nothing_of_mmengine_and_safe_loading_can_be_switched_on(tmp_path):
    """In a process of its own: what this one has switched on stays on."""
    file, marker = tmp_path / 'hostile.pth', tmp_path / 'marker'
    hostile.torch_file(file, marker)
    switched_on = f'''
ghostdet.enable_safe_loading()
for read in (lambda: CheckpointLoader.load_checkpoint({str(file)!r}),
             Sequential(Linear(1, 1), init_cfg=dict(type='Pretrained', checkpoint={str(file)!r})).init_weights):
    try:
        read()
    except Exception as error:
        assert type(error).__name__ == 'UnsafeFileError', repr(error)
    else:
        raise AssertionError('it was read')
'''
    made_by(sys.executable, '-c', GUEST + switched_on)
    assert not marker.exists()
