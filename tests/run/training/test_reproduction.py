"""Runs in a row that are killed, stopped and fail, with a stand-in for `ghostdet train`; with the real one: run/cli."""
import json
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from ghostdet.errors import Interrupted, UserError
from ghostdet.training import reproduction
from ghostdet.training.config_file import read_config
from ghostdet.training.counting import DetectorComplexity, ImageNetCount, measure_config
from ghostdet.training.reproduction import REHEARSAL, STEP, Reproduction
from ghostdet.training.table9 import CELLS, Table9
from tests.conftest import ROOT, nightly
from tests.processes import CONTEXT, wait_for

EPOCHS = 4


@pytest.fixture(autouse=True)
def only_what_is_tested_here(monkeypatch):
    stand_in(monkeypatch.setattr)


def stand_in(put):
    """A start takes seconds to read and count six configs."""
    put(reproduction, 'TRAINER', [str(ROOT / 'tests/fake_trainer.py')])
    put(reproduction, 'read_config', lambda file, options: Config(dict(param_scheduler=[dict(end=80)])))
    put(reproduction, 'measure_config', lambda cfg,
        file: DetectorComplexity(Path(file).stem, {}, (1, 1), (1, 1), 1, None,
                                                                            ImageNetCount()))
    put(Table9, 'draw', lambda table, out: None)


def made(work_dir, data, *options, **changes):
    return Reproduction(work_dir, **{**dict(mini=True, data_root=data, gpus=0, cfg_options=options), **changes})


def start(work_dir, data, *options, words=None):
    return made(work_dir, data, *options).run(words)


def in_a_process(work_dir, data, *options):
    os.setsid()
    # a shell turns it off for what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stand_in(setattr)
    try:
        made(work_dir, data, *options).run()
    except Interrupted:
        (work_dir / 'interrupted').touch()


def diary(work_dir):
    """What the runs did: (process, cell, what)."""
    file = work_dir / 'diary'
    return [tuple(line.split(' ', 2)) for line in file.read_text().splitlines()] if file.exists() else []


def started(lines, work_dir, data, *options):
    """A run in a session of its own, after the diary has so many more lines; it may have ended by then."""
    goal = len(diary(work_dir)) + lines
    process = CONTEXT.Process(target=in_a_process, args=(work_dir, data, *options))
    process.start()
    wait_for(lambda: len(diary(work_dir)) >= goal or process.exitcode == 0, process)
    return process


def test_all_cells_are_trained_in_order_and_once_and_the_table_has_what_they_left(tmp_path, shapes):
    table = start(tmp_path, shapes)
    assert [cell for _, cell, what in diary(tmp_path) if what == 'ends'] == list(CELLS)
    written = json.loads((tmp_path / 'table9.json').read_text())
    for cell, entry in zip(table.cells, written['cells']):
        assert cell.result == entry['result']
        assert cell.result['metrics']['AP'] == 0.25
        assert cell.paper_ap is None  # a rehearsal has no counterpart in the paper, whatever its configs expect
        assert cell.result['ap_by_epoch'] == [[1, 0.01], [2, 0.02], [3, 0.03], [4, 0.04]]
        assert cell.result['hours'] == pytest.approx(0.5 * 40 / 3600)
        assert cell.result['images_per_second'] == STEP / 0.5
        assert cell.result['made']['seed'] == 0
        assert cell.result['made']['torch'] == torch.__version__.split('+')[0]
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == set(CELLS)
    before = diary(tmp_path)
    assert start(tmp_path, shapes) == table
    assert diary(tmp_path) == before


@pytest.mark.parametrize('kills', [2, *nightly(10)])
def test_killed_with_its_training_it_ends_with_a_whole_table_and_trains_nothing_twice(kills, tmp_path, shapes):
    moments, finished = random.Random(3), {}
    for _ in range(kills):
        process = started(moments.randint(2, 12), tmp_path, shapes)
        process.join(moments.uniform(0, 0.1))
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
        for file in tmp_path.glob('*/result.json'):
            assert set(json.loads(file.read_text())) >= {'metrics', 'made'}
            finished.setdefault(file, (file.stat().st_mtime_ns, len(diary(tmp_path))))
    table = start(tmp_path, shapes)
    assert all(cell.result for cell in table.cells)
    assert (tmp_path / 'table9.md').read_text().count('| 25.0 | - | 25.0 |') == 6
    entries = diary(tmp_path)
    done = Counter((cell, what) for _, cell, what in entries if what.startswith('epoch'))
    assert set(done) == {(cell, f'epoch {epoch}') for cell in CELLS for epoch in range(1, EPOCHS + 1)}
    assert len({process for process, _, _ in entries}) > len(CELLS), 'no kill hit a training'
    assert finished, 'no kill came after a cell was finished'
    for file, (written, line) in finished.items():
        assert file.stat().st_mtime_ns == written
        assert file.parent.name not in {cell for _, cell, _ in entries[line:]}, 'it was trained again'


def test_ctrl_c_waits_for_the_training_run_and_the_next_start_continues(tmp_path, shapes):
    epochs = 20  # the first cell takes a second
    process = started(2, tmp_path, shapes, f'train_cfg.max_epochs={epochs}')
    os.kill(process.pid, signal.SIGINT)
    process.join(30)
    assert (tmp_path / 'interrupted').exists()
    assert diary(tmp_path)[-1][1:] == (CELLS[0], 'stops')
    start(tmp_path, shapes, f'train_cfg.max_epochs={epochs}', words=[CELLS[0]])
    done = Counter(what for _, _, what in diary(tmp_path) if what.startswith('epoch'))
    assert done == {f'epoch {epoch}': 1 for epoch in range(1, epochs + 1)}


def test_a_second_start_waits_and_finds_nothing_to_do(tmp_path, shapes, capfd):
    process = started(1, tmp_path, shapes)
    start(tmp_path, shapes)
    process.join()
    assert 'another run uses this folder; waiting for it to end' in capfd.readouterr().err
    assert [cell for _, cell, what in diary(tmp_path) if what == 'begins'] == list(CELLS)


def test_a_training_that_fails_does_not_keep_the_others_from_running(tmp_path, shapes, capfd):
    with pytest.raises(UserError,
                       match=r'1 of 6 training runs failed: retinanet_mobilenetv3_1\.0x\. .*the same command again'):
        start(tmp_path, shapes, 'fail=retinanet_mobilenetv3_1.0x')
    assert 'this one fails' in capfd.readouterr().err
    assert [what for _, _, what in diary(tmp_path)].count('ends') == 5
    assert (tmp_path / 'table9.md').read_text().count('not run') == 1


def test_only_some(tmp_path, shapes):
    table = start(tmp_path, shapes, words=['retinanet_ghostnet', 'faster-rcnn_mobilenetv2'])
    assert [cell.name for cell in table.cells if cell.result] == ['retinanet_ghostnet_1.1x',
                                                                  'faster-rcnn_mobilenetv2_1.0x']
    assert (tmp_path / 'table9.md').read_text().count('not run') == 4
    with pytest.raises(UserError, match='no detector has resnet in its name; the names are retinanet_mobilenetv2'):
        start(tmp_path, shapes, words=['resnet'])


@pytest.mark.parametrize('mini', [True, *nightly(False)])
def test_the_family_joins_on_request_and_has_no_figures_of_the_paper(mini, shapes, tmp_path, monkeypatch):
    if not mini:
        monkeypatch.setattr(reproduction, 'read_config', read_config)
    table = made(tmp_path, shapes, mini=mini, family=True).write_table()
    added = [cell for cell in table.cells if cell.name not in CELLS]
    assert [cell.name for cell in added[:3]] == ['retinanet_repghostnet_1.11x', 'retinanet_ghostnetv2_1.0x',
                                                 'retinanet_ghostnetv3_1.0x']
    assert len(added) == (3 if mini else 6)
    assert all(cell.paper_ap is cell.paper_macs is cell.result is None for cell in added)


def test_other_settings_are_refused_once_a_cell_is_there(tmp_path, shapes):
    made(tmp_path, shapes, seed=2)._check_settings()
    start(tmp_path, shapes, words=['retinanet_ghostnet'])
    with pytest.raises(UserError, match='seed was 0 and is 1'):
        made(tmp_path, shapes, seed=1).run()


def test_a_wrong_folder_is_not_remembered(tmp_path, shapes):
    with pytest.raises(UserError, match='does not exist'):
        start(tmp_path, tmp_path / 'nowhere')
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
def test_settings_that_cannot_be(tmp_path, shapes, changes, message):
    with pytest.raises(UserError, match=message):
        made(tmp_path, shapes, **changes)


def test_sixteen_images_a_step_whatever_the_split(tmp_path, shapes, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 8)
    assert made(tmp_path, shapes, gpus=None).gpus == 8
    for gpus, images, accumulated in ((8, 2, 1), (4, 4, 1), (1, 16, 1), (0, 16, 1)):
        chosen = made(tmp_path, shapes, gpus=gpus)
        assert (chosen.images, chosen.accumulated) == (images, accumulated)
    chosen = made(tmp_path, shapes, 'optim_wrapper.optimizer.lr=1', gpus=2, images_per_gpu=2)
    assert chosen.options() == [*REHEARSAL, 'train_dataloader.batch_size=2', 'randomness.seed=0',
                                'optim_wrapper.accumulative_counts=4', 'optim_wrapper.optimizer.lr=1']


def test_the_warm_up_has_its_steps_whatever_is_accumulated(tmp_path, shapes):
    one, four = (made(tmp_path, shapes, images_per_gpu=images)._command(CELLS[0]) for images in (16, 4))
    assert not any('param_scheduler' in option for option in one)
    assert 'param_scheduler.0.end=320' in four  # 80, and four iterations a step


def test_several_gpus_are_several_processes_with_mixed_precision(tmp_path, shapes, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 8)
    command = made(tmp_path, shapes, gpus=4)._command(CELLS[0])
    assert command[1:6] == ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '4']
    assert {'--launcher', 'pytorch', '--amp', '--resume'} < set(command)


def test_other_data_than_coco_is_not_put_beside_the_paper(tmp_path, shapes):
    with pytest.raises(UserError, match="has 4 images to evaluate on, but COCO's val2017 has 5,000"):
        made(tmp_path, shapes, mini=False).run()
    assert not (tmp_path / 'diary').exists()


@pytest.mark.parametrize('option', ['expected=3', *nightly('model.bbox_head.num_classes=4')])
def test_an_option_that_only_some_can_take_is_refused_before_anything_runs(option, tmp_path, shapes, monkeypatch):
    monkeypatch.setattr(reproduction, 'read_config', read_config)
    monkeypatch.setattr(reproduction, 'measure_config', measure_config)
    with pytest.raises(UserError):
        start(tmp_path, shapes, option, words=['retinanet_ghostnet'])
    assert not (tmp_path / 'diary').exists()
