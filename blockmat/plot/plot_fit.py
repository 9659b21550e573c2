"""A fit in four panels."""

from functools import partial
from io import BytesIO
from typing import Any

from blockmat.blocks.extras import import_extra
from blockmat.matrices.structured import SquareMatrix
from blockmat.plot.approximation import approximation
from blockmat.plot.spectrum import spectrum


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
        The figure. A notebook shows it. No window opens; save the figure with ``savefig``.

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
    figure._repr_png_ = partial(_as_png, figure)
    return figure


def _as_png(figure: Any) -> bytes:
    """Return what a notebook shows, which by itself shows only figures of pyplot."""
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
