"""The checksum in a file and of all its parts."""
import hashlib
import json
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdet.infer.seal import UNSEALED, is_whole, read_seal, seal

MANIFEST = json.dumps(dict(classes=['cat', '"dog"'], checksum=UNSEALED))
FORMS = dict(json=MANIFEST.encode(), xml=f'<net><ghostdet value="{escape(MANIFEST)}" /></net>'.encode(),
             binary=b'\x08\x00\xff' + MANIFEST.encode() + bytes(range(256)))


@pytest.fixture(params=FORMS)
def files(request, tmp_path):
    """A file with a place for the checksum, between two others."""
    contents = (b'7767517\nlayers', FORMS[request.param], bytes(range(256)) * 3)
    return written(tmp_path, contents)


def written(folder, contents):
    paths = [folder / f'part{index}' for index in range(len(contents))]
    for path, content in zip(paths, contents):
        path.write_bytes(content)
    return paths


def test_seal_writes_the_sha256_of_all_parts_and_nothing_else(files):
    before = [file.read_bytes() for file in files]
    digest = hashlib.sha256(b''.join(before)).hexdigest()
    seal(files)
    assert [file.read_bytes() for file in files] == [
        before[0], before[1].replace(UNSEALED.encode(), digest.encode()), before[2]]
    assert read_seal(files) == (digest, digest)
    assert is_whole(files) is True


def test_seal_of_a_sealed_file_changes_nothing(files):
    seal(files)
    before = [file.read_bytes() for file in files]
    seal(files)
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize('index', [0, 1, 2])
@pytest.mark.parametrize('change', [lambda content: content[:-1], lambda content: content + b' ',
                                    lambda content: content[:-1] + bytes([content[-1] ^ 1])])
def test_is_whole_is_false_where_a_part_was_cut_or_changed(change, index, files):
    seal(files)
    files[index].write_bytes(change(files[index].read_bytes()))
    assert is_whole(files) is False


def test_is_whole_is_false_before_the_seal_and_none_where_there_is_no_place_for_it(files):
    assert is_whole(files) is False
    assert read_seal(files)[0] == UNSEALED
    assert is_whole([files[0], files[2]]) is None
    before = files[0].read_bytes()
    seal([files[0], files[2]])
    assert files[0].read_bytes() == before


def test_is_whole_is_false_where_parts_come_from_two_exports(tmp_path):
    one, other = tmp_path / 'one', tmp_path / 'other'
    for folder, weights in ((one, b'weights'), (other, b'WEIGHTS')):
        folder.mkdir()
        seal(written(folder, (FORMS['xml'], weights)))
    assert is_whole([one / 'part0', one / 'part1']) is True
    assert is_whole([one / 'part0', other / 'part1']) is False


@pytest.fixture(scope='module')
def sealed(tmp_path_factory):
    files = written(tmp_path_factory.mktemp('sealed'), (FORMS['xml'], b'weights'))
    seal(files)
    return files, [file.read_bytes() for file in files]


@given(st.data())
def test_is_whole_notices_any_changed_byte(sealed, data):
    files, contents = sealed
    index = data.draw(st.sampled_from([0, 1]))
    place = data.draw(st.integers(0, len(contents[index]) - 1))
    changed = bytearray(contents[index])
    changed[place] ^= data.draw(st.integers(1, 255))
    for file, content in zip(files, contents):
        file.write_bytes(content)
    assert is_whole(files) is True
    files[index].write_bytes(changed)
    start = contents[0].index(b'&quot;checksum')
    in_seal = index == 0 and start <= place < contents[0].index(b'}')
    assert is_whole(files) in ((False, None) if in_seal else (False,))  # None: there is no checksum any more
