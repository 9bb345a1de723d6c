"""Imports every module whose names a config can use. mmengine's registries import this file at their first look-up."""
from importlib import import_module

# First what does not load on some machines: our errors say how to fix it, mmcv's do not, and mmdet hides some.
FIRST = ('ghostdet.images.opencv', 'ghostdet.ops.vision', 'mmcv.ops')
NAMED = ('data.loading', 'training.checkpoints', 'training.hooks', 'training.loops', 'training.runner',
         'evaluation.metrics',
         'models.ghost_conv', 'models.necks.ghost_pan', 'models.heads.nanodet_plus', 'weights.initializer',
         *(f'models.backbones.{name}' for name in ('ghostnet', 'ghostnetv2', 'ghostnetv3', 'mobilenet', 'repghostnet')))

for _module in (*FIRST, *(f'ghostdet.{name}' for name in NAMED)):
    import_module(_module)
import_module('ghostdet.weights.schemes').add_own()
