"""Recognise annotations of programs that are not read, to say what to export instead."""
from pathlib import Path

HEAD = 2 ** 16  # bytes of a file that are looked at
CORNERS = ({'xmin', 'ymin', 'xmax', 'ymax'}, {'x1', 'y1', 'x2', 'y2'})  # columns of boxes
CVAT = 'the XML of "CVAT for images" or "CVAT for video": export the task again as COCO 1.0, YOLO or Pascal VOC'
LABEL_STUDIO = 'the JSON of Label Studio: export the project again as COCO or YOLO, with images'
VIA = 'the CSV of VGG VIA: export the annotations again as JSON'
TABLE = 'a table of boxes: convert it to COCO, YOLO or Pascal VOC'


def export_hint(root: Path) -> str | None:
    """Return a sentence on the first file of another program in a folder and its subfolders, with what to do.

    Without such a file, return None.
    """
    for file in (file for pattern in ('*', '*/*') for file in sorted(root.glob(pattern))):
        what = _what(file) if file.suffix.lower() in ('.xml', '.json', '.csv') and file.is_file() else None
        if what:
            return f'{file} is {what}.'
    return None


def _what(file: Path) -> str | None:
    with file.open('rb') as opened:
        head = opened.read(HEAD).removeprefix(b'\xef\xbb\xbf').lstrip()
    kind = file.suffix.lower()
    if kind == '.xml':
        tags = (b'<meta>', b'<image ', b'<track ')
        return CVAT if b'<annotations>' in head and any(tag in head for tag in tags) else None
    if kind == '.json':
        has_tasks = b'"original_width"' in head or all(key in head for key in (b'"annotations"', b'"result"'))
        return LABEL_STUDIO if head.startswith(b'[') and has_tasks else None
    columns = {name.strip(' "\r').lower() for name in head.partition(b'\n')[0].decode('utf-8', 'replace').split(',')}
    if 'region_shape_attributes' in columns:
        return VIA
    return TABLE if any(corners <= columns for corners in CORNERS) else None
