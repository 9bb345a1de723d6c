"""Take items in groups, and work on the next ones in other threads while the caller works on the current one."""
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from itertools import islice
from threading import Event, local
from typing import Any, TypeVar

T = TypeVar('T')
R = TypeVar('R')
AHEAD = 4  # items that wait
_thread = local()  # `stop`: an event; if it is set, nobody waits for what this thread prepares


def prefetch(items: Iterable[T], ahead: int = AHEAD) -> Iterator[T]:
    """Yield the same items. A thread prepares up to `ahead` of them before the caller asks for them.

    If preparing an item raises an error, the error is raised in place of that item. If the caller stops early, for
    example at Ctrl-C, and an item is being prepared with `prefetch`, that stops, too.

    >>> list(prefetch(range(3)))
    [0, 1, 2]
    """
    iterator, end, stop, outer = iter(items), object(), Event(), getattr(_thread, 'stop', None)

    def take() -> Any:
        _thread.stop = stop
        return next(iterator, end)
    with ThreadPoolExecutor(1) as pool:
        try:
            waiting: deque[Future[Any]] = deque(pool.submit(take) for _ in range(ahead))
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(take))
                yield item
                if outer is not None and outer.is_set():
                    raise CancelledError
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of `size`; the last one may be shorter.

    >>> list(grouped('abcde', 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def run_ahead(items: Iterable[tuple[T, Any]], run: Callable[[list], Iterable[R]],
              size: int, ahead: int = AHEAD) -> Iterator[tuple[T, R]]:
    """Yield the first part of each pair, and the result of `run` for the second part.

    Pairs are made in one thread, and `run` works in another one, while the caller works on the results.

    Args:
        run: takes up to `size` second parts, and returns a result for each.
        ahead: number of pairs that wait for `run`.

    >>> list(run_ahead([('a', 1), ('b', 2), ('c', 3)], lambda values: [-value for value in values], 2))
    [('a', -1), ('b', -2), ('c', -3)]
    """
    return prefetch((name, result) for group in grouped(prefetch(items, ahead), size)
                    for (name, _), result in zip(group, run([value for _, value in group]), strict=True))
