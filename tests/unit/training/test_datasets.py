"""What a run reads, of data that its config names."""
import json

import numpy as np
import pytest
from mmdet.registry import DATASETS
from PIL import Image

from ghostdet.errors import DataError
from ghostdet.evaluation.metrics import CocoTableMetric
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


def reorder(split, content):
    """Another order, and other ids, of the same categories in val."""
    if split == 'val':
        order = [2, 0, 3, 1]
        new = {old + 1: 50 + position for position, old in enumerate(order)}
        content['categories'] = [dict(id=50 + position, name=NAMES[old]) for position, old in enumerate(order)]
        for box in content['annotations']:
            box['category_id'] = new[box['category_id']]


def labels(cfg, loader):
    """Names of the labels that mmdet's data set gives the boxes of each image."""
    settings = cfg[f'{loader}_dataloader'].dataset
    dataset = DATASETS.build(dict(settings, pipeline=[], lazy_init=True))
    return [[dataset.metainfo['classes'][box['bbox_label']] for box in image['instances']]
            for image in dataset.load_data_list()]


def table(cfg, classes):
    """AP as text by class of detections that miss some objects of each class, by labels in the order of train."""
    metric = CocoTableMetric(ann_file=cfg.val_evaluator.ann_file)
    metric.dataset_meta = dict(classes=classes)
    pairs = []
    for image in range(1, 9):
        kept = [label for label in range(len(classes)) if image > 2 * label]
        boxes = np.array([[8 * k, 9, 8 * k + 20, 29 + k] for k in kept], float).reshape(-1, 4)
        pairs.append(({}, dict(img_id=image, bboxes=boxes, scores=np.full(len(kept), 0.9), labels=np.array(kept))))
    metric.compute_metrics(pairs)
    return {name: str(row) for name, row in metric.table.classes.items()}


@pytest.mark.parametrize('own', [True, False])
def test_reordered_categories_give_the_labels_and_the_ap_of_the_train_order(own, config, tmp_path):
    """The config itself does not have the last class."""
    tables, classes = [], NAMES[:3] if own else NAMES
    for change in (lambda split, content: None, reorder):
        file = config(change)
        named = {} if own else {f'{split}_{kind}': str(tmp_path / f'{split}{ending}') for split in ('train', 'val')
                                for kind, ending in dict(ann='.json', img='').items()}
        plan = plan_training(TrainOptions(config=file if own else MINI, work_dir=tmp_path / 'run', from_scratch=True,
                                          **named))
        for loader in ('train', 'val'):
            assert labels(plan.cfg, loader) == [list(classes)] * 8
        tables.append(table(plan.cfg, classes))
        notes = [note.to_text() for note in plan.checked[1].notes if 'order' in note.what]
        moved = 'the config, matched by name: 3 (triangle, disc, square)' if own else (
            'the train split, matched by name: 4 (triangle, disc, star, square)')
        assert notes == [f'categories in another order than in {moved}'] * (change is reorder)
    assert tables[0] == tables[1]
    assert len(set(tables[0].values())) == len(classes)


def test_a_class_of_the_config_in_another_spelling_is_refused(config, tmp_path):
    def rename(split, content):
        content['categories'][1]['name'] = 'Square '
    with pytest.raises(DataError, match=r"missing: square \('Square ' differs from 'square' only by case or spaces"):
        plan_training(TrainOptions(config=config(rename), work_dir=tmp_path / 'run', from_scratch=True))


def test_val_fraction_has_the_order_of_the_file(config, tmp_path):
    config(reorder)
    plan = plan_training(TrainOptions(config=MINI, work_dir=tmp_path / 'run', from_scratch=True, val_fraction=0.25,
                                      train_ann=str(tmp_path / 'val.json'), train_img=str(tmp_path / 'val')))
    assert [len(split.content['images']) for split in plan.checked] == [6, 2]
    for loader, number in (('train', 6), ('val', 2)):
        categories = as_read(plan.cfg, loader)['categories']
        assert [category['name'] for category in categories] == ['triangle', 'disc', 'star', 'square']
        assert labels(plan.cfg, loader) == [list(NAMES)] * number


def test_one_image_file_with_other_boxes_in_val_is_refused(config, tmp_path):
    config(lambda split, content: None)
    options = dict(config=MINI, from_scratch=True, work_dir=tmp_path / 'run', train_ann=str(tmp_path / 'train.json'),
                   train_img=str(tmp_path / 'train'), val_img=str(tmp_path / 'train'))
    content = json.loads((tmp_path / 'train.json').read_text())
    content['annotations'][0]['bbox'][2] += 5
    (tmp_path / 'val.json').write_text(json.dumps(content))
    with pytest.raises(DataError, match=r'different boxes for 1 images .*train1\.png'):
        plan_training(TrainOptions(val_ann=str(tmp_path / 'val.json'), **options))
    plan = plan_training(TrainOptions(val_ann=str(tmp_path / 'train.json'), **options))  # the training images
    assert plan.checked[1].boxes == 32
