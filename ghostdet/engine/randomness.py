"""Random numbers that depend on the seed and the epoch alone, not on what the process did before."""
import random
import signal
from typing import Any

import numpy as np
import torch

GRACE = 30  # seconds that a worker process lives on after it was told to end


def seed_everything(seed: int) -> None:
    """Start Python's, NumPy's and torch's generators, those of GPUs included, from `seed`."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed % 2**63)


def start_worker(worker_id: int, rank: int = 0) -> None:
    """Seed a worker process of a data loader from the loader's own random number, which torch has put into `initial_seed`.

    mmengine seeds from the run's seed alone, so that every epoch would draw the same flips.
    """
    # Both reach all processes of a group, and the main one decides what to do; one that is stuck ends in the end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))
    seed_everything(torch.initial_seed() + 1_000_003 * rank)


def random_state() -> dict[str, Any]:
    """State of all generators, as plain data."""
    name, keys, *rest = np.random.get_state()
    return dict(python=random.getstate(), numpy=(name, torch.from_numpy(np.asarray(keys, np.int64)), *rest),
                torch=torch.get_rng_state(), cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])


def restore_random_state(state: dict[str, Any]) -> None:
    """Go on where `random_state` was called."""
    name, keys, *rest = state['numpy']
    random.setstate(state['python'])
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state['torch'].cpu())
    if len(state['cuda']) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([part.cpu() for part in state['cuda']])
