"""BlockAccumulator: a sum of outer products, projected onto block-constant matrices."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from blockmat.blocks.checks import (
    Array,
    as_count,
    as_flag,
    as_numeric,
    first_non_finite,
    require_finite,
    require_in_range,
)
from blockmat.blocks.names import numbers_by_name
from blockmat.blocks.partition import Partition, as_partition
from blockmat.blocks.partition_checks import hint_of_axis
from blockmat.exceptions import NonFiniteError, PartitionMismatchError, ShapeError
from blockmat.fitting.observed_stream import as_stream
from blockmat.fitting.variable_names import VariableNames, names_of_data
from blockmat.matrices.block_constant import BlockConstantMatrix, trusted_matrix
from blockmat.matrices.scaled import ScaledBlockMatrix
from blockmat.sources.dense_samples import DenseSamples, refuse_non_finite_samples
from blockmat.sources.moments import CentredMoments, Moments, outer_moments
from blockmat.sources.samples import as_samples, for_empty_row, use_missing
from blockmat.sources.weights import Weights, as_half_life, as_weights

__all__ = ["BlockAccumulator"]


class BlockAccumulator:
    """A sum of outer products, stored as a block-constant matrix.

    The sum is exact, because the projection is linear. No n x n array is formed.

    Parameters
    ----------
    partition : Partition, sequence of hashable, Series or dict, shape (n,)
        The blocks, or a label for each variable. A Series or dict gives labels by name: data then
        need the same names in the same order.
    aligned : bool, default False
        Whether every square block has two values, as for `fit`.
    missing : {"raise", "pairwise"}, default "raise"
        Whether NaN in samples is an error, or marks a missing value.
    scaled : bool, default False
        Whether each variable has a variance of its own, so that `covariance` is a
        ScaledBlockMatrix with block-constant correlations.
    location, scale : array_like or Series, shape (n,), optional
        Only with ``missing="pairwise"`` or `scaled`: numbers near the means and the standard
        deviations. By default those of the first samples that have values. A Series is matched to
        labels by name.
    half_life : float, optional
        The number of further samples after which the weight of a sample is half as large. By
        default weights change only by `decay`.

    Raises
    ------
    PartitionError
        If the labels are not a partition.
    ShapeError, DtypeError, NonFiniteError
        If `location` or `scale` does not have n finite numbers, or the scale is not real.
    TypeError
        If `half_life` is not a number.
    ValueError
        If an argument is out of range, or is given without the ones that it needs; or if a Series
        has another index than the labels.

    See Also
    --------
    fit_samples : fit samples that are in one array.

    Notes
    -----
    Sums are in double precision. For samples the mean and the products of deviations from it are
    stored, so a large mean does not cause cancellation. The sums must not overflow.

    With ``missing="pairwise"`` or `scaled` products are summed about a fixed `location` in units of a
    fixed `scale`, and the means and variances of all samples are used at the end
    (:ref:`theory-missing`). The result is positive definite. If no value is missing, only the scale
    has an effect: the correlation of two blocks is a mean weighted by the quotients of the standard
    deviations and the scale. If values are missing, the location has an effect of second order where
    the means of one block move apart.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> g = np.array([1.0, 2.0, 3.0])
    >>> acc = bm.BlockAccumulator([0, 0, 1])
    >>> acc.add_outer(g)
    >>> bool(np.allclose(acc.matrix(), bm.fit(np.outer(g, g), [0, 0, 1])))
    True

    Samples with missing values, and a variance of each variable:

    >>> X = np.random.default_rng(0).normal(size=(50, 3)) * [1.0, 5.0, 2.0]
    >>> X[3, 1] = np.nan
    >>> acc = bm.BlockAccumulator([0, 0, 1], missing="pairwise", scaled=True)
    >>> acc.add_samples(X)
    >>> acc.covariance()
    <3x3 ScaledBlockMatrix of 2 blocks, dtype=float64>
    """

    def __init__(
        self,
        partition: Any,
        aligned: bool = False,
        *,
        missing: str = "raise",
        scaled: bool = False,
        location: Any = None,
        scale: Any = None,
        half_life: float | None = None,
    ) -> None:
        if np.ndim(aligned):
            as_flag(aligned, "aligned")  # data go to `add_samples`
        is_dict = isinstance(partition, Mapping)
        self._partition = as_partition(list(partition.values()) if is_dict else partition)
        self._aligned = bool(aligned)
        self._dtype: np.dtype[Any] | None = None
        self._outer = Moments.zero(self._partition, self._aligned)
        self._samples: CentredMoments | None = None
        self._variables = VariableNames.of(partition, location=location, scale=scale)
        location, scale = (
            numbers_by_name(numbers, self._variables.names, name, self._variables.owner)
            for numbers, name in ((location, "location"), (scale, "scale"))
        )
        self._observed = as_stream(
            self._partition, self._aligned, missing, bool(scaled), location, scale
        )
        self._missing = missing
        self._half_life = None if half_life is None else as_half_life(half_life)
        self._unlike = 0.0  # probability that two draws by weight are different samples

    @property
    def partition(self) -> Partition:
        """The blocks."""
        return self._partition

    @property
    def aligned(self) -> bool:
        """Whether every square block has two values."""
        return self._aligned

    @property
    def n_samples(self) -> float:
        """The sum of the weights of the samples: their number, unless `decay` has reduced weights."""
        if self._observed is not None:
            return self._observed.n_samples
        return 0.0 if self._samples is None else self._samples.weight

    @property
    def mean(self) -> Array:
        """The weighted mean of the samples, shape (n,), of the observed values if some are missing.

        It is an error (ValueError) without samples, or if a column has no value.
        """
        self._require_samples("mean")
        dtype = self._dtype or np.dtype(np.float64)
        if self._observed is not None:
            return self._observed.mean(self._variables.names).astype(dtype)
        assert self._samples is not None
        return self._samples.mean.astype(dtype)

    def _require_samples(self, use: str) -> None:
        if self.n_samples <= 0:
            raise ValueError(f"the accumulator has no samples; expected add_samples before {use}")

    def add_outer(self, g: Any, weight: float = 1.0) -> None:
        """Add the outer product ``weight * g g^H``.

        Parameters
        ----------
        g : array_like or Series, shape (n,)
            The vector, for instance a gradient.
        weight : float, default 1.0
            The factor.

        Raises
        ------
        ShapeError
            If `g` does not have n entries.
        TypeError
            If `weight` is not a real number.
        NonFiniteError
            If `g` or `weight` is not finite. Nothing is changed before an error.
        ValueError
            If the accumulator is for samples only: if it is scaled, or values may be missing.
        PartitionError, PartitionMismatchError
            If the names of a Series are not those of the labels or of earlier data, in the same
            order; or if the labels have names and `g` has none.

        Examples
        --------
        >>> import blockmat as bm
        >>> acc = bm.BlockAccumulator([0, 0])
        >>> acc.add_outer([1.0, 3.0], weight=2.0)
        >>> acc.matrix().toarray()
        array([[10.,  6.],
               [ 6., 10.]])
        """
        self._require_outer_products()
        names = names_of_data(g)
        g = as_numeric(g, "g", (1,))
        if g.shape[0] != self.partition.n:
            raise ShapeError(f"g has length {g.shape[0]}; expected {self.partition.n}")
        if not isinstance(weight, Real):
            raise TypeError(f"weight is {weight!r}; expected a real number")
        if not np.isfinite(weight):
            raise NonFiniteError(f"weight is {weight!r}; expected a finite number")
        require_finite(g, "g")
        variables = self._variables.joined(names, "g")
        self.decay(self._kept(1))
        self._outer += self._outer_of(g, weight)
        self._see(g.dtype)
        self._variables = variables

    def add_samples(
        self, X: Any, *, sample_weight: Any = None, weight_type: str = "frequency"
    ) -> None:
        """Add samples: their outer products, and their mean for `covariance`.

        Parameters
        ----------
        X : array_like, shape (T, n)
            One sample per row.
        sample_weight : array_like or Series, shape (T,), optional
            A non-negative weight for each sample.
        weight_type : {"frequency", "reliability"}, default "frequency"
            The kind of the weights, as for `fit_samples`.

        Raises
        ------
        ShapeError
            If `X` is not 2-d with n columns, or there is not a weight for each sample.
        DtypeError
            If it is not numeric, or is real and `location` is complex.
        NonFiniteError
            If it contains infinity, or NaN and `missing` is "raise". Nothing is changed before an
            error.
        ValueError
            If it is a symmetric matrix, such as a covariance matrix; if a weight is negative or all
            are zero; or if a scale is taken from the first samples, and a column of them is
            constant.
        PartitionError, PartitionMismatchError
            If the names of a DataFrame are not those of the labels or of earlier data, in the same
            order; or if the labels have names and `X` has none.

        Examples
        --------
        >>> import blockmat as bm
        >>> acc = bm.BlockAccumulator([0, 0])
        >>> acc.add_samples([[1.0, 3.0], [1.0, 1.0]])
        >>> acc.matrix().toarray()
        array([[6., 4.],
               [4., 6.]])
        """
        samples = as_samples(X)
        if samples.shape[1] != self.partition.n:
            hint = hint_of_axis(self.partition.n, samples, 1)
            raise ShapeError(f"X has {samples.shape[1]} columns; expected {self.partition.n}{hint}")
        variables = self._variables.joined(names_of_data(X), "X")
        weights = as_weights(sample_weight, len(samples), weight_type, source=X)
        if self._half_life is not None:
            weights = weights.decayed(self._half_life)
        if self._observed is not None:
            if self._missing == "raise":
                _require_values(samples, weights)
            self._observed.add(samples, weights, self._kept(len(samples)), variables.names)
        else:
            is_plain = sample_weight is None and self._half_life is None
            source = DenseSamples(samples, None if is_plain else weights, use_missing("pairwise"))
            moments = source.centred_moments(self.partition, self._aligned)
            self.decay(self._kept(len(samples)))
            self._join(moments, 1 - 1 / weights.n_effective)
        self._see(samples.dtype)
        self._variables = variables

    def decay(self, beta: float) -> None:
        """Multiply all sums and weights by a factor, for exponential averages.

        Parameters
        ----------
        beta : float
            The factor, from 0 to 1.

        Raises
        ------
        TypeError
            If `beta` is not a real number.
        ValueError
            If it is out of range.

        Examples
        --------
        >>> import blockmat as bm
        >>> acc = bm.BlockAccumulator([0, 0])
        >>> acc.add_outer([1.0, 3.0])
        >>> acc.decay(0.1)
        >>> acc.matrix().trace()
        np.float64(1.0)
        """
        if not isinstance(beta, Real):
            raise TypeError(f"beta is {beta!r}; expected a number from 0 to 1")
        if not 0 <= beta <= 1:
            raise ValueError(f"beta is {beta!r}; expected a number from 0 to 1")
        self._outer *= beta
        if self._observed is not None:
            self._observed.decay(beta)
        if self._samples is not None:
            self._samples.moments *= beta
            self._samples.weight *= beta

    def merge(self, other: "BlockAccumulator") -> None:
        """Add the sums of another accumulator.

        Parameters
        ----------
        other : BlockAccumulator
            An accumulator with the same blocks, `aligned`, `missing`, `scaled` and `half_life`. It is
            not changed.

        Raises
        ------
        TypeError
            If `other` is not a BlockAccumulator.
        PartitionMismatchError
            If it has other blocks or names, or another `aligned`, `missing`, `scaled` or
            `half_life`.
        ValueError
            If it has another location or scale.

        Examples
        --------
        >>> import blockmat as bm
        >>> a, b = bm.BlockAccumulator([0, 0]), bm.BlockAccumulator([0, 0])
        >>> b.add_outer([1.0, 3.0])
        >>> a.merge(b)
        >>> a.matrix().trace()
        np.float64(10.0)
        """
        if not isinstance(other, BlockAccumulator):
            raise TypeError(f"other is a {type(other).__name__}; expected a BlockAccumulator")
        if not self.partition.same_blocks(other.partition) or self._options != other._options:
            raise PartitionMismatchError(
                "other accumulates on another partition, or has another aligned, missing, scaled or "
                "half_life"
            )
        variables = self._variables
        if other._variables.names is not None:
            variables = variables.joined(other._variables.names, "other")
        if self._observed is not None and other._observed is not None:
            self._observed.merge(other._observed)
        self._outer += other._outer
        if other._samples is not None:
            self._join(other._samples, other._unlike)
        if other._dtype is not None:
            self._see(other._dtype)
        self._variables = variables

    def matrix(self) -> BlockConstantMatrix:
        """Return the projected sum of all outer products.

        Returns
        -------
        BlockConstantMatrix
            The sum, in the common dtype of the input. It is not divided by the number of samples.

        Raises
        ------
        ValueError
            If the accumulator is scaled, or values may be missing.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockAccumulator([0, 0, 1]).matrix().norm()
        np.float64(0.0)
        """
        self._require_outer_products()
        total = Moments.zero(self.partition, self._aligned)
        total += self._outer
        if self._samples is not None:
            total += self._samples.moments
            total += self._outer_of(self._samples.mean, self._samples.weight)
        return self._as_matrix(total)

    def covariance(self, ddof: int = 1) -> BlockConstantMatrix | ScaledBlockMatrix:
        r"""Return the covariance matrix of the samples, as `fit_samples` does.

        Parameters
        ----------
        ddof : int, default 1
            It is subtracted from the divisor. With 1 the estimate is unbiased.

        Returns
        -------
        BlockConstantMatrix or ScaledBlockMatrix
            The covariance about the sample mean; the latter if the accumulator is scaled. Products
            from `add_outer` are left out.

        Raises
        ------
        ValueError
            If there are no samples; if `ddof` is negative, or not below the effective number of samples
            :math:`(\sum w)^2 / \sum w^2`, where w are the weights; if values may be missing,
            and a column or two blocks have too few; or if the accumulator is scaled and a column
            is constant.

        Notes
        -----
        The weights w are 1, or those given, until `decay` reduces them. A frequency stands for as
        many samples. The sum of products is divided by
        :math:`\sum w - \mathrm{ddof} \sum w^2 / \sum w`, as in ``numpy.cov`` with ``aweights``.
        Without decay this is ``n_samples - ddof``.

        Examples
        --------
        >>> import blockmat as bm
        >>> acc = bm.BlockAccumulator([0, 0])
        >>> acc.add_samples([[1.0, 3.0], [1.0, 1.0]])
        >>> acc.covariance().trace()
        np.float64(2.0)
        """
        ddof = as_count(ddof, "ddof", 0)
        self._require_samples("covariance")
        if self._observed is not None:
            dtype = self._dtype or np.dtype(np.float64)
            return self._observed.covariance(ddof, dtype, self._variables.names)
        kept = (1 - ddof) + ddof * self._unlike  # of the sum of weights
        rounding = 8 * np.finfo(np.float64).eps * max(ddof - 1, 0)
        assert self._samples is not None
        if kept <= rounding:
            effective = 1 / (1 - self._unlike)
            raise ValueError(
                f"ddof is {ddof}; expected less than the effective number of samples, {effective:g} "
                f"(weights that do not count samples need weight_type='reliability')"
            )
        covariance = Moments.zero(self.partition, self._aligned)
        covariance += self._samples.settled()
        covariance /= self.n_samples * kept
        return self._as_matrix(covariance)

    @property
    def _options(self) -> tuple[bool, str, bool, float | None]:
        is_scaled = self._observed is not None and self._observed.is_scaled
        return self._aligned, self._missing, is_scaled, self._half_life

    def _kept(self, n_samples: int) -> float:
        """Return the factor of old weights when samples are added."""
        return 1.0 if self._half_life is None else 0.5 ** (n_samples / self._half_life)

    def _require_outer_products(self) -> None:
        if self._observed is not None:
            raise ValueError(
                "the accumulator is scaled or has missing values, so it has no sum of outer products; "
                "expected add_samples and covariance"
            )

    def _as_matrix(self, sums: Moments) -> BlockConstantMatrix:
        dtype = self._dtype or np.dtype(np.float64)
        between, within = sums.pair()
        require_in_range(dtype, between, within)
        return trusted_matrix(self.partition, between, within, dtype)

    def _see(self, dtype: Any) -> None:
        self._dtype = np.dtype(dtype) if self._dtype is None else np.result_type(self._dtype, dtype)

    def _join(self, samples: CentredMoments, unlike: float) -> None:
        """Add samples; `unlike` is the probability that two draws by weight are different samples."""
        if self._samples is None or self._samples.weight == 0:
            zero = Moments.zero(self.partition, self._aligned)
            zero += samples.moments
            self._samples = CentredMoments(zero, samples.mean, samples.weight)
            self._unlike = unlike
        elif samples.weight > 0:
            total = self._samples.weight + samples.weight
            old, new = self._samples.weight / total, samples.weight / total
            self._unlike = old**2 * self._unlike + 2 * old * new + new**2 * unlike
            self._samples += samples

    def _outer_of(self, x: Array, weight: float) -> Moments:
        outer = outer_moments(x, self.partition, self._aligned)
        outer *= weight
        return outer

    def __repr__(self) -> str:
        aligned = "aligned " if self._aligned else ""
        return f"<BlockAccumulator of {self.partition.n_blocks} {aligned}blocks>"


def _require_values(samples: Array, weights: Weights) -> None:
    """Refuse NaN and infinity in samples whose weight is not zero."""
    if first_non_finite(samples) is None:
        return
    rows = np.flatnonzero(weights.values)
    entry = first_non_finite(samples[rows])
    if entry is not None:
        row = int(rows[entry[0]])
        hint = use_missing("pairwise") + for_empty_row(samples, row)
        refuse_non_finite_samples((row, entry[1]), hint)
