"""Finding the blocks of a rectangular matrix: of its rows and of its columns together."""

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse

from blockmat.blocks.checks import as_count, require_finite
from blockmat.blocks.partition import Partition
from blockmat.cores.scale import in_range, times_power
from blockmat.finding.kmeans import cheapest, in_order
from blockmat.finding.similarity import row_points, row_sums
from blockmat.finding.starts import WardTree
from blockmat.sources.recognise import as_real_matrix

__all__ = ["Coclusters", "cocluster"]


_MAX_SWEEPS = 50


class Coclusters(NamedTuple):
    """Blocks of rows and of columns.

    Parameters
    ----------
    row_partition : Partition
        Of the rows.
    col_partition : Partition
        Of the columns.
    loss : float
        The squared Frobenius distance of the matrix to its fit on these blocks.

    See Also
    --------
    cocluster : finds them.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> bm.cocluster(np.eye(2), 2, 2).loss
    0.0
    """

    row_partition: Partition
    col_partition: Partition
    loss: float


def cocluster(
    source: Any, n_row_blocks: int, n_col_blocks: int, random_state: Any = None
) -> Coclusters:
    r"""Find blocks of rows and of columns that one number per block describes well.

    Parameters
    ----------
    source : array_like or sparse matrix, shape (m, n)
        The matrix, real.
    n_row_blocks, n_col_blocks : int
        How many blocks of rows and of columns to find.
    random_state : {None, int, numpy.random.Generator}, optional
        For the random projections and k-means that condense rows of more than 500 numbers and
        more than 2000 rows, and columns likewise; nothing else is random.

    Returns
    -------
    Coclusters
        With the fields row_partition, col_partition and loss. Blocks are numbered in the
        order of their first members.

    Raises
    ------
    ShapeError
        If the source is not 2-d.
    DtypeError
        If it is not real numbers.
    NonFiniteError
        If it contains NaN or infinity.
    ValueError
        If a number of blocks is below 1 or above the number of rows or columns.

    See Also
    --------
    BlockRectangularMatrix.fit : the fit on these blocks.
    find_partition : the same blocks for the rows and the columns of a symmetric matrix.

    Notes
    -----
    Ward's clustering of the rows and of the columns starts block k-means, which in turns moves
    all rows and all columns to the block that costs least: for row i in block a,
    :math:`\sum_c n_c C_{ac}^2 - 2 C_{ac} R_{ic}`, with :math:`C` the numbers in the blocks and
    :math:`R_{ic}` the sum of row i over block c of columns. No turn raises the loss [1]_.

    Where these come from: :ref:`theory-blocks`.

    References
    ----------
    .. [1] H. Cho, I. S. Dhillon, Y. Guan, S. Sra, "Minimum Sum-Squared Residue Co-clustering of
       Gene Expression Data", SIAM International Conference on Data Mining, 2004.

    Examples
    --------
    >>> import blockmat as bm
    >>> rows, cols, loss = bm.cocluster([[1, 5, 1], [2, 7, 2], [1, 5, 1]], 2, 2)
    >>> rows.labels.tolist(), cols.labels.tolist(), loss
    ([0, 1, 0], [0, 1, 0], 0.0)
    """
    matrix, exponent = _as_matrix(source)
    k = _count(n_row_blocks, "n_row_blocks", matrix.shape[0], "rows")
    n_cols = _count(n_col_blocks, "n_col_blocks", matrix.shape[1], "columns")
    rng = np.random.default_rng(random_state)
    rows, cols = _start(matrix, k, rng), _start(matrix.T, n_cols, rng)
    values = matrix.data if issparse(matrix) else matrix
    squares = float((values**2).sum())
    loss = _loss(matrix, rows, cols, squares)
    for _ in range(_MAX_SWEEPS):
        new_rows = _moved(matrix, rows, cols)
        new_cols = _moved(matrix.T, cols, new_rows)
        new_loss = _loss(matrix, new_rows, new_cols, squares)
        if not new_loss < loss:
            break
        rows, cols, loss = new_rows, new_cols, new_loss
    loss = float(times_power(loss, 2 * exponent))
    return Coclusters(in_order(rows.labels), in_order(cols.labels), loss)


def _as_matrix(source: Any) -> tuple[Any, int]:
    """Return the matrix in a unit of ``2**e`` in which its squares are in range, and e."""
    matrix = as_real_matrix(source).entries(np.float64)
    if issparse(matrix):
        matrix.sum_duplicates()
        require_finite(matrix, "source")
        matrix.data, exponent = in_range(matrix.data)
        return matrix, exponent
    require_finite(matrix, "source")
    return in_range(matrix)


def _count(value: int, name: str, most: int, of: str) -> int:
    k = as_count(value, name, 1)
    if k > most:
        raise ValueError(f"{name} is {k}; expected at most {most}, the number of {of}")
    return k


def _start(matrix: Any, k: int, rng: np.random.Generator) -> Partition:
    """Return Ward's clusters of the rows."""
    labels = WardTree(row_points(matrix, k, rng), k, rng).cut(k)
    return Partition(np.bincount(labels, minlength=k), labels)


def _loss(matrix: Any, rows: Partition, cols: Partition, squares: float) -> float:
    """Return ``|A|^2 - |PA|^2``."""
    sums = rows.block_sums(row_sums(matrix, cols))
    explained = float((sums**2 / np.outer(rows.sizes, cols.sizes)).sum())
    return max(squares - explained, 0.0)


def _moved(matrix: Any, rows: Partition, cols: Partition) -> Partition:
    """Return blocks of rows that cost less, given the blocks of columns."""
    sums = row_sums(matrix, cols)
    values = rows.block_sums(sums) / np.outer(rows.sizes, cols.sizes)
    labels = cheapest(values**2 @ cols.sizes - 2 * sums @ values.T)
    return Partition(np.bincount(labels, minlength=rows.n_blocks), labels)
