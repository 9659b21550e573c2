"""Limits of the hardware: passes over memory, with as many threads as blockmat uses."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numba
import numpy as np

import blockmat as bm

_jit = numba.njit(nogil=True, fastmath={"reassoc", "nsz", "contract"}, error_model="numpy")
_pool = ThreadPoolExecutor(64)
_STREAM = 4096


@_jit
def _sum(x):
    """Sum an array in four streams, the fastest way found."""
    total = 0.0
    whole = x.shape[0] // (4 * _STREAM) * 4 * _STREAM
    for s in range(0, whole, 4 * _STREAM):
        some = x[s : s + 4 * _STREAM]
        a, b = some[:_STREAM], some[_STREAM : 2 * _STREAM]
        c, d = some[2 * _STREAM : 3 * _STREAM], some[3 * _STREAM :]
        for i in range(_STREAM):
            total += (a[i] + b[i]) + (c[i] + d[i])
    for v in x[whole:]:
        total += v
    return total


@_jit
def _scale(x, out):
    for i in range(x.shape[0]):
        out[i] = 2 * x[i] + 1


def _in_parallel(function: Callable[..., Any], *arrays: Any) -> None:
    n_threads = bm.get_num_threads()
    ends = np.linspace(0, len(arrays[0]), n_threads + 1).astype(int)
    parts = [[x[i:j] for x in arrays] for i, j in pairwise(ends)]
    waiting = [_pool.submit(function, *part) for part in parts[1:]]
    function(*parts[0])
    for future in waiting:
        future.result()


def read(*arrays: Any) -> Callable[[], None]:
    """A pass that reads arrays."""
    flat = [x.reshape(-1) for x in arrays]
    return lambda: [_in_parallel(_sum, x) for x in flat] and None


def read_write(x: Any, out: Any) -> Callable[[], None]:
    """A pass that reads one array and writes another."""
    return lambda: _in_parallel(_scale, x.reshape(-1), out.reshape(-1))


def read_write_new(x: Any) -> Callable[[], None]:
    """A pass that reads one array and writes a newly allocated one."""
    return lambda: _in_parallel(_scale, x.reshape(-1), np.empty_like(x).reshape(-1))


def numpy_sum(a: Any) -> Callable[[], None]:
    """``numpy.sum`` of a part of the rows in each thread."""
    return lambda: _in_parallel(np.sum, a)
