"""Checkpoint files are read as data: what would run code is refused by name."""
import json
import pickle
import zipfile
from argparse import Namespace
from collections import OrderedDict, deque
from types import SimpleNamespace

import mmengine.runner.checkpoint as stock
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.model import Sequential
from mmengine.model.weight_init import PretrainedInit

from ghostdet import GhostNet
from ghostdet.errors import UserError
from ghostdet.training.initial_weights import drop_weights, pretrained_parts, without_pretrained
from ghostdet.weights import inert
from ghostdet.weights.checkpoint_file import DamagedFileError, UnsafeFileError, read_torch, trusting
from ghostdet.weights.schemes import load, safe_loading
from ghostdet.weights.stored_config import program_in
from tests import hostile

HOSTILE = (hostile.plain_pickle, hostile.torch_file, hostile.getattr_chain)


def saved(content, file, **options):
    torch.save(content, file, **options)
    return file


@pytest.mark.parametrize('make', HOSTILE)
def test_hostile_file_is_refused_and_runs_only_when_trusted(make, tmp_path):
    file, marker = tmp_path / 'hostile.pth', tmp_path / 'marker'
    make(file, marker)
    with pytest.raises(UnsafeFileError, match=r'hostile\.pth was not opened: it .*--trust-checkpoint'):
        read_torch(file)
    assert not marker.exists()
    with trusting(True):
        try:
            read_torch(file)
        except DamagedFileError:
            assert make is hostile.plain_pickle  # which is no torch file, as it turns out after it has run
    assert marker.exists()


def test_the_chain_runs_in_a_successful_safe_load_of_mmengine(tmp_path):
    """So that the test above refuses something that others do not."""
    file, marker = tmp_path / 'hostile.pth', tmp_path / 'marker'
    hostile.getattr_chain(file, marker)
    with torch.serialization.safe_globals(stock.get_torch_safe_globals()):
        torch.load(file, weights_only=True)
    assert marker.exists()


@pytest.mark.parametrize('make', HOSTILE)
@pytest.mark.parametrize('initializer', ['Pretrained', PretrainedInit, 'mmengine.Pretrained', 'CompletePretrained'])
def test_a_ghostnet_reads_its_own_weights_safely_always(make, initializer, tmp_path):
    file, marker = tmp_path / 'hostile.pth', tmp_path / 'marker'
    make(file, marker)
    backbone = GhostNet(init_cfg=[dict(type=initializer, checkpoint=str(file)), dict(type='Kaiming', layer='Conv2d')])
    with pytest.raises(UnsafeFileError):
        backbone.init_weights()
    assert not marker.exists()


@pytest.mark.parametrize('several', [False, True])
def test_nor_does_a_file_for_a_single_layer_run(several, tmp_path):
    hostile.torch_file(tmp_path / 'hostile.pth', tmp_path / 'marker')
    override = dict(type='Pretrained', name='conv_stem', checkpoint=str(tmp_path / 'hostile.pth'), prefix='conv_stem')
    backbone = GhostNet(0.5,
                        init_cfg=dict(type='Kaiming', layer='Conv2d', override=[override] if several else override))
    with pytest.raises(UnsafeFileError):
        backbone.init_weights()
    assert not (tmp_path / 'marker').exists()
    part = dict(type='GhostNet', init_cfg=dict(type='Kaiming', layer='Conv2d', override=override))
    drop_weights(Config(dict(model=dict(type='RetinaNet', backbone=part))))
    assert list(pretrained_parts(dict(backbone=part)))
    assert without_pretrained(part['init_cfg']) == [dict(type='Kaiming', layer='Conv2d', override=None)]


def test_runs_that_overlap_are_all_safe_and_mmengines_schemes_come_back():
    before = stock.CheckpointLoader._schemes
    one, other = safe_loading(), safe_loading()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert stock.CheckpointLoader._schemes[''].__module__ == 'ghostdet.weights.schemes'
    other.__exit__(None, None, None)
    assert stock.CheckpointLoader._schemes is before


@pytest.mark.parametrize('name', ['torchvision://resnet5', 'openmmlab://detectron', 'mmcls://resnet5'])
def test_names_that_nobody_publishes_are_refused_with_similar_ones(name):
    with pytest.raises(UserError, match=r'similar names: .*resnet'):
        load(name)


@pytest.mark.parametrize('make', HOSTILE)
@pytest.mark.parametrize('load', ['init_cfg', 'stock loader'])
def test_mmengine_refuses_it_within_safe_loading(make, load, tmp_path):
    file, marker = tmp_path / 'hostile.pth', tmp_path / 'marker'
    make(file, marker)
    other = Sequential(torch.nn.Linear(1, 1), init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    with safe_loading(), pytest.raises(UnsafeFileError):
        other.init_weights() if load == 'init_cfg' else stock.load_checkpoint(other, str(file))
    assert not marker.exists()


def test_within_safe_loading_no_scheme_is_left_to_mmengine():
    before = dict(stock.CheckpointLoader._schemes)
    with safe_loading():
        assert {'', 'http://', 'torchvision://', 'ghostdet://'} <= set(stock.CheckpointLoader._schemes)
        for prefix, loader in stock.CheckpointLoader._schemes.items():
            assert loader.__module__ == 'ghostdet.weights.schemes', prefix
        with pytest.raises(UserError, match='download the file'):
            stock.CheckpointLoader.load_checkpoint('s3://bucket/file.pth')
    assert before == stock.CheckpointLoader._schemes


@pytest.mark.parametrize('text', [
    "import os", "a = __import__('os')", "a = open('x')", "a = [].append", "a = dict(b=lambda: 0)",
    "a = [b for b in ()]",
    "_base_ = 'x.py'", "custom_imports = dict(imports=['mine'])", "a = '{{ fileDirname }}'", "def f(): pass",
    "a = {}['b']", "exec('1')", "a = dict(**open('x'))", "a = f'{open}'"])
def test_stored_config_that_would_do_something_is_found(text, tmp_path):
    assert program_in(f'model = dict()\n{text}').startswith('line 2')
    for key in ('cfg', 'config'):
        file = saved(dict(state_dict={}, meta={key: text}), tmp_path / 'config.pth')
        with pytest.raises(UnsafeFileError, match=rf"meta\['{key}'\]\) is a program"):
            read_torch(file)


def test_the_message_hubs_config_is_looked_at_too(tmp_path):
    hub = dict(runtime_info=dict(cfg='import os'))
    with pytest.raises(UnsafeFileError, match=r'message hub\) is a program'):
        read_torch(saved(dict(state_dict={}, message_hub=hub), tmp_path / 'config.pth'))


def test_shared_parts_are_read_once(tmp_path):
    nested = ['end']
    for _ in range(60):
        nested = [nested, nested]
    result = read_torch(saved(dict(a=nested), tmp_path / 'shared.pth'))
    assert result['a'][0] is result['a'][1]


def test_stored_config_that_is_data_comes_back_as_text(tmp_path):
    text = "model = dict(type='X', depth=-1, scales=[1, 2.5], on=True)\nbase = 2 * 8\n"
    meta = read_torch(saved(dict(meta=dict(config=text, cfg=text)), tmp_path / 'good.pth'))['meta']
    assert meta == dict(config_text=text, cfg=text)  # under `config` mmengine would execute it


@pytest.mark.parametrize('content',
                         [SimpleNamespace(a=1), dict(a=np.array([SimpleNamespace(a=1)])), dict(a=np.array([None])),
                          dict(a=deque([1])), Namespace(a=SimpleNamespace())])
def test_objects_are_refused(content, tmp_path):
    with pytest.raises(UnsafeFileError, match='asks for'):
        read_torch(saved(content, tmp_path / 'object.pth'))


def test_a_dtype_that_points_into_memory_is_refused():
    with pytest.raises(inert.RefusedError):
        inert.DType('O8', False, True)
    with pytest.raises(inert.RefusedError):
        inert.DType('f8', False, True).__setstate__((3, '<', None, ('f0',), {'f0': 0}, 8, 1, 0))


def test_attributes_that_a_file_sets_are_left_behind(tmp_path):
    content = OrderedDict(weight=torch.ones(2))
    content.copy = torch.Size([1])  # a name that somebody is going to call
    content._metadata = OrderedDict({'': dict(version=1)})
    result = read_torch(saved(content, tmp_path / 'attributes.pth'))
    assert list(result.copy()) == ['weight']
    assert result._metadata == {'': dict(version=1)}


def test_the_process_wide_allow_list_is_neither_used_nor_changed(tmp_path):
    with torch.serialization.safe_globals([SimpleNamespace]):
        before = set(torch.serialization.get_safe_globals())
        with pytest.raises(UnsafeFileError, match='SimpleNamespace'):
            read_torch(saved(SimpleNamespace(a=1), tmp_path / 'object.pth'))
        assert set(torch.serialization.get_safe_globals()) == before


def test_options_of_a_run_come_back_as_a_dict(tmp_path):
    """As timm's training script saves them beside the weights."""
    content = dict(args=Namespace(lr=0.1, sizes=[1, None]), more=Namespace())
    assert read_torch(saved(content, tmp_path / 'run.pth')) == dict(args=dict(lr=0.1, sizes=[1, None]), more={})


@pytest.mark.parametrize('new_format', [True, False])
def test_what_checkpoints_are_made_of_comes_through(new_format, tmp_path):
    buffer = HistoryBuffer([0.5, 0.25], [1, 2], 10)
    content = dict(weight=torch.arange(4.).reshape(2, 2), parameter=torch.nn.Parameter(torch.ones(3)),
                   half=torch.ones(2).half(),
                   array=np.arange(6.).reshape(2, 3).T, text=np.array(['a', 'bc']), number=np.float32(0.5),
                   flag=np.bool_(True),
                   nested=[(1, 'two', None, b'3'), {4, 5}, OrderedDict(a=torch.Size([1]))], type=torch.float16,
                   history=buffer)
    result = read_torch(saved(content, tmp_path / 'good.pth', _use_new_zipfile_serialization=new_format))
    for key in ('weight', 'parameter', 'half'):
        assert torch.equal(result[key], content[key])
    for key in ('array', 'text'):
        assert np.array_equal(result[key], content[key])
        assert result[key].dtype == content[key].dtype
    for key in ('number', 'flag', 'nested', 'type'):
        assert result[key] == content[key]
    assert isinstance(result['history'], HistoryBuffer)
    assert result['history'].max_length == 10
    assert result['history'].statistics('mean', 2) == buffer.statistics('mean', 2) == 0.25


def test_arrays_that_older_numpys_wrote(tmp_path):
    file = saved(dict(a=1), tmp_path / 'old.pth')
    text = pickle.dumps(dict(a=np.float64(0.5), b=np.arange(3)), protocol=2)
    assert b'numpy._core.multiarray' in text
    hostile.replace_pickle(file, text.replace(b'numpy._core.multiarray', b'numpy.core.multiarray'))
    result = read_torch(file)
    assert result['a'] == 0.5
    assert result['b'].tolist() == [0, 1, 2]


@pytest.mark.parametrize(('content', 'message'), [
    (b'', 'is empty'), (b'<!DOCTYPE html><html>Not found</html>', 'a web page'), (b'\x89PNG\r\n\x1a\n', 'a PNG'),
    (json.dumps(dict(a=1)).encode(), 'JSON'), (b'version https://git-lfs.github.com/spec/v1\noid', 'Git LFS'),
    (bytes(range(200, 255)), 'something that begins with')])
def test_other_kinds_of_file_are_named(content, message, tmp_path):
    file = tmp_path / 'thing.pth'
    file.write_bytes(content)
    with pytest.raises(DamagedFileError, match=message) as caught:
        read_torch(file)
    assert str(file) in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / 'none.pth', tmp_path):
        with pytest.raises(DamagedFileError, match='cannot be read'):
            read_torch(path)


@pytest.mark.parametrize('new_format', [True, False])
@pytest.mark.parametrize('part', [0.02, 0.5, 0.999])
def test_a_file_that_is_cut_short(new_format, part, tmp_path):
    file = saved(dict(weight=torch.rand(10_000)), tmp_path / 'cut.pth', _use_new_zipfile_serialization=new_format)
    whole = file.read_bytes()
    file.write_bytes(whole[:int(len(whole) * part)])
    with pytest.raises(DamagedFileError, match=r'cut\.pth'):
        read_torch(file)


def test_a_damaged_middle_is_seen_by_its_checksum(tmp_path):
    file = saved(dict(weight=torch.rand(10_000)), tmp_path / 'holed.pth')
    content = bytearray(file.read_bytes())
    content[20_000:20_100] = bytes(100)
    file.write_bytes(content)
    torch.load(file)  # which does not look
    with pytest.raises(DamagedFileError, match='checksum'):
        read_torch(file)


def test_other_archives(tmp_path):
    file = tmp_path / 'archive.pth'
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    with pytest.raises(DamagedFileError, match='not one that torch'):
        read_torch(file)
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), file)
    with pytest.raises(UnsafeFileError, match='TorchScript'):
        read_torch(file)
