"""What the arguments of a prediction name: images, folders of them, videos."""
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ghostdet.errors import UserError
from ghostdet.runtime.images import image_files, picture_name

FOUND, MAKER = 'detections.json', 'ghostdet'  # the file of results, and who it says has made it
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')


@dataclass(frozen=True)
class Source:
    """A file to look at, and the name that its results get: a path below the folder of results."""

    file: Path
    name: str

    @property
    def is_video(self) -> bool:
        """By the ending of its name."""
        return self.file.suffix.lower() in VIDEOS

    @property
    def picture(self) -> str:
        """Name of its picture or video with boxes."""
        if self.is_video:
            return str(Path(self.name).with_suffix('.mp4'))
        return picture_name(self.name)


def find_sources(inputs: Sequence[Path], out: Path) -> list[Source]:
    """The images and videos that `inputs` name; of a folder, all in it and in its folders.

    Raises:
        UserError: one is not there, a folder has none, or results would be written over what is read.
    """
    sources: dict[str, Source] = {}
    for source in (source for path in inputs for source in _below(path, out)):
        sources.setdefault(os.path.abspath(source.file), source)  # each file once, however often it is named
    taken: set[str] = set()
    unique = []
    for source in sources.values():
        name, number = source.name, 2
        while Source(source.file, name).picture in taken:  # folders may hold files of one name
            name, number = f'{Path(source.name).with_suffix("")}_{number}{source.file.suffix}', number + 1
        found = Source(source.file, name)
        taken.add(found.picture)
        unique.append(found)
    files = {source.file.resolve() for source in unique}
    over = [source.picture for source in unique if (out / source.picture).resolve() in files]
    if over:
        raise UserError(f'the results would be written over {out / over[0]}, which is read: name another folder with --out')
    _check_own(out, unique)
    return unique


def _check_own(out: Path, sources: Sequence[Source]) -> None:
    """Refuse to write over files that no prediction has written; over those of an earlier one is fine.

    Raises:
        UserError: there are some.
    """
    try:
        if json.loads((out / FOUND).read_text())['info']['contributor'] == MAKER:
            return
    except (OSError, ValueError, LookupError, TypeError):
        pass
    there = [name for name in (FOUND, *(source.picture for source in sources)) if (out / name).exists()]
    if there:
        raise UserError(f'{out / there[0]} is there already, and was not written by a prediction: name another folder with --out')


def _below(path: Path, out: Path) -> Iterator[Source]:
    if path.is_dir():
        videos = (file for file in path.rglob('*') if file.suffix.lower() in VIDEOS and not file.is_dir())
        results = out.resolve()
        files = [file for file in sorted([*image_files(path), *videos])
                 if results == path.resolve() or not file.resolve().is_relative_to(results)]  # an earlier run's are no input
        if not files:
            raise UserError(f'there are no images or videos in the folder {path.absolute()}; links to folders are not followed')
        yield from (Source(file, str(file.relative_to(path))) for file in files)
    elif path.exists() or path.is_symlink():
        yield Source(path, path.name)
    else:
        raise UserError(f'there is no image, folder or video {path.absolute()}')
