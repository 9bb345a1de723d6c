"""What a run says of its boxes before it starts: are they too small, or too many?"""
from copy import deepcopy
from functools import cache

import pytest

from ghostdet.data.checked import Checked
from ghostdet.data.coco import Split
from ghostdet.training.config_file import read_config
from ghostdet.training.training_data import fit_to_data, many_objects

NAME = 'nanodet-plus_shufflenetv2_1.0x_finetune'


@cache
def read(name):
    return read_config(name, {})


def config(name):
    return deepcopy(read(name))


def split_of(tmp_path, *sides, size=3000, images=1, crowd=False):
    """A split with square boxes, those of a class together: (class name, side, count)."""
    names = list(dict.fromkeys(name for name, _, _ in sides))
    boxes = [dict(id=0, image_id=1 + index % images, category_id=1 + names.index(name), bbox=[0, 0, side, side],
                  iscrowd=int(crowd))
             for name, side, count in sides for index in range(count)]
    content = dict(images=[dict(id=1 + index, file_name='a.png', width=size, height=size) for index in range(images)],
                   annotations=boxes, categories=[dict(id=1 + index, name=name) for index, name in enumerate(names)])
    return Checked(Split('train', tmp_path, tmp_path), content)


def said(checked, capsys, name=NAME):
    """The notes as text, and the warning."""
    notes = [note.to_text() for note in fit_to_data(config(name), checked, False)]
    return [text for text in notes if 'pixels' in text], capsys.readouterr().err


def test_fit_to_data_warns_of_boxes_that_are_small_at_the_scale(tmp_path, capsys):
    notes, warning = said(split_of(tmp_path, ('disc', 40, 10)), capsys)
    assert notes == []
    assert ('100% of the boxes are smaller than 16 pixels at the config\'s scale of 416x416. A detector misses many of '
            'these (disc 100%): --scale 1216 brings nine of ten of them to 16 pixels.') in warning


def test_fit_to_data_names_the_worst_classes(tmp_path, capsys):
    checked = split_of(tmp_path, ('cup', 400, 10), ('disc', 40, 6), ('disc', 400, 2), ('ring', 40, 1), ('ring', 400, 9))
    assert '25% of the boxes' in (warning := said(checked, capsys)[1])
    assert '(disc 75%, ring 10%)' in warning


def test_fit_to_data_notes_a_few_small_boxes(tmp_path, capsys):
    notes, warning = said(split_of(tmp_path, ('disc', 400, 96), ('disc', 40, 4)), capsys)
    assert notes == ["boxes smaller than 16 pixels at the config's scale of 416x416 (disc 4%; --scale 1216 brings nine "
                     'of ten of them to 16 pixels): 4']
    assert 'ATTENTION' not in warning
    for few in (split_of(tmp_path, ('disc', 400, 99), ('disc', 40, 1)), split_of(tmp_path, ('disc', 116, 9)),
                split_of(tmp_path, ('disc', 40, 9), crowd=True)):
        assert said(few, capsys)[0] == []


@pytest.mark.parametrize(('side', 'cure'), [
    (29, '--scale 1664 brings'), (28, 'cut the images into tiles with "ghostdet data DIR --tiles 416 --out DIR2"')])
def test_fit_to_data_names_no_scale_of_more_than_four_times_the_config(side, cure, tmp_path, capsys):
    """16 pixels of 416 are 115.4 of 3000."""
    assert cure in said(split_of(tmp_path, ('disc', side, 10)), capsys)[1]


def test_fit_to_data_nine_of_ten_reach_the_limit_at_the_scale(tmp_path, capsys):
    checked = split_of(tmp_path, *((str(side), side, 1) for side in range(41, 110)))
    named = int(said(checked, capsys)[1].split('--scale ')[1].split()[0])
    reached = [sum(side * scale / 3000 >= 16 for side in range(41, 110)) / 69 for scale in (named - 32, named)]
    assert reached[0] < 0.9 <= reached[1]


def test_fit_to_data_counts_pixels_as_a_config_without_the_ratio_resizes(tmp_path, capsys):
    checked = split_of(tmp_path, ('disc', 50, 10), size=1000)
    checked.content['images'][0]['height'] = 500  # 50 x 50 of 1000 x 500 become 20.8 x 41.6, 29.4 of the area
    name = 'nanodet-plus_shufflenetv2_1.0x_416_coco'
    assert 'ATTENTION' not in said(checked, capsys, name)[1]
    for box in checked.content['annotations']:
        box['bbox'][2:] = 27, 27  # 15.9
    assert 'ATTENTION' in said(checked, capsys, name)[1]


@pytest.mark.parametrize(('count', 'named'), [(101, 150), (149, 150), (150, 200)])
def test_many_objects_names_a_limit_that_returns_them_all(count, named, tmp_path):
    checked = split_of(tmp_path, ('disc', 400, count))
    cfg = config(NAME)
    assert [note.to_text() for note in many_objects(cfg, checked)] == [
        f'images with more objects than the 100 that the detector returns (at most {count}: --max-objects {named} '
        'returns and counts them all): 1']
    cfg.model.test_cfg.max_per_img = count
    assert many_objects(cfg, checked) == []
    assert many_objects(config('yolox_tiny_finetune'), checked) == []
    assert many_objects(config(NAME), split_of(tmp_path, ('disc', 400, count), crowd=True)) == []
