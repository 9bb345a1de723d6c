"""An image is read to its end or not at all, with mmdet's pixels or, where it is decoded smaller, nearly those."""
import copy
import io

import cv2
import mmcv
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from mmcv.transforms import LoadImageFromFile
from mmdet.apis import inference_detector, init_detector
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, RandomFlip, Resize
from PIL import Image

from benchmarks.loading_speed import photo_like
from ghostdet.data.loading import DecodeAndResize, LoadWholeImage, PackPlanes, ReadImage, own_pipeline, own_reading
from ghostdet.errors import DataError
from tests.conftest import MINI, examples

ORIENTATION = 0x0112


@pytest.fixture
def picture(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)

    def save(name, **kwargs):
        Image.fromarray(noise).save(tmp_path / name, **kwargs)
        return tmp_path / name
    return save


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.bmp', 'a.webp', 'a.tiff'])
def test_pixels_are_those_of_mmcv(picture, name):
    results = dict(img_path=str(picture(name)))
    assert np.array_equal(LoadWholeImage().transform(dict(results))['img'],
                          LoadImageFromFile().transform(dict(results))['img'])


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.bmp', 'a.webp'])
@pytest.mark.parametrize('kept', [0.9, 0.5, 0])
@pytest.mark.parametrize('reader', [LoadWholeImage, ReadImage])
def test_cut_off_image_is_refused_by_name(picture, name, kept, reader):
    file = picture(name)
    content = file.read_bytes()
    file.write_bytes(content[:int(len(content) * kept)])
    with pytest.raises(DataError, match=f'{name} cannot be read'):
        reader().transform(dict(img_path=str(file)))


def test_trailing_bytes_are_no_cut(picture):
    file = picture('a.jpg')
    file.write_bytes(file.read_bytes() + b'\0' * 100)
    assert LoadWholeImage().transform(dict(img_path=str(file)))['img'].shape == (60, 80, 3)


@pytest.mark.parametrize('reader', [LoadWholeImage, ReadImage])
def test_missing_image_is_named(tmp_path, reader):
    with pytest.raises(DataError, match=r'gone\.jpg'):
        reader().transform(dict(img_path=str(tmp_path / 'gone.jpg')))


def test_image_that_cannot_be_decoded_is_named_then(tmp_path):
    file = tmp_path / 'odd.jpg'
    file.write_bytes(b'\xff\xd8\xff' + b'\0' * 100 + b'\xff\xd9')
    results = ReadImage().transform(dict(img_path=str(file)))
    with pytest.raises(DataError, match=r'odd\.jpg cannot be read'):
        DecodeAndResize((32, 32)).transform(results)


def ours(file, scale, **kwargs):
    return DecodeAndResize(scale, **kwargs).transform(ReadImage().transform(dict(img_path=str(file))))


def mmdets(file, scale, **kwargs):
    return Resize(scale, **kwargs).transform(LoadImageFromFile().transform(dict(img_path=str(file))))


def assert_same_but_pixels(a, b):
    assert a.keys() == b.keys()
    assert a['img'].shape == b['img'].shape
    assert np.array_equal(a['homography_matrix'], b['homography_matrix'])
    for key in a.keys() - {'img', 'homography_matrix'}:
        assert a[key] == b[key], key


@pytest.fixture
def decoded(monkeypatch):
    """The flags of size that OpenCV decodes with, one after the other."""
    flags, decode, others = [], cv2.imdecode, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    monkeypatch.setattr(cv2, 'imdecode', lambda content, flag: (flags.append(flag & ~others), decode(content, flag))[1])
    return flags


@pytest.fixture
def photo(tmp_path):
    def save(width, height, name='photo.jpg', **kwargs):
        Image.fromarray(photo_like(width, height, np.random.default_rng(0))).save(tmp_path / name, quality=92, **kwargs)
        return tmp_path / name
    return save


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.bmp', 'a.webp', 'a.tiff'])
@pytest.mark.parametrize('scale', [(160, 120), (50, 60), (33, 20), 70])
@pytest.mark.parametrize('keep_ratio', [True, False])
def test_pixels_are_mmdets_where_nothing_is_reduced(picture, name, scale, keep_ratio):
    file = picture(name)
    if name == 'a.jpg':
        Image.open(file).resize((79, 61)).save(file)  # half of it is not a whole number of pixels
    a, b = ours(file, scale, keep_ratio=keep_ratio), mmdets(file, scale, keep_ratio=keep_ratio)
    assert_same_but_pixels(a, b)
    assert np.array_equal(a['img'], b['img'])


# Mean and 99th percentile of the difference, in grey levels.
@pytest.mark.parametrize(('size', 'times', 'flag'), [
    ((640, 480), 2, cv2.IMREAD_REDUCED_COLOR_2), ((640, 480), 4, cv2.IMREAD_REDUCED_COLOR_4),
    ((640, 480), 8, cv2.IMREAD_REDUCED_COLOR_8), ((480, 648), 2, cv2.IMREAD_REDUCED_COLOR_2)])
def test_reduced_pixels_are_close(photo, decoded, size, times, flag):
    file, scale = photo(*size), max(size) // times
    reduced = ours(file, scale, keep_ratio=True)
    assert decoded == [flag]
    whole = mmdets(file, scale, keep_ratio=True)
    assert_same_but_pixels(reduced, whole)
    # mmdet's own takes two pixels of every `times` in a row, so beyond 2 the mean of all is what to compare with.
    mean = cv2.resize(cv2.imread(str(file)), reduced['img'].shape[1::-1], interpolation=cv2.INTER_AREA)
    apart = np.abs(reduced['img'].astype(int) - mean)
    assert apart.mean() <= 1
    assert np.percentile(apart, 99) <= 4
    if times == 2:
        assert np.abs(mean.astype(int) - whole['img']).max() <= 1


@pytest.mark.parametrize(('size', 'scale', 'flag'), [
    ((640, 480), (400, 240), cv2.IMREAD_REDUCED_COLOR_2),  # to 320x240
    ((640, 480), (322, 400), cv2.IMREAD_COLOR),  # to 322x242
    ((642, 480), (160, 160), cv2.IMREAD_REDUCED_COLOR_2),  # a quarter of 642 is no number of pixels
    ((641, 480), (160, 160), cv2.IMREAD_COLOR),
    ((640, 480), (100, 100), cv2.IMREAD_REDUCED_COLOR_4),  # a sixth: then resized
])
def test_how_far_is_reduced(photo, decoded, size, scale, flag):
    ours(photo(*size), scale, keep_ratio=True)
    assert decoded == [flag]


def test_what_fits_lying_but_not_as_the_camera_was_held_is_not_reduced(photo, decoded):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    loaded = ours(photo(640, 160, exif=exif), (320, 80), keep_ratio=False)
    assert loaded['ori_shape'] == (640, 160)
    assert decoded == [cv2.IMREAD_COLOR]


@examples(60)
@given(width=st.integers(1, 70), height=st.integers(1, 70), scale=st.tuples(st.integers(1, 40), st.integers(1, 40)),
       keep_ratio=st.booleans(), orientation=st.integers(1, 8), even=st.sampled_from([1, 2, 8]))
def test_sizes_and_factors_are_mmdets_however_the_camera_was_held(tmp_path_factory, width, height, scale, keep_ratio,
                                                                  orientation, even):
    assume(min(mmcv.rescale_size((width * even, height * even), scale)) > 0)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = io.BytesIO()
    # From dark to light in both directions, so that each of the eight orientations looks another way.
    across, down = np.linspace(0, 150, width * even), np.linspace(0, 100, height * even)
    ramp = across[None, :, None] + down[:, None, None] + np.zeros(3)
    Image.fromarray(ramp.astype(np.uint8)).save(content, 'jpeg', exif=exif, quality=95)
    file = tmp_path_factory.mktemp('turned') / 'a.jpg'
    file.write_bytes(content.getvalue())
    a, b = ours(file, scale, keep_ratio=keep_ratio), mmdets(file, scale, keep_ratio=keep_ratio)
    assert_same_but_pixels(a, b)
    assert np.abs(a['img'].astype(int) - b['img']).mean() < 6


@pytest.mark.parametrize('annotations_first', [True, False])
def test_boxes_are_mmdets(photo, annotations_first):
    """Scaled where they are there before the image is resized, and else as in the file."""
    file = photo(640, 480)
    instances = [dict(bbox=bbox, bbox_label=1, ignore_flag=0) for bbox in ([100, 50, 300.5, 470], [600, 400, 700, 500])]
    loaded = []
    for read, kind in ((ReadImage(), DecodeAndResize), (LoadImageFromFile(), Resize)):
        results = read.transform(dict(img_path=str(file), instances=instances))
        for step in (LoadAnnotations(with_bbox=True), kind(320, keep_ratio=True))[::1 if annotations_first else -1]:
            results = step.transform(results)
        loaded.append(results['gt_bboxes'].tensor)
    assert torch.equal(*loaded)
    assert loaded[0][0, 3] == (235 if annotations_first else 470)


@pytest.mark.parametrize('direction', [None, 'horizontal', 'vertical', 'diagonal'])
@pytest.mark.parametrize('image', [
    np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3), np.arange(7 * 66 * 3, dtype=np.float32).reshape(7, 66, 3),
    np.arange(7 * 5, dtype=np.uint8).reshape(7, 5),
    np.arange(8 * 100 * 3, dtype=np.uint8).reshape(8, 100, 3)[::2, 3:, ::-1]],
    ids=['odd', 'float', 'grey', 'a view'])
def test_packed_is_what_mmdet_packs(image, direction):
    results = dict(img=image, img_id=3, img_shape=image.shape[:2])
    if direction:
        results = RandomFlip(prob=1.0, direction=direction).transform(results)
    before = results['img'].copy()
    theirs, packed = PackDetInputs().transform(dict(results)), PackPlanes().transform(dict(results))
    assert torch.equal(packed['inputs'], theirs['inputs'])
    assert packed['inputs'].is_contiguous()
    assert packed['data_samples'].metainfo == theirs['data_samples'].metainfo
    assert np.array_equal(results['img'], before)

LOAD, BOXES, SIZE, PACK = (dict(type=name)
                           for name in ('LoadImageFromFile', 'LoadAnnotations', 'Resize', 'PackDetInputs'))

SIZE = dict(SIZE, scale=(320, 320))


@pytest.mark.parametrize(('steps', 'wanted'), [
    ([LOAD, BOXES, SIZE, PACK], ['mmdet.ReadImage', 'LoadAnnotations', 'mmdet.DecodeAndResize', 'mmdet.PackPlanes']),
    ([LOAD, SIZE, BOXES, PACK], ['mmdet.ReadImage', 'mmdet.DecodeAndResize', 'LoadAnnotations', 'mmdet.PackPlanes']),
    ([dict(type='mmdet.LoadImageFromFile', backend_args=None), dict(SIZE, type='mmdet.Resize')],
     ['mmdet.ReadImage', 'mmdet.DecodeAndResize']),
    ([dict(type=LoadImageFromFile), dict(SIZE, type=Resize), dict(type=PackDetInputs)],
     ['mmdet.ReadImage', 'mmdet.DecodeAndResize', 'mmdet.PackPlanes']),
    ([LOAD, BOXES, dict(type='RandomCrop'), SIZE], ['mmdet.LoadWholeImage', 'LoadAnnotations', 'RandomCrop', 'Resize']),
    # masks need the size
    ([LOAD, dict(BOXES, with_mask=True), SIZE], ['mmdet.LoadWholeImage', 'LoadAnnotations', 'Resize']),
    ([LOAD, dict(BOXES, with_seg=True), SIZE], ['mmdet.LoadWholeImage', 'LoadAnnotations', 'Resize']),
    ([LOAD, dict(type='Resize', scale=None, scale_factor=0.5)], ['mmdet.LoadWholeImage', 'Resize']),
    ([dict(LOAD, to_float32=True), SIZE], ['mmdet.LoadWholeImage', 'Resize']),
    ([LOAD, dict(type='Resize', scale_factor=2.0)], ['mmdet.LoadWholeImage', 'Resize']),
    ([LOAD, BOXES], ['mmdet.LoadWholeImage', 'LoadAnnotations']),
    ([LOAD], ['mmdet.LoadWholeImage']),
    ([dict(type='LoadWholeImage'), SIZE], ['LoadWholeImage', 'Resize']),
    ([dict(type='elsewhere.LoadImageFromFile'), SIZE], ['elsewhere.LoadImageFromFile', 'Resize'])], ids=str)
def test_transforms_of_mmdet_become_ours_where_they_can(steps, wanted):
    before = copy.deepcopy(steps)
    assert [step['type'] for step in own_pipeline(steps)] == wanted
    assert [{**step, 'type': 0} for step in own_pipeline(steps)] == [{**step, 'type': 0} for step in before]
    assert steps == before


def test_steps_that_are_built_stay():
    built = LoadAnnotations(with_bbox=True)
    assert own_pipeline([LOAD, built, SIZE])[1] is built
    assert own_reading(dict(type='RepeatDataset', dataset=built, pipeline=None))['dataset'] is built


def test_those_within_wrappers_too():
    inner = dict(type='CocoDataset', pipeline=[LOAD, BOXES])
    mixed = own_reading(dict(type='MultiImageMixDataset', dataset=inner, pipeline=[dict(type='Mosaic'), SIZE, PACK]))
    assert [step['type'] for step in mixed['dataset']['pipeline']] == ['mmdet.LoadWholeImage', 'LoadAnnotations']
    assert [step['type'] for step in mixed['pipeline']] == ['Mosaic', 'Resize', 'mmdet.PackPlanes']
    assert inner['pipeline'][0]['type'] == 'LoadImageFromFile'
    joined = own_reading(dict(type='ConcatDataset', datasets=[inner, inner]))
    assert [part['pipeline'][0]['type'] for part in joined['datasets']] == 2 * ['mmdet.LoadWholeImage']


def test_detector_takes_files_and_arrays(photo):
    detector = init_detector(MINI, device='cpu', cfg_options={'model.test_cfg.score_thr': 0})
    file = str(photo(150, 100))
    of_file, of_array = inference_detector(detector, [file])[0], inference_detector(detector, [cv2.imread(file)])[0]
    assert len(of_file.pred_instances) > 0
    assert torch.equal(of_file.pred_instances.bboxes, of_array.pred_instances.bboxes)
    assert of_file.ori_shape == of_array.ori_shape == (100, 150)
