"""How sure found blocks are, in three panels."""

from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.stability import PartitionStability
from blockmat.plot.figures import (
    MAX_NAMES,
    MODEL_COLOUR,
    SOURCE_COLOUR,
    as_signs,
    mark_reversed,
    name_blocks,
    name_variables,
    names_of_variables,
    new_panels,
    shown_variables,
)

_SHARES = "Blues"
_DOUBTFUL = 0.5  # a variable below it is drawn in another colour


def stability(
    result: PartitionStability, ax: Any = None, *, signs: Any = None, names: Any = None
) -> Any:
    """Plot how sure found blocks, their variables and their number are.

    The first panel shows how often two variables share a block. Variables are sorted by block, and
    in each block by their stability; the blocks of all the data are outlined. The second panel shows
    the stability of each variable. The third one shows how often each number of blocks was
    chosen and how well the partitions into this number agree or, if the number was given, the
    stability of each block. If there are more than 400 variables, 400 evenly spaced ones are drawn.

    Parameters
    ----------
    result : PartitionStability
        The result of `blockmat.partition_stability`.
    ax : sequence of 3 matplotlib.axes.Axes, optional
        The axes to draw into; by default those of a new figure.
    signs : array_like, shape (n,), optional
        Signs of the variables, 1 or -1. By default those of the result, if it has any. Reversed
        variables get a minus before their names, or a mark.
    names : sequence, shape (n,), optional
        Names of the variables; by default those of the result, if it has any.

    Returns
    -------
    ndarray of matplotlib.axes.Axes, shape (3,)
        The axes.

    Raises
    ------
    TypeError
        If `result` is another object, or `ax` is no axes.
    ShapeError, ValueError
        If there is not one name or one sign for each variable, a sign is not 1 or -1, or `ax` is
        not three axes.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> from blockmat import plot
    >>> X = np.random.default_rng(0).normal(size=(60, 2))[:, [0, 0, 0, 1, 1]]
    >>> X = X + 0.5 * np.random.default_rng(1).normal(size=(60, 5))
    >>> result = bm.partition_stability(X, samples=True, n_resamples=20)
    >>> [axes.get_title() for axes in plot.stability(result)]
    ['how often two variables share a block', 'variables', 'number of blocks']
    """
    if not isinstance(result, PartitionStability):
        raise TypeError(
            f"result is a {type(result).__name__}; expected a PartitionStability, the result of "
            f"partition_stability"
        )
    p = result.partition
    of_variables = as_signs(result.signs if signs is None else signs, p.n)
    texts = names_of_variables(result.names if names is None else names, of_variables)
    panels = new_panels(ax, 3, figsize=(12, 4.6), width_ratios=[1.25, 0.55, 0.9])
    shown = shown_variables(np.lexsort((-result.of_variable, p.labels)))
    drawn = p.subset(shown)
    _draw_coassignment(panels[0], result.coassignment[np.ix_(shown, shown)], drawn)
    if len(shown) <= MAX_NAMES:
        name_variables(panels[0], [texts[i] for i in shown], top=False)
    else:
        name_blocks(panels[0], drawn, drawn)
        mark_reversed(panels[0], of_variables[shown])
    _draw_variables(panels[1], result.of_variable[shown], panels[0].get_ylim())
    if len(result.n_blocks) > 1:
        _draw_numbers(panels[2], result)
    else:
        _draw_blocks(panels[2], result)
    return panels


def _draw_coassignment(axes: Any, shares: Array, p: Partition) -> None:
    """Draw the matrix with a line around each block."""
    edges = np.arange(p.n + 1)
    mesh = axes.pcolormesh(edges, edges, shares, cmap=_SHARES, vmin=0, vmax=1, rasterized=True)
    axes.figure.colorbar(mesh, ax=axes, shrink=0.8)
    for first, last in zip(p.offsets[:-1], p.offsets[1:], strict=True):
        axes.plot(
            [first, last, last, first, first],
            [first, first, last, last, first],
            color=MODEL_COLOUR,
            lw=1.2,
            clip_on=False,
        )
    axes.set(xlim=(0, p.n), ylim=(p.n, 0), title="how often two variables share a block")


def _draw_variables(axes: Any, values: Array, limits: tuple[float, float]) -> None:
    """Draw a bar for each variable beside its row."""
    colours = np.where(values < _DOUBTFUL, MODEL_COLOUR, SOURCE_COLOUR)
    height = 0.8 if len(values) <= MAX_NAMES else 1.0  # narrow gaps would look like a pattern
    places = np.arange(len(values)) + 0.5
    axes.barh(places, values, height=height, color=colours.tolist(), linewidth=0)
    axes.set(xlim=(min(0.0, float(values.min())), 1), ylim=limits, yticks=[], title="variables")
    axes.set_xlabel("stability")
    axes.grid(alpha=0.3, axis="x")


def _draw_numbers(axes: Any, result: PartitionStability) -> None:
    """Draw how often each number of blocks was chosen, and the agreement."""
    chosen = np.flatnonzero(result.of_n_blocks)
    of_all = int(np.searchsorted(result.n_blocks, result.partition.n_blocks))
    first, last = max(min(chosen[0], of_all) - 1, 0), max(chosen[-1], of_all) + 2
    numbers, agreement = result.n_blocks[first:last], result.agreement[first:last]
    known = np.isfinite(agreement)
    axes.bar(numbers, result.of_n_blocks[first:last], color=SOURCE_COLOUR, label="share chosen")
    axes.plot(numbers[known], agreement[known], "o-", color=MODEL_COLOUR, ms=4, label="agreement")
    axes.axvline(numbers[of_all - first], color="0.4", lw=1, ls="--", label="in all the data")
    axes.set(ylim=(0, 1.3), yticks=np.linspace(0, 1, 6), xlabel="blocks", title="number of blocks")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3, axis="y")
    axes.legend(loc="upper center", ncols=2, fontsize=8)


def _draw_blocks(axes: Any, result: PartitionStability) -> None:
    """Draw the stability of each block."""
    k = len(result.of_block)
    axes.bar(np.arange(k), result.of_block, color=SOURCE_COLOUR)
    axes.set(ylim=(0, 1.05), xlabel="block", ylabel="stability (Jaccard)", title=f"{k} blocks")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3, axis="y")
