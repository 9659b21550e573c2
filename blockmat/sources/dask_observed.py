"""DaskObserved: a Dask array of samples with missing values, in two passes over the chunks.

The first pass sends column sums between workers, and the second one the sums of `PairwiseSums`.
"""

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, working_dtype
from blockmat.blocks.chunked import (
    delayed,
    joined_at_a_time,
    without_empty_chunks,
    without_sparsity,
)
from blockmat.blocks.partition import Partition
from blockmat.sources.dask_source import DaskSource
from blockmat.sources.observed import Columns, ObservedSamples, refuse_infinity, require_values
from blockmat.sources.pair import Pair
from blockmat.sources.pairwise import PairwiseSums
from blockmat.sources.samples import refuse_sparse_samples
from blockmat.sources.source import Options
from blockmat.sources.weights import Weights


class DaskObserved(DaskSource):
    """Samples as a Dask array, in which NaN marks a missing value, with weights."""

    def __init__(self, X: Any, compute: bool, weights: Weights) -> None:
        super().__init__(X, "X", compute)
        self._weights = weights

    def pair(self, p: Partition, options: Options) -> Any:
        """Return the pair of pairwise means, or a Dask Delayed of it.

        Raises
        ------
        ValueError
            If blocks must be aligned.
        """
        if options.aligned:
            raise ValueError(
                "aligned is True with missing='pairwise' and X a Dask array; expected aligned=False"
            )
        centre = not options.assume_centered
        finish = partial(_pair_of_sums, options.ddof, centre, self.dtype)
        return self.finished(finish, self._sums(p, centre))

    def _sums(self, p: Partition, centre: bool) -> Any:
        """Return the `PairwiseSums` of all samples as a Dask Delayed."""
        X = without_empty_chunks(self._array).rechunk({1: -1})
        of_chunk, columns_of, joined_columns, location_of, sums_of, joined = map(
            delayed, (_samples_of_chunk, _columns, _joined_columns, _location, _sums_of, _joined)
        )
        rows = pairwise(np.cumsum([0, *X.chunks[0]]).tolist())
        parts = [
            of_chunk(chunk, self._weights.part(first, last), first)
            for (first, last), (chunk,) in zip(rows, X.to_delayed(), strict=True)
            if self._weights.values[first:last].any()
        ]
        together = joined_at_a_time(4 * p.n_blocks**2 + 3 * p.n)
        columns = _reduced([columns_of(part) for part in parts], joined_columns, together)
        location, partition = location_of(columns, centre), delayed(p)
        sums = [sums_of(part, partition, location) for part in parts]
        return _reduced(sums, joined, together)


def _reduced(parts: list[Any], join: Any, together: int) -> Any:
    """Return all parts joined, a few at a time."""
    while len(parts) > 1:
        parts = [join(parts[i : i + together]) for i in range(0, len(parts), together)]
    return parts[0]


def _samples_of_chunk(chunk: Any, weights: Weights, first_row: int) -> ObservedSamples:
    refuse_sparse_samples(without_sparsity(chunk))
    samples = np.asarray(chunk, dtype=working_dtype(chunk.dtype, "X"))
    if np.isinf(samples[weights.values > 0]).any():
        refuse_infinity(samples, weights, first_row)
    return ObservedSamples(samples, weights)


def _columns(samples: ObservedSamples) -> Columns:
    return samples.columns


def _joined_columns(parts: list[Columns]) -> Columns:
    return Columns(*(np.sum(arrays, axis=0) for arrays in zip(*parts, strict=True)))


def _location(columns: Columns, centre: bool) -> Array:
    require_values(columns.counts, None)
    location: Array = columns.totals / columns.counts
    return location if centre else np.zeros_like(location)


def _sums_of(samples: ObservedSamples, p: Partition, location: Array) -> PairwiseSums:
    return PairwiseSums.of(samples, p, location)


def _joined(parts: list[PairwiseSums]) -> PairwiseSums:
    first, *others = parts
    return sum(others, first)


def _pair_of_sums(ddof: int, centre: bool, dtype: Any, sums: PairwiseSums) -> Pair:
    return sums.pair(ddof, centre, dtype)
