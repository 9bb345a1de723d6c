"""Exported files beside mmdet's own `predict`."""
from dataclasses import replace
from pathlib import Path

import mmdet
import numpy as np
import onnxruntime
import pytest
import torch

from ghostdet.analysis.spread import spread_detector
from ghostdet.deploy.agreement import Tolerance, compare
from ghostdet.deploy.convert import OPSET, to_onnx, to_openvino
from ghostdet.deploy.program import UnsupportedError, program_of
from ghostdet.engine.config_file import read_config
from ghostdet.engine.exporter import manifest_of, predict
from ghostdet.runtime.exported import detect, prepare
from ghostdet.runtime.sessions import open_session, openvino_core
from tests.conftest import ROOT
from tests.real_images import twenty

EXACT = Tolerance(pixels=0.01, overlap=1, score=1e-4, least=0, share=0)

NEARLY = replace(EXACT, share=0.01)

KINDS = ('retinanet', 'faster-rcnn')

# The other heads that we have configs for, as mmdet or the authors have them.
OTHERS = {'nanodet-plus': 'configs/nanodet-plus_shufflenetv2_1.0x_416_coco.py',
          'yolov3': 'configs/yolov3_ghostnet_1.1x_coco.py', 'rtmdet': '.mim/configs/rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
          'yolox': '.mim/configs/yolox/yolox_nano_8xb8-300e_coco.py'}

FEWER = {'yolox': {'model.test_cfg.score_thr': 0.7}, 'rtmdet': {'model.test_cfg.max_per_img': 100}}  # of thousands


def detector(kind, data='mini', **options):
    config = ROOT / f'configs/{kind}_ghostnet_1.1x_{data}.py'
    if kind in OTHERS:
        config = (Path(mmdet.__file__).parent if kind in ('rtmdet', 'yolox') else ROOT) / OTHERS[kind]
    return spread_detector(read_config(str(config), FEWER.get(kind, {}) | options), kind)


def sessions(trained, shape, folder, batch=1):
    """What ONNX Runtime and OpenVINO make of it."""
    manifest = replace(manifest_of(trained, shape, 'a config'), batch=batch)
    to_onnx(program_of(trained.model), manifest, folder / 'a.onnx')
    to_openvino(folder / 'a.onnx', manifest, folder / 'a.xml')
    return [open_session(folder / name) for name in ('a.onnx', 'a.xml')]


class OneStageTail(torch.nn.Module):
    """From the head's maps to boxes."""

    def __init__(self, program):
        super().__init__()
        self.program = program

    def before(self, image, size):
        return self.program.head(self.program.features(image, size)), size

    def forward(self, maps, size):
        return self.program.boxes(maps, size)


class FasterRCNNTail(OneStageTail):
    """From the neck's features and the first stage's maps to boxes."""

    def before(self, image, size):
        features = self.program.features(image, size)
        return features, self.program.rpn(features), size

    def forward(self, features, maps, size):
        return self.program.second(features, self.program.proposals(maps, size), size)

TAILS = {'faster-rcnn': FasterRCNNTail, **dict.fromkeys(('retinanet', *OTHERS), OneStageTail)}


def tail_in_both(tail, given, folder):
    """The tail in ONNX Runtime and in OpenVINO: functions of what `tail` takes; both give boxes, scores and labels."""
    torch.onnx.export(tail, given, folder / 'tail.onnx', dynamo=True, opset_version=OPSET, verbose=False)
    onnx = onnxruntime.InferenceSession(folder / 'tail.onnx')
    compiled = openvino_core().compile_model(folder / 'tail.onnx', 'CPU', dict(INFERENCE_PRECISION_HINT='f32'))
    names = [value.name for value in onnx.get_inputs()]

    def named(given):
        return dict(zip(names, (value.numpy() for value in flatten(given))))
    return dict(onnx=lambda given: onnx.run(None, named(given)),
                openvino=lambda given: [part.copy() for part in compiled(named(given)).values()])


def flatten(given):
    if isinstance(given, torch.Tensor):
        yield given
    else:
        for part in given:
            yield from flatten(part)


@pytest.fixture(scope='module', params=KINDS)
def any_size(request, tmp_path_factory):
    padding = dict(zip(KINDS, ('torch', 'tensorflow')))[request.param]
    trained = detector(request.param, **{'model.backbone.padding': padding})
    return program_of(trained.model), sessions(trained, None, tmp_path_factory.mktemp('any'))


@pytest.mark.parametrize('kind', [*KINDS, *OTHERS])
def test_the_same_candidates_give_the_same_boxes(kind, tmp_path):
    """What comes after the network's convolutions, given what mmdet's `predict` has there, in twenty photographs."""
    trained = detector(kind, 'coco', **({'model.test_cfg.rpn.max_per_img': 300} if kind == 'faster-rcnn' else {}))
    program, manifest = program_of(trained.model), manifest_of(trained, (320, 320), '')
    images = [prepare(photo, manifest) for photo in twenty()]
    assert {image.canvas.shape for image in images} == {(1, 320, 320, 3)}
    tail = TAILS[kind](program)
    with torch.no_grad():
        inputs = [tail.before(*map(torch.from_numpy, (image.canvas, image.size))) for image in images]
        found = dict(torch=[[part.numpy() for part in tail(*given)] for given in inputs])
        for name, run in tail_in_both(tail, inputs[0], tmp_path).items():
            found[name] = [run(given) for given in inputs]
    expected = [predict(trained.model, image) for image in images]
    for name, others in found.items():
        agreement = compare(zip(expected, others), EXACT)
        assert agreement.pairs > 300
        assert agreement.is_close, f'{name}: {agreement.to_text()}'
        for one, other in zip(expected, others):
            assert [len(part) for part in one] == [len(part) for part in other]
            assert (np.diff(other[1]) <= 0).all()


@pytest.mark.parametrize('shape', [(32, 32), (64, 32), (32, 320), (128, 128), (96, 160), (224, 352)])
def test_any_size(any_size, shape):
    program, files = any_size
    rng = np.random.default_rng(0)
    height, width = shape[0] - 4, shape[1] - 9
    canvas = np.zeros((1, *shape, 3), np.uint8)
    blocks = rng.integers(0, 256, (shape[0] // 8, shape[1] // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    canvas[0, :height, :width] = blocks[:height, :width]
    size = np.array([height, width])
    with torch.no_grad():  # mmdet's own fails on a level with a single anchor
        expected = [part.numpy() for part in program(torch.from_numpy(canvas), torch.from_numpy(size))]
    for session in files:
        agreement = compare([(expected, session.run(canvas, size))], NEARLY)
        assert agreement.pairs > 0
        assert agreement.is_close, agreement.to_text()


@pytest.mark.parametrize('kind', [*KINDS, 'yolov3'])
def test_several_images_at_once(kind, tmp_path):
    """A file for three images finds what the checkpoint finds in each, however many there are and of whatever sizes."""
    trained = detector(kind)
    shape = None if kind in KINDS else (160, 192)
    both = sessions(trained, shape, tmp_path, batch=3)
    images = [prepare(photo[:200, :150 + 50 * place], both[0].manifest) for place, photo in enumerate(twenty()[:5])]
    for group in (images[:3], images[3:], images, images[:0]):
        expected = [predict(trained.model, image) for image in group]
        for session in both:
            found = detect(session, group)
            assert [len(part) for part in found] == [3] * len(group)
            agreement = compare(zip(expected, found), NEARLY)
            assert agreement.pairs >= 10 * len(group)
            assert agreement.is_close, agreement.to_text()


@pytest.mark.parametrize(('kind', 'option'), [
    ('retinanet', {'model.test_cfg.score_thr': 2}), ('faster-rcnn', {'model.test_cfg.rpn.min_bbox_size': 1000})])
def test_nothing_found_is_no_error(kind, option, tmp_path):
    tail = TAILS[kind](program_of(detector(kind, **option).model))
    with torch.no_grad():
        given = tail.before(torch.full((1, 64, 64, 3), 77, dtype=torch.uint8), torch.tensor([64, 64]))
        for run in tail_in_both(tail, given, tmp_path).values():
            assert [part.shape for part in run(given)] == [(0, 4), (0,), (0,)]


def test_pixels_beside_the_image_do_not_count(any_size):
    _, (onnx, _) = any_size
    rng = np.random.default_rng(1)
    canvas = rng.integers(0, 256, (1, 96, 96, 3), np.uint8)
    clean = canvas.copy()
    clean[:, 60:], clean[:, :, 70:] = 0, 0
    size = np.array([60, 70])
    for one, other in zip(onnx.run(canvas, size), onnx.run(clean, size)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(('kind', 'option', 'told'), [
    ('retinanet', {'model.test_cfg.nms.type': 'soft_nms'}, 'soft_nms'),
    ('retinanet', {'model.test_cfg.nms.class_agnostic': True}, 'class_agnostic'),
    ('retinanet', {'model.bbox_head.bbox_coder.clip_border': False}, 'clip_border'),
    ('retinanet', {'model.data_preprocessor.pad_value': 114}, 'pad_value=114'),
    ('retinanet', {'model.bbox_head.loss_cls': dict(_delete_=True, type='CrossEntropyLoss')}, 'CrossEntropyLoss (only sigmoid'),
    ('retinanet', {'model.bbox_head.type': 'RetinaSepBNHead', 'model.bbox_head.num_ins': 3}, 'RetinaSepBNHead (only RetinaHead'),
    ('faster-rcnn', {'model.roi_head.type': 'DoubleHeadRoIHead', 'model.roi_head.reg_roi_scale_factor': 1}, 'DoubleHeadRoIHead'),
    ('faster-rcnn', {'model.roi_head.bbox_roi_extractor.type': 'GenericRoIExtractor'}, 'GenericRoIExtractor'),
    ('faster-rcnn', {'model.test_cfg.rpn.nms.type': 'soft_nms'}, 'soft_nms')])
def test_what_has_no_exported_form_is_named(kind, option, told):
    trained = detector(kind, **option)
    with pytest.raises(UnsupportedError) as error:
        program_of(trained.model)
    assert told in str(error.value)


@pytest.mark.nightly
@pytest.mark.parametrize('kind', KINDS)
def test_whole_files_of_80_classes_at_320(kind, tmp_path):
    """Which convolve in another order, so that of candidates that are nearly equal another may be the last one taken."""
    trained = detector(kind, 'coco')
    both = sessions(trained, (320, 320), tmp_path)
    images = [prepare(photo, both[0].manifest) for photo in twenty()[:6]]
    expected = [predict(trained.model, image) for image in images]
    for session in both:
        agreement = compare(zip(expected, [session.run(image.canvas, image.size) for image in images]), NEARLY)
        assert agreement.pairs > 100
        assert agreement.is_close, agreement.to_text()
