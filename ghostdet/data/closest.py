"""Name the files that a missing one may be."""
import os
from collections import defaultdict
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from ghostdet.images.listing import IMAGE_SUFFIXES

ASKED, SHOWN = 5, 3  # missing files that are looked up, and names shown for each


def closest_names(folder: Path, missing: Sequence[str]) -> dict[str, str]:
    """Return missing file name -> text that names the most similar pictures in a folder, for the first few missing files."""
    if not missing:
        return {}
    there = defaultdict(list)
    for below, _, files in os.walk(folder):
        for name in files:
            if name.lower().endswith(IMAGE_SUFFIXES):
                there[name.lower()].append(os.path.relpath(os.path.join(below, name), folder))
    hints = {}
    for name in missing[:ASKED]:
        close = get_close_matches(name.replace('\\', '/').rpartition('/')[2].lower(), there, SHOWN)
        paths = [path for match in close for path in there[match]]
        hints[name] = f'; the closest names there: {", ".join(paths[:SHOWN])}' if paths else ''
    return hints
