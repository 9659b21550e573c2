"""Partition: which of n variables belongs to which of k blocks."""

from collections.abc import Hashable, Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from blockmat.blocks.array_methods import ArrayMethods
from blockmat.blocks.checks import Array, as_count
from blockmat.blocks.html import partition_to_html
from blockmat.blocks.index import as_index
from blockmat.blocks.labels import as_plain, factorize
from blockmat.blocks.names import in_order_of
from blockmat.blocks.partition_checks import (
    checked_labels,
    checked_names,
    checked_sizes,
    hint_of_axis,
    hint_of_sizes,
)
from blockmat.exceptions import ShapeError

__all__ = ["Partition", "as_partition"]


class Partition(ArrayMethods):
    """A division of n variables, numbered 0 to n - 1, into k non-empty blocks.

    A partition is immutable and hashable. Two partitions are equal if their blocks have the same
    variables and the same names. `from_labels`, `from_sizes` and `uniform` make partitions.

    Parameters
    ----------
    sizes : sequence of int, shape (k,)
        The number of variables in each block, at least 1.
    labels : array_like of int, shape (n,), optional
        The block of each variable, 0 to k - 1. By default the blocks are consecutive intervals.
    names : sequence of hashable, shape (k,), optional
        A name for each block; by default its number.

    Raises
    ------
    PartitionError
        If there are no blocks, a size is below 1, the labels do not have the given sizes, or there
        are not k different names.
    TypeError
        If the sizes are not integers, or a name is not hashable.

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
        checked = checked_sizes(sizes)
        self._names = None if names is None else checked_names(names, len(checked))
        given = None if labels is None else checked_labels(labels, checked)
        is_sorted = given is None or not np.any(given[1:] < given[:-1])
        super().__init__(checked, None if is_sorted else given)

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
            With ``sum(sizes)`` variables.

        Raises
        ------
        PartitionError
            If there are no sizes, or a size is below 1.

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
            Variables with equal labels form a block. Blocks are in the sorted order of their labels;
            for a pandas Categorical in the order of its categories; for labels that do not compare
            in order of first appearance.

        Returns
        -------
        Partition
            Its names are the distinct labels.

        Raises
        ------
        PartitionError
            If there are no labels, or a label is missing (None, NaN, NaT, NA).
        ShapeError
            If the labels are not one-dimensional.
        DtypeError
            If they are a masked array or a sparse matrix.
        TypeError
            If they are a set, a dict or a string, or a label is not hashable.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_labels([7, 3, 7, 7]).names
        (3, 7)
        """
        names, codes = factorize(labels)
        return cls(np.bincount(codes, minlength=len(names)), codes, names)

    @classmethod
    def uniform(cls, n_blocks: int, block_size: int) -> "Partition":
        """Make a partition into intervals of equal length.

        Parameters
        ----------
        n_blocks, block_size : int
            The number of blocks, and the number of variables in each, at least 1.

        Returns
        -------
        Partition
            With ``n_blocks * block_size`` variables.

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
        """Make the partition into one block.

        Parameters
        ----------
        n : int
            The number of variables, at least 1.

        Returns
        -------
        Partition
            With k = 1.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.trivial(3).n_blocks
        1
        """
        return cls([as_count(n, "n", 1)])

    @classmethod
    def singletons(cls, n: int) -> "Partition":
        """Make the partition into blocks of one variable.

        Parameters
        ----------
        n : int
            The number of variables, at least 1.

        Returns
        -------
        Partition
            With k = n.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.singletons(3).labels.tolist()
        [0, 1, 2]
        """
        return cls(np.ones(as_count(n, "n", 1), dtype=np.intp))

    @property
    def names(self) -> tuple[Hashable, ...]:
        """The name of each block: its label, or its number."""
        return tuple(range(self.n_blocks)) if self._names is None else self._names

    @property
    def nbytes(self) -> int:
        """The number of bytes of the sizes and, unless the blocks are intervals, of the labels."""
        return self._sizes.nbytes + (0 if self.is_contiguous else self.labels.nbytes)

    # Comparison with other partitions, and new partitions

    def same_blocks(self, other: "Partition") -> bool:
        """Whether two partitions have equal ``labels``. Names are not compared.

        Parameters
        ----------
        other : Partition
            The other partition.

        Returns
        -------
        bool
            True if they have the same blocks in the same order.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_labels("a b".split()).same_blocks(bm.Partition.singletons(2))
        True
        """
        if self is other:
            return True
        if not np.array_equal(self._sizes, other.sizes):
            return False
        if self.is_contiguous or other.is_contiguous:
            return self.is_contiguous and other.is_contiguous
        return np.array_equal(self.labels, other.labels)

    def refine(self, labels: Any) -> "Partition":
        """Split the blocks by a second set of labels.

        Parameters
        ----------
        labels : Partition or sequence of hashable, shape (n,)
            Variables of one block stay together if they have the same label.

        Returns
        -------
        Partition
            Its names are pairs of a block's name and a label.

        Raises
        ------
        ShapeError, PartitionError
            If there are not n labels, or a label is missing.

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
        """Return the coarsest common refinement of two partitions.

        Parameters
        ----------
        other : Partition
            A partition of the same n variables.

        Returns
        -------
        Partition
            Its blocks are the non-empty intersections of the blocks of both.

        Raises
        ------
        TypeError, ShapeError
            If `other` is not a Partition, or has another number of variables.

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
            The other partition.

        Returns
        -------
        bool
            True also if both have the same blocks.

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
        """Join the blocks that have the same label.

        Parameters
        ----------
        labels : sequence of hashable, shape (k,)
            One label per block.

        Returns
        -------
        Partition
            Its names are the distinct labels.

        Raises
        ------
        ShapeError, PartitionError
            If there are not k labels, or a label is missing.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_sizes([1, 2, 3]).merge(["x", "y", "x"]).sizes.tolist()
        [4, 2]
        """
        names, codes = factorize(labels)
        if len(codes) != self.n_blocks:
            raise ShapeError(
                f"labels has length {len(codes)}; expected one label for each of the "
                f"{self.n_blocks} blocks"
            )
        merged = codes[self.labels]
        return Partition(np.bincount(merged), merged, names)

    def subset(self, index: Any) -> "Partition":
        """Return the partition of some of the variables.

        Parameters
        ----------
        index : array_like of int, array_like of bool of shape (n,), or slice
            The variables, in the order that they will have. Negative numbers count from the end.

        Returns
        -------
        Partition
            Blocks keep their order and their names. Blocks without a chosen variable disappear.

        Raises
        ------
        VariableIndexError
            If no variable is chosen, or one is chosen twice, or a number is out of range.
        ShapeError, DtypeError
            If `index` is neither a list of integers nor a mask of length n.

        Examples
        --------
        >>> import blockmat as bm
        >>> p = bm.Partition.from_labels(["x", "y", "z", "x"])
        >>> q = p.subset([3, 0, 2])
        >>> q.names, q.labels.tolist()
        (('x', 'z'), [0, 0, 1])
        """
        labels = self.labels[as_index(index, self.n)]
        counts = np.bincount(labels, minlength=self.n_blocks)
        kept = np.flatnonzero(counts)
        if len(kept) == self.n_blocks:
            return Partition(counts, labels, self._names)
        names = kept.tolist() if self._names is None else [self._names[b] for b in kept]
        number = np.cumsum(counts > 0) - 1
        return Partition(counts[kept], number[labels], names)

    # Python protocols

    def groups(self, variables: Iterable[Any] | None = None) -> dict[Hashable, list[Any]]:
        """Return the variables of each block, by the name of the block.

        Parameters
        ----------
        variables : sequence, shape (n,), optional
            The names of the variables, such as the columns of a DataFrame; by default their
            numbers.

        Returns
        -------
        dict of list
            For each block its variables, in ascending order of their numbers.

        Raises
        ------
        ShapeError
            If there is not one name for each variable.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_labels(["b", "a", "b"]).groups(["x", "y", "z"])
        {'a': ['y'], 'b': ['x', 'z']}
        """
        every = list(map(as_plain, range(self.n) if variables is None else variables))
        if len(every) != self.n:
            raise ShapeError(f"variables has length {len(every)}; expected {self.n}")
        return {
            name: [every[i] for i in block] for name, block in zip(self.names, self, strict=True)
        }

    def __len__(self) -> int:
        return self.n_blocks

    def __iter__(self) -> Iterator[Array]:
        """Yield the indices of the variables of each block, in ascending order."""
        for start, stop in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            yield self.order[start:stop]

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
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
        variables = f"{self.n} variable{'s' if self.n > 1 else ''}"
        blocks = f"{self.n_blocks} {kind} block{'s' if self.n_blocks > 1 else ''}"
        return f"<Partition of {variables} into {blocks} of {sizes}>"

    def _repr_html_(self) -> str:
        return partition_to_html(repr(self), self.names, self._sizes)

    def __reduce__(self) -> tuple[Any, ...]:
        return Partition, (self._sizes, self._given_labels, self._names)


def as_partition(
    partition: Any, n: int | None = None, name: str = "partition", source: Any = None, axis: int = 1
) -> Partition:
    """Return a Partition from a Partition or from one label per variable.

    Parameters
    ----------
    partition : Partition, sequence of hashable, Series or dict, shape (n,)
        The blocks. If `source` is a DataFrame, a Series or dict gives labels by column name.
    n : int, optional
        The number of variables it must have.
    name : str
        The argument's name, for error messages.
    source : object, optional
        The matrix or samples, whose rows or columns are the variables.
    axis : {0, 1}, default 1
        Whether they are rows (0) or columns (1).

    Raises
    ------
    ShapeError
        If it has another number of variables.
    PartitionError
        If a name has no label, or occurs more than once; or if it is a Series with an index and the
        source has no names.
    TypeError
        If it is a dict and the source has no names.
    """
    if isinstance(partition, Partition):
        if n is not None and partition.n != n:
            hint = hint_of_axis(partition.n, source, axis)
            raise ShapeError(f"{name} divides {partition.n} variables; expected {n}{hint}")
        return partition
    names, codes = factorize(in_order_of(partition, source, axis, name), name)
    if n is not None and len(codes) != n:
        hint = hint_of_sizes(names, codes, n) or hint_of_axis(len(codes), source, axis)
        raise ShapeError(
            f"{name} has {len(codes)} labels; expected {n}, one for each variable{hint}"
        )
    return Partition(np.bincount(codes, minlength=len(names)), codes, names)
