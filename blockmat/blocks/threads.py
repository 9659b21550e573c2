"""A pool of threads that run kernels over parts of one array.

The kernels release the GIL, so Python threads are enough. Unlike Numba's threads they work after
a fork, and can be started from several Python threads at once. How the work is divided does not
depend on the number of threads, so results are identical bit by bit.
"""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from blockmat.blocks.checks import as_count

__all__ = ["get_num_threads", "set_num_threads"]


VARIABLE = "BLOCKMAT_NUM_THREADS"
_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_chosen: int | None = None


def set_num_threads(n: int) -> None:
    """Set the number of threads for one large array.

    Parameters
    ----------
    n : int
        The number of threads. With 1 no threads are started. LAPACK, which computes with the
        k x k matrices, has threads of its own.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If it is below 1.

    See Also
    --------
    get_num_threads : return the number.

    Notes
    -----
    The default is the environment variable ``BLOCKMAT_NUM_THREADS``, or else the number of
    processors that this process may use. Results do not depend on the number of threads, bit by
    bit. For small arrays only the calling thread is used.

    Examples
    --------
    >>> import blockmat as bm
    >>> before = bm.get_num_threads()
    >>> bm.set_num_threads(1)
    >>> bm.get_num_threads()
    1
    >>> bm.set_num_threads(before)
    """
    global _chosen, _pool
    n = as_count(n, "n", 1)
    with _lock:
        if _pool is not None:
            _pool.shutdown(wait=False)  # running work finishes
        _chosen, _pool = n, None


def get_num_threads() -> int:
    """Return the number of threads for one large array.

    Returns
    -------
    int
        The number set by `set_num_threads` or ``BLOCKMAT_NUM_THREADS``, or else the number of
        processors that this process may use.

    Raises
    ------
    ValueError
        If ``BLOCKMAT_NUM_THREADS`` is not a positive integer.

    See Also
    --------
    set_num_threads : set the number.

    Examples
    --------
    >>> import blockmat as bm
    >>> bm.get_num_threads() >= 1
    True
    """
    return _chosen if _chosen is not None else _default()


def _default() -> int:
    given = os.environ.get(VARIABLE)
    if given is None:
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
    if not (given.strip().isdecimal() and int(given) > 0):
        raise ValueError(f"{VARIABLE} is {given!r}; expected a positive integer")
    return int(given)


def run(kernel: Callable[..., Any], arguments: tuple[Any, ...], ranges: Sequence[Any]) -> None:
    """Call ``kernel(*arguments, first, last)`` for every range, on several threads.

    Parameters
    ----------
    kernel : callable
        It releases the GIL, and different ranges write to different places.
    arguments : tuple
        The first arguments of the kernel.
    ranges : sequence of (int, int)
        The ranges. The calling thread works too, and works alone if no thread can be started.
    """
    if len(ranges) == 1:
        kernel(*arguments, *ranges[0])
        return
    waiting = deque(ranges)

    def work() -> None:
        while True:
            try:
                first, last = waiting.popleft()
            except IndexError:
                return
            kernel(*arguments, first, last)

    helpers = _start(work, len(ranges))
    try:
        work()
    finally:
        waiting.clear()  # after an exception no thread starts another range
        for helper in helpers:
            if not helper.cancel():
                helper.result()


def _start(work: Callable[[], None], n_ranges: int) -> list[Future[None]]:
    """Start at most one helper for each range but one, and return the helpers."""
    global _pool
    helpers: list[Future[None]] = []
    with _lock:
        n_threads = get_num_threads()
        n_helpers = min(n_threads, n_ranges) - 1
        if n_helpers and _pool is None:
            _pool = ThreadPoolExecutor(n_threads - 1, thread_name_prefix="blockmat")
        # At interpreter shutdown, or if no thread can be started, there are fewer helpers.
        with contextlib.suppress(RuntimeError):
            for _ in range(n_helpers):
                helpers.append(_pool.submit(work))  # type: ignore[union-attr]
    return helpers


def _forget() -> None:
    """Reset the pool in a forked child, which has no threads."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
