"""FactorParts: the core of a `BlockFactorMatrix`, its entries and its parts."""

from abc import abstractmethod
from functools import cached_property
from typing import Self

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.passes import weighted_sums
from blockmat.blocks.subset import Subset
from blockmat.cores import factor_model
from blockmat.cores.arrays import entries_of_core, part_of_core
from blockmat.cores.conditioning import (
    Observed,
    conditional_effects,
    conditional_independent_effects,
)
from blockmat.cores.core import ROUNDING, Core, hermitian_part
from blockmat.matrices.parts import Parts
from blockmat.matrices.weighted_frame import are_all_zero, lengths_in_blocks


class FactorParts(Parts):
    """Base class of `BlockFactorMatrix`."""

    @property
    @abstractmethod
    def covariance(self) -> Array:
        """The covariance C of the factors, (k, k), or its diagonal, (k,)."""

    @property
    @abstractmethod
    def noise(self) -> Array:
        """The diagonal of noise, (n,)."""

    @property
    @abstractmethod
    def loadings(self) -> Array:
        """The loadings, (n,)."""

    @property
    def _root_of_noise(self) -> Array:
        root: Array = np.sqrt(self.noise.astype(np.float64))
        return root

    @cached_property
    def _lengths(self) -> Array:
        """The lengths of the columns of ``s / root of delta``, (k,)."""
        return lengths_in_blocks(self.partition, self.loadings / self._root_of_noise)

    @cached_property
    def _core(self) -> Core:
        """The core ``R = I + L C L``."""
        k, lengths = self.partition.n_blocks, self._lengths
        c = self.covariance.astype(np.float64)
        if c.ndim == 2:
            values = hermitian_part(factor_model.scaled(c, lengths))
            own = 1 + np.diagonal(values)
        else:
            values = own = factor_model.core(c, lengths)
        noise = float(ROUNDING * np.sqrt(k)) * np.finfo(self.dtype).eps
        own = np.where(np.abs(own) > noise, own, 0)  # what is left of 1 - 1 is rounding
        if c.ndim == 2:
            values[np.diag_indices(k)] = own
        else:
            values = own
        ones = np.ones(k)
        return Core.of(values, ones.astype(np.intp), np.arange(k), "factor", ones)

    def _entries(self, i: Array, j: Array) -> Array:
        c, labels = self.covariance, self.partition.labels
        a, b = labels[i], labels[j]
        shared = entries_of_core(c, a, b)
        found: Array = shared * self.loadings[j] * self.loadings[i]
        own: Array = np.where(i == j, self.noise[i], 0)
        return found + own

    def _part(self, part: Subset) -> Self:
        return self._of_part(part, part_of_core(self.covariance, part.blocks))

    def _conditioned(self, observed: Subset, rest: Subset, deviations: Array) -> tuple[Array, Self]:
        # A variable with the loading 0 tells nothing about the others.
        tells = self.loadings[observed.variables] != 0
        if not tells.any():
            return np.zeros((len(rest.variables), deviations.shape[1])), self._part(rest)
        telling = Subset.of(self.partition, observed.variables[tells])
        seen, c = self._part(telling), self.covariance
        known = Observed(seen._core.values, seen._lengths, np.ones(len(telling.blocks)))
        shared = rest.shared_blocks(telling)
        if c.ndim == 2:
            prior, cross = (c[np.ix_(rest.blocks, x.blocks)] for x in (rest, telling))
            effects = conditional_effects(prior, cross, known, shared)
        else:
            effects = conditional_independent_effects(c[rest.blocks], known, shared)
        p, root = telling.partition, seen._root_of_noise
        weights = seen.loadings / root / seen._lengths[p.labels] / root
        means = effects.mean(weighted_sums(p, deviations[tells], weights))
        shift = (rest.partition.expand(means).T * self.loadings[rest.variables]).T
        return shift, self._of_part(rest, effects.covariance)

    def _of_part(self, part: Subset, covariance: Array) -> Self:
        """Make the matrix of a part, with another covariance of its factors (q, q) or (q,).

        A block whose loadings in the part are all zero gets the loadings 1 and a factor that is
        zero, which is the same matrix.
        """
        p, loadings = part.partition, self.loadings[part.variables]
        is_idle = are_all_zero(p, loadings)
        if is_idle.any():
            loadings = np.where(is_idle[p.labels], 1, loadings)
            covariance = np.where(is_idle, 0, covariance)
            if covariance.ndim == 2:
                covariance = np.where(is_idle[:, None], 0, covariance)
        noise = self.noise[part.variables]
        return type(self)(p, *(x.astype(self.dtype) for x in (covariance, noise, loadings)))
