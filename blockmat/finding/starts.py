"""Partitions to start from: Ward's clusters of points, or intervals between change points.

The libraries are imported here when they are used, because importing blockmat should not wait
for them.
"""

from typing import Protocol

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.extras import import_extra

_TREE_UP_TO = 2000  # points that have a leaf of their own
_GROUPS = 500  # leaves where there are more
_ITERATIONS = 10  # of k-means, whose groups only have to be near
_PRODUCTS_OF = 20  # coordinates of a point whose sign does not matter
_EQUAL = (
    2.0**-35
)  # beside a point's largest coordinate: above rounding, and below other differences


class Start(Protocol):
    """Partitions of points into any number of blocks."""

    def cut(self, k: int) -> Array:
        """Return labels of k blocks, none of them empty, (n,)."""


class WardTree:
    """Ward's clustering of points, or of groups of them where they are many.

    Equal points are then one group each, unless too many points differ.

    Parameters
    ----------
    points : ndarray, shape (n, r)
        The points.
    k : int
        The most blocks that will be asked for.
    rng : numpy.random.Generator
        For the groups.
    """

    def __init__(self, points: Array, k: int, rng: np.random.Generator) -> None:
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import pdist

        self.groups = np.arange(len(points))
        if len(points) > _TREE_UP_TO:
            self.groups = _equal_points(points)
            if self.groups.max() >= _TREE_UP_TO:
                n_groups = max(_GROUPS, min(4 * k, len(points)))
                self.groups = _nearby_points(points, n_groups, rng)
            points = _centres(points, self.groups)
        self.links = linkage(pdist(points), "ward") if len(points) > 1 else None

    def cut(self, k: int) -> Array:
        """Return labels of k clusters."""
        from scipy.cluster.hierarchy import cut_tree

        if self.links is None:
            return _divided(np.zeros(len(self.groups), dtype=np.intp), k)
        leaves = cut_tree(self.links, min(k, len(self.links) + 1))[:, 0]
        return _divided(leaves[self.groups].astype(np.intp), k)


def _equal_points(points: Array) -> Array:
    """Return a number for each point, the same for points that are equal but for rounding."""
    _, exponents = np.frexp(np.abs(points).max(axis=1, keepdims=True))
    unit = np.maximum(np.ldexp(_EQUAL, exponents), np.finfo(np.float64).tiny)
    _, numbers = np.unique(np.rint(points / unit) * unit, axis=0, return_inverse=True)
    return np.asarray(numbers, dtype=np.intp).ravel()


def _nearby_points(points: Array, n_groups: int, rng: np.random.Generator) -> Array:
    """Divide points into at most so many groups by k-means, none of them empty."""
    from scipy.cluster.vq import vq

    centres = points[rng.choice(len(points), n_groups, replace=False)]
    for _ in range(_ITERATIONS):
        nearest, _ = vq(points, centres)
        _, groups = np.unique(nearest, return_inverse=True)
        centres = _centres(points, groups)
    return groups


def _centres(points: Array, groups: Array) -> Array:
    """Return the mean of each group of points."""
    sizes = np.bincount(groups)
    return np.stack([np.bincount(groups, column) / sizes for column in points.T], axis=1)


def _divided(labels: Array, k: int) -> Array:
    """Make k clusters of fewer, by giving clusters that are missing one member of another each."""
    names, first = np.unique(labels, return_index=True)
    missing = np.arange(len(names), k)
    others = np.delete(np.arange(len(labels)), first)
    labels[others[: len(missing)]] = missing
    return labels


class ChangePoints:
    """The intervals of points whose sum of squared distances to their means is least.

    Parameters
    ----------
    points : ndarray, shape (n, r)
        The points, in the order of the variables.
    """

    def __init__(self, points: Array) -> None:
        ruptures = import_extra("ruptures", "discover", "contiguous=True")
        self.n = len(points)
        self.search = ruptures.KernelCPD(kernel="linear", min_size=1, jump=1)
        if self.n > 1:
            self.search.fit(points)

    def cut(self, k: int) -> Array:
        """Return labels of k intervals."""
        ends = self.search.predict(n_bkps=k - 1) if k > 1 else [self.n]
        return np.repeat(np.arange(k), np.diff([0, *ends]))


def without_signs(points: Array) -> Array:
    """Return points that are the same for x and -x: products of the coordinates."""
    centre = points if points.shape[1] <= _PRODUCTS_OF else _leading(points)
    lengths = np.linalg.norm(centre, axis=1, keepdims=True)
    directions = centre / np.maximum(lengths, np.finfo(np.float64).tiny)
    rows, cols = np.triu_indices(centre.shape[1])
    twice = np.where(rows == cols, 1, np.sqrt(2))
    products: Array = centre[:, rows] * directions[:, cols] * twice
    return products


def _leading(points: Array) -> Array:
    """Return the coordinates of points along the directions in which they are longest."""
    _, vectors = np.linalg.eigh(points.T @ points)
    coordinates: Array = points @ vectors[:, -_PRODUCTS_OF:]
    return coordinates


def signs_of(points: Array, labels: Array) -> Array:
    """Return the sign of each point along the direction of its block, (n,)."""
    signs = np.ones(len(points))
    for b in range(labels.max() + 1):
        members = points[labels == b]
        direction = np.linalg.svd(members, full_matrices=False)[2][0]
        signs[labels == b] = np.where(members @ direction < 0, -1.0, 1.0)
    return signs
