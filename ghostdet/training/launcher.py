"""Connects the processes of a run."""
import logging
import os

import torch
from mmengine.config import Config
from mmengine.dist import get_rank, init_dist

from ghostdet.errors import UserError
from ghostdet.messages import LOGGER


def join(cfg: Config, launcher: str) -> None:
    """Connect this process to the others of its run. From then on only the first process logs more than errors.

    CPU processes use gloo, because mmengine's launchers and wrapper need GPUs.

    Args:
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.

    Raises:
        UserError: the process was not started by the launcher; or there are no GPUs and it is not torchrun.
    """
    cfg.launcher = launcher
    if launcher == 'none':
        return
    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise UserError('--launcher pytorch needs torchrun: torchrun --nproc-per-node N -m ghostdet train ... '
                        '--launcher pytorch')
    if launcher == 'slurm' and 'SLURM_PROCID' not in os.environ:
        raise UserError('--launcher slurm needs srun from Slurm, see docs/how-to/several-gpus.md; without Slurm use '
                        'torchrun and --launcher pytorch')
    if torch.cuda.is_available():
        if not torch.distributed.is_initialized():
            init_dist(launcher, **(cfg.get('env_cfg') or {}).get('dist_cfg', {}))
    else:
        _join_on_cpus(cfg, launcher)
    if get_rank():
        LOGGER.setLevel(logging.ERROR)


def _join_on_cpus(cfg: Config, launcher: str) -> None:
    if launcher != 'pytorch':
        raise UserError(f'--launcher {launcher} needs GPUs, but torch finds none: on CPUs use torchrun and --launcher '
                        'pytorch')
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
