"""What several pictures share: axes, colours and the names of blocks."""

from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, as_numeric
from blockmat.blocks.extras import import_extra
from blockmat.blocks.partition import Partition
from blockmat.exceptions import ShapeError
from blockmat.matrices.rectangular import BlockRectangularMatrix
from blockmat.matrices.structured import SquareMatrix

COLOURS = "RdBu_r"  # diverging, and safe for colour-blind readers
SOURCE_COLOUR, MODEL_COLOUR = "#0072b2", "#d55e00"
MAX_NAMES = 50  # of variables along an axis
_MAX_SHOWN = 400  # variables; fewer than the pixels of a panel, so that diagonals are visible
_SMALLEST, _SMALL, _NORMAL = 3.0, 7.0, 8.0  # points
_LINE = 1.3  # the height of a line of text, in font sizes
_MAX_BLOCK_NAMES = 40  # along an axis
_MAX_NAME = 28  # letters


def new_axes(ax: Any) -> Any:
    """Return `ax`, or the axes of a new figure.

    Raises
    ------
    TypeError
        If `ax` is another object than axes.
    """
    if ax is not None:
        _require_axes(ax)
        return ax
    pyplot = import_extra("matplotlib.pyplot", "plot", "a figure")
    return pyplot.subplots(layout="constrained")[1]


def new_panels(ax: Any, n_panels: int, **options: Any) -> Any:
    """Return `ax` as an array of axes, or axes side by side in a new figure with these options.

    Raises
    ------
    TypeError
        If `ax` has another object than axes.
    ValueError
        If it is another number of axes.
    """
    if ax is None:
        pyplot = import_extra("matplotlib.pyplot", "plot", "a figure")
        _, ax = pyplot.subplots(1, n_panels, layout="constrained", **options)
    axes = np.ravel(ax)
    if len(axes) != n_panels:
        raise ValueError(f"ax has {len(axes)} axes; expected {n_panels}")
    for each in axes:
        _require_axes(each)
    return axes


def _require_axes(ax: Any) -> None:
    """Raise TypeError for another object than axes of matplotlib."""
    library = import_extra("matplotlib.axes", "plot", "a figure")
    if not isinstance(ax, library.Axes):
        raise TypeError(f"ax is a {type(ax).__name__}; expected matplotlib.axes.Axes")


def require_matrix(A: Any) -> None:
    """Raise TypeError for another object than a matrix of this package."""
    if hasattr(A, "operator_"):
        raise TypeError(f"A is a {type(A).__name__}; expected a matrix: pass its operator_")
    if not isinstance(A, SquareMatrix | BlockRectangularMatrix):
        raise TypeError(f"A is a {type(A).__name__}; expected a matrix of this package")


def name_blocks(axes: Any, rows: Partition, columns: Partition) -> None:
    """Write the names of the blocks at their middles, and leave out names that do not fit."""
    size = max(rows.n, columns.n)
    _write_names(axes, rows, columns, np.full(2, size / _MAX_BLOCK_NAMES))
    # These names take room from the axes.
    variables = np.array([columns.n, rows.n])
    _write_names(axes, rows, columns, _LINE * _NORMAL * variables / size_in_points(axes))


def _write_names(axes: Any, rows: Partition, columns: Partition, distance: Array) -> None:
    """Write names of blocks with at least a distance, in variables along x and along y."""
    middles, names = _names_that_fit(columns, distance[0])
    angle = 0 if max(map(len, names)) <= 2 else 90
    axes.set_xticks(middles, list(map(plain_text, names)), rotation=angle, fontsize=_NORMAL)
    middles, names = _names_that_fit(rows, distance[1])
    axes.set_yticks(middles, list(map(plain_text, names)), fontsize=_NORMAL)
    axes.tick_params(length=0)


def size_in_points(axes: Any) -> Array:
    """Return the width and the height of the axes after the layout of the figure."""
    figure = axes.figure.canvas.figure  # the whole one, also for axes in a subfigure
    for _ in range(2):  # a layout with axes of equal scales takes several steps
        figure.draw_without_rendering()
    size: Array = 72 / figure.dpi * axes.get_window_extent().size
    return size


def name_variables(axes: Any, names: list[str], top: bool = True) -> None:
    """Write the names of variables beside their rows and, with `top`, above their columns."""
    middles, names = np.arange(len(names)) + 0.5, list(map(plain_text, names))
    axes.set_yticks(middles, names, fontsize=_SMALL)
    axes.set_xticks(middles if top else [], names if top else [], rotation=90, fontsize=_SMALL)
    axes.tick_params(length=0)
    rows = min(size_in_points(axes)) / len(names)  # in points
    axes.tick_params(labelsize=max(min(_SMALL, rows / _LINE), _SMALLEST))


def mark_reversed(axes: Any, signs: Array) -> None:
    """Mark the rows and columns of reversed variables at the edges."""
    places = np.flatnonzero(signs < 0) + 0.5
    for axis in (axes.xaxis, axes.yaxis):
        axis.remove_overlapping_locs = False  # a name may be beside the mark
        axis.set_ticks(places, minor=True)
        axis.set_tick_params(which="minor", length=4, width=1.2, color=MODEL_COLOUR)
        if len(places):
            axis.set_tick_params(which="major", pad=7)


def _names_that_fit(p: Partition, distance: float) -> tuple[Array, list[str]]:
    """Return the middles and the short names of blocks whose middles have at least a distance."""
    middles = p.offsets[:-1] + p.sizes / 2
    chosen: list[int] = []
    for b in range(p.n_blocks):
        if not chosen or middles[b] - middles[chosen[-1]] >= distance:
            chosen.append(b)
    return middles[chosen], [short(p.names[b]) for b in chosen]


def short(name: Any, most: int = _MAX_NAME) -> str:
    """Return a name as text of at most this length."""
    text = str(name)
    return text if len(text) <= most else text[: most - 1] + "…"


def plain_text(text: str) -> str:
    """Return a text that matplotlib draws as it is: a dollar would begin a formula."""
    return text.replace("$", r"\$")


def shown_variables(order: Array) -> Array:
    """Return all variables in this order, or evenly spaced ones if not all can be drawn."""
    n = len(order)
    shown: Array = order[np.unique(np.linspace(0, n - 1, min(n, _MAX_SHOWN)).astype(int))]
    return shown


def as_signs(signs: Any, n: int) -> Array:
    """Return signs as an array (n,); ones for None.

    Raises
    ------
    ShapeError, ValueError
        If there are not n numbers, or another number than 1 or -1.
    """
    if signs is None:
        return np.ones(n)
    array = as_numeric(signs, "signs", (1,))
    if len(array) != n:
        raise ShapeError(f"signs has length {len(array)}; expected {n}, one for each variable")
    wrong = np.flatnonzero(np.abs(array) != 1)
    if len(wrong):
        raise ValueError(f"signs has {array[wrong[0]]} at index {wrong[0]}; expected 1 or -1")
    return array


def names_of_variables(names: Any, signs: Array) -> list[str]:
    """Return the names of all variables as text, with a minus before those that are reversed.

    Without names the variables are numbered.

    Raises
    ------
    ShapeError
        If there is not one name for each variable.
    """
    given = list(range(len(signs))) if names is None else list(names)
    if len(given) != len(signs):
        raise ShapeError(
            f"names has length {len(given)}; expected {len(signs)}, one for each variable"
        )
    return [
        ("\N{MINUS SIGN}" if sign < 0 else "") + short(name)
        for name, sign in zip(given, signs, strict=True)
    ]
