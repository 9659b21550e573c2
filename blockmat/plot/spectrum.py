"""The singular values of a matrix."""

from typing import Any

import numpy as np
from scipy.sparse import issparse

from blockmat.blocks.checks import Array
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.low_rank import BlockPlusLowRank
from blockmat.matrices.rectangular import BlockRectangularMatrix
from blockmat.matrices.structured import SquareMatrix
from blockmat.plot.figures import MODEL_COLOUR, SOURCE_COLOUR, new_axes, require_matrix

_MAX_DENSE_SPECTRUM = 3000  # variables


def spectrum(A: SquareMatrix | BlockRectangularMatrix, source: Any = None, ax: Any = None) -> Any:
    """Plot the singular values of a matrix against their ranks.

    Parameters
    ----------
    A : matrix of this package, shape (m, n)
        The matrix. Each singular value is drawn as a line, whose length is its multiplicity. For
        matrices with different scales, noise or loadings they have no closed form, so these must
        not have more than 3000 variables. For a BlockRectangularMatrix those are drawn that need
        not be zero.
    source : array_like or sparse matrix, shape (m, n), optional
        A matrix to compare with. It is not drawn if it has more than 3000 variables.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes; both scales are logarithmic if no singular value is zero.

    Raises
    ------
    TypeError
        If `A` is of another class, or `ax` is no axes.
    ValueError
        If its singular values have no closed form, and it has more than 3000 variables.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import blockmat as bm
    >>> from blockmat import plot
    >>> axes = plot.spectrum(bm.BlockConstantMatrix([0] * 9 + [1] * 5, [[4, 0], [0, 2]], [1, 1]))
    >>> axes.get_xlabel()
    'rank'
    """
    values, multiplicities = _spectrum_of(A)
    axes = new_axes(ax)
    if source is not None and max(A.shape) <= _MAX_DENSE_SPECTRUM:
        given = _singular_values(source)
        ranks = np.arange(1, len(given) + 1)
        axes.plot(ranks, given, label="source", color=SOURCE_COLOUR, lw=2)
    last = np.cumsum(multiplicities)
    first = last - multiplicities + 1
    axes.plot(
        np.ravel([first, last], order="F"),
        np.repeat(values, 2),
        label=_legend(A),
        color=MODEL_COLOUR,
        lw=1.2,
        alpha=0.7,
    )
    axes.hlines(values, first, last, color=MODEL_COLOUR, lw=3)
    axes.set(xscale="log", xlabel="rank", title="singular values")
    if values.min() > 0:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend()
    return axes


def _spectrum_of(A: Any) -> tuple[Array, Array]:
    """Return the singular values, descending, and their multiplicities."""
    if isinstance(A, BlockConstantMatrix):
        return A.svdvals()
    if isinstance(A, BlockPlusLowRank) and isinstance(A.base, BlockConstantMatrix):
        values, multiplicities = A.eigvalsh()
        order = np.argsort(-np.abs(values), kind="stable")
        return np.abs(values)[order], multiplicities[order]
    require_matrix(A)
    if isinstance(A, BlockRectangularMatrix):
        values = A.svd()[1]
        return values, np.ones(len(values), dtype=int)
    if A.shape[0] > _MAX_DENSE_SPECTRUM:
        raise ValueError(
            f"A has {A.shape[0]} variables, and the singular values of a {type(A).__name__} have "
            f"no closed form; expected at most {_MAX_DENSE_SPECTRUM} variables"
        )
    values = _singular_values(A.toarray())
    return values, np.ones(len(values), dtype=int)


def _singular_values(source: Any) -> Array:
    """Return the singular values of a dense or sparse matrix, descending."""
    dense = source.toarray() if issparse(source) else np.asarray(source)
    if np.array_equal(dense, dense.conj().T):
        return np.sort(np.abs(np.linalg.eigvalsh(dense)))[::-1]
    return np.linalg.svd(dense, compute_uv=False)


def _legend(A: Any) -> str:
    if isinstance(A, BlockRectangularMatrix):
        return f"{A.row_partition.n_blocks} x {A.col_partition.n_blocks} blocks"
    return f"{A.partition.n_blocks} blocks"
