"""`python -m benchmarks.speed` through its command line."""
import json
from collections.abc import Mapping
from itertools import product

import pytest
import torch
from torch import nn

from benchmarks import network_speed
from benchmarks.contestants import NETWORKS, RUNTIME_MODES, by_runtime, deployed
from benchmarks.which_one import WhichOne
from ghostdet.cli import door
from ghostdet.models.backbones.ghostnet import GhostNet
from tests.conftest import MINI, study


def run(folder, *arguments, what='backbone'):
    rounds = [] if '--rounds' in arguments else ['--rounds', '2']
    threads = [] if '--preset' in arguments else ['--threads', '1']
    return door.run(study('speed'), [what, *map(str, arguments), '--out', str(folder), *rounds, *threads])


def rows(folder):
    return json.loads((folder / 'speed.json').read_text())['rows']


def test_backbones(tmp_path, capsys):
    assert run(tmp_path, '--shapes', '64x64', '96x64', '--modes', 'default', 'channels_last', 'optimized') == 0
    result = rows(tmp_path)
    assert len(result) == 2 * 4 * 3
    assert {row['threads'] for row in result} == {1}
    assert {(row['height'], row['width']) for row in result} == {(64, 64), (96, 64)}
    works = {row['network']: row['macs'] for row in result if row['height'] == 64}
    assert works['timm'] == works['ghostnet'] < works['mobilenetv3'] < works['mobilenetv2']
    assert all(row['seconds'] > 0 and row['rounds'] == 2 and row['limit_seconds'] > 0 for row in result)
    assert 'inference, 1 x 96x64, float32, 1 thread;' in capsys.readouterr().out
    for name in ('speed.csv', 'speed.md', 'speed_sizes.png', 'speed_flops.png'):
        assert (tmp_path / name).stat().st_size > 100


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--batches', 0], 'must be at least 1'), (['--rounds', 0], 'must be at least 1'),
    (['--task', 'training', '--modes', 'compiled'], 'supports only --modes default channels_last'),
    (['--modes', 'openvino', '--precisions', 'bfloat16'], 'with --precisions float32'),
    (['--preset', 'family', '--shapes', '64x64'], 'leave out --shapes'),
    (['--networks', 'ghostnet with_cp=True'], 'with_cp makes no difference in inference'),
    pytest.param(['--preset', 'gpu'], 'need a CUDA GPU',
                 marks=pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU is here')),
])
def test_what_is_wrong_is_told(arguments, message, tmp_path, capsys):
    assert run(tmp_path, *arguments) == 1
    assert message in capsys.readouterr().err


def test_a_config_that_is_missing(tmp_path, capsys):
    assert run(tmp_path, 'none.py', what='detector') == 1
    assert 'there is no config' in capsys.readouterr().err


def test_contestants_have_the_same_taps():
    """Or they would not do the same work: the reference GhostNet gives the very features of ours."""
    theirs, ours = NETWORKS['timm'](), GhostNet(width=1.1)
    nn.init.normal_(theirs.stem[1].running_mean)
    names = {'stem.0': 'conv_stem', 'stem.1': 'bn1'}
    state = {names.get(key[:6], key[:6]) + key[6:]: value for key, value in theirs.state_dict().items()}
    ours.load_state_dict(state)
    theirs.eval()
    ours.eval()
    x = torch.rand(1, 3, 64, 96)
    for one, other in zip(theirs(x), ours(x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    for name in ('mobilenetv2', 'mobilenetv3'):
        assert [feature.shape[2:] for feature in NETWORKS[name]()(x)] == [feature.shape[2:] for feature in ours(x)]


def test_presets_hold_every_setting_that_a_target_is_for():
    races = [(setting, grid.contestants) for preset in ('cpu', 'family', 'light')
             for grid in network_speed.PRESETS[preset] for setting in grid.settings('cpu')]
    for target in network_speed.TARGETS:
        fitting = [contestants for setting, contestants in races
                   if (setting.task, setting.height, setting.width) == (target.task, *target.shape)]
        assert any({target.one, target.other} <= set(contestants) for contestants in fitting), target


@pytest.mark.nightly
def test_training_tells_what_is_kept(tmp_path):
    assert run(tmp_path, '--task', 'training', '--shapes', '160x160', '--batches', 2, '--networks', 'timm', 'ghostnet',
               'ghostnet with_cp=cheap', 'ghostnet with_cp=True') == 0
    memory = [row['memory'] for row in rows(tmp_path)]
    assert memory[1] <= memory[0]
    assert memory[2] < 0.65 * memory[1]
    assert memory[3] < 0.5 * memory[1]


@pytest.mark.nightly
def test_operators_add_up(tmp_path, capsys):
    assert run(tmp_path, '--shapes', '64x64', '--networks', 'ghostnet', '--operators') == 0
    for text in (capsys.readouterr().out, (tmp_path / 'speed.md').read_text()):
        line, = (line for line in text.splitlines() if line.startswith('ghostnet default: '))
        fractions = [int(part.rsplit(' ')[-1].rstrip('%')) for part in line.split(', ')]
        assert 'convolution' in line
        assert fractions == sorted(fractions, reverse=True)
        assert 50 < sum(fractions) <= 102


@pytest.mark.nightly
def test_detectors(tmp_path):
    assert run(tmp_path, MINI, '--shapes', '64x64', '--modes', 'default', 'optimized', what='detector') == 0
    assert [row['network'] for row in rows(tmp_path)] == 2 * ['retinanet_ghostnet_1.1x_mini']


@pytest.mark.nightly
def test_what_was_measured_is_there_when_a_later_race_fails(tmp_path, capsys):
    assert run(tmp_path, '--task', 'training', '--shapes', '32x32', '--batches', 2, 1, '--networks', 'ghostnet') == 1
    assert 'ghostnet default failed at training, 1 x 32x32' in capsys.readouterr().err
    assert [row['batch'] for row in rows(tmp_path)] == [2]


@pytest.mark.nightly
def test_other_runtimes_run_the_same_network(tmp_path):
    """Each mode of a runtime calls the exported network on the input that PyTorch gets."""
    model, x = deployed('repghostnet_1.0x'), torch.rand(1, 3, 64, 96)
    expected = [feature.detach().numpy() for feature in model(x)]
    for mode in RUNTIME_MODES:
        result = by_runtime(model, x, mode, 1, tmp_path / 'network.onnx')()
        result = list(result.values()) if isinstance(result, Mapping) else result
        assert [feature.shape for feature in result] == [feature.shape for feature in expected]
        for one, other in zip(result, expected):
            difference = abs(one - other).max() / abs(other).max()
            assert difference > 1e-3 if mode == 'openvino-int8' else difference < 1e-4


@pytest.mark.nightly
def test_which_one(tmp_path, monkeypatch):
    """The preset at small sizes, with two networks and three modes."""
    names, modes = ('ghostnet', 'repghostnet_1.11x'), ('default', 'onnxruntime', 'openvino')
    grids = (network_speed.Grid('inference', tuple(product(names, modes)), [(64, 64), (64, 96)]),
             network_speed.Grid('training', tuple(product(names, modes[:1])), [(64, 64)], batches=(2,)))
    monkeypatch.setitem(network_speed.PRESETS, 'family', grids)
    assert run(tmp_path, '--preset', 'family') == 0
    text = (tmp_path / 'which_one.md').read_text()
    assert text == WhichOne.read((tmp_path / 'speed.json').read_text()).to_markdown()
    assert '| ghostnet_1.1x | [74.5](https://github.com/iamhankai/ghostnet.pytorch/issues/17) | 3.02 | 155 | ' in text
    assert '| repghostnet_1.11x | [75.1](https://github.com/ChengpengChen/RepGhost) | 1.68 | 158 | ' in text
    for record in rows(tmp_path):
        if record['task'] == 'inference':
            assert f'| {1e3 * record["seconds"]:.1f} |' in text
    assert (tmp_path / 'which_one.png').stat().st_size > 10_000
