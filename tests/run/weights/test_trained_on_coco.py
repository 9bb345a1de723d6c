"""NanoDet-Plus as its authors trained it on COCO, where its weights are at hand: it finds what it found before.

PYTHONPATH=. python -m tests.run.weights.test_trained_on_coco    # records the boxes again
"""
import json
from pathlib import Path

import numpy as np
import pytest

import ghostdet
from ghostdet import Detector
from tests.conftest import tool
from tests.closed_form import golden
from tests.real_images import COCO128, NANODET, needs_nanodet

pytestmark = needs_nanodet
CONFIG = 'nanodet-plus_shufflenetv2_1.0x_416_coco'
RECORD = Path(__file__).parents[2] / 'golden/nanodet_coco128.json'
THRESHOLD = 0.4
# Other processors, and other versions of OpenCV and libjpeg, change pixels by a level or two and sums in their last
# digits: 0.004 in score was seen between x86 and ARM64. Five times that is allowed. A wrong mean, channel order or
# resize moves scores by 0.1 and more.
SCORE, PIXELS = 0.02, 1.0


def found_in_sixteen(config):
    """By image: class, score and box of what has a score of at least 0.4, less the tolerance."""
    detector = Detector(NANODET / 'recovered.pth', config=config)
    return {file.name: [(name, score, box) for name, score, box in detector(file, THRESHOLD - SCORE)]
            for file in sorted((COCO128 / 'train2017').glob('*.jpg'))[:16]}


@pytest.fixture
def config(tmp_path):
    return without_auxiliary(tmp_path)


def without_auxiliary(folder):
    """A config for recovered.pth."""
    base = Path(ghostdet.__file__).parent.parent / f'configs/{CONFIG}.py'
    (folder / 'config.py').write_text(f"_base_ = '{base}'\nmodel = dict(aux_head=None)\n")
    return folder / 'config.py'


def iou(one, other):
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    common = np.prod(np.clip(high - low, 0, None))
    return common / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - common)


def differences(wanted, found):
    """Boxes with a certain score that have no partner."""
    for name, score, box in wanted:
        same = [other for other in found if other[0] == name and iou(np.array(box), np.array(other[2])) > 0.8]
        best = max(same, key=lambda other: iou(np.array(box), np.array(other[2])), default=None)
        if best is None or abs(best[1] - score) > SCORE or np.abs(np.subtract(best[2], box)).max() > PIXELS:
            yield name, score, box, best


def test_it_finds_what_it_found_before(config):
    recorded, found = golden('nanodet_coco128'), found_in_sixteen(config)
    assert recorded.keys() == found.keys()
    for image, boxes in recorded.items():
        new = [one for one in found[image] if one[1] >= THRESHOLD + SCORE]
        assert [*differences(boxes, found[image]), *differences(new, boxes)] == [], image
    assert sum(map(len, recorded.values())) > 30


@pytest.mark.nightly
@pytest.mark.parametrize('out', [None, 'detector.onnx', 'detector.xml', 'detector.ncnn.param'])
def test_ap_on_coco128_is_that_of_the_published_network(out, tmp_path):
    """As an independent program found it with the authors' ncnn file: ncnn, NumPy, and OpenCV's NMS."""
    model, options = str(NANODET / 'recovered.pth'), ['--cfg-options', 'model.aux_head=None']
    if out:
        precision = ['--precision', 'fp16'] if 'ncnn' in out else []
        tool('export')([CONFIG, model, '--out', str(tmp_path / out), '--images', str(COCO128 / 'train2017'), *precision,
                        *options])
        model = str(tmp_path / out)
    tool('test')([CONFIG, model, '--data-root', str(COCO128), '--work-dir', str(tmp_path / 'run'), *options])
    table = json.loads((tmp_path / 'run/coco.json').read_text())
    print(table.keys())
    assert table['bbox_mAP'] == pytest.approx(0.419, abs=6e-4)


if __name__ == '__main__':
    from tempfile import TemporaryDirectory
    with TemporaryDirectory() as made:
        boxes = {image: [[name, round(score, 3), [round(side, 1) for side in box]] for name, score, box in found
                         if score >= THRESHOLD] for image, found in found_in_sixteen(without_auxiliary(Path(made))).items()}
    lines = ',\n'.join(f'{json.dumps(image)}: {json.dumps(found)}' for image, found in boxes.items())
    RECORD.write_text(f'{{{lines}}}\n')
