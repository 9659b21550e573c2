"""How much a loss rises if two blocks are merged, from k x k sums. Derived in :ref:`theory-blocks`."""

from typing import NamedTuple, Protocol

import numpy as np

from blockmat.blocks.checks import Array


class BlockSums(NamedTuple):
    """Sums of a symmetric matrix over blocks, and of the loadings of its variables.

    ``sizes`` (k,) are the sums of the loadings and ``squares`` (k,) those of their squares: both are
    the numbers of variables if all loadings are 1. ``on`` (k,) are the sums of the diagonal, and
    ``off`` (k, k) those of the entries off it.
    """

    sizes: Array
    squares: Array
    on: Array
    off: Array

    @property
    def products(self) -> Array:
        """The sums of the products of loadings of two different variables, (k, k)."""
        products: Array = np.outer(self.sizes, self.sizes) - np.diag(self.squares)
        return products

    def merged(self, a: int, b: int) -> "BlockSums":
        """Return the sums after block b has been added to block a."""
        off = self.off.copy()
        off[a] += off[b]
        off[:, a] += off[:, b]
        sizes, squares, on = (_added(x, a, b) for x in (self.sizes, self.squares, self.on))
        return BlockSums(sizes, squares, on, without(off, b))

    def flipped(self, b: int) -> "BlockSums":
        """Return the sums after the variables of block b have changed their signs."""
        return self._replace(off=flipped(self.off, b))


def _added(x: Array, a: int, b: int) -> Array:
    """Return numbers (k,) with number b added to number a, and without b."""
    x = x.copy()
    x[a] += x[b]
    return np.delete(x, b)


def without(A: Array, b: int) -> Array:
    """Return a matrix without row and column b."""
    return np.delete(np.delete(A, b, axis=0), b, axis=1)


def flipped(A: Array, b: int) -> Array:
    """Return a matrix whose row and column b have the other sign."""
    A = A.copy()
    A[b] *= -1
    A[:, b] *= -1
    return A


class Merges(Protocol):
    """The loss as a function of the blocks that are merged, one pair after the other."""

    def increases(self, sign: int = 1) -> Array:
        """Return how much the loss rises if blocks a and b are merged, (k, k).

        With sign -1 the variables of one of the two blocks change their signs before. The diagonal
        has no meaning.
        """

    def merge(self, a: int, b: int, sign: int = 1) -> None:
        """Add block b to block a, and remove block b. With sign -1 it changes its signs before."""


class FrobeniusMerges:
    """The squared Frobenius distance of a matrix to its fit.

    The fit of entry (i, j) off the diagonal is a value of its block, times the loadings of i and j if
    the errors are divided by the roots of both loadings; on the diagonal it is one number.
    """

    def __init__(self, sums: BlockSums) -> None:
        self.sums = sums

    def increases(self, sign: int = 1) -> Array:
        """Return how much less the fit explains, (k, k)."""
        n, squares, on, off = self.sums
        products = self.sums.products
        mean = off / np.where(products > 0, products, 1)
        weight = np.outer(n, n) / np.add.outer(n, n)
        # Blocks (a, c) and (b, c), c being another block, get one value; so do (c, a) and (c, b)
        inner = (mean * n) @ mean
        norms, own = np.diag(inner), np.diag(mean)[:, None]
        distances = np.add.outer(norms, norms) - 2 * sign * inner
        distances -= n[:, None] * (own - sign * mean) ** 2 + n * (own.T - sign * mean) ** 2
        others = 2 * weight * np.maximum(distances, 0)
        diagonals = weight * np.subtract.outer(on / n, on / n) ** 2
        # The values of (a, a), (a, b) and (b, b) become one
        sums, explained = np.diag(off), np.diag(off * mean)
        together = np.add.outer(sums, sums) + 2 * sign * off
        n_together = np.add.outer(n, n) ** 2 - np.add.outer(squares, squares)
        own = np.add.outer(explained, explained) + 2 * off * mean - together**2 / n_together
        result: Array = others + diagonals + np.maximum(own, 0)
        return result

    def merge(self, a: int, b: int, sign: int = 1) -> None:
        """Add block b to block a, and remove block b."""
        sums = self.sums if sign > 0 else self.sums.flipped(b)
        self.sums = sums.merged(a, b)


class GaussianMerges:
    """Minus twice the Gaussian log-likelihood of standardized samples, per sample.

    Variances below `least` are rounding.
    """

    def __init__(self, sums: BlockSums, least: float) -> None:
        self.sums, self.least = sums, least
        root = np.sqrt(sums.sizes)
        between = (sums.off + np.diag(sums.on)) / np.outer(root, root)
        values, vectors = np.linalg.eigh(between)
        vectors = vectors / root[:, None]
        self.inverse = (vectors / np.maximum(values, least)) @ vectors.T  # of the sums of blocks

    def increases(self, sign: int = 1) -> Array:
        """Return how much the loss ``logdet M + sum (n_b - 1) log d_b`` rises, (k, k)."""
        n, _, on, off = self.sums
        own = np.diag(self.inverse)
        between = np.add.outer(own, own) - 2 * sign * self.inverse
        tiny = np.finfo(np.float64).tiny
        log_between = np.log(np.maximum(between, tiny))
        log_between += np.add.outer(np.log(n), np.log(n)) - np.log(np.add.outer(n, n))
        alone = self._log_within(n, on, np.diag(off))
        both = np.add.outer(np.diag(off), np.diag(off)) + 2 * sign * off
        together = self._log_within(np.add.outer(n, n), np.add.outer(on, on), both)
        result: Array = log_between + together - np.add.outer(alone, alone)
        return result

    def _log_within(self, n: Array, on: Array, off: Array) -> Array:
        """Return ``(n - 1) log d`` of blocks of n variables with these sums."""
        d = on / n - off / np.maximum(n * (n - 1), 1)
        result: Array = (n - 1) * np.log(np.maximum(d, self.least))
        return result

    def merge(self, a: int, b: int, sign: int = 1) -> None:
        """Add block b to block a, and remove block b."""
        if sign < 0:
            self.sums, self.inverse = self.sums.flipped(b), flipped(self.inverse, b)
        self.sums = self.sums.merged(a, b)
        difference = self.inverse[a] - self.inverse[b]
        inverse = self.inverse - np.outer(difference, difference) / (difference[a] - difference[b])
        self.inverse = without(inverse, b)
