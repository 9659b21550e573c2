"""Fits of operators, from products with block indicators and random vectors."""

from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from blockmat.blocks.checks import (
    Array,
    accumulator_dtype,
    as_numeric,
)
from blockmat.blocks.checks import check_finite as require_finite
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums
from blockmat.cores.scale import in_range, times_power
from blockmat.exceptions import ShapeError
from blockmat.fitting.pair import Pair, hermitian_if_rounding, without_within
from blockmat.matrices.structured import SquareMatrix, Structured
from blockmat.sources.moments import within_from_sums
from blockmat.sources.sums import (
    operator_core,
    probes,
)


# Operators
def operator_pair(
    source: LinearOperator,
    p: Partition,
    numbers: int,
    aligned: bool,
    diagonal: Any,
    n_probes: int,
    random_state: Any,
    progress: bool | None,
) -> Pair:
    """Return the pair of an operator, exact where its structure or diagonal is known."""
    if isinstance(source, SquareMatrix):
        exact: Any = source.astype(accumulator_dtype(source.dtype))
        core, double = operator_core(exact, p, p, progress)
        between = hermitian_if_rounding(p, core, double)
        within = within_from_sums(p, between, Structured(source).traces(p, aligned))
        return Pair(between, within, source.dtype, np.zeros(within.shape))
    core, dtype = operator_core(source, p, p, progress)
    between = hermitian_if_rounding(p, core, dtype)
    if diagonal is not None:
        diagonal = as_numeric(diagonal, "diagonal", (1,))
        if diagonal.shape[0] != p.n:
            raise ShapeError(f"diagonal has length {diagonal.shape[0]}; expected {p.n}")
        require_finite(diagonal, "diagonal")
        dtype = np.result_type(dtype, diagonal)
    if numbers == 1:  # the products with indicators were all it takes
        return without_within(Pair(between, between, dtype, between))
    if diagonal is not None:
        own = within_from_sums(p, between, block_sums(p, diagonal))
        if not aligned:
            return Pair(between, own, dtype, np.zeros(own.shape))
    within, stderr = _hutchinson(source, p, aligned, n_probes, random_state)
    if diagonal is not None:
        np.fill_diagonal(within, own)
        np.fill_diagonal(stderr, 0)
    return Pair(between, within, dtype, stderr)


def _hutchinson(
    source: LinearOperator, p: Partition, aligned: bool, n_probes: int, random_state: Any
) -> tuple[Array, Array]:
    """Estimate `within` from random signs, and the standard error of the estimate.

    The signs are reduced to their deviations from block means, because what the
    operator does to the means is known exactly and would only add variance.
    """
    signs = probes(source, n_probes, random_state)
    deviations = signs - p.expand(p.block_means(signs))
    products = as_numeric(source.matmat(deviations), "source @ probes", (2,))
    k = p.n_blocks
    dtype = accumulator_dtype(products.dtype)
    samples = np.zeros((n_probes, k, k) if aligned else (n_probes, k), dtype=dtype)
    if aligned:
        for members, rows in p.size_classes:
            pairs = np.einsum("apz,bpz->zab", products[rows], deviations[rows], optimize=True)
            samples[:, members[:, None], members] = pairs / (rows.shape[1] - 1)
    else:
        several = p.sizes > 1
        sums = block_sums(p, products * deviations).T
        samples[:, several] = sums[:, several] / (p.sizes[several] - 1)
    if _is_hermitian_on(deviations, products):
        adjoint = samples.conj().swapaxes(1, -1) if aligned else samples.conj()
        samples = (samples + adjoint) / 2
    if n_probes == 1:
        estimated = (p.sizes > 1) & (p.sizes[:, None] == p.sizes if aligned else True)
        return samples[0], np.where(estimated, np.nan, 0.0)
    scaled, exponent = in_range(samples)
    spread = times_power(scaled.std(axis=0, ddof=1), exponent)
    return samples.mean(axis=0), spread / np.sqrt(n_probes)


def _is_hermitian_on(vectors: Array, products: Array) -> bool:
    """Whether an operator looks Hermitian between several random real vectors."""
    gram = vectors.T @ products
    noise = 100 * np.finfo(gram.dtype).eps * np.sqrt(len(vectors)) * np.abs(gram).max()
    return len(gram) > 1 and bool(np.abs(gram - gram.conj().T).max() <= noise)
