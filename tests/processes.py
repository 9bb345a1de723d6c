"""Runs in processes of their own, to be killed; forked from one that has imported all they need."""
import multiprocessing
import os
import sys
import time

import torch
from mmdet.models.task_modules.assigners import DynamicSoftLabelAssigner
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from tests.conftest import read_configs_quickly, run_tool

read_configs_quickly()

CONTEXT = multiprocessing.get_context('forkserver')
CONTEXT.set_forkserver_preload(['tests.processes', 'ghostdet.training.launch', 'ghostdet.training.reproduction',
                                'mmdet.models', 'mmdet.datasets', 'mmdet.evaluation', 'mmdet.visualization',
                                'torchvision',
                                'torch.utils.tensorboard'])


def start(log, *arguments, environment=None, folder='.', float64=False, **settings):
    """`run_tool(*arguments, **settings)` in another process that works in `folder` and prints to the file `log`."""
    process = CONTEXT.Process(target=_run, args=(str(log), arguments, settings, environment or {}, folder, float64))
    process.start()
    return process


def wait_for(condition, process, seconds=120):
    """Until `condition()` is true of a process that is still alive."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.is_alive(), f'it ended with {process.exitcode}'
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.001)


def train_in_float64():
    """Make this process compute in float64, in which another order of a sum differs by far less than a step changes."""
    torch.set_default_dtype(torch.float64)
    wrap, assign = Runner.wrap_model, DynamicSoftLabelAssigner.assign

    def in_float32(data):
        return InstanceData(**{key: value.float() if value.is_floating_point() else value
                               for key, value in data.items()})
    Runner.wrap_model = lambda self, wrapper, model: wrap(self, wrapper, model.double())
    # mmdet's assigner has tensors of float32 inside.
    DynamicSoftLabelAssigner.assign = lambda self, predicted, truth, *others, **more: assign(
        self, in_float32(predicted), in_float32(truth), *others, **more)


def _run(log, arguments, settings, environment, folder, float64):
    os.environ.update(environment)
    if 'OMP_NUM_THREADS' in environment:  # torch, imported before, has read its own
        torch.set_num_threads(int(environment['OMP_NUM_THREADS']))
    if float64:
        train_in_float64()
    os.chdir(folder)
    with open(log, 'a') as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    sys.exit(run_tool(*arguments, **settings))
