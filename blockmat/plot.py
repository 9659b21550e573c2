"""Plots of matrices, fits, spectra and criteria for the number of blocks, with matplotlib.

Needs the ``plot`` extra. Each function draws into the given axes, or into a new pyplot figure,
and returns the axes.
"""

from typing import Any

import numpy as np
from scipy.sparse import issparse

from blockmat.blocks.checks import Array
from blockmat.blocks.extras import import_extra
from blockmat.blocks.partition import Partition
from blockmat.finding.partition_path import PartitionPath
from blockmat.fitting.fit import fit
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.low_rank import BlockPlusLowRank
from blockmat.matrices.rectangular import BlockRectangularMatrix
from blockmat.matrices.scaled import ScaledBlockMatrix
from blockmat.matrices.structured import SquareMatrix, Structured

__all__ = ["approximation", "matrix", "path", "plot_fit", "spectrum"]

_COLOURS = "RdBu_r"  # diverging, and safe for colour-blind readers
_SOURCE_COLOUR, _MODEL_COLOUR = "#0072b2", "#d55e00"
_MAX_SHOWN = 400  # variables; fewer than the pixels of a panel, so that diagonals are visible
_MAX_DENSE_SPECTRUM = 3000  # variables
_MAX_BLOCKS_WITH_LINES = 60
_MAX_BLOCKS_WITH_VALUES = 12
_LABEL_HEIGHT = 0.027  # of the height of the axes
_FONT_SIZE = 7  # of the values in blocks, in points
_MAX_NAME = 28  # letters


def matrix(A: SquareMatrix | BlockRectangularMatrix, ax: Any = None) -> Any:
    """Plot the values of the blocks, drawn to scale, with the names of the blocks.

    Parameters
    ----------
    A : matrix of this package, shape (m, n)
        The matrix. For a ScaledBlockMatrix the inner matrix is drawn; for a covariance matrix
        these are the correlations. For a BlockFactorMatrix and a BlockPlusLowRank the means of
        the blocks are drawn. The diagonals of the blocks are not drawn, and complex numbers are
        drawn as their real parts.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with one unit per variable. Variables are sorted by block.

    Raises
    ------
    TypeError
        If `A` is of another class.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import blockmat as bm
    >>> from blockmat import plot
    >>> A = bm.BlockConstantMatrix.from_values(["x", "x", "y"], [[1, -0.5], [-0.5, 1]])
    >>> [label.get_text() for label in plot.matrix(A).get_yticklabels()]
    ['x', 'y']
    """
    rows, columns, values = _numbers_of_blocks(A)
    axes = _axes(ax)
    x, y = (np.append(p.offsets[:-1], p.n) for p in (columns, rows))
    is_variance = np.zeros(values.shape, dtype=bool)
    if rows is columns and rows.n_blocks > 1:
        is_variance = np.diag(rows.sizes == 1)  # a block of one variable
    bound = float(np.abs(values[~is_variance]).max()) or 1.0
    n_blocks = max(values.shape)
    lines = {"edgecolors": "white", "linewidth": 0.6} if n_blocks <= _MAX_BLOCKS_WITH_LINES else {}
    drawn = axes.pcolormesh(x, y, values, cmap=_COLOURS, vmin=-bound, vmax=bound, **lines)
    axes.figure.colorbar(drawn, ax=axes, shrink=0.8)
    axes.set(aspect="equal", ylim=(rows.n, 0))
    _name_blocks(axes, rows, columns)
    if n_blocks <= _MAX_BLOCKS_WITH_VALUES:
        _write_values(axes, rows, columns, values, bound)
    return axes


def approximation(source: Any, A: SquareMatrix, ax: Any = None) -> Any:
    """Plot a matrix, its approximation and the error side by side.

    Rows and columns are sorted by block. If there are more than 400 variables, 400 evenly spaced
    ones are drawn. The largest off-diagonal entry limits the colours of the first two panels.

    Parameters
    ----------
    source : array_like or sparse matrix, shape (n, n)
        The matrix that was approximated. Complex numbers are drawn as their real parts.
    A : square matrix of this package, shape (n, n)
        The approximation.
    ax : sequence of 3 matplotlib.axes.Axes, optional
        The axes to draw into; by default those of a new figure.

    Returns
    -------
    ndarray of matplotlib.axes.Axes, shape (3,)
        The axes.

    Raises
    ------
    TypeError
        If `A` is of another class.
    MissingExtraError
        If matplotlib is not installed.
    ValueError
        If `ax` is not three axes.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> from blockmat import plot
    >>> S = np.diag([1.0, 2.0, 3.0]) + 1
    >>> [ax.get_title() for ax in plot.approximation(S, bm.fit(S, [0, 0, 1]))]
    ['source, 3 x 3', 'approximation, 2 blocks', 'approximation - source']
    """
    if not isinstance(A, SquareMatrix):
        raise TypeError(f"A is a {type(A).__name__}; expected a square matrix of this package")
    if ax is None:
        pyplot = import_extra("matplotlib.pyplot", "plot", "a figure")
        _, ax = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    axes = np.ravel(ax)
    if len(axes) != 3:
        raise ValueError(f"ax has {len(axes)} axes; expected 3")
    p = A.partition
    shown = p.order[np.unique(np.linspace(0, p.n - 1, min(p.n, _MAX_SHOWN)).astype(int))]
    original = _entries(source, shown)
    model = np.real(Structured(A).entries(shown[:, None], shown))
    bound = _colour_limit(original)
    panels = [
        (f"source, {p.n} x {p.n}", original, bound),
        (f"approximation, {p.n_blocks} blocks", model, bound),
        ("approximation - source", model - original, np.abs(model - original).max() or 1.0),
    ]
    for axis, (title, image, limit) in zip(axes, panels, strict=True):
        drawn = axis.imshow(image, vmin=-limit, vmax=limit, cmap=_COLOURS, interpolation="nearest")
        axis.figure.colorbar(drawn, ax=axis, shrink=0.8)
        axis.set(title=title, xticks=[], yticks=[])
    return axes


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
        If `A` is of another class.
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
    axes = _axes(ax)
    if source is not None and max(A.shape) <= _MAX_DENSE_SPECTRUM:
        given = _singular_values(source)
        ranks = np.arange(1, len(given) + 1)
        axes.plot(ranks, given, label="source", color=_SOURCE_COLOUR, lw=2)
    last = np.cumsum(multiplicities)
    first = last - multiplicities + 1
    axes.plot(
        np.ravel([first, last], order="F"),
        np.repeat(values, 2),
        label=_legend(A),
        color=_MODEL_COLOUR,
        lw=1.2,
        alpha=0.7,
    )
    axes.hlines(values, first, last, color=_MODEL_COLOUR, lw=3)
    axes.set(xscale="log", xlabel="rank", title="singular values")
    if values.min() > 0:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend()
    return axes


def path(result: PartitionPath, ax: Any = None) -> Any:
    """Plot the criterion against the number of blocks, and mark its minimum.

    Parameters
    ----------
    result : PartitionPath
        The result of `blockmat.partition_path`.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> from blockmat import plot
    >>> A = np.kron(np.eye(3), np.ones((4, 4))) + 0.1 * np.eye(12)
    >>> plot.path(bm.partition_path(A)).get_title()
    'best: 3 blocks'
    """
    axes = _axes(ax)
    known = np.isfinite(result.criterion)
    axes.plot(result.n_blocks[known], result.criterion[known], "o-", color=_SOURCE_COLOUR, ms=4)
    best = int(np.argmin(result.criterion))
    k = int(result.n_blocks[best])
    axes.plot(k, result.criterion[best], "o", color=_MODEL_COLOUR, ms=9)
    axes.axvline(k, color=_MODEL_COLOUR, lw=1, ls="--")
    axes.set(xlabel="blocks", ylabel="criterion", title=f"best: {k} block{'s' if k > 1 else ''}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    return axes


def plot_fit(source: Any, A: SquareMatrix, title: str | None = None) -> Any:
    """Plot `approximation` and `spectrum` of a fit in one figure with four panels.

    Parameters
    ----------
    source : array_like or sparse matrix, shape (n, n)
        The matrix that was fitted.
    A : square matrix of this package
        The fit.
    title : str, optional
        A title for the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure. No window opens; save the figure with ``savefig``.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> from blockmat.plot import plot_fit
    >>> S = np.diag([1.0, 2.0, 3.0]) + 1
    >>> len(plot_fit(S, bm.fit(S, [0, 0, 1])).axes) >= 4
    True
    """
    figures = import_extra("matplotlib.figure", "plot", "a figure")
    figure = figures.Figure(figsize=(11, 9), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    approximation(source, A, axes[:3])
    spectrum(A, source, axes[3])
    if title:
        figure.suptitle(title)
    return figure


def _axes(ax: Any) -> Any:
    """Return `ax`, or the axes of a new figure."""
    if ax is not None:
        return ax
    pyplot = import_extra("matplotlib.pyplot", "plot", "a figure")
    return pyplot.subplots(layout="constrained")[1]


def _entries(source: Any, shown: Array) -> Array:
    """Return the real parts of the rows and columns that are shown."""
    if issparse(source):
        return np.real(source.tocsr()[shown][:, shown].toarray())
    return np.real(np.asarray(source)[np.ix_(shown, shown)])


def _numbers_of_blocks(A: Any) -> tuple[Partition, Partition, Array]:
    """Return the blocks of rows and of columns, and the real numbers in them off their diagonals."""
    if isinstance(A, BlockRectangularMatrix):
        return A.row_partition, A.col_partition, np.real(A.values)
    _require_matrix(A)
    if isinstance(A, ScaledBlockMatrix):
        A = A.matrix
    if not isinstance(A, BlockConstantMatrix):
        A = fit(A, A.partition)
    return A.partition, A.partition, np.real(A.values)


def _require_matrix(A: Any) -> None:
    if not isinstance(A, SquareMatrix | BlockRectangularMatrix):
        raise TypeError(f"A is a {type(A).__name__}; expected a matrix of this package")


def _spectrum_of(A: Any) -> tuple[Array, Array]:
    """Return the singular values, descending, and their multiplicities."""
    if isinstance(A, BlockConstantMatrix):
        return A.svdvals()
    if isinstance(A, BlockPlusLowRank) and isinstance(A.base, BlockConstantMatrix):
        values, multiplicities = A.eigvalsh()
        order = np.argsort(-np.abs(values), kind="stable")
        return np.abs(values)[order], multiplicities[order]
    _require_matrix(A)
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


def _legend(A: Any) -> str:
    if isinstance(A, BlockRectangularMatrix):
        return f"{A.row_partition.n_blocks} x {A.col_partition.n_blocks} blocks"
    return f"{A.partition.n_blocks} blocks"


def _colour_limit(image: Array) -> float:
    """Return the largest off-diagonal magnitude; a large diagonal would hide the other entries."""
    rest = image[~np.eye(len(image), dtype=bool)]
    return float(np.abs(rest if rest.size else image).max()) or 1.0


def _name_blocks(axes: Any, rows: Partition, columns: Partition) -> None:
    """Write the names of the blocks at their middles, and leave out names that do not fit."""
    size = max(rows.n, columns.n)  # of the longer axis, which both are to the scale of
    middles, names = _names_that_fit(rows, size)
    axes.set_yticks(middles, names, fontsize=8)
    middles, names = _names_that_fit(columns, size)
    angle = 0 if max(map(len, names)) <= 2 else 90
    axes.set_xticks(middles, names, rotation=angle, fontsize=8)
    axes.tick_params(length=0)


def _names_that_fit(p: Partition, size: int) -> tuple[Array, list[str]]:
    """Return the middles and the short names of blocks that do not overlap."""
    middles = p.offsets[:-1] + p.sizes / 2
    chosen: list[int] = []
    for b in range(p.n_blocks):
        if not chosen or middles[b] - middles[chosen[-1]] >= _LABEL_HEIGHT * size:
            chosen.append(b)
    names = [str(p.names[b]) for b in chosen]
    short = [name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…" for name in names]
    return middles[chosen], short


def _write_values(
    axes: Any, rows: Partition, columns: Partition, values: Array, bound: float
) -> None:
    """Write the values into the blocks that are large enough."""
    side = 72 * min(axes.figure.get_size_inches() * axes.get_position().size)  # in points
    x, y = (p.offsets[:-1] + p.sizes / 2 for p in (columns, rows))
    widths, heights = (side * p.sizes / max(rows.n, columns.n) for p in (columns, rows))
    for a in np.flatnonzero(heights >= 1.4 * _FONT_SIZE):
        for b in np.flatnonzero(widths >= 1.4 * _FONT_SIZE):
            text = f"{values[a, b]:.2g}"
            if 0.55 * _FONT_SIZE * len(text) > min(heights[a], widths[b]):
                continue
            is_dark = abs(values[a, b]) > 0.6 * bound
            axes.text(
                x[b], y[a], text, ha="center", va="center",
                fontsize=_FONT_SIZE, color="white" if is_dark else "black",
            )  # fmt: skip


def _singular_values(source: Any) -> Array:
    """Return the singular values of a dense or sparse matrix, descending."""
    dense = source.toarray() if issparse(source) else np.asarray(source)
    if np.array_equal(dense, dense.conj().T):
        return np.sort(np.abs(np.linalg.eigvalsh(dense)))[::-1]
    return np.linalg.svd(dense, compute_uv=False)
