"""Nested partitions as a tree."""

from typing import Any

from blockmat.blocks.extras import import_extra
from blockmat.finding.partition_path import PartitionPath
from blockmat.finding.search.search import signs_in_blocks
from blockmat.finding.search.tree import PartitionTree
from blockmat.plot.figures import SOURCE_COLOUR, names_of_variables, new_axes, plain_text, short

_MAX_LABEL = 44  # letters
_FONT_SIZES = {20: 8, 40: 6, 80: 4}  # points, by the largest number of leaves


def tree(path: PartitionPath | PartitionTree, ax: Any = None, *, names: Any = None) -> Any:
    """Plot how the best blocks of a path are merged.

    Parameters
    ----------
    path : PartitionPath or PartitionTree
        The result of `blockmat.partition_path`, or its tree.
    ax : matplotlib.axes.Axes, optional
        The axes to draw into; by default those of a new figure.
    names : sequence, shape (n,), optional
        Names of the variables; by default those of the path, if it has any. The first ones of each
        block are written beside it; without names its size is. Variables that are reversed relative
        to the first one of their block get a minus, as `PartitionPath.best_signs` tells.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. Two blocks are merged where the loss has risen by the length below.

    Raises
    ------
    TypeError
        If `path` is another object, or `ax` is no axes.
    ShapeError, ValueError
        If there is not one name for each variable, or the tree has only one block.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> from blockmat import plot
    >>> A = np.kron(np.eye(3), np.ones((4, 4))) + 0.1 * np.eye(12)
    >>> axes = plot.tree(bm.partition_path(A))
    >>> sorted(label.get_text() for label in axes.get_yticklabels())
    ['0 (4 variables)', '1 (4 variables)', '2 (4 variables)']
    """
    found = path.tree if isinstance(path, PartitionPath) else path
    if not isinstance(found, PartitionTree):
        raise TypeError(
            f"path is a {type(path).__name__}; expected a PartitionPath with a tree, or a "
            f"PartitionTree"
        )
    p = found.partition
    if p.n_blocks < 2:
        raise ValueError("path has one block as its best partition; expected several to merge")
    if names is None and isinstance(path, PartitionPath):
        names = path.names
    labels = _labels(found, names)
    axes = new_axes(ax)
    hierarchy = import_extra("scipy.cluster.hierarchy", "plot", "a tree")
    size = next((size for most, size in _FONT_SIZES.items() if p.n_blocks <= most), 3)
    hierarchy.dendrogram(
        found.links,
        ax=axes,
        orientation="left",
        labels=list(map(plain_text, labels)),
        leaf_font_size=size,
        link_color_func=lambda node: SOURCE_COLOUR,
    )
    axes.set(xlabel="rise of the loss", title=f"{p.n_blocks} blocks and how they are merged")
    axes.spines[["top", "left", "right"]].set_visible(False)
    return axes


def _labels(found: PartitionTree, names: Any) -> list[str]:
    """Return a text for each leaf."""
    p = found.partition
    if names is None:
        plural = ["" if size == 1 else "s" for size in p.sizes]
        return [
            f"{short(name)} ({size} variable{s})"
            for name, size, s in zip(p.names, p.sizes.tolist(), plural, strict=True)
        ]
    texts = names_of_variables(names, signs_in_blocks(p, found.signs))
    return [short(", ".join(texts[i] for i in members), _MAX_LABEL) for members in p]
