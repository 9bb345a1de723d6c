"""Environments of other people: the packages of each, made by uv, with the wheel of this project and no extra."""
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, copy_of_project, made_by, made_once

PINS = ('-c', ROOT / 'constraints.txt')
OPENCV = 'opencv-python-headless<4.12'  # needs no libraries of a desktop
# Name -> the Python to look for, and what uv installs.
ENVIRONMENTS = dict(
    openmmlab=('3.11', 'torch==2.4.1', 'mmengine==0.10.7', 'mmcv-lite==2.1.0', 'mmdet==3.3.0', 'numpy<2',
               'setuptools<81', 'torchvision', OPENCV),
    oldest=('>=3.10,<3.12', 'torch==2.1.0', 'torchvision==0.16.0', 'mmengine==0.10.0', 'mmcv-lite==2.0.1',
            'mmdet==3.1.0', 'numpy<2', 'setuptools<81', OPENCV),
    # without mmpretrain and safetensors
    onedl=(sys.executable, 'torch', 'torchvision', 'onedl-mmengine', 'onedl-mmcv',
           'onedl-mmdetection', *PINS),
    # programs that import labels; of CVAT, the library that it reads data sets with
    labelling=(sys.executable, 'datumaro', 'label-studio-sdk', 'labelme', 'supervision'),
    tracking=(sys.executable, 'supervision', 'trackers', OPENCV),
    ray=(sys.executable, 'ray[data]', 'openvino', 'pillow', OPENCV))


def environment(name, tmp_path_factory):
    """Python of an environment; made once in a test run, with links into uv's cache."""
    def make(folder):
        version, *packages = ENVIRONMENTS[name]
        uv('venv', '-q', '--python', version, folder / 'venv')
        uv('pip', 'install', '-q', '--python', folder / 'venv', *packages, wheel(tmp_path_factory))
    return made_once(tmp_path_factory, f'environment-{name}', make) / 'venv/bin/python'


def wheel(tmp_path_factory):
    def build(folder):
        copy_of_project(folder / 'source')
        made_by(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', folder,
                folder / 'source')
    file, = made_once(tmp_path_factory, 'wheel-to-install', build).glob('*.whl')
    return file


def uv(*arguments):
    """Run uv with pip's index, as the set-up does. In the clone: its pyproject.toml leaves opencv-python out."""
    program = shutil.which('uv') or shutil.which('uv', path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip('uv is not installed')
    spec = importlib.util.spec_from_file_location('setup_env', ROOT / 'tools/setup_env.py')
    setup_env = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(setup_env)
    result = subprocess.run([program, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True,
                            env=dict(setup_env.environment(), UV_PYTHON_DOWNLOADS='never'))
    if 'No interpreter found' in result.stderr:
        pytest.skip(result.stderr)
    assert result.returncode == 0, result.stderr[-2000:]


# Prints the rooms of ghostdet that a look-up imported, our imports of what we do without, and mmdet's folder.
LOOK_UP = '''
import builtins, json, sys
FOREIGN = ('cv2', 'PIL', 'mmpretrain', 'safetensors', 'pycocotools')
ours, import_module = [], builtins.__import__
def watched(name, globals=None, *more, **named):
    if name.partition('.')[0] in FOREIGN and (globals or {}).get('__name__', '').startswith('ghostdet'):
        ours.append([globals['__name__'], name])
    return import_module(name, globals, *more, **named)
builtins.__import__ = watched
import ghostdet
from mmdet.registry import MODELS
assert MODELS.get('GhostNet').__module__ == 'ghostdet.models.backbones.ghostnet'
names = ('GhostNet', 'GhostNetV2', 'GhostNetV3', 'RepGhostNet', 'GhostPAN', 'NanoDetPlus', 'NanoDetPlusHead',
         'NanoDetPlusAuxHead', 'GhostConv', 'TruncatedMobileNetV2', 'TruncatedMobileNetV3', 'TruncatedShuffleNetV2')
assert all(map(MODELS.get, names)), [name for name in names if MODELS.get(name) is None]
rooms = {name.split('.')[1] for name in sys.modules if name.startswith('ghostdet.')}
import mmdet
print(json.dumps([sorted(rooms), ours, mmdet.__path__[0]]))
'''
ROOMS = {'errors', 'models', 'ops', 'packages', 'registries'}

# Forward and backward; with_cp, which computes again; and mmpretrain, which is missing.
STEPS = '''
import torch
import ghostdet
from ghostdet.errors import PackageError
from ghostdet.packaged_configs import find_config
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
init_default_scope('mmdet')
image = torch.randn(2, 3, 64, 64)
for kind in ('GhostNet', 'GhostNetV2', 'GhostNetV3', 'RepGhostNet'):
    network = MODELS.build(dict(type=kind, width=0.5))
    network.init_weights()
    outputs = network(image)
    assert [tuple(map.shape[1:]) for map in outputs] == [
        (channels, 64 // stride, 64 // stride) for channels, stride in zip(network.out_channels, network.out_strides)]
    sum(map.sum() for map in outputs).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
network = MODELS.build(dict(type='GhostNet', width=0.5))
torch.save(network.state_dict(), 'published.pth')
loaded = MODELS.build(dict(type='GhostNet', width=0.5, init_cfg=dict(type='Pretrained', checkpoint='published.pth')))
loaded.init_weights()
assert all(map(torch.equal, loaded.state_dict().values(), network.state_dict().values()))
if torch.__version__ >= (2, 4):  # a checkpoint of a run
    from mmengine.logging import HistoryBuffer
    state = {f'backbone.{name}': value for name, value in network.state_dict().items()}
    torch.save(dict(state_dict=state, message_hub=dict(log_scalars=dict(loss=HistoryBuffer([1.], [1])))), 'run.pth')
    loaded = MODELS.build(dict(type='GhostNet', width=0.5, init_cfg=dict(type='Pretrained', checkpoint='run.pth')))
    loaded.init_weights()
    assert all(map(torch.equal, loaded.state_dict().values(), network.state_dict().values()))
again = MODELS.build(dict(type='GhostNet', width=0.5, with_cp=True))
again.load_state_dict(network.state_dict())
for one in (network.double(), again.double()):
    sum(map.square().mean() for map in one(image.double())).backward()
for first, second in zip(network.parameters(), again.parameters()):
    torch.testing.assert_close(first.grad, second.grad)
with torch.autocast('cpu', dtype=torch.bfloat16):
    sum(map.sum() for map in again.float()(image)).backward()
network.float()
pan = MODELS.build(dict(type='GhostPAN', in_channels=list(network.out_channels[1:]), out_channels=32))
assert len(pan(network(image)[1:])) == 4
resnet = MODELS.build(dict(type='ResNet', depth=18, norm_eval=False))
ghostdet.ghostify(resnet)
assert any(isinstance(layer, ghostdet.GhostConv) for layer in resnet.modules())
assert resnet(image)[-1].shape == (2, 512, 2, 2)
assert MODELS.build(dict(type='TruncatedMobileNetV2', out_indices=(1, 2, 4, 6)))(image)
config = Config.fromfile(find_config('nanodet-plus_ghostnet_1.0x_416_coco'))
config.model.backbone.init_cfg = None
detector = MODELS.build(config.model)
truth = InstanceData(bboxes=torch.tensor([[4., 4., 40., 40.]]), labels=torch.tensor([1]))
losses = detector.loss(image, [DetDataSample(gt_instances=truth, metainfo=dict(img_shape=(64, 64)))] * 2)
assert losses and all(loss.isfinite() for loss in losses.values()), losses
try:
    MODELS.build(dict(type='TruncatedMobileNetV3', arch='large', out_indices=(3, 6, 12, 15)))
except PackageError as error:
    assert 'needs mmpretrain' in str(error) and 'pip install "ghostdet[train]"' in str(error), error
else:
    raise AssertionError('mmpretrain is installed')
'''

# mmdet's RetinaNet with our backbone: 20 steps, 2 images each. `start_worker` comes from our part of FUNCTIONS.
CONFIG = '''
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['ghostdet'])
model = dict(backbone=dict(_delete_=True, type='GhostNet', width=0.5),
             neck=dict(in_channels={channels}), bbox_head=dict(num_classes=3), test_cfg=dict(score_thr=0))
size = dict(type='Resize', scale=(64, 64))
train = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True), size,
         dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
test = [dict(type='LoadImageFromFile'), size, dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
metainfo = dict(classes=('disc', 'square', 'triangle'))
root = {shapes!r}
train_dataloader = dict(batch_size=2, num_workers=1, worker_init_fn=dict(type='start_worker'), dataset=dict(
    data_root=root, ann_file='annotations/instances_train2017.json', metainfo=metainfo, pipeline=train))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    data_root=root, ann_file='annotations/instances_val2017.json', metainfo=metainfo, pipeline=test))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=root + '/annotations/instances_val2017.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=5, val_interval=5)
'''

INFER = '''
import sys
import ghostdet  # before mmdet.apis, which needs the operators that mmcv-lite has not
from mmdet.apis import DetInferencer
config, weights, image = sys.argv[1:]
found, = DetInferencer(model=config, weights=weights, device='cpu')(image)['predictions']
assert len(found['bboxes']) == len(found['scores']) > 0, found
'''


def without_clone():
    """The variables of this process, without the way to the clone."""
    return {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}


def use(python, shapes, folder):
    """Look names up, take steps, train 20 steps with mmdet's own program, and predict with mmdet's own inferencer."""
    from ghostdet import GhostNet

    def run(*command):
        result = subprocess.run([str(part) for part in (python, *command)], cwd=folder, env=without_clone(),
                                capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout
    rooms, ours, mmdet = json.loads(next(line for line in run('-c', LOOK_UP + STEPS).splitlines() if line[:2] == '[['))
    assert set(rooms) == ROOMS
    assert not ours
    config = folder / 'retinanet.py'
    config.write_text(CONFIG.format(channels=list(GhostNet(width=0.5).out_channels), shapes=str(shapes)))
    run(Path(mmdet, '.mim/tools/train.py'), config, '--work-dir', folder / 'run')
    run('-c', INFER, folder / 'run/retinanet.py', folder / 'run/epoch_5.pth', next((shapes / 'val2017').iterdir()))
