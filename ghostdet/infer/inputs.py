"""Find the images and videos that the arguments of a prediction name."""
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ghostdet.errors import UserError
from ghostdet.images.listing import image_files, picture_name
from ghostdet.infer.coco_file import MAKER

RESULTS = 'detections.json'
UNCERTAIN, UNCERTAIN_SHEET = 'uncertain.txt', 'uncertain.png'  # the images to look at first
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
    def drawn(self) -> str:
        """Name of the image or video with boxes."""
        return str(Path(self.name).with_suffix('.mp4')) if self.is_video else picture_name(self.name)


def find_sources(inputs: Sequence[Path], out: Path) -> list[Source]:
    """Return the images and videos in `inputs`. A folder stands for all files in it and its subfolders.

    Raises:
        UserError: an input does not exist, a folder has no images or videos, or results would overwrite an input or a
            file that no prediction wrote.
    """
    sources: dict[str, Source] = {}
    for source in (source for path in inputs for source in _below(path, out)):
        sources.setdefault(os.path.abspath(source.file), source)  # each file once, even if it is named twice
    unique: dict[str, Source] = {}  # by the name of the drawn image
    for source in sources.values():
        named, number = source, 2
        while named.drawn in unique:  # files in different folders may have the same name
            name = f'{Path(source.name).with_suffix("")}_{number}{source.file.suffix}'
            named, number = replace(source, name=name), number + 1
        unique[named.drawn] = named
    files = {source.file.resolve() for source in unique.values()}
    over = [name for name in unique if (out / name).resolve() in files]
    if over:
        raise UserError(f'the results would overwrite the input {out / over[0]}: choose another folder with --out')
    present = [name for name in (RESULTS, UNCERTAIN, UNCERTAIN_SHEET, *unique) if (out / name).exists()]
    if present and not _holds_results(out):
        raise UserError(f'{out / present[0]} exists already, and its folder does not hold results of an earlier '
                        'prediction: choose another folder with --out')
    return list(unique.values())


def _holds_results(folder: Path) -> bool:
    with suppress(OSError, ValueError, LookupError, TypeError):
        return json.loads((folder / RESULTS).read_text())['info']['contributor'] == MAKER
    return False


def _below(path: Path, out: Path) -> Iterator[Source]:
    if path.is_dir():
        videos = (file for file in path.rglob('*') if file.suffix.lower() in VIDEOS and not file.is_dir())
        results = out.resolve()  # results of an earlier run are not read
        files = [file for file in sorted([*image_files(path, unread=True), *videos])
                 if results == path.resolve() or not file.resolve().is_relative_to(results)]
        if not files:
            raise UserError(f'there are no images or videos in the folder {path.absolute()}; links to folders are not '
                            'followed')
        yield from (Source(file, str(file.relative_to(path))) for file in files)
    elif path.exists() or path.is_symlink():
        yield Source(path, path.name)
    else:
        raise UserError(f'there is no image, folder or video {path.absolute()}')
