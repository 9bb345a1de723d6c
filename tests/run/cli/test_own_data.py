"""Data sets in other layouts and with odd records, through `ghostdet train`, `test` and `data`."""
import json
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ghostdet import Detector
from ghostdet.cli import door
from ghostdet.data.tiled import usual_tile
from ghostdet.deploy.exporter import manifest_of
from ghostdet.errors import UserError
from ghostdet.training.trained_detector import read_detector
from tests.conftest import MINI, SHORT, run_tool, tool


def read(file):
    return json.loads(Path(file).read_text())


def boxes(content):
    """Class and corners of each box, by file name, whatever the ids are."""
    names = {category['id']: category['name'] for category in content['categories']}
    files = {image['id']: Path(image['file_name']).name for image in content['images']}
    return Counter((files[box['image_id']], names[box['category_id']], *(round(value, 2) for value in box['bbox']))
                   for box in content['annotations'])


@pytest.fixture
def yolo(shapes, tmp_path):
    """The shapes as YOLO has them; pictures of train and val have other names."""
    root = tmp_path / 'yolo'
    names = [category['name'] for category in read(shapes / 'annotations/instances_train2017.json')['categories']]
    for split in ('train', 'val'):
        content = read(shapes / f'annotations/instances_{split}2017.json')
        for folder in ('images', 'labels'):
            (root / folder / split).mkdir(parents=True)
        for image in content['images']:
            shutil.copy(shapes / f'{split}2017' / image['file_name'], root / f'images/{split}')
            lines = []
            for box in content['annotations']:
                if box['image_id'] == image['id']:
                    x, y, width, height = box['bbox']
                    sides = image['width'], image['height']
                    numbers = ((x + width / 2) / sides[0], (y + height / 2) / sides[1],
                               width / sides[0], height / sides[1])
                    lines.append(f'{box["category_id"] - 1} ' + ' '.join(f'{number:.8f}' for number in numbers))
            (root / f'labels/{split}' / image['file_name']).with_suffix('.txt').write_text('\n'.join(lines))
    (root / 'data.yaml').write_text(f'names: {names}\ntrain: images/train\nval: images/val\n')
    return root


@pytest.fixture
def odd_ids(shapes, tmp_path):
    """The shapes with ids of all types."""
    root = tmp_path / 'odd'
    shutil.copytree(shapes, root)
    for split in ('train', 'val'):
        file = root / f'annotations/instances_{split}2017.json'
        content = read(file)
        new = {image['id']: [f'name-{index}', 10 ** 12 + index, -index, index + 0.0][index % 4]
               for index, image in enumerate(content['images'], 1)}
        for image in content['images']:
            image['id'] = new[image['id']]
        for box in content['annotations']:
            box['image_id'], box['category_id'] = new[box['image_id']], str(box['category_id'])
        for category in content['categories']:
            category['id'] = str(category['id'])
        file.write_text(json.dumps(content))
    return root


def test_a_run_on_yolos_layout_trains_on_the_same_boxes(yolo, shapes, tmp_path, capsys):
    assert run_tool('train', MINI, '--data-root', yolo, '--work-dir', tmp_path / 'run') == 0
    assert f'{yolo} is in the layout YOLO' in capsys.readouterr().err
    for split in ('train', 'val'):
        used = read(tmp_path / f'run/data/{split}.json')
        assert boxes(used) == boxes(read(shapes / f'annotations/instances_{split}2017.json'))
    assert read(tmp_path / 'run/coco.json')['metrics']['AP'] >= 0


def test_ids_of_all_types_are_evaluated_and_come_back(odd_ids, shapes, trained, tmp_path, capsys):
    arguments = MINI, trained / 'epoch_2.pth', '--data-root', odd_ids, '--work-dir', tmp_path / 'run'
    assert run_tool('test', *arguments) == 0
    assert 'images are renumbered' in capsys.readouterr().err
    truth = read(odd_ids / 'annotations/instances_val2017.json')
    result = read(tmp_path / 'run/original_ids.bbox.json')
    assert len(result) > 10
    assert {box['image_id'] for box in result} <= {image['id'] for image in truth['images']}
    assert {box['category_id'] for box in result} <= {category['id'] for category in truth['categories']}
    assert run_tool('test', MINI, trained / 'epoch_2.pth', '--data-root', shapes, '--work-dir', tmp_path / 'run') == 0
    assert not (tmp_path / 'run/original_ids.bbox.json').exists()
    changes = [change['what'] for change in read(tmp_path / 'run/data/val_left_out.json')['notes']]
    assert sum('are renumbered' in change for change in changes) == 2


def test_a_val_split_is_cut_off_and_found_again_by_a_test(yolo, tmp_path):
    twins = [yolo / f'images/train/00000{number}.png' for number in (1, 2)]
    shutil.copy(*twins)  # of one picture, neither training nor evaluation has both
    arguments = '--data-root', yolo, '--val-fraction', '0.25'
    assert run_tool('train', MINI, *arguments, '--work-dir', tmp_path / 'run') == 0
    assert run_tool('test', MINI, tmp_path / 'run/epoch_1.pth', *arguments, '--work-dir', tmp_path / 'test') == 0
    files = [{image['file_name'] for image in read(tmp_path / f'{part}/data/{split}.json')['images']}
             for part, split in (('run', 'train'), ('run', 'val'), ('test', 'val'))]
    assert not files[0] & files[1]
    assert any({f'images/train/{twin.name}' for twin in twins} <= side for side in files[:2])
    assert len(files[0] | files[1]) == 8
    assert files[1] == files[2]


@pytest.mark.parametrize(('flags', 'message'), [
    (['--val-split', 'train', '--train-split', 'train'], 'cannot be for training and for validation'),
    (['--val-fraction', '0.2', '--val-split', 'val'], '--val-fraction cuts the val split off the train split'),
    (['--val-fraction', '2'], 'expected a number between 0 and 1'),
    (['--train-split', 'trian'], "has no split 'trian'"),
    (['--train-split', 'val', '--train-ann', 'x.json'], '--train-split and --val-split choose splits of --data-root')])
def test_flags_that_contradict_each_other(flags, message, yolo, tmp_path, capsys):
    assert run_tool('train', MINI, '--data-root', yolo, '--work-dir', tmp_path / 'run', *flags) == 1
    assert message in capsys.readouterr().err


def test_data_checks_draws_and_copies(yolo, shapes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert door.run(tool('data'), [str(yolo), '--out', 'copy']) == 0
    shown = capsys.readouterr().out
    assert 'train: 8 images (' in shown
    assert 'class' in shown
    for split in ('train', 'val'):
        with Image.open(f'work_dirs/data/{split}.png') as picture:
            assert min(picture.size) > 300
        copied = read(f'copy/annotations/instances_{split}2017.json')
        assert boxes(copied) == boxes(read(shapes / f'annotations/instances_{split}2017.json'))
        assert all(Path(f'copy/{split}2017', image['file_name']).is_file() for image in copied['images'])
    assert door.run(tool('data'), [str(yolo), '--out', 'copy']) == 1
    assert 'expected a folder that is empty' in capsys.readouterr().err


def test_a_run_on_tiles_trains_on_all_that_have_a_box(yolo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert door.run(tool('data'), [str(yolo), '--tiles', '48', '--tile-overlap', '16', '--out', 'tiles']) == 0
    content = read('tiles/annotations/instances_train2017.json')
    assert {(image['width'], image['height']) for image in content['images']} == {(48, 48)}
    assert run_tool('train', MINI, '--data-root', 'tiles', '--work-dir', 'run') == 0
    assert f'train2017.json: {len(content["images"])} images' in capsys.readouterr().err
    assert Detector('run/epoch_1.pth').engine.tile == usual_tile(content)
    assert usual_tile(content)[0] == 48


def test_data_cuts_and_names_what_is_twice(yolo, shapes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert door.run(tool('data'), [str(yolo), '--val-fraction', '0.25', '--out', 'copy']) == 0
    parts = [read(f'copy/annotations/instances_{split}2017.json') for split in ('train', 'val')]
    assert sum(map(boxes, parts), Counter()) == boxes(read(shapes / 'annotations/instances_train2017.json'))
    assert len(parts[1]['images']) in (2, 3)
    assert all('so the AP is too high' not in (tmp_path / f'work_dirs/data/{part}.txt').read_text()
               for part in ('train', 'val'))
    shutil.copy(yolo / 'images/train/000003.png', yolo / 'images/val/000002.png')
    assert door.run(tool('data'), [str(yolo)]) == 0
    assert 'so the AP is too high: 1 (images/train/000003.png = images/val/000002.png)' in capsys.readouterr().out


def rates(folder):
    """Learning rate of each step in a run's logs."""
    logs = sorted(folder.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return [line['lr'] for line in lines if 'lr' in line]


def test_a_long_warm_up_is_cut_to_a_fifth_of_the_run(shapes, tmp_path, capfd):
    """The mini recipe warms up for 80 steps, and this run has 20."""
    arguments = 'train', MINI, '--data-root', shapes, '--work-dir', tmp_path
    assert run_tool(*arguments, epochs=10, options=['train_cfg.val_interval=10']) == 0
    assert 'warm-up of 80 iterations -> 4: the run has only 20' in capfd.readouterr().err
    result = rates(tmp_path)
    assert result[0] < result[3]
    assert max(result) == pytest.approx(3e-3 * 4 / 16, rel=0.1)


def test_a_resumed_run_has_the_rate_that_it_prints(shapes, tmp_path, capfd):
    fixed = ['param_scheduler=None', 'train_cfg.val_interval=10']
    arguments = 'train', MINI, '--data-root', shapes, '--work-dir', tmp_path
    assert run_tool(*arguments, epochs=1, options=fixed) == 0
    assert rates(tmp_path) == pytest.approx([3e-3 * 4 / 16] * 2)
    options = [*fixed, 'train_dataloader.batch_size=2', 'optim_wrapper.optimizer.weight_decay=0.5']
    assert run_tool(*arguments, '--resume', epochs=2, options=options) == 0
    assert rates(tmp_path)[2:] == pytest.approx([3e-3 * 2 / 16] * 4)
    shown = capfd.readouterr().err
    assert ('the run is now 2 epochs long in place of 1; the schedule begins with a learning rate of 0.000375 in place '
            'of 0.00075: learning rate 0.00075 so far -> 0.000375 now, 0.000375 at the end\n') in shown
    assert 'so these settings have no effect: optim_wrapper.optimizer.weight_decay\n' in shown
    assert "other settings that differ from the checkpoint's run: train_dataloader.batch_size\n" in shown


def test_a_longer_run_has_the_rates_of_an_undisturbed_one(trained, shapes, tmp_path, capfd):
    """And the same command again changes and says nothing."""
    arguments = 'train', MINI, '--data-root', shapes, '--work-dir', tmp_path, '--resume'
    assert run_tool(*arguments, epochs=1) == 0
    capfd.readouterr()
    assert run_tool(*arguments, epochs=2) == 0
    result = rates(trained)
    assert rates(tmp_path)[2:] == pytest.approx(result[2:], rel=1e-12)
    assert result[3] < result[2] / 2
    shown = capfd.readouterr().err
    assert 'the run is now 2 epochs long in place of 1: learning rate ' in shown
    assert f'so far -> {result[2]:.3g} now, ' in shown
    assert run_tool(*arguments, epochs=2) == 0
    shown = capfd.readouterr().err
    assert f'continuing from {tmp_path}/epoch_2.pth' in shown
    for words in ('in place of', 'no effect', 'differ from', 'stretched'):
        assert words not in shown


@pytest.mark.parametrize('keep', [False, True])
def test_images_without_boxes_are_counted_and_kept_on_request(keep, shapes, tmp_path, capsys):
    root = tmp_path / 'data'
    shutil.copytree(shapes, root)
    file = root / 'annotations/instances_train2017.json'
    content = read(file)
    used = sorted({box['image_id'] for box in content['annotations']})[:4]
    content['annotations'] = [box for box in content['annotations'] if box['image_id'] in used]
    file.write_text(json.dumps(content))
    assert run_tool('train', MINI, '--data-root', root, '--work-dir', tmp_path / 'run', *['--keep-empty'] * keep) == 0
    told = 'on which the run trains' if keep else 'which the run leaves out (--keep-empty trains on them)'
    assert f'images without a box, {told}: 4 (' in capsys.readouterr().err
    assert len(rates(tmp_path / 'run')) == (2 if keep else 1)


def test_what_the_run_makes_of_its_data_is_told_and_written(shapes, tmp_path, capsys):
    """A batch larger than the set, boxes that are too small at the config's scale, and a picture of the images."""
    small = ['train_dataloader.dataset.pipeline.2.scale=(12,12)', 'val_dataloader.dataset.pipeline.1.scale=(12,12)']
    options = [*small, 'train_dataloader.batch_size=50', 'train_cfg.val_interval=10']
    assert run_tool('train', MINI, '--data-root', shapes, '--work-dir', tmp_path, options=options, pictures=True) == 0
    told = capsys.readouterr().err
    assert 'a batch of 50 images is larger than the set, so it is now: 8\n' in told
    assert len(rates(tmp_path)) == 1
    assert "100% of the boxes are smaller than 16 pixels at the config's scale of 12x12. A detector misses " in told
    written = (tmp_path / 'data/train.txt').read_text()
    for line in ('a batch of 50 images is larger', 'classes with fewer than 10 boxes'):
        assert line in told
        assert line in written
    for split in ('train', 'val'):
        with Image.open(tmp_path / f'data/{split}.png') as picture:
            assert min(picture.size) > 300


def test_images_in_both_splits_are_told(shapes, tmp_path, capsys):
    root = tmp_path / 'data'
    shutil.copytree(shapes, root)
    shutil.copy(root / 'train2017/000003.png', root / 'val2017/000002.png')
    assert run_tool('train', MINI, '--data-root', root, '--work-dir', tmp_path / 'run') == 0
    told = capsys.readouterr().err
    assert 'images that are in the train split, too, so the AP is too high: 1 (' in told
    assert '000003.png = 000002.png' in told


def test_a_split_without_annotations_gives_detections_for_a_server(shapes, trained, exported, tmp_path, capsys):
    root = tmp_path / 'data'
    shutil.copytree(shapes, root)
    content = read(root / 'annotations/instances_val2017.json')
    content.pop('annotations')
    for image in content['images']:
        image['id'] = f'test-{image["id"]}'
    (root / 'annotations/image_info_test-dev2017.json').write_text(json.dumps(content))
    (root / 'val2017').rename(root / 'test2017')
    result = []
    for name, model in (('a', trained / 'epoch_2.pth'), ('b', exported / 'detector.onnx')):
        arguments = MINI, model, '--data-root', root, '--val-split', 'test-dev2017', '--work-dir', tmp_path / name
        short = [option for option in SHORT if 'model' not in option or name == 'a']
        assert run_tool('test', *arguments, short=short, pictures=True) == 0
        assert f'COCO\'s server takes: {tmp_path / name}/detections.bbox.json' in capsys.readouterr().out
        result.append(read(tmp_path / name / 'detections.bbox.json'))
        assert not (tmp_path / name / 'coco.txt').exists()
        assert (tmp_path / name / 'detections.png').stat().st_size > 1000
        assert {box['image_id'] for box in result[-1]} <= {image['id'] for image in content['images']}
        assert result[-1][0].keys() == {'image_id', 'bbox', 'score', 'category_id'}
    assert len(result[0]) == len(result[1]) > 10
    assert run_tool('train', MINI, '--data-root', root, '--val-split', 'test-dev2017', '--work-dir',
                    tmp_path / 'c') == 1
    assert 'has no annotations' in capsys.readouterr().err


def test_score_is_what_test_prints(trained, shapes, capsys):
    truth, result = shapes / 'annotations/instances_val2017.json', trained / 'detections.bbox.json'
    assert door.run(tool('score'), [str(truth), str(result)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith((trained / 'coco.txt').read_text().rstrip())
    point = json.loads((trained / 'threshold.json').read_text())
    assert f'threshold {point["threshold"]:g} (best F1): precision {point["all"]["precision"]:.3f}' in printed
    wanted = ['--recall-at-least', str(point['all']['recall'])]
    assert door.run(tool('score'), [str(truth), str(result), *wanted]) == 0
    assert f'(recall at least {point["all"]["recall"]:g})' in capsys.readouterr().out
    assert door.run(tool('score'), [str(truth), str(result), '--precision-at-least', '1.5']) == 1
    assert 'expected a number from 0 to 1' in capsys.readouterr().err


@pytest.mark.parametrize('content',
                         ['{', '{}', '[1]', '[{"image_id": 99, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]'])
def test_what_cannot_be_scored_is_refused(content, shapes, tmp_path, capsys):
    (tmp_path / 'found.json').write_text(content)
    arguments = [str(shapes / 'annotations/instances_val2017.json'), str(tmp_path / 'found.json')]
    assert door.run(tool('score'), arguments) == 1
    assert f'error: {tmp_path}/found.json cannot be scored against' in capsys.readouterr().err


@pytest.mark.nightly
def test_schedules_are_rescaled_too(shapes, tmp_path):
    arguments = 'train', MINI, '--data-root', shapes, '--work-dir'
    end = ['train_cfg.val_interval=10']
    small = [*end, 'train_dataloader.batch_size=2']
    assert run_tool(*arguments, tmp_path / 'a', epochs=4, options=end) == 0
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    assert run_tool(*arguments, tmp_path / 'a', '--resume', epochs=8, options=end) == 0
    assert run_tool(*arguments, tmp_path / 'b', '--resume', epochs=8, options=small) == 0
    assert rates(tmp_path / 'b')[8] == pytest.approx(rates(tmp_path / 'a')[8] / 2, rel=0.2)


@pytest.mark.nightly
def test_pixels_as_they_lie_in_the_file(shapes, tmp_path, capsys):
    """Boxes drawn by a program that ignores EXIF: the run, the checkpoint and the exported file follow."""
    root, exif = tmp_path / 'data', Image.Exif()
    shutil.copytree(shapes, root)
    exif[0x0112] = 3
    for file in root.glob('*2017/*.png'):
        with Image.open(file) as image:
            image.save(file, exif=exif)
    arguments = '--data-root', root, '--work-dir'
    assert run_tool('train', MINI, *arguments, tmp_path / 'a') == 0
    assert 'turned by 180 degrees, mirrored' in capsys.readouterr().err
    assert run_tool('train', MINI, *arguments, tmp_path / 'b', '--ignore-orientation') == 0
    assert run_tool('train', MINI, '--data-root', shapes, '--work-dir', tmp_path / 'c') == 0
    losses = [(tmp_path / run / 'coco.json').read_text() for run in 'abc']
    assert losses[1] == losses[2] != losses[0]
    detectors = [Detector(tmp_path / run / 'epoch_1.pth') for run in 'abc']
    picture = next((root / 'val2017').glob('*.png'))
    boxes = [detector(picture, 0).boxes.tolist() for detector in detectors]
    assert boxes[1] == detectors[2](np.asarray(Image.open(picture)), 0).boxes.tolist()
    forced = Detector(tmp_path / 'c/epoch_1.pth', ignore_orientation=True)
    assert boxes[1] == forced(picture, 0).boxes.tolist() != boxes[2]
    assert not Detector(tmp_path / 'b/epoch_1.pth', config=MINI).engine.upright  # the checkpoint still knows
    trained = read_detector(str(tmp_path / 'b/epoch_1.pth'), str(MINI))
    assert not manifest_of(trained, None, '').upright
    assert run_tool('test', MINI, tmp_path / 'b/epoch_1.pth', *arguments, tmp_path / 'd') == 1
    assert 'add --ignore-orientation' in capsys.readouterr().err
    assert run_tool('test', MINI, tmp_path / 'b/epoch_1.pth', *arguments, tmp_path / 'd', '--ignore-orientation') == 0
    assert (tmp_path / 'd/coco.json').read_text() == losses[1]


def test_images_of_12_bits_have_one_depth(shapes, tmp_path, capsys):
    """A run on 12 bits in 16, dark frames among them, is the run on the same frames in 8 bits; its checkpoint knows."""
    for split in ('train', 'val'):
        for folder in ('flat', 'deep'):
            shutil.copytree(shapes / 'annotations', tmp_path / folder / 'annotations', dirs_exist_ok=True)
            (tmp_path / folder / f'{split}2017').mkdir()
        for number, file in enumerate(sorted((shapes / f'{split}2017').glob('*.png'))):
            pixels = cv2.imread(str(file)) // (8 if number % 2 else 1)
            cv2.imwrite(str(tmp_path / f'flat/{split}2017' / file.name), pixels)
            cv2.imwrite(str(tmp_path / f'deep/{split}2017' / file.name), pixels.astype(np.uint16) * 16)
    dark, run = f'val2017/{file.name}', tmp_path / 'deep_run'
    for folder in ('flat', 'deep'):
        assert run_tool('train', MINI, '--data-root', tmp_path / folder, '--work-dir', tmp_path / f'{folder}_run') == 0
        assert ('more than 8 bits: they use 12 bits' in capsys.readouterr().err) == (folder == 'deep')
    assert (run / 'coco.json').read_text() == (tmp_path / 'flat_run/coco.json').read_text()
    wanted = Detector(tmp_path / 'flat_run/epoch_1.pth')(tmp_path / 'flat' / dark, 0).boxes.tolist()
    detector, array = Detector(run / 'epoch_1.pth'), cv2.imread(str(tmp_path / 'deep' / dark), cv2.IMREAD_UNCHANGED)
    found = [detector(image, 0).boxes.tolist() for image in (tmp_path / 'deep' / dark, array[:, :, ::-1])]
    assert found == [wanted] * 2 != [[], []]
    assert Detector(run / 'epoch_1.pth', config=MINI).engine.bits == 12  # the checkpoint still knows
    assert manifest_of(read_detector(str(run / 'epoch_1.pth')), None, '').bits == 12
    tile = usual_tile(read(shapes / 'annotations/instances_train2017.json'))
    assert tile == (64, 32)  # half of a picture: the shapes are large
    assert [Detector(run / 'epoch_1.pth', config=named).engine.tile for named in (None, MINI)] == [tile, tile]
    assert manifest_of(read_detector(str(run / 'epoch_1.pth')), None, '').tile == tile
    arguments = '--data-root', tmp_path / 'deep', '--work-dir', tmp_path / 'test'
    assert run_tool('test', MINI, run / 'epoch_1.pth', *arguments) == 0
    assert (tmp_path / 'test/coco.json').read_text() == (run / 'coco.json').read_text()
    capsys.readouterr()
    assert run_tool('test', MINI, run / 'epoch_1.pth', *arguments, '--bits', 17) == 1
    assert '--bits 17: expected a number from 8 to 16' in capsys.readouterr().err
    with pytest.raises(UserError, match=r'bits.17: expected a number from 8 to 16'):
        Detector(run / 'epoch_1.pth', bits=17)


def test_an_exported_file_takes_arrays_of_12_bits_and_has_the_tile_of_its_checkpoint(exported, shapes):
    detector = Detector(exported / 'detector.onnx', bits=12)
    assert detector.engine.tile == usual_tile(read(shapes / 'annotations/instances_train2017.json'))
    flat = np.random.default_rng(0).integers(0, 30, (64, 64, 3), np.uint8)
    assert detector(flat.astype(np.uint16) * 16, 0).boxes.tolist() == detector(flat, 0).boxes.tolist()
    bright = [detector(np.full((64, 64), value, np.uint16), 0).boxes.tolist() for value in (4095, 5000)]
    assert bright[0] == bright[1]
