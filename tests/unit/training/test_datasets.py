"""What a run reads, of data that its config names."""
import json

import pytest
from PIL import Image

from ghostdet.options import EvaluationOptions, TrainOptions
from ghostdet.training.config_file import read_config
from ghostdet.training.plan import plan_evaluation, plan_training
from tests.conftest import MINI

NAMES = ('disc', 'square', 'triangle', 'star')


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A function that writes data, after a change of each split's content, and a config that names it."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

    def write(change):
        lines = [f'_base_ = {MINI!r}', 'shapes = None']
        for split, loader in (('train', 'train'), ('val', 'val'), ('val', 'test')):
            (tmp_path / split).mkdir(exist_ok=True)
            images = []
            for number in range(1, 9):
                name = f'{split}{number}.png'
                Image.new('RGB', (64, 64), (number, len(split), 0)).save(tmp_path / split / name)
                images.append(dict(id=number, file_name=name, width=64, height=64))
            boxes = [dict(id=4 * image['id'] + k, image_id=image['id'], category_id=k + 1, bbox=[8 * k, 9, 20, 20 + k],
                          area=20 * (20 + k), iscrowd=0, segmentation=[]) for image in images for k in range(4)]
            content = dict(images=images, annotations=boxes,
                           categories=[dict(id=number, name=name) for number, name in enumerate(NAMES, 1)])
            change(split, content)
            (tmp_path / f'{split}.json').write_text(json.dumps(content))
            dataset = dict(data_root='', ann_file=str(tmp_path / f'{split}.json'),
                           data_prefix=dict(img=str(tmp_path / split)))
            lines += [f'{loader}_dataloader = dict(dataset={dataset})']
            if loader != 'train':
                lines += [f'{loader}_evaluator = dict(ann_file={dataset["ann_file"]!r})']
        (tmp_path / 'own.py').write_text('\n'.join(lines))
        return str(tmp_path / 'own.py')
    return write


def as_read(cfg, loader):
    """What the loader's annotation file holds."""
    dataset = cfg[f'{loader}_dataloader'].dataset
    with open(f'{dataset.data_root}{dataset.ann_file}', encoding='utf-8') as file:
        return json.load(file)


def mark(split, content):
    for box in content['annotations'][::2]:
        box['iscrowd'] = 1


@pytest.mark.parametrize('asked', [False, True])
def test_crowds_are_objects_in_data_of_the_config(asked, config, tmp_path):
    plan = plan_training(TrainOptions(config=config(mark), work_dir=tmp_path / 'run', from_scratch=True,
                                      crowds_are_objects=asked))
    assert [split.boxes for split in plan.checked] == ([32, 32] if asked else [16, 16])
    for loader in ('train', 'val', 'test'):
        assert sum(box['iscrowd'] for box in as_read(plan.cfg, loader)['annotations']) == (0 if asked else 16)


def test_crowds_are_objects_in_a_test(config, tmp_path):
    file = config(mark)
    plan = plan_evaluation(read_config(file, {}), EvaluationOptions(
        checkpoint='none.pth', config=file, work_dir=tmp_path / 'run', crowds_are_objects=True))
    assert plan.checked[0].boxes == 32
    assert plan.cfg.test_evaluator.ann_file == str(tmp_path / 'run/data/test.json')
