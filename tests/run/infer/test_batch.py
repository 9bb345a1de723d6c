"""Folders and videos, through `ghostdet predict`."""
import json
import subprocess
import sys
import time
import venv

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from ghostdet import Detector
from ghostdet.cli import door
from ghostdet.infer.coco_file import CocoFile
from tests.conftest import copy_of_project, made_by, tool
from tests.label_folders import assert_same, boxes_of, read
from tests.odd_images import no_pictures


def run(*arguments):
    return door.run(tool('predict'), [str(argument) for argument in arguments])


def files(shapes):
    return sorted((shapes / 'val2017').iterdir())


def frames(file):
    video, frames = cv2.VideoCapture(str(file)), []
    while (read := video.read())[0]:
        frames.append(read[1])
    return frames, video.get(cv2.CAP_PROP_FPS)


@pytest.fixture
def video(shapes, tmp_path):
    file = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*'MJPG'), 10, (64, 64))
    for _ in range(6):
        for image in files(shapes):
            writer.write(cv2.imread(str(image)))
    writer.release()
    return file


@pytest.fixture
def folder(shapes, tmp_path):
    """Four images, one of them deeper, one in another format, and something that is none."""
    root = tmp_path / 'photos'
    (root / 'more').mkdir(parents=True)
    for index, file in enumerate(files(shapes)):
        with Image.open(file) as image:
            image.save(root / ('more/d.PNG' if index == 3 else f'{"abc"[index]}.{("png", "jpg", "bmp")[index]}'))
    (root / 'notes.txt').write_text('no image')
    return root


def test_folder(folder, exported, tmp_path, capsys):
    assert run(exported / 'detector.xml', folder, '--out', tmp_path / 'out', '--threshold', 0.01) == 0
    assert '4 images' in (summary := capsys.readouterr().out)
    assert 'images/s' in summary
    names = ['a.png', 'b.jpg', 'c.bmp', 'more/d.PNG']
    written = sorted(str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out').rglob('*.*'))
    assert written == ['a.png', 'b.jpg', 'c.bmp.png', 'detections.json', 'more/d.PNG']
    truth = COCO(tmp_path / 'out/detections.json')
    assert [image['file_name'] for image in truth.dataset['images']] == names
    assert [category['name'] for category in truth.dataset['categories']] == ['disc', 'square', 'triangle']
    for category in truth.dataset['categories']:
        count = len(truth.getAnnIds(catIds=[category['id']]))
        assert (f'{category["name"]} {count}' in summary) == (count > 0)
    detector = Detector(exported / 'detector.xml')
    for image in truth.dataset['images']:
        expected = detector(folder / image['file_name'], 0.01)
        records = truth.imgToAnns[image['id']]
        np.testing.assert_allclose([record['score'] for record in records], expected.scores, atol=1e-6)
        np.testing.assert_allclose([record['bbox'] for record in records],
                                   np.hstack((expected.boxes[:, :2], expected.boxes[:, 2:] - expected.boxes[:, :2])),
                                   atol=1e-3)
        assert (image['height'], image['width']) == (64, 64)
    assert len(truth.anns) > 0
    drawn, plain = (cv2.imread(str(path / 'a.png')) for path in (tmp_path / 'out', folder))
    assert drawn.shape == plain.shape
    assert (drawn != plain).any()


def test_one_bad_image_does_not_stop_the_rest(folder, exported, shapes, tmp_path, capsys):
    bad = no_pictures(np.asarray(Image.open(files(shapes)[0])))
    for name, (content, _) in bad.items():
        (folder / name).write_bytes(content)
    assert run(exported / 'detector.onnx', folder, '--out', tmp_path / 'out') == 1
    error = capsys.readouterr().err
    for name, (_, message) in bad.items():
        assert any(name in line and message in line for line in error.splitlines()), name
    assert f'{len(bad)} of {len(bad) + 4} inputs were left out' in error
    content = json.loads((tmp_path / 'out/detections.json').read_text())
    assert len(content['images']) == 4
    assert len(content['info']['left_out']) == len(bad)
    assert len(list((tmp_path / 'out').rglob('*.*'))) == 5


@pytest.mark.parametrize('model', ['detector.xml', 'epoch_2.pth'])
def test_video(model, video, exported, trained, tmp_path):
    file = (exported if model == 'detector.xml' else trained) / model
    assert run(file, video, '--out', tmp_path / 'out', '--threshold', 0.01) == 0
    drawn, rate = frames(tmp_path / 'out/clip.mp4')
    assert (len(drawn), rate) == (24, 10)
    content = json.loads((tmp_path / 'out/detections.json').read_text())
    assert [(image['file_name'], image['frame']) for image in content['images']] == [('clip.avi', k) for k in range(24)]
    assert {record['image_id'] for record in content['annotations']} == set(range(1, 25))


def test_video_that_was_cut_off_is_used_to_its_end(video, exported, tmp_path, capsys):
    video.write_bytes(video.read_bytes()[:video.stat().st_size // 2])
    (tmp_path / 'none.mp4').write_bytes(b'hello' * 100)
    assert run(exported / 'detector.xml', video, tmp_path / 'none.mp4', '--out', tmp_path / 'out') == 1
    error = capsys.readouterr().err
    assert 'of its 24 frames can be read' in error
    assert 'none.mp4 is not a video that can be read' in error
    count = len(json.loads((tmp_path / 'out/detections.json').read_text())['images'])
    assert 0 < count < 24
    assert len(frames(tmp_path / 'out/clip.mp4')[0]) == count


def test_names_that_meet(shapes, exported, tmp_path):
    first, second = (tmp_path / name / 'a.png' for name in ('one', 'two'))
    for file, image in zip((first, second), files(shapes)):
        file.parent.mkdir()
        file.write_bytes(image.read_bytes())
    assert run(exported / 'detector.xml', first, second, '--out', tmp_path / 'out') == 0
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['a.png', 'a_2.png', 'detections.json']


def test_without_pictures(folder, exported, tmp_path, capsys):
    """And with a threshold that all boxes reach."""
    assert run(exported / 'detector.xml', folder, '--out', tmp_path / 'out', '--no-pictures', '--threshold', 0) == 0
    assert '4 images have 100 boxes, the most that this detector returns: there may be more' in capsys.readouterr().out
    assert [path.name for path in (tmp_path / 'out').rglob('*')] == ['detections.json']


@pytest.mark.parametrize(('name', 'message'), [('nowhere', 'there is no image, folder or video'),
                                             ('empty', 'there are no images or videos in the folder')])
def test_inputs_that_are_none(name, message, exported, tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    assert run(exported / 'detector.xml', tmp_path / name, '--out', tmp_path / 'out') == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_nothing_that_is_read_is_overwritten(folder, exported, capsys):
    before = (folder / 'a.png').read_bytes()
    assert run(exported / 'detector.xml', folder, '--out', folder) == 1
    assert 'the results would overwrite the input' in capsys.readouterr().err
    assert (folder / 'a.png').read_bytes() == before


def test_each_file_once_and_none_of_its_own_results(folder, exported, tmp_path):
    for _ in range(2):  # the second time there are results of the first below the folder
        assert run(exported / 'detector.xml', folder, folder / 'a.png', folder / 'more', '--out',
                   folder / 'results') == 0
        images = json.loads((folder / 'results/detections.json').read_text())['images']
        assert [image['file_name'] for image in images] == ['a.png', 'b.jpg', 'c.bmp', 'more/d.PNG']
        assert [image['path'] for image in images] == [str(folder / image['file_name']) for image in images]


@pytest.mark.parametrize('name', ['a.png', 'detections.json'])
def test_files_of_others_are_not_overwritten(name, folder, exported, tmp_path, capsys):
    out = tmp_path / 'mine'
    out.mkdir()
    (out / name).write_text('{"mine": 1}')
    assert run(exported / 'detector.xml', folder, '--out', out) == 1
    assert 'does not hold results of an earlier prediction' in capsys.readouterr().err
    assert [path.read_text() for path in out.iterdir()] == ['{"mine": 1}']


def test_image_that_cannot_be_written_does_not_stop_the_rest(folder, exported, tmp_path, capsys):
    Image.new('RGB', (66_000, 3)).save(folder / 'wide.png')
    (folder / 'wide.png').rename(folder / 'bb.jpg')  # more than a JPEG can have
    (folder / 'broken.png').symlink_to('nowhere')
    assert run(exported / 'detector.xml', folder, '--out', tmp_path / 'out') == 1
    error = capsys.readouterr().err
    assert 'bb.jpg cannot be written: 66000x3 pixels are too many for its format' in error
    assert 'broken.png cannot be read (FileNotFoundError' in error
    assert len(json.loads((tmp_path / 'out/detections.json').read_text())['images']) == 5
    assert (tmp_path / 'out/more/d.PNG').exists()


def test_threshold_is_that_of_the_file_and_is_said(folder, exported, tmp_path, capsys):
    detector = Detector(exported / 'detector.xml')
    for words, thresholds in (([], [detector.threshold] * 3), (['--thresholds-by-class'], detector.class_thresholds)):
        assert run(exported / 'detector.xml', folder, '--out', tmp_path / 'out', '--no-pictures', *words) == 0
        boxes = json.loads((tmp_path / 'out/detections.json').read_text())['annotations']
        assert boxes
        assert all(box['score'] >= thresholds[box['category_id'] - 1] - 1e-6 for box in boxes)
        said = capsys.readouterr().err
        assert f'threshold {detector.threshold:g}, with the best F1' in said or 'thresholds: disc' in said
    assert run(exported / 'detector.xml', folder, '--out', tmp_path / 'out', '--threshold', 0.2,
               '--thresholds-by-class') == 1


def test_classes_are_those_that_are_kept(folder, exported, tmp_path, capsys):
    def found(*words):
        assert run(exported / 'detector.xml', folder, '--out', tmp_path / 'out', '--no-pictures', *words) == 0
        boxes = json.loads((tmp_path / 'out/detections.json').read_text())['annotations']
        return [(box['image_id'], box['category_id'], box['bbox']) for box in boxes]
    for words in (['--threshold', 0.01], ['--thresholds-by-class']):
        every = found(*words)
        assert {label for _, label, _ in every} > {2}
        assert found(*words, '--classes', 'square') == [box for box in every if box[1] == 2]
    assert run(exported / 'detector.xml', folder, '--out', tmp_path / 'out', '--classes', 'disk') == 1
    assert "has no class 'disk'. It has 3 classes, close ones are disc" in capsys.readouterr().err


@pytest.mark.parametrize('kind', ['yolo', 'coco'])
def test_labels_are_those_of_the_results(kind, folder, video, exported, tmp_path, capsys):
    (folder / 'broken.png').write_bytes(b'no image')
    before = {file: file.read_bytes() for file in folder.rglob('*.*')}
    words = [exported / 'detector.xml', folder, video, '--out', tmp_path / 'out', '--threshold', 0.01, '--format', kind]
    assert run(*words, '--no-pictures') == 1  # one image was left out
    said = capsys.readouterr()
    assert '1 videos get no labels' in said.err
    assert 'labels of 4 images' in said.out
    content = json.loads((tmp_path / 'out/detections.json').read_text())
    content['images'] = [image for image in content['images'] if image['file_name'] != 'clip.avi']
    ids = {image['id'] for image in content['images']}
    content['annotations'] = [record for record in content['annotations'] if record['image_id'] in ids]
    expected = boxes_of(content)
    assert sum(map(len, expected.values())) > 4
    expected['more_d'] = expected.pop('d')
    assert_same(read(tmp_path / f'out/labels_{kind}'), expected)
    assert {file: file.read_bytes() for file in folder.rglob('*.*')} == before
    assert run(*words) == 1
    assert 'a person corrected' in capsys.readouterr().err


def test_uncertain_images_are_named_as_the_labels_are(folder, exported, tmp_path, capsys):
    words = [exported / 'detector.xml', folder, '--threshold', 0.01, '--uncertain', 3, '--out']
    assert run(*words, tmp_path / 'out') == 0
    lines = (tmp_path / 'out/uncertain.txt').read_text().splitlines()
    assert len(lines) == 3
    assert {line.partition('\t')[0] for line in lines} < {'a.png', 'b.jpg', 'c.bmp', 'more/d.PNG'}
    assert '\n'.join(lines) in capsys.readouterr().out
    assert (tmp_path / 'out/uncertain.png').is_file()
    assert run(*words, tmp_path / 'labelled', '--format', 'voc') == 0
    for line in (tmp_path / 'labelled/uncertain.txt').read_text().splitlines():
        assert (tmp_path / 'labelled' / line.partition('\t')[0]).is_file()
    assert run(*words[:-2], 0, '--out', tmp_path / 'out') == 1
    assert '--uncertain 0: expected a number of images' in capsys.readouterr().err


@pytest.mark.parametrize('threshold', ['-0.1', '5', 'nan'])
def test_thresholds_are_scores(threshold, folder, exported, tmp_path, capsys):
    assert run(exported / 'detector.xml', folder, '--out', tmp_path / 'out', '--threshold', threshold) == 1
    assert 'expected a number from 0 to 1' in capsys.readouterr().err


def test_what_was_found_before_an_interrupt_is_kept(folder, exported, tmp_path, monkeypatch, capsys):
    real, calls = CocoFile.add, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt  # as Ctrl-C, in the main thread, while others are in the network
        return real(*arguments)
    monkeypatch.setattr(CocoFile, 'add', interrupted)
    assert run(exported / 'detector.xml', folder, '--out', tmp_path / 'out') == 130
    assert 'the results of 2 images are in' in capsys.readouterr().err
    assert len(json.loads((tmp_path / 'out/detections.json').read_text())['images']) == 2
    assert cv2.imread(str(tmp_path / 'out/a.png')) is not None


def test_nothing_of_the_stack_is_imported(folder, exported, tmp_path):
    """Where it is hidden, an exported file runs all the same."""
    code = f'''
import importlib.util as u, sys
real = u.find_spec
u.find_spec = lambda name, *a: None if name == "mmdet" else real(name, *a)
from ghostdet import Detector
assert len(Detector({str(exported / "detector.xml")!r})({str(folder / "a.png")!r}, 0)) == 100
assert not {{'torch', 'mmcv', 'mmengine', 'mmdet', 'matplotlib'}} & set(sys.modules), sorted(sys.modules)
'''
    made_by(sys.executable, '-c', code)


def test_sigterm_keeps_what_was_found(shapes, exported, tmp_path):
    many = tmp_path / 'many'
    many.mkdir()
    for index in range(3000):
        (many / f'{index}.png').symlink_to(files(shapes)[index % 4])
    arguments = [sys.executable, '-m', 'ghostdet', 'predict', exported / 'detector.xml', many, '--out',
                 tmp_path / 'out']
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        while not len(list((tmp_path / 'out').glob('*.png'))) > 5:
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        error = process.stderr.read()
    assert process.returncode == 130
    assert 'interrupted; the results of' in error
    count = len(json.loads((tmp_path / 'out/detections.json').read_text())['images'])
    assert 5 < count < 3000
    assert len(list((tmp_path / 'out').glob('*.png'))) >= count - 1


@pytest.mark.nightly
@pytest.mark.network
def test_empty_environment_with_the_runtime_alone(folder, exported, tmp_path):
    """On a machine without PyTorch: pip install ".[runtime]", and a folder with one bad image."""
    (folder / 'cut.png').write_bytes((folder / 'a.png').read_bytes()[:300])
    venv.create(tmp_path / 'venv', with_pip=True)
    python = tmp_path / 'venv/bin/python'
    copy_of_project(tmp_path / 'source')
    made_by(python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', f'{tmp_path}/source[runtime]')
    packages = made_by(python, '-m', 'pip', 'list', '--format=freeze').lower()
    assert 'openvino' in packages
    assert not [line for line in packages.splitlines()
                if line.startswith(('torch', 'mmcv', 'onedl', 'mmdet', 'mmengine'))]
    for model in ('detector.xml', 'detector.onnx'):
        result = subprocess.run([python, '-m', 'ghostdet', 'predict', exported / model, folder, '--out',
                                 tmp_path / model, '--threshold', '0.01'], capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == 1, result.stderr
        assert 'cut.png cannot be read' in result.stderr
        assert '4 images' in result.stdout
        assert run(exported / model, folder, '--out', tmp_path / 'here', '--threshold', 0.01) == 1
        there, here = (json.loads((path / 'detections.json').read_text())
                       for path in (tmp_path / model, tmp_path / 'here'))
        assert there['images'] == here['images']
        assert len(there['annotations']) == pytest.approx(len(here['annotations']), abs=2) != 0
    command = [python, '-m', 'ghostdet', 'predict', tmp_path / 'a.pth', folder, '--out', tmp_path / 'never']
    result = subprocess.run(command, capture_output=True, text=True)
    assert 'there is no checkpoint or exported file' in result.stderr
    (tmp_path / 'a.pth').write_bytes(b'a checkpoint')
    result = subprocess.run(command, capture_output=True, text=True)
    assert 'is a checkpoint and needs the training stack' in result.stderr
