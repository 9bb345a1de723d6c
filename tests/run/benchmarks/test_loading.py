"""What the reading of images costs is measured through the command line."""
import re

import pytest
from mmdet.datasets.transforms import PackDetInputs
from PIL import Image

from ghostdet.cli import door
from ghostdet.data.loading import DecodeAndResize
from tests.conftest import MINI, ROOT, study


def benchmark(*arguments):
    return door.run(study('speed'), ['loading', *map(str, arguments)])


def test_images_of_a_folder(capsys, tmp_path):
    for number, kind in enumerate(('jpg', 'png', 'JPEG')):
        (tmp_path / str(number)).mkdir()
        Image.new('RGB', (40, 30)).save(tmp_path / str(number) / f'a.{kind}')
    (tmp_path / 'notes.txt').write_text('not an image')
    config = ROOT / 'configs/retinanet_ghostnet_1.1x_coco128.py'
    assert benchmark(config, '--images', tmp_path, '--scale', 32, 32, '--pairs', 1) == 0
    assert '3 images of 40x30 (medians), ' in capsys.readouterr().out


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--images', 'EMPTY'], 'there are no images'),
    (['--pairs', 0], 'have to be at least 1'),
    (['--scale', 320, -1], 'have to be at least 1'),
])
def test_what_cannot_be_measured_is_told(arguments, message, capsys, tmp_path):
    assert benchmark(MINI, *[tmp_path if part == 'EMPTY' else part for part in arguments]) == 1
    assert message in capsys.readouterr().err

QUARTILES = r'\d+\.?\d* \(\d+\.?\d* to \d+\.?\d*\)'


@pytest.fixture
def sizes(monkeypatch):
    """Of the images that our pipelines resized."""
    seen, resize = [], DecodeAndResize._resize_img
    monkeypatch.setattr(DecodeAndResize, '_resize_img', lambda self, results: (resize(self, results),
                                                                               seen.append(results['img_shape'])))
    return seen


@pytest.mark.nightly
def test_made_up_images_through_both_pipelines_at_every_scale(capsys, tmp_path, sizes):
    assert benchmark(MINI, '--count', 2, '--size', 160, 120, '--scale', 80, 80, '--scale', 100, 50, '--pairs', 2,
                     '--out', tmp_path / 'made/table.md') == 0
    first, header, *rows = capsys.readouterr().out.splitlines()[-6:]
    assert re.fullmatch(r'2 images of 160x120 \(medians\), \d+ KB each; 2 pairs, processor time of one thread', first)
    assert re.split('  +', header)[:3] == ['scale', 'pipeline', 'mmdet, images/s']
    assert [re.split('  +', row)[:2] for row in rows] == [['80x80', 'training'], ['80x80', 'prediction'],
                                                          ['100x50', 'training'], ['100x50', 'prediction']]
    for row in rows:
        detector = '-' if 'training' in row else QUARTILES
        assert re.fullmatch('  +'.join([QUARTILES] * 3 + [detector]), re.split('  +', row, maxsplit=2)[2])
    assert set(sizes) == {(60, 80), (50, 67)}
    lines = (tmp_path / 'made/table.md').read_text().splitlines()
    assert lines[0] == first
    assert [cell.strip() for cell in lines[-1].strip('|').split('|')] == re.split('  +', rows[-1])


def test_both_ways_flip_the_same_images(monkeypatch):
    flips, pack = [], PackDetInputs.transform
    monkeypatch.setattr(PackDetInputs, 'transform', lambda self, results: (flips.append(results.get('flip_direction')),
                                                                           pack(self, results))[1])
    assert benchmark(MINI, '--count', 5, '--size', 32, 32, '--scale', 32, 32, '--pairs', 1) == 0
    training = flips[:20]  # the first five do not count, and so on in turn
    assert training == training[:5] * 4
    assert len(set(training)) > 1
