"""Images of all kinds, through ghostdet.Detector."""
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import ghostdet
from ghostdet import Detector
from ghostdet.errors import ImageError, UserError
from ghostdet.training.trained_detector import read_detector
from tests.conftest import MINI, sizes_in_openvino
from tests.odd_images import grey_picture, no_pictures, same_picture, saved

ALIKE = dict(rtol=0, atol=0.02)  # of scores; a JPEG's pixels are not quite those that were put in


@pytest.fixture(scope='module', params=['epoch_2.pth', 'detector.onnx',
                                        pytest.param('detector.xml', marks=sizes_in_openvino)])
def detector(request, trained, exported):
    return Detector((trained if request.param.endswith('.pth') else exported) / request.param)


@pytest.fixture(scope='module')
def pixels(shapes):
    with Image.open(sorted((shapes / 'val2017').iterdir())[0]) as image:
        wide = np.asarray(image)
    return np.concatenate((wide, wide[:, ::-1]), axis=1)  # (64, 128, 3)


LIGHT = '''
import sys
from ghostdet.cli.command import main
sys.argv = ['ghostdet', 'predict', *sys.argv[1:], '--out', 'results']
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


def test_image_in_every_form_is_the_same_image(detector, pixels, tmp_path):
    expected = detector(pixels, 0)
    assert len(expected) == 100
    assert expected.size == (64, 128)
    assert (expected.boxes[:, 2:] <= (128, 64)).all()
    for name, content in same_picture(pixels).items():
        (tmp_path / name).write_bytes(content)
        for image in (content, tmp_path / name, str(tmp_path / name)):
            result = detector(image, 0)
            assert result.size == (64, 128), name
            np.testing.assert_allclose(best(result), best(expected), err_msg=name, **ALIKE)
    grey = [detector(content, 0) for content in grey_picture(pixels).values()]
    for result in grey[1:]:
        np.testing.assert_allclose(best(result), best(grey[0]), **ALIKE)
    with Image.open(io.BytesIO(same_picture(pixels)['turned.png'])) as turned:
        np.testing.assert_array_equal(detector(turned, 0).boxes, expected.boxes)


@pytest.mark.parametrize('change', [
    lambda pixels: Image.fromarray(pixels), lambda pixels: pixels.astype(np.uint16) * 257,
    lambda pixels: np.dstack((pixels, np.full(pixels.shape[:2], 7, np.uint8))),
    lambda pixels: np.asfortranarray(pixels), lambda pixels: pixels[::-1][::-1]])
def test_pixels_in_every_form_are_the_same_pixels(change, detector, pixels):
    expected, result = detector(pixels, 0), detector(change(pixels), 0)
    np.testing.assert_array_equal(result.boxes, expected.boxes)
    np.testing.assert_array_equal(result.scores, expected.scores)


def test_grey_pixels_are_three_equal_channels(detector, pixels):
    grey = pixels[:, :, 0]
    expected = detector(np.dstack((grey, grey, grey)), 0)
    for form in (grey, grey[:, :, None]):
        np.testing.assert_array_equal(detector(form, 0).boxes, expected.boxes)


@pytest.mark.parametrize('size', [(1, 1), (2000, 2), (9000, 6000)])
def test_sizes_that_are_odd(size, detector):
    result = detector(saved(Image.new('RGB', size, 'orange'), 'PNG'), 0)
    assert result.size == size[::-1]
    assert np.isfinite(result.boxes).all()
    assert (result.boxes <= np.array(size * 2) + 1e-3).all()


def test_large_jpeg_is_found_where_the_small_one_is(detector, pixels):
    small = detector(pixels, 0)
    large = detector(saved(Image.fromarray(pixels).resize((4096, 2048), Image.Resampling.NEAREST), 'JPEG', quality=95),
                     0)
    assert large.size == (2048, 4096)
    np.testing.assert_allclose(best(large), best(small), rtol=0, atol=0.1)


def test_what_is_no_image_is_reported(detector, pixels, tmp_path):
    for name, (content, message) in no_pictures(pixels).items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError) as error:
            detector(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        assert message in str(error.value), name
    with pytest.raises(ImageError, match='FileNotFoundError'):
        detector(tmp_path / 'nowhere.jpg')


@pytest.mark.parametrize(('pixels', 'message'), [
    (np.full((4, 4, 3), -1.0), 'values from -1.0'), (np.zeros((4, 4, 2), np.uint8), r'shape \(4, 4, 2\)'),
    (np.zeros((0, 4, 3), np.uint8), 'shape'), (np.zeros(4, np.uint8), 'shape')])
def test_arrays_that_are_no_images(pixels, message, detector):
    with pytest.raises(ImageError, match=message):
        detector(pixels)


def test_threshold_and_names(detector, pixels):
    every = detector(pixels, 0)
    middle = float(every.scores[len(every) // 2])
    some = detector(pixels, middle)
    assert len(some) == (every.scores >= middle).sum()
    assert [name for name, _, _ in some] == some.names == [detector.classes[label] for label in some.labels]


def test_threshold_of_a_detector_is_that_of_its_last_evaluation(trained, detector, exported, pixels):
    point = json.loads((trained / 'threshold.json').read_text())
    own = [row['own_threshold'] or point['threshold'] for row in point['classes'].values()]
    for one in (detector, Detector(trained / 'epoch_2.pth'), Detector(exported / 'detector.ncnn.param', threads=1)):
        assert one.threshold == point['threshold']
        assert one.class_thresholds == own
    assert read_detector(str(trained / 'epoch_2.pth')).thresholds['all'] == point['threshold']
    assert read_detector(str(trained / 'epoch_2.pth'), scale=256).thresholds is None  # they are of the run's scale
    every, usual = detector(pixels, 0), detector(pixels)
    assert len(usual) == (every.scores >= point['threshold']).sum()
    by_class = detector(pixels, [1, 0, 2])
    assert set(by_class.labels) <= {1}
    assert len(detector(pixels, np.array([1, 0, 2]))) == len(by_class)
    assert len(by_class) == (every.labels == 1).sum()


def test_file_and_checkpoint_find_the_same(trained, exported, pixels):
    one = Detector(trained / 'epoch_2.pth')(pixels, 0)
    other = Detector(exported / 'detector.xml', threads=1)(pixels, 0)
    np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-4)
    np.testing.assert_allclose(best(one), best(other), rtol=0, atol=1e-4)


@pytest.mark.parametrize('mode', ['I;16', 'I'])
def test_deep_image_of_pillow(mode, detector, pixels):
    grey = pixels[:, :, 1].astype(np.uint16) * 257
    image = Image.fromarray(grey) if mode == 'I;16' else Image.fromarray(grey.astype(np.int32))
    assert image.mode == mode
    np.testing.assert_array_equal(detector(image, 0).scores, detector(pixels[:, :, 1], 0).scores)
    np.testing.assert_array_equal(detector(Image.fromarray(grey.astype(np.float32)), 0).scores,
                                  detector(pixels[:, :, 1], 0).scores)


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


@pytest.mark.parametrize(('model', 'options', 'message'), [
    ('nowhere.pth', {}, 'there is no checkpoint or exported file'), ('nowhere.xml', {}, 'there is no exported file'),
    ('weights.pth', {}, 'does not contain the config it was trained with'), ('text.pth', {}, 'is not a checkpoint')])
def test_models_that_cannot_be_opened(model, options, message, trained, tmp_path):
    if model == 'weights.pth':
        torch.save(torch.load(trained / 'epoch_2.pth', weights_only=False)['state_dict'], tmp_path / model)
    elif model == 'text.pth':
        (tmp_path / model).write_text('hello, this is a text')
    with pytest.raises(UserError, match=message):
        Detector(tmp_path / model, **options)


def test_checkpoint_of_weights_alone_with_a_config(trained, tmp_path, pixels):
    content = torch.load(trained / 'epoch_2.pth', weights_only=False)
    torch.save(dict(state_dict=content['state_dict']), tmp_path / 'weights.pth')
    (tmp_path / 'own.py').write_text(f"_base_ = '{MINI}'\nmodel = dict(test_cfg=dict(score_thr=0))\n")
    one, other = Detector(tmp_path / 'weights.pth', config=tmp_path / 'own.py'), Detector(trained / 'epoch_2.pth')
    assert one.classes == other.classes
    np.testing.assert_array_equal(one(pixels, 0).boxes, other(pixels, 0).boxes)


def test_checkpoint_runs_in_fp32_alone(trained):
    with pytest.raises(UserError, match='fp32 only'):
        Detector(trained / 'epoch_2.pth', 'bf16')
