"""Conversion of the input of fits to sources, including Dask arrays and matrices of this package."""

from typing import Any

from blockmat.blocks.checks import is_dask_array
from blockmat.fitting.structured import StructuredMatrix
from blockmat.matrices.structured import SquareMatrix
from blockmat.sources.dense_samples import DenseSamples
from blockmat.sources.recognise import as_source
from blockmat.sources.samples import as_samples
from blockmat.sources.source import LocalSource, Source


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


def as_sample_source(X: Any, compute: bool) -> Source:
    """Convert samples to a source, and check their dtype and dimension.

    Raises
    ------
    ValueError
        If `compute` is False and the samples are not a Dask array.
    """
    if is_dask_array(X):
        from blockmat.sources.dask_samples import DaskSamples

        return DaskSamples(X, compute)
    _require_compute(compute)
    return DenseSamples(as_samples(X))


def _require_compute(compute: bool) -> None:
    if not compute:
        raise ValueError("compute is False; expected only with a Dask array")
