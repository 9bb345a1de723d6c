"""The downloader and the scheme, against a server on loopback that misbehaves."""
import hashlib
import pickle
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.error import URLError

import pytest
import torch
from mmengine.model.weight_init import PretrainedInit
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file

from ghostdet import GhostNet, download
from ghostdet.download import DownloadError, checksum, fetch
from ghostdet.errors import PackageError, UserError
from ghostdet.weights import catalogue, pretrained, reader
from ghostdet.weights.checkpoint_file import DamagedFileError, trusting
from ghostdet.weights.initializer import CompletePretrained
from ghostdet.weights.schemes import load, safe_loading
from tests import hostile
from tests.server import Server

CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def server():
    made = Server(CONTENT)
    yield made
    made.shutdown()


@pytest.fixture
def safely():
    """As in a run of ours, mmengine reads files as data."""
    with safe_loading():
        yield


def get(server, tmp_path, **options):
    return fetch(server.url, tmp_path / 'cache/file.pth', pause=0, **options)


def test_a_whole_file_comes_once(server, tmp_path):
    file = get(server, tmp_path, size=len(CONTENT), digest=('sha256', hashlib.sha256(CONTENT).hexdigest()))
    assert file.read_bytes() == CONTENT
    assert get(server, tmp_path) == file
    assert len(server.requests) == 1
    assert checksum(file, 'md5') == hashlib.md5(CONTENT).hexdigest()


def test_a_cut_connection_goes_on_where_it_was(server, tmp_path):
    server.plan = ['cut', 'cut', 'whole']
    assert get(server, tmp_path).read_bytes() == CONTENT
    half, rest = len(CONTENT) // 2, len(CONTENT) // 4
    assert server.requests == [('cut', None), ('cut', f'bytes={half}-'), ('whole', f'bytes={half + rest}-')]


def test_what_came_is_kept_for_the_next_run(server, tmp_path):
    server.plan = ['cut', 503, 503, 503, 503, 503, 'whole']
    with pytest.raises(DownloadError,
                       match=r'in 5 tries .*503.*next run continues it.*save it in .*cache as file\.pth'):
        get(server, tmp_path)
    assert not (tmp_path / 'cache/file.pth').exists()
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ('whole', f'bytes={len(CONTENT) // 2}-')
    assert not list((tmp_path / 'cache').glob('*.part*'))


def test_a_whole_part_of_a_killed_run_is_no_dead_end(server, tmp_path):
    server.plan = [416, 'whole']
    (tmp_path / 'cache').mkdir()
    (tmp_path / 'cache/file.pth.part').write_bytes(CONTENT)
    (tmp_path / 'cache/file.pth.part.version').write_text('"1"')
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ('whole', None)


def test_a_file_that_changed_in_between_is_fetched_anew(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, 'TRIES', 1)
    server.plan = ['cut', 503, 'whole']
    with pytest.raises(DownloadError):
        get(server, tmp_path)
    server.content, server.version = CONTENT[::-1], '"2"'
    assert get(server, tmp_path).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize(('options', 'message'), [
    (dict(size=5), r'512,000 bytes instead of 5'),
    (dict(digest=('sha256', '0' * 64)), 'the sha256 .* instead of 0000')])
def test_other_bytes_are_refused_and_deleted(options, message, server, tmp_path):
    with pytest.raises(DownloadError, match=message):
        get(server, tmp_path, **options)
    assert not list((tmp_path / 'cache').glob('file*'))


def test_a_refusal_is_told_at_once(server, tmp_path):
    server.plan = [403]
    with pytest.raises(DownloadError,
                       match=r'the server answers 403 \(Forbidden\)\. Download it yourself, .* in .*cache'):
        get(server, tmp_path)
    assert len(server.requests) == 1


@pytest.mark.parametrize('code', [408, 429])
def test_a_server_that_is_busy_is_asked_again(code, server, tmp_path):
    server.plan = [code, 'whole']
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [kind for kind, _ in server.requests] == [code, 'whole']


@pytest.mark.parametrize('url', ['http://', 'http://h:abc/x', 'http://h/a b.pth', 'http://[h/x', 'http://h/\u00e4',
                                 'http://h..x/y'])
def test_what_is_no_address_is_refused_at_once_without_its_token(url, tmp_path, capsys):
    with pytest.raises(DownloadError, match=r'is not a valid address: .* save it in .*cache as file\.pth') as caught:
        fetch(f'{url}?token=secret', tmp_path / 'cache/file.pth')
    assert 'secret' not in str(caught.value)
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(('cause', 'tries'), [
    (ssl.SSLCertVerificationError(1, 'self-signed certificate'), 1), (ssl.SSLError(1, 'unsupported protocol'), 1),
    (ssl.SSLEOFError(8, 'cut off'), download.TRIES)])
def test_an_unsafe_connection_is_not_tried_again_and_a_broken_one_is(cause, tries, tmp_path, monkeypatch):
    asked = []
    def urlopen(request, timeout):
        asked.append(request)
        raise URLError(cause)
    monkeypatch.setattr(download.urllib.request, 'urlopen', urlopen)
    message = 'cannot be reached safely' if tries == 1 else 'could not be downloaded in 5 tries'
    with pytest.raises(DownloadError, match=message) as caught:
        fetch('https://example.invalid/x', tmp_path / 'file.pth', pause=0)
    assert len(asked) == tries
    assert 'The downloaded part is kept' not in str(caught.value)  # where nothing did


def test_a_password_in_an_address_is_neither_sent_nor_shown(server, tmp_path):
    with pytest.raises(DownloadError, match=r'http://127\.0\.0\.1.* user name or password.* save it in') as caught:
        fetch(server.url.replace('//', '//user:pass#word@'), tmp_path / 'file.pth')
    assert not any(part in str(caught.value) for part in ('user:', 'pass#', 'word@'))
    assert not server.requests


def test_no_server(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, 'TRIES', 2)
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r'could not be downloaded in 2 tries \(URLError: .*Download it yourself'):
        get(server, tmp_path)


def test_no_room(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, 'disk_usage', lambda _: type('Usage', (), dict(free=1000)))
    with pytest.raises(DownloadError, match='has 1,000 bytes free, but 512,000 more are needed'):
        get(server, tmp_path)


def test_of_many_that_want_a_file_one_fetches(server, tmp_path):
    with ThreadPoolExecutor(6) as pool:
        files = list(pool.map(lambda _: get(server, tmp_path), range(6)))
    assert {file.read_bytes() for file in files} == {CONTENT}
    assert len(server.requests) == 1


def test_another_part_than_was_asked_for_is_not_taken(server, tmp_path):
    server.plan = ['cut', 'shifted', 'whole']
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ('whole', None)


def test_every_further_try_is_told_without_the_token(server, tmp_path, capsys):
    server.plan = ['cut', 503, 'whole']
    fetch(f'{server.url}?token=secret', tmp_path / 'file.pth', pause=0)
    server.plan = [403]
    with pytest.raises(DownloadError, match='answers 403') as caught:
        fetch(f'{server.url}?token=secret', tmp_path / 'other.pth')
    error = capsys.readouterr().err
    assert 'ended after 256,000 of 512,000 bytes; 256,000 bytes downloaded so far, next try in 0 s' in error
    assert '503' in error
    assert 'secret' not in error + str(caught.value)


def test_a_place_that_cannot_be_written(server, tmp_path):
    (tmp_path / 'cache').write_text('a file where the folder should be')
    with pytest.raises(DownloadError, match=r'cannot be written .*TORCH_HOME'):
        get(server, tmp_path)


# --------------------------------------------------------------------------------------------------------- the scheme

@pytest.fixture
def published(server, tmp_path, monkeypatch):
    """The catalogue's 1.0x on loopback, and a cache of its own."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setattr(download.time, 'sleep', lambda _: None)
    source = GhostNet(out_indices=(4,)).state_dict()
    torch.save(source, tmp_path / 'source.pth')
    server.content = (tmp_path / 'source.pth').read_bytes()
    entry = catalogue.Published(1.0, 'ghostnet_1x.pth', server.url, 'official', 73.98, 'Apache-2.0', 'nowhere')
    monkeypatch.setitem(catalogue.CATALOGUE, 'ghostnet_1.0x', entry)
    return source


def initialised(checkpoint, **options):
    backbone = GhostNet(**options, init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
    assert not backbone.is_init
    return backbone


def test_the_scheme_fetches_when_weights_are_initialised_and_never_in_a_constructor(published, server, tmp_path,
                                                                                    capsys):
    server.plan = ['cut', 'whole']
    backbone = initialised('ghostdet://ghostnet_1.0x')
    assert not server.requests
    backbone.init_weights()
    assert len(server.requests) == 2
    assert all(torch.equal(value, published[key]) for key, value in backbone.state_dict().items())
    cache = tmp_path / 'torch/hub/checkpoints'
    assert (cache / 'ghostnet_1x.pth.sha256').read_text().split()[0] == checksum(cache / 'ghostnet_1x.pth')
    wider = initialised('ghostdet://ghostnet_1.0x?widen', width=1.1)
    wider.init_weights()
    assert len(server.requests) == 2
    origin = torch.arange(26) % 24
    norm = 'blocks.1.0.ghost1.primary_conv.1.weight'
    assert torch.equal(wider.state_dict()[norm], published[norm][origin])


@pytest.mark.parametrize(('content', 'kind', 'message'), [
    (b'<html>login</html>', 'whole', 'a web page'), (None, 'short', r'cut short or damaged \(')])
@pytest.mark.parametrize('name', ['ghostdet://ghostnet_1.0x', 'address'])
def test_what_is_no_whole_checkpoint_is_deleted_before_its_checksum_is_recorded(content, kind, message, name, published,
                                                                                server, tmp_path):
    good, server.content, server.plan = server.content, content or server.content, [kind]
    name = server.url if name == 'address' else name
    with pytest.raises(DownloadError,
                       match=f'file.pth returned no weights: .*{message}.*was deleted. Try again.*save it in'):
        initialised(name).init_weights()
    assert not [path for path in (tmp_path / 'torch/hub/checkpoints').iterdir() if path.suffix != '.lock']
    server.content, server.plan = good, ['whole']
    initialised(name).init_weights()


@pytest.mark.parametrize('ending', ['pdparams', 'safetensors', 'PDPARAMS'])
def test_a_page_in_place_of_other_formats_is_named(ending, server, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    server.content = b'<html>login</html>'
    with pytest.raises(DownloadError, match=f'not a .{ending.lower()} file but a web page'):
        reader.locate(server.url.replace('pth', ending))


def test_a_file_that_would_run_code_is_kept_and_refused_by_who_reads_it(server, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    hostile.torch_file(tmp_path / 'hostile.pth', tmp_path / 'marker')
    server.content = (tmp_path / 'hostile.pth').read_bytes()
    with trusting(True):
        assert reader.locate(server.url).read_bytes() == server.content
    assert not (tmp_path / 'marker').exists()


def test_every_fetch_tells_what_the_checksum_was_compared_with(published, server, monkeypatch):
    messages = []
    monkeypatch.setattr(reader.LOGGER, 'info', messages.append)

    def told(**sums):
        monkeypatch.setitem(catalogue.CATALOGUE, 'ghostnet_1.0x', replace(catalogue.CATALOGUE['ghostnet_1.0x'], **sums))
        reader.locate('ghostdet://ghostnet_1.0x')
        return messages[-1]
    result = hashlib.sha256(server.content).hexdigest()
    assert told().endswith(f'its sha256 ({result}) is new, and no published value exists')
    assert told().endswith('is the same as at its first use')
    assert told(sha256=result[:8]).endswith('is as published')


def test_a_published_checksum_counts_for_a_file_that_is_there_already(published, server, tmp_path, monkeypatch):
    entry = replace(catalogue.CATALOGUE['ghostnet_1.0x'], sha256='f' * 8)
    monkeypatch.setitem(catalogue.CATALOGUE, 'ghostnet_1.0x', entry)
    file = tmp_path / 'torch/hub/checkpoints/ghostnet_1x.pth'
    file.parent.mkdir(parents=True)
    file.write_bytes(server.content)
    with pytest.raises(DamagedFileError, match='not the published file, whose sha256 begins with ffffffff'):
        initialised('ghostdet://ghostnet_1.0x').init_weights()
    assert not server.requests


def test_nothing_is_written_into_a_cache_that_others_keep(published, server, tmp_path, monkeypatch):
    cache = tmp_path / 'torch/hub/checkpoints'
    cache.mkdir(parents=True)
    (cache / 'ghostnet_1x.pth').write_bytes(server.content)
    monkeypatch.setattr(reader.os, 'access', lambda path, mode: path != cache)
    initialised('ghostdet://ghostnet_1.0x').init_weights()
    assert [path.name for path in cache.iterdir()] == ['ghostnet_1x.pth']
    (cache / 'ghostnet_1x.pth').write_bytes(b'<html>')
    with pytest.raises(DamagedFileError, match='a web page'):
        initialised('ghostdet://ghostnet_1.0x').init_weights()
    assert [path.name for path in cache.iterdir()] == ['ghostnet_1x.pth']


def test_addresses_with_the_same_end_have_files_of_their_own(published, server):
    names = [reader.locate(f'{server.base}/{path}')
             for path in ('a/model.pth', 'b/model.pth', 'b/model.pth?download=1')]
    assert len({*names}) == 3
    assert {name.name[9:] for name in names} == {'model.pth'}
    assert server.paths == ['/a/model.pth', '/b/model.pth', '/b/model.pth?download=1']
    assert len(reader.locate(f'{server.base}/{"a" * 300}.pth').name) < 70
    assert reader.locate(server.url.replace('http', 'HTTP')).exists()


def test_a_cached_file_that_changed_is_refused(published, tmp_path):
    initialised('ghostdet://ghostnet_1.0x').init_weights()
    file = tmp_path / 'torch/hub/checkpoints/ghostnet_1x.pth'
    torch.save(dict(a=torch.ones(1)), file)
    with pytest.raises(DamagedFileError, match='has changed: its sha256 is'):
        initialised('ghostdet://ghostnet_1.0x').init_weights()


def test_wrong_bytes_and_403_from_the_scheme(published, server, monkeypatch):
    entry = catalogue.CATALOGUE['ghostnet_1.0x']
    monkeypatch.setitem(catalogue.CATALOGUE, 'ghostnet_1.0x',
                        catalogue.Published(**{**vars(entry), 'sha256': 'f' * 64}))
    with pytest.raises(DownloadError, match='is not the expected file'):
        initialised('ghostdet://ghostnet_1.0x').init_weights()
    server.plan = [403]
    with pytest.raises(DownloadError, match=r'403.*checkpoints as ghostnet_1x\.pth'):
        initialised('ghostdet://ghostnet_1.0x').init_weights()


def test_a_plain_url_and_an_unknown_name(published, server):
    initialised(server.url).init_weights()
    with pytest.raises(UserError,
                       match=r'unknown weights ghostdet://ghostnet_9x; similar names: .*ghostnet_1\.0x'):
        initialised('ghostdet://ghostnet_9x').init_weights()
    with pytest.raises(UserError, match='depends on its width'):
        CheckpointLoader.load_checkpoint('ghostdet://ghostnet_1.0x?widen')


# ------------------------------------------------------------------------------------------------------------ a mirror

@pytest.fixture
def folder(published, tmp_path, monkeypatch):
    """A folder that GHOSTDET_WEIGHTS names, with the published file."""
    (tmp_path / 'mirror').mkdir()
    (tmp_path / 'source.pth').rename(tmp_path / 'mirror/ghostnet_1x.pth')
    monkeypatch.setenv('GHOSTDET_WEIGHTS', str(tmp_path / 'mirror'))
    return tmp_path / 'mirror'


def test_a_file_in_the_folder_of_the_variable_is_used_from_there(folder, published, server, tmp_path):
    for _ in range(2):
        backbone = initialised('ghostdet://ghostnet_1.0x')
        backbone.init_weights()
    assert all(torch.equal(value, published[key]) for key, value in backbone.state_dict().items())
    assert {path.name for path in folder.iterdir()} == {'ghostnet_1x.pth', 'ghostnet_1x.pth.sha256'}
    assert not server.requests
    assert not (tmp_path / 'torch').exists()


def test_a_folder_that_cannot_be_written_gets_no_record(folder, monkeypatch):
    monkeypatch.setattr(reader.os, 'access', lambda path, mode: path != folder)
    assert reader.locate('ghostdet://ghostnet_1.0x') == folder / 'ghostnet_1x.pth'
    assert [path.name for path in folder.iterdir()] == ['ghostnet_1x.pth']


def test_the_message_names_file_and_folder_where_the_file_is_missing(folder, server):
    (folder / 'ghostnet_1x.pth').unlink()
    with pytest.raises(DownloadError, match=f'GHOSTDET_WEIGHTS names the folder {folder}, which has no '
                                            f'ghostnet_1x.pth: save {server.url} there under this name'):
        reader.locate('ghostdet://ghostnet_1.0x')
    assert not server.requests


@pytest.mark.parametrize(('sha256', 'content', 'message'), [
    ('f' * 64, None, 'is not the published file, whose sha256 begins with f'), (None, b'<html>', 'a web page')])
def test_a_wrong_file_in_the_folder_is_kept(sha256, content, message, folder, server, monkeypatch):
    monkeypatch.setitem(catalogue.CATALOGUE, 'ghostnet_1.0x',
                        replace(catalogue.CATALOGUE['ghostnet_1.0x'], sha256=sha256))
    file = folder / 'ghostnet_1x.pth'
    file.write_bytes(content or file.read_bytes())
    with pytest.raises(DamagedFileError, match=f'{message}.*save {server.url} there again'):
        reader.locate('ghostdet://ghostnet_1.0x')
    assert [path.name for path in folder.iterdir()] == ['ghostnet_1x.pth']


def test_a_file_that_was_replaced_in_the_folder_is_refused(folder):
    reader.locate('ghostdet://ghostnet_1.0x')
    torch.save(dict(a=torch.ones(1)), folder / 'ghostnet_1x.pth')
    with pytest.raises(DamagedFileError, match=r'has changed.*delete ghostnet_1x\.pth\.sha256\. Otherwise save'):
        reader.locate('ghostdet://ghostnet_1.0x')


@pytest.mark.parametrize('end', ['', '/'])
def test_an_address_in_the_variable_has_the_files_under_their_names(end, published, server, tmp_path, monkeypatch):
    monkeypatch.setenv('GHOSTDET_WEIGHTS', f'{server.base}/mirror{end}')
    file = reader.locate('ghostdet://ghostnet_1.0x')
    assert server.paths == ['/mirror/ghostnet_1x.pth']
    assert file == tmp_path / 'torch/hub/checkpoints/ghostnet_1x.pth'
    assert file.read_bytes() == server.content


@pytest.mark.parametrize('mirror', ['wieghts', 'htp://localhost/x', 'file.ckpt'])
def test_a_variable_that_names_neither_folder_nor_address_is_refused(mirror, published, tmp_path, monkeypatch):
    (tmp_path / 'file.ckpt').write_text('')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('GHOSTDET_WEIGHTS', mirror)
    with pytest.raises(DownloadError, match=f'GHOSTDET_WEIGHTS is {mirror}, which is no folder and no http'):
        reader.locate('ghostdet://ghostnet_1.0x')


@pytest.mark.parametrize('mirror', [None, '/mirror'])
def test_without_a_connection_the_message_says_which_file_to_bring_and_where(mirror, published, server, monkeypatch):
    if mirror:
        monkeypatch.setenv('GHOSTDET_WEIGHTS', server.base + mirror)
    monkeypatch.setattr(download.urllib.request, 'urlopen', refuse)
    rest = ('GHOSTDET_WEIGHTS names this address' if mirror else
            'Or set the environment variable GHOSTDET_WEIGHTS to a folder or an address that has ghostnet_1x.pth')
    with pytest.raises(DownloadError, match='this machine is offline.*save it in .*checkpoints as ghostnet_1x'
                                            rf'\.pth\. {rest}'):
        reader.locate('ghostdet://ghostnet_1.0x')


def refuse(*_, **__):
    raise URLError(socket.gaierror(-3, 'Temporary failure in name resolution'))


@pytest.mark.parametrize('ending', ['safetensors', 'pdparams'])
def test_other_networks_and_load_from_take_every_kind_of_file(ending, tmp_path):
    file, weight = tmp_path / f'file.{ending}', torch.randn(3, 2)
    if ending == 'safetensors':
        save_file(dict(weight=weight, bias=torch.zeros(3)), file)
    else:
        file.write_bytes(pickle.dumps(dict(weight=weight.numpy(), bias=torch.zeros(3).numpy())))
    linear = torch.nn.Linear(2, 3)
    CompletePretrained(str(file))(linear)
    assert torch.equal(linear.weight, weight)
    assert torch.equal(load(str(file))['weight'], weight)


@pytest.mark.parametrize('initializer', [CompletePretrained, PretrainedInit])
def test_the_average_is_taken_and_widening_refused_of_other_networks_too(initializer, safely, server, tmp_path,
                                                                         monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    file, linear = tmp_path / 'file.pth', torch.nn.Linear(2, 3)
    one = dict(weight=torch.ones(3, 2), bias=torch.ones(3))
    average = {key: 2 * value for key, value in one.items()}
    torch.save(dict(state_dict=one, state_dict_ema=average, meta=dict(epoch=3)), file)
    server.content = file.read_bytes()
    for name in (str(file), server.url, f'{server.url}?download=1'):
        for options, value in (('', 1), ('?ema', 2)):
            initializer(name + options)(linear)
            assert bool((linear.weight == value).all())
        with pytest.raises(UserError, match=r'file\.pth\?widen works only in the init_cfg of a GhostNet'):
            initializer(f'{name}?widen')(linear)
    assert {path.partition('?')[2] for path in server.paths} == {'', 'download=1'}
    assert CheckpointLoader.load_checkpoint(f'{file}?ema')['meta'] == dict(epoch=3)
    torch.save(one, file)
    with pytest.raises(UserError, match='no moving average'):
        initializer(f'{file}?ema')(linear)


def test_other_networks_can_ask_for_all_of_their_tensors(tmp_path):
    linear = torch.nn.Linear(2, 3)
    torch.save(dict(state_dict={'backbone.weight': torch.ones(3, 2)}), tmp_path / 'part.pth')
    PretrainedInit(str(tmp_path / 'part.pth'), prefix='backbone')(linear)
    assert bool((linear.weight == 1).all())
    with pytest.raises(UserError,
                       match=r'do not fit the Linear.*1 of 2 tensors; missing or of another shape: bias \(3,\)'):
        CompletePretrained(str(tmp_path / 'part.pth'), prefix='backbone')(linear)


def test_safetensors_is_asked_for_when_such_a_file_is_read(tmp_path, monkeypatch):
    save_file(dict(weight=torch.ones(1)), tmp_path / 'a.safetensors')
    torch.save(dict(weight=torch.ones(1)), tmp_path / 'a.pth')
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    assert load(str(tmp_path / 'a.pth'))
    with pytest.raises(PackageError, match=r'need the package safetensors, .*pip install safetensors'):
        load(str(tmp_path / 'a.safetensors'))


def test_initial_weights_are_checked_and_read_once(published, tmp_path, monkeypatch):
    checked, opened = [], []
    monkeypatch.setattr(reader, 'checksum', lambda file: checked.append(file) or checksum(file))
    monkeypatch.setattr(pretrained, 'read_file', lambda file: opened.append(file) or reader.read_file(file))
    for _ in range(2):
        initialised('ghostdet://ghostnet_1.0x').init_weights()
    assert len(checked) == len(opened) == 1
    file = tmp_path / 'torch/hub/checkpoints/ghostnet_1x.pth'
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match='has changed'):
        initialised('ghostdet://ghostnet_1.0x').init_weights()
