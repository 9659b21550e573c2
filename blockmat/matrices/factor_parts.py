"""FactorParts: the core of a `BlockFactorMatrix`, its entries and its parts."""

from abc import abstractmethod
from functools import cached_property
from typing import Any, Self

import numpy as np

from blockmat.blocks.checks import Array, is_choice
from blockmat.blocks.names import own_names, refuse_other_names
from blockmat.blocks.passes import weighted_sums
from blockmat.blocks.shown import shown
from blockmat.blocks.subset import Subset
from blockmat.cores import factor_model
from blockmat.cores.arrays import entries_of_core, part_of_core
from blockmat.cores.conditioning import (
    Effects,
    Observed,
    conditional_effects,
    conditional_independent_effects,
)
from blockmat.cores.core import ROUNDING, Core, hermitian_part
from blockmat.exceptions import IndefiniteMatrixError, ShapeError
from blockmat.matrices.parts import Parts, as_means, real_numbers
from blockmat.matrices.weighted_frame import are_all_zero, lengths_in_blocks
from blockmat.sources.samples import use_missing


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

    def _require_full_rank(self) -> None:
        """Raise `IndefiniteMatrixError` unless the matrix is positive definite."""
        if not self.is_positive_definite():
            raise IndefiniteMatrixError(
                "the matrix is not positive definite; expected a covariance matrix of full rank"
            )

    def factor_scores(
        self, x: Any, mean: Any = None, *, missing: str = "raise"
    ) -> tuple[Array, Array]:
        r"""Return mean and covariance of the factors, given the values of the variables.

        In a mixed model these are the predicted random effects (BLUP) and their prediction errors.

        Parameters
        ----------
        x : array_like, shape (n,) or (q, n)
            The values of the variables; or q samples of them, one in each row.
        mean : float or array_like of shape (n,), optional
            The means of the variables; by default zero.
        missing : {"raise", "em"}, default "raise"
            What NaN in `x` means: an error, or a missing value. With "em" the scores of a sample
            are those given its observed values.

        Returns
        -------
        scores : ndarray, shape (k,) or (q, k)
            The conditional means of the factors, in the order of the blocks.
        covariance : ndarray, shape (k, k) or (k,)
            Their conditional covariance, or its diagonal for independent factors. It depends on what
            is observed: with ``missing="em"`` and q samples it is that of each, (q, k, k) or (q, k).

        Raises
        ------
        ShapeError
            If `x` or `mean` does not fit.
        DtypeError
            If it is not real.
        NonFiniteError
            If it contains infinity, or NaN with ``missing="raise"``.
        ValueError
            If `missing` is another string, or `mean` is a Series with other names than `x`.
        SingularMatrixError, IndefiniteMatrixError
            If the matrix is not positive definite.

        See Also
        --------
        condition : mean and covariance of the other variables, given some.

        Notes
        -----
        The scores are :math:`C Z^T S A^{-1} (x - \mu)`, the covariance is
        :math:`(I + C W)^{-1} C` with :math:`W = Z^T S^2 \Delta^{-1} Z`: :ref:`theory-parts`.

        Examples
        --------
        >>> import numpy as np
        >>> import blockmat as bm
        >>> A = bm.BlockFactorMatrix(["a", "a", "b"], [1.0, 1.0], noise=1.0)
        >>> A.factor_scores([3.0, 0.0, 2.0])
        (array([1., 1.]), array([0.33333333, 0.5       ]))
        >>> A.factor_scores([3.0, np.nan, 2.0], missing="em")
        (array([1.5, 1. ]), array([0.5, 0.5]))
        """
        if not is_choice(missing, ("raise", "em")):
            raise ValueError(f"missing is {shown(missing)}; expected 'raise' or 'em'")
        n, k = self.shape[0], self.partition.n_blocks
        values = real_numbers(x, "x", (1, 2), use_missing("em"), may_have_gaps=missing == "em")
        if values.shape[-1] != n:
            raise ShapeError(f"x has shape {values.shape}; expected ({n},) or (q, {n})")
        means = as_means(mean, n)
        refuse_other_names(("x", own_names(x)), ("mean", own_names(mean)))
        self._require_full_rank()
        dtype = np.result_type(self.dtype, values, *([means] if means.ndim else []))
        rows = np.atleast_2d(values).astype(np.float64) - means.astype(np.float64)
        patterns, of_row = np.ones((1, n), bool), np.zeros(len(rows), np.intp)
        if missing == "em":
            patterns, of_row = np.unique(~np.isnan(rows), axis=0, return_inverse=True)
        scores = np.empty((len(rows), k))
        covariance = np.empty((len(patterns), *self.covariance.shape))
        of_row = of_row.ravel()
        ends = np.cumsum(np.bincount(of_row, minlength=len(patterns)))
        groups = np.split(np.argsort(of_row, kind="stable"), ends)[:-1]
        for i, (seen, chosen) in enumerate(zip(patterns, groups, strict=True)):
            scores[chosen], covariance[i] = self._scores_given(np.flatnonzero(seen), rows[chosen])
        shape = values.shape[:-1]
        spread = covariance[of_row] if missing == "em" and shape else covariance[0]
        return (
            scores.reshape(*shape, k).astype(dtype, copy=False),
            spread.astype(self.dtype, copy=False),
        )

    def _scores_given(self, variables: Array, deviations: Array) -> tuple[Array, Array]:
        """Return scores (m, k) and covariance of the factors, given some variables of m samples."""
        k, c = self.partition.n_blocks, self.covariance
        telling = variables[self.loadings[variables] != 0]
        if not len(telling):
            return np.zeros((len(deviations), k)), c
        every, seen = np.arange(k), Subset.of(self.partition, telling)
        effects, part = self._effects(every, seen, (seen.blocks, np.arange(len(seen.blocks))))
        return effects.mean(part._coordinates(deviations[:, telling].T)).T, effects.covariance

    def _effects(
        self, blocks: Array, seen: Subset, shared: tuple[Array, Array]
    ) -> tuple[Effects, Self]:
        """Condition the factors of some blocks on variables; also return the part of these."""
        part, c = self._part(seen), self.covariance
        known = Observed(part._core.values, part._lengths, np.ones(len(seen.blocks)))
        if c.ndim == 1:
            return conditional_independent_effects(c[blocks], known, shared), part
        prior, cross = (c[np.ix_(blocks, x)] for x in (blocks, seen.blocks))
        return conditional_effects(prior, cross, known, shared), part

    def _coordinates(self, x: Array) -> Array:
        """Return the coordinates ``Q^T x / root of delta`` of columns x (n, m)."""
        p, root = self.partition, self._root_of_noise
        return weighted_sums(p, x, self.loadings / root / self._lengths[p.labels] / root)

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
        effects, seen = self._effects(rest.blocks, telling, rest.shared_blocks(telling))
        means = effects.mean(seen._coordinates(deviations[tells]))
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
