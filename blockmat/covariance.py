"""BlockCovariance: the block-constant covariance model as a scikit-learn estimator.

Needs the ``sklearn`` extra.
"""

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, as_count, check_finite
from blockmat.blocks.extras import missing_extra
from blockmat.blocks.partition import Partition, as_partition
from blockmat.cores.scale import in_range, times_power
from blockmat.exceptions import ShapeError
from blockmat.finding.find_partition import find_partition
from blockmat.finding.standardize import Standardized, compress_rows, standardize
from blockmat.fitting.fit_samples import fit_samples
from blockmat.fitting.held_out import squared_distances
from blockmat.inference.likelihood import log_likelihood, require_estimate
from blockmat.inference.shrinkage import (
    cross_fitted_shrinkage,
    is_exact,
    likelihood_shrinkage,
    optimal_shrinkage,
)
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.low_rank import BlockPlusLowRank
from blockmat.matrices.scaled import ScaledBlockMatrix
from blockmat.sources.samples import refuse_symmetric

try:
    from sklearn.covariance import EmpiricalCovariance
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise missing_extra("sklearn", "sklearn", "blockmat.covariance") from error

__all__ = ["BlockCovariance"]

_SHRINKAGES = ("optimal", "cv")


class BlockCovariance(EmpiricalCovariance):  # type: ignore[misc]
    r"""Covariance matrix of variables that fall into groups.

    Within a group all variables are correlated alike, and so are the variables of any two
    groups. The groups are given, or found. It is used as the covariance estimators of
    scikit-learn are, and never forms an n x n matrix unless ``covariance_``,
    ``precision_`` is read or `get_precision` or `error_norm` called.

    Parameters
    ----------
    labels : Partition, sequence of hashable, Series or dict, shape (n_features,), optional
        The blocks, or a label for each variable; by default they are found. Labels in a pandas
        Series or a dict are found by the names of the columns where X is a DataFrame.
    n_blocks : int or "auto", default "auto"
        How many blocks to find. Not used with `labels`.
    scaled : bool, default True
        Whether variables keep variances of their own, and only their correlations are
        block-constant; otherwise variances and covariances are.
    shrinkage : None, float, "optimal" or "cv", default None
        The weight of the block-constant model beside that of the sample covariance: None is
        1, the model alone. "optimal" estimates the weight with the least expected squared error,
        "cv" takes the one with the highest likelihood of held-out fifths of the samples.
    assume_centered : bool, default False
        Whether the mean is known to be zero; otherwise it is subtracted.
    random_state : None, int or numpy.random.Generator, default None
        For finding blocks among more than 2000 variables.
    n_jobs : int, optional
        How many threads an estimated shrinkage shares the fifths of the samples among, as for
        `joblib.Parallel`; -1 is one for each processor. By default it takes one after the other.

    Attributes
    ----------
    operator_ : BlockConstantMatrix, ScaledBlockMatrix or BlockPlusLowRank
        The covariance, as an operator of O(n) numbers: solve, whiten, draw samples with it. It is a
        BlockConstantMatrix if not scaled, and with a shrinkage below 1 a BlockPlusLowRank.
    partition_ : Partition
        The blocks.
    labels_ : ndarray of int, shape (n_features,)
        The block of each variable.
    shrinkage_ : float
        The weight of the model; 1 without shrinkage.
    location_ : ndarray, shape (n_features,)
        The mean.
    covariance_, precision_ : ndarray, shape (n_features, n_features)
        The covariance and its inverse, formed whenever they are read.
    n_features_in_ : int
        How many variables there are.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Their names, if they all had one.

    See Also
    --------
    blockmat.find_partition : how the blocks are found.
    blockmat.optimal_shrinkage : the estimate behind ``shrinkage="optimal"``.

    Notes
    -----
    Without shrinkage and scaling it is the maximum-likelihood estimate, which exists if and
    only if there is one sample for each block and one for the mean. With shrinkage
    :math:`\delta` it is :math:`(1 - \delta) S + \delta P S`, with S the sample covariance (scaled:
    correlation) and P the projection onto block-constant matrices. Where the blocks are found
    in the samples, both kinds of shrinkage find them anew without each fifth of the samples,
    and judge by that fifth: otherwise the model, fitted to the samples, would seem free of error.
    Scores and distances take O(T n) for T samples, with shrinkage O(m T n), with m the number of
    samples of the fit, or of variables where these are fewer.

    See :ref:`theory-scaled` and :ref:`theory-shrinkage`.

    References
    ----------
    .. [1] I. Archakov, P. R. Hansen, "A Canonical Representation of Block Matrices with
       Applications to Covariance and Correlation Matrices", arXiv:2012.02698.
    .. [2] O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance
       matrices", Journal of Multivariate Analysis 88, 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from blockmat.covariance import BlockCovariance
    >>> rng = np.random.default_rng(0)
    >>> sector = np.array([0, 1, 2, 1, 0, 2, 0, 1, 2, 0])
    >>> returns = rng.normal(size=(200, 3))[:, sector] + rng.normal(size=(200, 10))
    >>> model = BlockCovariance().fit(returns)
    >>> model.labels_.tolist()
    [0, 1, 2, 1, 0, 2, 0, 1, 2, 0]
    >>> model.operator_
    <10x10 ScaledBlockMatrix of 3 blocks, dtype=float64>
    >>> weights = model.operator_.solve(np.ones(10))
    """

    def __init__(
        self,
        labels: Any = None,
        *,
        n_blocks: int | str = "auto",
        scaled: bool = True,
        shrinkage: float | str | None = None,
        assume_centered: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.labels = labels
        self.n_blocks = n_blocks
        self.scaled = scaled
        self.shrinkage = shrinkage
        self.assume_centered = assume_centered
        self.random_state = random_state
        self.n_jobs = n_jobs

    @property
    def _repr_html_(self) -> Callable[[], str]:
        diagram: Callable[[], str] = super()._repr_html_  # absent if scikit-learn is to show text
        return lambda: diagram() + self._picture()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        shown: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        return {k: v + self._picture() if k == "text/html" else v for k, v in shown.items()}

    def _picture(self) -> str:
        """Return the picture of the fitted matrix, if there is one."""
        return self.operator_._repr_html_() if hasattr(self, "operator_") else ""

    def fit(self, X: Any, y: Any = None) -> "BlockCovariance":
        """Estimate the covariance of samples.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            One sample per row.
        y : None
            Not used; there for scikit-learn.

        Returns
        -------
        BlockCovariance
            This estimator.

        Raises
        ------
        ValueError
            If `X` is not such an array of finite numbers, is a symmetric matrix, has fewer than 2 rows (3 to find
            blocks, 4 for an estimated shrinkage, which is 6 where blocks are found) or too few for
            the number of blocks, or a column that is constant (for an estimated shrinkage, in
            four fifths of the samples) although `scaled`; or if a parameter is out of range.
        TypeError
            If a parameter is of another type.
        SingularMatrixError
            If the shrinkage is "cv" and variables of one block are perfectly collinear.
        """
        self._check_shrinkage()
        named = X
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        refuse_symmetric(X)
        standardized = self._standardize(X)
        given = None
        if self.labels is not None:
            given = as_partition(self.labels, X.shape[1], "labels", named)
        partition = given or self._found(X)
        require_estimate(len(X), partition.n_blocks, self.assume_centered)
        shrinkage = self._estimate_shrinkage(X, standardized.deviations, partition, given)
        self.location_ = standardized.location
        self.partition_ = partition
        self.labels_ = np.array(partition.labels)
        self.shrinkage_ = shrinkage
        self.operator_ = self._operator(standardized, partition, shrinkage)
        return self

    def _check_shrinkage(self) -> None:
        value = self.shrinkage
        if value is None or (isinstance(value, str) and value in _SHRINKAGES):
            return
        known = "None, a number from 0 to 1, 'optimal' or 'cv'"
        if isinstance(value, str):
            raise ValueError(f"shrinkage is {value!r}; expected {known}")
        if not isinstance(value, numbers.Real):
            raise TypeError(f"shrinkage is {value!r}; expected {known}")
        if not 0 < value <= 1:
            raise ValueError(f"shrinkage is {value!r}; expected a number above 0, at most 1")

    def _standardize(self, X: Array) -> Standardized:
        """Subtract the mean and divide by the standard deviations, as far as the options say."""
        exact = standardize(X, not self.assume_centered, self.scaled, ", or scaled=False")
        return Standardized(*(part.astype(X.dtype, copy=False) for part in exact))

    def _found(self, X: Array, n_blocks: int | None = None) -> Partition:
        if n_blocks is None and self.n_blocks != "auto":
            if isinstance(self.n_blocks, str):
                raise ValueError(f"n_blocks is {self.n_blocks!r}; expected an integer or 'auto'")
            n_blocks = as_count(self.n_blocks, "n_blocks", 1)
            if n_blocks > X.shape[1]:
                raise ValueError(
                    f"X has {X.shape[1]} feature(s); n_blocks={n_blocks} expects at least as many"
                )
        return find_partition(X, n_blocks, samples=True, random_state=self.random_state)

    def _estimate_shrinkage(
        self, X: Array, deviations: Array, partition: Partition, given: Partition | None
    ) -> float:
        if self.shrinkage is None:
            return 1.0
        if not isinstance(self.shrinkage, str):
            return float(self.shrinkage)
        if self.shrinkage == "optimal" and given is not None:
            return optimal_shrinkage(deviations, given, assume_centered=True)
        least = 6 if given is None else 4
        if len(X) < least:
            raise ValueError(
                f"X has {len(X)} rows; shrinkage={self.shrinkage!r} expects at least {least} samples"
            )

        if is_exact(deviations, partition):
            return 1.0

        def find(rest: Array) -> Partition:
            return given or self._found(rest, min(partition.n_blocks, len(rest) - 2))

        if self.shrinkage == "optimal":
            return cross_fitted_shrinkage(X, deviations, find, self.n_jobs)
        return likelihood_shrinkage(X, self._standardize, find, self.n_jobs)

    def _operator(
        self, standardized: Standardized, partition: Partition, shrinkage: float
    ) -> BlockConstantMatrix | ScaledBlockMatrix | BlockPlusLowRank:
        Z, _, scale = standardized
        matrix = fit_samples(Z, partition, ddof=0, assume_centered=True)
        matrix = matrix * shrinkage
        model = ScaledBlockMatrix(matrix, scale) if self.scaled else matrix
        if shrinkage == 1:
            return model
        weight = float(np.sqrt((1 - shrinkage) / len(Z)))
        return BlockPlusLowRank(model, weight * (compress_rows(Z) * scale).T)

    @property
    def covariance_(self) -> Array:
        """The covariance as a new dense array, (n_features, n_features)."""
        check_is_fitted(self, "operator_")
        return self.operator_.toarray()

    @property
    def precision_(self) -> Array:
        """The inverse of the covariance as a new dense array, (n_features, n_features)."""
        return self.get_precision()

    def get_precision(self) -> Array:
        """Return the inverse of the covariance, as a dense array.

        Returns
        -------
        ndarray, shape (n_features, n_features)
            The precision matrix; ``operator_.inv()`` is the same without n x n numbers.

        Raises
        ------
        SingularMatrixError
            If the covariance is singular.
        """
        check_is_fitted(self, "operator_")
        return self.operator_.inv().toarray()

    def score(self, X_test: Any, y: Any = None) -> float:
        """Return the mean Gaussian log-likelihood of samples.

        Parameters
        ----------
        X_test : array_like, shape (n_samples, n_features)
            The samples.
        y : None
            Not used; there for scikit-learn.

        Returns
        -------
        float
            In natural logarithms.

        Raises
        ------
        SingularMatrixError
            If the covariance is singular.
        """
        X = self._validated(X_test)
        return log_likelihood(X, self.operator_, self.location_) / len(X)

    def mahalanobis(self, X: Any) -> Array:
        """Return squared Mahalanobis distances to the mean.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            The samples.

        Returns
        -------
        ndarray, shape (n_samples,)
            The squared distance of each.

        Raises
        ------
        SingularMatrixError
            If the covariance is singular.
        """
        deviations = self._validated(X) - self.location_
        return squared_distances(self.operator_, deviations)

    def _validated(self, X: Any) -> Array:
        check_is_fitted(self, "operator_")
        validated: Array = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return validated

    def error_norm(
        self, comp_cov: Any, norm: str = "frobenius", scaling: bool = True, squared: bool = True
    ) -> float:
        """Return the error in another covariance matrix, compared with this.

        Parameters
        ----------
        comp_cov : array_like, shape (n_features, n_features)
            The other covariance matrix.
        norm : {"frobenius", "spectral"}, default "frobenius"
            The norm of the difference.
        scaling : bool, default True
            Whether the squared norm is divided by n_features.
        squared : bool, default True
            Whether the square is returned.

        Returns
        -------
        float
            The norm of the difference.

        Raises
        ------
        ShapeError
            If `comp_cov` has another shape.
        NonFiniteError
            If it contains NaN or infinity.
        ValueError
            If `norm` is another one.
        """
        check_is_fitted(self, "operator_")
        other = np.asarray(comp_cov)
        if other.shape != self.operator_.shape:
            raise ShapeError(f"comp_cov has shape {other.shape}; expected {self.operator_.shape}")
        if norm not in ("frobenius", "spectral"):
            raise ValueError(f"norm is {norm!r}; expected 'frobenius' or 'spectral'")
        check_finite(other, "comp_cov")
        error = self.operator_.toarray() - other
        error, exponent = in_range(error.astype(np.float64))
        value = float(np.linalg.norm(error, "fro" if norm == "frobenius" else 2))
        value = float(times_power(value, exponent))
        value /= len(error) ** 0.5 if scaling else 1
        return value**2 if squared else value
