"""A picture of a fit: the matrix, its approximation, the error, and both spectra.

Needs the ``plot`` extra. Figures are matplotlib Figures that belong to no window,
so this works without a display; save them with ``savefig``.
"""

from typing import Any

import numpy as np
from scipy.sparse import issparse

from blockmat._validation import Array, import_extra
from blockmat.matrix import BlockConstantMatrix

__all__ = ["plot_fit"]

_MAX_PIXELS = 400  # fewer than a panel has on the screen, or thin diagonals are lost
_MAX_DENSE_SPECTRUM = 3000


def plot_fit(source: Any, A: BlockConstantMatrix, title: str | None = None) -> Any:
    """Draw a matrix beside its block-constant approximation.

    Rows and columns are sorted by block. Of more than 400 variables, evenly spaced
    ones are shown. The spectrum of the source is drawn up to 3000 variables.

    Parameters
    ----------
    source : array_like or sparse matrix, shape (n, n)
        What was fitted.
    A : BlockConstantMatrix
        The approximation.
    title : str, optional
        A title for the figure.

    Returns
    -------
    matplotlib.figure.Figure
        With four panels.

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
    p = A.partition
    shown = p.order[np.unique(np.linspace(0, p.n - 1, min(p.n, _MAX_PIXELS)).astype(int))]
    original = _entries(source, shown)
    labels, positions = p.labels[shown], p.positions[shown]
    paired = positions[:, None] == positions
    second = A._square_within[np.ix_(labels, labels)]
    approximation = A.values[np.ix_(labels, labels)] + second * paired
    low, high = _range(original)

    figure = figures.Figure(figsize=(11, 9), layout="constrained")
    axes = figure.subplots(2, 2)
    panels = [("original", np.real(original)), ("approximation", np.real(approximation))]
    for axis, (name, image) in zip(axes[0], panels, strict=True):
        drawn = axis.imshow(image, vmin=low, vmax=high, cmap="viridis", interpolation="nearest")
        figure.colorbar(drawn, ax=axis, shrink=0.8)
        blocks = f", {p.n_blocks} blocks" if name == "approximation" else ""
        _label(axis, f"{name}, {p.n} x {p.n}{blocks}")
    error = np.real(approximation) - np.real(original)
    bound = np.abs(error).max() or 1.0
    drawn = axes[1, 0].imshow(
        error, vmin=-bound, vmax=bound, cmap="RdBu_r", interpolation="nearest"
    )
    _label(axes[1, 0], "approximation - original")
    figure.colorbar(drawn, ax=axes[1, 0], shrink=0.8)
    _draw_spectra(axes[1, 1], source, A)
    if title:
        figure.suptitle(title)
    return figure


def _entries(source: Any, shown: Array) -> Array:
    if issparse(source):
        dense: Array = source.tocsr()[shown][:, shown].toarray()
        return dense
    chosen: Array = np.asarray(source)[np.ix_(shown, shown)]
    return chosen


def _range(image: Array) -> tuple[float, float]:
    """Colour limits from the entries off the diagonal, which a ridge would outshine."""
    rest = np.real(image)[~np.eye(len(image), dtype=bool)]
    rest = rest if rest.size else np.real(image).ravel()
    return float(rest.min()), float(rest.max())


def _label(axis: Any, title: str) -> None:
    axis.set_title(title, fontsize=11)
    axis.set_xticks([])
    axis.set_yticks([])


def _draw_spectra(axis: Any, source: Any, A: BlockConstantMatrix) -> None:
    """Draw singular values, which for a positive definite matrix are the eigenvalues."""
    n = A.shape[0]
    rank = np.arange(1, n + 1)
    if n <= _MAX_DENSE_SPECTRUM:
        dense = source.toarray() if issparse(source) else np.asarray(source)
        hermitian = np.array_equal(dense, dense.conj().T)
        if hermitian:
            exact = np.sort(np.abs(np.linalg.eigvalsh(dense)))[::-1]
        else:
            exact = np.linalg.svd(dense, compute_uv=False)
        axis.loglog(rank, exact, label="original", color="#1f77b4", lw=2)
    values, multiplicities = A.svdvals()
    axis.loglog(
        rank,
        np.repeat(values, multiplicities),
        label="approximation",
        color="#d62728",
        lw=2,
        ls="--",
    )
    axis.set_title("singular values", fontsize=11)
    axis.set_xlabel("rank")
    axis.grid(alpha=0.3)
    axis.legend()
