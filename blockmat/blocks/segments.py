"""How the work on an array is divided, and which parts threads share.

The parts depend on shapes only, so sums do not depend on the number of threads.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array, frozen
from blockmat.blocks.threads import get_num_threads

# Measured with `python -m bench scaling`.
_SHARED_FROM = 2**22  # numbers; below, threads cost more than they save
_SEGMENT = 2**14  # variables in a segment
_SHORT_SEGMENT = 32  # rows of one block, which are added before their block sums are computed


class Segments(NamedTuple):
    """Runs of at most a given length, each inside one block.

    Segment s is ``bounds[s]:bounds[s + 1]`` and lies in block ``blocks[s]``. The first segment of
    block b is ``starts[b]``.
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
    """Divide the runs between bounds into at most `n_parts` ranges of similar length."""
    cuts = np.searchsorted(bounds, np.linspace(bounds[0], bounds[-1], n_parts + 1)[1:-1])
    ends = np.unique(np.concatenate([cuts, [len(bounds) - 1]]))
    first = 0
    for last in ends.tolist():
        if last > first:
            yield first, last
        first = max(first, last)


def shared_ranges(bounds: Array, numbers: int) -> list[tuple[int, int]]:
    """Divide runs among threads; return one range if there are too few `numbers` for threads."""
    n_threads = get_num_threads() if numbers >= _SHARED_FROM else 1
    if n_threads == 1:
        return [(0, len(bounds) - 1)]
    return list(ranges(bounds, 4 * n_threads))


def pieces(n: int, length: int) -> Array:
    """Return the bounds of pieces of equal length."""
    return np.append(np.arange(0, n, length), n)
