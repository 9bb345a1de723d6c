"""NanoDet-Plus as its authors trained it on COCO, where its weights are at hand: it finds what it found before.

PYTHONPATH=. python -m tests.run.weights.test_trained_on_coco    # records the boxes again
"""
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from ghostdet import Detector
from ghostdet.packaged_configs import find_config
from tests.closed_form import golden
from tests.conftest import tool
from tests.real_images import COCO128, NANODET, needs_nanodet

pytestmark = needs_nanodet
CONFIG = 'nanodet-plus_shufflenetv2_1.0x_416_coco'
RECORD = Path(__file__).parents[2] / 'golden/nanodet_coco128.json'
THRESHOLD = 0.4
# Other processors change sums in their last digits, other versions of OpenCV and libjpeg some pixels by a level. Noise
# of one level in every pixel, which is more than either, moved scores by 0.013 and sides by 4 pixels, in large boxes.
# A wrong mean, channel order or resize moves scores by 0.1 and more.
SCORE = 0.02
SIDE = 0.02  # of the longer side of the box, and a pixel


def found_in_sixteen(config):
    """By image: class, score and box of what has a score of at least 0.4, less the tolerance."""
    detector = Detector(NANODET / 'recovered.pth', config=config)
    return {file.name: [(name, score, box) for name, score, box in detector(file, THRESHOLD - SCORE)]
            for file in sorted((COCO128 / 'train2017').glob('*.jpg'))[:16]}


def without_auxiliary(folder):
    """A config for recovered.pth."""
    (folder / 'config.py').write_text(f"_base_ = '{find_config(CONFIG)}'\nmodel = dict(aux_head=None)\n")
    return folder / 'config.py'


def iou(one, other):
    one, other = np.array(one), np.array(other)
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    common = np.prod(np.clip(high - low, 0, None))
    return common / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - common)


def without_partner(wanted, found):
    """Boxes in `wanted` of which `found` has none of the same class, with almost the same score and sides."""
    for name, score, box in wanted:
        _, best, sides = max((one for one in found if one[0] == name), key=lambda one: iou(box, one[2]),
                             default=(name, 0, np.zeros(4)))
        allowed = 1 + SIDE * max(box[2] - box[0], box[3] - box[1])
        if abs(best - score) > SCORE or np.abs(np.subtract(sides, box)).max() > allowed:
            yield name, score, box


def test_it_finds_what_it_found_before(tmp_path):
    recorded, found = golden('nanodet_coco128'), found_in_sixteen(without_auxiliary(tmp_path))
    assert recorded.keys() == found.keys()
    for image, boxes in recorded.items():
        certain = [one for one in found[image] if one[1] >= THRESHOLD + SCORE]
        assert [*without_partner(boxes, found[image]), *without_partner(certain, boxes)] == [], image


@pytest.mark.nightly
@pytest.mark.parametrize('out', [None, 'detector.onnx', 'detector.xml', 'detector.ncnn.param'])
def test_ap_on_coco128_is_that_of_the_published_network(out, tmp_path):
    """As an independent program found it with the authors' ncnn file: ncnn, NumPy, and OpenCV's NMS."""
    model, options = str(NANODET / 'recovered.pth'), ['--cfg-options', 'model.aux_head=None']
    if out:
        tool('export')([CONFIG, model, '--out', str(tmp_path / out), '--images', str(COCO128 / 'train2017'),
                        *(['--precision', 'fp16'] if 'ncnn' in out else []), *options])
        model, options = str(tmp_path / out), []
    tool('test')([CONFIG, model, '--data-root', str(COCO128), '--work-dir', str(tmp_path / 'run'), *options])
    metrics = json.loads((tmp_path / 'run/coco.json').read_text())['metrics']
    expected = dict(AP=0.419, AP50=0.586, AP75=0.455, AP_small=0.193, AP_medium=0.463, AP_large=0.647)
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=0.002)


def record():
    """Write the boxes that are found now, with a score of at least 0.4."""
    with TemporaryDirectory() as made:
        found = found_in_sixteen(without_auxiliary(Path(made)))
    lines = [f'{json.dumps(image)}: ' + json.dumps([
        [name, round(score, 3), [round(side, 1) for side in box]] for name, score, box in boxes if score >= THRESHOLD])
        for image, boxes in found.items()]
    RECORD.write_text('{' + ',\n'.join(lines) + '}\n')


if __name__ == '__main__':
    record()
