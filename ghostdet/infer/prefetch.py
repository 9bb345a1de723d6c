"""Prepare the next items in a thread while the caller works on the current one, and take items in groups."""
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

T = TypeVar('T')


def prefetch(items: Iterable[T], most: int = 4) -> Iterator[T]:
    """Yield the same items. A thread prepares up to `most` of them ahead of the caller.

    If preparing an item raises an error, the error is raised in place of that item.

    >>> list(prefetch(range(3)))
    [0, 1, 2]
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        try:
            waiting: deque[Future[Any]] = deque(pool.submit(next, iterator, end) for _ in range(most))
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, iterator, end))
                yield item
        finally:
            pool.shutdown(cancel_futures=True)


def grouped(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield the items in lists of `most`; the last one may be shorter.

    >>> list(grouped('abcde', 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(items)
    while group := list(islice(iterator, most)):
        yield group
