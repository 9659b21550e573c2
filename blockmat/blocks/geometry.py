"""Indices of the variables in each block, computed from sizes and labels."""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array, frozen
from blockmat.blocks.segments import Segments, short_segments
from blockmat.blocks.segments import segments as cut


class Pairing(NamedTuple):
    """The pairs of blocks whose square block has a second value on its diagonal.

    Blocks a and b are mates if ``classes[a] == classes[b]``. The mates of a are
    ``mates[first_mate[a] : first_mate[a + 1]]``, and b is mate number ``ranks[b]`` of a.
    """

    classes: Array
    ranks: Array
    first_mate: Array
    mates: Array

    @classmethod
    def empty(cls, n_blocks: int) -> "Pairing":
        """Return a pairing without pairs."""
        nothing = np.zeros(0, dtype=np.intp)
        return cls(nothing, nothing, np.zeros(n_blocks + 1, dtype=np.intp), nothing)

    @property
    def rows(self) -> Array:
        """The block a for each entry of `mates`."""
        return np.repeat(np.arange(len(self.classes)), np.diff(self.first_mate))

    def transposed(self, numbers: Array) -> Array:
        """Reorder one number for each pair of mates for the transposed matrix."""
        if len(numbers) == 0:
            return numbers
        reordered: Array = numbers[self.first_mate[self.mates] + self.ranks[self.rows]]
        return reordered

    def as_square(self, numbers: Array) -> Array:
        """Return a (k, k) array with one number for each pair of mates, and zeros elsewhere."""
        square = np.zeros((len(self.classes),) * 2, dtype=numbers.dtype)
        square[self.rows, self.mates] = numbers
        return square


class Places(NamedTuple):
    """Where the variables of each block are, as kernels take it.

    Block b has the variables ``order[offsets[b] : offsets[b + 1]]``. Variable i is in block
    ``labels[i]``; there are no labels if the blocks are consecutive intervals.
    """

    offsets: Array
    labels: Array
    order: Array


class RowSegments(NamedTuple):
    """N rows of a matrix, sorted by block and cut into short segments.

    Segment s is ``rows[bounds[s] : bounds[s + 1]]`` and lies in ``blocks[s]``; block b
    begins with segment ``starts[b]``. Row r is at place ``positions[r]`` of its block.
    """

    rows: Array
    positions: Array
    bounds: Array
    blocks: Array
    starts: Array


class SizeClass(NamedTuple):
    """The c blocks of size m: their numbers (c,), and their variables (c, m)."""

    blocks: Array
    variables: Array


class Geometry:
    """The sizes of k blocks of n variables, and the indices of their variables.

    All arrays are read-only, and are computed on first use.

    Parameters
    ----------
    sizes : ndarray of int, shape (k,)
        The number of variables in each block.
    labels : ndarray of int32, shape (n,), optional
        The block of each variable. By default the blocks are consecutive intervals.
    """

    def __init__(self, sizes: Array, labels: Array | None = None) -> None:
        self._sizes, self._n = frozen(sizes), int(sizes.sum())
        self._given_labels = None if labels is None else frozen(labels)

    @property
    def n(self) -> int:
        """The number of variables."""
        return self._n

    @property
    def n_blocks(self) -> int:
        """The number k of blocks."""
        return len(self._sizes)

    @property
    def sizes(self) -> Array:
        """The number of variables in each block: (k,) integers, read-only."""
        return self._sizes

    @cached_property
    def labels(self) -> Array:
        """The block of each variable: (n,) integers from 0 to k - 1, read-only."""
        if self._given_labels is not None:
            return self._given_labels
        return frozen(np.repeat(np.arange(self.n_blocks, dtype=np.int32), self._sizes))

    @property
    def is_contiguous(self) -> bool:
        """Whether the blocks are consecutive intervals in the order of their numbers."""
        return self._given_labels is None

    @cached_property
    def offsets(self) -> Array:
        """Where each block starts in `order`: (k + 1,) integers, read-only."""
        return frozen(np.concatenate([[0], np.cumsum(self._sizes)]))

    @cached_property
    def order(self) -> Array:
        """The variables sorted by block, ascending in each block: (n,) integers, read-only."""
        if self.is_contiguous:
            return frozen(np.arange(self.n))
        return frozen(np.argsort(self.labels, kind="stable"))

    @cached_property
    def positions(self) -> Array:
        """The place of each variable in its block, from 0: (n,) integers, read-only."""
        places = np.empty(self.n, dtype=np.int32)
        places[self.order] = np.arange(self.n) - np.repeat(self.offsets[:-1], self._sizes)
        return frozen(places)

    @cached_property
    def codes(self) -> Array:
        """The labels as uint32 for kernels; empty if the blocks are intervals."""
        if self._given_labels is None:
            return frozen(np.empty(0, dtype=np.uint32))
        return self._given_labels.view(np.uint32)

    @cached_property
    def places(self) -> Places:
        """The offsets, codes and order, for kernels that take all of them."""
        return Places(self.offsets, self.codes, self.order)

    @cached_property
    def segments(self) -> Segments:
        """The blocks as intervals of `order`. Large blocks are cut into several segments."""
        return cut(self._sizes)

    def row_segments(self, first: int, n_rows: int) -> RowSegments:
        """Cut rows ``first : first + n_rows`` of a matrix; their numbers count from `first`."""
        if n_rows == self.n:
            return self._all_row_segments
        part = slice(first, first + n_rows)
        labels = self.labels[part]
        rows = np.arange(n_rows) if self.is_contiguous else np.argsort(labels, kind="stable")
        cut = short_segments(np.bincount(labels, minlength=self.n_blocks))
        return RowSegments(frozen(rows), self.positions[part], *cut)

    @cached_property
    def _all_row_segments(self) -> RowSegments:
        return RowSegments(self.order, self.positions, *short_segments(self._sizes))

    @cached_property
    def size_classes(self) -> tuple[SizeClass, ...]:
        """The blocks of each size above 1, and the variables in them."""
        classes = []
        for size in np.unique(self._sizes[self._sizes > 1]):
            blocks = np.flatnonzero(self._sizes == size)
            variables = self.order[self.offsets[blocks][:, None] + np.arange(size)]
            classes.append(SizeClass(frozen(blocks), frozen(variables)))
        return tuple(classes)

    def pairing(self, aligned: bool) -> Pairing:
        """Pair each block with itself or, if aligned, with every block of its size."""
        return self._aligned_pairing if aligned else self._self_pairing

    @cached_property
    def _self_pairing(self) -> Pairing:
        k = np.arange(self.n_blocks + 1)
        return Pairing(k[:-1], np.zeros_like(k[:-1]), k, k[:-1])

    @cached_property
    def _aligned_pairing(self) -> Pairing:
        _, classes = np.unique(self._sizes, return_inverse=True)
        by_class = np.argsort(classes, kind="stable")
        class_starts = np.concatenate([[0], np.cumsum(np.bincount(classes))])
        ranks = np.empty(self.n_blocks, dtype=np.intp)
        ranks[by_class] = np.arange(self.n_blocks) - class_starts[classes[by_class]]
        n_mates = np.diff(class_starts)[classes]
        first_mate = np.concatenate([[0], np.cumsum(n_mates)])
        within = np.arange(first_mate[-1]) - np.repeat(first_mate[:-1], n_mates)
        mates = by_class[np.repeat(class_starts[classes], n_mates) + within]
        return Pairing(classes, ranks, first_mate, mates)
