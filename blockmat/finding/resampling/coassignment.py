"""How often two variables share a block in many partitions, without an n x n array."""

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from blockmat.blocks.checks import Array, as_numeric, as_raw_array, frozen
from blockmat.blocks.partition import Partition
from blockmat.exceptions import DtypeError, PartitionMismatchError, ShapeError
from blockmat.matrices.entries import Entries

__all__ = ["Coassignment"]


class Coassignment(Entries):
    """The share of partitions in which variables i and j are in the same block, for all i and j.

    It is a SciPy LinearOperator of shape (n, n) that stores the m x n labels only. ``C[i, j]``,
    ``C[i]`` and all other keys of NumPy return entries, ``C @ x`` multiplies in O(m n), and
    `toarray` makes the n x n array, which is Monti's consensus matrix [1]_.

    Parameters
    ----------
    labels : array_like of int, shape (m, n)
        The block numbers of n variables in each of m partitions, from 0 to n - 1.

    Raises
    ------
    ShapeError
        If the labels are not a non-empty matrix.
    DtypeError
        If they are not integers.
    ValueError
        If one is not from 0 to n - 1.

    See Also
    --------
    partition_stability : computes one from resampled data.

    References
    ----------
    .. [1] S. Monti, P. Tamayo, J. Mesirov, T. Golub, "Consensus Clustering", Machine Learning 52,
       2003.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> X = np.random.default_rng(0).normal(size=(50, 2))[:, [0, 0, 0, 1, 1]]
    >>> X = X + 0.1 * np.random.default_rng(1).normal(size=(50, 5))
    >>> C = bm.partition_stability(X, 2, samples=True, n_resamples=10).coassignment
    >>> C[0, 1], C[0, 4], C.shape
    (np.float64(1.0), np.float64(0.0), (5, 5))
    """

    def __init__(self, labels: Any) -> None:
        self.labels = frozen(_as_block_numbers(labels))
        n = self.labels.shape[1]
        super().__init__(dtype=np.float64, shape=(n, n))
        n_blocks = self.labels.max(axis=1) + 1
        self._offsets = np.append(0, np.cumsum(n_blocks))
        self._member = self._membership(np.ones(self.labels.shape))

    def toarray(self) -> Array:
        """Return Monti's consensus matrix as a dense array.

        Returns
        -------
        ndarray, shape (n, n)
            All entries, as a new array.

        Examples
        --------
        >>> from blockmat import Coassignment
        >>> Coassignment([[0, 0, 1], [0, 1, 1]]).toarray()
        array([[1. , 0.5, 0. ],
               [0.5, 1. , 0.5],
               [0. , 0.5, 1. ]])
        """
        counts: Array = (self._member @ self._member.T).toarray()
        return counts / len(self.labels)

    def with_blocks(self, p: Partition, signs: Array | None = None) -> Array:
        """Return the mean entry of each variable with the other variables of each block.

        Parameters
        ----------
        p : Partition
            A partition of the n variables into k blocks.
        signs : ndarray, shape (m, n), optional
            Signs of the variables in each partition. An entry then is the mean product of the
            signs of i and j, over all partitions, with zero where they do not share a block.

        Returns
        -------
        ndarray, shape (n, k)
            Monti's item consensus; NaN for a variable that is alone in its block, with this block.

        Raises
        ------
        TypeError, PartitionMismatchError
            If `p` is not a partition of n variables.
        ShapeError, DtypeError
            If `signs` are not m x n numbers.

        Examples
        --------
        >>> import blockmat as bm
        >>> C = bm.Coassignment([[0, 0, 1], [0, 1, 1]])
        >>> C.with_blocks(bm.Partition.from_labels([0, 0, 1]))
        array([[0.5 , 0.  ],
               [0.5 , 0.5 ],
               [0.25,  nan]])
        """
        self._require_variables(p)
        member = self._member
        if signs is not None:
            signs = as_numeric(signs, "signs", (2,))
            if signs.shape != self.labels.shape:
                raise ShapeError(
                    f"signs has shape {signs.shape}; expected {self.labels.shape}, as the labels"
                )
            member = self._membership(signs)
        sums = member @ (member.T @ p.indicator().toarray()) / len(self.labels)
        rows = np.arange(p.n)
        sums[rows, p.labels] -= 1  # with itself
        n_others = np.tile(p.sizes.astype(np.float64), (p.n, 1))
        n_others[rows, p.labels] -= 1
        n_others[n_others == 0] = np.nan
        result: Array = sums / n_others
        return result

    def overlaps(self, p: Partition) -> Array:
        """Return the largest Jaccard index of each block with a block of each partition.

        The Jaccard index of two sets is the size of their intersection divided by that of their
        union.

        Parameters
        ----------
        p : Partition
            A partition of the n variables into k blocks.

        Returns
        -------
        ndarray, shape (m, k)
            The mean over the m partitions is Hennig's stability of the blocks.

        Raises
        ------
        TypeError, PartitionMismatchError
            If `p` is not a partition of n variables.

        Examples
        --------
        >>> import blockmat as bm
        >>> C = bm.Coassignment([[0, 0, 1], [0, 1, 1]])
        >>> C.overlaps(bm.Partition.from_labels([0, 0, 1]))
        array([[1. , 1. ],
               [0.5, 0.5]])
        """
        self._require_variables(p)
        both = (self._member.T @ p.indicator().toarray()).T  # (k, blocks of all partitions)
        sizes = self._member.sum(axis=0)
        jaccard = both / (p.sizes[:, None] + sizes - both)
        best: Array = np.maximum.reduceat(jaccard, self._offsets[:-1], axis=1)
        return best.T

    def _require_variables(self, p: Any) -> None:
        """Raise an error for another object than a partition of the n variables."""
        if not isinstance(p, Partition):
            raise TypeError(f"p is a {type(p).__name__}; expected a Partition")
        n = self.labels.shape[1]
        if p.n != n:
            raise PartitionMismatchError(f"p divides {p.n} variables; expected {n}, as the labels")

    def _membership(self, data: Array) -> csr_array:
        """Return a sparse matrix with a row for each variable, a column for each block."""
        m, n = self.labels.shape
        columns = (self.labels + self._offsets[:-1, None]).T.ravel()
        starts = np.arange(0, m * n + 1, m)
        return csr_array((data.T.ravel(), columns, starts), shape=(n, int(self._offsets[-1])))

    def _entries(self, i: Array, j: Array) -> Array:
        """Return the entries in rows i and columns j, which broadcast."""
        counts = np.zeros(np.broadcast_shapes(i.shape, j.shape))
        for labels in self.labels:
            counts += labels[i] == labels[j]
        return counts / len(self.labels)

    def _matmat(self, X: Array) -> Array:
        product: Array = self._member @ (self._member.T @ X) / len(self.labels)
        return product

    def _adjoint(self) -> "Coassignment":
        return self

    _transpose = _adjoint


def _as_block_numbers(labels: Any) -> Array:
    """Return block numbers (m, n) as a new array of integers from 0 to n - 1."""
    given = as_raw_array(labels, "labels", (2,))
    if given.size == 0:
        raise ShapeError(
            f"labels has shape {given.shape}; expected at least one partition of one variable"
        )
    if given.dtype.kind not in "biu":
        raise DtypeError(f"labels has dtype {given.dtype}; expected integers")
    n = given.shape[1]
    wrong = np.argwhere((given < 0) | (given >= n))
    if len(wrong):
        i, j = (int(x) for x in wrong[0])
        raise ValueError(
            f"labels is {given[i, j]} at index ({i}, {j}); expected block numbers from 0 to {n - 1}"
        )
    return np.array(given, dtype=np.intp)
