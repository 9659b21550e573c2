"""A matrix, its approximation and the error."""

from typing import Any

import numpy as np
from scipy.sparse import issparse

from blockmat.blocks.checks import Array
from blockmat.blocks.shown import shown as value_of
from blockmat.matrices.structured import SquareMatrix, Structured
from blockmat.plot.figures import COLOURS, new_panels, shown_variables


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
        If `A` is of another class, or `ax` is no axes.
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
        raise TypeError(
            f"A is {value_of(A)}; expected a square matrix of this package, as in "
            f"approximation(S, fit(S, partition))"
        )
    axes = new_panels(ax, 3, figsize=(13, 4))
    p = A.partition
    shown = shown_variables(p.order)
    original = _entries(source, shown)
    model = np.real(Structured(A).entries(shown[:, None], shown))
    bound = _colour_limit(original)
    panels = [
        (f"source, {p.n} x {p.n}", original, bound),
        (f"approximation, {p.n_blocks} blocks", model, bound),
        ("approximation - source", model - original, np.abs(model - original).max() or 1.0),
    ]
    for axis, (title, image, limit) in zip(axes, panels, strict=True):
        drawn = axis.imshow(image, vmin=-limit, vmax=limit, cmap=COLOURS, interpolation="nearest")
        axis.figure.colorbar(drawn, ax=axis, shrink=0.8)
        axis.set(title=title, xticks=[], yticks=[])
    return axes


def _entries(source: Any, shown: Array) -> Array:
    """Return the real parts of the rows and columns that are shown."""
    if issparse(source):
        return np.real(source.tocsr()[shown][:, shown].toarray())
    return np.real(np.asarray(source)[np.ix_(shown, shown)])


def _colour_limit(image: Array) -> float:
    """Return the largest off-diagonal magnitude; a large diagonal would hide the other entries."""
    rest = image[~np.eye(len(image), dtype=bool)]
    return float(np.abs(rest if rest.size else image).max()) or 1.0
