"""Find the images and videos that the arguments of a prediction name."""
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ghostdet.errors import UserError
from ghostdet.images.listing import image_files, picture_name

FOUND, MAKER = 'detections.json', 'ghostdet'  # name of the results file, and the contributor written in it
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')


@dataclass(frozen=True)
class Source:
    """An image or video file, and the name of its results: a path relative to the output folder."""

    file: Path
    name: str

    @property
    def is_video(self) -> bool:
        """Whether the file is a video, judged by its extension."""
        return self.file.suffix.lower() in VIDEOS

    @property
    def picture(self) -> str:
        """Name of the picture or video with boxes."""
        if self.is_video:
            return str(Path(self.name).with_suffix('.mp4'))
        return picture_name(self.name)


def find_sources(inputs: Sequence[Path], out: Path) -> list[Source]:
    """Return the images and videos in `inputs`. A folder stands for all files in it and its subfolders.

    Raises:
        UserError: an input does not exist, a folder has no images or videos, or results would overwrite an input or a
            file that no prediction wrote.
    """
    sources: dict[str, Source] = {}
    for source in (source for path in inputs for source in _below(path, out)):
        sources.setdefault(os.path.abspath(source.file), source)  # each file once, even if it is named twice
    taken: set[str] = set()
    unique = []
    for source in sources.values():
        name, number = source.name, 2
        while Source(source.file, name).picture in taken:  # files in different folders may have the same name
            name, number = f'{Path(source.name).with_suffix("")}_{number}{source.file.suffix}', number + 1
        found = Source(source.file, name)
        taken.add(found.picture)
        unique.append(found)
    files = {source.file.resolve() for source in unique}
    over = [source.picture for source in unique if (out / source.picture).resolve() in files]
    if over:
        raise UserError(f'the results would overwrite the input {out / over[0]}: choose another folder with --out')
    _check_own(out, unique)
    return unique


def _check_own(out: Path, sources: Sequence[Source]) -> None:
    """Check that no existing file would be overwritten, unless the folder holds results of an earlier prediction.

    Raises:
        UserError: a file would be overwritten.
    """
    try:
        if json.loads((out / FOUND).read_text())['info']['contributor'] == MAKER:
            return
    except (OSError, ValueError, LookupError, TypeError):
        pass
    there = [name for name in (FOUND, *(source.picture for source in sources)) if (out / name).exists()]
    if there:
        raise UserError(f'{out / there[0]} exists already, and its folder does not hold results of an earlier '
                        'prediction: choose another folder with --out')


def _below(path: Path, out: Path) -> Iterator[Source]:
    if path.is_dir():
        videos = (file for file in path.rglob('*') if file.suffix.lower() in VIDEOS and not file.is_dir())
        results = out.resolve()
        files = [file for file in sorted([*image_files(path, unread=True), *videos])
                 # not the results of an earlier run
                 if results == path.resolve() or not file.resolve().is_relative_to(results)]
        if not files:
            raise UserError(f'there are no images or videos in the folder {path.absolute()}; links to folders are not '
                            'followed')
        yield from (Source(file, str(file.relative_to(path))) for file in files)
    elif path.exists() or path.is_symlink():
        yield Source(path, path.name)
    else:
        raise UserError(f'there is no image, folder or video {path.absolute()}')
