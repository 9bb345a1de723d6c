"""Work in threads, results in order."""
import threading
import time

import pytest

from ghostdet.infer.ordered import ordered


def test_workers_run_at_the_same_time_and_results_come_in_order():
    both = threading.Barrier(2, timeout=5)

    def work(value):
        both.wait()  # ends when two are here
        time.sleep(0.01 * (value % 2))
        return value
    assert list(ordered(range(6), work, 2)) == list(range(6))


def test_items_are_taken_only_as_they_are_needed():
    """Memory stays flat: at most `workers` + 1 are on their way."""
    taken = []
    for result in ordered((taken.append(k) or k for k in range(20)), lambda value: value, 2):
        assert len(taken) <= result + 3
    assert taken == list(range(20))


def test_an_error_comes_in_its_place():
    def work(value):
        if value == 2:
            raise ValueError('odd')
        return value
    got = []
    with pytest.raises(ValueError, match='odd'):
        got.extend(ordered(range(5), work, 3))
    assert got == [0, 1]


def test_it_ends_with_its_caller():
    before, done = threading.active_count(), []
    endless = ordered(iter(int, 1), done.append, 2)
    next(endless)
    endless.close()
    assert threading.active_count() == before
    assert len(done) <= 5


def test_work_that_is_ordered_itself_stops_with_its_caller():
    """As with the tiles of a picture at Ctrl-C."""
    steps = []

    def picture(_):
        return list(ordered(range(500), lambda step: time.sleep(0.002) or steps.append(step), 2))
    pictures = ordered(range(3), picture, 1)
    next(pictures)
    pictures.close()
    assert 500 <= len(steps) < 700
