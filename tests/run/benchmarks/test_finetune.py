"""The studies of training from COCO: their tables and pictures, and a step of each variant."""
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks import finetune, training_step
from ghostdet.weights import catalogue
from tests.run.weights.test_nanodet import published


def test_the_study_of_runs_that_are_done_draws_their_means(tmp_path, capsys):
    """No run is made again; a run that shared its core has no minutes."""
    for seed, (ap, minutes) in enumerate([(0.5, 10.0), (0.6, None), (0.7, 12.0)]):
        folder = tmp_path / f'bccd_all_COCO_{seed}'
        folder.mkdir()
        (folder / finetune.RESULT).write_text(json.dumps(dict(
            data='bccd', images=0, start='COCO', seed=seed, steps=876, minutes=minutes, AP=ap, AP50=0.9, AP_small=0.1,
            curve=[[219, 0.3], [876, ap]])))
    finetune.main(['--bccd', 'nowhere', '--raccoon', 'nowhere', '--out', str(tmp_path), '--only', 'bccd_all_COCO'])
    assert '| bccd | all | COCO | 876 | 3 | 0.600 (0.500 to 0.700) | 0.900 | 11.0 |' in capsys.readouterr().out
    assert [run['AP'] for run in json.loads((tmp_path / 'finetune.json').read_text())['runs']] == [0.5, 0.6, 0.7]
    with Image.open(tmp_path / 'finetune.png') as picture:
        assert picture.width > 1000


def test_the_study_lists_the_first_images_of_a_shuffle(tmp_path):
    lists = tmp_path / 'BCCD/ImageSets/Main'
    lists.mkdir(parents=True)
    names = [f'image_{number}' for number in range(50)]
    (lists / 'trainval.txt').write_text('\n'.join(names))
    (lists / 'test.txt').write_text('other\n')
    options = finetune.parse(['--bccd', str(tmp_path / 'BCCD'), '--raccoon', '.', '--out', str(tmp_path / 'out')])
    chosen = {}
    for count in finetune.FEW[:2]:
        root = finetune.data_flags(finetune.Run('bccd', count, 'COCO', 0), options)[1]
        chosen[count] = (Path(root) / 'ImageSets/Main/train.txt').read_text().split()
    assert len(set(chosen[10])) == 10
    assert chosen[30][:10] == chosen[10]
    assert set(chosen[30]) < set(names)


@pytest.mark.nightly
def test_training_step_times_all_variants(shapes, tmp_path, monkeypatch, capsys):
    torch.save(published(), tmp_path / catalogue.DETECTORS['nanodet-plus-m_416'].file)
    monkeypatch.setenv('GHOSTDET_WEIGHTS', str(tmp_path))
    threads = torch.get_num_threads()
    try:
        training_step.main(['--data-root', str(shapes), '--rounds', '2'])
    finally:
        torch.set_num_threads(threads)
    shown = capsys.readouterr().out
    assert all(f'| {name} | ' in shown for name in training_step.VARIANTS)
    assert '| no change | ' in shown
    assert 'size mismatch' not in shown
