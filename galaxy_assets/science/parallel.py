"""Blocks of galaxies computed beside each other, on threads of this process.

Belongs here: threads of our own, and how many of BLAS beside them. Does not belong here: how many cores are free
(`threads`), what is computed.
"""

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

_LOCK, _LIMITS = threading.Lock(), []
"""Limits of BLAS that are in force: the one that was set, for each block that needs it."""
_MOST = 8
"""Threads: each holds what a part needs."""
Part = TypeVar("Part")
Found = TypeVar("Found")


def on_threads(compute: Callable[[Part], Found], parts: Iterable[Part]) -> Iterator[Found]:
    """What is computed of each part, in the order of the parts, on a thread for each core, eight at most.

    BLAS computes on the thread that calls it meanwhile. On parts that are small for it, its own threads wait for each
    other for longer than they compute.

    Parameters
    ----------
    compute : callable
        Takes a part; what it finds depends on no other part.
    parts : iterable
        As many are held as there are threads, and one more.

    Yields
    ------
    object
        What `compute` returned.

    Examples
    --------
    >>> list(on_threads(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    from galaxy_assets.science.threads import fixed_threads, usable_cores

    count = min(fixed_threads() or _MOST, usable_cores(), _MOST)
    with blas_on_one(), ThreadPoolExecutor(count) as threads:
        if count == 1:
            yield from map(compute, parts)
            return
        coming: deque[Future[Found]] = deque()
        for part in parts:
            coming.append(threads.submit(compute, part))
            if len(coming) > count:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


@contextmanager
def blas_on_one() -> Iterator[None]:
    """Let BLAS compute on the thread that calls it, as long as the block lasts, or another that began meanwhile."""
    with _LOCK:
        _LIMITS.append(_blas().limit(limits=1, user_api="blas") if not _LIMITS else _LIMITS[0])
    try:
        yield
    finally:
        with _LOCK:
            limit = _LIMITS.pop()
            if not _LIMITS:
                limit.restore_original_limits()


@functools.cache
def _blas() -> "ThreadpoolController":
    """What sets the threads of BLAS; finding the libraries takes longer than many a product."""
    import scipy.linalg  # noqa: F401, its BLAS is found where it is loaded
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
