"""The authors' TensorFlow checkpoint: read without TensorFlow, converted into the same function, or refused by name."""
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ghostdet import GhostNet
from ghostdet.cli import door
from ghostdet.errors import UserError
from ghostdet.weights.crc32c import POLYNOMIAL, crc32c
from ghostdet.weights.initializer import load_into
from ghostdet.weights.pretrained import read_weights
from ghostdet.weights.reader import read_file
from ghostdet.weights.tensor_bundle import read_index
from tests.conftest import nightly, tool
from tests.tensorflow_files import DATA, INDEX, Network, sealed, table, value, variables, write, write_index

OUT = (0, 1, 2, 3, 4)


@pytest.fixture(scope='module')
def arrays():
    return variables()


@pytest.fixture(scope='module')
def checkpoint(arrays, tmp_path_factory):
    """A whole checkpoint: the name that its two files share."""
    prefix = tmp_path_factory.mktemp('whole') / 'ghostnet_checkpoint'
    write(prefix, arrays)
    return prefix


@pytest.fixture
def copied(checkpoint, tmp_path):
    """A checkpoint to damage: the index is a copy, the data file a link to the whole one's."""
    prefix = tmp_path / 'ghostnet_checkpoint'
    shutil.copy(f'{checkpoint}.index', f'{prefix}.index')
    Path(f'{prefix}{DATA}').hardlink_to(f'{checkpoint}{DATA}')
    return prefix


@pytest.fixture(scope='module')
def converted(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp('converted') / 'out.pth'
    assert run('convert', checkpoint, out) == 0
    return out


def run(*arguments):
    return door.run(tool('weights'), [*map(str, arguments)])


def close(result, expected, bound=1e-6):  # what is stored is float32
    assert result.shape == expected.shape
    assert (result - expected).abs().max() < bound * expected.abs().max()


# ---------------------------------------------------------------------------------------------------- the same function

@pytest.mark.parametrize('size', [(64, 96), (65, 46)])
def test_a_converted_file_is_the_same_function_of_the_image(size, arrays, converted):
    """C2..C5, the last convolution, and the classifier; on even and odd sizes. Theirs takes BGR, ours RGB."""
    backbone = GhostNet(padding='tensorflow', out_indices=OUT).double().eval()
    coverage = load_into(backbone, str(converted))
    assert coverage.received == coverage.wanted
    head = {key: tensor.double() for key, tensor in read_weights(str(converted)).state.items()}
    image = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    *expected, logits = Network(arrays)(image.flip(1))
    with torch.no_grad():
        features = backbone(image)
    for feature, other in zip(features, expected, strict=True):
        close(feature, other)
    hidden = torch.nn.functional.conv2d(features[-1].mean((2, 3), keepdim=True), head['conv_head.weight'],
                                        head['conv_head.bias'])
    close(hidden.relu().flatten(1) @ head['classifier.weight'].T + head['classifier.bias'], logits)


def test_colours_and_padding_matter(converted):
    """So the comparison above would notice if one of them was lost."""
    image = torch.randn(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    backbone = GhostNet(padding='tensorflow').double().eval()
    load_into(backbone, str(converted))
    other = GhostNet().double().eval()
    other.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        right, swapped, padded = backbone(image)[-1], backbone(image.flip(1))[-1], other(image)[-1]
    for wrong in (swapped, padded):
        assert (wrong - right).abs().max() > 0.1 * right.abs().max()


def test_the_checkpoint_is_initial_weights_too(checkpoint, converted):
    states = []
    for file in (f'{checkpoint}.index', converted):
        backbone = GhostNet(padding='tensorflow', init_cfg=dict(type='Pretrained', checkpoint=str(file)))
        backbone.init_weights()
        states.append(backbone.state_dict())
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())


def test_the_name_of_its_data_file_will_do(checkpoint, capsys):
    assert run('check', f'{checkpoint}{DATA}') == 0
    message = capsys.readouterr().out
    assert 'TensorFlow (huawei-noah)): 428 of 428 tensors' in message
    assert "use these weights only with padding='tensorflow'" in message


def test_padding_has_to_be_asked_for(checkpoint, converted, tmp_path):
    for file in (checkpoint, converted):
        with pytest.raises(UserError, match=r"pads as TensorFlow does\. Set model\.backbone\.padding='tensorflow'"):
            load_into(GhostNet(), str(file))
    torch.save(GhostNet().state_dict(), tmp_path / 'official.pth')
    with pytest.raises(UserError, match=r"pads as PyTorch does, .* Set model\.backbone\.padding='torch'"):
        load_into(GhostNet(padding='tensorflow'), str(tmp_path / 'official.pth'))


def test_wider_networks_need_the_padding_too(converted):
    with pytest.raises(UserError, match=r"padding='tensorflow'"):
        load_into(GhostNet(1.1), f'{converted}?widen')
    assert load_into(GhostNet(1.1, padding='tensorflow'), f'{converted}?widen').fits


@pytest.mark.parametrize(('text', 'padding'), [
    ("backbone=dict(padding='tensorflow', type='GhostNet')", {'tensorflow'}),
    ("backbone=dict(type='GhostNet')", {'torch'}), ("type='TIMMBackbone'", {'torch', 'tensorflow'})])
@pytest.mark.parametrize('key', ['cfg', 'config'])  # mmengine's runs, and those of mmdet 2
def test_the_config_of_a_run_says_how_it_padded(key, text, padding, tmp_path):
    torch.save(dict(meta={key: text}, state_dict=GhostNet(0.5).state_dict()), tmp_path / 'a.pth')
    for kind in ('torch', 'tensorflow'):
        backbone = GhostNet(0.5, padding=kind)
        if kind in padding:
            load_into(backbone, str(tmp_path / 'a.pth'))
        else:
            with pytest.raises(UserError, match='pads as'):
                load_into(backbone, str(tmp_path / 'a.pth'))


def test_what_cannot_be_written_or_read(checkpoint, tmp_path, capsys):
    assert run('convert', checkpoint, tmp_path / 'out.safetensors') == 1
    assert "so does one with TensorFlow's padding" in capsys.readouterr().err
    assert run('check', 'a' * 300) == 1
    assert 'cannot be read' in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------ the files

def test_the_authors_index_is_read_and_written_byte_for_byte(tmp_path):
    """So the tests' own writer writes what TensorFlow writes."""
    files, entries = read_index(INDEX)
    assert (files, len(entries), sum(entry.size for entry in entries.values())) == (1, 435, 20_830_176)
    assert entries['MobileNetV2/Conv2d_4_se/fc1/W'].shape == (1, 1, 72, 18)
    write_index(tmp_path / 'copy', entries)
    assert (tmp_path / 'copy.index').read_bytes() == INDEX.read_bytes()


@pytest.mark.parametrize(('data', 'expected'), [
    (bytes(32), 0x8A9136AA), (b'\xff' * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C)])
def test_checksums_of_the_standard(data, expected):
    """RFC 3720, appendix B.4."""
    assert crc32c(data) == expected


def test_checksums_of_any_length():
    for length in (*range(20), 255, 1000):
        data, register = value('data', (length,)).tobytes(), 0xFFFFFFFF
        for byte in data:
            register ^= byte
            for _ in range(8):
                register = register >> 1 ^ (POLYNOMIAL if register & 1 else 0)
        assert crc32c(data) == register ^ 0xFFFFFFFF


def test_any_numbers_in_several_data_files(tmp_path):
    arrays = {'a/b': value('a', (2, 3)), 'a/c': value('c', (4,)).astype('<f8'), 'step': value('s', ()).astype('<i8')}
    entries = write(tmp_path / 'x', arrays)
    data = Path(f'{tmp_path}/x{DATA}').read_bytes()
    entries['a/b'], entries['a/c'] = replace(entries['a/b'], file=1), replace(entries['a/c'], dtype=2)
    entries['step'] = replace(entries['step'], dtype=9)
    write_index(tmp_path / 'x', entries, files=2)
    for number in (0, 1):
        (tmp_path / f'x.data-0000{number}-of-00002').write_bytes(data)
    result = read_file(tmp_path / 'x.index')
    assert {name: tensor.numpy().tolist() for name, tensor in result.items()} == {
        name: array.tolist() for name, array in arrays.items()}
    (tmp_path / 'x.data-00001-of-00002').unlink()
    with pytest.raises(UserError, match=r'x\.data-00001-of-00002 cannot be read .*put both into one folder'):
        read_file(tmp_path / 'x.index')


@pytest.mark.parametrize('name', ['MobileNetV2/Conv2d_0/W', 'MobileNetV2/Logits/Conv2d_1c_1x1/b'])
def test_a_flipped_bit_in_the_data(name, copied, checkpoint, capsys):
    entry, data = read_index(Path(f'{copied}.index'))[1][name], Path(f'{copied}{DATA}')
    content = bytearray(data.read_bytes())
    content[entry.offset + entry.size - 1] ^= 1
    data.unlink()
    data.write_bytes(content)
    assert_refused(copied, capsys, f'{data} is damaged: the checksum of {name} is wrong')


@pytest.mark.parametrize('left', [0, 20_830_175])
def test_data_that_is_cut_short(left, copied, capsys):
    data = Path(f'{copied}{DATA}')
    content = data.read_bytes()
    data.unlink()
    data.write_bytes(content[:left])
    assert_refused(copied, capsys, f'{data} is cut short: it has {left:,} bytes, but the values of MobileNetV2/')


def test_data_that_is_missing(copied, capsys):
    Path(f'{copied}{DATA}').unlink()
    assert_refused(copied, capsys, f'{copied}{DATA} cannot be read')


@pytest.mark.parametrize('left', [0, 47, 1000, 16_722])
def test_an_index_that_is_cut_short(left, copied, capsys):
    index = Path(f'{copied}.index')
    index.write_bytes(index.read_bytes()[:left])
    assert_refused(copied, capsys, f'{index} is empty' if not left else f'{index} is damaged, or is not a .index file')


def test_any_byte_that_changes_in_the_index(tmp_path):
    whole, index = INDEX.read_bytes(), tmp_path / 'x.index'
    for place in (*range(0, len(whole), 509), *range(len(whole) - 90, len(whole), 4)):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        index.write_bytes(content)
        # unused bytes of the footer are in no checksum
        with pytest.raises(UserError, match=r'x\.(index|data-00000-of-00001)'):
            read_file(index)


def changed(kind, entries):
    """The entries of an index with one fault, and the tensors that the message has to name."""
    entries = dict(entries)
    name, own = 'MobileNetV2/Conv2d_4_se/fc1/W', 'blocks.3.0.se.conv_reduce.weight (20, 72, 1, 1)'
    if kind == 'missing':
        del entries[name]
        name = f'{own} (the file has none)'
    elif kind == 'renamed':
        entries['MobileNetV2/Conv2d_4_se/fc1/w'] = entries.pop(name)
        return entries, [f'{own} (the file has none)', 'blocks.3.0.se.conv_reduce.w']
    elif kind == 'another size':
        entries[name] = replace(entries[name], shape=(1, 1, 72, 20))
    elif kind == 'turned':
        entries[name] = replace(entries[name], shape=(1, 1, 18, 72))
        name = 'blocks.3.0.se has 72 units, 64 more than GhostNet of this width'
    elif kind == 'flat':
        entries[name] = replace(entries[name], shape=(72, 18))
        name = 'blocks.3.0.se has 72 units, 64 more than GhostNet of this width'
    elif kind == 'one axis':
        entries['MobileNetV2/Conv2d_18/W'] = replace(entries['MobileNetV2/Conv2d_18/W'], shape=(960 * 1280,))
        name = 'its tensors do not have the shapes of the layout TensorFlow'
    elif kind == 'another kernel':
        name = 'MobileNetV2/Conv2d_4_depthwise/W'
        entries[name] = replace(entries[name], shape=(25, 1, 72, 1))
        name = 'blocks.3.0.conv_dw.weight (72, 1, 5, 5) (the file has (72, 1, 25, 1))'
    elif kind == 'text':
        entries[name] = replace(entries[name], dtype=7)
    return entries, [name]


@pytest.mark.parametrize('kind', ['missing', 'another size', 'text',
                                  *nightly('renamed', 'turned', 'flat', 'one axis', 'another kernel')])
def test_an_index_of_another_network(kind, copied, capsys):
    """With right checksums."""
    entries, names = changed(kind, read_index(Path(f'{copied}.index'))[1])
    write_index(copied, entries)
    assert_refused(copied, capsys, *names)


def assert_refused(prefix, capsys, *message):
    assert run('convert', prefix, prefix.with_name('out.pth')) == 1
    error = capsys.readouterr().err
    assert 'Traceback' not in error
    for text in (prefix.name, *message):
        assert text in error
    assert not prefix.with_name('out.pth').exists()


def hostile_index(kind):
    """An index with a fault that no checksum tells."""
    entries = read_index(INDEX)[1]
    name = 'MobileNetV2/Conv2d_4_se/fc1/W'
    pairs = [(b'', b'\x08\x01'), (b'a', b'\x0f')]
    if kind == 'slices':
        return dict(entries=entries, more={name: b'\x3a\x00'})
    if kind == 'big-endian':
        return dict(entries=entries, header=b'\x10\x01')
    if kind == 'shared bytes':
        return dict(entries={f'{name}{number}': replace(entries[name], offset=0) for number in range(5000)})
    if kind == 'long names':
        return dict(entries={'a' * 2000: entries[name]})
    if kind == 'no header':
        return table(pairs[1:])
    if kind == 'unknown fields':
        return table(pairs)
    content = table(pairs)
    return sealed(content[:content.index(b'\x0f') + 9], b'\x01') + content[content.index(b'\x0f') + 14:]


@pytest.mark.parametrize(('kind', 'message'), [
    ('slices', 'it stores a tensor in slices'), ('big-endian', 'it is from a big-endian machine'),
    ('shared bytes', r'tensors share bytes of x\.data'), ('long names', 'it has a name of more than 1000 characters'),
    ('no header', 'it has no header'), ('unknown fields', 'it has a field of the unknown kind 7'),
    ('compressed', 'it is compressed')])
def test_an_index_that_is_well_formed_and_of_no_use(kind, message, tmp_path):
    made = hostile_index(kind)
    if isinstance(made, bytes):
        (tmp_path / 'x.index').write_bytes(made)
    else:
        write_index(tmp_path / 'x', **made)
    (tmp_path / f'x{DATA}').write_bytes(bytes(6000))
    with pytest.raises(UserError, match=message):
        read_file(tmp_path / 'x.index')
