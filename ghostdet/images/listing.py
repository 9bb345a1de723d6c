"""Which files are images: by suffix, in a folder."""
import contextlib
from functools import cache
from importlib import import_module
from pathlib import Path

SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.dib', '.webp', '.tif', '.tiff', '.gif', '.ppm', '.pgm',
            '.pbm', '.pnm', '.jp2', '.avif')
# Suffixes of images that Pillow reads with a plugin, and the plugin's package.
PLUGINS = {'.heic': 'pillow-heif', '.heif': 'pillow-heif', '.hif': 'pillow-heif', '.jxl': 'pillow-jxl-plugin'}
# Images that nothing here reads. They are named, so that nobody misses them in the results.
OTHERS = ('.cr2', '.cr3', '.nef', '.arw', '.dng', '.raf', '.orf', '.rw2', '.psd', '.svg', '.exr', '.hdr')
IMAGE_SUFFIXES = (*SUFFIXES, *PLUGINS, *OTHERS)


@cache
def plugins() -> frozenset[str]:
    """Load the plugins of Pillow that are installed, and return their packages."""
    packages = set()
    for package, module in (('pillow-heif', 'pillow_heif'), ('pillow-jxl-plugin', 'pillow_jxl')):
        with contextlib.suppress(ImportError):
            loaded = import_module(module)  # the second registers itself
            if package == 'pillow-heif':
                loaded.register_heif_opener()
            packages.add(package)
    return frozenset(packages)


def suffixes() -> tuple[str, ...]:
    """Return the suffixes of image files that can be read here."""
    return SUFFIXES + tuple(suffix for suffix, package in PLUGINS.items() if package in plugins())


def is_image(name: str | Path) -> bool:
    """Return whether a file's suffix is that of an image, also in a format that cannot be read here."""
    return str(name).lower().endswith(IMAGE_SUFFIXES)


def check_format(file: str | Path) -> None:
    """Refuse a file whose suffix names a format that is not read. A camera's raw file may open, as its small preview.

    Raises:
        ValueError: it does.
    """
    if Path(file).suffix.lower() in OTHERS:
        raise ValueError(f'files of type {Path(file).suffix} are not read: convert it to JPEG or PNG')


def image_files(folder: Path, unread: bool = False) -> list[Path]:
    """Return all images in a folder and its subfolders, sorted. The suffix decides. Hidden files and folders are left
    out.

    Args:
        unread: also return images in formats that cannot be read here.
    """
    wanted = IMAGE_SUFFIXES if unread else suffixes()
    files = (path for path in folder.rglob('*') if path.suffix.lower() in wanted and not path.is_dir())
    return sorted(path for path in files if not any(part.startswith('.') for part in path.relative_to(folder).parts))


def picture_name(name: str) -> str:
    """Return the file name for a picture of the image `name`: JPEG and PNG keep their name, others get `.png` appended.

    >>> picture_name('a/b.JPG'), picture_name('a/b.webp')
    ('a/b.JPG', 'a/b.webp.png')
    """
    return name if name.lower().endswith(('.jpg', '.jpeg', '.png')) else f'{name}.png'
