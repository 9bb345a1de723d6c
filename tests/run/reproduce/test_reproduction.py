"""Six trainings in a row that are killed, stopped and fail, with a stand-in for the training tool."""
import json
import random
from collections import Counter
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import torch

from ghostdet.errors import UserError
from ghostdet.reproduce import reproduction
from ghostdet.reproduce.reproduction import REHEARSAL, STEP, Reproduction, Settings
from ghostdet.reproduce.table9 import CELLS
from ghostdet.training.config_file import read_config
from ghostdet.training.counting import DetectorComplexity, ImageNetCount, measure_config
from tests.conftest import ROOT, nightly
from tests.processes import CONTEXT, wait_for

EPOCHS = 4

TRAINER = [str(ROOT / 'tests/fake_trainer.py')]


@pytest.fixture(autouse=True)
def only_what_is_tested_here(monkeypatch):
    monkeypatch.setattr(reproduction, 'measure_config', counted)
    monkeypatch.setattr(reproduction, 'read_config',
                        lambda file, options: deepcopy(as_read(file, tuple(sorted(options.items())))))
    monkeypatch.setattr(reproduction, 'draw_table9', lambda table, out: None)


@cache
def as_read(file, options):
    """Each config once: most of a start's time goes into reading all six."""
    return read_config(file, dict(options))


def counted(cfg, file):
    return DetectorComplexity(Path(file).stem, {}, (1, 1), (1, 1), 1, None, ImageNetCount())


def settings(data, *options, **changes):
    chosen = dict(mini=True, data_root=data, gpus=0, images_per_gpu=None, seed=0, cfg_options=list(options))
    return Settings.chosen(**{**chosen, **changes})


def start(work_dir, data, *options, words=CELLS):
    return Reproduction(work_dir, settings(data, *options), TRAINER).run(list(words))


def in_a_process(work_dir, data):
    reproduction.measure_config, reproduction.draw_table9 = counted, lambda table, out: None
    start(work_dir, data)


@pytest.mark.parametrize('mini', [True, *nightly(False)])
def test_the_family_joins_on_request_and_has_no_figures_of_the_paper(mini, shapes, tmp_path):
    chosen = Reproduction(tmp_path, Settings(mini, str(shapes), 0, 2, 8, 0, []), TRAINER, family=True)
    added = [name for name in chosen.files if name not in CELLS]
    assert added[:3] == ['retinanet_repghostnet_1.11x', 'retinanet_ghostnetv2_1.0x', 'retinanet_ghostnetv3_1.0x']
    assert len(added) == (3 if mini else 6)
    table = chosen.write_table().to_text()
    row = next(line for line in table.splitlines() if 'RepGhostNet 1.11x' in line)
    assert 'not run' in row
    assert '26.6' not in row


def diary(work_dir):
    """What the trainings did: (process, cell, what)."""
    file = work_dir / 'diary'
    return [tuple(line.split(' ', 2)) for line in file.read_text().splitlines()] if file.exists() else []


def kill_after(lines, seconds, work_dir, data):
    """Kill a run some seconds after the diary has so many more lines; on a busy machine it may have ended by then."""
    goal = len(diary(work_dir)) + lines
    process = CONTEXT.Process(target=in_a_process, args=(work_dir, data))
    process.start()
    wait_for(lambda: len(diary(work_dir)) >= goal or process.exitcode == 0, process)
    process.join(seconds)
    process.kill()
    process.join()


def test_all_cells_are_trained_in_order_and_the_table_has_what_they_left(tmp_path, shapes):
    table = start(tmp_path, shapes)
    assert [cell for _, cell, what in diary(tmp_path) if what == 'ends'] == list(CELLS)
    written = json.loads((tmp_path / 'table9.json').read_text())
    for cell, entry in zip(table.cells, written['cells']):
        assert cell.ap == entry['result']['metrics']['AP'] == 0.25
        assert cell.paper_ap is None  # a rehearsal has no counterpart in the paper, whatever its configs expect
        assert cell.result.ap_by_epoch == [(1, 0.01), (2, 0.02), (3, 0.03), (4, 0.04)]
        assert cell.result.hours == pytest.approx(0.5 * 40 / 3600)
        assert cell.result.images_per_second == STEP / 0.5
        assert cell.result.made['seed'] == 0
        assert cell.result.made['torch'] == torch.__version__.split('+')[0]
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == set(CELLS)


def test_started_again_nothing_is_trained(tmp_path, shapes):
    first = start(tmp_path, shapes)
    before = diary(tmp_path)
    assert start(tmp_path, shapes) == first
    assert diary(tmp_path) == before


@pytest.mark.parametrize('kills', [3, *nightly(10)])
def test_killed_at_random_moments_it_ends_with_a_whole_table_and_trains_no_finished_cell_again(kills, tmp_path, shapes):
    moments, finished = random.Random(3), {}
    for _ in range(kills):
        kill_after(moments.randint(1, 4), moments.uniform(0, 0.2), tmp_path, shapes)
        for file in tmp_path.glob('*/result.json'):
            assert set(json.loads(file.read_text())) >= {'metrics', 'made'}
            finished.setdefault(file, (file.stat().st_mtime_ns, len(diary(tmp_path))))
    table = start(tmp_path, shapes)
    assert all(cell.result for cell in table.cells)
    assert all(f'| {cell.ap * 100:.1f} |' in (tmp_path / 'table9.md').read_text() for cell in table.cells)
    entries = diary(tmp_path)
    done = Counter((cell, what) for _, cell, what in entries if what.startswith('epoch'))
    assert set(done) == {(cell, f'epoch {epoch}') for cell in CELLS for epoch in range(1, EPOCHS + 1)}
    assert len({process for process, _, _ in entries}) > len(CELLS), 'no kill hit a training'
    assert finished, 'no kill came after a cell was finished'
    for file, (written, line) in finished.items():
        assert file.stat().st_mtime_ns == written
        assert file.parent.name not in {cell for _, cell, _ in entries[line:]}, 'it was trained again'


def test_a_training_that_fails_does_not_keep_the_others_from_running(tmp_path, shapes, capfd):
    with pytest.raises(UserError,
                       match=r'1 of 6 training runs failed: retinanet_mobilenetv3_1\.0x\. .*the same command again'):
        start(tmp_path, shapes, 'fail=retinanet_mobilenetv3_1.0x')
    assert 'this one fails' in capfd.readouterr().err
    assert [what for _, _, what in diary(tmp_path)].count('ends') == 5
    assert (tmp_path / 'table9.md').read_text().count('not run') == 1


def test_what_cannot_run_is_found_before_hours_are_spent(tmp_path, shapes, capfd):
    with pytest.raises(UserError, match='first steps failed with exit code 1'):
        start(tmp_path, shapes, 'fail=faster-rcnn_ghostnet_1.1x_mini')
    assert not (tmp_path / 'diary').exists()


def test_only_some(tmp_path, shapes):
    table = start(tmp_path, shapes, words=['retinanet_ghostnet', 'faster-rcnn_mobilenetv2'])
    finished = [cell.name for cell in table.cells if cell.result]
    assert finished == ['retinanet_ghostnet_1.1x', 'faster-rcnn_mobilenetv2_1.0x']
    assert (tmp_path / 'table9.md').read_text().count('not run') == 4
    with pytest.raises(UserError, match="no detector has '' in"):
        start(tmp_path, shapes, words=[''])
    with pytest.raises(UserError, match='no detector has resnet in its name; the names are retinanet_mobilenetv2'):
        start(tmp_path, shapes, words=['resnet'])


def test_other_settings_are_refused(tmp_path, shapes):
    start(tmp_path, shapes, words=['retinanet_ghostnet'])
    with pytest.raises(UserError, match='seed was 0 and is 1'):
        Reproduction(tmp_path, settings(shapes, seed=1), TRAINER).run(list(CELLS))


def test_where_nothing_was_trained_yet_settings_may_change(tmp_path, shapes, capfd):
    for seed in (0, 1, 1):
        Reproduction(tmp_path, settings(shapes, seed=seed), TRAINER).run(['retinanet_ghostnet'], True)
    assert capfd.readouterr().err.count('measuring the speed of this machine') == 2


@pytest.mark.parametrize('name', ['reproduction.json', 'retinanet_ghostnet_1.1x/result.json'])
@pytest.mark.parametrize('content', ['', '{}', '[1, 2]', '{"settings": '])
def test_a_file_that_was_spoilt_is_named(name, content, tmp_path, shapes):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    with pytest.raises(UserError, match=f'{file} is damaged .*: delete it'):
        start(tmp_path, shapes, words=['retinanet_ghostnet'])


def test_a_wrong_folder_is_not_remembered(tmp_path, shapes):
    with pytest.raises(UserError, match='does not exist'):
        start(tmp_path, tmp_path / 'nowhere', words=['retinanet_ghostnet'])
    assert start(tmp_path, shapes, words=['retinanet_ghostnet']).cells[2].result


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(mini=False, data_root=None), 'name the folder of COCO'),
    (dict(gpus=999), '--gpus 999: expected 0 to'),
    (dict(gpus=-1), '--gpus -1'),
    (dict(seed=-1), '--seed -1: expected a seed from 0'),
    (dict(images_per_gpu=0), '1 x 0 does not divide'),
    (dict(cfg_options=['randomness.seed=3']), 'use --gpus, --images-per-gpu and --seed for this'),
    (dict(cfg_options=['a=1', 'b']), '--cfg-options: expected KEY=VALUE, got b'),
    (dict(images_per_gpu=5), 'a step has 16 images, and 1 x 5 does not divide 16'),
])
def test_settings_that_cannot_be(shapes, changes, message):
    with pytest.raises(UserError, match=message):
        settings(shapes, **changes)


def test_sixteen_images_a_step_whatever_the_split(shapes, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 8)
    assert settings(shapes, gpus=None).gpus == 8
    for gpus, images, accumulated in ((8, 2, 1), (4, 4, 1), (1, 16, 1), (0, 16, 1)):
        chosen = settings(shapes, gpus=gpus)
        assert (chosen.images_per_gpu, chosen.accumulated) == (images, accumulated)
    chosen = settings(shapes, 'optim_wrapper.optimizer.lr=1', gpus=2, images_per_gpu=2)
    assert chosen.options() == [*REHEARSAL, 'train_dataloader.batch_size=2', 'randomness.seed=0',
                                'optim_wrapper.accumulative_counts=4', 'optim_wrapper.optimizer.lr=1']


def test_the_warm_up_has_its_steps_whatever_is_accumulated(tmp_path, shapes, monkeypatch):
    seen = []
    monkeypatch.setattr(reproduction, 'run_job', lambda command, lock, environment: seen.append(command) or 1)
    for images in (16, 4):
        with pytest.raises(UserError, match='these first steps'):
            Reproduction(tmp_path, settings(shapes, images_per_gpu=images), TRAINER).run(list(CELLS))
    assert not any('param_scheduler' in option for option in seen[0])
    assert 'param_scheduler.0.end=320' in seen[1]  # 80, and four iterations a step


def test_other_data_than_coco_is_not_put_beside_the_paper(tmp_path, shapes):
    with pytest.raises(UserError, match="has 4 images to evaluate on, but COCO's val2017 has 5,000"):
        Reproduction(tmp_path, settings(shapes, mini=False), TRAINER).run(list(CELLS))
    assert not (tmp_path / 'diary').exists()


@pytest.mark.parametrize('option', ['expected=3', *nightly('model.bbox_head.num_classes=4')])
def test_an_option_that_only_some_can_take_is_refused_before_anything_runs(option, tmp_path, shapes, monkeypatch):
    monkeypatch.setattr(reproduction, 'measure_config', measure_config)
    with pytest.raises(UserError):
        start(tmp_path, shapes, option, words=['retinanet_ghostnet'])
    assert not (tmp_path / 'diary').exists()


def test_several_gpus_are_several_processes_with_mixed_precision(tmp_path, shapes, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 8)
    seen = []
    monkeypatch.setattr(reproduction, 'run_job', lambda command, lock, environment: seen.append(command) or 1)
    with pytest.raises(UserError, match='these first steps'):
        Reproduction(tmp_path, settings(shapes, gpus=4), TRAINER).run(list(CELLS))
    assert seen[0][1:6] == ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '4']
    assert {'--launcher', 'pytorch', '--amp', '--resume'} < set(seen[0])


@pytest.mark.nightly
def test_no_two_trainings_at_once(tmp_path, shapes):
    for _ in range(3):
        kill_after(2, 0, tmp_path, shapes)  # its training ends 0.3 s later
    start(tmp_path, shapes)
    seen = set()
    for process, group in [(entry[0], entry) for entry in diary(tmp_path)]:
        if group[2] == 'begins':
            assert process not in seen
            running = process
        assert process == running, 'an earlier training went on beside the new one'
        seen.add(process)
