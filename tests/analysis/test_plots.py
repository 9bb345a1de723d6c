"""Curves are drawn from what the parts of a run wrote, each step once."""
import json

from ghostdet.analysis.plots import read_scalars


def write_part(work_dir, name, records):
    folder = work_dir / name / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, records)))


def train(step, epoch, loss):
    return dict(loss=loss, step=step, epoch=epoch)


def val(epoch, ap):
    return {'coco/bbox_mAP': ap, 'step': epoch}


def test_resumed_part_replaces_what_was_lost_and_keeps_the_rest(tmp_path):
    write_part(tmp_path, '1', [train(10, 1, 3.0), val(1, 0.1), train(20, 2, 2.0), val(2, 0.2), train(30, 3, 9.0), val(3, 0.9)])
    write_part(tmp_path, '2', [train(25, 3, 1.5), val(3, 0.3)])  # went on from the checkpoint of epoch 2
    training, validation = read_scalars(tmp_path)
    assert [(record['step'], record['loss']) for record in training] == [(10, 3.0), (20, 2.0), (25, 1.5)]
    assert [record['coco/bbox_mAP'] for record in validation] == [0.1, 0.2, 0.3]


def test_run_that_starts_anew_in_the_same_folder_shows_nothing_of_the_old_one(tmp_path):
    write_part(tmp_path, '1', [train(10, 1, 3.0), val(1, 0.1), train(20, 2, 2.0), val(2, 0.2)])
    write_part(tmp_path, '2', [train(10, 1, 2.5), val(1, 0.15)])
    training, validation = read_scalars(tmp_path)
    assert [record['loss'] for record in training] == [2.5]
    assert [record['coco/bbox_mAP'] for record in validation] == [0.15]
