"""Operator: a SciPy LinearOperator, read by products with block indicators and random signs."""

from typing import Any, ClassVar

import numpy as np
from scipy.sparse.linalg import LinearOperator

from blockmat.blocks.checks import (
    Array,
    accumulator_dtype,
    as_numeric,
    real_dtype,
    require_finite,
    working_dtype,
)
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums
from blockmat.cores.pair import root
from blockmat.cores.scale import exponent_of, in_range, largest_of, times_power
from blockmat.exceptions import DtypeError, ShapeError
from blockmat.sources.pair import (
    Pair,
    hermitian_if_rounding,
    require_finite_blocks,
    within_of_paired_sums,
)
from blockmat.sources.progress import track
from blockmat.sources.source import Approximation, LocalSource, Options, Products, Residual

_INDICATOR_BYTES = 2**26  # of block indicators to multiply at a time
_UNIT = 100  # sums that overflow are computed again in units of 2**100


class Operator(LocalSource):
    """A LinearOperator.

    Products with the block indicators give M exactly. Unless the diagonal is given, d is estimated
    from products with random signs (Hutchinson's estimator, :ref:`theory-operators`).

    Parameters
    ----------
    operator : LinearOperator, shape (m, n)
        The operator. If its dtype is None, the dtype is that of its products.
    """

    is_operator: ClassVar[bool] = True

    def __init__(self, operator: LinearOperator) -> None:
        self._operator = operator
        self._has_dtype = operator.dtype is not None
        self.shape = operator.shape
        self.dtype = working_dtype(operator.dtype if self._has_dtype else np.float64, "source")

    def pair(self, p: Partition, options: Options) -> Pair:
        """Return the pair of the fit. Its `within` may be an estimate."""
        pair = self._pair(p, options)
        return pair.checked(p, options.numbers, options.check_finite)

    def _pair(self, p: Partition, options: Options) -> Pair:
        core, dtype = self.core(p, p, options.progress)
        between = hermitian_if_rounding(p, core, dtype)
        diagonal = options.diagonal
        if diagonal is not None:
            diagonal = as_numeric(diagonal, "diagonal", (1,))
            if diagonal.shape[0] != p.n:
                raise ShapeError(f"diagonal has length {diagonal.shape[0]}; expected {p.n}")
            require_finite(diagonal, "diagonal")
            dtype = np.result_type(dtype, diagonal)
        if options.numbers == 1:  # d is not needed
            return Pair.exact(between, np.zeros(p.n_blocks), dtype)
        if diagonal is None:
            within, stderr = self._estimated_within(p, options)
            return Pair(between, within, dtype, stderr)
        exact = within_of_paired_sums(p, between, block_sums(p, diagonal))
        if not options.aligned:
            return Pair.exact(between, exact, dtype)
        within, stderr = self._estimated_within(p, options)
        np.fill_diagonal(within, exact)
        np.fill_diagonal(stderr, 0)
        return Pair(between, within, dtype, stderr)

    def between(
        self, rows: Partition, cols: Partition, check_finite: bool, progress: bool | None
    ) -> tuple[Array, np.dtype[Any]]:
        """Return the core, from products with the indicators of the blocks of columns."""
        core, dtype = self.core(rows, cols, progress)
        if check_finite:
            require_finite_blocks(core, rows, cols)
        return core, dtype

    def core(
        self, rows: Partition, cols: Partition, progress: bool | None
    ) -> tuple[Array, np.dtype[Any]]:
        """Return ``U_r^H A U_c``, from products with a few columns of U_c at a time."""
        row_root, col_root = root(rows.sizes), root(cols.sizes)
        dtype = self.dtype
        width = max(1, min(cols.n_blocks, _INDICATOR_BYTES // (8 * cols.n)))
        starts = range(0, cols.n_blocks, width)
        columns = []
        for start in track(starts, len(starts), "fit", progress):
            blocks = np.arange(start, min(start + width, cols.n_blocks))
            indicator = (cols.labels[:, None] == blocks).astype(dtype)
            products = self._product(indicator, "source @ indicator")
            if not self._has_dtype:
                dtype = np.result_type(dtype, products)
            sums = block_sums(rows, products)
            if not np.isfinite(sums).all():  # the quotient may be finite
                small = block_sums(rows, times_power(products, -_UNIT))
                columns.append(times_power(small / row_root[:, None] / col_root[blocks], _UNIT))
                continue
            columns.append(sums / row_root[:, None] / col_root[blocks])
        return np.concatenate(columns, axis=1), dtype

    def _product(self, vectors: Array, name: str) -> Array:
        """Multiply vectors by the operator, and check the result."""
        product = as_numeric(self._operator.matmat(vectors), name, (2,))
        if self._has_dtype and product.dtype.kind == "c" and self.dtype.kind != "c":
            raise DtypeError(
                f"{name} has dtype {product.dtype}; expected real numbers, because source has dtype "
                f"{self.dtype}"
            )
        return product

    def _random_signs(self, options: Options) -> Array:
        """Return random signs (n, n_probes) in the precision of the operator."""
        rng = np.random.default_rng(options.random_state)
        shape = (self.shape[1], options.n_probes)
        signs = rng.integers(0, 2, size=shape, dtype=np.int8)
        result: Array = (2 * signs - 1).astype(real_dtype(self.dtype))
        return result

    def _estimated_within(self, p: Partition, options: Options) -> tuple[Array, Array]:
        """Estimate `within` from random signs z, with the standard error of the estimate.

        The expected value of ``sum z_i (A z)_i`` over a block is its trace. The block means of z are
        subtracted first: their contribution is known exactly and would only add variance.
        """
        signs, aligned = self._random_signs(options), options.aligned
        deviations = signs - p.expand(p.block_means(signs))
        products = self._product(deviations, "source @ probes")
        n_probes, k = options.n_probes, p.n_blocks
        dtype = accumulator_dtype(products.dtype)
        estimates = np.zeros((n_probes, k, k) if aligned else (n_probes, k), dtype=dtype)
        if aligned:
            for blocks, variables in p.size_classes:
                sums = np.einsum(
                    "apz,bpz->zab", products[variables], deviations[variables], optimize=True
                )
                estimates[:, blocks[:, None], blocks] = sums / (variables.shape[1] - 1)
        else:
            several = p.sizes > 1
            sums = block_sums(p, products * deviations).T
            estimates[:, several] = sums[:, several] / (p.sizes[several] - 1)
        if _is_hermitian_on(deviations, products):
            adjoint = estimates.conj().swapaxes(1, -1) if aligned else estimates.conj()
            estimates = (estimates + adjoint) / 2
        if n_probes == 1:
            is_estimated = (p.sizes > 1) & (p.sizes[:, None] == p.sizes if aligned else True)
            return estimates[0], np.where(is_estimated, np.nan, 0.0)
        scaled, exponent = in_range(estimates)
        spread = times_power(scaled.std(axis=0, ddof=1), exponent)
        return estimates.mean(axis=0), spread / np.sqrt(n_probes)

    def residual(self, A: Approximation, options: Options) -> Residual:
        """Return the distance to a block-constant matrix, estimated from random signs."""
        return self.residual_of_products(A, options)

    def residual_of_products(self, A: Products, options: Options) -> Residual:
        """Return the distance to any matrix, estimated from random signs."""
        signs = self._random_signs(options)
        products = self._product(signs, "source @ probes")
        return Residual(
            lambda exponent: _estimated_norms(products, signs, A, exponent),
            lambda: largest_of(products),
        )


def _is_hermitian_on(vectors: Array, products: Array) -> bool:
    """Whether products with several random real vectors are those of a Hermitian operator."""
    gram = vectors.T @ products
    noise = 100 * np.finfo(gram.dtype).eps * np.sqrt(len(vectors)) * np.abs(gram).max()
    return len(gram) > 1 and bool(np.abs(gram - gram.conj().T).max() <= noise)


def _estimated_norms(
    products: Array, signs: Array, A: Products, exponent: int
) -> tuple[float, float]:
    """Estimate the norms of the difference E and of the source from random signs z.

    The mean of ``|E z|^2`` is the squared norm of E. To reduce the variance, the source is split into a
    multiple of A, whose norm is known exactly, and a part orthogonal to it.
    """
    n_probes = signs.shape[1]
    images, fitted = times_power(products, -exponent), A.times(signs)
    unit = exponent_of(largest_of(fitted))
    scaled = times_power(fitted, -unit)
    length = np.linalg.norm(scaled) ** 2
    multiple = np.vdot(scaled, images) / length if length else 0.0
    beyond = np.linalg.norm(images - multiple * scaled) ** 2 / n_probes
    norm = np.hypot(abs(multiple) * A.norm(unit), np.sqrt(beyond))
    difference = np.linalg.norm(images - times_power(fitted, -exponent)) / np.sqrt(n_probes)
    return float(difference), float(norm)
