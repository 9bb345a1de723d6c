"""Reading ahead."""
import threading
import time

import pytest

from ghostdet.infer.prefetch import prefetch


def test_items_are_made_while_the_caller_works():
    made = []
    for item in prefetch((made.append(k) or k for k in range(10)), ahead=3):
        time.sleep(0.05)
        assert item < len(made) <= item + 5
        assert item == 9 or len(made) > item + 1
    assert made == list(range(10))


def test_an_error_comes_in_its_place():
    def items():
        yield 1
        yield 2
        raise ValueError('odd')
    got = []
    with pytest.raises(ValueError, match='odd'):
        got.extend(prefetch(items()))
    assert got == [1, 2]


def test_it_ends_with_its_caller():
    before = threading.active_count()
    endless = prefetch(iter(int, 1))
    next(endless)
    endless.close()
    assert threading.active_count() == before
