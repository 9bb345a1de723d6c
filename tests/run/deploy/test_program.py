"""Exported files beside mmdet's own `predict`."""
from dataclasses import replace
from itertools import product
from pathlib import Path

import mmdet
import numpy as np
import onnxruntime
import pytest
import torch
from mmdet.models.dense_heads import YOLOV3Head, YOLOXHead
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from benchmarks.untrained import scaled_detector
from ghostdet.deploy.convert import OPSET, to_onnx, to_openvino
from ghostdet.deploy.exporter import manifest_of, predict
from ghostdet.deploy.postprocess import CANDIDATES, clip, is_large, nms_per_group, to_rows, top_per_level
from ghostdet.deploy.program import UnsupportedError, program_of
from ghostdet.infer.agreement import Tolerance, compare
from ghostdet.infer.exported import detect, prepare
from ghostdet.infer.sessions import open_session, openvino_core
from ghostdet.models.heads.nanodet_plus import NanoDetPlusHead
from ghostdet.training.config_file import read_config
from tests.conftest import NIGHT, ROOT, nightly, sizes_in_openvino
from tests.near_ties import MARGIN, Limits, unexplained
from tests.real_images import twenty

EXACT = Tolerance(pixels=0.01, overlap=1, score=1e-4, min_score=0, fraction=0)

NEARLY = replace(EXACT, fraction=0.01)

KINDS = ('retinanet', 'faster-rcnn')

# The other heads that we have configs for, as mmdet or the authors have them.
OTHERS = {'nanodet-plus': 'configs/nanodet-plus_shufflenetv2_1.0x_416_coco.py',
          'yolov3': 'configs/yolov3_ghostnet_1.1x_coco.py',
          'rtmdet': '.mim/configs/rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
          'yolox': '.mim/configs/yolox/yolox_nano_8xb8-300e_coco.py'}

RUNTIMES = ('torch', 'onnx', 'openvino')
# One of each head, and PyTorch's own; RetinaNet and YOLOv3 are exported below.
BY_DAY = {('proposals', 'onnx'), ('second-stage', 'onnx'), ('nanodet-plus', 'openvino'), ('rtmdet', 'onnx'),
          ('yolox', 'openvino')}
FEW = 100  # candidates of a level that are decoded, so that the limit counts
FEWER = {'yolox': {'model.test_cfg.score_thr': 0.7}, 'rtmdet': {'model.test_cfg.max_per_img': 100}}  # of thousands


def detector(kind, data='mini', **options):
    config = ROOT / f'configs/{kind}_ghostnet_1.1x_{data}.py'
    if kind in OTHERS:
        config = (Path(mmdet.__file__).parent if kind in ('rtmdet', 'yolox') else ROOT) / OTHERS[kind]
    return scaled_detector(read_config(str(config), FEWER.get(kind, {}) | options), kind)


# Class names that a file must not change.
NAMES = ('苹果', 'Ա', 'عربي', 'a/b', 'x"y', "x'y", '<script>', '&amp;', 'two\nlines', 'a\\b', ' > < ', '', '😀')


def sessions(trained, shape, folder, batch=1):
    """What ONNX Runtime and OpenVINO make of it."""
    manifest = replace(manifest_of(trained, shape, 'a config'), batch=batch, classes=NAMES)
    to_onnx(program_of(trained.model), manifest, folder / 'a.onnx')
    to_openvino(folder / 'a.onnx', manifest, folder / 'a.xml')
    opened = [open_session(folder / name) for name in ('a.onnx', 'a.xml')]
    assert [session.manifest.classes for session in opened] == [NAMES, NAMES]
    return opened


class Tail(torch.nn.Module):
    """What comes after the network's convolutions: a function of tensors, and mmdet's own beside it.

    Args:
        trained: the detector.
        program: its exportable form.
    """

    def __init__(self, trained, program):
        super().__init__()
        self.model, self.program = [trained.model], program  # the model is no part of this module

    def given(self, image):
        """What `forward` takes, of a prepared image."""
        canvas, size = map(torch.from_numpy, (image.canvas, image.size))
        return self.program.head(self.program.features(canvas, size)), size

    def forward(self, maps, size):
        return self.program.boxes(maps, size)

    def expected(self, image, given):
        """Boxes, scores and labels of mmdet."""
        return predict(self.model[0], image)

    def limits(self, maps, size):
        cfg, head = self.program.cfg, self.program.head
        if isinstance(head, YOLOV3Head):
            doubtful = doubtful_of_yolov3(head, maps, cfg, size)
        elif 'nms_pre' in cfg:
            deltas = head.distances(maps[1]) if isinstance(head, NanoDetPlusHead) else maps[1]
            doubtful = doubtful_of_levels(head, (maps[0], deltas), cfg.nms_pre, size)
        else:
            doubtful = Limits.doubtful
        return Limits(cfg.nms.iou_threshold, cfg.get('max_per_img', -1), cfg.get('score_thr', 0), doubtful)


class Proposals(Tail):
    """From the maps of the first stage to proposals, all of one class."""

    def given(self, image):
        canvas, size = map(torch.from_numpy, (image.canvas, image.size))
        return self.program.rpn(self.program.features(canvas, size)), size

    def forward(self, maps, size):
        boxes, scores, _, levels = top_per_level(self.program.rpn, maps, self.program.rpn_cfg.nms_pre, size)
        boxes, scores, levels = nms_per_group(boxes, scores, levels, is_large(boxes, self.program.rpn_cfg),
                                      self.program.rpn_cfg)
        return boxes, scores, torch.zeros_like(levels)

    def expected(self, image, given):
        maps, size = given
        metas = [dict(img_shape=tuple(size.tolist()))]
        result, = self.program.rpn.predict_by_feat(*maps, batch_img_metas=metas, cfg=self.program.rpn_cfg)
        return result.bboxes.numpy(), result.scores.numpy(), np.zeros(len(result), int)

    def limits(self, maps, size):
        cfg = self.program.rpn_cfg
        boxes, scores, _ = doubtful_of_levels(self.program.rpn, maps, cfg.nms_pre, size)
        return Limits(cfg.nms.iou_threshold, cfg.max_per_img, 0, (boxes, scores, np.zeros(len(boxes), int)))


class SecondStage(Tail):
    """From the neck's features and proposals to boxes."""

    def given(self, image):
        canvas, size = map(torch.from_numpy, (image.canvas, image.size))
        features = self.program.features(canvas, size)
        return features, self.program.proposals(self.program.rpn(features), size), size

    def forward(self, features, proposals, size):
        return self.program.second(features, proposals, size)

    def expected(self, image, given):
        features, proposals, size = given
        shape = tuple(size.tolist())
        sample = DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1., 1.)))
        result, = self.model[0].roi_head.predict(features, [InstanceData(bboxes=proposals)], [sample], rescale=False)
        return result.bboxes.numpy(), result.scores.numpy(), result.labels.numpy()

    def limits(self, features, proposals, size):
        cfg = self.program.cfg
        return Limits(cfg.nms.iou_threshold, cfg.max_per_img, cfg.score_thr)


class WholeFasterRCNN(Tail):
    """Both stages."""

    def given(self, image):
        canvas, size = map(torch.from_numpy, (image.canvas, image.size))
        return self.program.maps(canvas, size), size


def assert_only_near_ties(tail, images, results):
    """Prepared images' detections in `results` are mmdet's, but for near ties."""
    with torch.no_grad():
        inputs = [tail.given(image) for image in images]
        expected = [tail.expected(image, given) for image, given in zip(images, inputs)]
        limits = [tail.limits(*given) for given in inputs]
    agreement = compare(zip(expected, results, strict=True), NEARLY)
    assert agreement.pairs >= (4 if isinstance(getattr(tail.program, 'head', None), YOLOXHead) else 10) * len(images)
    assert agreement.is_close, agreement.to_text()
    for one, other, cut in zip(expected, results, limits, strict=True):
        assert not unexplained(one, other, cut, EXACT)


def doubtful_of_levels(head, maps, count, size):
    """Candidates of each level whose score is next to that of the last one that is decoded."""
    priors = head.prior_generator.grid_priors([level.shape[-2:] for level in maps[0]], device='cpu')
    results = []
    for score, delta, prior in zip(*maps, priors, strict=True):
        flat = to_rows(score).reshape(-1).sigmoid()
        limit = flat.topk(count)[0][-1] if 0 < count < len(flat) else torch.inf
        indices = ((flat - limit).abs() <= MARGIN).nonzero()[:, 0]
        owners = indices // head.cls_out_channels
        boxes = head.bbox_coder.decode(prior[owners], to_rows(delta).reshape(-1, 4)[owners])
        results.append((clip(boxes, size), flat[indices], indices % head.cls_out_channels))
    return tuple(torch.cat(parts).numpy() for parts in zip(*results))


def doubtful_of_yolov3(head, maps, cfg, size):
    """The same of all levels, where objectness has no say yet."""
    every = {**cfg, 'nms_pre': -1}
    boxes, scores, labels, _ = CANDIDATES[YOLOV3Head](head, maps, ConfigDict(every), size)
    objectness = torch.cat([to_rows(level).reshape(-1, head.num_attrib) for level in maps[0]])
    classes = (objectness[:, 5:].sigmoid() * (objectness[:, 4:5].sigmoid() >= cfg.get('conf_thr', -1))).reshape(-1)
    best = classes.sort(descending=True)[0]
    near = (best - best[cfg.nms_pre - 1]).abs() <= MARGIN
    return tuple(part[near].numpy() for part in (boxes, scores, labels))


TAILS = {'proposals': Proposals, 'second-stage': SecondStage, **dict.fromkeys(('retinanet', *OTHERS), Tail)}


def tail_in(runtime, tail, given, folder):
    """The tail in a runtime: a function of what `tail` takes that gives boxes, scores and labels."""
    torch.onnx.export(tail, given, folder / 'tail.onnx', dynamo=True, opset_version=OPSET, verbose=False)
    onnx = onnxruntime.InferenceSession(folder / 'tail.onnx')
    names = [value.name for value in onnx.get_inputs()]

    def named(given):
        return dict(zip(names, (value.numpy() for value in flatten(given))))
    if runtime == 'onnx':
        return lambda given: onnx.run(None, named(given))
    compiled = openvino_core().compile_model(folder / 'tail.onnx', 'CPU', dict(INFERENCE_PRECISION_HINT='f32'))
    return lambda given: [part.copy() for part in compiled(named(given)).values()]


def flatten(given):
    if isinstance(given, torch.Tensor):
        yield given
    else:
        for part in given:
            yield from flatten(part)


@pytest.fixture(scope='module', params=['retinanet', *nightly('faster-rcnn')])
def any_size(request, tmp_path_factory):
    padding = dict(zip(KINDS, ('torch', 'tensorflow')))[request.param]
    trained = detector(request.param, **{'model.backbone.padding': padding})
    return program_of(trained.model), sessions(trained, None, tmp_path_factory.mktemp('any'))


@pytest.mark.parametrize(('kind', 'runtime'), [
    case if case[1] == 'torch' or case in BY_DAY else nightly(case)[0] for case in product(TAILS, RUNTIMES)])
def test_the_same_candidates_give_the_same_boxes(kind, runtime, tmp_path):
    """What comes after the network's convolutions, given what mmdet's `predict` has there, in photographs.

    What one of the two has and the other has not is a near tie.
    """
    options = {'model.test_cfg.nms_pre': FEW} if kind in ('retinanet', 'nanodet-plus', 'rtmdet', 'yolov3') else {}
    if kind in ('proposals', 'second-stage'):  # the second one is exported for as many proposals as there always are
        options = {'model.test_cfg.rpn.max_per_img': 300,
                   'model.test_cfg.rpn.nms_pre': FEW if kind == 'proposals' else 1000}
    trained = detector(kind if kind in OTHERS or kind == 'retinanet' else 'faster-rcnn', 'coco', **options)
    program, manifest = program_of(trained.model), manifest_of(trained, (320, 320), '')
    images = [prepare(photo, manifest) for photo in twenty()[:20 if NIGHT else 5]]
    assert {image.canvas.shape for image in images} == {(1, 320, 320, 3)}
    tail = TAILS[kind](trained, program)
    with torch.no_grad():
        inputs = [tail.given(image) for image in images]
        run = dict(torch=lambda given: [part.numpy() for part in tail(*given)]).get(runtime) or (
            tail_in(runtime, tail, inputs[0], tmp_path))
        results = [run(given) for given in inputs]
    assert_only_near_ties(tail, images, results)
    assert all((np.diff(scores) <= 0).all() for _, scores, _ in results)


@pytest.mark.parametrize('shape', [(32, 32), (64, 32), (32, 320), (128, 128), (96, 160), (224, 352)])
@pytest.mark.parametrize('runtime', ['onnx', pytest.param('openvino', marks=sizes_in_openvino)])
def test_any_size(any_size, runtime, shape):
    program, files = any_size
    session = dict(zip(('onnx', 'openvino'), files))[runtime]
    rng = np.random.default_rng(0)
    height, width = shape[0] - 4, shape[1] - 9
    canvas = np.zeros((1, *shape, 3), np.uint8)
    blocks = rng.integers(0, 256, (shape[0] // 8, shape[1] // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    canvas[0, :height, :width] = blocks[:height, :width]
    size = np.array([height, width])
    with torch.no_grad():  # mmdet's own fails on a level with a single anchor
        expected = [part.numpy() for part in program(torch.from_numpy(canvas), torch.from_numpy(size))]
    agreement = compare([(expected, session.run(canvas, size))], NEARLY)
    assert agreement.pairs > 0
    assert agreement.is_close, agreement.to_text()


@pytest.mark.nightly
@pytest.mark.parametrize('kind', ['yolov3', *KINDS])
def test_several_images_at_once(kind, tmp_path):
    """A file for three images finds what the checkpoint finds in each, however many there are and of whatever sizes."""
    trained = detector(kind)
    shape = None if kind in KINDS else (160, 192)
    both = sessions(trained, shape, tmp_path, batch=3)
    images = [prepare(photo[:200, :150 + 50 * index], both[0].manifest) for index, photo in enumerate(twenty()[:5])]
    for group in (images[:3], images[3:], images, images[:0]):
        expected = [predict(trained.model, image) for image in group]
        for session in both:
            results = detect(session, group)
            assert [len(part) for part in results] == [3] * len(group)
            agreement = compare(zip(expected, results), NEARLY)
            assert agreement.pairs >= 10 * len(group)
            assert agreement.is_close, agreement.to_text()


@pytest.mark.parametrize(('kind', 'option'), [
    ('retinanet', {'model.test_cfg.score_thr': 2}),
    *nightly(('faster-rcnn', {'model.test_cfg.rpn.min_bbox_size': 1000}))])
@pytest.mark.parametrize('runtime', ['onnx', *nightly('openvino')])
def test_nothing_found_is_no_error(kind, option, runtime, tmp_path):
    trained = detector(kind, **option)
    tail = (WholeFasterRCNN if kind == 'faster-rcnn' else Tail)(trained, program_of(trained.model))
    with torch.no_grad():
        image = prepare(np.full((64, 64, 3), 77, np.uint8), manifest_of(trained, (64, 64), ''))
        given = tail.given(image)
        assert [part.shape for part in tail_in(runtime, tail, given, tmp_path)(given)] == [(0, 4), (0,), (0,)]


def test_pixels_beside_the_image_do_not_count(any_size):
    _, (onnx, _) = any_size
    rng = np.random.default_rng(1)
    canvas = rng.integers(0, 256, (1, 96, 96, 3), np.uint8)
    clean = canvas.copy()
    clean[:, 60:], clean[:, :, 70:] = 0, 0
    size = np.array([60, 70])
    for one, other in zip(onnx.run(canvas, size), onnx.run(clean, size)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(('kind', 'option', 'message'), [
    ('retinanet', {'model.test_cfg.nms.type': 'soft_nms'}, 'soft_nms'),
    ('retinanet', {'model.test_cfg.nms.class_agnostic': True}, 'class_agnostic'),
    ('retinanet', {'model.bbox_head.bbox_coder.clip_border': False}, 'clip_border'),
    ('retinanet', {'model.data_preprocessor.pad_value': 114}, 'pad_value=114'),
    ('retinanet', {'model.bbox_head.loss_cls': dict(_delete_=True, type='CrossEntropyLoss')},
     'CrossEntropyLoss (only sigmoid'),
    ('retinanet', {'model.bbox_head.type': 'RetinaSepBNHead', 'model.bbox_head.num_ins': 3},
     'RetinaSepBNHead (only RetinaHead'),
    ('faster-rcnn', {'model.roi_head.type': 'DoubleHeadRoIHead', 'model.roi_head.reg_roi_scale_factor': 1},
     'DoubleHeadRoIHead'),
    ('faster-rcnn', {'model.roi_head.bbox_roi_extractor.type': 'GenericRoIExtractor'}, 'GenericRoIExtractor'),
    ('faster-rcnn', {'model.test_cfg.rpn.nms.type': 'soft_nms'}, 'soft_nms')])
def test_what_has_no_exported_form_is_named(kind, option, message):
    trained = detector(kind, **option)
    with pytest.raises(UnsupportedError) as error:
        program_of(trained.model)
    assert message in str(error.value)


@pytest.mark.nightly
@pytest.mark.parametrize('kind', KINDS)
def test_whole_files_of_80_classes_at_320(kind, tmp_path):
    """Which convolve in another order, so another of nearly equal candidates may be the last."""
    trained = detector(kind, 'coco')
    both = sessions(trained, (320, 320), tmp_path)
    images = [prepare(photo, both[0].manifest) for photo in twenty()[:6]]
    expected = [predict(trained.model, image) for image in images]
    for session in both:
        results = [session.run(image.canvas, image.size) for image in images]
        if kind == 'retinanet':
            assert_only_near_ties(Tail(trained, program_of(trained.model)), images, results)
        # A near tie among proposals changes boxes of the second stage: they are counted. The stages alone are compared
        # above.
        agreement = compare(zip(expected, results), NEARLY)
        assert agreement.pairs > 100
        assert agreement.is_close, agreement.to_text()
