"""The picture of a matrix in a notebook: its blocks as coloured rectangles."""

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.html import BLUE, RED, heading
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums

_MAX_CELLS = 24
_SIDE = 240
_SMALLEST = 3.0


def matrix_to_html(title: str, values: Array, rows: Array, cols: Array | None = None) -> str:
    """Draw the numbers of the blocks, blue below zero and red above, sides to scale.

    Rows and columns are given as sizes of their blocks, of a square matrix only the rows. Values
    (k,) are those of the diagonal blocks, and the others are zero. Above 24 blocks a side,
    neighbouring blocks are averaged into one square.
    """
    magnitude = np.real(values).astype(float)
    if magnitude.ndim == 1:
        magnitude, rows = _coarsen_diagonal(magnitude, rows)
    magnitude, row_sizes = _coarsen(magnitude, rows)
    transposed, col_sizes = _coarsen(magnitude.T, rows if cols is None else cols)
    magnitude = transposed.T
    finite = np.abs(magnitude[np.isfinite(magnitude)])
    scale = float(finite.max(initial=0)) or 1.0
    y, heights = _edges(row_sizes)
    x, widths = _edges(col_sizes)
    cells = "".join(
        f'<rect x="{x[b]:.1f}" y="{y[a]:.1f}" width="{widths[b]:.1f}" height="{heights[a]:.1f}" '
        f'fill="{_colour(magnitude[a, b] / scale)}"><title>{magnitude[a, b]:.4g}</title></rect>'
        for a in range(len(heights))
        for b in range(len(widths))
    )
    width, height = x[-1] + widths[-1], y[-1] + heights[-1]
    part = "real part of the " if np.iscomplexobj(values) else ""
    return (
        f"<div>{heading(title)}"
        f'<svg width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.1f} {height:.1f}" '
        f'style="display:block;margin-top:6px;border:1px solid #888" '
        f'shape-rendering="crispEdges">{cells}</svg>'
        f"<small>{part}block numbers: blue {-scale:.3g}, white 0, red {scale:.3g}</small></div>"
    )


def with_low_rank(values: Array, p: Partition, factor: Array, core: Array) -> tuple[Array, Array]:
    """Add the mean entries of ``V C V^T`` to the numbers of the blocks, and return also the sizes.

    The diagonal is left out. If only the numbers of diagonal blocks are given, more than 24 of them are
    averaged as for the picture.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is drawn in grey
        sums, sizes = block_sums(p, factor), p.sizes
        traces = block_sums(p, ((factor @ core) * factor).sum(axis=1))
        if values.ndim == 1:
            starts = _starts_of_runs(len(sizes))
            sums, traces = np.add.reduceat(sums, starts, axis=0), np.add.reduceat(traces, starts)
            values, sizes = _coarsen_diagonal(values, sizes)
        pairs = np.outer(sizes, sizes) - np.diag(sizes)  # of different variables
        return values + (sums @ core @ sums.T - np.diag(traces)) / np.maximum(pairs, 1), sizes


def _coarsen(values: Array, sizes: Array) -> tuple[Array, Array]:
    """Average runs of rows, weighted by size, down to a number that can be drawn."""
    if len(sizes) <= _MAX_CELLS:
        return values, sizes
    starts = _starts_of_runs(len(sizes))
    merged = np.add.reduceat(sizes, starts)
    weighted = np.add.reduceat(values * sizes[:, None], starts, axis=0)
    return weighted / merged[:, None], merged


def _coarsen_diagonal(values: Array, sizes: Array) -> tuple[Array, Array]:
    """Average runs of diagonal blocks (k,) as `_coarsen` does, and return all blocks."""
    if len(sizes) <= _MAX_CELLS:
        return np.diag(values), sizes
    starts = _starts_of_runs(len(sizes))
    merged = np.add.reduceat(sizes, starts)
    sums = np.add.reduceat(values * sizes.astype(float) ** 2, starts)
    return np.diag(sums / merged.astype(float) ** 2), merged


def _starts_of_runs(k: int) -> Array:
    return np.linspace(0, k, min(k, _MAX_CELLS), endpoint=False).astype(int)


def _edges(sizes: Array) -> tuple[Array, Array]:
    lengths = np.maximum(sizes * (_SIDE / sizes.sum()), _SMALLEST)
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths


def _colour(t: float) -> str:
    """Blue (-1) through white (0) to red (1); grey for NaN."""
    if not np.isfinite(t):
        return "#999999"
    end = RED if t > 0 else BLUE
    shades = (round(255 + min(abs(t), 1.0) * (shade - 255)) for shade in end)
    return "#" + "".join(f"{shade:02x}" for shade in shades)
