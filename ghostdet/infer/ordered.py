"""Work on several items at the same time, in threads, and take the results in order."""
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar('T')
R = TypeVar('R')


def ordered(items: Iterable[T], work: Callable[[T], R], workers: int) -> Iterator[R]:
    """Yield the result of `work` for each item, in order. At most `workers` + 1 results wait for the caller.

    If `work` raises an error, it is raised in place of that result. Items are taken in the caller's thread.

    >>> list(ordered(range(3), lambda value: -value, 2))
    [0, -1, -2]
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of `size`; the last one may be shorter.

    >>> list(grouped('abcde', 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
