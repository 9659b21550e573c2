"""Each Numba kernel against plain NumPy."""

import numpy as np
import pytest

from blockmat import Partition, _kernels
from tests.cases import DTYPES, random_array

P = Partition.from_labels([2, 0, 1, 2, 0, 2, 1, 1, 2, 0, 0, 3])
E = P.indicator().toarray()
over_dtypes = pytest.mark.parametrize("dtype", DTYPES)
over_aligned = pytest.mark.parametrize("aligned", [False, True])


def layouts(x):
    """The same numbers as C-ordered, Fortran-ordered, strided and read-only arrays."""
    strided = np.repeat(x, 2, axis=0)[::2]
    read_only = x.copy()
    read_only.flags.writeable = False
    return [np.ascontiguousarray(x), np.asfortranarray(x), strided, read_only]


def double(dtype):
    return np.result_type(dtype, np.float64)


def paired_mask(aligned):
    same_place = P.positions[:, None] == P.positions
    sizes = P.sizes[P.labels]
    mates = sizes[:, None] == sizes if aligned else P.labels[:, None] == P.labels
    return same_place & mates


def square(flat, pairing):
    result = np.zeros((P.n_blocks, P.n_blocks), dtype=flat.dtype)
    result[pairing.rows, pairing.mates] = flat
    return result


@over_dtypes
def test_block_sums(dtype):
    rng = np.random.default_rng(0)
    for x in layouts(random_array(rng, P.n, dtype)):
        sums = np.ones(P.n_blocks, double(dtype))
        _kernels.add_block_sums(x, P.labels, sums)
        np.testing.assert_allclose(sums, 1 + E.T @ x, rtol=1e-6)
    for x in layouts(random_array(rng, (P.n, 3), dtype)):
        sums = np.ones((P.n_blocks, 3), double(dtype))
        _kernels.add_block_sums_of_rows(x, P.labels, sums)
        np.testing.assert_allclose(sums, 1 + E.T @ x, rtol=1e-6, atol=1e-6)


@over_dtypes
def test_multiply_add(dtype):
    rng = np.random.default_rng(0)
    scale = random_array(rng, P.n_blocks, dtype)
    tolerance = 10 * np.finfo(dtype).eps
    for x in layouts(random_array(rng, P.n, dtype)):
        shift = random_array(rng, P.n_blocks, dtype)
        out = np.empty(P.n, dtype)
        _kernels.multiply_add(x, scale, shift, P.labels, out)
        np.testing.assert_allclose(
            out, scale[P.labels] * x + shift[P.labels], rtol=tolerance, atol=tolerance
        )
    for x in layouts(random_array(rng, (P.n, 3), dtype)):
        shift = random_array(rng, (P.n_blocks, 3), dtype)
        out = np.empty((P.n, 3), dtype)
        _kernels.multiply_add_rows(x, scale, shift, P.labels, out)
        expected = scale[P.labels][:, None] * x + shift[P.labels]
        np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)


@over_dtypes
@over_aligned
def test_dense_sums(dtype, aligned):
    pairing = P._pairing(aligned)
    for a in layouts(random_array(np.random.default_rng(0), (P.n, P.n), dtype)):
        sums = np.zeros((P.n_blocks, P.n_blocks), double(dtype))
        traces = np.zeros(len(pairing.mates), double(dtype))
        for first, rows in ((0, slice(0, 5)), (5, slice(5, None))):  # chunk by chunk
            _kernels.add_dense(
                a[rows], first, P.labels, P.labels, P.positions, P.order, P.offsets,
                pairing.first_mate, pairing.mates, sums, traces,
            )  # fmt: skip
        np.testing.assert_allclose(sums, E.T @ a @ E, rtol=1e-5, atol=1e-5)
        paired = E.T @ (a * paired_mask(aligned)) @ E
        np.testing.assert_allclose(square(traces, pairing), paired, rtol=1e-5, atol=1e-5)


@over_dtypes
@over_aligned
def test_sparse_sums(dtype, aligned):
    rng = np.random.default_rng(0)
    pairing = P._pairing(aligned)
    rows, cols = rng.integers(0, P.n, (2, 200))  # with duplicates
    data = random_array(rng, 200, dtype)
    a = np.zeros((P.n, P.n), double(dtype))
    np.add.at(a, (rows, cols), data)
    for index in (np.int32, np.int64):
        sums = np.zeros((P.n_blocks, P.n_blocks), double(dtype))
        traces = np.zeros(len(pairing.mates), double(dtype))
        _kernels.add_sparse(
            rows.astype(index), cols.astype(index), data, P.labels, P.labels, P.positions,
            pairing.classes, pairing.ranks, pairing.first_mate, sums, traces,
        )  # fmt: skip
        np.testing.assert_allclose(sums, E.T @ a @ E, rtol=1e-5, atol=1e-5)
        paired = E.T @ (a * paired_mask(aligned)) @ E
        np.testing.assert_allclose(square(traces, pairing), paired, rtol=1e-5, atol=1e-5)


@over_dtypes
def test_samples(dtype):
    rng = np.random.default_rng(0)
    mean = random_array(rng, P.n, double(dtype))
    for x in layouts(random_array(rng, (7, P.n), dtype)):
        sums, squares = np.zeros((7, P.n_blocks), double(dtype)), np.ones(P.n_blocks)
        _kernels.add_samples(x, mean, P.labels, sums, squares)
        np.testing.assert_allclose(sums, (x - mean) @ E, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(squares, 1 + (np.abs(x - mean) ** 2).sum(0) @ E, rtol=1e-6)


@over_dtypes
@over_aligned
def test_residuals(dtype, aligned):
    rng = np.random.default_rng(0)
    pairing = P._pairing(aligned)
    values = random_array(rng, (P.n_blocks, P.n_blocks), double(dtype))
    second = random_array(rng, len(pairing.mates), double(dtype))
    fit = E @ values @ E.T + paired_mask(aligned) * (E @ square(second, pairing) @ E.T)
    for a in layouts(random_array(rng, (P.n, P.n), dtype)):
        norms, row = np.zeros(2), np.zeros(P.n, double(dtype))
        for first, rows in ((0, slice(0, 5)), (5, slice(5, None))):
            _kernels.add_dense_residual(
                a[rows], first, P.labels, P.positions, P.order, P.offsets,
                pairing.first_mate, pairing.mates, values, second, row, norms,
            )  # fmt: skip
        expected = [np.linalg.norm(a - fit) ** 2, np.linalg.norm(a) ** 2]
        np.testing.assert_allclose(norms, expected, rtol=1e-5)
    kept = rng.random((P.n, P.n)) < 0.3
    rows, cols = np.nonzero(kept)
    a = random_array(rng, (P.n, P.n), dtype)
    norms = np.zeros(3)
    _kernels.add_sparse_residual(
        rows, cols, a[kept], P.labels, P.positions,
        pairing.classes, pairing.ranks, pairing.first_mate, values, second, norms,
    )  # fmt: skip
    expected = [np.linalg.norm((a - fit)[kept]), np.linalg.norm(a[kept]), np.linalg.norm(fit[kept])]
    np.testing.assert_allclose(norms, np.square(expected), rtol=1e-5)


def test_kernels_keep_nan_in_its_block():
    x = np.ones(P.n)
    x[P.labels == 2] = np.nan
    sums = np.zeros(P.n_blocks)
    _kernels.add_block_sums(x, P.labels, sums)
    np.testing.assert_array_equal(np.isnan(sums), np.arange(P.n_blocks) == 2)


def test_kernels_release_the_gil_and_are_cached():
    for name, kernel in vars(_kernels).items():
        if hasattr(kernel, "py_func"):
            assert kernel.targetoptions["nogil"], name
            assert kernel.targetoptions["fastmath"] == {"reassoc", "nsz", "contract"}, name
            assert "parallel" not in kernel.targetoptions, name
            assert type(kernel._cache).__name__ == "FunctionCache", name
