"""Names the machine, the source revision and the package versions behind a result."""
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ('torch', 'torchvision', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmpretrain', 'pycocotools')


def machine(gpus: int) -> str:
    """Return the name of the GPU, or of the CPU if `gpus` is 0."""
    if gpus:
        return torch.cuda.get_device_name()
    names = re.findall(r'model name\s*: (.+)', Path('/proc/cpuinfo').read_text()) if Path('/proc/cpuinfo').is_file() else []
    return f'{(names or [platform.processor() or platform.machine()])[0]}, {os.cpu_count()} cores'


def revision(folder: Path) -> str:
    """Return the git revision of the source, with -dirty if files were changed; 'unknown' without git."""
    try:
        found = subprocess.run(['git', '-C', str(folder), 'describe', '--always', '--dirty', '--abbrev=12', '--exclude=*'],
                               capture_output=True, text=True)
    except FileNotFoundError:
        return 'unknown'
    return found.stdout.strip() or 'unknown'


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    return dict(python=platform.python_version(), **{package: version(package) for package in PACKAGES})
