"""Work on several items at the same time, in threads, and take the results in order."""
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from itertools import islice
from threading import Event, local
from typing import TypeVar

T = TypeVar('T')
R = TypeVar('R')
_thread = local()  # `stop`: an event; if it is set, nobody waits for what this thread works on


def ordered(items: Iterable[T], work: Callable[[T], R], workers: int) -> Generator[R]:
    """Yield the result of `work` for each item, in order. At most `workers` + 1 results wait for the caller.

    If `work` raises an error, it is raised in place of that result. Items are taken in the caller's thread. If the
    caller stops early, for example at Ctrl-C, a `work` that itself uses `ordered` stops, too.

    >>> list(ordered(range(3), lambda value: -value, 2))
    [0, -1, -2]
    """
    waiting: deque[Future[R]] = deque()
    stop, outer = Event(), getattr(_thread, 'stop', None)

    def run(item: T) -> R:
        _thread.stop = stop
        return work(item)
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                if outer is not None and outer.is_set():
                    raise CancelledError
                waiting.append(pool.submit(run, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


def grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of `size`; the last one may be shorter.

    >>> list(grouped('abcde', 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
