"""The page about tracking, run on a video of which the answer is known, beside supervision and its trackers."""
import json
import subprocess

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.other_environments import environment, without_clone
from tests.unit.test_docs import blocks, without_code

PAGE = 'docs/how-to/track-and-count.md'
WIDTH, HEIGHT, FRAMES, RADIUS = 320, 240, 70, 14
COLOURS = dict(red=(0, 0, 255), green=(0, 255, 0))  # blue first
BLIND = 25  # a frame in which nothing is found


def back_and_forth(frame):
    """Comes close to the line, and returns."""
    return 100 + 40 * np.sin(np.pi * frame / FRAMES), 200


# Class, and centre in each frame. The third and the fourth meet at the line; the fourth is behind.
DISCS = [('red', lambda frame: (40 + 4 * frame, 30)), ('green', lambda frame: (300 - 4 * frame, 75)),
         ('red', lambda frame: (20 + 4 * frame, 136)), ('green', lambda frame: (290 - 3.75 * frame, 144)),
         ('green', lambda frame: (240, 170 + frame / 2)), ('red', back_and_forth), ('green', lambda frame: (50, 60))]

# Runs the page with a detector that finds colours, and notes what the tracker returns.
HARNESS = '''
import json, sys
import cv2
import numpy as np
import ghostdet
import trackers
from ghostdet.infer.detections import Detections

BLIND, classes, calls, seen = int(sys.argv[1]), ('red', 'green'), [], []

class ByColour:
    threshold = 0.4

    def __init__(self, model):
        self.classes = classes

    def __call__(self, image, threshold):
        rows = []
        for label, channel in enumerate((0, 1)):
            mask = (image[..., channel] > 150) & (image[..., 1 - channel] < 110)
            _, _, parts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
            # what is half hidden has a low score
            rows += [(label, min(0.9, area / 700), x, y, x + w, y + h) for x, y, w, h, area in parts[1:] if area > 60]
        calls.append(1)
        rows = [] if len(calls) == BLIND + 1 else sorted(rows, key=lambda row: -row[1])
        rows = np.array(rows, np.float32).reshape(-1, 6)
        labels = rows[:, 0].astype(np.int64)
        return Detections(rows[:, 2:], rows[:, 1], labels, classes, image.shape[:2]).above(threshold)

class Noting(trackers.ByteTrackTracker):
    def update(self, detections):
        result = super().update(detections)
        seen.append([[int(one), *map(float, box)] for one, box in zip(result.tracker_id, result.xyxy)])
        return result

ghostdet.Detector, trackers.ByteTrackTracker = ByColour, Noting
exec(compile(open('page.py').read(), 'page.py', 'exec'))
json.dump(seen, open('seen.json', 'w'))
'''


def write_video(file):
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*'mp4v'), 30, (WIDTH, HEIGHT))
    for number in range(FRAMES):
        frame = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
        for name, path in DISCS[::-1]:
            cv2.circle(frame, tuple(round(float(part)) for part in path(number)), RADIUS, COLOURS[name], -1)
        writer.write(frame)
    writer.release()


def numbers(seen):
    """Disc -> the numbers that it got in all frames, without -1. Each box belongs to the disc that it lies on."""
    found = {index: set() for index in range(len(DISCS))}
    for frame, boxes in enumerate(seen):
        for number, left, top, right, bottom in boxes:
            centre = (left + right) / 2, (top + bottom) / 2
            offsets = [np.hypot(*np.subtract(path(frame), centre)) for _, path in DISCS]
            assert min(offsets) < RADIUS, (frame, centre)
            if number >= 0:
                found[int(np.argmin(offsets))].add(number)
    return found


@pytest.mark.network
@pytest.mark.timeout(1200)
def test_objects_keep_their_numbers_and_the_line_counts_them(tmp_path, tmp_path_factory):
    write_video(tmp_path / 'clip.mp4')
    page, = (block.text for block in blocks(PAGE) if block.language == 'python')
    (tmp_path / 'page.py').write_text(page)
    (tmp_path / 'harness.py').write_text(HARNESS)
    result = subprocess.run([environment('tracking', tmp_path_factory), 'harness.py', str(BLIND)], cwd=tmp_path,
                            env=without_clone(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    seen = json.loads((tmp_path / 'seen.json').read_text())
    assert len(seen) == FRAMES
    assert not seen[BLIND]
    found = numbers(seen)
    assert all(len(one) == 1 for one in found.values()), found
    assert len(set.union(*found.values())) == len(DISCS)
    right = sum(path(0)[0] < WIDTH / 2 < path(FRAMES - 1)[0] for _, path in DISCS)
    left = sum(path(0)[0] > WIDTH / 2 > path(FRAMES - 1)[0] for _, path in DISCS)
    assert (right, left) == (2, 2)
    assert result.stdout.splitlines() == ['2 to the right, 2 to the left; at most 2 in the corner',
                                          'to the right: 2 red']
    assert cv2.VideoCapture(str(tmp_path / 'counted.mp4')).get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES


TO_SUPERVISION = '''
import numpy as np
import supervision as sv
from ghostdet.infer.detections import Detections
boxes = np.array([[0, 0.5, 3, 4], [1, 1, 2, 2]], np.float32)
some = Detections(boxes, np.array([0.9, 0.4], np.float32), np.array([1, 0]), ('a', 'fire truck'), (9, 9))
found, none = some.to_supervision(), some.above(1).to_supervision()
assert found == sv.Detections(boxes, confidence=np.array([0.9, 0.4], np.float32), class_id=np.array([1, 0]),
                              data=dict(class_name=np.array(['fire truck', 'a'])))
assert found.xyxy.dtype == np.float32
assert none.is_empty() and len(none) == 0 and none['class_name'].tolist() == []
assert sv.Detections.merge([none, found]) == found
assert found[found['class_name'] == 'a'].confidence.tolist() == [np.float32(0.4)]
'''


@pytest.mark.network
@pytest.mark.timeout(1200)
def test_to_supervision_gives_its_detections(tmp_path_factory):
    result = subprocess.run([environment('tracking', tmp_path_factory), '-c', TO_SUPERVISION], env=without_clone(),
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.parametrize('page', [PAGE, 'docs/how-to/label-more.md'])
def test_the_page_is_short(page):
    assert len(without_code((ROOT / page).read_text()).split()) <= 250
