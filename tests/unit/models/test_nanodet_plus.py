"""NanoDet-Plus gives what its authors' code gives."""
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData

from ghostdet.models.heads.nanodet_plus import NanoDetPlusAuxHead, NanoDetPlusHead
from ghostdet.models.necks.ghost_pan import GhostPAN
from ghostdet.packaged_configs import find_config
from ghostdet.training.build import build_detector
from ghostdet.training.counting import measure
from tests.closed_form import golden, image, nine, value
from tests.published import torchvision_key

GOLDEN = golden('nanodet_plus')
PROJECT = 'distribution_project.project'


def filled(model, prefix='', rename=str):
    """The closed form's value for each key; the numbers of the bins stay."""
    state = model.state_dict()
    for key, tensor in state.items():
        if not key.endswith(('num_batches_tracked', PROJECT)):
            state[key] = value(prefix + rename(key), tuple(tensor.shape))
    model.double().load_state_dict(state)
    model.eval()
    return model


def shapes(model):
    return {key: list(tensor.shape) for key, tensor in model.state_dict().items()}


def flat(maps):
    """What the authors' heads give: (N, points, classes + distances)."""
    return torch.cat([torch.cat(level, dim=1).flatten(2) for level in zip(*maps)], dim=2).transpose(1, 2)


def levels(number, channels, sizes):
    """The inputs of the reference: sin(0.13 i + level)."""
    return [torch.sin(0.13 * torch.arange(number * c * h * w, dtype=torch.float64) + level).view(number, c, h, w)
            for level, (c, (h, w)) in enumerate(zip(channels, sizes))]


def assert_close(tensor, expected, tolerance=1e-9):
    assert list(tensor.shape) == expected['shape']
    for key, found in (('mean', tensor.mean().item()), ('std', tensor.std().item()), ('values', nine(tensor).tolist())):
        assert found == pytest.approx(expected[key], rel=tolerance, abs=tolerance), key


@pytest.mark.parametrize('name', GOLDEN['ghost_pan'])
def test_levels_of_the_neck(name):
    expected = GOLDEN['ghost_pan'][name]
    neck = filled(GhostPAN(expected['in_channels'], expected['out_channels']))
    assert sum(parameter.numel() for parameter in neck.parameters()) == expected['params']
    if name == 'ghostnet_1.0x_416':
        assert shapes(neck) == GOLDEN['ghost_pan_keys']
    with torch.no_grad():
        found = neck(levels(1, expected['in_channels'], expected['sizes']))
    for level, wanted in zip(found, expected['levels'], strict=True):
        assert_close(level, wanted)


@pytest.mark.parametrize(('kind', 'channels', 'keys', 'name'), [
    (NanoDetPlusHead, 96, 'head_keys', 'head'), (NanoDetPlusAuxHead, 192, 'aux_keys', 'aux')])
def test_outputs_of_the_heads(kind, channels, keys, name):
    head = filled(kind(80))
    assert shapes(head) == GOLDEN[keys]
    with torch.no_grad():
        assert_close(flat(head(levels(2, [channels] * 4, GOLDEN['head']['sizes']))), GOLDEN[name]['output'])


@pytest.mark.parametrize(('key', 'config'), [('whole_m', 'nanodet-plus_shufflenetv2_1.0x_416_coco'),
                                             ('whole_m_1.5x', 'nanodet-plus_shufflenetv2_1.5x_416_coco')])
def test_the_whole_network(key, config):
    expected = GOLDEN[key]
    model = build_detector(Config.fromfile(find_config(config)), config)
    parts = dict(backbone=model.backbone, fpn=model.neck, head=model.bbox_head)
    for name, part in parts.items():
        filled(part, f'{name}.', torchvision_key if name == 'backbone' else str)
    keys = {f'{name}.{torchvision_key(key) if name == "backbone" else key}': shape
            for name, part in parts.items() for key, shape in shapes(part).items()}
    assert keys == expected['keys']
    with torch.no_grad():
        features = parts['backbone'](image(96, 128))
        for feature, wanted in zip(features, expected['features'], strict=True):
            assert_close(feature, wanted)
        assert_close(flat(parts['head'](parts['fpn'](features))), expected['output'])


def logits(phase):
    """(2, 534, 112): class scores and distances of the reference."""
    i = torch.arange(2 * 534 * 112, dtype=torch.float64).view(2, 534, 112)
    return torch.cat([-3 + 2 * torch.sin(0.7 * i[..., :80] + phase), 1.5 * torch.sin(0.31 * i[..., 80:] + phase)],
                     -1).float()


def as_maps(tensor):
    parts = tensor.transpose(1, 2).split([h * w for h, w in GOLDEN['head']['sizes']], dim=2)
    maps = [part.unflatten(2, size) for part, size in zip(parts, GOLDEN['head']['sizes'])]
    return [part[:, :80] for part in maps], [part[:, 80:] for part in maps]


def truth():
    given = GOLDEN['loss']
    return [InstanceData(bboxes=torch.tensor(boxes), labels=torch.tensor(labels))
            for boxes, labels in zip(given['gt_bboxes'], given['gt_labels'])]


@pytest.mark.parametrize('name', ['loss', 'loss_with_aux'])
def test_losses_and_gradients(name):
    expected, head = GOLDEN[name], NanoDetPlusHead(80)
    scores = logits(0).requires_grad_()
    aux = as_maps(logits(1)) if name == 'loss_with_aux' else None
    losses = head.loss_by_feat(*as_maps(scores), truth(), [{}, {}], aux=aux)
    assert {key.replace('loss_cls', 'loss_qfl'): value.item() for key, value in losses.items()} == pytest.approx(
        expected['losses'], rel=1e-5)
    total = sum(losses.values())
    assert total.item() == pytest.approx(expected['total'], rel=1e-5)
    if 'gradient' in expected:
        total.backward()
        assert_close(scores.grad, expected['gradient'], 1e-5)


def test_decoded_boxes():
    head = NanoDetPlusHead(80, test_cfg=ConfigDict(score_thr=0, nms_pre=-1))
    expected, maps = GOLDEN['decoded'], as_maps(logits(0))
    found = head.predict_by_feat(*maps, batch_img_metas=2 * [dict(img_shape=(160, 160))], with_nms=False)
    assert len(found) == 2
    priors = torch.cat(head.prior_generator.grid_priors(GOLDEN['head']['sizes'], device='cpu'))
    distances = torch.cat([level.flatten(2) for level in head.distances(maps[1])], dim=2).transpose(1, 2)
    boxes = head.bbox_coder.decode(priors.expand(2, -1, -1), distances, max_shape=(160, 160))
    assert_close(boxes, expected['boxes'], 1e-5)
    assert boxes[0, :3].flatten().tolist() == pytest.approx([side for box in expected['first'] for side in box],
                                                            rel=1e-5)


def test_losses_in_half_precision_are_those_of_single_precision():
    maps = as_maps(logits(0))
    whole = NanoDetPlusHead(80).loss_by_feat(*maps, truth(), [{}, {}])
    with torch.autocast('cpu', torch.bfloat16):
        halves = [[level.bfloat16() for level in part] for part in maps]
        half = NanoDetPlusHead(80).loss_by_feat(*halves, truth(), [{}, {}])
    for name, loss in whole.items():
        assert half[name].item() == pytest.approx(loss.item(), rel=0.03), name


@pytest.mark.parametrize('gts', [[], [0]], ids=['no object', 'one image without'])
def test_images_without_objects_train(gts):
    """Every parameter gets a gradient, which several processes need."""
    head = NanoDetPlusHead(3, in_channels=8, feat_channels=8)
    boxes = [InstanceData(bboxes=torch.tensor([[4., 4., 60., 50.]] if k in gts else []).view(-1, 4),
                          labels=torch.tensor([2] if k in gts else [], dtype=torch.long)) for k in range(2)]
    features = [torch.rand(2, 8, side, side) for side in (8, 4, 2, 1)]
    losses = head.loss_by_feat(*head(features), boxes, [{}, {}])
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(parameter.grad is not None for parameter in head.parameters())
    assert (losses['loss_bbox'] > 0) == bool(gts)


def test_cost_is_that_of_the_published_detector():
    """Its README: 1.17 M parameters, and 1.52 GFLOPs at 416x416, which are two for each multiply-accumulate."""
    total = measure('nanodet-plus_shufflenetv2_1.0x_416_coco', (416, 416)).total
    assert total.parameters == pytest.approx(1.17e6, rel=0.03)
    assert total.macs == pytest.approx(1.52e9 / 2, rel=0.03)
