"""Names the machine, the source revision and the package versions behind a result."""
import os
import platform
import re
import subprocess
from pathlib import Path

import torch

import ghostdet
from ghostdet.packages import installed

PACKAGES = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmpretrain', 'pycocotools')


def machine(gpus: int) -> str:
    """Return the name of the GPU, or of the CPU if `gpus` is 0."""
    if gpus:
        return torch.cuda.get_device_name()
    file = Path('/proc/cpuinfo')
    names = re.findall(r'model name\s*: (.+)', file.read_text()) if file.is_file() else []
    return f'{(names or [platform.processor() or platform.machine()])[0]}, {os.cpu_count()} cores'


def revision() -> str:
    """Return the git revision of the source, with -dirty if files were changed.

    Without git or a clone, return the version of the package.
    """
    clone = Path(ghostdet.__file__).parents[1]
    if not (clone / '.git').exists():  # git would search the folders above, which may be another project's
        return ghostdet.__version__
    try:
        command = ['git', '-C', str(clone), 'describe', '--always', '--dirty', '--abbrev=12', '--exclude=*']
        result = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return ghostdet.__version__
    return result.stdout.strip() or ghostdet.__version__


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on, by the names of their distributions."""
    return dict(python=platform.python_version(), **dict(filter(None, map(installed, PACKAGES))))
