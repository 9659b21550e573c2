"""How work on an array is cut into parts, and which parts threads share.

The cuts depend on shapes only, so every sum is the same for any number of threads.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array, frozen
from blockmat.blocks.threads import get_num_threads

# Measured with `python -m bench threads`: below the first, threads cost more than they save.
_SHARED_FROM = 2**22  # numbers
_SEGMENT = 2**14  # variables
_SHORT_SEGMENT = 32  # rows of one block, added up before their columns are


class Segments(NamedTuple):
    """Runs of at most a given length that do not cross the borders of blocks.

    Segment s is ``bounds[s]:bounds[s + 1]`` and lies in ``blocks[s]``; block b begins
    with segment ``starts[b]``.
    """

    bounds: Array
    blocks: Array
    starts: Array


def segments(sizes: Array, length: int | None = None) -> Segments:
    """Cut consecutive blocks of the given sizes, which may be 0, into segments."""
    length = _SEGMENT if length is None else length
    counts = -(-sizes // length)
    starts = np.concatenate([[0], np.cumsum(counts)])
    blocks = np.repeat(np.arange(len(sizes)), counts)
    ends = np.cumsum(sizes)
    bounds = np.zeros(len(blocks) + 1, dtype=np.intp)
    place = np.arange(1, len(blocks) + 1) - starts[blocks]
    bounds[1:] = np.minimum((ends - sizes)[blocks] + place * length, ends[blocks])
    return Segments(frozen(bounds), frozen(blocks), frozen(starts))


def short_segments(sizes: Array) -> Segments:
    """Cut blocks of rows, which are added up as vectors."""
    return segments(sizes, _SHORT_SEGMENT)


def ranges(bounds: Array, n_parts: int) -> Iterator[tuple[int, int]]:
    """Divide runs between bounds into at most `n_parts` ranges of about equal length."""
    cuts = np.searchsorted(bounds, np.linspace(bounds[0], bounds[-1], n_parts + 1)[1:-1])
    ends = np.unique(np.concatenate([cuts, [len(bounds) - 1]]))
    first = 0
    for last in ends.tolist():
        if last > first:
            yield first, last
        first = max(first, last)


def shared_ranges(bounds: Array, numbers: int) -> list[tuple[int, int]]:
    """Divide runs among threads, or leave them together if there are too few `numbers`."""
    n_threads = get_num_threads() if numbers >= _SHARED_FROM else 1
    if n_threads == 1:
        return [(0, len(bounds) - 1)]
    return list(ranges(bounds, 4 * n_threads))


def pieces(n: int, length: int) -> Array:
    """Bounds of pieces of one length."""
    return np.append(np.arange(0, n, length), n)
