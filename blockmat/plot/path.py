"""The criterion for each number of blocks."""

from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.finding.partition_path import PartitionPath
from blockmat.plot.figures import MODEL_COLOUR, SOURCE_COLOUR, new_axes

_QUARTILES = 3  # of the rises above the minimum, at the end of the axis


def path(result: PartitionPath, ax: Any = None) -> Any:
    """Plot the criterion against the number of blocks, and mark its minimum.

    The axis of the criterion shows the region around the minimum. It ends at three times the third
    quartile of the rises above the minimum, if any point is higher. Higher points are arrows at the
    top. If no criterion is finite, as for three samples, the loss is drawn instead.

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
    TypeError
        If `result` is another object, or `ax` is no axes.
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
    if not isinstance(result, PartitionPath):
        raise TypeError(
            f"result is a {type(result).__name__}; expected a PartitionPath, the result of "
            f"partition_path"
        )
    axes = new_axes(ax)
    known = np.isfinite(result.criterion)
    if known.any():
        _draw_criterion(axes, result, known)
    else:
        axes.plot(result.n_blocks, result.loss, "o-", color=SOURCE_COLOUR, ms=4)
        axes.set(ylabel="loss", title="no criterion is finite")
    axes.set_xlabel("blocks")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    return axes


def _draw_criterion(axes: Any, result: PartitionPath, known: Array) -> None:
    """Draw the criterion where a mask says that it is known, and mark its minimum."""
    axes.plot(result.n_blocks[known], result.criterion[known], "o-", color=SOURCE_COLOUR, ms=4)
    best = int(np.argmin(result.criterion))
    k = int(result.n_blocks[best])
    axes.plot(k, result.criterion[best], "o", color=MODEL_COLOUR, ms=9)
    axes.axvline(k, color=MODEL_COLOUR, lw=1, ls="--")
    _leave_out_far_points(axes, result.n_blocks[known], result.criterion[known])
    axes.set(ylabel="criterion", title=f"best: {k} block{'s' if k > 1 else ''}")


def _leave_out_far_points(axes: Any, n_blocks: Array, criterion: Array) -> None:
    """End the axis above most of the points, and draw arrows for the others."""
    rises = criterion - criterion.min()
    end = _QUARTILES * float(np.quantile(rises, 0.75))
    is_far = rises > end
    if end == 0 or not is_far.any():
        return
    axes.set_ylim(criterion.min() - 0.05 * end, criterion.min() + end)
    top = np.full(int(is_far.sum()), 0.98)  # of the height
    at_edge = axes.get_xaxis_transform()
    axes.plot(n_blocks[is_far], top, "^", color=SOURCE_COLOUR, ms=7, transform=at_edge)
