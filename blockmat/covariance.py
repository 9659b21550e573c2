"""BlockCovariance: a block-constant covariance matrix as a scikit-learn estimator.

Needs the ``sklearn`` extra.
"""

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, as_count, require_finite
from blockmat.blocks.extras import missing_extra
from blockmat.blocks.partition import Partition, as_partition
from blockmat.cores.scale import in_range, times_power
from blockmat.exceptions import ShapeError
from blockmat.finding.find_partition import find_partition
from blockmat.fitting.fit_samples import fit_samples
from blockmat.fitting.held_out import squared_distances
from blockmat.inference.likelihood import check_enough_samples, log_likelihood
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
from blockmat.sources.standardize import Standardized, compress_rows, standardize

try:
    from sklearn.covariance import EmpiricalCovariance
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise missing_extra("sklearn", "sklearn", "blockmat.covariance") from error

__all__ = ["BlockCovariance"]

_SHRINKAGES = ("optimal", "cv")


class BlockCovariance(EmpiricalCovariance):  # type: ignore[misc]
    r"""Estimate a covariance matrix of variables in groups, as a scikit-learn estimator.

    The correlation of two variables depends only on their groups. No n x n array is formed, except
    by ``covariance_``, ``precision_``, `get_precision` and `error_norm`.

    Parameters
    ----------
    labels : Partition, sequence of hashable, Series or dict, shape (n_features,), optional
        The blocks, or a label for each variable; by default the blocks are found. If X is a
        DataFrame, a Series or dict gives labels by column name.
    n_blocks : int or "auto", default "auto"
        The number of blocks to find. Ignored if `labels` is given.
    scaled : bool, default True
        Whether each variable keeps its own variance, so that the correlations are
        block-constant. Otherwise the covariances are.
    shrinkage : None, float, "optimal" or "cv", default None
        The weight of the block-constant model, above 0 and at most 1; the rest is the weight of
        the sample covariance. None means 1. "optimal" estimates the weight with the smallest
        expected squared error, "cv" the weight with the highest likelihood of held-out samples.
    assume_centered : bool, default False
        Whether the mean is known to be zero. Otherwise the sample mean is subtracted.
    random_state : None, int or numpy.random.Generator, default None
        For finding blocks of more than 2000 variables.
    n_jobs : int, optional
        The number of threads for the folds of an estimated shrinkage, as for `joblib.Parallel`;
        -1 means one per processor. By default no threads are started.

    Attributes
    ----------
    operator_ : BlockConstantMatrix, ScaledBlockMatrix or BlockPlusLowRank
        The covariance: a BlockPlusLowRank if the shrinkage is below 1, and otherwise a
        ScaledBlockMatrix, or a BlockConstantMatrix if not `scaled`.
    partition_ : Partition
        The blocks.
    labels_ : ndarray of int, shape (n_features,)
        The block of each variable.
    shrinkage_ : float
        The weight of the block-constant model.
    location_ : ndarray, shape (n_features,)
        The mean.
    covariance_, precision_ : ndarray, shape (n_features, n_features)
        The covariance and its inverse, formed on each access.
    n_features_in_ : int
        The number of variables.
    feature_names_in_ : ndarray of str, shape (n_features,)
        The names of the variables, if X is a DataFrame with string names.

    See Also
    --------
    blockmat.find_partition : how the blocks are found.
    blockmat.optimal_shrinkage : the estimate behind ``shrinkage="optimal"``.

    Notes
    -----
    The estimate is :math:`(1 - \delta) S + \delta P S`, with :math:`\delta` the shrinkage, S the
    sample covariance (or correlation, if `scaled`) and P the projection onto block-constant
    matrices [1]_. For :math:`\delta = 1` without scaling it is the maximum-likelihood estimate,
    which exists if there is one sample for each block and one for the mean. If the blocks are
    found and the shrinkage is estimated, the search is repeated for each of five folds of the
    samples. Scores and distances of T samples take O(T n), or O(m T n) with shrinkage, where m is
    the smaller of n and the number of samples of the fit. See :ref:`theory-scaled` and
    :ref:`theory-shrinkage`.

    References
    ----------
    .. [1] I. Archakov, P. R. Hansen, "A Canonical Representation of Block Matrices with
       Applications to Covariance and Correlation Matrices", arXiv:2012.02698.

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
        diagram: Callable[[], str] = (
            super()._repr_html_
        )  # missing if scikit-learn is set to show text
        return lambda: diagram() + self._picture()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        shown: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        return {k: v + self._picture() if k == "text/html" else v for k, v in shown.items()}

    def _picture(self) -> str:
        """Return the fitted matrix as HTML, or nothing before the fit."""
        return self.operator_._repr_html_() if hasattr(self, "operator_") else ""

    def fit(self, X: Any, y: Any = None) -> "BlockCovariance":
        """Estimate the covariance of samples.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            One sample per row.
        y : None
            Ignored.

        Returns
        -------
        BlockCovariance
            This estimator.

        Raises
        ------
        ValueError
            If a parameter is out of range; or if `X` is not a 2-d array of finite numbers, is a
            symmetric matrix, has too few rows for the number of blocks, or fewer than 2 (3 to
            find blocks, 4 for an estimated shrinkage, 6 for both); or if a column is constant
            although `scaled` (for an estimated shrinkage, in four fifths of the rows).
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
        given = self._given_partition(X, named)
        n_blocks = self._check_n_blocks(X) if given is None else None

        partition = self._find_partition(X, n_blocks) if given is None else given
        check_enough_samples(len(X), partition.n_blocks, self.assume_centered)
        shrinkage = self._weight(X, standardized.deviations, partition, is_given=given is not None)
        operator = self._operator(standardized, partition, shrinkage)

        self.location_ = standardized.location
        self.partition_ = partition
        self.labels_ = np.array(partition.labels)
        self.shrinkage_ = shrinkage
        self.operator_ = operator
        return self

    def _check_shrinkage(self) -> None:
        value = self.shrinkage
        if value is None or (isinstance(value, str) and value in _SHRINKAGES):
            return
        known = "None, a number above 0 and at most 1, 'optimal' or 'cv'"
        if isinstance(value, str):
            raise ValueError(f"shrinkage is {value!r}; expected {known}")
        if not isinstance(value, numbers.Real):
            raise TypeError(f"shrinkage is {value!r}; expected {known}")
        if not 0 < value <= 1:
            raise ValueError(f"shrinkage is {value!r}; expected {known}")

    def _check_n_blocks(self, X: Array) -> int | None:
        """Return the number of blocks to find, or None for "auto"."""
        if self.n_blocks == "auto":
            return None
        if isinstance(self.n_blocks, str):
            raise ValueError(f"n_blocks is {self.n_blocks!r}; expected an integer or 'auto'")
        n_blocks = as_count(self.n_blocks, "n_blocks", 1)
        if n_blocks > X.shape[1]:
            raise ValueError(
                f"X has {X.shape[1]} feature(s); n_blocks={n_blocks} expects at least as many"
            )
        return n_blocks

    def _given_partition(self, X: Array, named: Any) -> Partition | None:
        """Return the blocks given by `labels`. `named` is X with the column names of the user."""
        if self.labels is None:
            return None
        return as_partition(self.labels, X.shape[1], "labels", named)

    def _find_partition(self, X: Array, n_blocks: int | None) -> Partition:
        return find_partition(
            X, n_blocks, samples=True, random_state=self.random_state, loadings=False
        )

    def _standardize(self, X: Array) -> Standardized:
        """Subtract the mean unless `assume_centered`, divide by the deviations if `scaled`."""
        double = standardize(X, not self.assume_centered, self.scaled, ", or scaled=False")
        return Standardized(*(part.astype(X.dtype, copy=False) for part in double))

    def _weight(self, X: Array, deviations: Array, partition: Partition, is_given: bool) -> float:
        """Return the shrinkage, estimated if it is "optimal" or "cv"."""
        if self.shrinkage is None:
            return 1.0
        if not isinstance(self.shrinkage, str):
            return float(self.shrinkage)
        if self.shrinkage == "optimal" and is_given:
            return optimal_shrinkage(deviations, partition, assume_centered=True)
        least = 4 if is_given else 6
        if len(X) < least:
            raise ValueError(
                f"X has {len(X)} rows; shrinkage={self.shrinkage!r} expects at least {least} samples"
            )
        if is_exact(deviations, partition):
            return 1.0

        def blocks_of(train: Array) -> Partition:
            if is_given:
                return partition
            return self._find_partition(train, min(partition.n_blocks, len(train) - 2))

        if self.shrinkage == "optimal":
            return cross_fitted_shrinkage(X, deviations, blocks_of, self.n_jobs)
        return likelihood_shrinkage(X, self._standardize, blocks_of, self.n_jobs)

    def _operator(
        self, standardized: Standardized, partition: Partition, shrinkage: float
    ) -> BlockConstantMatrix | ScaledBlockMatrix | BlockPlusLowRank:
        """Return ``shrinkage * P S + (1 - shrinkage) * S``, times the scales on both sides."""
        Z, _, scale = standardized
        matrix = fit_samples(Z, partition, ddof=0, assume_centered=True)
        matrix = matrix * shrinkage
        model = ScaledBlockMatrix(matrix, scale) if self.scaled else matrix
        if shrinkage == 1:
            return model
        root = float(np.sqrt((1 - shrinkage) / len(Z)))
        return BlockPlusLowRank(model, root * (compress_rows(Z) * scale).T)

    @property
    def covariance_(self) -> Array:
        """The covariance as a new dense array (n_features, n_features)."""
        check_is_fitted(self, "operator_")
        return self.operator_.toarray()

    @property
    def precision_(self) -> Array:
        """The inverse of the covariance as a new dense array (n_features, n_features)."""
        return self.get_precision()

    def get_precision(self) -> Array:
        """Return the inverse of the covariance, as a dense array.

        Returns
        -------
        ndarray, shape (n_features, n_features)
            The precision matrix. ``operator_.inv()`` is the same matrix without a dense array.

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
            Ignored.

        Returns
        -------
        float
            The mean over the samples, in natural logarithms.

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
            The squared distance of each sample.

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
        """Return the distance of this covariance matrix to another one.

        Parameters
        ----------
        comp_cov : array_like, shape (n_features, n_features)
            The other covariance matrix.
        norm : {"frobenius", "spectral"}, default "frobenius"
            The norm of the difference.
        scaling : bool, default True
            Whether to divide the squared norm by n_features.
        squared : bool, default True
            Whether to return the squared norm.

        Returns
        -------
        float
            The norm of the difference, or its square.

        Raises
        ------
        ShapeError
            If `comp_cov` has another shape.
        NonFiniteError
            If it contains NaN or infinity.
        ValueError
            If `norm` is another string.
        """
        check_is_fitted(self, "operator_")
        other = np.asarray(comp_cov)
        if other.shape != self.operator_.shape:
            raise ShapeError(f"comp_cov has shape {other.shape}; expected {self.operator_.shape}")
        if norm not in ("frobenius", "spectral"):
            raise ValueError(f"norm is {norm!r}; expected 'frobenius' or 'spectral'")
        require_finite(other, "comp_cov")
        error = self.operator_.toarray() - other
        error, exponent = in_range(error.astype(np.float64))
        value = float(np.linalg.norm(error, "fro" if norm == "frobenius" else 2))
        value = float(times_power(value, exponent))
        value /= len(error) ** 0.5 if scaling else 1
        return value**2 if squared else value
