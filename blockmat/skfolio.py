"""Estimators for skfolio: a covariance of returns, and clusters of assets.

Needs the ``skfolio`` extra.
"""

from typing import Any

import numpy as np

from blockmat.blocks.extras import missing_extra

try:
    import pandas as pd
    from skfolio.moments import BaseCovariance
    from sklearn.base import BaseEstimator, ClusterMixin
    from sklearn.utils.validation import validate_data
except ImportError as error:
    raise missing_extra("skfolio", "skfolio", "blockmat.skfolio") from error

from blockmat.blocks.checks import Array, as_count, refuse_mask, require_finite
from blockmat.blocks.names import is_series, names_of, weights_by_name
from blockmat.blocks.partition import as_partition
from blockmat.blocks.rollback import unchanged_by_errors
from blockmat.cores.core import is_close_to_adjoint
from blockmat.covariance import BlockCovariance as BlockEstimator
from blockmat.finding.find_partition import find_partition
from blockmat.sources.samples import use_missing
from blockmat.sources.symmetry import refuse_asymmetric

__all__ = ["BlockClustering", "BlockCovariance"]


class BlockCovariance(BaseCovariance):  # type: ignore[misc]
    """Estimate the covariance of returns by blocks of assets, as a skfolio estimator.

    Parameters
    ----------
    labels, n_blocks, scaled, n_factors, loadings, shrinkage, signs, missing : optional
        As for `blockmat.covariance.BlockCovariance`.
    weight_type, half_life, constant, assume_centered, random_state, n_jobs : optional
        As for `blockmat.covariance.BlockCovariance`.
    min_observations : int, default 20
        An asset with fewer returns, which are also fewer than half of all rows, counts as not
        listed: its covariances are NaN, as is usual in skfolio.
    nearest, higham : bool
        As for `skfolio.moments.BaseCovariance`.
    higham_max_iteration : int, default 100
        As for `skfolio.moments.BaseCovariance`.

    Attributes
    ----------
    covariance_ : ndarray, shape (n_assets, n_assets)
        The covariance. It is NaN for assets that are not listed, and for constant ones with
        ``constant="keep"``, because skfolio takes no variances of zero.
    location_ : ndarray, shape (n_assets,)
        The mean.
    listed_ : ndarray of bool, shape (n_assets,)
        Whether each asset has enough returns.
    labels_ : ndarray of int, shape (n_assets,)
        The block of each asset; -1 for assets that are not listed.
    groups_ : dict of list
        The names of the listed assets in each block; their column numbers if X is not a DataFrame.
    estimator_ : blockmat.covariance.BlockCovariance
        The estimate for the listed assets, with ``operator_``.
    n_features_in_, feature_names_in_
        As for `blockmat.covariance.BlockCovariance`, for all assets.

    See Also
    --------
    blockmat.covariance.BlockCovariance : the estimator for scikit-learn.

    Notes
    -----
    If returns are missing, the other estimators of a prior must accept NaN too, such as
    `skfolio.moments.EWMu` for the means.

    Examples
    --------
    >>> import numpy as np
    >>> from skfolio.optimization import MeanRisk
    >>> from skfolio.prior import EmpiricalPrior
    >>> from blockmat.skfolio import BlockCovariance
    >>> rng = np.random.default_rng(0)
    >>> returns = rng.normal(size=(100, 3))[:, [0, 0, 0, 1, 1, 2]] + rng.normal(size=(100, 6))
    >>> prior = EmpiricalPrior(covariance_estimator=BlockCovariance())
    >>> model = MeanRisk(prior_estimator=prior).fit(returns / 100)
    >>> print(round(model.weights_.sum(), 6))
    1.0
    """

    def __init__(
        self,
        labels: Any = None,
        *,
        n_blocks: int | str = "auto",
        scaled: bool = True,
        n_factors: int | str = "auto",
        loadings: bool = False,
        shrinkage: float | str | None = "nonlinear",
        signs: bool = False,
        missing: str = "raise",
        weight_type: str = "frequency",
        half_life: float | None = None,
        constant: str = "raise",
        assume_centered: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        min_observations: int = 20,
        nearest: bool = True,
        higham: bool = False,
        higham_max_iteration: int = 100,
    ) -> None:
        super().__init__(assume_centered, nearest, higham, higham_max_iteration)
        self.labels = labels
        self.n_blocks = n_blocks
        self.scaled = scaled
        self.n_factors = n_factors
        self.loadings = loadings
        self.shrinkage = shrinkage
        self.signs = signs
        self.missing = missing
        self.weight_type = weight_type
        self.half_life = half_life
        self.constant = constant
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.min_observations = min_observations

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "BlockCovariance":
        """Estimate the covariance of returns.

        Parameters
        ----------
        X : array_like, shape (n_observations, n_assets)
            The returns. NaN is a missing return: an asset with few returns is not listed, and
            for other assets `missing` must not be "raise".
        y : None
            Ignored.
        sample_weight : array_like or Series, shape (n_observations,), optional
            As for `blockmat.covariance.BlockCovariance.fit`.

        Returns
        -------
        BlockCovariance
            This estimator.

        Raises
        ------
        ValueError, TypeError, SingularMatrixError
            As for `blockmat.covariance.BlockCovariance.fit`; or if no asset has enough returns.
        """
        with unchanged_by_errors(self):
            return self._fit(X, sample_weight)

    def _fit(self, X: Any, sample_weight: Any) -> "BlockCovariance":
        least = as_count(self.min_observations, "min_observations", 2)
        named = X
        refuse_mask(X, "X")
        X = validate_data(
            self, X, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=2
        )
        n_observed = np.isfinite(X).sum(axis=0)
        listed = n_observed >= min(least, (len(X) + 1) // 2)
        if not listed.any():
            raise ValueError(
                f"no column of X has {least} numbers; expected one with min_observations numbers"
            )
        if self.missing == "raise":
            require_finite(np.where(listed, X, 0), "X", use_missing("pairwise", "em"))
        estimator = self._estimator(listed, named)
        weights = weights_by_name(sample_weight, named, "sample_weight")
        if is_series(weights):
            weights = weights.to_numpy()
        estimator.fit(_columns_with_names(X, named, listed), sample_weight=weights)
        self._keep(estimator, listed)
        return self

    def _estimator(self, listed: Array, named: Any) -> BlockEstimator:
        """Return the estimator for the listed assets. `named` is X with its column names."""
        parameters = {name: getattr(self, name) for name in BlockEstimator().get_params()}
        if self.labels is not None:
            p = as_partition(self.labels, len(listed), "labels", named)
            parameters["labels"] = p if listed.all() else p.subset(listed)
        return BlockEstimator(**parameters)

    def _keep(self, estimator: BlockEstimator, listed: Array) -> None:
        """Set the result; assets that are not listed or constant get NaN."""
        known = np.flatnonzero(listed)[~estimator.constant_]
        covariance = np.full((len(listed), len(listed)), np.nan)
        location = np.full(len(listed), np.nan)
        varying = np.flatnonzero(~estimator.constant_)
        covariance[np.ix_(known, known)] = estimator.covariance_[np.ix_(varying, varying)]
        location[known] = estimator.location_[varying]
        labels = np.full(len(listed), -1)
        labels[listed] = estimator.labels_
        self.listed_, self.labels_, self.groups_ = listed, labels, estimator.groups_
        self.estimator_ = estimator
        self.location_ = location
        self._set_covariance(covariance)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing != "raise"
        return tags


def _columns_with_names(X: Array, named: Any, kept: Array) -> Any:
    """Return the kept columns of X as a DataFrame with their names, or with their numbers."""
    names = names_of(named, 1) or range(X.shape[1])
    return pd.DataFrame(X, columns=pd.Index(names, tupleize_cols=False)).loc[:, kept]


class BlockClustering(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Find clusters of assets as blocks of their correlation matrix.

    It is a clustering estimator of `skfolio.optimization.NestedClustersOptimization` with its
    default distance, ``skfolio.distance.PearsonDistance()``.

    Parameters
    ----------
    n_blocks : int or "auto", default "auto"
        The number of clusters.
    n_samples : int, optional
        The number of returns that the distances were computed from, as for
        `blockmat.find_partition`.
    random_state : None, int or numpy.random.Generator, default None
        As for `blockmat.find_partition`.

    Attributes
    ----------
    labels_ : ndarray of int, shape (n_assets,)
        The cluster of each asset.
    partition_ : Partition
        The same.

    See Also
    --------
    blockmat.find_partition : how the blocks are found.

    Notes
    -----
    The correlation of two assets with the distance d is :math:`1 - 2 d^2`.

    Examples
    --------
    >>> import numpy as np
    >>> from skfolio.optimization import NestedClustersOptimization
    >>> from blockmat.skfolio import BlockClustering
    >>> rng = np.random.default_rng(0)
    >>> returns = rng.normal(size=(100, 2))[:, [0, 0, 0, 1, 1, 1]] + rng.normal(size=(100, 6))
    >>> model = NestedClustersOptimization(clustering_estimator=BlockClustering(2))
    >>> model.fit(returns / 100).clustering_estimator_.labels_.tolist()
    [0, 0, 0, 1, 1, 1]
    """

    def __init__(
        self,
        n_blocks: Any = "auto",
        *,
        n_samples: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_blocks = n_blocks
        self.n_samples = n_samples
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "BlockClustering":
        """Find the clusters.

        Parameters
        ----------
        X : array_like, shape (n_assets, n_assets)
            The distances of the assets, from 0 to 1.
        y : None
            Ignored.

        Returns
        -------
        BlockClustering
            This estimator.

        Raises
        ------
        ValueError
            If `X` is not a matrix of distances, or a parameter is out of range.
        NotHermitianError
            If `X` is not symmetric.
        """
        with unchanged_by_errors(self):
            return self._fit(X)

    def _fit(self, X: Any) -> "BlockClustering":
        is_word = isinstance(self.n_blocks, str) and self.n_blocks != "auto"
        if is_word or self.n_blocks is None:
            raise ValueError(f"n_blocks is {self.n_blocks!r}; expected an integer or 'auto'")
        refuse_mask(X, "X")
        distance = validate_data(self, X, dtype=np.float64)
        n = len(distance)
        if distance.shape != (n, n):
            raise ValueError(f"X has shape {distance.shape}; expected a square matrix of distances")
        rounding = 1e-6  # of a square root of a difference of correlations
        if (
            np.abs(distance.diagonal()).max() > rounding
            or not ((distance >= 0) & (distance <= 1 + rounding)).all()
        ):
            raise ValueError(
                "X is no matrix of distances from 0 to 1; expected those of PearsonDistance()"
            )
        R = 1 - 2 * distance**2
        if not is_close_to_adjoint(R, np.sqrt(np.finfo(np.float64).eps)):
            refuse_asymmetric(distance, "X")
        partition = find_partition(
            R, self.n_blocks, n_samples=self.n_samples, random_state=self.random_state
        )
        self.partition_ = partition
        self.labels_ = np.array(partition.labels)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = True
        return tags
