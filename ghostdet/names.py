"""Imports every module whose names a config can use. mmengine's registries import this file at their first look-up."""
from importlib import import_module

# First what does not load on some machines: our errors say how to fix it, mmcv's and mmdet's do not, or mmdet hides them.
FIRST = ('ghostdet.opencv', 'ghostdet.ops.vision', 'mmcv.ops')
NAMED = ('data.loading', 'engine.checkpoints', 'engine.hooks', 'engine.loops', 'engine.runner', 'evaluation.metrics',
         'models.ghost_conv', 'models.ghost_pan', 'models.ghostnet', 'models.ghostnetv2', 'models.ghostnetv3', 'models.mobilenet',
         'models.nanodet_plus', 'models.repghostnet', 'weights.initializer')

for _module in (*FIRST, *(f'ghostdet.{name}' for name in NAMED)):
    import_module(_module)
import_module('ghostdet.weights.schemes').add_own()
