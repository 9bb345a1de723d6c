"""How boxes of tiles are joined, on mosaics of the small data set."""
import json

import numpy as np

from benchmarks import tile_joins
from ghostdet.data.sources import find_sources


def test_mosaics_keep_each_box_on_its_pixels(shapes):
    source = find_sources(shapes)['train']().check()
    pictures, truth = tile_joins.mosaics(source.content, source.split.images, 2)
    assert [picture.shape for picture in pictures] == [(1200, 1200, 3)] * 2
    assert len(truth['annotations']) == len(source.content['annotations'])
    for box, own in zip(truth['annotations'], source.content['annotations']):
        x, y, width, height = map(round, box['bbox'])
        part = pictures[box['image_id'] - 1][y:y + height, x:x + width]
        assert part.shape[:2] == tuple(map(round, own['bbox'][:1:-1]))
        assert (part != tile_joins.GREY).any()


def test_table(shapes, exported, tmp_path):
    tile_joins.main([str(exported / 'detector.onnx'), '--data-root', str(shapes), '--out', str(tmp_path), '--columns',
                     '2', '--tile', '600', '--overlaps', '100'])
    content = json.loads((tmp_path / 'tile_joins.json').read_text())
    row = content['rows'][0]
    assert (row['way'], row['overlap'], content['pictures']) == ('ghostdet', 100, 2)
    assert 0 <= row['AP'] <= row['AP50'] <= 1
    assert np.isfinite([row['join_seconds'], row['network_seconds']]).all()
    assert '| 100 | ghostdet |' in (tmp_path / 'tile_joins.md').read_text()
