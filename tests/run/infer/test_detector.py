"""Images of all kinds, through ghostdet.Detector."""
import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import ghostdet
from ghostdet import Detector
from ghostdet.errors import ImageError, UserError
from tests.conftest import MINI, sizes_in_openvino
from tests.odd_images import grey_picture, no_pictures, same_picture, saved

ALIKE = dict(rtol=0, atol=0.02)  # of scores; a JPEG's pixels are not quite those that were put in


@pytest.fixture(scope='module', params=['epoch_2.pth', 'detector.onnx',
                                        pytest.param('detector.xml', marks=sizes_in_openvino)])
def detector(request, trained, exported):
    return Detector((trained if request.param.endswith('.pth') else exported) / request.param)


@pytest.fixture(scope='module')
def picture(shapes):
    with Image.open(sorted((shapes / 'val2017').iterdir())[0]) as image:
        wide = np.asarray(image)
    return np.concatenate((wide, wide[:, ::-1]), axis=1)  # (64, 128, 3)


LIGHT = '''
import sys
from ghostdet.cli.command import main
sys.argv = ['ghostdet', 'predict', *sys.argv[1:], '--out', 'found']
assert main() == 0
print([name for name in ('torch', 'mmdet', 'mmengine', 'mmcv', 'matplotlib') if name in sys.modules])
'''


@pytest.mark.parametrize('name', ['detector.onnx', 'detector.xml'])
def test_an_exported_file_needs_no_torch_also_where_it_is_installed(name, exported, shapes, tmp_path):
    result = subprocess.run([sys.executable, '-c', LIGHT, exported / name, shapes / 'val2017'], capture_output=True,
                            text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == '[]'


def best(detections):
    return detections.scores[:20]


def test_picture_in_every_form_is_the_same_picture(detector, picture, tmp_path):
    expected = detector(picture, 0)
    assert len(expected) == 100
    assert expected.size == (64, 128)
    assert (expected.boxes[:, 2:] <= (128, 64)).all()
    for name, content in same_picture(picture).items():
        (tmp_path / name).write_bytes(content)
        for image in (content, tmp_path / name, str(tmp_path / name)):
            found = detector(image, 0)
            assert found.size == (64, 128), name
            np.testing.assert_allclose(best(found), best(expected), err_msg=name, **ALIKE)
    grey = [detector(content, 0) for content in grey_picture(picture).values()]
    for found in grey[1:]:
        np.testing.assert_allclose(best(found), best(grey[0]), **ALIKE)
    with Image.open(io.BytesIO(same_picture(picture)['turned.png'])) as turned:
        np.testing.assert_array_equal(detector(turned, 0).boxes, expected.boxes)


@pytest.mark.parametrize('change', [
    lambda pixels: Image.fromarray(pixels), lambda pixels: pixels.astype(np.uint16) * 257,
    lambda pixels: np.dstack((pixels, np.full(pixels.shape[:2], 7, np.uint8))),
    lambda pixels: np.asfortranarray(pixels), lambda pixels: pixels[::-1][::-1]])
def test_pixels_in_every_form_are_the_same_pixels(change, detector, picture):
    expected, found = detector(picture, 0), detector(change(picture), 0)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_grey_pixels_are_three_equal_channels(detector, picture):
    grey = picture[:, :, 0]
    expected = detector(np.dstack((grey, grey, grey)), 0)
    for form in (grey, grey[:, :, None]):
        np.testing.assert_array_equal(detector(form, 0).boxes, expected.boxes)


@pytest.mark.parametrize('size', [(1, 1), (2000, 2), (9000, 6000)])
def test_sizes_that_are_odd(size, detector):
    found = detector(saved(Image.new('RGB', size, 'orange'), 'PNG'), 0)
    assert found.size == size[::-1]
    assert np.isfinite(found.boxes).all()
    assert (found.boxes <= np.array(size * 2) + 1e-3).all()


def test_large_jpeg_is_found_where_the_small_one_is(detector, picture):
    small = detector(picture, 0)
    large = detector(saved(Image.fromarray(picture).resize((4096, 2048), Image.Resampling.NEAREST), 'JPEG', quality=95),
                     0)
    assert large.size == (2048, 4096)
    np.testing.assert_allclose(best(large), best(small), rtol=0, atol=0.1)


def test_what_is_no_image_is_told(detector, picture, tmp_path):
    for name, (content, told) in no_pictures(picture).items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError) as error:
            detector(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        assert told in str(error.value), name
    with pytest.raises(ImageError, match='FileNotFoundError'):
        detector(tmp_path / 'nowhere.jpg')


@pytest.mark.parametrize(('pixels', 'told'), [
    (np.full((4, 4, 3), -1.0), 'values from -1.0'), (np.zeros((4, 4, 2), np.uint8), r'shape \(4, 4, 2\)'),
    (np.zeros((0, 4, 3), np.uint8), 'shape'), (np.zeros(4, np.uint8), 'shape')])
def test_arrays_that_are_no_images(pixels, told, detector):
    with pytest.raises(ImageError, match=told):
        detector(pixels)


def test_threshold_and_names(detector, picture):
    every = detector(picture, 0)
    middle = float(every.scores[len(every) // 2])
    some = detector(picture, middle)
    assert len(some) == (every.scores >= middle).sum()
    assert [name for name, _, _ in some] == some.names == [detector.classes[label] for label in some.labels]


def test_file_and_checkpoint_find_the_same(trained, exported, picture):
    one = Detector(trained / 'epoch_2.pth')(picture, 0)
    other = Detector(exported / 'detector.xml', threads=1)(picture, 0)
    np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-4)
    np.testing.assert_allclose(best(one), best(other), rtol=0, atol=1e-4)


@pytest.mark.parametrize('mode', ['I;16', 'I'])
def test_deep_picture_of_pillow(mode, detector, picture):
    grey = picture[:, :, 1].astype(np.uint16) * 257
    image = Image.fromarray(grey) if mode == 'I;16' else Image.fromarray(grey.astype(np.int32))
    assert image.mode == mode
    np.testing.assert_array_equal(detector(image, 0).scores, detector(picture[:, :, 1], 0).scores)
    np.testing.assert_array_equal(detector(Image.fromarray(grey.astype(np.float32)), 0).scores,
                                  detector(picture[:, :, 1], 0).scores)


def test_other_formats_with_the_ending_of_a_jpeg_are_no_jpegs(detector):
    with pytest.raises(ImageError, match='it is not an image'):
        detector(b'#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n' + bytes(4) + b'\xff\xd9')


@pytest.mark.parametrize('threads', [0, -3, 100_000])
@pytest.mark.parametrize('name', ['epoch_2.pth', 'detector.onnx', 'detector.xml'])
def test_threads_that_there_are_not(threads, name, trained, exported):
    with pytest.raises(UserError, match=f'^{threads} threads: this machine can run 1 to'):
        Detector((trained if name.endswith('.pth') else exported) / name, threads=threads)


def test_options_of_checkpoints_are_not_dropped(exported):
    for options in (dict(config=MINI), dict(trust_checkpoint=True)):
        with pytest.raises(UserError, match='are for checkpoints only'):
            Detector(exported / 'detector.xml', **options)


def test_package_offers_it():
    assert ghostdet.Detector is Detector


@pytest.mark.parametrize(('model', 'options', 'told'), [
    ('nowhere.pth', {}, 'there is no checkpoint or exported file'), ('nowhere.xml', {}, 'there is no exported file'),
    ('weights.pth', {}, 'does not contain the config it was trained with'), ('text.pth', {}, 'is not a checkpoint')])
def test_models_that_cannot_be_opened(model, options, told, trained, tmp_path):
    if model == 'weights.pth':
        torch.save(torch.load(trained / 'epoch_2.pth', weights_only=False)['state_dict'], tmp_path / model)
    elif model == 'text.pth':
        (tmp_path / model).write_text('hello, this is a text')
    with pytest.raises(UserError, match=told):
        Detector(tmp_path / model, **options)


def test_checkpoint_of_weights_alone_with_a_config(trained, tmp_path, picture):
    content = torch.load(trained / 'epoch_2.pth', weights_only=False)
    torch.save(dict(state_dict=content['state_dict']), tmp_path / 'weights.pth')
    (tmp_path / 'own.py').write_text(f"_base_ = '{MINI}'\nmodel = dict(test_cfg=dict(score_thr=0))\n")
    one, other = Detector(tmp_path / 'weights.pth', config=tmp_path / 'own.py'), Detector(trained / 'epoch_2.pth')
    assert one.classes == other.classes
    np.testing.assert_array_equal(one(picture, 0).boxes, other(picture, 0).boxes)


def test_checkpoint_runs_in_fp32_alone(trained):
    with pytest.raises(UserError, match='fp32 only'):
        Detector(trained / 'epoch_2.pth', 'bf16')
