"""Products of a correlation matrix R (n, n) and weights W (n, k) of blocks.

Column b of W has the weights of the variables of block b, and is zero elsewhere.
"""

import importlib
from functools import cache
from types import ModuleType
from typing import Protocol

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition


class WeightedSums(Protocol):
    """The products ``R W``, which need not be formed, and the sums ``W^T R W`` (k, k)."""

    sums: Array

    def products(self) -> Array:
        """Return ``R W``, a new array (n, k)."""

    def own(self, M: Array) -> Array:
        """Return the entry of each variable with its own block in ``R W M``, (n,)."""


class SumsOfProducts:
    """Weighted sums whose products ``R W`` are known."""

    def __init__(self, p: Partition, weights: Array, products: Array) -> None:
        self.p, self._products = p, products
        self.sums = p.block_sums(weights[:, None] * products)

    def products(self) -> Array:
        """Return ``R W``, a new array (n, k)."""
        return self._products.copy()

    def own(self, M: Array) -> Array:
        """Return the entry of each variable with its own block in ``R W M``, (n,)."""
        result: Array = np.einsum("ib,ib->i", self._products, M.T[self.p.labels])
        return result


class SumsOfRows:
    """Weighted sums for ``R = X X^T``.

    One reading of X (n, m) makes ``W^T X``, and another one the entries with own blocks.
    """

    def __init__(self, p: Partition, weights: Array, X: Array) -> None:
        self.X, self.labels = X, p.labels
        self.rows = np.empty((p.n_blocks, X.shape[1]))
        _kernels().sum_weighted_rows(X, weights, self.labels, self.rows)
        self.sums = self.rows @ self.rows.T

    def products(self) -> Array:
        """Return ``R W``, a new array (n, k)."""
        result: Array = self.X @ self.rows.T
        return result

    def own(self, M: Array) -> Array:
        """Return the entry of each variable with its own block in ``R W M``, (n,)."""
        result = np.empty(len(self.X))
        _kernels().multiply_own_rows(self.X, M.T @ self.rows, self.labels, result)
        return result


@cache
def _kernels() -> ModuleType:
    """Import the kernels on first use, because this loads Numba."""
    return importlib.import_module("blockmat.finding.correlations.kernels")
