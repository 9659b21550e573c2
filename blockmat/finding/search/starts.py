"""Partitions to start from: Ward's clusters of points, or intervals between change points.

`scipy.cluster` and ruptures are imported on first use, because they load slowly.
"""

from typing import Protocol

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.extras import import_extra
from blockmat.finding.search.links import cut_links

_MAX_LEAVES = 2000  # points; more of them are grouped first
_N_GROUPS = 500  # groups of many points, at least
_ITERATIONS = 10  # of k-means, whose groups need not be the best ones
_MAX_COORDINATES = 20  # of points of which all products are formed
# Points closer than this are equal, relative to their largest coordinate: above rounding, and
# below other differences
_EQUAL = 2.0**-35


class Start(Protocol):
    """Partitions of points into any number of blocks."""

    def cut(self, k: int) -> Array:
        """Return labels (n,) of k blocks, none of them empty."""


def make_start(points: Array, k_max: int, contiguous: bool, rng: np.random.Generator) -> Start:
    """Return the clusters of points from which block k-means starts."""
    return ChangePoints(points) if contiguous else WardTree(points, k_max, rng)


class WardTree:
    """Ward's clustering of points.

    The leaves of the tree are the points or, of more than 2000 points, groups of them: equal
    points or, if too many points differ, the clusters of k-means.
    """

    def __init__(self, points: Array, k_max: int, rng: np.random.Generator) -> None:
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import pdist

        self.groups = np.arange(len(points))
        if len(points) > _MAX_LEAVES:
            self.groups = _equal_points(points)
            if self.groups.max() >= _MAX_LEAVES:
                n_groups = max(_N_GROUPS, min(4 * k_max, len(points)))
                self.groups = _kmeans_groups(points, n_groups, rng)
            points = _centres(points, self.groups)
        self.links = linkage(pdist(points), "ward") if len(points) > 1 else None

    def cut(self, k: int) -> Array:
        """Return labels of k clusters."""
        if self.links is None:
            return _fill_missing(np.zeros(len(self.groups), dtype=np.intp), k)
        leaves = cut_links(self.links, min(k, len(self.links) + 1))
        return _fill_missing(leaves[self.groups], k)


def _equal_points(points: Array) -> Array:
    """Return a number for each point. Points that differ only by rounding have the same one."""
    _, exponents = np.frexp(np.abs(points).max(axis=1, keepdims=True))
    unit = np.maximum(np.ldexp(_EQUAL, exponents), np.finfo(np.float64).tiny)
    _, numbers = np.unique(np.rint(points / unit) * unit, axis=0, return_inverse=True)
    return np.asarray(numbers, dtype=np.intp).ravel()


def _kmeans_groups(points: Array, n_groups: int, rng: np.random.Generator) -> Array:
    """Divide points by k-means into at most `n_groups` groups, none of them empty."""
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


def _fill_missing(labels: Array, k: int) -> Array:
    """Move one point into each cluster that is missing of k, and empty no other cluster."""
    names, first = np.unique(labels, return_index=True)
    missing = np.arange(len(names), k)
    others = np.delete(np.arange(len(labels)), first)
    labels[others[: len(missing)]] = missing
    return labels


class ChangePoints:
    """The intervals of points with the smallest sum of squared distances to their means."""

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


def sign_free_points(points: Array) -> Array:
    """Return points that are the same for x and -x: the coordinates of ``x x^T / |x|``."""
    centre = points if points.shape[1] <= _MAX_COORDINATES else _leading(points)
    lengths = np.linalg.norm(centre, axis=1, keepdims=True)
    directions = centre / np.maximum(lengths, np.finfo(np.float64).tiny)
    rows, cols = np.triu_indices(centre.shape[1])
    weights = np.where(rows == cols, 1, np.sqrt(2))
    products: Array = centre[:, rows] * directions[:, cols] * weights
    return products


def _leading(points: Array) -> Array:
    """Return the coordinates of points along their leading singular directions."""
    _, vectors = np.linalg.eigh(points.T @ points)
    coordinates: Array = points @ vectors[:, -_MAX_COORDINATES:]
    return coordinates


def leading_signs(points: Array, labels: Array) -> Array:
    """Return the sign of each point along the leading direction of its block, (n,)."""
    signs = np.ones(len(points))
    for b in range(labels.max() + 1):
        members = points[labels == b]
        direction = np.linalg.svd(members, full_matrices=False)[2][0]
        signs[labels == b] = np.where(members @ direction < 0, -1.0, 1.0)
    return signs
