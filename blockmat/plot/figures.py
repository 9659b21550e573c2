"""What several pictures share: axes, colours and the names of blocks."""

from typing import Any

from blockmat.blocks.checks import Array
from blockmat.blocks.extras import import_extra
from blockmat.blocks.partition import Partition
from blockmat.matrices.rectangular import BlockRectangularMatrix
from blockmat.matrices.structured import SquareMatrix

COLOURS = "RdBu_r"  # diverging, and safe for colour-blind readers
SOURCE_COLOUR, MODEL_COLOUR = "#0072b2", "#d55e00"
_LABEL_HEIGHT = 0.027  # of the height of the axes
_MAX_NAME = 28  # letters


def new_axes(ax: Any) -> Any:
    """Return `ax`, or the axes of a new figure."""
    if ax is not None:
        return ax
    pyplot = import_extra("matplotlib.pyplot", "plot", "a figure")
    return pyplot.subplots(layout="constrained")[1]


def require_matrix(A: Any) -> None:
    """Raise TypeError for another object than a matrix of this package."""
    if not isinstance(A, SquareMatrix | BlockRectangularMatrix):
        raise TypeError(f"A is a {type(A).__name__}; expected a matrix of this package")


def name_blocks(axes: Any, rows: Partition, columns: Partition) -> None:
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
