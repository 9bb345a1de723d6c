"""`ghostdet data` on a data set in COCO's layout."""
import json

import pytest
from PIL import Image

from ghostdet.cli.data import main
from ghostdet.errors import DataError, UserError

NAMES = dict(train=['cat', 'dog'], val=['dog', 'cat'])


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A train and a val split with the classes in another order; half of the boxes are marked as crowd regions."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.chdir(tmp_path)
    for index, (split, names) in enumerate(NAMES.items()):
        (tmp_path / f'set/{split}2017').mkdir(parents=True)
        images = []
        for number in range(1, 5):
            Image.new('RGB', (60, 40), (number, 80 * index, 0)).save(tmp_path / f'set/{split}2017/{number}.png')
            images.append(dict(id=number, file_name=f'{number}.png', width=60, height=40))
        boxes = [dict(id=3 * image['id'] + k, image_id=image['id'], category_id=1 + names.index(['cat', 'dog'][k % 2]),
                      bbox=[10 * k, 5, 20, 20], area=400, iscrowd=k % 2) for image in images for k in range(3)]
        write(tmp_path / 'set', split, dict(images=images, annotations=boxes, categories=[
            dict(id=number, name=name) for number, name in enumerate(names, 1)]))
    return tmp_path / 'set'


def write(root, split, content):
    file = root / f'annotations/instances_{split}2017.json'
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))


def read(root, split):
    return json.loads((root / f'annotations/instances_{split}2017.json').read_text())


def test_crowds_are_objects_and_val_has_the_order_of_train_in_the_copy(root, capsys):
    main([str(root)])
    shown = capsys.readouterr().out
    for split in NAMES:
        assert f'{split}: 4 images (0 without a box), 8 boxes, 4 crowd regions\n' in shown
    main([str(root), '--crowds-are-objects', '--out', 'copy'])
    shown = capsys.readouterr().out
    assert shown.count('categories in another order than in the train split, matched by name: 2 (dog, cat)') == 1
    for split in NAMES:
        assert f'{split}: 4 images (0 without a box), 12 boxes\n' in shown
        content = read(root.parent / 'copy', split)
        assert [category['name'] for category in content['categories']] == ['cat', 'dog']
        names = {category['id']: category['name'] for category in content['categories']}
        assert [names[box['category_id']] for box in content['annotations']] == ['cat', 'dog', 'cat'] * 4
        assert {box['iscrowd'] for box in content['annotations']} == {0}


def test_out_is_checked_before_the_data_set_is_read(tmp_path):
    (tmp_path / 'copy').mkdir()
    (tmp_path / 'copy/mine.txt').touch()
    with pytest.raises(UserError, match='copy: expected a folder that is empty or does not exist'):
        main([str(tmp_path / 'nothing'), '--out', str(tmp_path / 'copy'), '--work-dir', str(tmp_path / 'work')])
    assert not (tmp_path / 'work').exists()


def test_one_image_file_with_other_boxes_in_val_is_refused(root):
    content = read(root, 'train')
    content['annotations'].pop()
    write(root, 'val', content)
    with pytest.raises(DataError, match=r'different boxes for 1 images .*4\.png'):
        main([str(root), '--val-ann', 'annotations/instances_val2017.json', '--val-img', 'train2017'])
    main([str(root)])  # another folder
    main([str(root), '--val-fraction', '0.5'])


def test_tiles_of_one_picture_are_in_one_part_and_a_run_can_read_them(root, capsys):
    main([str(root), '--tiles', '32', '--tile-overlap', '8', '--val-fraction', '0.5', '--out', 'tiles'])
    shown = capsys.readouterr().out
    assert shown.endswith('\ntiles/\n')
    # Of each picture 6 tiles: 3 and 6 have at least 0.3 of its two objects, 1 has less; 1 has its crowd region whole, 3
    # have more than 4 pixels of it.
    line = '\ntrain: 12 images (0 without a box), 18 boxes, 2 crowd regions, 8 difficult objects\n'
    assert line in shown
    parts = [read(root.parent / 'tiles', split) for split in NAMES]
    sources = [{image['cut_from'] for image in content['images']} for content in parts]
    assert len(sources[0]) == len(sources[1]) == 2
    assert not sources[0] & sources[1]
    main(['tiles'])  # the check of a run
    assert line in capsys.readouterr().out


def test_tiles_without_a_val_split_are_cut_later_by_picture(root):
    (root / 'annotations/instances_val2017.json').unlink()
    main([str(root), '--tiles', '32', '--tile-overlap', '8', '--out', 'tiles'])
    main(['tiles', '--val-fraction', '0.5', '--out', 'parts'])
    sources = [{image['cut_from'] for image in read(root.parent / 'parts', split)['images']} for split in NAMES]
    assert len(sources[0]) == len(sources[1]) == 2
    assert not sources[0] & sources[1]


def test_tiles_need_a_number(root, capsys):
    with pytest.raises(SystemExit, match='2'):
        main([str(root), '--tiles', '--out', 'tiles'])
    assert 'argument --tiles: expected one argument' in capsys.readouterr().err


@pytest.mark.parametrize(('options', 'again'), [
    (['--bits', '12'], '--bits 12'), (['--ignore-orientation', '--bits', '12'], '--ignore-orientation --bits 12')])
def test_tiles_of_other_pixels_need_their_options_again(options, again, root, capsys):
    main([str(root), '--tiles', '32', '--out', 'tiles', *options])
    assert capsys.readouterr().out.endswith(f'\ntiles/; use it with {again}, too\n')
