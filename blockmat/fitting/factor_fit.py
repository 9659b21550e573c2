"""FactorFit: a fitted factor model, and how it was found."""

from typing import NamedTuple

from blockmat.blocks.checks import Array
from blockmat.fitting.factor_errors import Patterns, standard_errors
from blockmat.matrices.block_factor import BlockFactorMatrix

__all__ = ["FactorFit"]


class FactorFit(NamedTuple):
    """A fitted factor model, and how it was found.

    Parameters
    ----------
    matrix : BlockFactorMatrix
        The fit.
    log_likelihood : float or None
        That of the samples at the fit, in natural logarithms; None for a fit by least squares.
    residual : float or None
        The root mean square of the errors of the correlations off the diagonal, for a fit by least
        squares; otherwise None.
    n_iter : int
        The number of steps of the search.
    converged : bool
        Whether the search converged.
    at_bound : ndarray of bool, shape (n,)
        Which variables have the smallest noise that `min_noise` allows (Heywood cases). Blocks of
        one variable, whose noise is set to it, are False.
    n_samples : float or None
        The number of samples, or the sum of their frequency weights, or the effective number of
        samples with reliability weights; None for a fit by least squares.
    mean : ndarray of shape (n,) or None
        The estimated mean, which is zero with ``assume_centered=True``; None for a matrix.
    patterns : tuple of ndarray or None
        Which variables are observed in each pattern of gaps, (P, n), and its share of the samples,
        (P,); None without gaps.

    See Also
    --------
    fit_factor : returns it with ``full_output=True``.

    Examples
    --------
    >>> import blockmat as bm
    >>> A = bm.BlockFactorMatrix([0, 0, 0], [1.0], noise=1.0, loadings=[1.0, 2.0, 3.0])
    >>> fit = bm.fit_factor(A.toarray(), [0, 0, 0], samples=False, full_output=True)
    >>> fit.matrix.loadings.round(3), fit.converged
    (array([1., 2., 3.]), True)
    """

    matrix: BlockFactorMatrix
    log_likelihood: float | None
    residual: float | None
    n_iter: int
    converged: bool
    at_bound: Array
    n_samples: float | None
    mean: Array | None
    patterns: Patterns | None

    def __repr__(self) -> str:
        converged = "converged" if self.converged else "not converged"
        n_bound = int(self.at_bound.sum())
        bound = f", {n_bound} variables with the least noise" if n_bound else ""
        return f"<FactorFit of a {self.matrix!r}: {self.n_iter} steps, {converged}{bound}>"

    def standard_errors(self) -> tuple[Array, Array, Array]:
        r"""Return the asymptotic standard errors of the estimates from Gaussian samples.

        Returns
        -------
        loadings, noise : ndarray, shape (n,)
            The standard errors. Noise at its bound counts as known, and has the standard error 0.
        covariance : ndarray, shape (k, k) or (k,)
            Those of the correlations of the factors.

        Raises
        ------
        ValueError
            If the matrix was fitted without a number of samples, or has more than 4096 parameters.
        SingularMatrixError
            If some parameters are not identified, such as two loadings in a block of two whose
            factor correlates with no other.

        Notes
        -----
        They are the roots of the diagonal of the inverse of the expected information, a dense matrix
        of the size of the number of parameters: :ref:`theory-factorfit`. With gaps, it is the mean
        over the patterns of gaps, in O(P m\ :sup:`2`) for P patterns and m parameters. It holds if
        whether a value is missing depends on no value.

        Examples
        --------
        >>> import numpy as np
        >>> import blockmat as bm
        >>> X = np.random.default_rng(0).normal(size=(400, 2))[:, [0, 0, 0, 1, 1, 1]]
        >>> X += np.random.default_rng(1).normal(size=X.shape)
        >>> fit = bm.fit_factor(X, [0, 0, 0, 1, 1, 1], full_output=True)
        >>> loadings, noise, covariance = fit.standard_errors()
        >>> loadings.round(2)
        array([0.08, 0.07, 0.07, 0.07, 0.08, 0.08])
        """
        if self.n_samples is None:
            raise ValueError(
                "the matrix was fitted to correlations without a number of samples; expected "
                "n_samples for standard errors"
            )
        return standard_errors(self.matrix, self.at_bound, self.n_samples, self.patterns)
