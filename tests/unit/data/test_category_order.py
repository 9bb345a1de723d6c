"""Categories of train and val are matched by their names."""
import copy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdet.data.category_order import in_order, match_classes
from ghostdet.data.checked import Source
from ghostdet.data.coco import Split
from ghostdet.errors import DataError


def source(name, names, first=1):
    categories = [dict(id=number, name=text) for number, text in enumerate(names, first)]
    boxes = [dict(id=number, image_id=1, category_id=category['id'], bbox=[number, 2, 3, 4])
             for number, category in enumerate(categories, 1)]
    return Source(Split(name, Path(f'{name}.json'), Path(name)),
                  dict(images=[], annotations=boxes, categories=categories))


def matched(train, val):
    return match_classes(dict(train=source('train', train), val=source('val', val, 7)))['val']


def test_match_classes_puts_val_into_the_order_of_train_and_keeps_its_ids():
    val = matched(['cat', 'dog', 'owl'], ['dog', 'cat', 'owl'])
    assert val.content['categories'] == [dict(id=8, name='cat'), dict(id=7, name='dog'), dict(id=9, name='owl')]
    assert val.content['annotations'] == source('val', ['dog', 'cat', 'owl'], 7).content['annotations']
    assert [note.to_text() for note in val.notes] == [
        'categories in another order than in the train split, matched by name: 2 (dog, cat)']


@given(st.permutations(['cat', 'Cat', 'ca t', 'dog', 'owl']), st.permutations(['cat', 'Cat', 'ca t', 'dog', 'owl']))
def test_match_classes_any_two_orders(first, second):
    sources = dict(train=source('train', first), val=source('val', second, 7))
    before = copy.deepcopy(sources)
    result = match_classes(sources)
    assert sources == before
    assert result['train'] is sources['train']
    assert [category['name'] for category in result['val'].content['categories']] == first
    by_id = {category['id']: category for category in second_categories(second)}
    assert all(by_id[category['id']] == category for category in result['val'].content['categories'])
    assert bool(result['val'].notes) == (first != second)


def second_categories(names):
    return source('val', names, 7).content['categories']


@pytest.mark.parametrize(('train', 'val', 'message'), [
    (['cat', 'dog'], ['cat', 'cow'], r'only train has dog; only val has cow\)'),
    (['Cat', 'dog'], ['cat ', 'dog'], r"\(train has 'Cat', val has 'cat ': they differ only by case or spaces\)"),
    (['traffic light', 'dog'], ['cow', 'Trafficlight'],
     "train has 'traffic light', val has 'Trafficlight': .*; only train has dog; only val has cow"),
    (['cat'], ['cat', 'Cat'], r'\(only val has Cat\)'),
    (['fire-truck'], ['fire truck'], 'only train has fire-truck; only val has fire truck')])
def test_match_classes_other_names_are_refused(train, val, message):
    with pytest.raises(DataError, match=message) as error:
        matched(train, val)
    assert 'train.json and val.json do not list the same categories' in str(error.value)


def test_match_classes_one_split_stays():
    alone = dict(test=source('val', ['dog', 'cat']))
    assert match_classes(alone) == alone


@pytest.mark.parametrize(('given', 'wanted', 'result'), [
    (['a', 'x', 'b'], ['a', 'b'], ['a', 'x', 'b']), (['b', 'x', 'a', 'y'], ['a', 'b'], ['a', 'b', 'x', 'y'])])
def test_in_order_categories_that_are_not_named_come_last_if_anything_moves(given, wanted, result):
    ordered = in_order(source('train', given), wanted, 'the config')
    assert [category['name'] for category in ordered.content['categories']] == result
    assert [note.names for note in ordered.notes] == ([('b', 'a')] if given != result else [])
