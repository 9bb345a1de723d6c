"""Images with more mistakes to expect have more mistakes: the blood-cell example on images that it has not seen."""
import json

import numpy as np
import pytest

from ghostdet.cli import door
from ghostdet.data.recognise import recognise
from ghostdet.infer.agreement import overlaps
from tests.conftest import ROOT, tool
from tests.label_folders import boxes_of
from tests.real_images import BCCD


def mistakes(found, truth):
    """Boxes that cover no free object of their class by half, and objects that are left; best boxes first."""
    free, wrong = list(truth), 0
    for label, *corners in found:
        fits = [overlaps(np.array([corners]), np.array([box[1:]]))[0, 0] if box[0] == label else 0 for box in free]
        if max(fits, default=0) >= 0.5:
            del free[int(np.argmax(fits))]
        else:
            wrong += 1
    return wrong + len(free)


@pytest.mark.skipif(not BCCD.is_dir(), reason=f'no blood cells at {BCCD}; GHOSTDET_BCCD names another folder')
@pytest.mark.parametrize(('threshold', 'every', 'first'), [(0.3, 8.4, 13.5), (0.45, 7.0, 11.8)])
def test_the_first_images_have_more_mistakes(threshold, every, first, tmp_path):
    truth = boxes_of(recognise(BCCD).read('test').content)
    (tmp_path / 'photos').mkdir()
    for name in truth:
        (tmp_path / f'photos/{name}.jpg').symlink_to((BCCD / f'JPEGImages/{name}.jpg').resolve())
    assert door.run(tool('predict'), [str(ROOT / 'examples/blood-cells/detector.xml'), str(tmp_path / 'photos'),
                                      '--no-pictures', '--threshold', str(threshold), '--uncertain', '72', '--out',
                                      str(tmp_path / 'out')]) == 0
    found = boxes_of(json.loads((tmp_path / 'out/detections.json').read_text()))
    lines = (tmp_path / 'out/uncertain.txt').read_text().splitlines()
    counts = [mistakes(found[name], truth[name]) for name in (line.partition('.jpg')[0] for line in lines)]
    assert len(counts) == 72
    # other processors compute slightly other scores
    np.testing.assert_allclose([np.mean(counts), np.mean(counts[:10])], [every, first], atol=0.7)
    assert np.mean(counts[:10]) > 1.4 * np.mean(counts)
    assert np.mean(counts[-10:]) < 0.8 * np.mean(counts)
