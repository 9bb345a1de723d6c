"""Labels that were written, and what other programs read of them: the same boxes, by image and class."""
import json

import numpy as np

from ghostdet.data.recognise import recognise
from ghostdet.infer.detections import Detections


def written(folder):
    """Boxes in `detections.json`, clipped to their images: stem -> [(class, left, top, right, bottom), ...]."""
    content = json.loads((folder / 'detections.json').read_text())
    return boxes_of(content)


def boxes_of(content):
    """Boxes of COCO content: stem -> [(class, left, top, right, bottom), ...]."""
    names = {category['id']: category['name'] for category in content['categories']}
    result = {image['id']: [] for image in content['images']}
    for record in content['annotations']:
        x, y, width, height = record['bbox']
        result[record['image_id']].append((names[record['category_id']], x, y, x + width, y + height))
    stems = {image['id']: image['file_name'].rpartition('/')[2].rpartition('.')[0] for image in content['images']}
    assert len(set(stems.values())) == len(stems)
    return {stems[image]: boxes for image, boxes in result.items()}


def read(folder):
    """Boxes that our own readers find in a folder of labels; they find nothing wrong there."""
    layout = recognise(folder)
    source = layout.read(layout.train)
    assert not source.problems
    return boxes_of(source.content)


def assert_same(found, expected, tolerance=0.01):
    """The same images with the same boxes, in any order, to a part of a pixel."""
    assert found.keys() == expected.keys()
    for name, boxes in expected.items():
        rest = list(found[name])
        assert len(rest) == len(boxes), name
        for label, *corners in boxes:
            near = min(rest, key=lambda box: (box[0] != label, np.abs(np.subtract(box[1:], corners)).max()))
            assert near[0] == label, (name, label)
            np.testing.assert_allclose(near[1:], corners, rtol=0, atol=tolerance, err_msg=name)
            rest.remove(near)


def detections(boxes, classes, size):
    """Detections of (label, left, top, right, bottom), in an image of a height and a width."""
    rows = np.array([corners for _, *corners in boxes], np.float32).reshape(-1, 4)
    scores = np.linspace(1, 0.5, len(boxes)).astype(np.float32)
    return Detections(rows, scores, np.array([label for label, *_ in boxes], np.int64), tuple(classes), size)
