"""tools/weights.py and tools/transfer.py through their command lines."""
import subprocess
import sys

import pytest
import torch
from PIL import Image
from timm import create_model

from ghostdet import GhostNet
from ghostdet.engine import console
from ghostdet.weights.catalogue import CATALOGUE
from ghostdet.weights.pretrained import load_ghostnet
from tests.conftest import ROOT, tool
from tests.weights.foreign import DLi14, randomised


def run(*arguments):
    return console.run(tool('weights'), [*map(str, arguments)])


def test_the_list_names_source_address_accuracy_and_licence(capsys):
    assert run('list') == 0
    output = capsys.readouterr().out
    for name, entry in CATALOGUE.items():
        assert f'ghostdet://{name}: width {entry.width}, top-1 {entry.top1:.2f}, layout {entry.layout}, {entry.licence}' in output
        assert entry.url in output


def test_a_file_with_three_faults_is_refused_and_each_is_named(tmp_path, capsys):
    state = create_model('ghostnet_100').state_dict()
    state['blocks.0.0.ghost1.primary.0.weight'] = state.pop('blocks.0.0.ghost1.primary_conv.0.weight')
    del state['blocks.4.0.se.conv_expand.bias']
    state['blocks.8.1.ghost2.cheap_operation.0.weight'] = torch.zeros(80, 1, 5, 5)
    torch.save(state, tmp_path / 'file.pth')
    assert run('check', tmp_path / 'file.pth') == 1
    error = capsys.readouterr().err
    assert 'official (huawei-noah, timm)' in error
    assert 'blocks.0.0.ghost1.primary_conv.0.weight (8, 16, 1, 1) (the file has none)' in error
    assert 'unexpected: blocks.0.0.ghost1.primary.0.weight' in error
    assert 'blocks.4.0.se.conv_expand.bias (120,) (the file has none)' in error
    assert 'blocks.8.1.ghost2.cheap_operation.0.weight (80, 1, 3, 3) (the file has (80, 1, 5, 5))' in error


def test_a_good_file_is_told_its_width(tmp_path, capsys):
    torch.save(GhostNet(1.3, out_indices=(4,)).state_dict(), tmp_path / 'file.pth')
    assert run('check', tmp_path / 'file.pth') == 0
    assert 'all that GhostNet 1.3x needs is there' in capsys.readouterr().out
    assert run('check', tmp_path / 'file.pth', '--width', 1.0) == 1


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
def test_a_converted_file_is_the_same_network(ending, tmp_path, capsys):
    model = randomised(DLi14())
    torch.save(model.state_dict(), tmp_path / 'file.pth')
    out = tmp_path / f'out.{ending}'
    code = run('convert', tmp_path / 'file.pth', out)
    if ending == 'safetensors':  # which cannot say that the shortcuts have a ReLU
        assert code == 1
        return
    assert code == 0
    assert 'shortcut_relu=True' in capsys.readouterr().out
    backbone = GhostNet(shortcut_relu=True).eval()
    load_ghostnet(backbone, str(out))
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for expected, found in zip(model(image), backbone(image)):
            assert (expected - found).abs().max() < 1e-6 * expected.abs().max()


def test_a_widened_file_can_be_written(tmp_path):
    torch.save(randomised(GhostNet(out_indices=(4,))).state_dict(), tmp_path / 'file.pth')
    assert run('convert', f'{tmp_path}/file.pth?widen', tmp_path / 'wide.safetensors', '--width', 1.1) == 0
    coverage = load_ghostnet(GhostNet(1.1), str(tmp_path / 'wide.safetensors'))
    assert coverage.received == coverage.wanted


def test_transfer_pretrains_and_trains_twice_and_draws_both(tmp_path):
    small = ['train_dataloader.batch_size=8', 'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0']
    result = subprocess.run(
        [sys.executable, str(ROOT / 'tools/transfer.py'), '--out', 'out', '--epochs', '1', '--cfg-options', 'shapes.train=8',
         'shapes.val=4', 'shapes.size=64', 'model.test_cfg.score_thr=0', *small, '--pretrain-options', 'shapes_folder.train=24',
         'shapes_folder.val=6', 'shapes_folder.size=32', 'train_cfg.max_epochs=1', *small],
        cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    assert '423 of 423 tensors' in result.stderr
    assert 'unexpected:' not in result.stderr
    with Image.open(tmp_path / 'out/transfer.png') as picture:
        assert min(picture.size) > 300
