"""Reading ahead."""
import threading
import time

import pytest

from ghostdet.infer.prefetch import prefetch, run_ahead


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


def test_what_an_item_prepares_ahead_ends_with_the_caller():
    """As at Ctrl-C, while a large picture has hundreds of tiles to go."""
    started, steps = threading.Event(), []

    def step(values):
        steps.extend(values)
        started.set()
        time.sleep(0.01)
        return values

    def run(values):
        return [list(run_ahead(((k, k) for k in range(value)), step, 1)) for value in values]
    before = threading.active_count()
    runs = run_ahead(enumerate([0, 500]), run, 1)
    assert next(runs) == (0, [])
    assert started.wait(5)
    runs.close()
    assert len(steps) < 100
    assert threading.active_count() == before
