"""Conversion of the input of fits to sources, including Dask arrays and matrices of this package."""

from typing import Any

from blockmat.blocks.checks import is_dask_array
from blockmat.blocks.names import names_of
from blockmat.fitting.structured import StructuredMatrix
from blockmat.matrices.structured import SquareMatrix
from blockmat.sources.dense_samples import DenseSamples
from blockmat.sources.gaps import SamplesWithGaps, require_missing
from blockmat.sources.recognise import as_source
from blockmat.sources.samples import as_samples, use_missing
from blockmat.sources.source import LocalSource, Source
from blockmat.sources.weights import Weights, as_weights


def as_local_source(source: Any) -> LocalSource:
    """Convert a matrix to a source. A Dask array is computed."""
    return StructuredMatrix(source) if isinstance(source, SquareMatrix) else as_source(source)


def as_fit_source(source: Any, compute: bool) -> Source:
    """Convert the matrix that `fit` is given to a source, and check its dtype and dimension.

    Raises
    ------
    ValueError
        If `compute` is False and the matrix is not a Dask array.
    """
    if is_dask_array(source):
        from blockmat.sources.dask_matrix import DaskMatrix

        return DaskMatrix(source, compute)
    _require_compute(compute)
    return as_local_source(source)


def as_sample_source(
    X: Any,
    compute: bool,
    sample_weight: Any = None,
    weight_type: str = "frequency",
    missing: str = "raise",
) -> tuple[Source, Weights]:
    """Convert samples to a source, and return it with their weights.

    Raises
    ------
    ValueError
        If `missing` is unknown, or is "em" for a Dask array; or if `compute` is False and
        the samples are not a Dask array.
    """
    require_missing(missing)
    if is_dask_array(X):
        from blockmat.sources.dask_samples import DaskSamples

        if missing == "em":
            raise ValueError(
                "missing is 'em' and X is a Dask array; expected 'raise' or 'pairwise', or X.compute()"
            )
        lazy = DaskSamples(X, compute)
        weights = as_weights(sample_weight, lazy.shape[0], weight_type)
        if missing == "pairwise":
            from blockmat.sources.dask_observed import DaskObserved

            return DaskObserved(X, compute, weights), weights
        return (lazy if sample_weight is None else DaskSamples(X, compute, weights)), weights
    _require_compute(compute)
    samples = as_samples(X)
    weights = as_weights(sample_weight, len(samples), weight_type, source=X)
    if missing != "raise":
        return SamplesWithGaps(samples, weights, missing, names_of(X, 1)), weights
    given = None if sample_weight is None else weights
    return DenseSamples(samples, given, use_missing("pairwise", "em")), weights


def _require_compute(compute: bool) -> None:
    if not compute:
        raise ValueError("compute is False; expected only with a Dask array")
