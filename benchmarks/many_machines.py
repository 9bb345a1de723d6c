"""Images per second of docs/how-to/many-machines.md beside `ghostdet predict --no-pictures`, on this machine, in turns.

`python benchmarks/many_machines.py PHOTOS detector.xml --count 2000`, where `ray[data]` is installed, and the machine
is idle otherwise. Ray uses a core for each detector, `predict` as many as it may. Both include their start.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('photos', type=Path, help='folder with .jpg files; repeated up to --count')
    parser.add_argument('model', type=Path, help='.xml file of "ghostdet export"')
    parser.add_argument('--count', type=int, default=2000)
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    files = sorted(args.photos.resolve().glob('*.jpg'))
    for number in range(args.rounds):
        for name in ('ray', 'predict'):
            with tempfile.TemporaryDirectory(prefix='ray') as folder:
                seconds = timed(name, Path(folder), list(islice(cycle(files), args.count)), args.model.resolve())
            print(f'round {number + 1}: {name:7} {seconds:6.1f} s {args.count / seconds:6.1f} images/s', flush=True)


def timed(name: str, folder: Path, files: list[Path], model: Path) -> float:
    """Return the seconds of one run in a folder of its own."""
    (folder / 'photos').mkdir()
    for number, file in enumerate(files):
        (folder / f'photos/{number:06}.jpg').symlink_to(file)
    for part in (model, model.with_suffix('.bin')):
        (folder / part.name.replace(model.stem, 'detector')).symlink_to(part)
    page = re.findall(r'^```python\n(.*?)^```$', (ROOT / 'docs/how-to/many-machines.md').read_text(), re.M | re.S)[0]
    (folder / 'page.py').write_text(page.replace('/mnt/shared', str(folder)))
    command = ['page.py'] if name == 'ray' else [
        '-m', 'ghostdet', 'predict', 'detector.xml', 'photos', '--out', 'found', '--no-pictures']
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=folder, check=True, capture_output=True,
                   env=dict(os.environ, PYTHONPATH=str(ROOT), RAY_USAGE_STATS_ENABLED='0', RAY_ADDRESS='local',
                            RAY_TMPDIR=str(folder), HOME=str(folder)))
    return time.perf_counter() - start


if __name__ == '__main__':
    main()
