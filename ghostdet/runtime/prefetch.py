"""Reading ahead while something else is computed."""
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar('T')


def prefetch(items: Iterable[T], most: int = 4) -> Iterator[T]:
    """The same items, of which up to `most` are made in a thread while the caller works on those before them.

    An error comes where its item would have come.

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
