"""Published detectors by name. Their files are written here, in their layouts, and come from a server on loopback."""
import io
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn

from ghostdet import Detector
from ghostdet.packaged_configs import find_config
from ghostdet.training.build import build_detector
from ghostdet.training.trained_detector import ImagePipeline
from ghostdet.weights import reader
from ghostdet.weights.catalogue import DETECTORS
from tests.closed_form import filled
from tests.conftest import run_tool
from tests.published import published_mmdet2, published_mmdet3, published_nanodet
from tests.server import Server

LAYOUTS = dict(rtmdet_tiny_coco=published_mmdet3, yolox_tiny_coco=published_mmdet2)
PIXELS = np.random.default_rng(0).integers(256, size=(60, 80, 3), dtype=np.uint8)


def config_of(name):
    return Config.fromfile(find_config(DETECTORS[name].config))


@cache
def network(config):
    """The detector of a config, with weights from a formula, and its published file."""
    model = filled(build_detector(Config.fromfile(find_config(config)), config)).float()
    for layer in getattr(model.bbox_head, 'rtm_reg', ()):
        layer.bias.data += 3  # RTMDet drops boxes of negative size
    buffer = io.BytesIO()
    torch.save(LAYOUTS.get(config, published_nanodet)(model.state_dict()), buffer)
    return model, buffer.getvalue()


@pytest.fixture(scope='module')
def server():
    server = Server()
    yield server
    server.shutdown()


@pytest.fixture
def published(server, tmp_path, monkeypatch):
    """Serves the file of a name; returns the network that it has. Its weights are others, so no checksum counts."""
    def serve(name):
        entry = DETECTORS[name]
        monkeypatch.setitem(DETECTORS, name, replace(entry, sha256=None))
        model, content = network(entry.config.replace('_320_', '_416_'))  # the two differ in the size of images alone
        server.files = {f'/mirror/{entry.file}': content}
        return model
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setenv(reader.MIRROR, f'{server.base}/mirror/')
    server.paths.clear()
    yield serve
    for file in tmp_path.glob('torch/hub/checkpoints/*'):
        file.unlink()  # up to 64 MB


@pytest.mark.parametrize('name', DETECTORS)
def test_a_name_predicts_as_the_network_that_was_published(name, published, server):
    model = published(name)
    detector = Detector(f'ghostdet://{name}')
    assert server.paths == [f'/mirror/{DETECTORS[name].file}']  # no file of the backbone
    own = detector.engine.model.state_dict()
    assert [key for key, tensor in model.state_dict().items() if not torch.equal(tensor, own[key])] == []
    found = detector(PIXELS, threshold=0)
    with torch.no_grad():
        wanted = model.test_step(ImagePipeline(config_of(name))(np.ascontiguousarray(PIXELS[:, :, ::-1])))[0]
    assert len(found) > 0
    assert len(found.classes) == 80
    assert np.array_equal(found.scores, wanted.pred_instances.scores)
    assert np.array_equal(found.boxes, wanted.pred_instances.bboxes)


# Millions, as published. The README of NanoDet does not count batch norms.
@pytest.mark.parametrize(('config', 'least', 'most'), [
    ('nanodet-plus_shufflenetv2_1.0x_416_coco', 1.165, 1.175),
    ('nanodet-plus_shufflenetv2_1.5x_416_coco', 2.435, 2.445),
    ('rtmdet_tiny_coco', 4.8, 4.9), ('yolox_tiny_coco', 5.055, 5.065)])
def test_parameters_are_those_of_the_published_detector(config, least, most):
    model = build_detector(Config.fromfile(find_config(config)), config)
    counted = [module for name, module in model.named_modules() if not name.startswith('aux_')
               and not ('nanodet' in config and isinstance(module, nn.BatchNorm2d))]
    total = sum(tensor.numel() for module in counted for tensor in module.parameters(recurse=False))
    assert least <= total / 1e6 < most


@pytest.mark.nightly
@pytest.mark.parametrize('name', ['rtmdet_tiny', 'yolox_tiny'])
def test_own_classes_are_trained_from_it(name, published, shapes, tmp_path):
    published(name)
    assert run_tool('train', DETECTORS[name].config, '--work-dir', tmp_path / 'run', '--data-root', shapes,
                    '--load-from', f'ghostdet://{name}', options=['train_cfg.val_interval=9']) == 0
    log, = (tmp_path / 'run').glob('*/*.log')
    assert 'new classes, untrained: disc, square, triangle' in log.read_text()


def test_a_detector_reads_raw_pixels_where_it_was_trained_on_them():
    pixels = config_of('yolox_tiny').model.data_preprocessor
    assert pixels.mean is pixels.std is None
    assert not pixels.bgr_to_rgb
