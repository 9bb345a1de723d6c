"""`ghostdet weights` and `python -m benchmarks.transfer` through their command lines."""
import pytest
import torch
import torchvision
from safetensors.torch import load_file
from timm import create_model

from ghostdet import GhostNet
from ghostdet.cli import door
from ghostdet.download import DownloadError
from ghostdet.weights import reader
from ghostdet.weights.catalogue import CATALOGUE, DETECTORS, TERMS
from ghostdet.weights.initializer import load_into
from tests.conftest import tool
from tests.foreign_networks import DLi14, randomised


def run(*arguments):
    return door.run(tool('weights'), [*map(str, arguments)])


def test_the_list_names_source_address_accuracy_licences_and_data(capsys):
    assert run('list') == 0
    output = capsys.readouterr().out
    for name, entry in {**CATALOGUE, **DETECTORS}.items():
        start = (f'config {entry.config}, ' if name in DETECTORS else
                 f'ghostdet://{name}: width {entry.width}, top-1 {entry.top1:.2f}, layout {entry.layout}, ')
        weights = f'weights {entry.weights_licence}' if entry.weights_licence else 'weights: no separate licence stated'
        licences = f'code {entry.licence}, {weights}, trained on {" and ".join(entry.data)}, {entry.source}'
        assert start + licences in output
        assert entry.url in output
    assert 'ImageNet: for non-commercial research' in output
    assert 'COCO: annotations CC BY 4.0' in output


def test_the_terms_of_all_training_data_are_listed():
    used = {data for entry in (*CATALOGUE.values(), *DETECTORS.values()) for data in entry.data}
    assert all(any(data.startswith(name) for name in TERMS) for data in used)


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
    assert 'of another network or norm: blocks.0.0.ghost1.primary.0.weight' in error
    assert 'blocks.4.0.se.conv_expand.bias (120,) (the file has none)' in error
    assert 'blocks.8.1.ghost2.cheap_operation.0.weight (80, 1, 3, 3) (the file has (80, 1, 5, 5))' in error


def test_a_good_file_is_told_its_width(tmp_path, capsys):
    torch.save(GhostNet(1.3, out_indices=(4,)).state_dict(), tmp_path / 'file.pth')
    assert run('check', tmp_path / 'file.pth') == 0
    output = capsys.readouterr().out
    assert 'all tensors that GhostNet 1.3x needs for C2..C5 are there; the last 1x1 convolution is there too' in output
    assert run('check', tmp_path / 'file.pth', '--width', 1.0) == 1


@pytest.mark.parametrize(('width', 'rounding', 'name'), [
    (0.75, 'torch', '0.75x'), (1.1, 'tensorflow', '1.1x with rounding=tensorflow')])
def test_other_widths_and_roundings_are_found(width, rounding, name, tmp_path, capsys):
    torch.save(GhostNet(width, rounding, out_indices=(4,)).state_dict(), tmp_path / 'file.pth')
    assert run('check', tmp_path / 'file.pth') == 0
    assert f'all tensors that GhostNet {name} needs' in capsys.readouterr().out
    assert run('check', tmp_path / 'file.pth', '--width', 1.3) == 1
    error = capsys.readouterr().err
    assert 'Of 1.3x, 1.3x with rounding=tensorflow it fits best; try others with --width and --rounding' in error


def test_what_is_no_ghostnet_is_named(tmp_path, capsys):
    torch.save(torchvision.models.mobilenet_v2().state_dict(), tmp_path / 'file.pth')
    assert run('check', tmp_path / 'file.pth') == 1
    assert 'holds a MobileNetV2 of torchvision, not a GhostNet' in capsys.readouterr().err


def test_mistakes_on_the_command_line_are_told_without_a_traceback(tmp_path, capsys):
    file = tmp_path / 'file.pth'
    torch.save(GhostNet().state_dict(), file)
    (tmp_path / 'folder.pth').mkdir()
    for arguments, message in [
            *((('check', file, f'--width={width}'), 'must be a number above 0') for width in (0, -1, 'nan')),
            (('check', '~nosuchuser/x.pth'), '~nosuchuser/x.pth cannot be read'),
            *((('convert', file, out), f'{out} cannot be written') for out in (
                tmp_path / 'folder.pth', file / 'x.pth', '/proc/x.pth', tmp_path / f'{"a" * 300}.pth'))]:
        assert run(*arguments) == 1
        assert message in capsys.readouterr().err


def test_an_interrupt_is_told_in_words_that_hold_for_every_tool(capsys):
    def stopped(arguments):
        raise KeyboardInterrupt
    assert door.run(stopped, []) == 130
    shown = capsys.readouterr().err
    assert shown == '\ninterrupted; downloaded files are kept, and --resume continues a training run\n'


def test_a_backbone_is_enough_and_what_lies_beyond_is_told(tmp_path, capsys):
    state = {f'backbone.{key}': value for key, value in GhostNet(1.1).state_dict().items()}
    torch.save(dict(state_dict={**state, 'bbox_head.weight': torch.ones(2)}, meta={}), tmp_path / 'detector.pth')
    assert run('check', tmp_path / 'detector.pth') == 0
    output = capsys.readouterr().out
    assert 'all tensors that GhostNet 1.1x needs for C2..C5 are there; the last 1x1 convolution is missing' in output
    assert run('convert', tmp_path / 'detector.pth', tmp_path / 'backbone.safetensors') == 0
    assert load_file(tmp_path / 'backbone.safetensors').keys() == GhostNet(1.1).state_dict().keys()


def test_a_classifier_of_mmpretrain_is_written_as_the_authors(tmp_path):
    source = randomised(create_model('ghostnet_100')).eval()
    head = {'conv_head.weight': 'head.layers.0.fc.weight', 'conv_head.bias': 'head.layers.0.fc.bias',
            'classifier.weight': 'head.layers.1.fc.weight', 'classifier.bias': 'head.layers.1.fc.bias'}
    state = {head.get(key, f'backbone.{key}'): value.flatten(1) if key == 'conv_head.weight' else value
             for key, value in source.state_dict().items()}
    torch.save(dict(state_dict=state, meta={}), tmp_path / 'run.pth')
    assert run('convert', tmp_path / 'run.pth', tmp_path / 'out.safetensors') == 0
    target = create_model('ghostnet_100').eval()
    target.load_state_dict(load_file(tmp_path / 'out.safetensors'))
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(source(image), target(image))


def test_no_file_is_written_over_itself_or_half(tmp_path, capsys, monkeypatch):
    file = tmp_path / 'file.pth'
    torch.save(GhostNet().state_dict(), file)
    before = file.read_bytes()
    assert run('convert', file, file) == 1
    assert 'is the input file itself' in capsys.readouterr().err
    (tmp_path / 'other.pth.part').symlink_to('/dev/full')
    assert run('convert', file, tmp_path / 'other.pth') == 1
    assert 'No space left' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['file.pth']
    assert file.read_bytes() == before


def test_fetch_goes_on_after_a_file_that_cannot_be_had(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    lost, asked = [name for name in CATALOGUE if 'paddle' in name], len(CATALOGUE) + len(DETECTORS) + 1

    def locate(name):
        if 'paddle' in name:
            raise DownloadError(f'{name}: the server answers 403')
        return tmp_path / name[-4:]
    monkeypatch.setattr(reader, 'locate', locate)
    assert run('fetch', 'all', 'ghostnet_1.0x') == 1
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == asked - len(lost)
    assert f'{len(lost)} of {asked} files could not be downloaded' in output.err
    assert 'ghostdet://ghostnet_0.5x_paddle: the server answers 403' in output.err


def test_safetensors_cannot_tell_that_shortcuts_have_a_relu(tmp_path, capsys):
    torch.save(randomised(DLi14()).state_dict(), tmp_path / 'file.pth')
    assert run('convert', tmp_path / 'file.pth', tmp_path / 'out.safetensors') == 1
    assert 'A network with a ReLU in its shortcuts needs .pth' in capsys.readouterr().err
    assert not (tmp_path / 'out.safetensors').exists()


def test_a_converted_file_is_the_same_network(tmp_path, capsys):
    model = randomised(DLi14())
    torch.save(model.state_dict(), tmp_path / 'file.pth')
    out = tmp_path / 'out.pth'
    assert run('convert', tmp_path / 'file.pth', out) == 0
    assert 'shortcut_relu=True' in capsys.readouterr().out
    backbone = GhostNet(shortcut_relu=True).eval()
    load_into(backbone, str(out))
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for expected, result in zip(model(image), backbone(image)):
            assert (expected - result).abs().max() < 1e-6 * expected.abs().max()


def test_a_widened_file_can_be_written(tmp_path):
    torch.save(randomised(GhostNet(out_indices=(4,))).state_dict(), tmp_path / 'file.pth')
    assert run('convert', f'{tmp_path}/file.pth?widen', tmp_path / 'wide.safetensors', '--width', 1.1) == 0
    assert {value.dtype for value in load_file(tmp_path / 'wide.safetensors').values()} == {torch.float32, torch.int64}
    coverage = load_into(GhostNet(1.1), str(tmp_path / 'wide.safetensors'))
    assert coverage.received == coverage.wanted
