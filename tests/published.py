"""Files in the layouts in which authors publish detectors, written from weights under our names."""
import re

import torch
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
