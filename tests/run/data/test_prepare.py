"""`ghostdet prepare-coco` by command line, on a made-up COCO from a server on loopback, with all that can go wrong."""
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import signal
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from ghostdet import download
from ghostdet.cli import door
from ghostdet.data import prepare
from ghostdet.data.prepare import Archive, Counts
from tests.conftest import tool
from tests.server import Server

MAIN = tool('prepare_coco')
PATHS = dict(annotations='annotations/annotations_trainval2017.zip', val2017='zips/val2017.zip',
             train2017='zips/train2017.zip')
SPLITS = dict(train2017=Counts(6, 12), val2017=Counts(3, 6))


def jpeg(number):
    stream = io.BytesIO()
    Image.effect_noise((24, 24), 9 * number + 9).save(stream, 'JPEG')
    return stream.getvalue()


def made_up():
    """Folder -> file name -> content."""
    folders = {split: {f'{number:012}.jpg': jpeg(number) for number in range(counts.images)}
               for split, counts in SPLITS.items()}
    annotations = {}
    for split, files in list(folders.items()):
        images = [dict(id=index, file_name=name, width=24, height=24) for index, name in enumerate(files)]
        boxes = [dict(id=2 * image['id'] + half + 1, image_id=image['id'], category_id=1, bbox=[1, 1, 9, 9], area=81,
                      iscrowd=0)
                 for image in images for half in (0, 1)]
        content = dict(images=images, annotations=boxes, categories=[dict(id=1, name='thing')])
        annotations[f'instances_{split}.json'] = json.dumps(content).encode()
    annotations['captions_val2017.json'] = b'{}'
    return {'annotations': annotations, **folders}


def zipped(folder, files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w') as archive:  # stored, as COCO's images are, so that a test can find their bytes
        archive.mkdir(folder)
        for name, content in files.items():
            archive.writestr(f'{folder}/{name}', content)
    return stream.getvalue()


class Coco:
    """The made-up COCO, the server that has it, and the folder that is to get it."""

    def __init__(self, server, root, monkeypatch):
        self.server, self.root, self.monkeypatch = server, root, monkeypatch
        self.folders, self.archives = made_up(), {}
        for folder in [archive.folder for archive in prepare.ARCHIVES]:  # in the real table's order
            self.offer(folder, zipped(folder, self.folders[folder]))
        monkeypatch.setattr(prepare, 'SPLITS', SPLITS)

    def offer(self, folder, content):
        """Serve an archive, with the table's size and checksum to match."""
        self.server.files[f'/{PATHS[folder]}'] = content
        self.archives[folder] = Archive(folder, PATHS[folder], len(content), hashlib.md5(content).hexdigest(),
                                        len(content))
        self.monkeypatch.setattr(prepare, 'ARCHIVES', tuple(self.archives.values()))

    def zip_file(self, folder):
        return self.root / self.archives[folder].name

    def run(self, *arguments, root=None):
        return door.run(MAIN, [str(root or self.root), '--url', self.server.base, *arguments])

    def fill(self):
        """As somebody else would have prepared it."""
        for folder, files in self.folders.items():
            (self.root / folder).mkdir(parents=True)
            for name, content in files.items():
                (self.root / folder / name).write_bytes(content)

    def assert_complete(self):
        for folder, files in self.folders.items():
            assert {file.name: file.read_bytes() for file in (self.root / folder).iterdir()} == files


@pytest.fixture
def coco(tmp_path, monkeypatch):
    monkeypatch.setattr(download.time, 'sleep', lambda _: None)
    server = Server()
    yield Coco(server, tmp_path / 'coco', monkeypatch)
    server.shutdown()
    server.server_close()


@pytest.fixture
def first_stop(coco, capsys):
    """A run that has to end with an error; its message."""
    def run(*arguments, **options):
        assert coco.run(*arguments, **options) == 1
        return capsys.readouterr().err
    return run


def test_from_nothing_small_ones_first_and_a_second_run_asks_for_nothing(coco, capsys):
    assert coco.run() == 0
    coco.assert_complete()
    assert coco.server.paths == [f'/{PATHS[folder]}' for folder in ('annotations', 'val2017', 'train2017')]
    assert not [*coco.root.glob('*.zip'), *coco.root.rglob('*.part*')]
    table = capsys.readouterr().out
    rows = [line.split() for line in table.splitlines()[1:]]
    assert rows == [['annotations/instances_train2017.json', '6', '6', '12', '12'],
                    ['annotations/instances_val2017.json', '3', '3', '6', '6'],
                    ['train2017/*.jpg', '6', '6'], ['val2017/*.jpg', '3', '3']]
    coco.monkeypatch.setattr(prepare.json, 'loads', count := Calls(json.loads))
    assert coco.run() == 0
    assert capsys.readouterr().out == table
    assert count.number == 1  # the stamp, and no annotation file
    assert len(coco.server.paths) == 3


class Calls:
    """Counts the calls of a function."""

    def __init__(self, function):
        self.function, self.number = function, 0

    def __call__(self, *arguments):
        self.number += 1
        return self.function(*arguments)


def test_the_real_table():
    assert [(archive.path, archive.size, len(archive.md5)) for archive in prepare.ARCHIVES] == [
        (PATHS['annotations'], 252907541, 32), (PATHS['val2017'], 815585330, 32), (PATHS['train2017'], 19336861798, 32)]
    assert dict(train2017=Counts(118287, 860001), val2017=Counts(5000, 36781)) == prepare.SPLITS


def test_a_folder_of_somebody_else_is_counted_and_left_alone(coco, capsys):
    coco.fill()
    coco.zip_file('val2017').write_bytes(b'of another kind')
    assert coco.run() == 0
    coco.assert_complete()
    assert not coco.server.paths
    assert coco.zip_file('val2017').read_bytes() == b'of another kind'
    output = capsys.readouterr()
    assert 'train2017/*.jpg' in output.out
    assert 'val2017.zip is no longer needed; you can delete it' in output.err


def test_a_complete_folder_that_cannot_be_written_is_complete(coco):
    coco.fill()
    coco.monkeypatch.setattr(prepare, 'write_whole', cannot_write)
    assert coco.run() == 0
    assert not (coco.root / '.complete.json').exists()


def cannot_write(*_):
    raise PermissionError(13, 'Permission denied')


def test_a_stamp_is_not_trusted_when_files_went(coco, capsys):
    assert coco.run() == 0
    (coco.root / 'train2017/000000000003.jpg').unlink()
    (coco.root / 'val2017/000000000001.jpg').write_bytes(b'')
    del coco.server.paths[:]
    assert coco.run() == 0
    coco.assert_complete()
    assert coco.server.paths == [f'/{PATHS[folder]}' for folder in ('val2017', 'train2017')]
    error = capsys.readouterr().err
    assert 'train2017 is not complete: 000000000003.jpg is missing' in error
    assert 'val2017 is not complete: 000000000001.jpg is empty' in error


def test_kept_zips_mend_a_folder_without_the_server(coco, capsys):
    assert coco.run('--keep-zips') == 0
    assert len(list(coco.root.glob('*.zip'))) == 3
    for number in (0, 4):
        (coco.root / f'train2017/{number:012}.jpg').unlink()
    short = coco.root / 'train2017/000000000002.jpg'
    short.write_bytes(short.read_bytes()[:99])
    untouched = coco.root / 'train2017/000000000001.jpg'
    before = untouched.stat().st_ino
    assert coco.run('--keep-zips') == 0
    coco.assert_complete()
    assert untouched.stat().st_ino == before
    assert len(coco.server.paths) == 3
    size = len(coco.folders['train2017'][short.name])
    assert f'000000000000.jpg is missing, 000000000002.jpg has 99 of {size} bytes, 000000000004.jpg is missing' in (
        capsys.readouterr().err)


def test_an_image_cut_short_alone_is_found_by_the_kept_zip(coco):
    assert coco.run('--keep-zips') == 0
    (coco.root / 'val2017/000000000002.jpg').write_bytes(b'short')
    assert coco.run() == 0
    coco.assert_complete()
    assert len(coco.server.paths) == 3
    assert [file.name for file in sorted(coco.root.glob('*.zip'))] == ['annotations_trainval2017.zip', 'train2017.zip']


def test_an_annotation_file_cut_short_is_fetched_again(coco):
    coco.fill()
    file = coco.root / 'annotations/instances_val2017.json'
    file.write_bytes(file.read_bytes()[:-20])
    assert coco.run() == 0
    coco.assert_complete()
    assert coco.server.paths == [f'/{PATHS["annotations"]}']


def test_a_broken_annotation_file_of_the_right_size_is_written_again(coco):
    coco.fill()
    file = coco.root / 'annotations/instances_val2017.json'
    file.write_bytes(b' ' * file.stat().st_size)
    assert coco.run() == 0
    coco.assert_complete()


def test_another_data_set_is_not_written_over(coco, first_stop):
    coco.fill()
    file = coco.root / 'annotations/instances_val2017.json'
    own = json.dumps(dict(images=[dict(file_name='a.jpg')], annotations=[], categories=[])).encode()
    file.write_bytes(own)
    (coco.root / 'train2017/000000000003.jpg').unlink()
    assert 'lists 1 images and 0 boxes, but COCO has 3 and 6: the file belongs to another data set' in first_stop()
    assert file.read_bytes() == own
    assert not coco.server.paths


def test_missing_boxes_in_an_archive_are_reported(coco, first_stop):
    coco.monkeypatch.setattr(prepare, 'SPLITS', dict(SPLITS, val2017=Counts(3, 7)))
    assert 'lists 3 images and 6 boxes, but COCO has 3 and 7' in first_stop()


def test_a_listed_image_that_no_archive_has_is_named(coco, first_stop):
    files = dict(coco.folders['val2017'])
    del files['000000000001.jpg']
    right = coco.server.files[f'/{PATHS["val2017"]}']
    coco.offer('val2017', zipped('val2017', files))
    assert 'val2017.zip was unpacked: 000000000001.jpg is missing' in first_stop()
    coco.offer('val2017', right)
    assert coco.run() == 0
    coco.assert_complete()


# ----------------------------------------------------------------------------------------------------------- the server

def test_a_cut_connection_goes_on_in_the_next_run(coco, first_stop):
    coco.server.plan = ['whole', 'cut', 503, 503, 503, 503, 503, 'whole']
    assert 'val2017.zip could not be downloaded in 5 tries' in first_stop()
    assert not (coco.root / 'val2017').exists()
    assert coco.run() == 0
    coco.assert_complete()
    half = coco.archives['val2017'].size // 2
    assert ('whole', f'bytes={half}-') in coco.server.requests


def test_404_names_the_way_by_hand_and_it_works(coco, first_stop):
    content = coco.server.files.pop(f'/{PATHS["val2017"]}')
    error = first_stop()
    assert 'zips/val2017.zip cannot be downloaded: the server answers 404' in error
    assert f'save it in {coco.root} as val2017.zip' in error
    coco.zip_file('val2017').write_bytes(content)
    assert coco.run() == 0
    coco.assert_complete()
    assert coco.server.paths.count(f'/{PATHS["val2017"]}') == 1


def test_another_archive_than_the_table_says_is_refused(coco, first_stop):
    path = f'/{PATHS["val2017"]}'
    right = coco.server.files[path]
    coco.server.files[path] = right[:-50] + bytes(50)
    assert 'is not the expected file: it has the md5' in first_stop()
    assert not coco.zip_file('val2017').exists()
    coco.server.files[path] = right
    assert coco.run() == 0
    coco.assert_complete()


def test_a_wrong_zip_in_the_folder_is_fetched_again(coco, capsys):
    coco.root.mkdir()
    coco.zip_file('val2017').write_bytes(bytes(coco.archives['val2017'].size))
    assert coco.run() == 0
    coco.assert_complete()
    shown = capsys.readouterr().err
    assert 'val2017.zip was not the COCO archive of that name (wrong size or checksum). It was deleted' in shown


def test_no_address(coco, capsys):
    assert door.run(MAIN, [str(coco.root), '--url', 'mirror.example/coco']) == 1
    assert 'it must start with http:// or https://' in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------- the archive

def test_a_damaged_entry_is_reported_and_the_archive_deleted(coco, first_stop):
    right, image = coco.server.files[f'/{PATHS["val2017"]}'], coco.folders['val2017']['000000000001.jpg']
    at = right.index(image) + len(image) // 2
    coco.offer('val2017', right[:at] + bytes([right[at] ^ 255]) + right[at + 1:])
    error = first_stop()
    assert 'val2017.zip is damaged (BadZipFile: Bad CRC-32' in error
    assert '000000000001.jpg' in error
    assert not coco.zip_file('val2017').exists()
    assert [file.name for file in (coco.root / 'val2017').iterdir()] == ['000000000000.jpg']
    coco.offer('val2017', right)
    assert coco.run() == 0
    coco.assert_complete()


@pytest.mark.parametrize('name',
                         ['../outside.jpg', 'val2017/../../outside.jpg', '/outside.jpg', 'val2017/..\\outside.jpg'])
def test_an_entry_that_leads_out_is_refused(name, coco, first_stop):
    stream = io.BytesIO(coco.server.files[f'/{PATHS["val2017"]}'])
    with zipfile.ZipFile(stream, 'a') as archive:
        archive.writestr(name, 'bad')
    coco.offer('val2017', stream.getvalue())
    assert f'the entry {name!r} leads out of the folder' in first_stop()
    assert not list(coco.root.parent.rglob('*outside*'))
    assert not (coco.root / 'val2017').exists()


def test_other_folders_of_an_archive_are_not_unpacked(coco):
    stream = io.BytesIO(coco.server.files[f'/{PATHS["val2017"]}'])
    with zipfile.ZipFile(stream, 'a') as archive:
        for name in ('readme.txt', 'train2017/extra.jpg', 'val2017/deeper/extra.jpg', '__MACOSX/val2017/extra.jpg'):
            archive.writestr(name, 'more')
    coco.offer('val2017', stream.getvalue())
    assert coco.run() == 0
    coco.assert_complete()
    assert {path.name for path in coco.root.iterdir() if not path.name.startswith('.')} == set(PATHS)


# --------------------------------------------------------------------------------------------------- the run, the place

def test_killed_in_the_middle_of_unpacking(coco):
    process = multiprocessing.get_context('fork').Process(target=run_and_die, args=(coco,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    names = sorted(file.name for file in (coco.root / 'train2017').iterdir())
    assert names == ['000000000000.jpg', '000000000001.jpg', '000000000002.jpg.part']
    assert 0 < (coco.root / 'train2017' / names[-1]).stat().st_size < len(coco.folders['train2017']['000000000002.jpg'])
    asked = len(coco.server.paths)
    assert coco.run() == 0
    coco.assert_complete()
    assert len(coco.server.paths) == asked


def run_and_die(coco):
    """A run whose process is killed with half of train2017's third image written."""
    def copy(packed, opened, _):
        content = packed.read()
        if opened.name.endswith('train2017/000000000002.jpg.part'):
            opened.write(content[:len(content) // 2])
            opened.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        opened.write(content)

    coco.monkeypatch.setattr(shutil, 'copyfileobj', copy)
    coco.run()


def test_ctrl_c_says_how_it_goes_on(coco, capsys):
    coco.monkeypatch.setattr(prepare, 'unpack', interrupt)
    assert coco.run() == 130
    assert 'interrupted; the same command continues where it stopped' in capsys.readouterr().err
    coco.monkeypatch.undo()


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_a_disk_that_is_too_small(coco, first_stop):
    needed = 2 * sum(archive.size for archive in coco.archives.values())
    coco.monkeypatch.setattr(shutil, 'disk_usage', lambda _: type('Usage', (), dict(free=needed - 1)))
    assert (f'has {needed - 1:,} bytes free, but annotations_trainval2017.zip, val2017.zip, train2017.zip and their '
            f'unpacked files need {needed:,}. Free some space') in first_stop()
    assert not coco.server.paths
    coco.monkeypatch.setattr(shutil, 'disk_usage', lambda _: type('Usage', (), dict(free=needed)))
    assert coco.run() == 0


def test_what_is_there_already_needs_no_room(coco):
    assert coco.run('--keep-zips') == 0
    (coco.root / 'train2017/000000000003.jpg').unlink()
    free = len(coco.folders['train2017']['000000000003.jpg']) + 2000  # the archive's own headers count as its content
    coco.monkeypatch.setattr(shutil, 'disk_usage', lambda _: type('Usage', (), dict(free=free)))
    assert coco.run() == 0
    coco.assert_complete()


def test_a_disk_that_fills_all_the_same(coco, first_stop):
    coco.monkeypatch.setattr(shutil, 'copyfileobj', full)
    assert 'cannot be written or read (OSError: [Errno 28] No space left on device)' in first_stop()
    assert not list((coco.root / 'annotations').iterdir())
    coco.monkeypatch.undo()


def full(*_):
    raise OSError(28, 'No space left on device')


def test_a_file_in_place_of_the_folder(coco, first_stop):
    coco.root.write_text('')
    assert 'coco is a file, but COCO needs a folder' in first_stop()
    assert 'cannot be written or read (NotADirectoryError' in first_stop(root=coco.root / 'below')


def test_a_folder_that_cannot_be_written(coco, first_stop):
    for place in (Path('/proc'), Path('/proc/coco')):  # not even by root
        error = first_stop(root=place)
        assert f'{place} cannot be written or read' in error
        assert 'choose another folder' in error
    assert not coco.server.paths


def test_of_two_runs_at_once_one_fetches(coco):
    processes = [multiprocessing.get_context('fork').Process(target=coco.run) for _ in range(2)]
    for process in processes:
        process.start()
    end = time.monotonic() + 60
    for process in processes:
        process.join(end - time.monotonic())
        assert process.exitcode == 0
    coco.assert_complete()
    assert len(coco.server.paths) == 3
