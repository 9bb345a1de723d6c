"""Seeds, saves and restores random generators, so that a resumed run draws the same numbers."""
import os
import random
import signal
from typing import Any

import numpy as np
import torch
from mmengine.registry import FUNCTIONS

GRACE = 30  # seconds before a worker process ends after SIGTERM


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch, including those of GPUs."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed % 2**63)


@FUNCTIONS.register_module()
def start_worker(worker_id: int) -> None:
    """Seed a data loader's worker process, and set how it reacts to signals.

    The seed comes from torch's `initial_seed` and the rank. mmengine's seed is the same in every epoch: images would be
    flipped the same way each time. The worker ignores SIGINT, and ends GRACE seconds after SIGTERM.
    """
    # Both signals reach all processes of a group. The main process decides what to do; a stuck worker ends after GRACE.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))
    seed_everything(torch.initial_seed() + 1_000_003 * int(os.environ.get('RANK', 0)))  # all launchers set it


def random_state() -> dict[str, Any]:
    """Return the state of all generators as plain data."""
    name, keys, *rest = np.random.get_state()
    return dict(python=random.getstate(), numpy=(name, torch.from_numpy(np.asarray(keys, np.int64)), *rest),
                torch=torch.get_rng_state(), cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])


def restore_random_state(state: dict[str, Any]) -> None:
    """Restore a state from `random_state`. GPU states only if the number of GPUs is the same."""
    name, keys, *rest = state['numpy']
    random.setstate(state['python'])
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state['torch'].cpu())
    if len(state['cuda']) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([part.cpu() for part in state['cuda']])
