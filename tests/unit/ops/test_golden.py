"""Our operators beside compiled mmcv's, recorded in tests/golden/mmcv_ops.json, through mmcv's own functions.

The comment in that file says what the inputs are.
"""
import mmcv.ops
import pytest
import torch

from tests.closed_form import golden

GOLDEN = golden('mmcv_ops')


def wave(shape, step, phase=0.0):
    size = torch.Size(shape)
    return torch.sin(step * torch.arange(size.numel(), dtype=torch.float64) + phase).reshape(size)


def boxes(count):
    u = wave((count, 4), 1.7)
    corner, size = 60 * (u[:, :2] + 1), 30 * (u[:, 2:] + 1.2)
    return torch.cat([corner, corner + size], 1).float()


def scores(count, ties=False):
    values = (wave((count,), 0.9, 0.3) + 1) / 2
    return ((values * 8).round() / 8 if ties else values).float()


def label(case):
    return '-'.join(str(case[key]) for key in list(case)[:4])


def check(found, expected, tolerance):
    flat = found.detach().double().flatten()
    nine = flat[torch.linspace(0, flat.numel() - 1, 9, dtype=torch.float64).long()]
    assert list(found.shape) == expected['shape']
    assert nine.tolist() == pytest.approx(expected['values'], abs=tolerance)
    assert [flat.mean().item(), flat.std().item()] == pytest.approx([expected['mean'], expected['std']], abs=tolerance)


@pytest.mark.parametrize('case', GOLDEN['nms'], ids=label)
def test_nms(case):
    _, kept = mmcv.ops.nms(boxes(case['n']), scores(case['n'], case['ties']), case['iou_threshold'], case['offset'])
    assert kept.tolist() == case['kept']


@pytest.mark.parametrize('case', GOLDEN['soft_nms']['cases'], ids=lambda case: case['method'])
def test_soft_nms(case):
    common = {key: GOLDEN['soft_nms'][key] for key in ('iou_threshold', 'sigma', 'min_score')}
    count = GOLDEN['soft_nms']['n']
    dets, kept = mmcv.ops.soft_nms(boxes(count), scores(count), method=case['method'], **common)
    assert kept.tolist() == case['kept']
    assert dets[:, 4].tolist() == pytest.approx(case['scores'], abs=1e-5)
    assert torch.equal(dets[:, :4], boxes(count)[kept])


def test_nms_match():
    case = GOLDEN['nms_match']
    dets = torch.cat([boxes(case['n']), scores(case['n'])[:, None]], 1)
    assert [group.tolist() for group in mmcv.ops.nms_match(dets, case['iou_threshold'])] == case['groups']


def test_batched_nms():
    case = GOLDEN['batched_nms']
    classes = torch.arange(case['n']) % 4
    _, kept = mmcv.ops.batched_nms(boxes(case['n']), scores(case['n']), classes,
                                   dict(type='nms', iou_threshold=case['iou_threshold']))
    assert kept.tolist() == case['kept']


@pytest.mark.parametrize('case', GOLDEN['roi_align']['cases'], ids=label)
def test_roi_align(case):
    features = wave((2, 5, 24, 32), 0.11).requires_grad_()
    rois = torch.cat([(torch.arange(60) % 2)[:, None].double(), boxes(60).double()], 1)[:40]
    output = mmcv.ops.roi_align(features, rois, tuple(case['output_size']), GOLDEN['roi_align']['spatial_scale'],
                                case['sampling_ratio'], case['pool_mode'], case['aligned'])
    check(output, case['output'], 1e-9)
    (output * wave(output.shape, 0.05)).sum().backward()
    check(features.grad, case['gradient'], 1e-9)


@pytest.mark.parametrize('case', GOLDEN['deform_conv2d']['cases'],
                         ids=lambda case: f'{case["stride"]}-{case["deform_groups"]}')
def test_deform_conv2d(case):
    features, weight = wave((2, 6, 12, 14), 0.21).float(), (0.3 * wave((8, 3, 3, 3), 0.41)).float()
    groups, size = case['deform_groups'], case['deform']['shape'][2:]
    offset = (1.5 * wave((2, 18 * groups, *size), 0.013)).float()
    mask = ((wave((2, 9 * groups, *size), 0.017) + 1) / 2).float()
    geometry = (case['stride'], case['padding'], 1, case['groups'], groups)
    check(mmcv.ops.deform_conv2d(features, offset, weight, *geometry), case['deform'], 1e-5)
    check(mmcv.ops.modulated_deform_conv2d(features, offset, mask, weight, None, *geometry), case['modulated'], 1e-5)
