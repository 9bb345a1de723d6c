"""Write a data set in COCO's own layout."""
import shutil
from pathlib import Path

from ghostdet.data.check import Checked
from ghostdet.errors import UserError
from ghostdet.files import write_json
from ghostdet.progress import progress


def write_coco(splits: list[Checked], out: Path) -> None:
    """Write `annotations/instances_{train,val}2017.json`, `train2017/` and `val2017/`. Images are copied.

    Raises:
        UserError: `out` is not an empty folder.
        OSError: a file cannot be copied.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f'--out {out}: expected a folder that is empty or does not exist')
    for checked in splits:
        name = f'{checked.split.name}2017'
        images = []
        for image in progress(checked.content['images'], f'copying {name}', len(checked.content['images']),
                              unit='image'):
            source = checked.split.images / image['file_name']
            target = Path(image['file_name'])
            if target.is_absolute() or '..' in target.parts:
                target = Path(f'{image["id"]}_{target.name}')
            (out / name / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, out / name / target)
            images.append(dict(image, file_name=target.as_posix()))
        write_json(out / f'annotations/instances_{name}.json', dict(checked.content, images=images))
