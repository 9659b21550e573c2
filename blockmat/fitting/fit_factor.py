"""fit_factor: a factor model with one factor for each block, from samples or from correlations."""

import warnings
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from blockmat.blocks.checks import (
    Array,
    as_count,
    as_numeric,
    check_square,
    frozen,
    require_finite,
)
from blockmat.blocks.names import check_names
from blockmat.blocks.partition import Partition, as_partition
from blockmat.cores.core import is_close_to_adjoint
from blockmat.exceptions import NotHermitianError
from blockmat.fitting.factor_errors import standard_errors
from blockmat.fitting.factor_estimate import FactorEstimate, FactorOptions
from blockmat.fitting.factor_ml import maximum_likelihood
from blockmat.fitting.minres import least_squares
from blockmat.matrices.block_factor import BlockFactorMatrix
from blockmat.matrices.checks import require_real_dtype
from blockmat.sources.samples import as_real_samples
from blockmat.sources.standardize import standardize

__all__ = ["FactorFit", "fit_factor"]


class FactorFit(NamedTuple):
    """A fitted factor model, and how it was found.

    Parameters
    ----------
    matrix : BlockFactorMatrix
        The fit.
    log_likelihood : float or None
        That of the samples at the fit, in natural logarithms; None for a correlation matrix.
    residual : float or None
        The root mean square of the errors of the correlations off the diagonal; None for samples.
    n_iter : int
        The number of steps of the search.
    converged : bool
        Whether the search converged.
    at_bound : ndarray of bool, shape (n,)
        Which variables have the smallest noise that `min_noise` allows (Heywood cases). Blocks of
        one variable, whose noise is set to it, are False.
    n_samples : int or None
        The number of samples; None for a correlation matrix.

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
    n_samples: int | None

    def standard_errors(self) -> tuple[Array, Array, Array]:
        """Return the asymptotic standard errors of the estimates from Gaussian samples.

        Returns
        -------
        loadings, noise : ndarray, shape (n,)
            The standard errors. Noise at its bound counts as known, and has the standard error 0.
        covariance : ndarray, shape (k, k) or (k,)
            Those of the correlations of the factors.

        Raises
        ------
        ValueError
            If the matrix was not fitted to samples, or has more than 4096 parameters.
        SingularMatrixError
            If some parameters are not identified, such as two loadings in a block of two whose
            factor correlates with no other.

        Notes
        -----
        They are the roots of the diagonal of the inverse of the expected information, a dense matrix
        of the size of the number of parameters: :ref:`theory-factorfit`.

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
                "the matrix was fitted to correlations; expected samples for standard errors"
            )
        return standard_errors(self.matrix, self.at_bound, self.n_samples)


@overload
def fit_factor(
    source: Any,
    partition: Any,
    *,
    samples: bool = True,
    independent: bool = False,
    assume_centered: bool = False,
    min_noise: float = 0.005,
    tol: float = 1e-6,
    max_iter: int = 1000,
    full_output: Literal[False] = False,
) -> BlockFactorMatrix: ...


@overload
def fit_factor(
    source: Any,
    partition: Any,
    *,
    samples: bool = True,
    independent: bool = False,
    assume_centered: bool = False,
    min_noise: float = 0.005,
    tol: float = 1e-6,
    max_iter: int = 1000,
    full_output: Literal[True],
) -> FactorFit: ...


def fit_factor(
    source: Any,
    partition: Any,
    *,
    samples: bool = True,
    independent: bool = False,
    assume_centered: bool = False,
    min_noise: float = 0.005,
    tol: float = 1e-6,
    max_iter: int = 1000,
    full_output: bool = False,
) -> BlockFactorMatrix | FactorFit:
    r"""Fit a factor model in which each variable depends on the factor of its block.

    It fits samples by maximum likelihood, or a correlation or covariance matrix by least squares
    off the diagonal (minres).

    Parameters
    ----------
    source : array_like, shape (T, n) or (n, n)
        Samples, one per row; or a correlation or covariance matrix with ``samples=False``.
    partition : Partition, sequence of hashable, Series or dict, shape (n,)
        The blocks, or a label for each variable. If `source` is a DataFrame, a Series or dict gives
        labels by column name.
    samples : bool, default True
        Whether `source` holds samples. Their covariance is divided by T, as in `BlockCovariance`.
    independent : bool, default False
        Whether the factors are uncorrelated. Then no k x k array is made.
    assume_centered : bool, default False
        Whether the mean of the samples is known to be zero. Otherwise it is subtracted.
    min_noise : float, default 0.005
        The smallest noise, as a fraction of the variance of the variable. Without it some noise can
        go to zero (a Heywood case).
    tol : float, default 1e-6
        The search ends if no entry of the gradient is larger. For samples it is the gradient of the
        log-likelihood per sample, by the loadings in units of the noise and by the logarithm of the
        noise.
    max_iter : int, default 1000
        The largest number of steps.
    full_output : bool, default False
        Whether to return a `FactorFit`, with the likelihood, convergence and standard errors.

    Returns
    -------
    BlockFactorMatrix or FactorFit
        The covariance matrix of the model, in the precision of the source. The factors have variance
        1. The loadings of each block, divided by the standard deviations of the variables, have a
        sum that is not negative.

    Raises
    ------
    ShapeError
        If `source` is not 2-d, not square with ``samples=False``, or does not fit the partition.
    DtypeError
        If it is not real.
    NonFiniteError
        If it contains NaN or infinity.
    NotHermitianError
        If a matrix is not symmetric.
    ValueError
        If there are too few samples (fewer than 3, or than k plus one for the mean), a column is
        constant, a variance of a matrix is not positive, or an option is out of range.

    Warns
    -----
    RuntimeWarning
        If the search did not converge, some noise is at its bound and `full_output` is False, or the
        fitted correlations of the factors have negative eigenvalues (only for ``samples=False``).

    See Also
    --------
    BlockFactorMatrix.from_effects : from variances that are known.
    fit_samples : the same variance and loadings for all variables of a block.

    Notes
    -----
    The model is :math:`x_i = \mu_i + s_i f_{b(i)} + e_i` with correlated factors f of variance 1 and
    independent noise e. It is confirmatory factor analysis with simple structure. One evaluation of
    the likelihood takes O(T n + k\ :sup:`2` T + k\ :sup:`3`), and no n x n array is formed. If there
    are more than 2n samples of up to 1000 variables, they are first reduced to n rows. One evaluation of the squared error
    takes O(n\ :sup:`2`).

    The search ends at a local optimum. There can be several, mostly if the variables of a block hardly
    correlate.

    Two cases are not identified by the data. A block of one variable gets the smallest noise, so its
    factor is nearly the variable. A block of two whose factor correlates with no other gets equal
    loadings, in units of the standard deviations. See :ref:`theory-factorfit`.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> rng = np.random.default_rng(0)
    >>> f = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=2000)
    >>> labels = ["x", "x", "x", "y", "y", "y"]
    >>> X = f[:, [0, 0, 0, 1, 1, 1]] * [1, 2, 3, 1, 1, 1] + rng.normal(size=(2000, 6))
    >>> A = bm.fit_factor(X, labels)
    >>> A.loadings.round(1)
    array([1. , 1.9, 3. , 1. , 1.1, 1. ])
    >>> A.covariance.round(1)
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    for name, value in (("min_noise", min_noise), ("tol", tol)):
        if not 0 < value < 1:
            raise ValueError(f"{name} is {value!r}; expected a number between 0 and 1")
    options = FactorOptions(bool(independent), min_noise, tol, as_count(max_iter, "max_iter", 1))
    if samples:
        fit = _fit_samples(source, partition, options, assume_centered)
    else:
        fit = _fit_matrix(source, partition, options)
    if not fit.converged:
        warnings.warn(
            f"the search did not converge in {fit.n_iter} steps; expected more of them (max_iter)",
            RuntimeWarning,
            stacklevel=2,
        )
    if full_output:
        return fit
    if fit.at_bound.any():
        some = np.flatnonzero(fit.at_bound)
        more = ", ..." if len(some) > 3 else ""
        warnings.warn(
            f"the noise is at its bound (min_noise) for {len(some)} of {len(fit.at_bound)} variables: "
            f"{', '.join(map(str, some[:3]))}{more}",
            RuntimeWarning,
            stacklevel=2,
        )
    return fit.matrix


def _fit_samples(
    source: Any, partition: Any, options: FactorOptions, assume_centered: bool
) -> FactorFit:
    X = as_real_samples(source, 1)
    n_samples, n = X.shape
    p = as_partition(partition, n, source=source)
    n_factors = 1 if options.independent else p.n_blocks
    least = max(3, n_factors + (not assume_centered))
    if n_samples < least:
        raise ValueError(
            f"X has {n_samples} rows; expected at least {least} samples for {n_factors} factors"
        )
    Z, _, scale = standardize(X, not assume_centered)
    estimate = maximum_likelihood(Z, p, options)
    constants = n * np.log(2 * np.pi) / 2 + np.log(scale).sum()
    log_likelihood = -n_samples * float(estimate.search.value + constants)
    return _result(p, estimate, options, scale, X.dtype, log_likelihood, None, n_samples)


def _fit_matrix(source: Any, partition: Any, options: FactorOptions) -> FactorFit:
    check_names(source)
    S = as_numeric(source, "source", (2,))
    check_square(S.shape, "source", "for samples use samples=True")
    require_real_dtype(S.dtype, "source")
    require_finite(S, "source")
    p = as_partition(partition, len(S), source=source)
    if not is_close_to_adjoint(S, np.sqrt(np.finfo(S.dtype).eps)):
        raise NotHermitianError("source is not symmetric; expected a symmetric matrix")
    variances = np.diagonal(S).astype(np.float64)
    if not (variances > 0).all():
        i = int(np.argmin(variances > 0))
        raise ValueError(
            f"source has the variance {variances[i]} at index {i}; expected positive variances"
        )
    scale = np.sqrt(variances)
    estimate, residual = least_squares(S / scale / scale[:, None], p, options)
    if estimate.covariance.ndim == 2:
        smallest = np.linalg.eigvalsh(estimate.covariance)[0]
        if smallest < -np.sqrt(np.finfo(np.float64).eps):
            warnings.warn(
                f"the fitted correlations of the factors have the negative eigenvalue {smallest:.3g}; "
                f"expected blocks that describe the matrix better",
                RuntimeWarning,
                stacklevel=3,
            )
    return _result(p, estimate, options, scale, S.dtype, None, residual, None)


def _result(
    p: Partition,
    estimate: FactorEstimate,
    options: FactorOptions,
    scale: Array,
    dtype: np.dtype[Any],
    log_likelihood: float | None,
    residual: float | None,
    n_samples: int | None,
) -> FactorFit:
    parts = (estimate.covariance, estimate.noise * scale * scale, estimate.loadings * scale)
    matrix = BlockFactorMatrix(p, *(x.astype(dtype) for x in parts))
    smallest = options.min_noise * (1 + 1e-6)
    at_bound = (estimate.noise <= smallest) & (p.sizes > 1)[p.labels]
    search = estimate.search
    return FactorFit(
        matrix,
        log_likelihood,
        residual,
        search.n_iter,
        search.converged,
        frozen(at_bound),
        n_samples,
    )
