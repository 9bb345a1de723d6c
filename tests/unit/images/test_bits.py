"""Images of more than 8 bits have one depth in a data set: a dark frame stays dark beside a bright one."""
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ghostdet.data import depth
from ghostdet.data.checked import Source
from ghostdet.data.coco import Split
from ghostdet.data.depth import depth_of
from ghostdet.data.loading import own_pipeline
from ghostdet.errors import UserError
from ghostdet.images.decode import bits_used, check_bits, eight_bits
from ghostdet.images.headers import read_header
from ghostdet.infer.detector import _content
from ghostdet.infer.exported import prepare
from ghostdet.infer.manifest import Manifest
from ghostdet.training.config_file import read_config
from ghostdet.training.datasets import dataset_of, ignore_orientation, later_pipelines
from ghostdet.training.plan import complete
from ghostdet.training.trained_detector import ImagePipeline
from tests.conftest import MINI, examples
from tests.unit.images.test_images import run_steps


@examples(100)
@given(st.integers(8, 16), st.data())
def test_eight_bits_of_a_depth_are_the_highest_of_values_that_are_clipped_to_it(bits, data):
    kind = data.draw(st.sampled_from([np.uint16, np.int32, np.int64]))
    values = data.draw(st.lists(st.integers(0, 2 ** 16 - 1), min_size=1))
    expected = [min(255, value // 2 ** (bits - 8)) for value in values]
    assert eight_bits(np.array(values, kind), bits).tolist() == expected
    few = np.array([value % 256 for value in values], np.uint8)
    assert eight_bits(few, bits) is few


@pytest.mark.parametrize('bits', [7, 17, 0, '12', 12.0, True])
def test_check_bits_refuses_what_is_no_depth(bits):
    with pytest.raises(UserError, match=r'--bits .*: expected a number from 8 to 16'):
        check_bits(bits)


@pytest.mark.parametrize('suffix', ['png', 'tif', 'pgm', 'ppm', 'avif'])
@pytest.mark.parametrize('is_grey', [True, False])
def test_headers_and_pixels_of_more_than_8_bits(suffix, is_grey, tmp_path):
    """Alpha does not count: it is always full."""
    if (suffix, is_grey) in [('pgm', False), ('ppm', True), ('avif', True)]:
        return
    values = np.full((8, 8) if is_grey else (8, 8, 4 if suffix in ('png', 'tif') else 3), 1000, np.uint16)
    if values.ndim == 3 and values.shape[2] == 4:
        values[:, :, 3] = 65535
    more = [cv2.IMWRITE_AVIF_DEPTH, 10] if suffix == 'avif' else []
    for name, pixels, settings in (('deep', values, more), ('flat', (values >> 4).astype(np.uint8), [])):
        cv2.imwrite(str(tmp_path / f'{name}.{suffix}'), pixels, settings)
    used = [bits_used((tmp_path / f'{name}.{suffix}').read_bytes()) for name in ('deep', 'flat')]
    assert used == [10, 0]
    assert read_header(tmp_path / f'deep.{suffix}').may_be_deep
    assert read_header(tmp_path / f'flat.{suffix}').may_be_deep == (suffix in ('ppm', 'pgm', 'avif'))


@pytest.fixture
def bright_and_dark(tmp_path):
    """Two frames of one camera of 12 bits, with the values 4095 and 300 at most."""
    for name, most in (('bright', 4095), ('dark', 300)):
        Image.fromarray(np.full((32, 32), most, np.uint16)).save(tmp_path / f'{name}.png')
    Image.fromarray(np.full((32, 32), 77, np.uint8)).save(tmp_path / 'flat.png')
    return tmp_path


def test_one_depth_for_everything_that_reads_an_image(bright_and_dark):
    """The training pipeline, a checkpoint and an exported file, from a file, from an array and from Pillow."""
    wanted = dict(bright=255, dark=300 >> 4, flat=77)
    cfg = read_config(MINI, {})
    cfg.bits = 12
    manifest = Manifest('RetinaNet', ('a',), None, (32, 32), True, 1, (), (), True, 0.05, 'fp32', '', {}, bits=12)
    manifest = Manifest.from_json(manifest.to_json(), '')
    for name, value in wanted.items():
        file = bright_and_dark / f'{name}.png'
        for split in ('train', 'test'):
            steps = dataset_of(cfg, split).pipeline
            for some in (steps[:1], steps[:2] if split == 'test' else steps[:1]):
                assert set(run_steps(own_pipeline(some, cfg.bits), file)['img'].flat) == {value}
        assert set(ImagePipeline(cfg)(file.read_bytes())['inputs'][0].flatten().tolist()) == {value}
        assert set(prepare(file.read_bytes(), manifest).canvas.flat) == {value}
        with Image.open(file) as image:
            for content in (np.asarray(image), image):
                assert set(_content(content, True, 12).flat) == {value}
    assert prepare((bright_and_dark / 'dark.png').read_bytes(), replace(manifest, bits=None)).canvas.max() == 300 >> 1
    assert ImagePipeline(cfg, bits=16).bits == 16


def test_pipelines_of_the_last_epochs_read_as_the_loader_does():
    cfg = read_config('rtmdet_tiny_coco', {})
    cfg.bits = 12
    ignore_orientation(cfg)
    complete(cfg)
    (hook,) = later_pipelines(cfg)
    (loader,) = (step for step in hook['switch_pipeline'] if step.get('bits'))
    assert (loader['type'], loader['bits'], loader['color_type']) == ('mmdet.LoadWholeImage', 12,
                                                                      'color_ignore_orientation')


def test_depth_of_leaves_out_a_few_broken_images(bright_and_dark, monkeypatch, caplog):
    monkeypatch.setattr(depth, '_bits_used', lambda file: 16 if file.stem == '0' else 12)
    split = split_with(bright_and_dark, 'dark')
    for count, expected in ((200, 12), (50, 16)):
        names = [f'{number}.png' for number in range(count)]
        many = replace(split, deep=names, content=dict(split.content, images=[dict(file_name=name) for name in names]))
        with caplog.at_level('INFO', 'ghostdet'):
            assert depth_of([many]) == expected
        assert ('1 images have larger values, which are clipped' in caplog.text) == (expected == 12)
        caplog.clear()


def split_with(folder, *names):
    images = [dict(id=index, file_name=f'{name}.png', width=32, height=32) for index, name in enumerate(names)]
    boxes = [dict(id=1, image_id=0, category_id=1, bbox=[1, 1, 9, 9], area=81, iscrowd=0)]
    content = dict(images=images, annotations=boxes, categories=[dict(id=1, name='a')])
    return Source(Split('train', folder / 'a.json', folder), content).check()


def test_depth_of_is_that_of_the_brightest_image(bright_and_dark, monkeypatch, caplog):
    monkeypatch.setenv('XDG_CACHE_HOME', str(bright_and_dark / 'cache'))
    for _ in range(2):  # the second time from the remembered headers
        splits = [split_with(bright_and_dark, 'dark', 'flat'), split_with(bright_and_dark, 'bright')]
        assert [split.deep for split in splits] == [['dark.png'], ['bright.png']]
        assert (depth_of(splits), splits[0].bits) == (12, 12)
    assert depth_of(splits[:1]) == 9
    assert depth_of(splits, 14) == 14


def test_depth_of_images_of_8_bits_reads_none(bright_and_dark, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(bright_and_dark / 'cache'))
    monkeypatch.setattr('ghostdet.data.depth.bits_used', None)
    assert depth_of([split_with(bright_and_dark, 'flat')]) is None
