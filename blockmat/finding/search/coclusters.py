"""cocluster: blocks of the rows and of the columns of a rectangular matrix."""

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse

from blockmat.blocks.checks import as_count, require_finite
from blockmat.blocks.partition import Partition
from blockmat.cores.scale import in_range, times_power
from blockmat.finding.correlations.similarity import row_points, row_sums
from blockmat.finding.search.kmeans import cheapest, in_order
from blockmat.finding.search.starts import WardTree
from blockmat.sources.recognise import as_real_matrix

__all__ = ["Coclusters", "cocluster"]


_MAX_SWEEPS = 50


class Coclusters(NamedTuple):
    """Blocks of rows and of columns.

    Parameters
    ----------
    row_partition : Partition
        The blocks of rows.
    col_partition : Partition
        The blocks of columns.
    loss : float
        The squared Frobenius distance of the matrix to its fit on these blocks.

    See Also
    --------
    cocluster : computes them.

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
    r"""Find blocks of rows and of columns such that the matrix is nearly constant on each block.

    Parameters
    ----------
    source : array_like or sparse matrix, shape (m, n)
        A real matrix.
    n_row_blocks, n_col_blocks : int
        The numbers of blocks of rows and of columns.
    random_state : {None, int, numpy.random.Generator}, optional
        For random projections, which are used for rows of more than 500 numbers, and k-means,
        which is used for more than 2000 rows; likewise for columns.

    Returns
    -------
    Coclusters
        The fields row_partition, col_partition and loss. Blocks are numbered in the order of
        their first rows or columns.

    Raises
    ------
    ShapeError, DtypeError, NonFiniteError
        If the source is not 2-d, real and finite.
    ValueError
        If a number of blocks is below 1 or above the number of rows or columns.

    See Also
    --------
    BlockRectangularMatrix.fit : the fit on these blocks.
    find_partition : the same blocks for rows and columns of a symmetric matrix.

    Notes
    -----
    Block k-means starts from Ward's clusters and moves rows and columns in turn to their cheapest
    blocks, which never raises the loss [1]_. Row i costs
    :math:`\sum_c n_c C_{ac}^2 - 2 C_{ac} R_{ic}` in block a, with :math:`C` the values of the
    blocks and :math:`R_{ic}` the sum of row i over block c of columns. See :ref:`theory-blocks`.

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
    n_row_blocks = _check_n_blocks(n_row_blocks, "n_row_blocks", matrix.shape[0], "rows")
    n_col_blocks = _check_n_blocks(n_col_blocks, "n_col_blocks", matrix.shape[1], "columns")
    rng = np.random.default_rng(random_state)
    rows, cols = ward_blocks(matrix, n_row_blocks, rng), ward_blocks(matrix.T, n_col_blocks, rng)
    values = matrix.data if issparse(matrix) else matrix
    squared_norm = float((values**2).sum())
    loss = _loss(matrix, rows, cols, squared_norm)
    for _ in range(_MAX_SWEEPS):
        new_rows = _cheapest_rows(matrix, rows, cols)
        new_cols = _cheapest_rows(matrix.T, cols, new_rows)
        new_loss = _loss(matrix, new_rows, new_cols, squared_norm)
        if not new_loss < loss:
            break
        rows, cols, loss = new_rows, new_cols, new_loss
    loss = float(times_power(loss, 2 * exponent))
    return Coclusters(in_order(rows.labels), in_order(cols.labels), loss)


def _as_matrix(source: Any) -> tuple[Any, int]:
    """Return the matrix in units of ``2**e``, so that squares do not overflow, and e."""
    matrix = as_real_matrix(source).entries(np.float64)
    if issparse(matrix):
        matrix.sum_duplicates()
        require_finite(matrix, "source")
        matrix.data, exponent = in_range(matrix.data)
        return matrix, exponent
    require_finite(matrix, "source")
    return in_range(matrix)


def _check_n_blocks(value: int, name: str, most: int, of: str) -> int:
    """Return a number of blocks as an int, from 1 to `most`."""
    k = as_count(value, name, 1)
    if k > most:
        raise ValueError(f"{name} is {k}; expected at most {most}, the number of {of}")
    return k


def ward_blocks(matrix: Any, k: int, rng: np.random.Generator) -> Partition:
    """Return k Ward clusters of the rows."""
    labels = WardTree(row_points(matrix, k, rng), k, rng).cut(k)
    return Partition(np.bincount(labels, minlength=k), labels)


def _loss(matrix: Any, rows: Partition, cols: Partition, squared_norm: float) -> float:
    """Return ``|A|^2 - |PA|^2``, with PA the fit."""
    sums = rows.block_sums(row_sums(matrix, cols))
    explained = float((sums**2 / np.outer(rows.sizes, cols.sizes)).sum())
    return max(squared_norm - explained, 0.0)


def _cheapest_rows(matrix: Any, rows: Partition, cols: Partition) -> Partition:
    """Return the cheapest block of each row, given the blocks of columns."""
    sums = row_sums(matrix, cols)
    values = rows.block_sums(sums) / np.outer(rows.sizes, cols.sizes)
    labels = cheapest(values**2 @ cols.sizes - 2 * sums @ values.T)
    return Partition(np.bincount(labels, minlength=rows.n_blocks), labels)
