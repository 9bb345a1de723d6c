"""A data set that is written record by record."""
import json

import pytest

from ghostdet.infer.coco_file import CocoFile


def add(file, name, count):
    file.add(dict(file_name=name, width=9, height=9), [dict(category_id=1, bbox=[1, 2, 3, 4], score=0.5)] * count)


def test_records_are_numbered_and_categories_begin_at_one(tmp_path):
    with CocoFile(tmp_path / 'a.json', ('cat', 'dog')) as file:
        add(file, 'a\udcff.png', 2)
        add(file, 'b.png', 0)
        add(file, 'c.png', 1)
        file.left_out.append('d.png cannot be read')
    content = json.loads((tmp_path / 'a.json').read_text())
    assert [(image['id'], image['file_name']) for image in content['images']] == [
        (1, 'a\udcff.png'), (2, 'b.png'), (3, 'c.png')]
    assert [(box['id'], box['image_id'], box['area'], box['iscrowd']) for box in content['annotations']] == [
        (1, 1, 12, 0), (2, 1, 12, 0), (3, 3, 12, 0)]
    assert content['categories'] == [dict(id=1, name='cat'), dict(id=2, name='dog')]
    assert content['info'] == dict(contributor='ghostdet', left_out=['d.png cannot be read'])


@pytest.mark.parametrize('count', [0, 2])
def test_the_file_is_whole_after_an_error(count, tmp_path):
    def interrupted():
        with CocoFile(tmp_path / 'a.json', ('cat',)) as file:
            for number in range(count):
                add(file, f'{number}.png', 1)
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    content = json.loads((tmp_path / 'a.json').read_text())
    assert len(content['images']) == len(content['annotations']) == count
    assert [path.name for path in tmp_path.iterdir()] == ['a.json']


def test_two_runs_into_one_folder_do_not_mix_their_records(tmp_path):
    with CocoFile(tmp_path / 'a.json', ('cat',)) as first:
        add(first, 'first.png', 1)
        with CocoFile(tmp_path / 'a.json', ('cat',)) as second:
            add(second, 'second.png', 1)
        assert json.loads((tmp_path / 'a.json').read_text())['images'][0]['file_name'] == 'second.png'
    assert json.loads((tmp_path / 'a.json').read_text())['images'][0]['file_name'] == 'first.png'
