"""read_samples: samples for a search, which may have missing values and weights."""

from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import require_finite
from blockmat.blocks.names import names_of, weights_by_name
from blockmat.sources.counts import require_effective, require_rows
from blockmat.sources.gapped_samples import GappedSamples
from blockmat.sources.gaps import require_missing
from blockmat.sources.samples import as_real_samples, use_missing
from blockmat.sources.weighted_samples import WeightedSamples
from blockmat.sources.weights import as_weights

MIN_SAMPLES = 3


class SampleOptions(NamedTuple):
    """Arguments of `blockmat.find_partition` that are only for samples."""

    missing: str = "raise"
    sample_weight: Any = None
    weight_type: str = "frequency"

    def require_none(self) -> None:
        """Raise ValueError for arguments that are given although the source is a matrix."""
        for name, is_given in (
            ("missing", self.missing != "raise"),
            ("sample_weight", self.sample_weight is not None),
            ("weight_type", self.weight_type != "frequency"),
        ):
            if is_given:
                raise ValueError(
                    f"{name} is given for a matrix; expected it only with samples=True"
                )


def refuse_n_samples(n_samples: int | None) -> None:
    """Raise ValueError for a number of samples that is given beside the samples."""
    if n_samples is not None:
        raise ValueError(
            f"n_samples is {n_samples} with samples=True; expected it only for a correlation matrix"
        )


def read_samples(source: Any, options: SampleOptions) -> WeightedSamples | GappedSamples:
    """Check samples (T, n) and their weights. Samples that were read before are returned unchanged.

    Raises
    ------
    ShapeError, DtypeError, NonFiniteError
        If samples are not 2-d, real and finite, or there is not one weight for each of them. With
        `missing` NaN is no error.
    ValueError
        If there are fewer than 3 samples of positive weight, or they count as fewer than 3; or if
        a weight is negative, or `missing` or `weight_type` is unknown.
    """
    if isinstance(source, WeightedSamples | GappedSamples):
        return source
    missing, sample_weight, weight_type = options
    require_missing(missing)
    may_have_gaps = missing != "raise"
    X = as_real_samples(source, MIN_SAMPLES, may_have_gaps, use_missing("pairwise", "em"))
    given = weights_by_name(sample_weight, source, "sample_weight")
    weights = as_weights(given, len(X), weight_type)
    names = names_of(source, 1)
    samples: WeightedSamples | GappedSamples
    if np.isnan(X).any(where=weights.values[:, None] > 0):
        samples = GappedSamples(X, weights, names)
    else:
        samples = WeightedSamples.of(X, weights, names)
        if given is None:
            samples = WeightedSamples(X, names=names)
        require_finite(samples.X, "X")
    require_rows(samples.n_rows, MIN_SAMPLES)
    require_effective(samples.n_effective, weight_type)
    return samples
