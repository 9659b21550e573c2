"""The values of the blocks of a matrix."""

from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.fitting.fit import fit
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.divided import divided
from blockmat.matrices.rectangular import BlockRectangularMatrix
from blockmat.matrices.structured import SquareMatrix, Structured
from blockmat.plot.figures import (
    COLOURS,
    MAX_NAMES,
    as_signs,
    mark_reversed,
    name_blocks,
    name_variables,
    names_of_variables,
    new_axes,
    require_matrix,
    size_in_points,
)

_MAX_BLOCKS_WITH_LINES = 60
_MAX_BLOCKS_WITH_VALUES = 12
_VALUE, _CORRELATION = "value", "correlation"
_NOTHING = "0.85"  # grey, where nothing is drawn
_LETTER, _LINE = 0.62, 1.5  # the size of a digit with the space around it, in font sizes
_ROUNDING = 1e-12
_FONT_SIZE = 7  # of the values in blocks, in points


def matrix(
    A: SquareMatrix | BlockRectangularMatrix,
    ax: Any = None,
    *,
    signs: Any = None,
    names: Any = None,
) -> Any:
    """Plot the values of the blocks, drawn to scale, with the names of the blocks.

    Names and numbers that do not fit are left out. Numbers that would be long are written in units of
    a power of ten, which the colour bar names. To see more of them, draw into a larger figure.

    Parameters
    ----------
    A : matrix of this package, shape (m, n)
        The matrix. For a ScaledBlockMatrix, a BlockFactorMatrix and a BlockPlusLowRank the means
        of the blocks are drawn: of the correlations if the matrix is Hermitian with a positive
        diagonal, and of the entries otherwise. The colour bar says which. The diagonal of the
        matrix is left out, so that the diagonal block of a single variable is grey. Paired entries of
        aligned blocks are left out too, and complex numbers are drawn as their real parts.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into; by default those of a new figure.
    signs : array_like, shape (n,), optional
        Signs of the variables of `A`, 1 or -1, as `find_partition` finds them. Rows and columns are
        multiplied by them before they are averaged. Variables that are reversed get a mark at
        the edge, or a minus before their names. For square matrices.
    names : sequence, shape (n,), optional
        Names of the variables, such as the columns of a DataFrame. Up to 50 are written instead of
        those of the blocks. For square matrices.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with one unit per variable. Variables are sorted by block.

    Raises
    ------
    TypeError
        If `A` is of another class, or `ax` is no axes.
    ShapeError, ValueError
        If there is not one name or one sign for each variable, or a sign is not 1 or -1.
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
    require_matrix(A)
    rows, columns = _partitions(A)
    if rows is not columns and not (signs is None and names is None):
        raise ValueError("signs and names are for square matrices; expected None for this one")
    reversed_or_not = as_signs(signs, rows.n)
    texts = None if names is None else names_of_variables(names, reversed_or_not)
    values, quantity = _values_of_blocks(A, reversed_or_not)
    axes = new_axes(ax)
    x, y = (np.append(p.offsets[:-1], p.n) for p in (columns, rows))
    is_variance = np.zeros(values.shape, dtype=bool)
    if rows is columns:
        is_variance = np.diag(rows.sizes == 1)  # a block of one variable
    bound = float(np.abs(values[~is_variance]).max(initial=0)) or 1.0
    values = np.ma.array(values, mask=is_variance)
    exponent = _exponent(bound)
    n_blocks = max(values.shape)
    lines = {"edgecolors": "white", "linewidth": 0.6} if n_blocks <= _MAX_BLOCKS_WITH_LINES else {}
    drawn = axes.pcolormesh(x, y, values, cmap=COLOURS, vmin=-bound, vmax=bound, **lines)
    axes.set(aspect="equal", ylim=(rows.n, 0), facecolor=_NOTHING)
    label = f"{quantity} / 1e{exponent}" if exponent else quantity
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.8, label=label)
    if exponent:
        minus = "\N{MINUS SIGN}"
        bar.formatter = lambda x, _: f"{x / 10.0**exponent:.3g}".replace("-", minus)
    if texts is not None and rows.n <= MAX_NAMES:
        name_variables(axes, [texts[i] for i in rows.order])
    else:
        name_blocks(axes, rows, columns)
        mark_reversed(axes, reversed_or_not[rows.order])
    if n_blocks <= _MAX_BLOCKS_WITH_VALUES:
        _write_values(axes, rows, columns, values / 10.0**exponent, bound / 10.0**exponent)
    return axes


def _partitions(A: Any) -> tuple[Partition, Partition]:
    """Return the blocks of rows and of columns."""
    if isinstance(A, BlockRectangularMatrix):
        return A.row_partition, A.col_partition
    return A.partition, A.partition


def _values_of_blocks(A: Any, signs: Array) -> tuple[Array, str]:
    """Return the real numbers in the blocks off their diagonals, and what they are."""
    if isinstance(A, BlockRectangularMatrix):
        return np.real(A.values), _VALUE
    scale, quantity = signs, _VALUE
    if not isinstance(A, BlockConstantMatrix):
        diagonal = np.real(A.diagonal())
        if A.is_hermitian and (diagonal > 0).all():
            scale, quantity = signs * np.sqrt(diagonal), _CORRELATION
    elif (signs == 1).all():
        return np.real(A.values), quantity
    turned = divided(A, scale)
    means = fit(turned, A.partition, aligned=Structured(turned).is_aligned)
    return np.real(means.values), quantity


def _exponent(bound: float) -> int:
    """Return the power of ten in whose unit numbers are short, and 0 for no unit."""
    exponent = int(np.floor(np.log10(bound)))
    return 0 if -2 <= exponent <= 1 else exponent


def _write_values(
    axes: Any, rows: Partition, columns: Partition, values: Array, bound: float
) -> None:
    """Write the values into the blocks that are large enough."""
    width, height = size_in_points(axes)
    x, y = (p.offsets[:-1] + p.sizes / 2 for p in (columns, rows))
    widths, heights = width * columns.sizes / columns.n, height * rows.sizes / rows.n
    digits = max(2 - int(np.ceil(np.log10(bound))), 1)
    for a, b in np.argwhere(~np.ma.getmaskarray(values)):
        value = float(values[a, b])
        number = round(value, digits) + 0.0  # no minus before zero
        text = f"{number:.{digits}f}"
        needed = max(_LETTER * len(text), _LINE) * _FONT_SIZE
        if needed > min(heights[a], widths[b]):
            continue
        if (
            abs(value - number) <= _ROUNDING * bound
        ):  # so 0 is zero, and 0.0 may be any small number
            text = text.rstrip("0").rstrip(".")
        is_dark = abs(values[a, b]) > 0.6 * bound
        axes.text(
            x[b], y[a], text, ha="center", va="center",
            fontsize=_FONT_SIZE, color="white" if is_dark else "black",
        )  # fmt: skip
