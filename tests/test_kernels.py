"""Each Numba kernel against plain NumPy."""

import inspect
import pickle
from collections import namedtuple

import numpy as np
import pytest
from numba import typeof

from blockmat import BlockConstantMatrix, BlockFactorMatrix, Partition
from blockmat.blocks import jit, kernels, passes
from blockmat.blocks.geometry import RowSegments
from blockmat.blocks.passes import block_squares, block_sums, multiply_add, weighted_sums
from blockmat.blocks.segments import segments
from blockmat.sources import kernels as source_kernels
from blockmat.sources.dense import DenseMatrix
from blockmat.sources.sparse import Entries
from tests.cases import DTYPES, in_small_parts, random_array

SHUFFLED = Partition.from_labels([2, 0, 1, 2, 0, 2, 1, 1, 2, 0, 0, 3])
CONTIGUOUS = Partition.from_sizes([4, 3, 4, 1])
BOUNDS = np.array([0, 5, 6, 12])
over_dtypes = pytest.mark.parametrize("dtype", DTYPES)
over_aligned = pytest.mark.parametrize("aligned", [False, True])
over_partitions = pytest.mark.parametrize("p", [SHUFFLED, CONTIGUOUS], ids=["labels", "offsets"])


def indicator(p):
    return p.indicator().toarray()


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def double(dtype):
    return np.result_type(dtype, np.float64)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def paired_mask(p, aligned):
    same_place = p.positions[:, None] == p.positions
    sizes = p.sizes[p.labels]
    mates = sizes[:, None] == sizes if aligned else p.labels[:, None] == p.labels
    return same_place & mates


def rows_from_three(p):
    """Rows 3 to n of a matrix in the order of their blocks, in segments of at most two."""
    rows = np.argsort(p.labels[3:], kind="stable")
    return RowSegments(rows, p.positions[3:], *segments(np.bincount(p.labels[3:]), 2))


def square(flat, pairing):
    result = np.zeros((len(pairing.classes),) * 2, dtype=flat.dtype)
    result[pairing.rows, pairing.mates] = flat
    return result


def weighted_case(dtype, given):
    """Vectors x (3, 12), and the scale, weights and centre (3, 4) whose letters are given."""
    rng = np.random.default_rng(0)
    x = random_array(rng, (3, 12), dtype)
    h, w = (read_only(random_array(rng, 12, dtype)) if c in given else None for c in "hw")
    return x, h, w, random_array(rng, (3, 4), dtype) if "c" in given else None


def or_else(x, default):
    return default if x is None else x


# Each dtype, and each kernel of which some arguments are None, not all their combinations
@pytest.mark.parametrize(
    ("dtype", "given"),
    [
        (np.float32, "hwc"), (np.float64, "hwc"), (np.float32, "w"), (np.float64, "hw"),
        (np.float64, "hc"), (np.float32, "wc"),
    ],
)  # fmt: skip
def test_weighted_sums(dtype, given):
    x, h, w, c = weighted_case(dtype, given)
    every = or_else(w, 1) * or_else(h, 1)
    for first, last in ((0, 3), (1, 2)):
        bounds, blocks, _ = CONTIGUOUS.segments
        terms = every * (x - or_else(w, 1) * or_else(c, np.zeros((3, 4)))[:, CONTIGUOUS.labels])
        sums = np.full((3, 4), 9, np.float64)
        kernels.sum_weighted_segments(x, h, w, c, bounds, blocks, sums, first, last)
        close(sums[:, first:last], (terms @ indicator(CONTIGUOUS))[:, first:last])
        assert (np.delete(sums, np.s_[first:last], axis=1) == 9).all()
        labels = SHUFFLED.codes
        terms = every * (x - or_else(w, 1) * or_else(c, np.zeros((3, 4)))[:, labels])
        sums, sums_of_rows = (np.full(shape, 9, np.float64) for shape in ((3, 3, 4), (3, 4, 3)))
        kernels.sum_weighted_pieces(x, h, w, c, labels, BOUNDS, sums, first, last)
        rows, of_rows = x.T.copy(), None if c is None else c.T.copy()
        kernels.sum_weighted_rows(rows, h, w, of_rows, labels, BOUNDS, sums_of_rows, first, last)
        for p in range(first, last):
            piece = slice(BOUNDS[p], BOUNDS[p + 1])
            expected = terms[:, piece] @ np.eye(4)[labels[piece]]
            close(sums[p], expected)
            close(sums_of_rows[p], expected.T)
        for result in (sums, sums_of_rows):
            assert (np.delete(result, np.s_[first:last], axis=0) == 9).all()


@pytest.mark.parametrize("n_blocks", [3, 2000])
def test_weighted_sums_of_many_rows(n_blocks):
    """Several tiles, in four sets of sums for few blocks and in one for many."""
    p = Partition.from_labels(np.arange(40_000) * 7 % n_blocks)
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((p.n, 3)), rng.standard_normal(p.n)
    sums = np.empty((1, n_blocks, 3))
    bounds = np.array([0, p.n])
    kernels.sum_weighted_rows(x, None, w, None, p.codes, bounds, sums, 0, 1)
    np.testing.assert_allclose(sums[0], indicator(p).T @ (x.T * w).T, atol=1e-10)


@over_partitions
@pytest.mark.parametrize("columns", [(), (2,)])
def test_weighted_sums_of_small_differences(p, columns):
    """They are as accurate as the differences: the products with the centre are not summed."""
    rng, long = np.random.default_rng(0), Partition.from_labels(np.repeat(p.labels, 500))
    w, h = 2.0 ** rng.integers(-2, 3, (2, long.n))
    centre = np.full((4, *columns), 2.0**40)
    small = rng.standard_normal((long.n, *columns)).astype(np.float32)
    x = (w * (centre[long.labels] + small).T).T  # without rounding, for powers of two
    small = (x - (w * centre[long.labels].T).T).T
    expected = indicator(long).T @ (w * h * small).T
    sums = weighted_sums(long, x, w, h, centre)
    size = np.abs(w * h * small).sum()
    np.testing.assert_allclose(sums, expected, atol=64 * np.finfo(float).eps * size)


@pytest.mark.parametrize(
    ("dtype", "given"),
    [
        (np.float32, "hwc"),
        (np.float64, "hwc"),
        (np.float64, "hw"),
        (np.float32, "h"),
        (np.float64, "hc"),
    ],
)
def test_weighted_additions(dtype, given):
    x, h, w, c = weighted_case(dtype, given)
    terms = random_array(np.random.default_rng(1), (3, 4), dtype)
    for p in (CONTIGUOUS, SHUFFLED):
        added = or_else(w, 1) * terms[:, p.labels]
        expected = h * x + added
        if c is not None:
            expected = h * (x - or_else(w, 1) * c[:, p.labels] + added)
        codes = p.labels.view(np.uint32)
        rows = [x.T.copy(), h, w, None if c is None else c.T.copy(), terms.T.copy()]
        outs = [np.full_like(x, 9), np.full_like(rows[0], 9)]
        if p.is_contiguous:
            kernels.weighted_add_segments(x, h, w, c, terms, p.segments, outs[0], 1, 3)
            first, last = p.segments.bounds[[1, 3]]
        else:
            first, last = 5, 12
            kernels.weighted_add_pieces(x, h, w, c, terms, codes, outs[0], first, last)
        kernels.weighted_add_rows(*rows, codes, outs[1], first, last)
        for out in (outs[0], outs[1].T):
            close(out[:, first:last], expected[:, first:last])
            assert (np.delete(out, np.s_[first:last], axis=1) == 9).all()


@pytest.mark.parametrize(
    ("dtype", "make"),
    [*((dtype, np.ascontiguousarray) for dtype in DTYPES), (np.float32, read_only)],
)
def test_sums_of_segments(dtype, make):
    x = random_array(np.random.default_rng(0), (3, 12), dtype)
    expected = np.stack([x[:, 0:5].sum(1), x[:, 5:6].sum(1), x[:, 6:12].sum(1)], axis=1)
    blocks = np.arange(3)
    for first, last in ((0, 3), (1, 2)):
        sums = np.full((3, 3), 9, double(dtype))
        kernels.sum_segments(make(x), None, BOUNDS, blocks, sums, first, last)
        close(sums[:, first:last], expected[:, first:last])
        assert (np.delete(sums, np.s_[first:last], axis=1) == 9).all()
        sums = np.full((3, 3), 9, double(dtype))
        rows = make(x.T.ravel())
        kernels.sum_segments_of_rows(rows, 3, None, BOUNDS, blocks, sums, first, last)
        close(sums[first:last], expected.T[first:last])
        assert (np.delete(sums, np.s_[first:last], axis=0) == 9).all()


@over_dtypes
def test_sums_of_pieces(dtype):
    labels = SHUFFLED.codes
    x = random_array(np.random.default_rng(0), (3, 12), dtype)
    parts = np.full((3, 3, 4), 9, double(dtype))
    parts_of_rows = np.full((3, 4, 3), 9, double(dtype))
    kernels.sum_pieces(x, None, labels, BOUNDS, parts, 1, 3)
    kernels.sum_pieces_of_rows(np.ascontiguousarray(x.T), None, labels, BOUNDS, parts_of_rows, 1, 3)
    assert (parts[0] == 9).all()
    assert (parts_of_rows[0] == 9).all()
    for piece in (1, 2):
        span = slice(BOUNDS[piece], BOUNDS[piece + 1])
        expected = x[:, span] @ indicator(SHUFFLED)[span]
        close(parts[piece], expected)
        close(parts_of_rows[piece], expected.T)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@over_partitions
def test_single_precision_is_added_in_double(dtype, p):
    rng = np.random.default_rng(0)
    big = Partition.from_labels(np.repeat(p.labels, 2000))
    x, X = random_array(rng, big.n, dtype), random_array(rng, (p.n, 9, 7), dtype).reshape(-1, 7)
    expected = np.stack([x[block].astype(complex).sum() for block in big])
    np.testing.assert_allclose(block_sums(big, x), expected, rtol=1e-9)
    for rows in (X, np.asfortranarray(X)):
        tall = Partition.from_labels(np.repeat(p.labels, 9))
        expected = tall.indicator().T @ rows.astype(complex)
        np.testing.assert_allclose(block_sums(tall, rows), expected, rtol=1e-9)
    a = random_array(rng, (big.n // 100, big.n), dtype)
    labels = np.repeat(p.labels, 20)
    sums, _ = DenseMatrix(a).block_sums(Partition.from_labels(labels), big)
    exact = Partition.from_labels(labels).indicator().T @ a.astype(complex) @ big.indicator()
    np.testing.assert_allclose(sums, exact, rtol=1e-9)


@pytest.mark.parametrize("k", [1, 3, 5000])
@pytest.mark.parametrize("n", [1, 255, 257, 20_000, 200_001])
def test_long_sums(n, k):
    """Lengths around those at which sums are split, and more blocks than have lanes."""
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 9, (2, n)).astype(float)  # sums of integers are exact
    labels = rng.integers(0, k, n).astype(np.uint32)
    expected = np.stack([np.bincount(labels, row, minlength=k) for row in x])
    whole = np.array([0, n])
    parts, parts_of_rows = np.empty((1, 2, k)), np.empty((1, k, 2))
    kernels.sum_pieces(x, None, labels, whole, parts, 0, 1)
    np.testing.assert_array_equal(parts[0], expected)
    kernels.sum_pieces_of_rows(np.ascontiguousarray(x.T), None, labels, whole, parts_of_rows, 0, 1)
    np.testing.assert_array_equal(parts_of_rows[0], expected.T)
    sums, sums_of_rows = np.empty((2, 1)), np.empty((1, 2))
    block = np.zeros(1, dtype=np.intp)
    kernels.sum_segments(x, None, whole, block, sums, 0, 1)
    np.testing.assert_array_equal(sums[:, 0], x.sum(1))
    kernels.sum_segments_of_rows(x.T.ravel(), 2, None, whole, block, sums_of_rows, 0, 1)
    np.testing.assert_array_equal(sums_of_rows[0], x.sum(1))


@over_dtypes
@pytest.mark.parametrize("columns", [2, 7])
@over_partitions
def test_sums_of_deviations(dtype, columns, p, monkeypatch):
    in_small_parts(monkeypatch)
    rng = np.random.default_rng(0)
    x = random_array(rng, (p.n, columns), dtype)
    centre = random_array(rng, (p.n_blocks, columns), double(dtype))
    expected = p.indicator().T @ (x - centre[p.labels])
    for array in (x, np.asfortranarray(x), x[:, ::-1].copy()[:, ::-1]):
        close(block_sums(p, array, centre), expected)
    close(block_sums(p, x[:, 0].copy(), centre[:, 0].copy()), expected[:, 0])


@pytest.mark.parametrize("length", [1, 100, 5000, 40_000])
def test_deviations_are_taken_before_they_are_added(length):
    """Sums of numbers that differ in their last digits only, exact if taken in this order."""
    for p in (Partition.from_sizes([length, length]), Partition.from_labels([0, 1] * length)):
        centre = np.array([1e8, 3e8])
        x = centre[p.labels] + np.resize([2.0**-20, -(2.0**-21)], p.n)
        expected = p.indicator().T @ (x - centre[p.labels])
        np.testing.assert_array_equal(block_sums(p, x, centre), expected)
        for columns in (2, 6):
            X, C = np.stack([x] * columns, axis=1), np.stack([centre] * columns, axis=1)
            for array in (X, np.asfortranarray(X)):
                np.testing.assert_array_equal(block_sums(p, array, C)[:, -1], expected)
                result = multiply_add(p, array, np.ones(2), np.zeros((2, columns)), centre=C)
                np.testing.assert_array_equal(result[:, -1], x - centre[p.labels])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("total", [False, True])
@pytest.mark.parametrize("parts", [False, True])
@over_partitions
def test_squares_of_deviations(dtype, total, parts, p, monkeypatch):
    """Squares of integers and halves are exact."""
    if parts:
        in_small_parts(monkeypatch)
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 9, (3, p.n)).astype(dtype)
    centre = rng.integers(-9, 9, (3, p.n_blocks)) / 2
    squares = (x - centre[:, p.labels]) ** 2
    expected = squares.sum(1, keepdims=True) if total else squares @ p.indicator()
    found = block_squares(p, x, centre, total)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("parts", [False, True])
@over_partitions
def test_multiply_add_with_other_scales(parts, p, monkeypatch):
    if parts:
        in_small_parts(monkeypatch)
    rng = np.random.default_rng(0)
    x, shift = rng.standard_normal((3, p.n)), rng.standard_normal((3, p.n_blocks))
    scale = rng.standard_normal((3, p.n_blocks))
    own = scale[:, p.labels] * x + shift[:, p.labels]
    close(multiply_add(p, x.T, scale, shift.T).T, own)
    one = np.array(0.3)
    close(multiply_add(p, x.T, one, shift.T).T, one * x + shift[:, p.labels])


@over_dtypes
@pytest.mark.parametrize("centred", [False, True])
def test_multiply_add(dtype, centred):
    rng = np.random.default_rng(0)
    x, scale = random_array(rng, (3, 12), dtype), read_only(random_array(rng, 4, dtype))
    shift = random_array(rng, (3, 4), dtype)
    rows, shift_of_rows = np.ascontiguousarray(x.T), np.ascontiguousarray(shift.T)
    centre = random_array(rng, (3, 4), dtype) if centred else None
    centre_of_rows = np.ascontiguousarray(centre.T) if centred else None
    expected = {
        p: scale[p.labels] * (x - (centre[:, p.labels] if centred else 0)) + shift[:, p.labels]
        for p in (SHUFFLED, CONTIGUOUS)
    }

    cut = segments(CONTIGUOUS.sizes, 3)
    first, last = 1, len(cut.blocks) - 1
    inside = np.s_[:, cut.bounds[first] : cut.bounds[last]]
    out, out_of_rows = np.full(x.shape, 9, dtype), np.full(rows.shape, 9, dtype)
    kernels.multiply_add_segments(x, centre, scale, shift, cut, out, first, last)
    flat, flat_out = rows.reshape(-1), out_of_rows.reshape(-1)
    arguments = (flat, 3, centre_of_rows, scale, shift_of_rows, cut, flat_out, first, last)
    kernels.multiply_add_segments_of_rows(*arguments)
    for result in (out, out_of_rows.T):
        close(result[inside], expected[CONTIGUOUS][inside])
        assert (np.delete(result, np.r_[inside[1]], axis=1) == 9).all()

    labels, inside = SHUFFLED.codes, np.s_[:, 5:12]
    out, out_of_rows = np.full(x.shape, 9, dtype), np.full(rows.shape, 9, dtype)
    kernels.multiply_add_pieces(x, centre, scale, shift, labels, BOUNDS, out, 1, 3)
    arguments = (rows, centre_of_rows, scale, shift_of_rows, labels, BOUNDS, out_of_rows, 1, 3)
    kernels.multiply_add_pieces_of_rows(*arguments)
    for result in (out, out_of_rows.T):
        close(result[inside], expected[SHUFFLED][inside])
        assert (result[:, :5] == 9).all()


@over_dtypes
@over_partitions
@pytest.mark.parametrize("is_diagonal", [False, True])
def test_multiply(dtype, p, is_diagonal):
    rng = np.random.default_rng(0)
    x, scale = random_array(rng, p.n, dtype), read_only(random_array(rng, 4, dtype))
    values = random_array(rng, 4 if is_diagonal else (4, 4), double(dtype))
    out = np.empty(p.n, dtype)
    if p.is_contiguous:
        kernels.multiply_contiguous(x, scale, values, p.offsets, out)
    else:
        kernels.multiply_labelled(x, scale, values, p.codes, out)
    square = np.diag(values) if is_diagonal else values
    close(out, scale[p.labels] * x + (square @ (indicator(p).T @ x))[p.labels])


@over_dtypes
@over_aligned
@over_partitions
def test_dense_sums(dtype, aligned, p):
    """Segments 1 to the last but one."""
    pairing = p.pairing(aligned)
    a = random_array(np.random.default_rng(0), (p.n, p.n), dtype)
    cut = rows_from_three(p)
    bounds, blocks = cut.bounds, cut.blocks
    first, last = 1, len(blocks) - 1
    sums = np.full((len(blocks), 4), 9, double(dtype))
    traces = np.full((len(blocks), np.diff(pairing.first_mate).max()), 9, double(dtype))
    source_kernels.sum_dense(
        np.ascontiguousarray(a[3:]), cut, p.places, pairing, sums, traces, first, last
    )
    paired = (a * paired_mask(p, aligned)) @ indicator(p)
    for s in range(first, last):
        rows = 3 + cut.rows[bounds[s] : bounds[s + 1]]
        close(sums[s], a[rows].sum(0) @ indicator(p))
        mates = pairing.mates[pairing.first_mate[blocks[s]] : pairing.first_mate[blocks[s] + 1]]
        close(traces[s, : len(mates)], paired[rows].sum(0)[mates])
        assert (traces[s, len(mates) :] == 0).all()
    assert (sums[[0, -1]] == 9).all()


@over_dtypes
@over_aligned
def test_sparse_sums(dtype, aligned):
    p = SHUFFLED
    rng = np.random.default_rng(0)
    pairing = p.pairing(aligned)
    rows, cols = rng.integers(0, p.n, (2, 200))  # with duplicates
    data = random_array(rng, 200, dtype)
    a = np.zeros((p.n, p.n), double(dtype))
    np.add.at(a, (rows, cols), data)
    E = indicator(p)
    for index in (np.int32, np.int64):
        sums = np.zeros((4, 4), double(dtype))
        traces = np.zeros(len(pairing.mates), double(dtype))
        entries = Entries(rows.astype(index), cols.astype(index), data)
        source_kernels.add_sparse(entries, p.labels, p.labels, p.positions, pairing, sums, traces)
        close(sums, E.T @ a @ E)
        close(square(traces, pairing), E.T @ (a * paired_mask(p, aligned)) @ E)


@over_dtypes
@over_partitions
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("w", [np.empty(0), np.arange(7.0)], ids=["plain", "weighted"])
def test_samples(dtype, p, centre, w):
    x = random_array(np.random.default_rng(0), (7, p.n), dtype) + dtype(3)
    mean, squares = np.full(p.n, 9, double(dtype)), np.full(p.n, 9.0)
    parts = np.full((3, 7, 4), 9, double(dtype))
    results = (mean, parts, squares)
    source_kernels.sum_samples(x, w, centre, p.offsets, p.codes, BOUNDS, results, 1, 3)
    weights = w if len(w) else np.ones(7)
    expected = np.average(x, axis=0, weights=weights)
    assert (mean[:5] == 9).all()
    assert (squares[:5] == 9).all()
    assert (parts[0] == 9).all()
    close(mean[5:], expected[5:] if centre else 0)
    deviations = x - (expected if centre else 0)
    close(squares[5:], (weights @ np.abs(deviations) ** 2)[5:])
    close(parts[1], deviations[:, 5:6] @ indicator(p)[5:6])
    close(parts[2], deviations[:, 6:] @ indicator(p)[6:])


@over_dtypes
@over_partitions
def test_samples_with_gaps(dtype, p):
    rng = np.random.default_rng(0)
    x = random_array(rng, (7, p.n), dtype) + dtype(3)
    gaps = rng.random(x.shape) < 0.3
    x[gaps] = np.nan
    w, filled, seen = np.arange(7.0), np.where(gaps, 0, x), ~gaps
    E = indicator(p)

    totals, counts, n_gaps = np.full(p.n, 9, double(dtype)), np.full(p.n, 9.0), np.full(p.n, 9)
    sizes = np.full(p.n, 4.5)
    source_kernels.sum_observed_columns(x, w, BOUNDS, (totals, counts, n_gaps, sizes), 1, 3)
    parts = np.maximum(np.abs(filled.real), np.abs(filled.imag)).max(axis=0)
    np.testing.assert_array_equal(sizes[:5], 4.5)
    np.testing.assert_array_equal(sizes[5:], np.maximum(parts[5:], 4.5))
    for result, expected in ((totals, w @ filled), (counts, w @ seen), (n_gaps, gaps.sum(0))):
        assert (result[:5] == 9).all()
        close(result[5:], 9 + expected[5:])

    location = random_array(rng, p.n, double(dtype))
    deviations = np.where(gaps, 0, x - location)
    sums, missing = np.full((3, 7, 4), 9, double(dtype)), np.full((3, 7, 4), 9.0)
    squares = np.full(p.n, 9.0)
    results = (sums, missing, squares)
    source_kernels.sum_observed(x, w, location, p.offsets, p.codes, BOUNDS, results, 1, 3)
    assert (sums[0] == 9).all()
    assert (missing[0] == 9).all()
    for i, piece in ((1, slice(5, 6)), (2, slice(6, None))):
        close(sums[i], deviations[:, piece] @ E[piece])
        close(missing[i], gaps[:, piece] @ E[piece])
    close(squares[5:], 9 + (w @ np.abs(deviations) ** 2)[5:])
    assert (squares[:5] == 9).all()

    fills = random_array(rng, (7, 4), double(dtype))
    labels, totals = p.labels.view(np.uint32), np.full(p.n, 9, double(dtype))
    source_kernels.sum_filled_columns(x, w, location, fills, labels, BOUNDS, totals, 1, 3)
    assert (totals[:5] == 9).all()
    close(totals[5:], 9 + (w @ np.where(gaps, fills[:, p.labels], x - location))[5:])


def test_samples_in_many_strips():
    """More columns than one strip holds, with blocks shorter and longer than a strip."""
    rng = np.random.default_rng(0)
    p = Partition.from_sizes([1, 10_000, 3, 2, 5000])
    x = rng.standard_normal((3, p.n))
    for q in (p, Partition.from_labels(rng.permutation(p.labels))):
        mean, squares, parts = np.empty(p.n), np.empty(p.n), np.empty((1, 3, 5))
        whole = np.array([0, p.n])
        results = (mean, parts, squares)
        source_kernels.sum_samples(x, np.empty(0), True, q.offsets, q.codes, whole, results, 0, 1)
        deviations = x - x.mean(0)
        np.testing.assert_allclose(parts[0], deviations @ q.indicator(), atol=1e-10)
        np.testing.assert_allclose(squares, (deviations**2).sum(0))


@over_dtypes
@over_aligned
@over_partitions
def test_residuals(dtype, aligned, p):
    rng = np.random.default_rng(0)
    pairing = p.pairing(aligned)
    E = indicator(p)
    values = random_array(rng, (4, 4), double(dtype))
    extra = random_array(rng, len(pairing.mates), double(dtype))
    fit = E @ values @ E.T + paired_mask(p, aligned) * (E @ square(extra, pairing) @ E.T)
    a = random_array(rng, (p.n, p.n), dtype)
    cut = rows_from_three(p)
    norms = np.full((len(cut.blocks), 2), 9.0)
    source_kernels.sum_dense_residual(
        np.ascontiguousarray(a[3:]), cut, p.places, pairing, (values, extra), norms, 1, len(norms)
    )
    assert (norms[0] == 9).all()
    for s in range(1, len(norms)):
        rows = 3 + cut.rows[cut.bounds[s] : cut.bounds[s + 1]]
        close(norms[s, 0], np.linalg.norm((a - fit)[rows]) ** 2)
        close(norms[s, 1], np.linalg.norm(a[rows]) ** 2)
    kept = rng.random((p.n, p.n)) < 0.3
    rows, cols = np.nonzero(kept)
    norms, counts = np.zeros(2), np.zeros((4, 4), dtype=np.intp)
    paired_counts = np.zeros(len(pairing.mates), dtype=np.intp)
    entries = Entries(rows, cols, a[kept])
    source_kernels.add_sparse_residual(
        entries, p.labels, p.positions, pairing, (values, extra), norms, counts, paired_counts
    )
    close(norms, np.square([np.linalg.norm((a - fit)[kept]), np.linalg.norm(a[kept])]))
    mask = paired_mask(p, aligned)
    np.testing.assert_array_equal(counts, E.T @ (kept & ~mask) @ E)
    np.testing.assert_array_equal(square(paired_counts, pairing), E.T @ (kept & mask) @ E)


class Recorder:
    """The kernels, which note the dtype of their first argument."""

    def __init__(self):
        self.dtypes = set()

    def __getattr__(self, name):
        def kernel(x, *others):
            self.dtypes.add(x.dtype)
            return getattr(kernels, name)(x, *others)

        return kernel


@over_partitions
@pytest.mark.parametrize("columns", [(), (3,)])
@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda p, rng: BlockConstantMatrix(p, rng.standard_normal((4, 4)), rng.random(4)),
        lambda p, rng: BlockFactorMatrix(p, np.eye(4), *rng.random((2, p.n))),
    ],
    ids=["plain", "factor"],
)
def test_only_small_arrays_are_converted_before_a_product(p, columns, small, make, monkeypatch):
    """Small ones need no kernel for each combination of dtypes; the products are the same."""
    rng = np.random.default_rng(0)
    A = make(p, rng)
    x = rng.standard_normal((p.n, *columns)).astype(np.float32)
    expected, recorder = A @ x.astype(float), Recorder()
    monkeypatch.setattr(passes, "_kernels", lambda: recorder)
    if not small:
        monkeypatch.setattr(passes, "_CONVERTED_UP_TO", 0)
    np.testing.assert_array_equal(A @ x, expected)
    weighted_sums(p, x, *rng.random((2, p.n)))
    assert recorder.dtypes == {np.dtype(float if small else np.float32)}


def test_kernels_keep_nan_in_its_block():
    for p in (SHUFFLED, CONTIGUOUS):
        x = np.ones(p.n)
        x[p.labels == 2] = np.nan
        np.testing.assert_array_equal(np.isnan(p.block_sums(x)), np.arange(4) == 2)


def test_kernels_release_the_gil_and_are_cached():
    compiled = {
        name: k
        for module in (kernels, source_kernels)
        for name, k in vars(module).items()
        if hasattr(k, "py_func")
    }
    assert len(compiled) > 10
    for name, kernel in compiled.items():
        assert kernel.targetoptions["nogil"], name
        parameters = inspect.signature(kernel.py_func).parameters
        in_order = "centre" in parameters and name != "sum_samples"
        allowed = {"nsz", "contract"} if in_order else {"reassoc", "nsz", "contract"}
        assert kernel.targetoptions["fastmath"] <= allowed, name
        assert "parallel" not in kernel.targetoptions, name
        assert type(kernel._cache) is jit._Cache, name
        assert len(parameters) <= 9, name


def test_the_cache_knows_named_tuples_by_their_fields():
    """A cached kernel must not read the fields of another version in their old order."""
    kernel = source_kernels.add_sparse_residual
    keys = set()
    for fields in ("values extra", "extra values"):
        pair = namedtuple("Pair", fields)(np.ones(1), np.ones(1))
        key = kernel._cache._index_key((typeof(pair),), kernel.targetctx.codegen())
        assert pickle.loads(pickle.dumps(key)) == key  # without the class
        keys.add(key)
    assert len(keys) == 2
