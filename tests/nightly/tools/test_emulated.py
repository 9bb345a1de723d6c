"""Exported files on emulated ARM64 and on an older x86-64. Debian's qemu-user-static and debootstrap, and root."""
import os
import shutil
import subprocess
import sys

import pytest
import torch

from benchmarks.untrained import scaled_detector
from ghostdet.cli import door
from ghostdet.training.config_file import read_config
from tests.conftest import ROOT, tool

CONFIG = ROOT / 'configs/nanodet-plus_ghostnet_1.0x_mini.py'
FILES = {'fp32.xml': 'fp32', 'int8.xml': 'int8', 'fp16.ncnn.param': 'fp16'}
MISSING = [name for name in ('qemu-aarch64-static', 'qemu-x86_64-static', 'debootstrap') if not shutil.which(name)]
pytestmark = [pytest.mark.network, pytest.mark.timeout(3600),
              pytest.mark.skipif(bool(MISSING), reason=f'{", ".join(MISSING)} not installed'),
              pytest.mark.skipif(os.geteuid() != 0, reason='debootstrap needs root')]


@pytest.fixture(scope='module')
def files(shapes, tmp_path_factory):
    """An untrained NanoDet-Plus that finds much, as files."""
    folder = tmp_path_factory.mktemp('files')
    detector = scaled_detector(read_config(str(CONFIG), {}), 'nanodet-plus')
    torch.save(dict(state_dict=detector.model.state_dict(),
                    meta=dict(cfg=detector.cfg.pretty_text, dataset_meta=dict(CLASSES=detector.classes))),
               folder / 'epoch_1.pth')
    for name, precision in FILES.items():
        assert door.run(tool('export'), [str(word) for word in (
            folder / 'epoch_1.pth', '--out', folder / name, '--precision', precision, '--shape', 128, 128, '--images',
            shapes / 'train2017')]) == 0
    return [folder / name for name in FILES]


def rows(*arguments):
    """The lines of the table, of files and processors that are right: all are."""
    result = subprocess.run([sys.executable, 'tools/emulated.py', *map(str, arguments), '--processors', 'arm64-max',
                             'cortex-a72', 'haswell'], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]
    return {line for line in result.stdout.splitlines() if line.endswith('| right |')}


def test_the_example_finds_its_cells():
    found = rows()  # three pictures, on two cores
    assert len([row for row in found if 'RBC' in row]) == 3


def test_a_detector_in_each_format(files, shapes):
    found = rows(*files, '--images', next((shapes / 'val2017').iterdir()))
    assert len([row for row in found if 'square' in row]) == 9
