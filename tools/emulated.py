"""Run exported files on emulated processors, and compare the boxes with those of this machine.

python tools/emulated.py
python tools/emulated.py detector.xml detector.ncnn.param --images photos --processors cortex-a72 haswell

Needs Debian's packages qemu-user-static and, for ARM64, debootstrap, which asks for root and downloads a Debian. The
packages of the extras `runtime` and `ncnn` come from a package registry, by uv or pip. The folder of `--cache` keeps
both: delete it to fetch newer ones. A file takes a minute or three on each processor.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ghostdet.infer.agreement import Tolerance, compare
from ghostdet.infer.decoding import Instances
from ghostdet.tables import markdown_table

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / 'examples/blood-cells'
ARM, X86 = 'qemu-aarch64-static', 'qemu-x86_64-static'
# max: all that QEMU knows; cortex-a76: Raspberry Pi 5, with dot products of int8; cortex-a72: Raspberry Pi 4, without.
PROCESSORS = {'arm64-max': (ARM, 'max'), 'cortex-a76': (ARM, 'cortex-a76'), 'cortex-a72': (ARM, 'cortex-a72'),
              'haswell': (X86, 'Haswell')}  # AVX2 without AVX-512
SUITE, PYTHON = 'bookworm', '3.11'  # Debian 12, with glibc 2.36
UV = shutil.which('uv')
PIP = [UV, 'pip'] if UV else [sys.executable, '-m', 'pip']
GLIBC = range(17, 37)  # 2.17 to 2.36: pip, unlike uv, installs wheels of the named versions alone
SCORE, LOW = 0.1, 0.5  # partners' scores differ by at most SCORE; one may be below the threshold, down to LOW times it
FRACTION = 0.1  # most boxes without a partner: in int8 a few differ on every processor


def main() -> int:
    """Print a table. Return 1 if a file is wrong on a processor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('files', nargs='*', type=Path, default=[EXAMPLE / 'detector.xml'], metavar='FILE',
                        help='exported file; default: the one of examples/blood-cells')
    parser.add_argument('--images', type=Path, default=EXAMPLE, help='image or folder; default: those of the example')
    parser.add_argument('--processors', nargs='+', choices=PROCESSORS, default=list(PROCESSORS), metavar='NAME',
                        help=f'of {", ".join(PROCESSORS)}; default: all')
    parser.add_argument('--threshold', type=float, default=0.3, help='boxes are counted from it; default %(default)s')
    parser.add_argument('--cache', type=Path, default=ROOT / 'build/emulated', metavar='DIR',
                        help='keeps what was downloaded; default: build/emulated')
    options = parser.parse_args()
    needed = {PROCESSORS[name][0] for name in options.processors}
    if missing := [name for name in sorted(needed | ({'debootstrap'} if ARM in needed else set()))
                   if not shutil.which(name)]:
        sys.exit(f'{", ".join(missing)} not found: apt-get install qemu-user-static debootstrap')
    lines, wrong = [['file', 'processor', 'boxes', 'self-check', 'computed in', 'result']], 0
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        if ARM in needed:
            prepare_arm64(options.cache.resolve(), wheel)
        for file in options.files:
            here = predict([sys.executable], wheel.parent, options, file)
            lines.append([file.name, 'this machine', *here.cells(options.threshold), ''])
            for name in options.processors:
                found = predict(command(name, options.cache.resolve()), wheel.parent, options, file)
                result = difference(here, found, options.threshold)
                wrong += bool(result)
                lines.append([file.name, name, *found.cells(options.threshold), result or 'right'])
                print(markdown_table(lines), flush=True)
    return int(bool(wrong))


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this clone in a folder, and unpack it there. Return the wheel."""
    tool = [UV, 'build', '--wheel', '-o'] if UV else [*PIP, 'wheel', '--no-deps', '-w']
    shutil.rmtree(ROOT / 'build/lib', ignore_errors=True)  # of an earlier build; may hold files that are gone
    subprocess.run([*tool, folder, ROOT, '-q'], check=True)
    wheel, = folder.glob('*.whl')
    zipfile.ZipFile(wheel).extractall(folder)
    return wheel


def prepare_arm64(cache: Path, wheel: Path) -> None:
    """Put a Debian for ARM64 into `cache`/root and the wheel's packages into `cache`/packages, once."""
    root, packages = cache / 'root', cache / 'packages'
    if not (root / f'usr/bin/python{PYTHON}').exists():
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(['debootstrap', '--download-only', '--arch=arm64', '--variant=minbase',
                        '--include=python3,libgomp1', SUITE, root], check=True, stdout=subprocess.DEVNULL)
        for archive in sorted(root.glob('var/cache/apt/archives/*.deb')):
            subprocess.run(['dpkg-deb', '-x', archive, root], check=True)
    if not packages.exists():
        systems = ([f'--python-platform=aarch64-manylinux_2_{GLIBC[-1]}'] if UV else
                   [f'--platform=manylinux_2_{minor}_aarch64' for minor in GLIBC])
        partial = cache / 'partial'
        subprocess.run([*PIP, 'install', '-q', *systems, '--python-version', PYTHON, '--only-binary', ':all:',
                        '--target', partial, f'{wheel}[runtime,ncnn]'], check=True)
        shutil.rmtree(partial / 'ghostdet')  # each run tests the wheel of its own
        partial.rename(packages)


def command(name: str, cache: Path) -> list[str]:
    """Return how Python is called on a processor."""
    emulator, cpu = PROCESSORS[name]
    root = cache / 'root'
    return [emulator, '-cpu', cpu, *(['-L', str(root), str(root / f'usr/bin/python{PYTHON}')] if emulator == ARM else
                                     [sys.executable])]


@dataclass(frozen=True)
class Found:
    """What one processor made of a file."""

    images: list[Instances]
    classes: list[str]
    check: str  # figure of the self-check, for the file as it was exported
    floats: bool  # its integers were wrong here, so it was computed in floating point
    error: str = ''  # why there are no boxes

    def cells(self, threshold: float) -> list[str]:
        """Return boxes by class, the self-check, and the arithmetic."""
        counts = Counter(label for _, scores, labels in self.images for label in labels[scores >= threshold])
        boxes = ', '.join(f'{name} {counts[label]}' for label, name in enumerate(self.classes) if counts[label])
        return [boxes or 'none', self.check, 'floating point' if self.floats else 'as exported']


def predict(python: list[str], package: Path, options: argparse.Namespace, file: Path) -> Found:
    """Check a file and predict from it, with nothing remembered, by a Python that may be emulated."""
    packages = [options.cache.resolve() / 'packages'] if ARM in python else []
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, [package, *packages])), HOME=folder,
                           XDG_CACHE_HOME=folder)

        def run(*words: Any) -> subprocess.CompletedProcess[str]:
            return subprocess.run([*python, '-m', 'ghostdet', *map(str, words)], cwd=folder, env=environment, text=True,
                                  capture_output=True)
        check = run('check', file.resolve())
        figure = re.search(r'differs by (\S+) of its spread', check.stdout + check.stderr)
        result = run('predict', file.resolve(), options.images.resolve(), '--out', 'found', '--no-pictures',
                     '--threshold', LOW * options.threshold, *(['--no-self-check'] if check.returncode == 0 else []))
        floats, written = 'runs in floating point' in result.stderr, Path(folder, 'found/detections.json')
        text = figure[1] if figure else '-'
        if result.returncode or not written.exists():
            said = [line for line in result.stderr.splitlines() if line.strip() and not line.startswith('qemu-')]
            ended = (f'ended by {signal.Signals(-result.returncode).name}' if result.returncode < 0 else
                     (said or ['no message'])[-1])
            return Found([], [], text, floats, ended)
        return Found(*read_boxes(json.loads(written.read_text())), text, floats)


def read_boxes(content: dict[str, Any]) -> tuple[list[Instances], list[str]]:
    """Return the boxes of each image, and the classes, of what `ghostdet predict` wrote."""
    ids = {category['id']: index for index, category in enumerate(content['categories'])}
    rows: dict[int, list[list[float]]] = {image['id']: [] for image in content['images']}
    for box in content['annotations']:
        x, y, width, height = box['bbox']
        rows[box['image_id']].append([x, y, x + width, y + height, box['score'], ids[box['category_id']]])
    tables = [np.array(part, float).reshape(-1, 6) for part in rows.values()]
    return ([(table[:, :4], table[:, 4], table[:, 5].astype(int)) for table in tables],
            [category['name'] for category in content['categories']])


def difference(here: Found, there: Found, threshold: float) -> str:
    """Return what is wrong there: an error, or boxes without a partner here, or here without one there."""
    if here.error or there.error:
        return there.error or f'on this machine: {here.error}'
    same = Tolerance(pixels=0, overlap=0.5, score=SCORE, min_score=LOW * threshold, fraction=FRACTION)
    agreement = compare(zip(here.images, there.images, strict=True), same, threshold)
    return '' if agreement.is_close else f'wrong: {agreement.alone} boxes have no partner, {2 * agreement.pairs} have'


if __name__ == '__main__':
    sys.exit(main())
