"""Find the file that an image record means, or name the most similar ones."""
import os
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote

from ghostdet.images.listing import is_image

ASKED, SHOWN = 5, 3  # missing files that are looked up, and names shown for each


def images_below(folder: Path) -> dict[str, list[Path]]:
    """Return key of a name -> paths of the images in a folder and its subfolders, relative to the folder."""
    paths = defaultdict(list)
    for below, _, files in os.walk(folder):
        for name in filter(is_image, files):
            paths[_key(name)].append(Path(below, name).relative_to(folder))
    return paths


def is_file(folder: Path, name: str) -> bool:
    """Return whether a file is there. `name` may be anything, also no possible file name."""
    try:
        return (folder / name).is_file()
    except (OSError, ValueError):  # ValueError: no possible file name
        return False


def matching_files(name: str, paths: dict[str, list[Path]]) -> list[Path]:
    """Return the files that `name` can mean: those whose last folders and name agree with it, for as many as possible.

    Args:
        paths: from `images_below`.
    """
    parts = [_key(part) for part in unquote(name).replace('\\', '/').split('/') if part]
    candidates = paths.get(parts[-1], []) if parts else []
    for depth in range(2, len(parts) + 1):
        deeper = [path for path in candidates if [_key(part) for part in path.parts[-depth:]] == parts[-depth:]]
        candidates = deeper or candidates
    return candidates


def closest_names(folder: Path, missing: Sequence[str]) -> dict[str, str]:
    """Return missing file name -> text that names the most similar images in a folder, for the first few files."""
    paths = images_below(folder) if missing else {}
    hints = {}
    for name in missing[:ASKED]:
        keys = get_close_matches(_key(name.replace('\\', '/').rpartition('/')[2]), paths, SHOWN)
        close = [str(path) for key in keys for path in paths[key]]
        hints[name] = f'; the closest names there: {", ".join(close[:SHOWN])}' if close else ''
    return hints


def _key(name: str) -> str:
    """Return a form of a name that ignores its case and its Unicode form."""
    return unicodedata.normalize('NFC', unicodedata.normalize('NFC', name).casefold())
