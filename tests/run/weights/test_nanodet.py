"""The published NanoDet-Plus detects at once: `ghostdet://nanodet-plus-m_416`. Its file is written here."""
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ghostdet import Detector
from ghostdet.cli import door
from ghostdet.errors import UserError
from ghostdet.weights import catalogue
from ghostdet.weights.nanodet import from_nanodet
from ghostdet.weights.schemes import load
from tests.closed_form import golden, value
from tests.conftest import run_tool, tool
from tests.published import torchvision_key
from tests.server import Server

NAME = 'nanodet-plus-m_416'

CONFIG = 'nanodet-plus_shufflenetv2_1.0x_416_coco'

GOLDEN = golden('nanodet_plus')


def published(change=lambda state: state):
    """A checkpoint of PyTorch Lightning with the authors' names; the last weights differ from the average."""
    keys = {**GOLDEN['whole_m']['keys'],
            **{f'aux_fpn.{key.removeprefix("fpn.")}': shape for key, shape in GOLDEN['whole_m']['keys'].items()
               if key.startswith('fpn.')},
            **{f'aux_head.{key}': shape for key, shape in GOLDEN['aux_keys'].items()}}
    weights = {key: torch.arange(8.) if 'project' in key else torch.tensor(7) if 'num_batches' in key
               else value(key, tuple(shape)).float() for key, shape in keys.items()}
    state = {f'model.{key}': tensor + 1 for key, tensor in weights.items()} | {
        f'avg_model.{key}': tensor for key, tensor in weights.items()}
    return {'epoch': 299, 'global_step': 366600, 'pytorch-lightning_version': '1.5.5', 'state_dict': change(state),
            'callbacks': {}, 'optimizer_states': [], 'lr_schedulers': []}


@pytest.fixture
def served(monkeypatch, tmp_path):
    """The server that has the file, under the name in the catalogue."""
    server, buffer = Server(), io.BytesIO()
    torch.save(published(), buffer)
    server.content = buffer.getvalue()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setitem(catalogue.DETECTORS, NAME, replace(catalogue.DETECTORS[NAME], url=f'{server.base}/file.ckpt'))
    yield server
    server.shutdown()


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for number in range(2):
        Image.fromarray(np.random.default_rng(number).integers(256, size=(60, 80 + number, 3), dtype=np.uint8)).save(
            folder / f'{number}.png')
    return folder


def test_every_tensor_comes_from_the_average():
    result = from_nanodet(published(), 'a file')
    average = {key.removeprefix('avg_model.'): tensor for key, tensor in published()['state_dict'].items()
               if key.startswith('avg_model.')}
    assert len(result) == len(average)
    theirs = {'neck.': 'fpn.', 'bbox_head.': 'head.', 'aux_neck.': 'aux_fpn.'}
    for key, tensor in result.items():
        name = f'backbone.{torchvision_key(key.removeprefix("backbone."))}' if key.startswith('backbone.') else re.sub(
            r'^\w+\.', lambda match: theirs.get(match[0], match[0]), key)
        torch.testing.assert_close(tensor, average[name], rtol=0, atol=0)


def test_it_predicts_at_once(served, photos, tmp_path):
    detector = Detector(f'ghostdet://{NAME}')
    assert detector.classes[:2] == ('person', 'bicycle')
    assert len(detector.classes) == 80
    arguments = [f'ghostdet://{NAME}', str(photos), '--out', str(tmp_path / 'found'), '--threshold', '0']
    assert tool('predict')(arguments) is None
    assert json.loads((tmp_path / 'found/detections.json').read_text())['annotations']
    assert len(served.requests) == 1  # from then on it is in the cache
    prepared = detector.prepare(photos / '0.png')
    assert prepared['inputs'][0].shape == (3, 416, 416)  # stretched


def test_the_network_is_the_published_one(served):
    """The outputs of the reference, through checkpoint and config."""
    model = Detector(f'ghostdet://{NAME}').engine.model.double()
    x = torch.sin(0.37 * torch.arange(3 * 96 * 128, dtype=torch.float64)).view(1, 3, 96, 128)
    with torch.no_grad():
        maps = model.bbox_head(model.extract_feat(x))
    result = torch.cat([torch.cat(level, dim=1).flatten(2) for level in zip(*maps)], dim=2).transpose(1, 2)
    assert result.mean().item() == pytest.approx(GOLDEN['whole_m']['output']['mean'], rel=1e-4)
    assert result.std().item() == pytest.approx(GOLDEN['whole_m']['output']['std'], rel=1e-5)
    pixels = model.data_preprocessor
    assert not pixels._channel_conversion  # blue first
    assert pixels.mean.flatten().tolist() == pytest.approx([103.53, 116.28, 123.675])


@pytest.mark.parametrize(('change', 'message'), [
    (lambda state: {key: tensor for key, tensor in state.items() if 'gfl_cls.2.bias' not in key},
     r'bbox_head\.gfl_cls\.2\.bias'),
    (lambda state: {key: tensor[:1] if key == 'avg_model.fpn.reduce_layers.0.conv.weight' else tensor
                    for key, tensor in state.items()}, r'neck\.reduce_layers\.0\.conv\.weight'),
    (lambda state: {f'backbone.{key}': tensor for key, tensor in state.items()}, 'no checkpoint of NanoDet-Plus'),
])
def test_a_file_that_does_not_fit_is_refused_by_name(change, message, served):
    buffer = io.BytesIO()
    torch.save(published(change), buffer)
    served.content = buffer.getvalue()
    with pytest.raises(UserError, match=message):
        Detector(f'ghostdet://{NAME}')


def test_it_is_exported_at_once(served, photos, tmp_path):
    out = tmp_path / 'detector.ncnn.param'
    assert door.run(tool('export'),
                    [CONFIG, f'ghostdet://{NAME}', '--format', 'ncnn', '--out', str(out), '--images', str(photos),
                     '--cfg-options', 'model.test_cfg.score_thr=0']) == 0
    detector = Detector(out)
    assert len(detector.classes) == 80
    assert detector.engine.manifest.canvas == (416, 416)
    assert detector(photos / '0.png', threshold=0)


@pytest.mark.nightly
def test_own_classes_are_trained_from_it(served, shapes, tmp_path):
    assert run_tool('train', CONFIG, '--work-dir', tmp_path / 'run', '--data-root', shapes, '--load-from',
                    f'ghostdet://{NAME}', options=['train_dataloader.batch_size=2', 'train_cfg.val_interval=9']) == 0
    log, = (tmp_path / 'run').glob('*/*.log')
    assert 'new classes, untrained: disc, square, triangle' in log.read_text()
    state = torch.load(tmp_path / 'run/epoch_1.pth', weights_only=False)['state_dict']
    assert state['bbox_head.gfl_cls.0.weight'].shape[0] == 3 + 32
    assert set(load(f'ghostdet://{NAME}')['state_dict']) == set(state)
