"""How many CPU cores this process may use."""
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CGROUPS, OWN = Path('/sys/fs/cgroup'), Path('/proc/self/cgroup')


def usable_cores() -> int:
    """Return the number of cores that this process may run on, at least 1.

    That is the affinity (`taskset`), or the share of time that a cgroup of version 1 or 2 allows (`docker run --cpus`),
    rounded up, if this is less.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(share) for share in _shares())]))


def _shares() -> Iterator[float]:
    """Yield the cores that each cgroup of this process allows."""
    lines = []
    with suppress(OSError):
        lines = OWN.read_text().splitlines()
    for _, controllers, path in (line.split(':', 2) for line in lines):
        if not controllers:
            folders, files = [CGROUPS, CGROUPS / 'unified'], ['cpu.max']
        elif 'cpu' in controllers.split(','):
            folders, files = [CGROUPS / controllers, CGROUPS / 'cpu'], ['cpu.cfs_quota_us', 'cpu.cfs_period_us']
        else:
            continue
        # The limits of the groups above hold, too. In a container, the path may be that of the host: then only the
        # root is there.
        parts = Path(path.lstrip('/')).parts
        for folder in (folder.joinpath(*parts[:depth]) for folder in folders for depth in range(len(parts) + 1)):
            with suppress(OSError, ValueError, ZeroDivisionError):  # 'max': no limit
                quota, period = ' '.join((folder / file).read_text() for file in files).split()
                if int(quota) > 0:  # -1: no limit
                    yield int(quota) / int(period)
