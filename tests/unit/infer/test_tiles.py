"""Tiles of large pictures, with a detector that returns the drawn boxes that it sees, cut at the tile."""
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdet import messages
from ghostdet.errors import UserError
from ghostdet.images.tiling import tiles_of
from ghostdet.infer import detector
from ghostdet.infer.detections import Detections
from ghostdet.infer.tiles import TiledEngine, Tiles, joined
from tests.conftest import examples

CLASSES = ('even', 'odd')


class Seeing:
    """An engine for pictures whose pixels are the numbers of the objects; 0 is the background."""

    classes, upright, batch, bits, thresholds, tile, side = CLASSES, True, 2, None, None, None, 64
    requests, workers = 2, 3

    def __init__(self, max_objects=None):
        self.max_objects, self.seen = max_objects, []

    def prepare(self, image):
        return image[:, :, 0]

    def run(self, images):
        self.seen += [image.shape for image in images]
        return [self.boxes(image) for image in images]

    def boxes(self, image):
        numbers = np.unique(image[image > 0])
        spots = [np.argwhere(image == number) for number in numbers]
        boxes = np.array([(*spot.min(axis=0)[::-1], *spot.max(axis=0)[::-1] + 1) for spot in spots], np.float32)
        order = np.argsort([-spot.size for spot in spots], kind='stable')
        scores = np.array([0.9 if spot.size else 0 for spot in spots], np.float32)
        labels = np.array([number % 2 for number in numbers], np.int64)
        return Detections(boxes.reshape(-1, 4)[order], scores[order], labels[order], CLASSES, image.shape)


def picture(width, height, boxes):
    image = np.zeros((height, width, 3), np.uint8)
    for number, (left, top, right, bottom) in enumerate(boxes, 1):
        image[top:bottom, left:right] = number
    return image


def found(engine, image):
    detections = engine.run([engine.prepare(image)])[0]
    return sorted((name, *map(float, box)) for name, _, box in detections)


def drawn(boxes):
    return sorted((CLASSES[number % 2], *map(float, box)) for number, box in enumerate(boxes, 1))


def apart(one, other):
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


@st.composite
def scenes(draw):
    """A picture's sides, boxes that do not overlap, a tile's side and the overlap."""
    width, height = draw(st.integers(1, 180)), draw(st.integers(1, 180))
    boxes = []
    for _ in range(draw(st.integers(0, 12))):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        box = left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
        if all(apart(box, other) for other in boxes):
            boxes.append(box)
    size = draw(st.integers(max(4, max(width, height) // 8), 90))
    return width, height, boxes, size, draw(st.integers(1, max(1, size - 3)))


@examples(200)
@given(scenes(), st.booleans())
def test_each_object_comes_once_and_whole(scene, whole):
    """Across every kind of border: of any size, also larger than a tile, also touching its neighbours."""
    width, height, boxes, size, overlap = scene
    engine = TiledEngine(Seeing(), Tiles(size, overlap, whole))
    assert found(engine, picture(width, height, boxes)) == drawn(boxes)


def test_each_tile_goes_through_the_network_once():
    engine = TiledEngine(Seeing(), Tiles(64, 16))
    engine.run([np.zeros((100, 200, 3), np.uint8)])
    assert engine.engine.seen == [(64, 64)] * len(tiles_of(200, 100, 64, 16))
    whole = TiledEngine(Seeing(), Tiles(64, 16, whole=True))
    whole.run([np.zeros((100, 200, 3), np.uint8)])
    assert sorted(whole.engine.seen) == [(64, 64)] * len(tiles_of(200, 100, 64, 16)) + [(100, 200)]


def detections(*rows):
    """Detections of class 0: boxes and scores."""
    boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    return Detections(boxes, np.array([row[4] for row in rows], np.float32), np.zeros(len(rows), np.int64), CLASSES,
                      (100, 180))


LEFT, RIGHT = (0, 0, 100, 100), (80, 0, 180, 100)  # they share 20 pixels


def boxes_of(*found):
    result = joined(found, (LEFT, RIGHT), (100, 180))
    return [tuple(round(value, 2) for value in (*box, score)) for _, score, box in result]


@pytest.mark.parametrize(('case', 'left', 'right', 'expected'), [
    ('the piece of an object that the other tile has whole', [(60, 10, 95, 40, 0.5)], [(80, 11, 97, 40, 0.8)],
     [(60, 10, 95, 40, 0.8)]),
    ('a piece that the other tile, which sees more, does not have', [], [(80, 10, 95, 40, 0.8)], []),
    ('two pieces of an object larger than the overlap', [(30, 10, 100, 40, 0.5)], [(80, 12, 150, 42, 0.4)],
     [(30, 10, 150, 42, 0.5)]),
    ('one object that both have', [(82, 10, 97, 40, 0.5)], [(83, 10, 97, 40, 0.4)], [(82, 10, 97, 40, 0.5)]),
    ('close objects of one tile', [(20, 10, 50, 40, 0.5), (22, 10, 52, 40, 0.4)], [],
     [(20, 10, 50, 40, 0.5), (22, 10, 52, 40, 0.4)]),
    ('close objects that both have', [(82, 10, 96, 40, 0.5), (84, 10, 98, 40, 0.4)],
     [(82, 10, 96, 40, 0.3), (84, 10, 98, 40, 0.6)], [(84, 10, 98, 40, 0.6), (82, 10, 96, 40, 0.5)]),
    ('a large object that one tile misses', [(30, 10, 100, 40, 0.5)], [], [(30, 10, 100, 40, 0.5)])])
def test_joined(case, left, right, expected):
    assert boxes_of(detections(*left), detections(*right)) == expected


def test_classes_are_not_joined():
    other = detections((82, 10, 97, 40, 0.4))
    other = Detections(other.boxes, other.scores, other.labels + 1, CLASSES, other.size)
    assert len(joined([detections((82, 10, 97, 40, 0.5)), other], (LEFT, RIGHT), (100, 180))) == 2


def test_the_whole_picture_adds_only_objects_larger_than_the_overlap():
    """Tiles see the others larger, and whole."""
    class Blind(Seeing):
        def boxes(self, image):
            seen = super().boxes(image)
            return seen if image.shape == (100, 200) else seen.where(slice(0))
    boxes = [(10, 10, 26, 26), (60, 60, 77, 70)]
    engine = TiledEngine(Blind(), Tiles(64, 16, whole=True))
    assert found(engine, picture(200, 100, boxes)) == drawn(boxes)[:1] == [('even', 60, 60, 77, 70)]


def test_fitted_takes_what_the_detector_knows_and_else_its_input():
    assert Tiles().fitted(None, 416) == Tiles(416, 104)
    assert Tiles().fitted((640, 90), 416) == Tiles(640, 90)
    assert Tiles(300).fitted((640, 200), 416) == Tiles(300, 150)  # at most half
    assert Tiles(300, 40, True).fitted((640, 200), 416) == Tiles(300, 40, True)


def test_wrong_tiles():
    with pytest.raises(UserError, match='--tiles 1: expected the side'):
        Tiles(1)
    with pytest.raises(UserError, match='--tile-overlap 0: expected at least 1'):
        Tiles(100, 0)
    with pytest.raises(UserError, match='--tile-overlap 416: expected fewer pixels than a tile has, 416'):
        TiledEngine(SimpleNamespace(tile=None, side=416), Tiles(overlap=416))


def test_wrong_tiles_in_python(monkeypatch):
    """Messages name arguments, not options of a command."""
    monkeypatch.setattr(messages.LOGGER, 'handlers', [])
    with pytest.raises(UserError, match=r'^tiles=1: expected the side'):
        Tiles(1)
    monkeypatch.setattr(detector, 'ExportedDetector', lambda *_: SimpleNamespace(tile=None, side=64))
    with pytest.raises(UserError, match=r'^tile_overlap=64: expected fewer pixels than a tile has, 64'):
        detector.Detector('detector.onnx', tiles=Tiles(overlap=64))


def test_full_tiles_are_reported_once():
    engine = TiledEngine(Seeing(max_objects=2), Tiles(64, 16))
    engine.run([picture(200, 100, [(0, 0, 5, 5), (10, 0, 15, 5)])] * 2)
    assert engine.has_warned
    assert engine.max_objects is None
    engine = TiledEngine(Seeing(max_objects=3), Tiles(64, 16))
    engine.run([picture(200, 100, [(0, 0, 5, 5), (10, 0, 15, 5)])])
    assert not engine.has_warned
