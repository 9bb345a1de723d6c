"""Other packages: their installed versions, and messages about missing and too old ones."""
import re
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

# Modules of the extras -> names of their distributions. Of several, the extras ask for the first.
DISTRIBUTIONS = dict(
    cv2=('opencv-python-headless', 'opencv-python', 'opencv-contrib-python-headless', 'opencv-contrib-python'),
    matplotlib=('matplotlib',), mmcv=('onedl-mmcv', 'mmcv', 'mmcv-lite'), mmdet=('onedl-mmdetection', 'mmdet'),
    mmengine=('onedl-mmengine', 'mmengine', 'mmengine-lite'), mmpretrain=('onedl-mmpretrain', 'mmpretrain'),
    numpy=('numpy',), PIL=('pillow',), pycocotools=('pycocotools',), rich=('rich',), safetensors=('safetensors',),
    torch=('torch',), torchvision=('torchvision',), tqdm=('tqdm',), yaml=('pyyaml',))


def installed(module: str) -> tuple[str, str] | None:
    """Return name and version of the distribution that has a module of DISTRIBUTIONS, or None."""
    for name in DISTRIBUTIONS[module]:
        try:
            return name, version(name)
        except PackageNotFoundError:
            continue
    return None


def import_advice(error: ImportError, what: str, extra: str) -> str | None:
    """Return a message about a missing or too old package of an extra, or None if the error has another reason.

    Args:
        what: what needs the package: `ghostdet train`.
        extra: the extra of ghostdet that installs it.
    """
    module = (error.name or '').partition('.')[0]
    if module not in DISTRIBUTIONS:
        return None
    command = f'pip install "ghostdet[{extra}]"'
    if find_spec(module) is None:
        return f'{what} needs {module}, which is not installed. Run {command}'
    found, wanted = installed(module), _wanted(module, extra)
    if found is None or wanted is None or _numbers(found[1]) >= _numbers(wanted[1]):
        return None
    return (f'{what} needs {wanted[0]} {wanted[1]} or newer, and {found[0]} {found[1]} is installed ({error}). Run '
            f'{command} in a new environment')


def _wanted(module: str, extra: str) -> tuple[str, str] | None:
    """Return the distribution of a module that an extra asks for, and the lowest version, from ghostdet's metadata."""
    try:
        lines = requires('ghostdet') or []
    except PackageNotFoundError:  # a clone that is not installed
        return None
    for line in lines:
        match = re.match(r'([\w.-]+)[^;]*>=\s*([\d.]+)[^;]*;.*extra == "([\w-]+)"', line.replace("'", '"'))
        if match and match[1] in DISTRIBUTIONS[module] and match[3] == extra:
            return match[1], match[2]
    return None


def _numbers(text: str) -> list[int]:
    """Return the numbers of a version, without what builds add: 2.11.0+cu130 -> [2, 11, 0]."""
    return [int(number) for number in re.findall(r'\d+', text.partition('+')[0])]
