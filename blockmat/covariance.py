"""BlockCovariance: a block-constant covariance matrix as a scikit-learn estimator.

Needs the ``sklearn`` extra.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from blockmat.blocks.checks import Array, as_numeric, is_choice, refuse_mask, require_finite
from blockmat.blocks.extras import missing_extra
from blockmat.blocks.frames import is_frame, numeric_frame
from blockmat.blocks.names import matrix_by_name, names_of
from blockmat.blocks.partition import Partition, as_partition
from blockmat.blocks.rollback import unchanged_by_errors
from blockmat.blocks.shown import shown
from blockmat.blocks.warn import warn
from blockmat.cores.scale import in_range, times_power
from blockmat.exceptions import DtypeError, ShapeError
from blockmat.fitting.factors_and_blocks import Operator
from blockmat.fitting.held_out import squared_distances
from blockmat.inference.block_covariance import (
    NONLINEAR,
    Estimate,
    Model,
    estimate,
)
from blockmat.inference.constant_variables import with_constants
from blockmat.inference.covariance_options import (
    ESTIMATED,
    check_options,
    number_of_blocks,
    number_of_factors,
)
from blockmat.inference.gapped_covariance import estimate_with_gaps
from blockmat.inference.likelihood import log_likelihood
from blockmat.inference.observed_density import observed_density
from blockmat.sources.counts import require_rows
from blockmat.sources.gapped_samples import GappedSamples
from blockmat.sources.running_samples import RunningSamples
from blockmat.sources.samples import (
    refuse_symmetric,
    require_finite_samples,
    use_missing,
    warn_of_frame,
)
from blockmat.sources.weighted_samples import WeightedSamples
from blockmat.sources.weights import as_weights

try:
    from sklearn.covariance import EmpiricalCovariance
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise missing_extra("sklearn", "sklearn", "blockmat.covariance") from error

__all__ = ["BlockCovariance"]


def _checked(X: Any, y: Any) -> Any:
    """Return X with numbers in all columns, or raise an error; also for labels in place of `y`."""
    if is_frame(X):
        warn_of_frame(X)
        X = numeric_frame(X, "X")
    shape: tuple[int, ...] = getattr(X, "shape", ())
    may_be_labels = len(shape) == 2 and shape[0] != shape[1]
    if isinstance(y, Partition) or (may_be_labels and _shape(y) == shape[1:]):
        raise ValueError(
            f"y is {shown(y)}, one for each variable; expected None, and labels as in "
            f"BlockCovariance(labels).fit(X)"
        )
    return X


def _shape(y: Any) -> tuple[int, ...] | None:
    try:
        shape: tuple[int, ...] = np.shape(y)
    except ValueError:  # lists of unequal lengths
        return None
    return shape


def _can_stream(model: Any) -> bool:
    """Raise AttributeError if an option needs all samples at once."""
    if isinstance(model.shrinkage, str) and model.shrinkage in ESTIMATED:
        raise AttributeError(
            f"shrinkage is {model.shrinkage!r}; partial_fit expects 'nonlinear', None or a "
            f"number, because it keeps no samples"
        )
    if model.missing != "raise":
        raise AttributeError(
            f"missing is {model.missing!r}; partial_fit expects 'raise', because it keeps no samples"
        )
    return True


class BlockCovariance(EmpiricalCovariance):  # type: ignore[misc]
    r"""Estimate a covariance matrix of variables in groups, as a scikit-learn estimator.

    By default it is the mean of two estimates: one in which the correlations that a common factor
    does not explain depend only on the groups, and nonlinear shrinkage of the sample covariance.
    With ``shrinkage=None`` all correlations depend only on the groups. No n x n array is formed,
    except by ``covariance_``, ``precision_``, `get_precision` and `error_norm`.

    Parameters
    ----------
    labels : Partition, sequence of hashable, Series or dict, shape (n_features,), optional
        The blocks, or a label for each variable; by default the blocks are found. If X is a
        DataFrame, a Series or dict gives labels by column name; see `blockmat.fit`.
    n_blocks : int or "auto", default "auto"
        The number of blocks to find. Ignored if `labels` is given.
    scaled : bool, default True
        Whether each variable keeps its own variance, so that the correlations are
        block-constant. Otherwise the covariances are.
    n_factors : int or "auto", default "auto"
        The number of factors whose loadings differ between the variables of a block, such as the
        market for stocks. They are the leading principal components, and only the rest of the
        covariance is block-constant. "auto" means 1 for ``shrinkage="nonlinear"``, and otherwise 0;
        0 with `loadings`.
    loadings : bool, default False
        Whether each block has a factor of its own, on which its variables may have different
        loadings, as in `blockmat.fit_factor`. Then correlations in a block need not be equal. It
        expects `scaled`, no further factors, and the shrinkage "nonlinear" or None; for missing
        values "em" and the shrinkage None. Constant columns are an error.
    shrinkage : "nonlinear", "cv", "optimal", float or None, default "nonlinear"
        The weight of the model, above 0 and at most 1; the rest is the weight of the sample
        covariance. "nonlinear" means 1/2, and shrinks the eigenvalues of the sample covariance.
        "cv" estimates the weight with the highest likelihood of held-out samples, "optimal" the
        one with the smallest expected squared error. None means 1.
    signs : bool, default False
        Whether variables may first be multiplied by 1 or -1, such as reversed items of a
        questionnaire. The signs are found with the blocks, or inside the given blocks.
    missing : {"raise", "pairwise", "em"}, default "raise"
        What to do with NaN: raise an error, use means over the pairs of values that are observed,
        or find the most likely parameters by expectation-maximization, as `blockmat.fit_samples`.
        With `scaled`, the variance of each variable is then that of its own observed values,
        except with `loadings`: for series that begin late use ``loadings=True``. `score` and
        `mahalanobis` then take samples with NaN too. Rows without a value do not count.
    weight_type : {"frequency", "reliability"}, default "frequency"
        What `sample_weight` counts: how many samples a row stands for, or how reliable it is, such
        as the weights of a survey, whose common factor has no effect.
    half_life : float, optional
        The number of samples after which the weight of a sample is halved; the last row is the
        newest. By default all samples have the same weight.
    constant : {"raise", "keep"}, default "raise"
        Whether a constant column is an error. Otherwise it gets variance and covariances of zero
        and belongs to a last block of constant variables. The matrix is singular then, and
        precisions, distances and likelihoods are those of the other variables.
    assume_centered : bool, default False
        Whether the mean is known to be zero. Otherwise the sample mean is subtracted.
    random_state : None, int or numpy.random.Generator, default None
        For finding blocks of more than 2000 variables.
    n_jobs : int, optional
        The number of threads for the folds of an estimated shrinkage, as for `joblib.Parallel`;
        -1 means one per processor. By default no threads are started.

    Attributes
    ----------
    operator_ : BlockConstantMatrix, ScaledBlockMatrix, BlockFactorMatrix or BlockPlusLowRank
        The covariance: a BlockPlusLowRank if there are factors or the shrinkage is below 1, and
        otherwise a ScaledBlockMatrix, or a BlockConstantMatrix if neither `scaled` nor `signs`.
        Variables with the sign -1 have negative scales. With `loadings` and ``shrinkage=None`` it is a
        BlockFactorMatrix.
    partition_ : Partition
        The blocks.
    labels_ : ndarray of int, shape (n_features,)
        The block of each variable.
    groups_ : dict of list
        The names of the variables in each block; their numbers if X is not a DataFrame.
    signs_ : ndarray of int, shape (n_features,)
        1 or -1 for each variable, and 1 for the first of each block.
    constant_ : ndarray of bool, shape (n_features,)
        Whether each variable is constant.
    n_factors_ : int
        The number of factors.
    n_effective_ : float
        The number of samples by which blocks and shrinkage are chosen. Samples of the weights w with
        decay factors f count as :math:`(\sum w f)^2 / \sum w f^2`, which is :math:`\sum w` without
        decay; as :math:`(\sum w f)^2 / \sum w^2 f^2` if `weight_type` is "reliability".
    shrinkage_ : float
        The weight of the model.
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
    The estimate is :math:`(1 - \delta) S + \delta (L + P(S - L))`, with :math:`\delta` the
    shrinkage, S the sample covariance (or correlation, if `scaled`), L its part in the leading
    `n_factors` principal components, and P the projection onto block-constant matrices [1]_. For
    "nonlinear" the eigenvalues of the first S are shrunk [2]_, :math:`\delta = 1/2`, and the
    matrix is positive definite for any number of samples and blocks. If variables are scaled, the
    variances of the result are those of the samples.
    Samples of unequal weights are shrunk by their effective number (:ref:`theory-nonlinear`).
    With `loadings` the fit of `blockmat.fit_factor` replaces :math:`L + P(S - L)`.
    For :math:`\delta = 1` without scaling and factors it is the maximum-likelihood estimate,
    which exists if there is one sample for each block and one for the mean.

    If the blocks are found and the shrinkage is estimated, the search is repeated for each of five
    folds of the samples, which have about equal weight. Sums over samples are weighted means: they
    are divided by the sum of the
    weights. Scores and distances of T samples take O(T n), or O(m T n) for a BlockPlusLowRank,
    where m is the smaller of n and the number of samples of the fit; with g missing values in a
    sample, :math:`O(g^3)` more, or O(m g\ :sup:`2`) if that is larger. Missing values are treated as in
    :ref:`theory-gaps`. See :ref:`theory-market`, :ref:`theory-scaled` and
    :ref:`theory-shrinkage`.

    References
    ----------
    .. [1] I. Archakov, P. R. Hansen, "A Canonical Representation of Block Matrices with
       Applications to Covariance and Correlation Matrices", arXiv:2012.02698.
    .. [2] O. Ledoit, M. Wolf, "Quadratic shrinkage for large covariance matrices", Bernoulli 28,
       2022.

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
    <10x10 BlockPlusLowRank of 3 blocks and rank 10, dtype=float64>
    >>> weights = model.operator_.solve(np.ones(10))

    The block-constant model alone:

    >>> BlockCovariance(shrinkage=None).fit(returns).operator_
    <10x10 ScaledBlockMatrix of 3 blocks, dtype=float64>

    Variables with different loadings on the factor of their block:

    >>> BlockCovariance(loadings=True, shrinkage=None).fit(returns).operator_
    <10x10 BlockFactorMatrix of 3 blocks, dtype=float64>
    """

    _stream: RunningSamples | None
    _names: list[Any] | None  # of the variables

    def __init__(
        self,
        labels: Any = None,
        *,
        n_blocks: int | str = "auto",
        scaled: bool = True,
        n_factors: int | str = "auto",
        loadings: bool = False,
        shrinkage: float | str | None = NONLINEAR,
        signs: bool = False,
        missing: str = "raise",
        weight_type: str = "frequency",
        half_life: float | None = None,
        constant: str = "raise",
        assume_centered: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
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

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "BlockCovariance":
        """Estimate the covariance of samples.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            One sample per row.
        y : None
            Ignored. Labels of the variables are an argument of the class.
        sample_weight : array_like or Series, shape (n_samples,), optional
            How much each sample counts, see `weight_type`: with "frequency" integers give the
            result of repeated rows (the folds of an estimated shrinkage do not divide the copies
            of a row). If X is a DataFrame, a Series gives weights by row name. They
            are multiplied by the weights of `half_life`.

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
            although `scaled` (for an estimated shrinkage, in four fifths of the rows); or if
            `sample_weight` is negative, zero for all rows, has other names than `X`, or counts as
            too few samples.
        TypeError
            If a parameter is of another type.
        SingularMatrixError
            If the shrinkage is "cv" and variables of one block, or what the factors leave of them,
            are perfectly collinear.
        """
        with unchanged_by_errors(self):
            return self._fit(_checked(X, y), sample_weight)

    def _fit(self, X: Any, sample_weight: Any) -> "BlockCovariance":
        check_options(self)
        named = X
        refuse_mask(X, "X")
        X = validate_data(
            self,
            X,
            dtype=[np.float64, np.float32],
            ensure_min_samples=2,
            ensure_all_finite="allow-nan",
        )
        self._refuse_nan(X, use_missing("pairwise", "em"))
        samples = self._weighted(X, sample_weight, named)
        self._set(self._estimate(samples, named, X.dtype), samples.n_effective, named)
        self._stream = None
        return self

    @available_if(_can_stream)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "BlockCovariance":
        """Estimate the covariance of these and all earlier samples.

        The result is that of `fit` on all rows together, to rounding: blocks, signs and constant
        columns are found again each time. At most n_features rows are stored. `shrinkage` must be
        "nonlinear", None or a number, and `missing` "raise". `fit` stores no rows, so a call after
        `fit` starts anew.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            One sample per row, newer than those of earlier calls. The first call takes at least 2
            (3 to find blocks or with `loadings`). It also takes one for each block with `loadings`,
            and otherwise with the shrinkage None or a number, then with one more for the mean.
        y : None
            Ignored. Labels of the variables are an argument of the class.
        sample_weight : array_like or Series, shape (n_samples,), optional
            As for `fit`.

        Returns
        -------
        BlockCovariance
            This estimator.

        Raises
        ------
        ValueError, TypeError
            As for `fit`. Nothing is changed before an error.

        Warns
        -----
        UserWarning
            If the estimator was fitted by `fit`.
        """
        with unchanged_by_errors(self):
            return self._partial_fit(_checked(X, y), sample_weight)

    def _partial_fit(self, X: Any, sample_weight: Any) -> "BlockCovariance":
        check_options(self)
        stream = self._stream if hasattr(self, "operator_") else None
        if stream is None and hasattr(self, "operator_"):
            warn(
                "partial_fit starts anew, because fit stored no samples; expected an estimator "
                "that was not fitted by fit (see sklearn.base.clone)",
            )
        named = X
        refuse_mask(X, "X")
        X = validate_data(
            self,
            X,
            dtype=[np.float64, np.float32],
            reset=stream is None,
            ensure_all_finite="allow-nan",
        )
        self._refuse_nan(X, " (partial_fit takes no NaN)")
        samples = cast(WeightedSamples, self._weighted(X, sample_weight, named))  # without NaN
        batch = RunningSamples.of(samples)
        if stream is not None:
            if self.half_life is not None:
                stream = stream.decay(0.5 ** (len(X) / self.half_life))
            batch = stream.join(batch)
        self._set(self._estimate(batch, named, batch.dtype), batch.n_effective, named)
        self._stream = batch
        return self

    def _refuse_nan(self, X: Array, hint: str) -> None:
        """Raise `NonFiniteError` for NaN if it does not mark missing values."""
        if self.missing == "raise":
            require_finite_samples(X, hint)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing != "raise"
        return tags

    def _weighted(
        self, X: Array, sample_weight: Any, named: Any
    ) -> WeightedSamples | GappedSamples:
        """Return the samples with their weights. `named` is X with the names of the user."""
        refuse_symmetric(X)
        names = names_of(named, 1)
        weights = as_weights(sample_weight, len(X), self.weight_type, source=named)
        if self.half_life is not None:
            weights = weights.decayed(self.half_life)
        if np.isnan(X).any(where=weights.values[:, None] > 0):
            return GappedSamples(X, weights, names)
        if sample_weight is None and self.half_life is None:
            return WeightedSamples(X, names=names)
        return WeightedSamples.of(X, weights, names)

    def _estimate(
        self, rows: WeightedSamples | RunningSamples | GappedSamples, named: Any, dtype: Any
    ) -> Estimate:
        require_rows(rows.n_rows, 2)
        centre = not self.assume_centered
        columns = rows.range(centre)
        varying = np.ones(len(columns.low), dtype=bool)
        if self.constant == "keep":
            varying = ~columns.is_constant(dtype)
        if not varying.any():
            raise ValueError("all columns of X are constant; expected at least one that varies")
        model = self._model(varying, named)
        some = rows if varying.all() else rows.columns(varying)
        if isinstance(some, GappedSamples):
            found = estimate_with_gaps(some, model, dtype)
        else:
            found = estimate(some, model, dtype)
        if varying.all():
            return found
        return with_constants(found, varying, columns.low / 2 + columns.high / 2)

    def _model(self, varying: Array, named: Any) -> Model:
        """Return the parameters, for the variables that vary. `named` is X with its names."""
        given = self.labels
        if given is not None:
            given = as_partition(given, len(varying), "labels", named)
            given = given if varying.all() else given.subset(varying)
        return Model(
            partition=given,
            n_blocks=number_of_blocks(self, int(varying.sum())) if given is None else None,
            scaled=bool(self.scaled),
            n_factors=number_of_factors(self),
            loadings=bool(self.loadings),
            shrinkage=self.shrinkage,
            signs=bool(self.signs),
            missing=self.missing,
            weight_type=self.weight_type,
            assume_centered=bool(self.assume_centered),
            random_state=self.random_state,
            n_jobs=self.n_jobs,
            constant=self.constant,
        )

    def _set(self, found: Estimate, n_effective: float, named: Any) -> None:
        p = found.partition
        self.location_ = found.location
        self.partition_ = p
        self.labels_ = np.array(p.labels)
        self._names = names_of(named, 1)
        self.groups_ = p.groups(self._names)
        self.signs_ = np.array(found.signs)
        self.constant_ = found.constant
        self.n_effective_ = n_effective
        self.n_factors_ = number_of_factors(self)
        self.shrinkage_ = found.shrinkage
        self.operator_ = found.operator

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
        if not self.constant_.any():
            return self.operator_.inv().toarray()
        precision = np.zeros(self.operator_.shape, self.operator_.dtype)
        varying = np.flatnonzero(~self.constant_)
        precision[np.ix_(varying, varying)] = self._varying[0].inv().toarray()
        return precision

    @property
    def _varying(self) -> tuple[Operator, Array]:
        """The covariance and the mean of the variables that vary."""
        if not self.constant_.any():
            return self.operator_, self.location_
        return self.operator_.submatrix(~self.constant_), self.location_[~self.constant_]

    def score(self, X_test: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean Gaussian log-likelihood of samples.

        Parameters
        ----------
        X_test : array_like, shape (n_samples, n_features)
            The samples.
        y : None
            Ignored. Labels of the variables are an argument of the class.
        sample_weight : array_like or Series, shape (n_samples,), optional
            The weight of each sample in the mean, as for `fit`.

        Returns
        -------
        float
            The mean over the samples, in natural logarithms. It is the density of the variables
            that are not constant; with `missing`, of the values that are observed.

        Raises
        ------
        SingularMatrixError
            If the covariance is singular.
        ValueError
            If no sample of positive weight has a value, or `sample_weight` does not fit.
        """
        X = self._validated(X_test)
        weights = None
        if sample_weight is not None:
            weights = as_weights(sample_weight, len(X), source=X_test).values
        covariance, location = self._varying
        if np.isnan(X).any():
            density = observed_density(covariance, X - location)
            counts = density.numbers > 0
            if weights is not None:
                counts &= weights > 0
            if not counts.any():
                raise ValueError("X has no values; expected at least one sample with a value")
            kept = None if weights is None else weights[counts]
            return float(np.average(density.log_densities[counts], weights=kept))
        if weights is None:
            return log_likelihood(X, covariance, location) / len(X)
        deviations = (X - location) * np.sqrt(weights / weights.mean())[:, None]
        return log_likelihood(deviations, covariance) / len(X)

    def mahalanobis(self, X: Any) -> Array:
        """Return squared Mahalanobis distances to the mean.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            The samples.

        Returns
        -------
        ndarray, shape (n_samples,)
            The squared distance of each sample; with `missing`, of the values that are observed,
            and NaN without any.

        Raises
        ------
        SingularMatrixError
            If the covariance is singular.
        """
        X = self._validated(X)
        covariance, location = self._varying
        if not np.isnan(X).any():
            return squared_distances(covariance, X - location)
        density = observed_density(covariance, X - location)
        distances = np.where(density.numbers > 0, density.distances, np.nan)
        return distances.astype(np.result_type(X, covariance.dtype))

    def _validated(self, X: Any) -> Array:
        """Return samples of the variables that vary, checked."""
        check_is_fitted(self, "operator_")
        refuse_mask(X, "X")
        if is_frame(X):
            X = numeric_frame(X, "X")
        validated: Array = validate_data(
            self,
            X,
            dtype=[np.float64, np.float32],
            reset=False,
            ensure_all_finite="allow-nan",
        )
        self._refuse_nan(validated, use_missing("pairwise", "em"))
        return validated[:, ~self.constant_] if self.constant_.any() else validated

    def error_norm(
        self, comp_cov: Any, norm: str = "frobenius", scaling: bool = True, squared: bool = True
    ) -> float:
        """Return the distance of this covariance matrix to another one.

        Parameters
        ----------
        comp_cov : array_like, shape (n_features, n_features)
            The other covariance matrix. The names of a DataFrame are matched to those of the
            variables.
        norm : {"frobenius", "spectral"}, default "frobenius"
            The norm of the difference.
        scaling : bool, default True
            Whether to divide the squared norm by n_features.
        squared : bool, default True
            Whether to return the squared norm.

        Returns
        -------
        float
            The norm of the difference, or its square, which is infinite if it overflows.

        Raises
        ------
        ShapeError
            If `comp_cov` has another shape.
        DtypeError
            If it is not real.
        NonFiniteError
            If it contains NaN or infinity.
        ValueError
            If `norm` is another string, or a DataFrame has other names than the variables.
        """
        check_is_fitted(self, "operator_")
        other = as_numeric(matrix_by_name(comp_cov, self._names, "comp_cov"), "comp_cov", (2,))
        if other.dtype.kind == "c":
            raise DtypeError(f"comp_cov has dtype {other.dtype}; expected real numbers")
        if other.shape != self.operator_.shape:
            raise ShapeError(f"comp_cov has shape {other.shape}; expected {self.operator_.shape}")
        if not is_choice(norm, ("frobenius", "spectral")):
            raise ValueError(f"norm is {shown(norm)}; expected 'frobenius' or 'spectral'")
        require_finite(other, "comp_cov")
        error, exponent = in_range(self.operator_.toarray().astype(np.float64) - other)
        value = float(np.linalg.norm(error, "fro" if norm == "frobenius" else 2))
        value = float(times_power(value, exponent))
        value /= len(error) ** 0.5 if scaling else 1
        return value * value if squared else value
