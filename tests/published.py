"""Files in the layouts in which authors publish detectors, written from weights under our names."""
import re

import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import initialize
from torch import Tensor

from ghostdet.models.heads.nanodet_plus import NanoDetPlusAuxHead

NANODET_PARTS = {'neck.': 'fpn.', 'bbox_head.': 'head.', 'aux_neck.': 'aux_fpn.', 'aux_head.': 'aux_head.'}


def published_nanodet(state: dict[str, Tensor]) -> dict:
    """A checkpoint of NanoDet-Plus as its authors publish it, a file of PyTorch Lightning: `torch.save` writes it.

    Args:
        state: a NanoDet-Plus with ShuffleNetV2 under our names. If it has no auxiliary branch, it gets one as training
            starts it: a copy of the neck, and an untrained head.

    Returns:
        The moving average is `state`. The last weights differ from it, so that a reader of the wrong ones is seen.
    """
    names = {_nanodet_key(key): tensor for key, tensor in {**_auxiliary(state), **state}.items()}
    last = {f'model.{key}': tensor + 1 for key, tensor in names.items()}
    return {'epoch': 299, 'global_step': 366600, 'pytorch-lightning_version': '1.5.5',
            'state_dict': last | {f'avg_model.{key}': tensor for key, tensor in names.items()},
            'callbacks': {}, 'optimizer_states': [], 'lr_schedulers': []}


def published_mmdet3(state: dict[str, Tensor]) -> dict:
    """A checkpoint of mmdet 3.x as RTMDet's: weights that are the moving average, and mean and deviation of the pixels.

    `ema_state_dict` has the last weights: mmengine's EMAHook swaps the two.
    """
    pixels = {f'data_preprocessor.{key}': torch.full((3, 1, 1), 100.0) for key in ('mean', 'std')}
    last = {'steps': torch.tensor(1), **{f'module.{key}': tensor + 1 for key, tensor in state.items()}}
    logs = dict(log_scalars={'train/loss': HistoryBuffer([1.0, 2.0], [1, 1])}, runtime_info=dict(epoch=299),
                resumed_keys={})
    return dict(meta=dict(epoch=300, iter=138600, cfg="model = dict(type='RTMDet')\n", seed=0,
                          experiment_name='rtmdet_tiny', mmengine_version='0.1.0',
                          dataset_meta=dict(CLASSES=('a', 'b'), PALETTE=[(0, 0, 0), (1, 1, 1)])),
                state_dict={**pixels, **state}, message_hub=logs, ema_state_dict=last)


def published_mmdet2(state: dict[str, Tensor]) -> dict:
    """A checkpoint of mmdet 2.x as YOLOX's: its EMAHook leaves the last weights in `state_dict`, too."""
    last = {f'ema_{key.replace(".", "_")}': tensor + 1 for key, tensor in state.items()}
    return dict(meta=dict(env_info='sys.platform: linux', config="optimizer = dict(type='SGD')\n", seed=0, epoch=300,
                          iter=555300, exp_name='yolox_tiny_8x8_300e_coco.py', mmcv_version='1.3.17',
                          mmdet_version='2.18.1', CLASSES=('a', 'b'), PALETTE=[(0, 0, 0), (1, 1, 1)]),
                state_dict={**state, **last})


def _auxiliary(state: dict[str, Tensor]) -> dict[str, Tensor]:
    neck = {key.removeprefix('neck.'): tensor for key, tensor in state.items() if key.startswith('neck.')}
    width = 2 * len(neck['reduce_layers.0.conv.weight'])
    classes = len(state['bbox_head.gfl_cls.0.bias']) - 4 * len(state['bbox_head.distribution_project.project'])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = NanoDetPlusAuxHead(classes, width, width)
        initialize(head, head.init_cfg)
    return {**{f'aux_neck.{key}': tensor.clone() for key, tensor in neck.items()},
            **{f'aux_head.{key}': tensor for key, tensor in head.state_dict().items()}}


def _nanodet_key(key: str) -> str:
    part, mark, rest = key.partition('.')
    return f'backbone.{torchvision_key(rest)}' if part == 'backbone' else NANODET_PARTS[part + mark] + rest


def torchvision_key(key: str) -> str:
    """torchvision's name of a tensor of ShuffleNetV2 for mmpretrain's: there, norms and activations have numbers."""
    key = re.sub(r'^layers\.(\d)', lambda match: f'stage{int(match[1]) + 2}', key)
    key = re.sub(r'^conv1\.(conv|bn)', lambda match: f'conv1.{int(match[1] == "bn")}', key)
    places = dict(branch1=(0, 2), branch2=(0, 3, 5))
    return re.sub(r'(branch.)\.(.)\.(conv|bn)',
                  lambda match: f'{match[1]}.{places[match[1]][int(match[2])] + (match[3] == "bn")}', key)
