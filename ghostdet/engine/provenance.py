"""Where a figure comes from: machine, source and versions."""
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ('torch', 'torchvision', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmpretrain', 'pycocotools')


def machine(gpus: int) -> str:
    """Name of the GPU, else of the CPU."""
    if gpus:
        return torch.cuda.get_device_name()
    names = re.findall(r'model name\s*: (.+)', Path('/proc/cpuinfo').read_text()) if Path('/proc/cpuinfo').is_file() else []
    return f'{(names or [platform.processor() or platform.machine()])[0]}, {os.cpu_count()} cores'


def revision(folder: Path) -> str:
    """Of the source, marked where it was changed."""
    try:
        found = subprocess.run(['git', '-C', str(folder), 'describe', '--always', '--dirty', '--abbrev=12', '--exclude=*'],
                               capture_output=True, text=True)
    except FileNotFoundError:
        return 'unknown'
    return found.stdout.strip() or 'unknown'


def versions() -> dict[str, str]:
    """Of Python and of the packages on which figures depend."""
    return dict(python=platform.python_version(), **{package: version(package) for package in PACKAGES})
