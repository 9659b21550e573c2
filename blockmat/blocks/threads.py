"""A small pool of threads that run kernels over ranges of one array.

The kernels release the GIL, so plain threads are enough, and unlike Numba's own
threading layers they survive a fork and may be used from many Python threads at
once. How the work is cut into pieces never depends on the number of threads, only
who does which piece, so results are bitwise the same for any number.
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
    """Set how many threads work on one large array.

    Parameters
    ----------
    n : int
        At least 1; 1 means that no threads are started. The k x k linear algebra is
        LAPACK's, which has threads of its own.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If it is below 1.

    See Also
    --------
    get_num_threads : what is in force.

    Notes
    -----
    By default the value of the environment variable ``BLOCKMAT_NUM_THREADS``, or else
    the number of processors that this process may use. Results do not depend on the
    number of threads, bit by bit. Arrays too small to gain from it are worked on by
    the calling thread alone.

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
            _pool.shutdown(wait=False)  # what runs in it ends in peace
        _chosen, _pool = n, None


def get_num_threads() -> int:
    """Return how many threads work on one large array.

    Returns
    -------
    int
        What `set_num_threads` or ``BLOCKMAT_NUM_THREADS`` said, or the number of
        processors that this process may use.

    Raises
    ------
    ValueError
        If ``BLOCKMAT_NUM_THREADS`` is not a positive integer.

    See Also
    --------
    set_num_threads : change it.

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
        Releases the GIL, and writes to other places for other ranges.
    arguments : tuple
        What it is called with.
    ranges : sequence of (int, int)
        The work. The calling thread takes part, and goes on alone if no other can
        be had.
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
        waiting.clear()  # after an exception nobody begins another range
        for helper in helpers:
            if not helper.cancel():
                helper.result()


def _start(work: Callable[[], None], n_ranges: int) -> list[Future[None]]:
    """Let the pool help with so many ranges; the number of threads may change before and after."""
    global _pool
    helpers: list[Future[None]] = []
    with _lock:
        n_threads = get_num_threads()
        n_helpers = min(n_threads, n_ranges) - 1
        if n_helpers and _pool is None:
            _pool = ThreadPoolExecutor(n_threads - 1, thread_name_prefix="blockmat")
        # Without helpers, or with fewer, if the interpreter shuts down or threads run out.
        with contextlib.suppress(RuntimeError):
            for _ in range(n_helpers):
                helpers.append(_pool.submit(work))  # type: ignore[union-attr]
    return helpers


def _forget() -> None:
    """Start afresh in a forked child, which inherits no threads."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
