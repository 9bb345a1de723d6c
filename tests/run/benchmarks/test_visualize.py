"""`python -m benchmarks.visualize` through its command line."""
import copy
import json

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.redundancy import _catch, look
from benchmarks.untrained import random_detector
from ghostdet.cli import door
from ghostdet.training.config_file import read_config
from ghostdet.training.trained_detector import ImagePipeline, read_detector
from tests.conftest import MINI, ROOT, study

LAYER = 'backbone.blocks.1.0.ghost1'
GHOST_HEAD = str(ROOT / 'configs/retinanet_ghostnet_1.1x_ghost-head_mini.py')
YOLOV3 = str(ROOT / 'configs/yolov3_ghostnet_1.1x_mini.py')
FASTER = str(ROOT / 'configs/faster-rcnn_mobilenetv2_1.0x_mini.py')


def run(*arguments):
    return door.run(study('visualize'), [*map(str, arguments)])


@pytest.fixture(scope='module')
def image(shapes):
    return sorted((shapes / 'val2017').iterdir())[0]


def test_a_trained_detector(trained, image, tmp_path, capsys):
    checkpoint = trained / 'epoch_2.pth'
    assert run(MINI, checkpoint, '--layer', LAYER, image, '--pairs', 3, '--out', tmp_path / 'new') == 0
    data = json.loads((tmp_path / 'new/redundancy.json').read_text())
    result = data['layer'], data['weights'], data['channels'], len(data['pairs'])
    assert result == (LAYER, 'weights of epoch_2.pth', 52, 3)
    assert len(data['modules']) == 32
    assert [len(module['own']) for module in data['modules'][:3]] == [8, 8, 26]
    assert f'{LAYER}: 52 feature maps of 64x64' in capsys.readouterr().out
    for name in ('feature_maps', 'ghost_modules'):
        with Image.open(tmp_path / f'new/{name}.png') as picture:
            assert np.asarray(picture).std() > 10


def test_its_maps_are_those_of_the_network(trained, image):
    checkpoint = str(trained / 'epoch_2.pth')
    result = look(MINI, checkpoint, image, 'backbone.blocks.0.0', 6)
    model = read_detector(checkpoint).model
    batch = ImagePipeline(read_detector(checkpoint).cfg)(image.read_bytes())
    with torch.no_grad():
        inputs = model.data_preprocessor(batch)['inputs']
        x = model.backbone.blocks[0][0](model.backbone.bn1(model.backbone.conv_stem(inputs)).relu())
    np.testing.assert_allclose(result.maps, x[0].numpy(), rtol=1e-4, atol=1e-5)
    with Image.open(image) as original:
        assert result.image.shape == (128, 128, 3)
        assert np.abs(np.asarray(original.convert('RGB').resize((128, 128))).mean((0, 1))
                      - result.image.mean((0, 1))).max() < 3


@pytest.mark.parametrize(('config', 'ghosts'), [(GHOST_HEAD, 32 + 6 + 4), (YOLOV3, 32), (FASTER, 0)])
def test_random_weights_and_all_kinds_of_ghost_modules(config, ghosts, image, tmp_path, capsys):
    layer = dict(zip((GHOST_HEAD, YOLOV3, FASTER), ('neck.fpn_convs.0', 'neck.detect1', 'backbone.layer1')))[config]
    assert run(config, image, '--layer', layer, '--out', tmp_path) == 0
    data = json.loads((tmp_path / 'redundancy.json').read_text())
    assert data['weights'] == 'random weights'
    assert len(data['modules']) == ghosts
    assert (tmp_path / 'ghost_modules.png').exists() == bool(ghosts)
    assert ('the network has no Ghost module' in capsys.readouterr().out) == (not ghosts)


def test_random_weights_are_the_same_every_time_and_of_a_sound_scale(image):
    first, second = (look(MINI, None, image, 'backbone.blocks.8.3', 6) for _ in range(2))
    assert np.array_equal(first.maps, second.maps)
    assert 0.05 < first.maps.std() < 20  # batch norm knows the image, or values would fade from layer to layer
    assert not random_detector(read_config(MINI, {}), MINI).model.training


def test_looking_changes_nothing_and_of_a_head_the_first_level_is_shown(trained, image):
    model = read_detector(str(trained / 'epoch_2.pth')).model
    batch = ImagePipeline(read_detector(str(trained / 'epoch_2.pth')).cfg)(image.read_bytes())
    every = {name: module for name, module in model.named_modules() if name}
    with torch.no_grad():
        plain = model.test_step(copy.deepcopy(batch))[0].pred_instances
    seen = []
    handle = model.register_forward_hook(lambda module, inputs, output: seen.append(output))
    caught = _catch(model, every, copy.deepcopy(batch))
    handle.remove()
    assert len(plain.scores) > 10
    assert torch.equal(seen[0][0].pred_instances.bboxes, plain.bboxes)
    assert torch.equal(seen[0][0].pred_instances.scores, plain.scores)
    assert caught['bbox_head.cls_convs.0'].shape == (1, 64, 16, 16)
    assert caught['bbox_head.retina_cls'].shape == (1, 9, 16, 16)
    assert look(MINI, str(trained / 'epoch_2.pth'), image, 'bbox_head.retina_cls', 2).maps.shape == (9, 16, 16)


@pytest.mark.parametrize(('layer', 'message'), [
    ('backbone.block.1.0.ghost1', f'no such layer; did you mean {LAYER}'),
    ('xyz', 'its parts are data_preprocessor, backbone, neck, bbox_head'),
    ('backbone', 'but the layer returns a tuple'),
    ('backbone.blocks.3.0.se.conv_reduce', 'but the layer returns a tensor of shape (1, 20, 1, 1)'),
    ('backbone.blocks', 'the detector does not run this layer on an image'),
])
def test_a_layer_that_is_none_is_told(layer, message, image, tmp_path, capsys):
    assert run(MINI, image, '--layer', layer, '--out', tmp_path / 'new') == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'new').exists()


def test_what_cannot_be_read_is_told(shapes, image, tmp_path, capsys):
    broken = tmp_path / 'broken.png'
    broken.write_bytes(image.read_bytes()[:400])
    for arguments, message in [((MINI, broken), 'broken.png cannot be read'),
                               ((MINI, tmp_path / 'absent.png'), 'there is no image '),
                               ((MINI, tmp_path), 'there is no image '),
                               (('absent.py', image), 'there is no config'),
                               ((MINI, tmp_path / 'absent.pth', image), 'there is no checkpoint '),
                               ((MINI, image, '--pairs', '11'), '--pairs 11: expected a number from 0 to 10')]:
        assert run(*arguments, '--layer', LAYER, '--out', tmp_path / 'new') == 1
        assert message in capsys.readouterr().err
