"""fit_factor: a factor model with one factor for each block, from samples or from correlations."""

from typing import Any, Literal, overload

import numpy as np

from blockmat.blocks.argument_order import refuse_swapped
from blockmat.blocks.checks import Array, as_count, frozen, is_choice, require_in_range
from blockmat.blocks.names import check_names, first_columns, names_of
from blockmat.blocks.partition import Partition, as_partition
from blockmat.blocks.shown import shown
from blockmat.blocks.warn import warn
from blockmat.fitting.factor_data import complete, from_correlation, incomplete
from blockmat.fitting.factor_errors import Patterns
from blockmat.fitting.factor_estimate import FactorEstimate, FactorOptions
from blockmat.fitting.factor_fit import FactorFit
from blockmat.fitting.factor_ml import maximum_likelihood
from blockmat.fitting.factor_samples import FactorSamples, as_factor_samples
from blockmat.fitting.minres import least_squares
from blockmat.matrices.block_factor import BlockFactorMatrix
from blockmat.sources.correlation_matrix import as_correlation

__all__ = ["fit_factor"]


@overload
def fit_factor(
    source: Any,
    partition: Any,
    *,
    samples: bool = True,
    n_samples: int | None = None,
    independent: bool = False,
    assume_centered: bool = False,
    missing: str = "raise",
    sample_weight: Any = None,
    weight_type: str = "frequency",
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
    n_samples: int | None = None,
    independent: bool = False,
    assume_centered: bool = False,
    missing: str = "raise",
    sample_weight: Any = None,
    weight_type: str = "frequency",
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
    n_samples: int | None = None,
    independent: bool = False,
    assume_centered: bool = False,
    missing: str = "raise",
    sample_weight: Any = None,
    weight_type: str = "frequency",
    min_noise: float = 0.005,
    tol: float = 1e-6,
    max_iter: int = 1000,
    full_output: bool = False,
) -> BlockFactorMatrix | FactorFit:
    r"""Fit a factor model in which each variable depends on the factor of its block.

    Samples, or a correlation or covariance matrix and its number of samples, are fitted by maximum
    likelihood. A matrix without a number of samples is fitted by least squares off the diagonal
    (minres).

    Parameters
    ----------
    source : array_like, shape (T, n) or (n, n)
        Samples, one per row; or a correlation or covariance matrix with ``samples=False``.
    partition : Partition, sequence of hashable, Series or dict, shape (n,)
        The blocks, or a label for each variable. If `source` is a DataFrame, a Series or dict gives
        labels by column name; see `fit`.
    samples : bool, default True
        Whether `source` holds samples. Their covariance is divided by T.
    n_samples : int, optional
        The number of samples T of a matrix, only for ``samples=False``. A covariance matrix that is
        divided by T, such as ``numpy.cov(X, rowvar=False, ddof=0)``, gives the fit of the samples.
    independent : bool, default False
        Whether the factors are uncorrelated. Then no k x k array is made.
    assume_centered : bool, default False
        Whether the mean of the samples is known to be zero. Otherwise it is subtracted. With
        `n_samples`, whether the matrix was computed about a known mean.
    missing : {"raise", "em"}, default "raise"
        What NaN in the samples means: an error, or a missing value. "em" maximizes the likelihood of
        the observed values. Samples without any value are left out.
    sample_weight : array_like or Series, shape (T,), optional
        The weight of each sample.
    weight_type : {"frequency", "reliability"}, default "frequency"
        The meaning of the weights, as for `fit_samples`. They give the same estimates. The number of
        samples, for the likelihood and standard errors, is :math:`\sum w` for frequencies and
        :math:`(\sum w)^2 / \sum w^2` for reliabilities.
    min_noise : float, default 0.005
        The smallest noise, as a fraction of the variance of the variable. Without it some noise can
        go to zero (a Heywood case).
    tol : float, default 1e-6
        The search ends if no entry of the gradient is larger. For maximum likelihood it is the
        gradient of the log-likelihood per sample, by the loadings in units of the noise and by the
        logarithm of the noise.
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
        If it or `sample_weight` is not real.
    TypeError
        If `n_samples` or `max_iter` is not an integer.
    NonFiniteError
        If it contains infinity, or NaN with ``missing="raise"``; or if a variance overflows.
    NotHermitianError
        If a matrix is not symmetric.
    ValueError
        If there are too few samples (fewer than 3, or than k plus one for the mean); if a column is
        constant, has no value or has a variance below the range of the dtype; if a variance of a
        matrix is not positive, or a correlation is not between -1 and 1; if `n_samples` is given
        for samples, or gaps or weights for a matrix; or if a weight is negative or an option is out
        of range.

    Warns
    -----
    RuntimeWarning
        If the search did not converge, some noise is at its bound and `full_output` is False, or the
        fitted correlations of the factors have negative eigenvalues (only for least squares).

    See Also
    --------
    BlockFactorMatrix.from_effects : from variances that are known.
    fit_samples : the same variance and loadings for all variables of a block.

    Notes
    -----
    The model is :math:`x_i = \mu_i + s_i f_{b(i)} + e_i` with correlated factors f of variance 1 and
    independent noise e. It is confirmatory factor analysis with simple structure. One evaluation of
    the likelihood takes O(T n + k\ :sup:`2` T + k\ :sup:`3`), and no n x n array is formed. If there
    are more than 2n samples of up to 1000 variables, they are first reduced to n rows. A matrix with
    `n_samples` is replaced by its root with at most n rows, in O(n\ :sup:`3`). Negative eigenvalues,
    which a matrix of pairwise or polychoric correlations can have, become zero. One evaluation of the
    squared error takes O(n\ :sup:`2`).

    The covariance of the samples is divided by T, and not by T - 1, because the likelihood is highest
    there.

    With gaps, the mean is estimated too, and :math:`k \times k` matrices are solved once for each
    pattern of gaps. The estimate is consistent if whether a value is missing depends only on observed
    values. Some pairs of variables may never be observed together. If this holds for all pairs between
    two blocks, the correlation of their factors is not identified.

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
    >>> X[rng.random(X.shape) < 0.1] = np.nan
    >>> bm.fit_factor(X, labels, missing="em").covariance.round(1)
    array([[1. , 0.5],
           [0.5, 1. ]])
    >>> R = A.toarray()
    >>> bm.fit_factor(R, labels, samples=False, n_samples=2000).allclose(A, rtol=1e-4)
    True
    """
    refuse_swapped(source, partition, ("source", "partition"), "fit_factor(source, partition)")
    for name, value in (("min_noise", min_noise), ("tol", tol)):
        if not 0 < value < 1:
            raise ValueError(f"{name} is {value!r}; expected a number between 0 and 1")
    options = FactorOptions(bool(independent), min_noise, tol, as_count(max_iter, "max_iter", 1))
    if not is_choice(missing, ("raise", "em")):
        raise ValueError(f"missing is {shown(missing)}; expected 'raise' or 'em'")
    _check_of_samples(samples, n_samples, missing, sample_weight)
    if samples:
        given = as_factor_samples(source, missing, not assume_centered, sample_weight, weight_type)
        fit = _fit_samples(source, given, partition, options, assume_centered)
    else:
        fit = _fit_matrix(source, partition, options, n_samples, assume_centered)
    if not fit.converged:
        warn(
            f"the search did not converge in {fit.n_iter} steps; expected more of them (max_iter)",
            RuntimeWarning,
        )
    if full_output:
        return fit
    if fit.at_bound.any():
        some = first_columns(fit.at_bound, names_of(source, 1))
        warn(
            f"the noise is at its bound (min_noise) for {fit.at_bound.sum()} of {len(fit.at_bound)} "
            f"variables: {some}. Their factor explains nearly all of their variance, as happens for "
            f"nearly equal variables and in blocks of two; leave one of them out, or change min_noise",
            RuntimeWarning,
        )
    return fit.matrix


def _check_of_samples(
    samples: bool, n_samples: int | None, missing: str, sample_weight: Any
) -> None:
    """Raise ValueError for arguments that are only for samples, or only for a matrix."""
    if samples and n_samples is not None:
        raise ValueError(
            f"n_samples is {n_samples!r}; expected None with samples=True, because the rows of source "
            f"are counted"
        )
    if not samples and (missing != "raise" or sample_weight is not None):
        name = "sample_weight" if missing == "raise" else "missing"
        raise ValueError(f"{name} is given for a matrix; expected it only with samples=True")


def _fit_samples(
    source: Any,
    given: FactorSamples,
    partition: Any,
    options: FactorOptions,
    assume_centered: bool,
) -> FactorFit:
    Z = given.deviations
    p = as_partition(partition, Z.shape[1], source=source)
    require_samples(len(Z), _n_factors(p, options), assume_centered)
    mean, patterns = given.location, None
    if given.observed is None or given.weights is None:
        estimate = maximum_likelihood(complete(Z, p.order), p, options)
    else:
        data = incomplete(Z, given.observed, given.weights, p.order)
        estimate = maximum_likelihood(data, p, options, free_mean=not assume_centered)
        observed = np.empty(data.observed.shape, dtype=bool)
        observed[:, p.order] = data.observed
        patterns = Patterns(frozen(observed), frozen(data.shares))
        if estimate.mean is not None:
            mean = mean + given.scale * estimate.mean
    fit = _result(p, estimate, options, given.scale, given.dtype)
    fit = fit._replace(mean=frozen(mean), patterns=patterns)
    return _with_likelihood(fit, estimate, given.scale, given.n_samples)


def _fit_matrix(
    source: Any,
    partition: Any,
    options: FactorOptions,
    n_samples: int | None,
    assume_centered: bool,
) -> FactorFit:
    check_names(source)
    R, scale = as_correlation(source, "source")
    p = as_partition(partition, len(R), source=source)
    if n_samples is not None:
        least = _least_samples(_n_factors(p, options), assume_centered)
        n_samples = as_count(n_samples, "n_samples", least)
        estimate = maximum_likelihood(from_correlation(R, p.order), p, options)
        fit = _result(p, estimate, options, scale, R.dtype)
        return _with_likelihood(fit, estimate, scale, n_samples)
    estimate, residual = least_squares(R.astype(np.float64, copy=False), p, options)
    if estimate.covariance.ndim == 2:
        smallest = np.linalg.eigvalsh(estimate.covariance)[0]
        if smallest < -np.sqrt(np.finfo(np.float64).eps):
            warn(
                f"the fitted correlations of the factors have the negative eigenvalue {smallest:.3g}; "
                f"expected blocks that describe the matrix better",
                RuntimeWarning,
            )
    return _result(p, estimate, options, scale, R.dtype)._replace(residual=residual)


def require_samples(n_samples: int, n_factors: int, assume_centered: bool) -> None:
    """Raise ValueError for too few samples for the factors."""
    least = _least_samples(n_factors, assume_centered)
    if n_samples < least:
        raise ValueError(
            f"X has {n_samples} rows; expected at least {least} samples for {n_factors} factors"
        )


def _n_factors(p: Partition, options: FactorOptions) -> int:
    return 1 if options.independent else p.n_blocks


def _least_samples(n_factors: int, assume_centered: bool) -> int:
    """Return the smallest number of samples: more than 2, and one for each factor and the mean."""
    return max(3, n_factors + (not assume_centered))


def _result(
    p: Partition,
    estimate: FactorEstimate,
    options: FactorOptions,
    scale: Array,
    dtype: np.dtype[Any],
) -> FactorFit:
    with np.errstate(over="ignore"):
        noise = estimate.noise * scale * scale
    require_in_range(dtype, noise)
    small = np.flatnonzero(noise < np.finfo(dtype).tiny)
    if len(small):
        raise ValueError(
            f"the variance of column {small[0]} is below the range of {dtype}; expected larger numbers"
        )
    parts = (estimate.covariance, noise, estimate.loadings * scale)
    matrix = BlockFactorMatrix(p, *(x.astype(dtype) for x in parts))
    smallest = options.min_noise * (1 + 1e-6)
    at_bound = (estimate.noise <= smallest) & (p.sizes > 1)[p.labels]
    search = estimate.search
    return FactorFit(
        matrix=matrix,
        log_likelihood=None,
        residual=None,
        n_iter=search.n_iter,
        converged=search.converged,
        at_bound=frozen(at_bound),
        n_samples=None,
        mean=None,
        patterns=None,
    )


def _with_likelihood(
    fit: FactorFit, estimate: FactorEstimate, scale: Array, n_samples: float
) -> FactorFit:
    """Add the log-likelihood of the observed values, and the number of samples."""
    constants = np.log(2 * np.pi) / 2 + np.log(scale)  # of each variable
    if fit.patterns is not None:
        constants = fit.patterns.shares @ fit.patterns.observed * constants
    log_likelihood = -n_samples * float(estimate.search.value + constants.sum())
    return fit._replace(log_likelihood=log_likelihood, n_samples=n_samples)
