"""The formulas of the canonical pair, against dense matrices, for three array libraries."""

import array_api_compat
import array_api_strict
import numpy as np
import pytest
import torch

from blockmat.cores import pair

RNG = np.random.default_rng(7)

LIBRARIES = {"numpy": np, "torch": torch, "strict": array_api_strict}
SIZES = {"mixed": [3, 1, 2, 3], "alike": [3, 3, 3], "number": 3, "number one": 1}
BATCHES = {"no batch": (), "batch": (2,), "two batch axes": (2, 3)}

over_libraries = pytest.mark.parametrize("library", LIBRARIES)
over_sizes = pytest.mark.parametrize("kind", SIZES)
over_batches = pytest.mark.parametrize("batch", BATCHES.values(), ids=list(BATCHES))
over_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
over_real_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
over_alignments = pytest.mark.parametrize("aligned", [False, True], ids=["diagonal", "aligned"])


class Setting:
    """Arrays of one library and dtype, on blocks of some sizes, and their dense counterparts."""

    def __init__(self, library, dtype, kind, batch):
        self.name, self.library, self.batch = library, LIBRARIES[library], batch
        self.dtype, self.real = np.dtype(dtype), np.zeros(0, dtype).real.dtype
        given = SIZES[kind]
        counts = np.array([given] * 4 if isinstance(given, int) else given)
        self.sizes = given if isinstance(given, int) else self.array(counts.astype(self.real))
        self.set_geometry(counts)

    def set_geometry(self, counts):
        self.counts, self.k, self.n = counts, len(counts), int(counts.sum())
        self.labels = np.repeat(np.arange(self.k), self.counts)
        self.positions = np.concatenate([np.arange(size) for size in self.counts])
        self.indicator = np.eye(self.k)[self.labels]
        self.U = self.indicator / np.sqrt(self.counts)
        self.paired = self.positions[:, None] == self.positions
        self.square = np.equal.outer(self.counts, self.counts) & (self.counts > 1)

    def array(self, x):
        """Return it in the library."""
        return self.library.asarray(np.array(x, order="C"))

    def random(self, *shape):
        """Return random numbers in the dtype, as NumPy has them."""
        x = RNG.standard_normal((*self.batch, *shape))
        if self.dtype.kind == "c":
            x = x + 1j * RNG.standard_normal(x.shape)
        return x.astype(self.dtype)

    def within(self, aligned):
        if aligned:
            return np.where(self.square, self.random(self.k, self.k), 0)
        return np.where(self.counts > 1, self.random(self.k), 0).astype(self.dtype)

    def pair(self, aligned):
        return self.random(self.k, self.k), self.within(aligned)

    def arrays(self, numbers):
        return tuple(self.array(x) for x in numbers)

    def dense(self, between, within):
        """Return U M U^H + sum D_ab (S_ab - u_a u_b^H) in double precision, (..., n, n)."""
        M, D = np.asarray(between), np.asarray(within)
        if D.ndim < M.ndim:
            D = np.eye(self.k) * D[..., None, :]
        U, Z = self.U, self.indicator
        return U @ M @ U.T + Z @ D @ Z.T * self.paired - U @ D @ U.T

    def block_sums(self, x, axes=1):
        """Return the sums over blocks of the last axis, or of the last two."""
        Z = self.indicator
        return x @ Z if axes == 1 else Z.T @ x @ Z

    def averaged(self, S, aligned):
        """Return the dense projection of S: the mean of the entries that share a number."""
        S = S.astype(np.result_type(S, np.float64))
        result = np.empty_like(S)
        for a in range(self.k):
            for b in range(self.k):
                square = self.counts[a] == self.counts[b]
                paired = self.paired & (square if aligned else a == b)
                block = np.ix_(self.labels == a, self.labels == b)
                entries = S[..., *block]
                for mask in (paired[block], ~paired[block]):
                    if mask.any():
                        entries[..., mask] = entries[..., mask].mean(-1)[..., None]
                result[..., *block] = entries
        return result

    def check_kind(self, *found, is_real=False):
        """Assert that arrays are of the library and the dtype."""
        for x in found:
            namespace = array_api_compat.array_namespace(x)
            assert namespace is array_api_compat.array_namespace(self.array(0.0))
            assert np.asarray(x).dtype == (self.real if is_real else self.dtype)

    def check(self, found, expected, scale=1.0, is_real=False):
        """Assert library, dtype and numbers.

        64 roundings are allowed for, more than any formula here has, of the largest expected
        number, or of `scale`, where larger numbers cancel.
        """
        self.check_kind(found, is_real=is_real)
        self.check_numbers(np.asarray(found), expected, scale)

    def check_numbers(self, found, expected, scale=1.0):
        assert found.shape == np.shape(expected)
        largest = max(scale, np.abs(expected).max())
        bound = 64 * np.finfo(self.dtype).eps * largest
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


@pytest.fixture
def setting(library, dtype, kind, batch):
    return Setting(library, dtype, kind, batch)


# Each dtype and each number of axes, not all their combinations
over_arrays = pytest.mark.parametrize(
    ("dtype", "batch"),
    [("float32", ()), ("float64", (2,)), ("complex64", (2, 3)), ("complex128", ())],
)


def everywhere(test):
    for mark in (over_libraries, over_arrays, over_sizes):
        test = mark(test)
    return test


@over_libraries
@over_real_dtypes
@over_sizes
@pytest.mark.parametrize("batch", [()])
def test_roots_are_those_of_sizes_and_their_products(setting):
    root = np.sqrt(setting.counts.astype(float))
    if isinstance(setting.sizes, int):
        assert pair.root(setting.sizes) == root[0]
        assert pair.outer_root(setting.sizes) == setting.sizes
        return
    setting.check(pair.root(setting.sizes), root)
    setting.check(pair.outer_root(setting.sizes), np.outer(root, root))
    columns = setting.array(np.array([4.0, 9.0], dtype=setting.real))
    setting.check(pair.outer_root(setting.sizes, columns), np.outer(root, [2, 3]))


@everywhere
def test_coordinates_are_the_products_with_unit_vectors_of_blocks(setting):
    x = setting.random(setting.n)
    sums = setting.array(setting.block_sums(x).astype(setting.dtype))
    setting.check(pair.coordinates(sums, setting.sizes), x @ setting.U)


@everywhere
@over_alignments
def test_values_are_the_entries_of_the_dense_matrix(setting, aligned):
    pair_of_arrays = setting.arrays(M_and_D := setting.pair(aligned))
    values = pair.values(*pair_of_arrays, setting.sizes)
    diagonal = pair.diagonal_values(*pair_of_arrays, setting.sizes)
    setting.check_kind(values, diagonal)
    labels, counts = setting.labels, setting.counts[setting.labels]
    entries, second = np.asarray(values)[..., labels[:, None], labels], np.asarray(diagonal)
    if aligned:
        second = second[..., labels[:, None], labels]
        has_second = setting.paired & np.equal.outer(counts, counts)
    else:
        second = second[..., labels, None]
        has_second = np.eye(setting.n, dtype=bool)
    setting.check_numbers(np.where(has_second, second, entries), setting.dense(*M_and_D))


@everywhere
@over_alignments
def test_values_and_the_pair_are_inverse_to_each_other(setting, aligned):
    M, D = setting.arrays(setting.pair(aligned))
    values = pair.values(M, D, setting.sizes)
    diagonal = pair.diagonal_values(M, D, setting.sizes)
    again = pair.pair_of_values(values, diagonal, setting.sizes)
    setting.check(again[0], np.asarray(M))
    setting.check(again[1], np.asarray(D))
    setting.check(pair.between_of_values(values, D, setting.sizes), np.asarray(M))


@everywhere
@over_alignments
def test_a_part_has_the_entries_of_its_rows_and_columns(setting, aligned):
    between, within = setting.pair(aligned)
    whole = setting.dense(between, within)
    kept = (setting.counts + 1) // 2
    chosen = setting.positions < kept[setting.labels]
    shares = setting.array((kept / setting.counts).astype(setting.real))
    if isinstance(setting.sizes, int):
        shares = float(shares[0])
    arrays = setting.arrays((between, within))
    found = pair.between_of_square_part(*arrays, arrays[1], shares)
    setting.check_kind(found)
    setting.set_geometry(kept)
    dense = setting.dense(np.asarray(found), within)
    setting.check_numbers(dense, whole[..., chosen, :][..., chosen])
    if isinstance(shares, float):
        return
    rows, columns = shares, setting.array(np.array([0.25, 1.0], dtype=setting.real))
    numbers = setting.random(setting.k, 2)
    expected = numbers * np.sqrt(np.outer(np.asarray(rows), [0.25, 1]))
    setting.check(pair.between_of_part(setting.array(numbers), rows, columns), expected)


@everywhere
@over_alignments
def test_sums_and_traces_give_the_projection(setting, aligned):
    S = setting.random(setting.n, setting.n)
    sums = setting.block_sums(S, 2)
    traces = setting.block_sums(S * setting.paired, 2)
    if not aligned:
        traces = setting.block_sums(np.diagonal(S, axis1=-2, axis2=-1))
    sums, traces = (setting.array(x.astype(setting.dtype)) for x in (sums, traces))
    M = pair.between_of_sums(sums, setting.sizes)
    D = pair.within_of_traces(traces, M, setting.sizes)
    setting.check_kind(M, D)
    setting.check_numbers(setting.dense(M, D), setting.averaged(S, aligned), scale=np.abs(S).max())


@over_libraries
@over_real_dtypes
@over_batches
@pytest.mark.parametrize("kind", ["mixed"])
def test_sums_of_a_rectangular_matrix_give_its_core(setting):
    B = setting.random(setting.n, 5)
    columns = np.array([2, 3])
    Z = np.repeat(np.eye(2), columns, axis=0)
    sums = (setting.indicator.T @ B @ Z).astype(setting.dtype)
    width = setting.array(columns.astype(setting.real))
    M = pair.between_of_sums(setting.array(sums), setting.sizes, width)
    setting.check(M, setting.U.T @ B @ (Z / np.sqrt(columns)))


@everywhere
@over_alignments
def test_a_difference_within_the_given_rounding_counts_as_zero(setting, aligned):
    M = setting.random(setting.k, setting.k) + 8 * np.eye(setting.k, dtype=setting.dtype)
    taken = M if aligned else np.diagonal(M, axis1=-2, axis2=-1)
    tiny = np.asarray(1 + 2.0**-18, dtype=setting.real)
    traces = (taken * tiny).astype(setting.dtype)
    arrays = setting.array(traces), setting.array(M)
    zero = pair.within_of_traces(*arrays, setting.sizes, rounding=2.0**-18)
    setting.check(zero, np.zeros(traces.shape))
    each = setting.array(np.full(setting.k, 2.0**-18, dtype=setting.real))
    setting.check(pair.within_of_traces(*arrays, setting.sizes, each), np.zeros(traces.shape))
    kept = pair.within_of_traces(*arrays, setting.sizes, rounding=2.0**-20)
    expected = np.where(setting.square if aligned else setting.counts > 1, traces - taken, 0)
    divisor = np.maximum(setting.counts - 1, 1)
    expected = expected / (divisor[:, None] if aligned else divisor)
    np.testing.assert_array_equal(np.asarray(kept) != 0, expected != 0)
    setting.check(kept, expected)


@everywhere
@over_alignments
def test_blocks_of_one_member_and_of_unequal_sizes_have_no_within(setting, aligned):
    rest = setting.random(setting.k, setting.k) if aligned else setting.random(setting.k)
    exists = setting.square if aligned else setting.counts > 1
    rest[..., ~exists] = np.inf  # which is not even looked at
    found = pair.within_of_rest(setting.array(rest), setting.sizes, aligned)
    divisor = np.maximum(setting.counts - 1, 1)
    rest = np.where(exists, rest, 0)
    setting.check(found, rest / (divisor[:, None] if aligned else divisor))


@everywhere
@over_alignments
def test_a_product_is_within_times_x_and_the_lift_of_block_sums(setting, aligned):
    M, D = setting.pair(aligned)
    x = setting.random(setting.n)
    sums = setting.array(setting.block_sums(x).astype(setting.dtype))
    means = pair.coordinates(sums, setting.sizes)
    image = setting.array((M @ np.asarray(means)[..., None])[..., 0])
    lift = pair.lift(image, setting.array(D), means, setting.sizes)
    setting.check_kind(lift)
    if aligned:
        within = setting.indicator @ D @ setting.indicator.T * setting.paired
        deviations = (within @ x[..., None])[..., 0]
    else:
        deviations = D[..., setting.labels] * x
    product = (setting.dense(M, D) @ x[..., None])[..., 0]
    scale = setting.n * np.abs(M).max() * np.abs(x).max()
    setting.check_numbers(deviations + np.asarray(lift)[..., setting.labels], product, scale)
    values = np.asarray(pair.values(*setting.arrays((M, D)), setting.sizes))
    setting.check(lift, (values @ np.asarray(sums)[..., None])[..., 0], scale)


@everywhere
@over_alignments
@pytest.mark.parametrize("other_aligned", [False, True], ids=["times diagonal", "times aligned"])
def test_sums_and_products_are_those_of_dense_matrices(setting, aligned, other_aligned):
    A, B = setting.pair(aligned), setting.pair(other_aligned)
    arrays = setting.arrays(A), setting.arrays(B)
    dense = setting.dense(*A), setting.dense(*B)
    scale = setting.n * max(np.abs(x).max() for x in dense) ** 2
    for found, expected in (
        (pair.multiply(*arrays), dense[0] @ dense[1]),
        (pair.add(*arrays), dense[0] + dense[1]),
    ):
        setting.check_kind(*found)
        assert pair.is_aligned(*found) == (aligned or other_aligned)
        setting.check_numbers(setting.dense(*found), expected, scale)


@everywhere
@over_alignments
def test_trace_and_norm_are_those_of_the_dense_matrix(setting, aligned):
    M, D = setting.pair(aligned)
    dense = setting.dense(M, D)
    arrays = setting.arrays((M, D))
    expected = np.trace(dense, axis1=-2, axis2=-1)
    setting.check(pair.trace(*arrays, setting.sizes), expected, scale=setting.n * np.abs(M).max())
    squares = (np.abs(dense) ** 2).sum((-2, -1))
    setting.check(pair.squared_norm(*arrays, setting.sizes), squares, is_real=True)


@over_libraries
@over_dtypes
@over_batches
@pytest.mark.parametrize("kind", ["mixed"])
@pytest.mark.parametrize("rank", [2, 4])
def test_composing_is_multiplying_with_a_diagonal_matrix(setting, rank):
    V, w = setting.random(4, rank), setting.random(rank).real.copy()
    expected = V @ (np.eye(rank) * w[..., None, :]) @ V.conj().swapaxes(-1, -2)
    setting.check(pair.compose(setting.array(w), setting.array(V)), expected)


@over_libraries
@over_real_dtypes
@over_batches
@pytest.mark.parametrize("kind", ["mixed"])
def test_the_damped_inverse_root_is_that_of_the_damped_dense_core(setting):
    x = setting.random(setting.k, setting.k)
    M = (x @ x.swapaxes(-1, -2)).astype(np.float64)
    w, V = np.linalg.eigh(M)
    root = pair.damped_inverse_root(setting.array(w.astype(setting.dtype)), 0.125)
    setting.check_kind(root)
    V = V.astype(setting.dtype)
    R = np.asarray(pair.compose(root, setting.array(V))).astype(np.float64)
    shift = 0.125 * w[..., -1, None, None] * np.eye(setting.k)
    found = R @ (M + shift) @ R
    # Rounding of M + shift is multiplied by the squares of R, whose condition is 1 / 0.125.
    expected = np.broadcast_to(np.eye(setting.k), found.shape)
    setting.check_numbers(found, expected, scale=setting.k / 0.125)


@over_libraries
@over_real_dtypes
@pytest.mark.parametrize("kind", ["mixed"])
@pytest.mark.parametrize("batch", [()])
def test_each_core_of_a_batch_has_its_own_damping_and_one_of_zeros_the_root_zero(setting):
    w = np.array([[4, 1, -1e-9, 0], [0, 0, 0, 0], [-1, -2, 0, 0]], dtype=setting.dtype)
    root = np.asarray(pair.damped_inverse_root(setting.array(w), 0.25))
    expected = [5**-0.5, 2**-0.5, 1, 1]
    np.testing.assert_allclose(root[0], expected, rtol=4 * np.finfo(setting.dtype).eps)
    assert (root[1:] == 0).all()
    smallest = np.array([np.finfo(setting.dtype).smallest_normal, 0], dtype=setting.dtype)
    root = np.asarray(pair.damped_inverse_root(setting.array(smallest), 2.0**-60))
    assert np.isfinite(root).all()  # though the damping underflows
    assert root[0] > 0


@over_libraries
@over_real_dtypes
@over_batches
@pytest.mark.parametrize("kind", ["mixed"])
def test_the_share_of_a_signal_is_zero_without_one(setting):
    largest, energy = np.abs(setting.random(1)) + 1, np.abs(setting.random(1))
    largest, energy = (np.asarray(x, dtype=setting.dtype) for x in (largest, energy))
    share = pair.signal_share(setting.array(largest), setting.array(energy), 0.5)
    setting.check(share, largest / (largest + 0.5 * energy))
    zero = setting.array(np.zeros_like(largest))
    for nothing in (zero, setting.array(-largest)):
        setting.check(pair.signal_share(nothing, setting.array(energy), 0.5), 0 * largest)
        setting.check(pair.signal_share(nothing, zero, 0.5), 0 * largest)


@everywhere
def test_numbers_within_occur_one_time_less_than_blocks_have_members(setting):
    x = setting.random(setting.k)
    found = pair.multiplicity_sum(setting.array(x), setting.sizes)
    setting.check(found, (x * (setting.counts - 1)).sum(-1), scale=setting.n)


@everywhere
@over_alignments
def test_sums_of_magnitudes_are_those_of_one_row_of_each_block(setting, aligned):
    M, D = setting.pair(aligned)
    found = pair.absolute_row_sums(*setting.arrays((M, D)), setting.sizes)
    first = np.cumsum(setting.counts) - setting.counts
    expected = np.abs(setting.dense(M, D)).sum(-1)[..., first]
    setting.check(found, expected, scale=setting.n * np.abs(M).max(), is_real=True)


@over_libraries
@over_dtypes
@over_batches
@pytest.mark.parametrize("kind", ["mixed"])
def test_independent_blocks_are_a_batch_of_matrices_with_one_block(setting):
    m, d = setting.random(setting.k), setting.within(False)
    dense = setting.dense(np.eye(setting.k) * m[..., None, :], d)
    pairs = pair.one_for_each_block(*setting.arrays((m, d)))
    sizes = setting.sizes[:, None]
    scale = setting.n * np.abs(m).max()
    assert not pair.is_aligned(*pairs)
    total = np.asarray(pair.trace(*pairs, sizes)).sum(-1)
    setting.check_numbers(total, np.trace(dense, axis1=-2, axis2=-1), scale)
    squares = np.asarray(pair.squared_norm(*pairs, sizes)).sum(-1)
    setting.check_numbers(squares, (np.abs(dense) ** 2).sum((-1, -2)))
    sums = np.asarray(pair.absolute_row_sums(*pairs, sizes))[..., 0]
    first = np.cumsum(setting.counts) - setting.counts
    setting.check_numbers(sums, np.abs(dense).sum(-1)[..., first], scale)
    back = pair.of_each_block(pair.multiply(pairs, pairs))
    setting.check_kind(*back)
    square = setting.dense(np.eye(setting.k) * np.asarray(back[0])[..., None, :], back[1])
    setting.check_numbers(square, dense @ dense)


@over_libraries
@over_dtypes
@over_batches
@pytest.mark.parametrize("kind", ["mixed"])
def test_a_diagonal_core_is_added_to_a_square_one(setting):
    M, own = setting.random(setting.k, setting.k), setting.random(setting.k)
    arrays = setting.arrays((M, own))
    expected = M + np.eye(setting.k) * own[..., None, :]
    for found in (pair.sum_of_cores(*arrays), pair.sum_of_cores(*arrays[::-1])):
        setting.check(found, expected)
    setting.check(pair.sum_of_cores(arrays[1], arrays[1]), 2 * own)
    np.testing.assert_array_equal(np.asarray(arrays[0]), M)


@everywhere
@over_alignments
def test_a_within_part_is_seen_as_a_square_matrix(setting, aligned):
    M, D = setting.pair(aligned)
    square = pair.as_square(*setting.arrays((M, D)))
    expected = D if aligned else np.where(np.eye(setting.k, dtype=bool), D[..., None, :], 0)
    assert pair.is_aligned(*setting.arrays((M, D))) is aligned
    setting.check(square, expected)
    expected = np.diagonal(M, axis1=-2, axis2=-1)
    setting.check(pair.diagonal(setting.array(M)), expected)


@over_libraries
@over_real_dtypes
@pytest.mark.parametrize("kind", ["mixed"])
@pytest.mark.parametrize("batch", [()])
def test_an_infinite_number_stays_in_its_place(setting):
    d = np.array([1, np.inf, np.nan, 2], dtype=setting.dtype)
    square = pair.as_square(setting.array(np.zeros((4, 4), setting.dtype)), setting.array(d))
    np.testing.assert_array_equal(np.asarray(square), np.diag(d))
