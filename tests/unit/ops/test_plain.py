"""Our operators beside loops that do the same, in cases that Hypothesis draws; gradients beside finite differences."""
import mmcv.ops
import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from ghostdet.ops.deform_conv import deform_conv_backward_parameters
from tests import plain_operators as plain
from tests.conftest import examples, nightly

few = examples(60)
seeds = st.integers(0, 2 ** 31 - 1)
booleans = st.booleans()
THRESHOLDS = st.sampled_from([0.1, 0.3, 0.5, 0.7])


def random_boxes(rng, count, whole):
    """Boxes of 0 to 30 pixels in 60; whole ones often share corners, so that IoUs are simple fractions."""
    corner, size = rng.uniform(0, 30, (count, 2)), rng.uniform(0, 30, (count, 2))
    boxes = np.concatenate([corner, corner + size], 1)
    return torch.from_numpy((boxes / 6).round() * 6 if whole else boxes).float()


def random_scores(rng, count, ties):
    values = rng.uniform(0, 1, count)
    return torch.from_numpy((values * 4).round() / 4 if ties else values).float()


@few
@given(seeds, st.integers(0, 60), booleans, booleans, THRESHOLDS, st.sampled_from([0, 1]))
def test_nms(seed, count, whole, ties, threshold, offset):
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, count, whole), random_scores(rng, count, ties)
    if count > 4:
        boxes[0, 0], boxes[1] = torch.nan, boxes[1].flip(0)  # a NaN corner, an inverted box
    dets, kept = mmcv.ops.nms(boxes, scores, threshold, offset)
    order = scores.sort(descending=True)[1].tolist()
    assert kept.tolist() == plain.nms(boxes.numpy(), order, threshold, offset)
    assert torch.equal(dets[:, 4], scores[kept])


@few
@given(seeds, st.integers(1, 40), booleans, booleans, THRESHOLDS)
def test_nms_match(seed, count, whole, ties, threshold):
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, count, whole), random_scores(rng, count, ties)
    groups = mmcv.ops.nms_match(torch.cat([boxes, scores[:, None]], 1), threshold)
    order = scores.sort(descending=True)[1].tolist()
    assert [group.tolist() for group in groups] == plain.nms_match(boxes.numpy(), order, threshold)
    assert mmcv.ops.nms_match(boxes.new_zeros(0, 5), threshold) == []


@few
@given(seeds, st.integers(0, 30), booleans, booleans, THRESHOLDS, st.sampled_from(['naive', 'linear', 'gaussian']),
       st.sampled_from([0, 1]), st.sampled_from([0.001, 0.3]))
def test_soft_nms(seed, count, whole, ties, threshold, method, offset, min_score):
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, count, whole) + torch.tensor([0, 0, 1, 1]), random_scores(rng, count, ties)
    before = boxes.clone(), scores.clone()
    dets, kept = mmcv.ops.soft_nms(boxes, scores, threshold, 0.5, min_score, method, offset)
    expected = plain.soft_nms(boxes.numpy(), scores.numpy(), threshold, 0.5, min_score, method, offset)
    # an exponential is rounded as the processor does it: leave out what depends on its last bit
    if method == 'gaussian':
        nearly = scores.numpy() * rng.uniform(1 - 1e-6, 1 + 1e-6, count).astype(np.float32)
        other = plain.soft_nms(boxes.numpy(), nearly, threshold, 0.5, min_score, method, offset)
        assume([index for index, _ in other] == [index for index, _ in expected])
    assert kept.tolist() == [index for index, _ in expected]
    assert dets[:, 4].tolist() == pytest.approx([score for _, score in expected], abs=1e-5)
    assert torch.equal(boxes, before[0])
    assert torch.equal(scores, before[1])


def test_thresholds_are_compared_in_float32():
    # the IoU is 0.7, or 0.69999999 in float32
    boxes, scores = torch.tensor([[0., 0, 10, 10], [0, 0, 10, 7]]), torch.tensor([0.75, 0.5])
    assert mmcv.ops.nms(boxes, scores, 0.7)[1].tolist() == [0, 1]
    assert mmcv.ops.soft_nms(boxes, scores, 0.7, method='naive')[1].tolist() == [0]
    assert [group.tolist() for group in mmcv.ops.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.7)] == [[0, 1]]


def test_nms_match_ends_where_boxes_have_no_area():
    assert [group.tolist() for group in mmcv.ops.nms_match(torch.tensor([[1., 1, 1, 1, 0.5]] * 2), 0.5)] == [[0], [1]]


def test_nms_takes_half_and_double_precision():
    boxes, scores = torch.tensor([[0., 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]]), torch.tensor([0.25, 0.75, 0.5])
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        dets, kept = mmcv.ops.nms(boxes.to(dtype), scores.to(dtype), 0.5)
        assert kept.tolist() == [1, 2]
        assert dets.dtype == dtype


def random_rois(rng, count, images):
    """Regions of 0 to 20 pixels, some of them partly outside a map of 8 x 10 pixels at a scale of a half."""
    corner, size = rng.uniform(-6, 20, (count, 2)), rng.uniform(0, 20, (count, 2))
    return np.concatenate([rng.integers(0, images, (count, 1)), corner, corner + size], 1)


sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))


@few
@given(seeds, st.integers(0, 4), sizes, st.integers(0, 3), st.sampled_from(['avg', 'max']), booleans)
def test_roi_align(seed, count, size, ratio, mode, aligned):
    rng = np.random.default_rng(seed)
    features, rois = rng.normal(size=(2, 2, 8, 10)), random_rois(rng, count, 2)
    found = mmcv.ops.roi_align(torch.from_numpy(features), torch.from_numpy(rois), size, 0.5, ratio, mode, aligned)
    np.testing.assert_allclose(found.numpy(), plain.roi_align(features, rois, size, 0.5, ratio, mode, aligned),
                               atol=1e-9)


@few
@given(seeds, st.integers(0, 4), sizes)
def test_roi_pool(seed, count, size):
    rng = np.random.default_rng(seed)
    features, rois = rng.normal(size=(2, 2, 8, 10)), random_rois(rng, count, 2)
    found = mmcv.ops.roi_pool(torch.from_numpy(features), torch.from_numpy(rois), size, 0.5)
    np.testing.assert_allclose(found.numpy(), plain.roi_pool(features, rois, size, 0.5), atol=1e-12)


@pytest.mark.parametrize('pool', [
    lambda x, rois: mmcv.ops.roi_align(x, rois, (2, 3), 0.5, 0, 'avg', True),
    lambda x, rois: mmcv.ops.roi_align(x, rois, (2, 3), 0.5, 2, 'max', True),
    lambda x, rois: mmcv.ops.roi_align(x, rois, (2, 3), 0.5, 0, 'max', False),
    lambda x, rois: mmcv.ops.roi_pool(x, rois, (2, 3), 0.5)], ids=['average', 'maximum', 'maximum unaligned', 'pool'])
@pytest.mark.parametrize('count', [0, 2, *nightly(5)])
def test_gradients_of_regions(pool, count):
    rng = np.random.default_rng(4)
    features = torch.from_numpy(rng.normal(size=(2, 3, 8, 10))).requires_grad_()
    assert gradcheck(pool, (features, torch.from_numpy(random_rois(rng, count, 2))))


def test_regions_without_extent_give_zeros_and_no_gradient():
    # Empty, outside, inverted, and of an extent between -1 and 0 for RoIPool, which counts the last pixel in.
    rois = torch.tensor([[0, 4, 4, 4, 4], [0, 90, 90, 95, 95], [0, 9, 9, 2, 2], [0, 9, 9, 7.5, 7.5]],
                        dtype=torch.float64)
    for pool in (lambda x: mmcv.ops.roi_align(x, rois[:1], 2, 0.5, 0, 'max', True),
                 lambda x: mmcv.ops.roi_pool(x, rois[1:], 2, 0.5)):
        features = torch.full((1, 1, 8, 8), -3., dtype=torch.float64, requires_grad=True)
        output = pool(features)
        output.sum().backward()
        assert not output.any()
        assert not features.grad.any()


def test_features_that_are_no_numbers_stay_so():
    features = torch.zeros(1, 1, 8, 8)
    features[0, 0, 2, 2] = torch.nan
    rois = torch.tensor([[0., 0, 0, 15, 15]])
    for found in (mmcv.ops.roi_align(features, rois, 1, 0.5, 0, 'max'),
                  mmcv.ops.roi_align(features, rois, 1, 0.5, 0, 'avg'), mmcv.ops.roi_pool(features, rois, 1, 0.5)):
        assert found.isnan().all()


def test_regions_in_16_bits_and_where_only_deterministic_algorithms_are_allowed():
    features, rois = torch.randn(1, 2, 8, 10), torch.tensor([[0., 1, 2, 12, 14]])
    exact = mmcv.ops.roi_align(features, rois, 3, 0.5)
    half = features.bfloat16().requires_grad_()
    found = mmcv.ops.roi_align(half, rois.bfloat16(), 3, 0.5)
    found.sum().backward()
    assert found.dtype == half.grad.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, atol=0.05, rtol=0.05)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(mmcv.ops.roi_align(features.requires_grad_(), rois, 3, 0.5), exact)
    finally:
        torch.use_deterministic_algorithms(False)


def test_regions_of_features_with_channels_last():
    features, rois = torch.randn(2, 3, 8, 10), torch.from_numpy(random_rois(np.random.default_rng(0), 5, 2)).float()
    wide = features.to(memory_format=torch.channels_last)
    for mode in ('avg', 'max'):
        assert torch.equal(mmcv.ops.roi_align(wide, rois, 3, 0.5, 2, mode),
                           mmcv.ops.roi_align(features, rois, 3, 0.5, 2, mode))


def focal_sigmoid(x, target, gamma, alpha, weight):
    p = torch.sigmoid(x)
    one_hot = torch.nn.functional.one_hot(target, x.size(1) + 1)[:, :-1].to(x.dtype)
    loss = -(one_hot * alpha * (1 - p) ** gamma * p.log() + (1 - one_hot) * (1 - alpha) * p ** gamma * (1 - p).log())
    return loss * torch.cat([weight, weight.new_ones(1)])[target][:, None]


def focal_softmax(x, target, gamma, alpha, weight):
    p = x.softmax(1).gather(1, target.clamp(min=0)[:, None])[:, 0]
    return torch.where(target < 0, 0, -alpha * (1 - p) ** gamma * p.log() * weight[target.clamp(min=0)])


@few
@given(seeds, st.integers(1, 6), st.integers(2, 4), st.sampled_from([0., 0.5, 1., 2., 3.5]),
       st.sampled_from([0.25, 0.6]), booleans)
def test_focal_losses(seed, count, classes, gamma, alpha, weighted):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(count, classes)) * 3).requires_grad_()
    weight = torch.from_numpy(rng.uniform(0.5, 2, classes)) if weighted else None
    plain_weight = torch.ones(classes, dtype=torch.float64) if weight is None else weight
    for loss, formula, lowest, highest in ((mmcv.ops.sigmoid_focal_loss, focal_sigmoid, 0, classes + 1),
                                           (mmcv.ops.softmax_focal_loss, focal_softmax, -1, classes)):
        target = torch.from_numpy(rng.integers(lowest, highest, count))
        found, expected = loss(x, target, gamma, alpha, weight, 'none'), formula(x, target, gamma, alpha, plain_weight)
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-9)
        mean = loss(x, target, gamma, alpha, weight, 'mean')
        gradients = [torch.autograd.grad(value, x)[0] for value in (mean, expected.sum() / count)]
        torch.testing.assert_close(*gradients, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize('loss', [mmcv.ops.sigmoid_focal_loss, mmcv.ops.softmax_focal_loss])
@pytest.mark.parametrize('gamma', [0.5, 1., 2.])
def test_focal_losses_of_certain_predictions_are_numbers(loss, gamma):
    x = torch.tensor([[200., -200.], [-200., 200.]], requires_grad=True)
    value = loss(x, torch.tensor([0, 0]), gamma, 0.25, None, 'sum')
    value.backward()
    assert value.isfinite()
    assert value > 10  # the second row is wrong, and certain
    assert x.grad.isfinite().all()


def test_focal_losses_of_nothing_and_of_half_precision():
    empty = torch.zeros(0, 3)
    assert mmcv.ops.sigmoid_focal_loss(empty, torch.zeros(0).long(), 2., 0.25, None, 'sum') == 0
    x, target = torch.randn(4, 3), torch.tensor([0, 3, 1, 2])
    for loss, labels in ((mmcv.ops.sigmoid_focal_loss, target), (mmcv.ops.softmax_focal_loss, target.clamp(max=2))):
        exact, half = loss(x, labels, 2., 0.25, None, 'none'), loss(x.half(), labels, 2., 0.25, None, 'none')
        assert half.dtype == torch.float16
        torch.testing.assert_close(half.float(), exact, atol=0.01, rtol=0.01)
    certain = torch.tensor([[-90., 90.]]).half()
    assert mmcv.ops.softmax_focal_loss(certain, torch.tensor([0]), 2., 0.25, None, 'sum').isfinite()


def test_gradient_of_a_deformable_convolution_is_scaled_and_added():
    """As mmcv's compiled function does; mmcv itself calls it with a scale of 1 and zeros."""
    torch.manual_seed(0)
    features, offset, grad = torch.randn(1, 2, 4, 4), torch.randn(1, 18, 4, 4), torch.randn(1, 2, 4, 4)
    geometry = dict(kW=3, kH=3, dW=1, dH=1, padW=1, padH=1, dilationW=1, dilationH=1, group=1, deformable_group=1,
                    im2col_step=1)
    found = []
    for start, scale in ((0., 1.), (1., 0.5)):
        found.append(torch.full((2, 2, 3, 3), start))
        deform_conv_backward_parameters(features, offset, grad, found[-1], None, None, scale=scale, **geometry)
    torch.testing.assert_close(found[1], 1 + 0.5 * found[0])


@examples(25)
@given(seeds, st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.integers(1, 2), st.sampled_from([1, 2]),
       st.sampled_from([1, 2]), booleans)
@example(0, 3, 1, 1, 1, 2, 2, True)
def test_deform_conv2d(seed, kernel, stride, padding, dilation, groups, deform_groups, modulated):
    assume(5 + 2 * padding >= dilation * (kernel - 1) + 1)
    rng = np.random.default_rng(seed)
    size = [(length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for length in (5, 6)]
    features, weight = rng.normal(size=(2, 4, 5, 6)), rng.normal(size=(2, 4 // groups, kernel, kernel))
    offset = rng.normal(size=(2, 2 * deform_groups * kernel ** 2, *size)) * 2
    mask = rng.uniform(size=(2, deform_groups * kernel ** 2, *size)) if modulated else None
    expected = plain.deform_conv2d(features, offset, weight, stride, padding, dilation, groups, deform_groups, mask)
    geometry = (stride, padding, dilation, groups, deform_groups)
    tensors = [torch.from_numpy(values) for values in (features, offset, weight)]
    if modulated:
        found = mmcv.ops.modulated_deform_conv2d(*tensors[:2], torch.from_numpy(mask), tensors[2], None, *geometry)
    else:
        found = mmcv.ops.deform_conv2d(*tensors, *geometry)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)


@pytest.mark.parametrize(('stride', 'bias'), [((2, 1), True), *nightly((1, True), (1, False), ((2, 1), False))])
def test_gradients_of_deformable_convolutions(stride, bias):
    torch.manual_seed(0)
    size = (5, 6) if stride == 1 else (3, 6)

    def random(*shape):
        return torch.randn(*shape, dtype=torch.float64).requires_grad_()
    features, weight, offset = random(1, 4, 5, 6), random(2, 2, 3, 3), random(1, 36, *size)
    geometry = (stride, 1, 1, 2, 2)
    assert gradcheck(lambda *x: mmcv.ops.deform_conv2d(*x, *geometry), (features, offset, weight))
    added = random(2) if bias else None
    assert gradcheck(lambda *x: mmcv.ops.modulated_deform_conv2d(*x, *geometry),
                     (features, offset, random(1, 18, *size), weight, added))
