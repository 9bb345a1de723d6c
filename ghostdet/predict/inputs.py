"""What the arguments of a prediction name: images, folders of them, videos."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ghostdet.data.images import image_files
from ghostdet.errors import UserError

VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')
WRITTEN = ('.jpg', '.jpeg', '.png')  # in which pictures are written; others get .png behind their name


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
        return self.name if self.file.suffix.lower() in WRITTEN else f'{self.name}.png'


def find_sources(inputs: Sequence[Path], out: Path) -> list[Source]:
    """The images and videos that `inputs` name; of a folder, all in it and in its folders.

    Raises:
        UserError: one is not there, a folder has none, or results would be written over what is read.
    """
    sources = [source for path in inputs for source in _below(path)]
    taken: dict[str, Path] = {}
    unique = []
    for source in sources:
        name, number = source.name, 2
        while Source(source.file, name).picture in taken:  # folders may hold files of one name
            name, number = f'{Path(source.name).with_suffix("")}_{number}{source.file.suffix}', number + 1
        found = Source(source.file, name)
        taken[found.picture] = source.file
        unique.append(found)
    files = {source.file.resolve() for source in unique}
    over = [source.picture for source in unique if (out / source.picture).resolve() in files]
    if over:
        raise UserError(f'the results would be written over {out / over[0]}, which is read: name another folder with --out')
    return unique


def _below(path: Path) -> Iterator[Source]:
    if path.is_dir():
        files = sorted([*image_files(path), *(file for file in path.rglob('*') if file.suffix.lower() in VIDEOS)])
        if not files:
            raise UserError(f'there are no images or videos in the folder {path.absolute()}')
        yield from (Source(file, str(file.relative_to(path))) for file in files)
    elif path.exists():
        yield Source(path, path.name)
    else:
        raise UserError(f'there is no image, folder or video {path.absolute()}')
