"""Curves are drawn from what the parts of a run wrote, each step once; and every box is on its picture."""
import json

import pytest
from matplotlib.figure import Figure
from PIL import Image

from ghostdet.evaluation import plots
from ghostdet.evaluation.plots import read_scalars
from ghostdet.images import drawing


def write_part(work_dir, name, records):
    folder = work_dir / name / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, records)))


def train(step, epoch, loss):
    return dict(loss=loss, step=step, epoch=epoch)


def val(epoch, ap):
    return {'coco/bbox_mAP': ap, 'step': epoch}


def test_resumed_part_replaces_what_was_lost_and_keeps_the_rest(tmp_path):
    write_part(tmp_path, '1',
               [train(10, 1, 3.0), val(1, 0.1), train(20, 2, 2.0), val(2, 0.2), train(30, 3, 9.0), val(3, 0.9)])
    write_part(tmp_path, '2', [train(25, 3, 1.5), val(3, 0.3)])  # went on from the checkpoint of epoch 2
    training, validation = read_scalars(tmp_path)
    assert [(record['step'], record['loss']) for record in training] == [(10, 3.0), (20, 2.0), (25, 1.5)]
    assert [record['coco/bbox_mAP'] for record in validation] == [0.1, 0.2, 0.3]


def test_a_line_that_was_broken_off_is_left_out(tmp_path):
    write_part(tmp_path, '1', [train(10, 1, 3.0), val(1, 0.1)])
    with next(tmp_path.rglob('scalars.json')).open('a') as log:
        log.write('\n{"loss": 2.0, "st')
    assert read_scalars(tmp_path) == ([train(10, 1, 3.0)], [val(1, 0.1)])


def test_run_that_starts_anew_in_the_same_folder_shows_nothing_of_the_old_one(tmp_path):
    write_part(tmp_path, '1', [train(10, 1, 3.0), val(1, 0.1), train(20, 2, 2.0), val(2, 0.2)])
    write_part(tmp_path, '2', [train(10, 1, 2.5), val(1, 0.15)])
    training, validation = read_scalars(tmp_path)
    assert [record['loss'] for record in training] == [2.5]
    assert [record['coco/bbox_mAP'] for record in validation] == [0.15]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that a test has drawn, kept open."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, 'savefig', lambda self, *where,
                        **how: (figures.append(self), save(self, *where, **how)))
    return figures


def test_curves_show_every_step_and_evaluation(tmp_path, drawn):
    write_part(tmp_path, '1', [train(10, 1, 3.0), val(1, 0.1), train(20, 2, 2.0), val(2, 0.2)])
    plots.draw_curves(tmp_path, tmp_path / 'curves.png')
    left, right = drawn[0].axes
    assert left.lines[0].get_xydata().tolist() == [[10, 3.0], [20, 2.0]]
    assert right.lines[0].get_xydata().tolist() == [[1, 0.1], [2, 0.2]]
    assert (tmp_path / 'curves.png').exists()


def test_sheet_of_a_weak_detector_shows_its_best_boxes(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(drawing, 'draw', lambda pixels, boxes: shown.append([text for _, _, text in boxes]) or pixels)
    Image.new('RGB', (64, 48)).save(tmp_path / 'a.png')
    (tmp_path / 'truth.json').write_text(json.dumps(dict(
        images=[dict(id=1, file_name='a.png')], annotations=[], categories=[dict(id=7, name='cell')])))
    (tmp_path / 'found.json').write_text(json.dumps([dict(image_id=1, category_id=7, bbox=[4, 5, 20, 30], score=score)
                                                     for score in (0.05, 0.25, 0.2)]))
    plots.draw_sheet(tmp_path / 'truth.json', tmp_path, tmp_path / 'found.json', tmp_path / 'sheet.png', count=2)
    assert shown == [['cell 0.20', 'cell 0.25']]


def test_sheet_shows_ground_truth_above_and_sure_detections_below(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(drawing, 'draw', lambda pixels, boxes: shown.append(list(boxes)) or pixels)
    Image.new('RGB', (64, 48)).save(tmp_path / 'a.png')
    box = dict(image_id=1, category_id=7, bbox=[4, 5, 20, 30])
    (tmp_path / 'truth.json').write_text(json.dumps(dict(
        images=[dict(id=1, file_name='a.png')], annotations=[dict(box, iscrowd=0), dict(box, iscrowd=1)],
        categories=[dict(id=7, name='costs $5 {x}_$')])))
    (tmp_path / 'found.json').write_text(json.dumps([dict(box, score=0.9), dict(box, score=0.2)]))
    plots.draw_sheet(tmp_path / 'truth.json', tmp_path, tmp_path / 'found.json', tmp_path / 'sheet.png')
    corners, name = (4, 5, 24, 35), 'costs $5 {x}_$'
    corners = tuple(5 * side for side in corners)  # the image is enlarged to 320 pixels
    assert shown == [[(corners, 0, name), (corners, 0, f'{name} (crowd)')], [(corners, 0, f'{name} 0.90')]]
    with Image.open(tmp_path / 'sheet.png') as sheet:
        assert sheet.size == (drawing.CELL + drawing.GAP, 2 * (240 + drawing.TITLE))
