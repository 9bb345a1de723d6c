"""Check a COCO-format split before a run, so that bad data stops the run at once and not after hours."""
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ghostdet.data.coco import Split, class_names
from ghostdet.data.crowds import crowd_hint, ignored, suspect_crowds
from ghostdet.data.file_names import closest_names
from ghostdet.data.filling import fill_in, is_number
from ghostdet.data.notes import Note, note, of_image
from ghostdet.errors import DataError
from ghostdet.images.headers import MISSING, Header, read_headers
from ghostdet.messages import brief

MAX_DROPPED = 0.01  # fraction of boxes without area or outside their image; above it, the whole file is suspect
MANY_ODD = 0.2  # fraction of images whose size differs from their record; above it, the file belongs to other images
MANY_OUTSIDE = 0.2  # fraction of boxes that leave their image: half if corners are read as widths, few if hand-drawn
FROM_FILE = 'size_from_file'  # key of images whose record had no size
FEW = 10  # boxes of a class, below which it is named
SHOWN = 8  # records that a message lists; it counts the rest
CORNERS = ('COCO boxes are [x, y, width, height] in pixels: these look like corners [x1, y1, x2, y2]')
NORMALISED = 'COCO boxes are in pixels: these look like coordinates from 0 to 1, relative to the image size'


@dataclass
class Checked:
    """Result of the checks of one split.

    Attributes:
        content: the annotations that a run uses, without dropped boxes and bad records.
        changed: whether `content` differs from the file.
        dropped: boxes without area, entirely outside their image, or of an image that was left out.
        bad: records that were left out because `skip_bad` was set.
        notes: what the user should know.
        upright: the EXIF orientation is applied to images.
        annotated: the split has annotations.
        deep: file names of images that may have more than 8 bits.
        bits: depth of these images; None: each is scaled by the bits that it uses.
    """

    split: Split
    content: dict[str, Any]
    changed: bool = False
    dropped: list[dict] = field(default_factory=list)
    bad: list[dict] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    upright: bool = True
    annotated: bool = True
    deep: list[str] = field(default_factory=list)
    bits: int | None = None

    @property
    def boxes(self) -> int:
        """Number of boxes, without crowd regions."""
        return sum(not box.get('iscrowd') for box in self.content['annotations'])

    @property
    def empty(self) -> list[str]:
        """File names of images without a box or a crowd region."""
        filled = {box['image_id'] for box in self.content['annotations']}
        return [image['file_name'] for image in self.content['images'] if image['id'] not in filled]

    def summary(self) -> str:
        """Return a line of counts, and a line for each note."""
        images, boxes, categories = (self.content[key] for key in ('images', 'annotations', 'categories'))
        counts = (f'{self.split.name} split {self.split.annotations}: {len(images)} images, {self.boxes} boxes'
                  f'{ignored(boxes)}, {len(categories)} classes')
        return '\n  '.join([counts, *(note.to_text() for note in self.notes)])


@dataclass(frozen=True)
class Source:
    """One split of a data set, before its check.

    Attributes:
        split: its name, what messages name as its annotations, and its image folder.
        content: its records in COCO's format.
        problems: records that the reader of the layout left out: `where`, `problem`, `record`. They are bad records,
            unless they are few.
        annotated: it has annotations. COCO's test-dev has none.
        upright: the EXIF orientation is applied to images.
        notes: what was corrected.
    """

    split: Split
    content: dict[str, Any]
    problems: list[dict] = field(default_factory=list)
    annotated: bool = True
    upright: bool = True
    notes: list[Note] = field(default_factory=list)

    def check(self, skip_bad: bool = False, unlabelled: bool = False) -> Checked:
        """Check every image header and every record.

        Args:
            skip_bad: leave bad records out instead of raising an error.
            unlabelled: accept a split without annotations.

        Raises:
            DataError: something is missing or wrong; the message names the file and the record.
        """
        split, content = self.split, self.content
        self._check_annotated(unlabelled)
        class_names(content, split.annotations)
        bad, headers = bad_images(split, content['images'])
        sizes = {image['id']: (image['width'], image['height']) for image in without(content['images'], bad)}
        # If an image is left out, its boxes are left out too; they are dropped, not bad records.
        bad += bad_boxes(split, content, sizes, _image_ids(bad))
        if (bad or len(self.problems) > MAX_DROPPED * len(content['annotations'])) and not skip_bad:
            raise DataError(_refusal(split, [*bad, *self.problems]))
        bad += self.problems
        images, boxes = without(content['images'], bad), without(content['annotations'], bad)
        notes = [*self.notes, *_compare_sizes(split, images, headers, self.upright)]
        of_none = [box for box in boxes if box['image_id'] not in sizes]
        boxes = [box for box in boxes if box['image_id'] in sizes]
        dropped = [box for box in boxes if not touches(box['bbox'], *sizes[box['image_id']])]
        _refuse_suspect_boxes(split, boxes, dropped, sizes, skip_bad)
        boxes = [box for box in boxes if touches(box['bbox'], *sizes[box['image_id']])]
        complete, filled = fill_in(boxes)
        notes += [*_notes(bad, of_none, dropped), *filled, *suspect_crowds(complete)]
        notes += _rare_classes(content['categories'], complete) if split.name == 'train' else []
        changed = split.annotations.suffix != '.json' or bool(self.notes or bad or dropped or filled)
        deep = [name for name, header in headers.items() if header.may_be_deep]
        checked = Checked(split, dict(content, images=images, annotations=complete), changed, dropped + of_none, bad,
                          notes, self.upright, self.annotated, deep)
        if self.annotated and not checked.boxes:
            raise DataError(f'{split.annotations} has no {"usable " if bad or dropped else ""}boxes: there is nothing '
                            f'to {"learn from" if split.name == "train" else "evaluate on"} in the {split.name} split.'
                            f'{crowd_hint(complete)}')
        return checked

    def _check_annotated(self, unlabelled: bool) -> None:
        if not (self.annotated or unlabelled):
            name = self.split.name
            raise DataError(f'the {name} split {self.split.annotations} has no annotations. Choose another one with '
                            f'--{name}-split or --{name}-ann; "ghostdet test" can predict on this one')


def _notes(bad: list[dict], of_none: list[dict], dropped: list[dict]) -> list[Note]:
    flat = [box for box in dropped if min(box['bbox'][2:]) <= 0]
    outside = [box for box in dropped if min(box['bbox'][2:]) > 0]
    return [*note('records left out', (f'{entry["where"]} {entry["problem"]}' for entry in bad)),
            *note('boxes of images that were left out, left out too', map(of_image, of_none)),
            *note('boxes without area, left out', map(of_image, flat)),
            *note('boxes outside their image, left out', map(of_image, outside))]


def _rare_classes(categories: list[dict], boxes: list[dict]) -> list[Note]:
    times = Counter(box['category_id'] for box in boxes if not box.get('iscrowd'))
    counts = {category['name']: times[category['id']] for category in categories}
    few = {name: count for name, count in counts.items() if 0 < count < FEW}
    spellings = {''.join(name.split()).casefold(): name for name in counts}
    alike = [f'{name} and {other}' for name in counts if (other := spellings[''.join(name.split()).casefold()]) != name]
    return [*note('ATTENTION: classes whose names differ only by case or spaces', alike),
            *note('classes without a box', (name for name, count in counts.items() if not count)),
            *note(f'classes with fewer than {FEW} boxes', (f'{name} {count}' for name, count in few.items()))]


def without(records: list[dict], bad: list[dict]) -> list[dict]:
    """Return `records` without the records in `bad`."""
    names = {id(entry['record']) for entry in bad}
    return [record for record in records if id(record) not in names]


# --------------------------------------------------------------------------------------------------------------- images

def bad_images(split: Split, images: list[dict]) -> tuple[list[dict], dict[str, Header]]:
    """Return bad records (malformed, with a shared id or without a readable file), and the headers of the others."""
    problems = [_image_problem(image) for image in images]
    # A record that is bad for another reason counts too: its boxes have the same id.
    times = Counter(image['id'] for image in images if isinstance(image, dict) and _is_id(image.get('id')))
    bad = []
    for index, (image, problem) in enumerate(zip(images, problems)):
        if not problem and times[image['id']] > 1:  # all are bad: it is unknown which image the boxes belong to
            problem = f'{times[image["id"]]} images have the id {brief(image.get("original_id", image["id"]))}'
        if problem:
            bad.append(dict(where=f'images[{index}]', problem=problem, record=image))
    headers, unreadable = read_headers(split.images, sorted({image['file_name'] for image in without(images, bad)}))
    hints = closest_names(split.images, [name for name, problem in unreadable.items() if problem == MISSING])
    bad += [dict(where=str(split.images / image['file_name']), record=image,
                 problem=unreadable[image['file_name']] + hints.get(image['file_name'], ''))
            for image in without(images, bad) if image['file_name'] in unreadable]
    return bad, headers


def _image_ids(bad: list[dict]) -> set:
    """Return the ids of images that are bad records."""
    ids = (entry['record'].get('id') for entry in bad if isinstance(entry['record'], dict))
    return {value for value in ids if _is_id(value)}


def _compare_sizes(split: Split, images: list[dict], headers: dict[str, Header], upright: bool) -> list[Note]:
    """Compare the sizes of images with their records, and return notes on those that differ or are turned.

    Raises:
        DataError: many differ.
    """
    odd, unturned, turned = list[str](), list[str](), list[str]()
    for image in images:
        name, wanted, header = image['file_name'], (image['width'], image['height']), headers[image['file_name']]
        size = header.size(upright)
        if size != wanted:
            text = f'{name} is {size[0]}x{size[1]}, its record says {wanted[0]}x{wanted[1]}'
            (unturned if header.size(not upright) == wanted else odd).append(text)
        elif upright and header.orientation > 1 and (header.size(False) == wanted or image.get(FROM_FILE)):
            turned.append(name)  # no size shows whether its boxes are turned
    if len(unturned) > MANY_ODD * len(images):
        cure = ('If the boxes were drawn on pixels as they lie in the file, use --ignore-orientation. Else correct the '
                'records'
                if upright else 'Leave out --ignore-orientation')
        raise DataError(f'{split.annotations}: {len(unturned)} of {len(images)} images are turned by 90 degrees, as '
                        f'their camera says, but their records are {"not" if upright else "so, too"} (such as '
                        f'{unturned[0]}). {cure}.')
    if len(odd) > MANY_ODD * len(images):
        raise DataError(f'{split.annotations}: the size of {len(odd)} of {len(images)} images differs from their '
                        f'record (such as {", ".join(odd[:3])}). The boxes belong to other versions of the images: use '
                        'those.')
    return [*note('ATTENTION: images whose size differs from their record, so their boxes are probably misplaced', odd),
            *note('ATTENTION: images that are turned by 90 degrees, as their camera says, whose records have the size '
                  f'of the {"unturned" if upright else "turned"} image: their boxes are probably misplaced (see '
                  '--ignore-orientation)', unturned),
            *note('images that are turned by 180 degrees, mirrored, or turned with no recorded size that shows it, as '
                  'their camera says; look whether boxes fit (--ignore-orientation leaves images as they lie in the '
                  'file)', turned)]


def _image_problem(image: Any) -> str | None:
    if not isinstance(image, dict):
        return f'is not a record: {brief(image)}'
    missing = [key for key in ('id', 'file_name', 'width', 'height') if key not in image]
    if missing:
        return f'has no {", ".join(missing)}: {brief(image)}'
    if not (_is_id(image['id']) and isinstance(image['file_name'], str) and image['file_name']):
        return f'has an id or a file_name of the wrong type: {brief(image)}'
    if not all(isinstance(image[key], int) and image[key] > 0 for key in ('width', 'height')):
        return f'has a width or height that is not a positive whole number: {brief(image)}'
    return None


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str))


# ---------------------------------------------------------------------------------------------------------------- boxes

def bad_boxes(split: Split, content: dict, sizes: dict[int, tuple[int, int]], gone_images: set) -> list[dict]:
    """Return annotation records that are malformed, or refer to a category or an image that does not exist."""
    categories = {category['id'] for category in content['categories'] if isinstance(category, dict)
                  and 'id' in category}
    bad = []
    for index, box in enumerate(content['annotations']):
        problem = _box_problem(box, categories, sizes, gone_images)
        if problem:
            bad.append(dict(where=f'annotations[{index}]', problem=problem, record=box))
    return bad


def _box_problem(box: Any, categories: set, sizes: dict, gone_images: set) -> str | None:
    if not isinstance(box, dict):
        return f'is not a record: {brief(box)}'
    name = f'(id {brief(box.get("id"))}) '
    bbox = box.get('bbox')
    if not (isinstance(bbox, list) and len(bbox) == 4 and all(is_number(value) for value in bbox)):
        return f'{name}has a bbox that is not a list of four finite numbers: {brief(bbox)}'
    if box.get('iscrowd', 0) not in (0, 1, None):
        return f'{name}has iscrowd {brief(box["iscrowd"])}; expected 0 or 1'
    if not _is_id(box.get('category_id')) or box['category_id'] not in categories:
        return f'{name}has category_id {brief(box.get("category_id"))}, which does not exist'
    if not _is_id(box.get('image_id')) or (box['image_id'] not in sizes and box['image_id'] not in gone_images):
        return f'{name}has image_id {brief(box.get("image_id"))}, which does not exist'
    return None


def touches(bbox: list[float], width: int, height: int) -> bool:
    """Return whether a box [x, y, width, height] has an area and overlaps the image."""
    x, y, w, h = bbox
    return w > 0 and h > 0 and x < width and y < height and x + w > 0 and y + h > 0


def _refuse_suspect_boxes(split: Split, boxes: list[dict], dropped: list[dict], sizes: dict, skip_bad: bool) -> None:
    """Raise an error if so many boxes are wrong that the file must be in another format."""
    guess = guess_format(boxes, sizes)
    if guess:  # then the other boxes are wrong too, so leaving some out would not help
        examples = [box for box in boxes if _sticks_out(box, sizes)] or boxes
        raise DataError(f'{split.annotations}: the boxes are not in COCO format, such as {_named(examples)}. {guess}. '
                        'Convert the file.')
    fraction = len(dropped) / max(1, len(boxes))
    if fraction > MAX_DROPPED and not skip_bad:
        raise DataError(f'{split.annotations}: {len(dropped)} of {len(boxes)} boxes ({fraction:.1%}) have no area or '
                        f'lie entirely outside their image, such as {_named(dropped)}. COCO boxes are [x, y, width, '
                        'height] in pixels. Correct the file, or leave out these boxes with --skip-bad')


def guess_format(boxes: list[dict], sizes: dict[int, tuple[int, int]]) -> str | None:
    """Return a text that says which other format the boxes probably have; None if they look like COCO boxes.

    Boxes are corners if many of them leave their image when read as [x, y, width, height], but nearly all fit when read
    as corners. This does not happen by chance.
    """
    plain = [(box['bbox'], sizes[box['image_id']]) for box in boxes]
    few = MAX_DROPPED * len(plain)
    if plain and sum(max(map(abs, bbox)) > 1 for bbox, _ in plain) <= few:
        return NORMALISED
    fits = sum(0 <= x1 < x2 <= w + 1 and 0 <= y1 < y2 <= h + 1 for (x1, y1, x2, y2), (w, h) in plain)
    outside = sum(_sticks_out(box, sizes) for box in boxes)
    return CORNERS if len(plain) - fits <= few and outside > MANY_OUTSIDE * len(plain) else None


def _sticks_out(box: dict, sizes: dict[int, tuple[int, int]]) -> bool:
    (x, y, w, h), (width, height) = box['bbox'], sizes[box['image_id']]
    return x + w > width + 2 or y + h > height + 2


# ------------------------------------------------------------------------------------------------------------- messages

def _refusal(split: Split, bad: list[dict]) -> str:
    lines = [f'  {entry["where"]}: {entry["problem"]}' for entry in bad[:SHOWN]]
    more = [f'  ... and {len(bad) - SHOWN} more'] if len(bad) > SHOWN else []
    return '\n'.join([f'{split.annotations} ({split.name} split) has {len(bad)} bad records:', *lines, *more,
                      'Fix them, or leave them out with --skip-bad'])


def _named(boxes: Iterable[dict]) -> str:
    return ', '.join(f'id {brief(box.get("id"))} {box["bbox"]} of image {box["image_id"]}' for box in list(boxes)[:3])
