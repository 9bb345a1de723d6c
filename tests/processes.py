"""Runs in processes of their own, to be killed; forked from one that has imported all they need."""
import multiprocessing
import os
import sys
import time

import torch

from tests.conftest import run_tool

CONTEXT = multiprocessing.get_context('forkserver')
CONTEXT.set_forkserver_preload(['tests.processes', 'ghostdet.engine.launch', 'ghostdet.reproduce.reproduction', 'mmdet.models',
                                'mmdet.datasets', 'mmdet.evaluation', 'mmdet.visualization', 'torchvision',
                                'torch.utils.tensorboard'])


def start(log, *arguments, environment=None, folder='.', **settings):
    """`run_tool(*arguments, **settings)` in another process that works in `folder`, whose output goes to the file `log`."""
    process = CONTEXT.Process(target=_run, args=(str(log), arguments, settings, environment or {}, folder))
    process.start()
    return process


def wait_for(condition, process, seconds=120):
    """Until `condition()` is true of a process that is still alive."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.is_alive(), f'it ended with {process.exitcode}'
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.001)


def _run(log, arguments, settings, environment, folder):
    os.environ.update(environment)
    if 'OMP_NUM_THREADS' in environment:  # torch, imported before, has read its own
        torch.set_num_threads(int(environment['OMP_NUM_THREADS']))
    os.chdir(folder)
    with open(log, 'a') as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    sys.exit(run_tool(*arguments, **settings))
