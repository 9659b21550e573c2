"""Partition: which of n variables belongs to which of k blocks."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, MappingView, Sequence, Set
from functools import cached_property
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse

from blockmat._blockwise import Segments, block_sums, segments
from blockmat._html import partition_to_html
from blockmat._validation import (
    Array,
    as_count,
    as_numeric,
    check_ndim,
    frozen,
    refuse_mask,
)
from blockmat.exceptions import DtypeError, PartitionError, ShapeError

__all__ = ["Partition", "as_partition"]


class Pairing(NamedTuple):
    """Which pairs of blocks carry a number of their own on their p <-> p entries.

    Blocks a and b are mates when ``classes[a] == classes[b]``; the mates of a are
    ``mates[first_mate[a] : first_mate[a + 1]]`` and b is number ``ranks[b]`` of them.
    """

    classes: Array
    ranks: Array
    first_mate: Array
    mates: Array

    @property
    def rows(self) -> Array:
        """The block whose mate each entry of `mates` is."""
        return np.repeat(np.arange(len(self.classes)), np.diff(self.first_mate))


class SizeClass(NamedTuple):
    """The c blocks of one size m: their numbers (c,), and their variables (c, m)."""

    blocks: Array
    variables: Array


class Partition:
    """A division of ``{0, ..., n-1}`` into k non-empty blocks.

    Immutable and hashable; two partitions are equal when they put the same
    variables into the same blocks under the same names. Usually made by
    `from_labels`, `from_sizes` or `uniform`.

    Parameters
    ----------
    sizes : sequence of int, shape (k,)
        The number of variables of each block, at least 1.
    labels : array_like of int, shape (n,), optional
        The block of each variable, 0..k-1. Without it the blocks are consecutive
        intervals in the order of `sizes`.
    names : sequence of hashable, shape (k,), optional
        A name for each block; by default its number.

    Raises
    ------
    PartitionError
        If there are no blocks, a block is empty or negative, the labels do not
        have the given sizes, or the names are not k different ones.
    TypeError
        If the sizes are not integers or a name is not hashable.

    See Also
    --------
    BlockConstantMatrix : a matrix that is constant on the blocks of a partition.

    Examples
    --------
    >>> import blockmat as bm
    >>> p = bm.Partition.from_labels(["b", "a", "b"])
    >>> p.names, p.sizes.tolist(), p.labels.tolist()
    (('a', 'b'), [1, 2], [1, 0, 1])
    >>> p.block_sums([10.0, 1.0, 20.0])
    array([ 1., 30.])
    """

    def __init__(
        self,
        sizes: Iterable[int],
        labels: Any = None,
        names: Iterable[Hashable] | None = None,
    ) -> None:
        self._sizes = frozen(_checked_sizes(sizes))
        self._names = None if names is None else _checked_names(names, len(self._sizes))
        self._given_labels = None
        if labels is not None:
            given = _checked_labels(labels, self._sizes)
            if np.any(given[1:] < given[:-1]):
                self._given_labels = frozen(given)

    @classmethod
    def from_sizes(
        cls, sizes: Iterable[int], names: Iterable[Hashable] | None = None
    ) -> "Partition":
        """Make a partition into consecutive intervals.

        Parameters
        ----------
        sizes : sequence of int, shape (k,)
            The length of each interval, at least 1.
        names : sequence of hashable, shape (k,), optional
            A name for each block; by default its number.

        Returns
        -------
        Partition
            The partition of ``sum(sizes)`` variables.

        Raises
        ------
        PartitionError
            If there are no sizes or one is below 1.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_sizes([3, 4, 2]).labels.tolist()
        [0, 0, 0, 1, 1, 1, 1, 2, 2]
        """
        return cls(sizes, names=names)

    @classmethod
    def from_labels(cls, labels: Any) -> "Partition":
        """Make a partition from one label per variable.

        Parameters
        ----------
        labels : sequence of hashable, shape (n,)
            Any labels: integers, strings, dates, tuples, a pandas Series or Categorical, in
            the order of the variables. Variables with equal labels form a block. Blocks are
            numbered in the sorted order of the labels, of a Categorical in the order of its
            categories, or in order of first appearance if labels do not compare.

        Returns
        -------
        Partition
            With ``names`` the distinct labels.

        Raises
        ------
        PartitionError
            If there are no labels, or one is missing (None, NaN, NaT, NA).
        ShapeError
            If the labels are not one-dimensional.
        DtypeError
            If the labels are a masked array or a sparse matrix.
        TypeError
            If a label is not hashable, or they are a set, a dict or a string: these have no
            order, or no label for each variable.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_labels([7, 3, 7, 7]).names
        (3, 7)
        """
        names, codes = _factorize(labels)
        return cls(np.bincount(codes, minlength=len(names)), codes, names)

    @classmethod
    def uniform(cls, n_blocks: int, block_size: int) -> "Partition":
        """Make a partition into intervals of one size.

        Parameters
        ----------
        n_blocks : int
            The number k of blocks.
        block_size : int
            The number of variables in each.

        Returns
        -------
        Partition
            The partition of ``n_blocks * block_size`` variables.

        Raises
        ------
        ValueError
            If either number is below 1.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.uniform(2, 3).labels.tolist()
        [0, 0, 0, 1, 1, 1]
        """
        k = as_count(n_blocks, "n_blocks", 1)
        return cls(np.full(k, as_count(block_size, "block_size", 1)))

    @classmethod
    def trivial(cls, n: int) -> "Partition":
        """Put all n variables into one block.

        Parameters
        ----------
        n : int
            The number of variables.

        Returns
        -------
        Partition
            With k = 1.

        Raises
        ------
        ValueError
            If `n` is below 1.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.trivial(3).n_blocks
        1
        """
        return cls([as_count(n, "n", 1)])

    @classmethod
    def singletons(cls, n: int) -> "Partition":
        """Put each of n variables into a block of its own.

        Parameters
        ----------
        n : int
            The number of variables.

        Returns
        -------
        Partition
            With k = n.

        Raises
        ------
        ValueError
            If `n` is below 1.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.singletons(3).labels.tolist()
        [0, 1, 2]
        """
        return cls(np.ones(as_count(n, "n", 1), dtype=np.intp))

    # What it is

    @property
    def n(self) -> int:
        """The number of variables."""
        return int(self.offsets[-1])

    @property
    def n_blocks(self) -> int:
        """The number k of blocks."""
        return len(self._sizes)

    @property
    def sizes(self) -> Array:
        """The number of variables of each block: (k,) integers, read-only."""
        return self._sizes

    @cached_property
    def labels(self) -> Array:
        """The block of each variable: (n,) integers 0..k-1, read-only."""
        if self._given_labels is not None:
            return self._given_labels
        return frozen(np.repeat(np.arange(self.n_blocks, dtype=np.int32), self._sizes))

    @property
    def names(self) -> tuple[Hashable, ...]:
        """The name of each block: the label it was made from, or its number."""
        return tuple(range(self.n_blocks)) if self._names is None else self._names

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
        """The variables sorted by block, ascending inside each: (n,) integers, read-only."""
        if self.is_contiguous:
            return frozen(np.arange(self.n))
        return frozen(np.argsort(self.labels, kind="stable"))

    @cached_property
    def positions(self) -> Array:
        """The place of each variable inside its block, from 0: (n,) integers, read-only."""
        places = np.empty(self.n, dtype=np.int32)
        places[self.order] = np.arange(self.n) - np.repeat(self.offsets[:-1], self._sizes)
        return frozen(places)

    @property
    def nbytes(self) -> int:
        """The bytes that describe it: sizes, and labels unless the blocks are intervals."""
        return self._sizes.nbytes + (0 if self.is_contiguous else self.labels.nbytes)

    @cached_property
    def _codes(self) -> Array:
        """The labels as kernels take them: uint32, and none if the blocks are intervals."""
        if self._given_labels is None:
            return frozen(np.empty(0, dtype=np.uint32))
        return self._given_labels.view(np.uint32)

    @cached_property
    def _segments(self) -> Segments:
        """The blocks as intervals of `order`, the large ones cut into several."""
        return segments(self._sizes)

    @cached_property
    def size_classes(self) -> tuple[SizeClass, ...]:
        """The blocks of each size above 1, and the variables in them."""
        classes = []
        for size in np.unique(self._sizes[self._sizes > 1]):
            blocks = np.flatnonzero(self._sizes == size)
            variables = self.order[self.offsets[blocks][:, None] + np.arange(size)]
            classes.append(SizeClass(frozen(blocks), frozen(variables)))
        return tuple(classes)

    def _pairing(self, aligned: bool) -> Pairing:
        """Pair each block with itself or, aligned, with every block of its size."""
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

    # What it does to arrays

    def block_sums(self, x: Any, axis: int = 0) -> Array:
        """Sum an array over each block.

        Parameters
        ----------
        x : array_like, shape (n,), (n, m) or (m, n)
            The numbers to sum; float32 is accumulated in double precision.
        axis : {0, 1, -1}, default 0
            The axis of length n.

        Returns
        -------
        ndarray
            `x` with that axis replaced by one of length k.

        Raises
        ------
        ShapeError
            If `x` is not 1-d or 2-d, or the axis has another length.
        DtypeError
            If `x` is not numeric.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_sizes([2, 1]).block_sums([[1, 2, 5]], axis=1)
        array([[3., 5.]])
        """
        x, swap = self._along_axis(x, axis, self.n, "x")
        sums = block_sums(self, x).astype(x.dtype, copy=False)
        return sums.T if swap else sums

    def block_means(self, x: Any, axis: int = 0) -> Array:
        """Average an array over each block.

        Parameters
        ----------
        x : array_like, shape (n,), (n, m) or (m, n)
            The numbers to average.
        axis : {0, 1, -1}, default 0
            The axis of length n.

        Returns
        -------
        ndarray
            `x` with that axis replaced by one of length k.

        Raises
        ------
        ShapeError
            If `x` is not 1-d or 2-d, or the axis has another length.
        DtypeError
            If `x` is not numeric.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_sizes([2, 1]).block_means([1.0, 2.0, 5.0])
        array([1.5, 5. ])
        """
        x, swap = self._along_axis(x, axis, self.n, "x")
        sums = block_sums(self, x)
        means = (sums.T / self._sizes).T.astype(x.dtype, copy=False)
        return means.T if swap else means

    def expand(self, values: Any, axis: int = 0) -> Array:
        """Give every variable the value of its block.

        Parameters
        ----------
        values : array_like, shape (k,), (k, m) or (m, k)
            One value, or one row or column of values, per block.
        axis : {0, 1, -1}, default 0
            The axis of length k.

        Returns
        -------
        ndarray
            `values` with that axis replaced by one of length n.

        Raises
        ------
        ShapeError
            If `values` is not 1-d or 2-d, or the axis has another length.
        DtypeError
            If `values` is not numeric.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_sizes([2, 1]).expand([1.5, 5.0])
        array([1.5, 1.5, 5. ])
        """
        values, swap = self._along_axis(values, axis, self.n_blocks, "values")
        if self.is_contiguous:
            expanded = np.repeat(values, self._sizes, axis=0)
        else:
            expanded = np.take(values, self.labels, axis=0)
        return expanded.T if swap else expanded

    def indicator(self, normalized: bool = False, dtype: Any = np.float64) -> Any:
        """Make the indicator matrix of the blocks.

        Parameters
        ----------
        normalized : bool, default False
            Divide column b by the square root of the size of block b, which makes
            the columns orthonormal.
        dtype : dtype, default float64
            The dtype of the result.

        Returns
        -------
        scipy.sparse.csr_array, shape (n, k)
            With an entry at (i, b) where variable i is in block b.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_sizes([2, 1]).indicator().toarray()
        array([[1., 0.],
               [1., 0.],
               [0., 1.]])
        """
        from scipy.sparse import csr_array

        column = 1 / np.sqrt(self._sizes) if normalized else np.ones(self.n_blocks)
        data = np.take(column.astype(dtype), self.labels)
        return csr_array((data, self.labels, np.arange(self.n + 1)), shape=(self.n, self.n_blocks))

    # How it relates to other partitions

    def same_blocks(self, other: "Partition") -> bool:
        """Whether both put the same variables into blocks of the same number.

        Parameters
        ----------
        other : Partition
            The partition to compare with; names do not matter.

        Returns
        -------
        bool
            True when ``labels`` are equal.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_labels("a b".split()).same_blocks(bm.Partition.singletons(2))
        True
        """
        if self is other:
            return True
        if not np.array_equal(self._sizes, other._sizes):
            return False
        if self.is_contiguous or other.is_contiguous:
            return self.is_contiguous and other.is_contiguous
        return np.array_equal(self.labels, other.labels)

    def refine(self, labels: Any) -> "Partition":
        """Split every block further by a second set of labels.

        Parameters
        ----------
        labels : Partition or sequence of hashable, shape (n,)
            Variables stay together when both their block and this label agree.

        Returns
        -------
        Partition
            The coarsest partition finer than both. Names are pairs of names.

        Raises
        ------
        ShapeError
            If there are not n labels.
        PartitionError
            If a label is missing.

        Examples
        --------
        >>> import blockmat as bm
        >>> p = bm.Partition.from_sizes([2, 1], names=["x", "y"])
        >>> p.refine(["u", "v", "v"]).names
        (('x', 'u'), ('x', 'v'), ('y', 'v'))
        """
        other = as_partition(labels, self.n, "labels")
        pairs = self.labels.astype(np.int64) * other.n_blocks + other.labels
        distinct, codes = np.unique(pairs, return_inverse=True)
        mine, theirs = self.names, other.names
        names = [
            (mine[a], theirs[b]) for a, b in zip(*divmod(distinct, other.n_blocks), strict=True)
        ]
        return Partition(np.bincount(codes), codes, names)

    def meet(self, other: "Partition") -> "Partition":
        """Intersect the blocks of two partitions.

        Parameters
        ----------
        other : Partition
            A partition of the same n variables.

        Returns
        -------
        Partition
            The coarsest partition that refines both; `refine` with a partition.

        Raises
        ------
        TypeError
            If `other` is not a Partition.
        ShapeError
            If it has another number of variables.

        Examples
        --------
        >>> import blockmat as bm
        >>> p, q = bm.Partition.from_sizes([2, 2]), bm.Partition.from_sizes([3, 1])
        >>> p.meet(q).sizes.tolist()
        [2, 1, 1]
        """
        if not isinstance(other, Partition):
            raise TypeError(f"other is a {type(other).__name__}; expected a Partition")
        return self.refine(other)

    def is_refinement_of(self, coarser: "Partition") -> bool:
        """Whether every block lies inside one block of another partition.

        Parameters
        ----------
        coarser : Partition
            The partition that may be coarser.

        Returns
        -------
        bool
            True also when both have the same blocks.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.singletons(3).is_refinement_of(bm.Partition.trivial(3))
        True
        """
        if self.n != coarser.n:
            return False
        first = self.order[self.offsets[:-1]]
        return np.array_equal(coarser.labels[first][self.labels], coarser.labels)

    def merge(self, labels: Any) -> "Partition":
        """Join blocks that get the same label.

        Parameters
        ----------
        labels : sequence of hashable, shape (k,)
            One label per block, in the order of the blocks.

        Returns
        -------
        Partition
            A coarser partition whose names are the distinct labels.

        Raises
        ------
        ShapeError
            If there are not k labels.
        PartitionError
            If a label is missing.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_sizes([1, 2, 3]).merge(["x", "y", "x"]).sizes.tolist()
        [4, 2]
        """
        names, codes = _factorize(labels)
        if len(codes) != self.n_blocks:
            raise ShapeError(
                f"labels has length {len(codes)}; expected one label for each of the "
                f"{self.n_blocks} blocks"
            )
        merged = codes[self.labels]
        return Partition(np.bincount(merged), merged, names)

    # Python protocols

    def __len__(self) -> int:
        return self.n_blocks

    def __iter__(self) -> Iterator[Array]:
        """Iterate over the blocks: the ascending indices of the variables of each."""
        for start, stop in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            yield self.order[start:stop]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Partition):
            return NotImplemented
        return self.same_blocks(other) and self.names == other.names

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        labels = b"" if self._given_labels is None else self._given_labels.tobytes()
        return hash((self._sizes.tobytes(), labels, self.names))

    def __repr__(self) -> str:
        smallest, largest = int(self._sizes.min()), int(self._sizes.max())
        sizes = f"size {largest}" if smallest == largest else f"sizes {smallest} to {largest}"
        kind = "contiguous" if self.is_contiguous else "labelled"
        return f"<Partition of {self.n} variables into {self.n_blocks} {kind} blocks of {sizes}>"

    def _repr_html_(self) -> str:
        return partition_to_html(repr(self), self.names, self._sizes)

    def __reduce__(self) -> tuple[Any, ...]:
        return Partition, (self._sizes, self._given_labels, self._names)

    # Shared by the public methods

    def _along_axis(self, x: Any, axis: int, length: int, name: str) -> tuple[Array, bool]:
        """Validate an array and move the axis of the given length to the front."""
        x = as_numeric(x, name, (1, 2))
        try:
            swap = bool(range(x.ndim)[axis])
        except (IndexError, TypeError):
            raise ValueError(
                f"axis is {axis!r}; expected 0, 1 or -1 within {x.ndim} dimensions"
            ) from None
        if swap:
            x = x.T
        if x.shape[0] != length:
            raise ShapeError(f"{name} has length {x.shape[0]} along axis {axis}; expected {length}")
        return x, swap


def as_partition(
    partition: Any, n: int | None = None, name: str = "partition", source: Any = None, axis: int = 1
) -> Partition:
    """Return a Partition from a Partition or from one label per variable.

    Where the source is a pandas DataFrame, labels in a Series or a dict go by the names of its
    columns, and other labels by position. Labels of names that it does not have are not used. A
    Series with the default index, 0 to n - 1, goes by position unless the columns are numbers too.

    Parameters
    ----------
    partition : Partition, sequence of hashable, Series or dict, shape (n,)
        What to convert.
    n : int, optional
        The number of variables it must have.
    name : str
        The argument's name, for error messages.
    source : object, optional
        What the variables are columns of.
    axis : {0, 1}, default 1
        Whether they are its rows or its columns.

    Returns
    -------
    Partition
        The partition itself, or the one that the labels describe.

    Raises
    ------
    ShapeError
        If it has another number of variables.
    PartitionError
        If a variable's name has no label, or stands for several variables or labels.
    TypeError
        If it is a dict and the source has no names.
    """
    if isinstance(partition, Partition):
        if n is not None and partition.n != n:
            raise ShapeError(f"{name} divides {partition.n} variables; expected {n}")
        return partition
    result = Partition.from_labels(_in_order_of(partition, source, axis, name))
    if n is not None and result.n != n:
        raise ShapeError(f"{name} has {result.n} labels; expected {n}, one for each variable")
    return result


def _in_order_of(labels: Any, source: Any, axis: int, name: str) -> Any:
    """Return labels that are given by name in the order of the names of a source, and others as given."""
    is_series = hasattr(labels, "iloc") and labels.ndim == 1
    if not is_series and not isinstance(labels, Mapping):
        return labels
    names = _names_of(source, axis)
    if names is None:
        if is_series:
            return labels
        raise TypeError(
            f"{name} is a {type(labels).__name__}, which gives labels by name; expected it with a "
            f"DataFrame, or a sequence with one label per variable"
        )
    given = list(labels.index) if is_series else list(labels)
    is_default = given == list(range(len(names)))
    if is_series and is_default and not all(isinstance(x, Integral) for x in names):
        return labels
    for what, each in ((name, given), ("source", names)):
        if len(set(each)) < len(each):
            twice = next(x for x, count in Counter(each).items() if count > 1)
            raise PartitionError(
                f"{what} has the name {twice!r} more than once; expected different names, or labels "
                f"in the order of the variables"
            )
    missing = [x for x in names if x not in set(given)]
    if missing:
        more = ", ..." if len(missing) > 3 else ""
        raise PartitionError(
            f"{name} has no label for {', '.join(map(repr, missing[:3]))}{more}; expected a label "
            f"for each variable"
        )
    return labels.reindex(names) if is_series else [labels[x] for x in names]


def _names_of(source: Any, axis: int) -> list[Any] | None:
    """Return the names of the rows or columns of a pandas DataFrame."""
    if not (hasattr(source, "iloc") and hasattr(source, "columns")):
        return None
    return list(source.columns if axis else source.index)


def check_names(source: Any) -> None:
    """Refuse a square DataFrame whose rows are its columns in another order."""
    rows, cols = _names_of(source, 0), _names_of(source, 1)
    if rows is not None and rows != cols and Counter(rows) == Counter(cols):
        raise ValueError(
            "source has the same names in another order in its rows than in its columns; expected "
            "source.loc[source.columns]"
        )


def _checked_sizes(sizes: Iterable[int]) -> Array:
    given = sizes if isinstance(sizes, np.ndarray) else list(sizes)
    array = np.asarray(given)
    if array.size == 0:
        raise PartitionError("sizes is empty; expected at least one block")
    if array.ndim != 1:
        raise ShapeError(f"sizes has shape {array.shape}; expected one dimension")
    if array.dtype.kind not in "iu" and not all(type(size) is int for size in given):
        raise TypeError(f"sizes has dtype {array.dtype}; expected integers")
    wrong = np.flatnonzero(array < 1)
    if len(wrong):
        raise PartitionError(
            f"sizes[{wrong[0]}] is {array[wrong[0]]}; expected every block to have at least 1 variable"
        )
    most = np.iinfo(np.intp).max
    if array.sum(dtype=np.float64) > most / 2 and (total := sum(array.tolist())) > most:
        raise PartitionError(f"sizes add up to {total}; expected at most {most} variables")
    return array.astype(np.intp)


def _checked_labels(labels: Any, sizes: Array) -> Array:
    array = np.asarray(labels)
    check_ndim(array, "labels", (1,))
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"labels has dtype {array.dtype}; expected block numbers "
            f"(Partition.from_labels takes labels of any kind)"
        )
    k = len(sizes)
    if array.size == 0 or array.min() < 0 or array.max() >= k:
        raise PartitionError(f"labels must be block numbers 0..{k - 1}, one for each variable")
    counts = np.bincount(array, minlength=k)
    wrong = np.flatnonzero(counts != sizes)
    if len(wrong):
        b = wrong[0]
        raise PartitionError(
            f"labels has {counts[b]} variables in block {b}; expected sizes[{b}] = {sizes[b]}"
        )
    return array.astype(np.int32)


def _checked_names(names: Iterable[Hashable], k: int) -> tuple[Hashable, ...]:
    result = tuple(names)
    if len(result) != k:
        raise PartitionError(f"names has length {len(result)}; expected one for each of {k} blocks")
    if len(set(result)) != k:
        raise PartitionError("names has duplicates; expected a different name for each block")
    return result


def _factorize(labels: Any) -> tuple[tuple[Hashable, ...], Array]:
    """Return the distinct labels and the number of each variable's label."""
    refuse_mask(labels, "labels")
    if issparse(labels):
        raise DtypeError("labels is a sparse matrix; expected a dense array (see .toarray())")
    has_order = isinstance(labels, Iterable) and not isinstance(labels, Set | MappingView | Mapping)
    if not has_order or isinstance(labels, str | bytes | bytearray):
        raise TypeError(f"labels is {labels!r}; expected a sequence with one label per variable")
    categories = getattr(getattr(labels, "dtype", None), "categories", None)
    if not isinstance(labels, Sequence):
        labels = np.asarray(labels) if hasattr(labels, "__array__") else list(labels)
    if isinstance(labels, np.ndarray):
        check_ndim(labels, "labels", (1,))
    if len(labels) == 0:
        raise PartitionError("labels is empty; expected at least one variable")
    if categories is None and isinstance(labels, np.ndarray) and labels.dtype.kind in "biufSU":
        if labels.dtype.kind == "f":
            _refuse_missing(np.isnan(labels))
        distinct, codes = np.unique(labels, return_inverse=True)
        return tuple(distinct.tolist()), codes
    return _factorize_objects(list(labels), categories)


def _factorize_objects(
    labels: list[Any], categories: Any = None
) -> tuple[tuple[Hashable, ...], Array]:
    try:
        distinct = dict.fromkeys(labels)
    except TypeError as error:
        raise TypeError(f"labels must be hashable and one-dimensional: {error}") from None
    if any(map(_is_missing, distinct)):
        _refuse_missing(np.array([_is_missing(label) for label in labels]))
    if categories is not None:
        ordered = [label for label in categories if label in distinct]
    else:
        try:
            ordered = sorted(distinct)
        except TypeError:
            ordered = list(distinct)
    numbers = {label: b for b, label in enumerate(ordered)}
    codes = np.fromiter((numbers[label] for label in labels), dtype=np.intp, count=len(labels))
    return tuple(map(_as_plain, ordered)), codes


def _as_plain(label: Any) -> Any:
    """Return Python's kind of a NumPy scalar, but times finer than Python knows as they are."""
    if not isinstance(label, np.generic):
        return label
    plain = label.item()
    is_time = isinstance(label, np.datetime64 | np.timedelta64)
    return label if is_time and isinstance(plain, int) else plain


def _is_missing(label: Any) -> bool:
    if label is None or label is np.ma.masked:
        return True
    try:
        return bool(label != label)
    except TypeError:  # pandas.NA refuses to say
        return True


def _refuse_missing(missing: Array) -> None:
    where = np.flatnonzero(missing)
    if len(where):
        raise PartitionError(
            f"labels is missing (None or NaN) at index {where[0]}; expected a label for each variable"
        )
