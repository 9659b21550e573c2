"""Every source gives the same fit."""

import sys

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import blockmat as bm
from blockmat.exceptions import DtypeError, NonFiniteError
from blockmat.testing import assert_matches_dense, block_matrices, partitions, project_dense
from tests.cases import DTYPES, in_small_parts, random_array

P = bm.Partition.from_labels([2, 0, 1, 2, 0, 2, 1, 1, 2, 0, 0, 3])
KINDS = [{"numbers": 1}, {"numbers": 2}, {"aligned": True}]
over_kinds = pytest.mark.parametrize("kind", KINDS, ids=["one", "two", "aligned"])


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@over_kinds
@pytest.mark.parametrize("dtype", [*DTYPES, np.int8, np.uint64, np.bool_, np.float16, ">f8"])
def test_arrays_of_any_dtype_and_layout(rng, kind, dtype):
    S = (
        random_array(rng, (12, 12), np.complex128 if np.dtype(dtype).kind == "c" else float) * 3
    ).astype(dtype)
    read_only = S.copy()
    read_only.flags.writeable = False
    expected = project_dense(S.astype(np.result_type(S.dtype, np.float64)), P, **kind)
    kept = {np.dtype(np.float16): np.dtype(np.float32)}.get(S.dtype, S.dtype.newbyteorder("="))
    kept = kept if kept.kind in "fc" else np.dtype(np.float64)
    spread = np.repeat(np.repeat(S, 2, axis=0), 3, axis=1)
    for source in (S, np.asfortranarray(S), spread[::2, ::3], read_only, S[::-1][::-1]):
        A = bm.fit(source, P, **kind)
        assert A.dtype == kept
        assert type(A) is bm.BlockConstantMatrix
        assert_matches_dense(A, expected)
        assert A.is_aligned == ("aligned" in kind)


@over_kinds
@pytest.mark.parametrize("format", ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"])
@pytest.mark.parametrize(
    ("container", "dtype"),
    [("array", np.float32), ("matrix", np.complex128), ("array", np.int32)],
)
def test_every_sparse_format(kind, format, container, dtype):
    S = sp.random(12, 12, 0.3, format="coo", rng=5) * 9
    S = sp.coo_array(S).astype(dtype)
    S = sp.coo_array((np.r_[S.data, S.data], (np.r_[S.row, S.row], np.r_[S.col, S.col])), S.shape)
    source = getattr(sp, f"{format}_{container}")(S)
    before = source.copy()
    A = bm.fit(source, P, **kind)
    assert A.dtype == (np.float64 if dtype == np.int32 else dtype)
    dense = S.toarray()
    assert_matches_dense(A, project_dense(dense, P, **kind))
    error = bm.approximation_error(source, A)
    exact = np.linalg.norm(dense - A.toarray()) / np.linalg.norm(dense)
    np.testing.assert_allclose(error, exact, rtol=1e-5)
    assert (before != source).nnz == 0
    assert source.nnz == before.nnz


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_other_containers(rng):
    S = rng.standard_normal((3, 3))
    expected = project_dense(S, [0, 1, 0])
    for source in (S.tolist(), pd.DataFrame(S), np.asmatrix(S), np.ma.masked_array(S).filled()):
        assert_matches_dense(bm.fit(source, [0, 1, 0]), expected)
    assert_matches_dense(bm.fit(S, pd.Series(list("bab"))), expected)
    assert_matches_dense(bm.fit(S, [0, 1, 0], numbers=1), project_dense(S, [0, 1, 0], 1))


@over_kinds
@pytest.mark.parametrize("order", ["C", "F"])
def test_memmap_in_chunks(rng, tmp_path, monkeypatch, kind, order):
    in_small_parts(monkeypatch, 300)  # three rows at a time
    S = rng.standard_normal((12, 12)).astype(np.float32)
    mapped = np.memmap(tmp_path / "S", np.float32, "w+", shape=S.shape, order=order)
    mapped[:] = S
    for source in (mapped, np.load(_saved(tmp_path, S), mmap_mode="r"), S):
        A = bm.fit(source, P, **kind)
        assert_matches_dense(A, project_dense(S, P, **kind))
        exact = np.linalg.norm(S - A.toarray()) / np.linalg.norm(S)
        np.testing.assert_allclose(bm.approximation_error(source, A), exact, rtol=1e-5)


def _saved(folder, S):
    np.save(folder / "S.npy", S)
    return folder / "S.npy"


@over_kinds
@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_operator(rng, kind, dtype):
    S = random_array(rng, (12, 12), dtype)
    operator = aslinearoperator(S)
    A, stderr = bm.fit(
        operator, P, diagonal=np.diagonal(S), n_probes=4, random_state=0, return_stderr=True, **kind
    )
    assert A.dtype == dtype
    exact = bm.fit(S, P, **kind)
    assert_matches_dense(A.between, exact.between)
    if "aligned" in kind:
        np.testing.assert_allclose(
            np.diagonal(A.within), np.diagonal(exact.within), rtol=1e-4, atol=1e-5
        )
        assert (np.diagonal(stderr) == 0).all()
        assert stderr[0, 2] > 0
    else:
        assert_matches_dense(A, exact.toarray())
        np.testing.assert_array_equal(stderr, 0)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_hutchinson_is_unbiased_with_an_honest_standard_error(rng, aligned, dtype):
    S = random_array(rng, (12, 12), dtype)
    exact = bm.fit(S, P, aligned=aligned).within
    estimates, errors = [], []
    for seed in range(200):
        A, stderr = bm.fit(
            aslinearoperator(S),
            P,
            aligned=aligned,
            n_probes=8,
            random_state=seed,
            return_stderr=True,
        )
        estimates.append(A.within)
        errors.append(stderr)
    spread = np.std(estimates, axis=0)
    claimed = np.sqrt(np.mean(np.square(errors), axis=0))
    np.testing.assert_allclose(spread, claimed, rtol=0.25, atol=1e-14)
    assert (np.abs(np.mean(estimates, axis=0) - exact) <= 5 * spread / np.sqrt(200) + 1e-12).all()


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_estimates_for_a_hermitian_operator_are_hermitian(rng, aligned, dtype):
    S = random_array(rng, (12, 12), dtype)
    H = S + S.conj().T
    A = bm.fit(aslinearoperator(H), P, aligned=aligned, n_probes=3, random_state=0)
    assert A.is_hermitian
    assert not bm.fit(aslinearoperator(S), P, aligned=aligned, random_state=0).is_hermitian


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_blocks_of_a_symmetric_matrix_stay_symmetric(dtype):
    x = np.random.default_rng(0).random((2500, 2500)).astype(dtype)
    S = x + x.T
    for source in (S, np.asfortranarray(S), S[::-1, ::-1], aslinearoperator(S)):
        assert bm.fit(source, np.repeat([0, 1], [1000, 1500])).is_hermitian
    assert not bm.fit(x, np.repeat([0, 1], [1000, 1500])).is_hermitian


def test_sums_in_another_order_stay_symmetric():
    """Long blocks of one number, whose sums round differently by rows and by columns."""
    p = bm.Partition.from_sizes([3, 4000])
    S = np.zeros((p.n, p.n))
    S[:3, 3:] = S[3:, :3] = 0.1
    A = bm.fit(S, p)
    assert A.is_hermitian
    np.testing.assert_array_equal(A.between, A.between.T)


def test_operator_core_is_exact_in_blocks_of_columns(rng, monkeypatch):
    in_small_parts(monkeypatch, 8 * 12 * 2)  # two columns at a time
    S = rng.standard_normal((12, 12))
    widths = []

    def matmat(X):
        widths.append(X.shape[1])
        return S @ X

    operator = LinearOperator(S.shape, matvec=lambda x: S @ x, matmat=matmat, dtype=float)
    A = bm.fit(operator, P, numbers=1)
    assert widths == [2, 2]  # and no random vectors, which one number does not need
    assert_matches_dense(A, project_dense(S, P, numbers=1))


def test_operator_estimates_repeat_with_the_seed(rng):
    operator = aslinearoperator(rng.standard_normal((12, 12)))
    first, second = (bm.fit(operator, P, random_state=1) for _ in range(2))
    np.testing.assert_array_equal(first.within, second.within)
    generator = np.random.default_rng(1)
    np.testing.assert_array_equal(first.within, bm.fit(operator, P, random_state=generator).within)
    _, stderr = bm.fit(operator, P, n_probes=1, return_stderr=True)
    assert np.isnan(stderr[:3]).all()
    assert stderr[3] == 0  # a block of size 1 has nothing to estimate


@given(block_matrices(max_n=8), st.data())
def test_block_constant_source_on_another_partition(A, data):
    q = data.draw(partitions(min_n=A.shape[0], max_n=A.shape[0]))
    kind = data.draw(st.sampled_from(KINDS))
    D = A.astype(np.result_type(A.dtype, float)).toarray()
    B = bm.fit(A, q, **kind)
    assert B.dtype == A.dtype
    assert_matches_dense(
        B, project_dense(D, q, **kind), rtol=1e3 * np.finfo(A.dtype).eps * max(1, np.abs(D).max())
    )
    exact = np.linalg.norm(D - B.toarray()) / np.linalg.norm(D)
    slack = 30 * np.sqrt(np.finfo(A.dtype).eps)
    np.testing.assert_allclose(bm.approximation_error(A, B), exact, atol=slack)


def test_a_constant_block_has_exactly_no_deviations():
    p = bm.Partition.from_sizes([300, 700])
    S = np.full((1000, 1000), 0.1)
    S[:300, :300] = 0.7
    assert (bm.fit(S, p).within == 0).all()
    with pytest.raises(np.linalg.LinAlgError, match="within of block 0 is zero"):
        bm.fit(S, p).inv()


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_source_that_is_block_constant_has_no_error(rng, aligned, dtype):
    """Dense or sparse, with blocks of zeros or without: nothing but the rounding of the fit."""
    B = bm.fit(random_array(rng, (12, 12), dtype), P, aligned=aligned)
    values = B.values.copy()
    values[0, 1] = values[2] = 0
    for S in (B.toarray(), values[np.ix_(P.labels, P.labels)]):
        A = bm.fit(S, P, aligned=aligned)
        for source in (S, np.asfortranarray(S), sp.csr_array(S)):
            assert bm.approximation_error(source, A) < 10 * np.finfo(dtype).eps
    assert bm.approximation_error(sp.csr_array((12, 12)), 0 * A) == 0


@given(block_matrices(max_n=9), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_the_error_of_a_sparse_source_is_that_of_the_dense_one(A, density, seed):
    """To rounding of double precision beside the larger of both, whatever the dtype of A is."""
    n = A.shape[0]
    S = sp.random_array((n, n), density=density, rng=np.random.default_rng(seed))
    if S.nnz:
        expected = bm.approximation_error(S.toarray(), A)
        assert bm.approximation_error(S, A) == pytest.approx(expected, rel=1e-13)


def test_the_error_of_an_operator_is_estimated_for_any_matrix_not_only_its_fit(rng):
    """Where the difference is not orthogonal to A, their product is part of the norm."""
    S = rng.standard_normal((100, 100)) + 1
    fit = bm.fit(S, np.repeat([0, 1], 50))
    for A in (0.5 * fit, 3 * fit, -fit):
        exact = bm.approximation_error(S, A)
        estimates = [
            bm.approximation_error(aslinearoperator(S), A, n_probes=50, random_state=seed)
            for seed in range(20)
        ]
        # Both norms are known to about 1 %; as that of S is not the norm of A and of S - A.
        assert np.mean(estimates) == pytest.approx(exact, rel=0.05)


def test_approximation_error_of_an_operator_is_estimated(rng):
    S = rng.standard_normal((200, 200)) + 1
    A = bm.fit(S, np.repeat([0, 1], 100))
    exact = bm.approximation_error(S, A)
    estimate = bm.approximation_error(aslinearoperator(S), A, n_probes=50, random_state=0)
    np.testing.assert_allclose(estimate, exact, rtol=0.05)


def test_approximation_error_of_zero():
    zero = bm.fit(np.zeros((2, 2)), [0, 0])
    assert bm.approximation_error(np.zeros((2, 2)), zero) == 0
    assert (
        bm.approximation_error(np.zeros((2, 2)), bm.BlockConstantMatrix.identity([0, 0])) == np.inf
    )


# Samples


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("dtype", [*DTYPES, np.int16])
@pytest.mark.parametrize("options", [{}, {"ddof": 0}, {"assume_centered": True, "ddof": 0}])
def test_fit_samples_is_the_fit_of_the_covariance(rng, aligned, dtype, options):
    X = (
        random_array(rng, (9, 12), np.complex128 if np.dtype(dtype).kind == "c" else float) * 5 + 3
    ).astype(dtype)
    wide = X.astype(np.result_type(X, float))
    mean = 0 if options.get("assume_centered") else wide.mean(0)
    C = (wide - mean).T @ (wide - mean).conj() / (9 - options.get("ddof", 1))
    for samples in (
        X,
        np.asfortranarray(X),
        np.repeat(X, 2, axis=1)[:, ::2],
        X.tolist() if dtype == np.int16 else X,
    ):
        A = bm.fit_samples(samples, P, aligned=aligned, **options)
        assert A.dtype == (np.float64 if dtype == np.int16 else dtype)
        assert A.is_hermitian
        assert_matches_dense(A, project_dense(C, P, aligned=aligned))
    again = bm.fit_samples(X, P, aligned=aligned, **options)
    np.testing.assert_array_equal(
        again.between, bm.fit_samples(X, P, aligned=aligned, **options).between
    )


def test_fit_samples_in_chunks(rng, monkeypatch):
    X = rng.standard_normal((9, 12))
    expected = bm.fit_samples(X, P, aligned=True)
    in_small_parts(monkeypatch, 8 * 12 * 2)
    assert_matches_dense(bm.fit_samples(X, P, aligned=True), expected.toarray())


@given(partitions(max_n=8), st.integers(0, 99))
def test_maximum_likelihood_estimate_exists_when_samples_suffice(p, seed):
    X = np.random.default_rng(seed).standard_normal((p.n_blocks + 1, p.n))
    assert bm.fit_samples(X, p, ddof=0).is_positive_definite()


def test_too_few_samples_are_singular(rng):
    X = rng.standard_normal((3, 12))
    A = bm.fit_samples(X, P)
    assert A.matrix_rank() == 12 - 4 + 2
    for operation in (A.inv, A.invsqrtm, A.logm):
        with pytest.raises(np.linalg.LinAlgError, match="between core"):
            operation()


def test_large_means_do_not_cancel(rng):
    X = rng.standard_normal((50, 12)) + 1e8
    assert_matches_dense(bm.fit_samples(X, P), project_dense(np.cov(X, rowvar=False), P), rtol=1e-7)
    acc = bm.BlockAccumulator(P)
    acc.add_samples(X[:20])
    acc.add_samples(X[20:])
    assert_matches_dense(acc.covariance(), project_dense(np.cov(X, rowvar=False), P), rtol=1e-7)


# Samples of blocks that hardly vary


def within_of(X, p, aligned):
    """The within numbers of the covariance, from deviations in long double."""
    X = X.astype(np.clongdouble if X.dtype.kind == "c" else np.longdouble)
    D = X - X.mean(axis=0)
    D = D - np.stack([D[:, block].mean(axis=1) for block in p], axis=1)[:, p.labels]
    within = np.zeros((p.n_blocks,) * 2, dtype=D.dtype)
    for members, rows in p.size_classes:
        R = D[:, rows]
        within[np.ix_(members, members)] = np.einsum("tap,tbp->ab", R, R.conj()) / (
            len(rows[0]) - 1
        )
    within = within / (len(X) - 1)
    return within if aligned else np.diagonal(within)


def nearly_equal_samples(rng, p, n_samples, spread, mean, dtype):
    """Samples that share a number in each block, but for deviations of size `spread`."""
    common = random_array(rng, (n_samples, p.n_blocks), np.result_type(dtype, np.float64))
    own = spread * random_array(rng, (n_samples, p.n), common.dtype)
    return (common[:, p.labels] + own + mean).astype(dtype)


@given(
    partitions(min_n=2, max_n=9),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-1, 1e-3, 1e-5, 1e-7, 1e-9, 1e-11]),
    st.sampled_from([0.0, 1.0, 1e3]),
    st.booleans(),
    st.sampled_from(DTYPES),
)
def test_within_is_exact_however_little_a_block_varies(p, seed, spread, mean, aligned, dtype):
    """From one array, from a stream of batches, and from Dask arrays cut anywhere.

    A deviation is the difference of numbers of size 1 and its rounding a multiple of eps, so
    the relative error of its square is a multiple of eps / spread, more where the mean is
    large. Where a 4096th of the squares or more is left of a difference, that is taken, whose
    relative error is 4096 eps. Single precision rounds the samples and the result, no more.
    """
    X = nearly_equal_samples(np.random.default_rng(seed), p, 12, spread, mean, dtype)
    expected = within_of(X, p, aligned)
    own = np.real(np.diagonal(expected) if aligned else expected).astype(float)
    smallest = np.sqrt(own[p.sizes > 1].min(initial=1))
    rounding = np.finfo(float).eps * (1 + mean) / max(smallest, 1e-20)
    assume(rounding < 1e-3)  # single precision may have made members equal
    allowed = (100 * rounding + 4096 * np.finfo(float).eps + 10 * np.finfo(dtype).eps) * own
    if aligned:
        allowed = np.sqrt(np.outer(allowed, allowed))
    stream = bm.BlockAccumulator(p, aligned)
    stream.add_samples(X[:5])
    stream.add_samples(X[5:])
    for A in (
        bm.fit_samples(X, p, aligned=aligned),
        stream.covariance(),
        bm.fit_samples(da.from_array(X, chunks=(7, 4)), p, aligned=aligned),
    ):
        assert (np.abs(A.within - expected) <= allowed).all()


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_spread_of_1e_7_in_a_block_is_seen(rng, aligned, dtype):
    """1e-14 beside a variance of 1, of which the difference of the two sums has no digit left."""
    spread = 1e-7 if dtype == np.float64 else 1e-4  # beside its own rounding
    p = bm.Partition.from_sizes([50, 50])
    X = nearly_equal_samples(rng, p, 3000, spread, 0.0, dtype)
    A = bm.fit_samples(X, p, aligned=aligned)
    d = np.diagonal(A.within) if aligned else A.within
    np.testing.assert_allclose(d, spread**2, rtol=0.02)  # 147,000 squares: error .4 %
    one = bm.BlockAccumulator(p, aligned)
    for x in X[:20]:
        one.add_outer(x)
    d = one.matrix().within
    np.testing.assert_allclose(np.diagonal(d) if aligned else d, 20 * spread**2, rtol=0.2)


@pytest.mark.parametrize("aligned", [False, True])
def test_samples_that_are_equal_in_a_block_have_exactly_no_deviations(rng, aligned):
    p = bm.Partition.from_sizes([3, 3, 2, 40])
    X = nearly_equal_samples(rng, p, 2500, 0.0, 1e3, np.float64)
    X[:, 6] += 1e-6 * rng.standard_normal(2500)
    X[:, 8:] = rng.standard_normal(40)  # constant, each its own number
    for A in (bm.fit_samples(X, p, aligned=aligned), bm.fit_samples(X[:100], p, aligned=aligned)):
        d = np.diagonal(A.within) if aligned else A.within
        assert (d[[0, 1, 3]] == 0).all()
        assert d[2] > 0
    acc = bm.BlockAccumulator(p, aligned)
    acc.add_outer(np.full(p.n, 0.1))
    acc.add_samples(X[:900])
    acc.add_samples(X[900:])
    d = acc.covariance().within
    assert ((np.diagonal(d) if aligned else d)[[0, 1, 3]] == 0).all()


def test_within_is_kept_down_to_the_rounding_of_the_entries():
    """A fit of a matrix: what is left of entries of size 1 is known to about eps, not 1e6 eps."""
    p = bm.Partition.from_sizes([100, 30])
    for difference in (1e-9, 1e-11, 1e-13):
        S = np.ones((p.n, p.n)) + difference * np.eye(p.n)
        expected = S[0, 0] - 1
        for source in (S, sp.csr_array(S), bm.fit(S, p)):
            np.testing.assert_allclose(
                bm.fit(source, p).within, expected, rtol=100 * np.finfo(float).eps / difference
            )


# Progress


def test_progress_bar_can_be_forced(capsys, monkeypatch):
    in_small_parts(monkeypatch, 8 * 12 * 2)
    S = np.ones((12, 12))
    bm.fit(S, P)
    assert capsys.readouterr().err == ""
    bm.fit(S, P, progress=True)
    assert "6/6" in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bm.fit(S, P)
    assert "fit" in capsys.readouterr().err
    bm.fit(S, P, progress=False)
    assert capsys.readouterr().err == ""


def test_errors_of_arrays_of_any_layout():
    S = np.random.default_rng(0).standard_normal((24, 36))
    A = bm.fit(S[::2, ::3], [0, 1] * 6)
    expected = np.linalg.norm(S[::2, ::3] - A.toarray()) / np.linalg.norm(S[::2, ::3])
    for source in (
        S[::2, ::3],
        S[22::-2, ::3][::-1],
        np.asfortranarray(S[::2, ::3]),
        S[::2, ::3].copy(),
    ):
        np.testing.assert_allclose(bm.approximation_error(source, A), expected, rtol=1e-12)


def test_sums_of_sparse_matrices_are_as_exact_as_those_of_dense_ones():
    p = bm.Partition.from_labels(np.arange(600) * 7 % 2)
    S = np.where(np.equal.outer(p.labels, p.labels), 0.1, 0.3)
    for make in (sp.csr_array, sp.csc_array, sp.coo_array):
        A = bm.fit(make(S), p)
        np.testing.assert_allclose(A.values, [[0.1, 0.3], [0.3, 0.1]], rtol=1e-15)
        assert bm.approximation_error(make(S), A) <= 1e-15
        B = bm.BlockRectangularMatrix.fit(make(S), p, p)
        np.testing.assert_allclose(B.values, [[0.1, 0.3], [0.3, 0.1]], rtol=1e-15)


@pytest.mark.parametrize("n_samples", [10, 1024, 5000])
@pytest.mark.parametrize("value", [0.1, 1e6 + 0.1, np.pi * 1e8])
def test_samples_that_never_change_have_no_covariance(n_samples, value):
    A = bm.fit_samples(np.full((n_samples, 6), value), [0, 0, 0, 1, 1, 1])
    assert not A.within.any()
    assert not A.between.any()


def test_a_spread_of_some_units_in_the_last_place_is_kept():
    for ulps in (1000, 150, 60):
        spread = ulps * np.spacing(1e6)
        X = 1e6 + spread * np.random.default_rng(0).standard_normal((2000, 4))
        exact = bm.fit(np.cov((X - 1e6).T), [0] * 4).within
        # numbers are rounded to a unit, and their mean to one more
        np.testing.assert_allclose(bm.fit_samples(X, [0] * 4).within, exact, rtol=0.1)


def test_fits_that_overflow_in_single_precision_are_errors():
    huge = np.full((4, 4), 3e38, np.float32)
    X = np.float32([[1e20], [-1e20]]) * np.ones((1, 2), np.float32)
    acc = bm.BlockAccumulator([0, 0])
    acc.add_samples(X)
    for fit in (
        lambda: bm.fit(huge, [0] * 4),
        lambda: bm.fit(sp.csr_array(huge), [0] * 4),
        lambda: bm.fit_samples(X, [0, 0]),
        acc.covariance,
    ):
        with pytest.raises(NonFiniteError, match="the result overflows"):
            fit()
    assert np.isfinite(bm.fit(huge / 8, [0] * 4).between).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, bool])
@pytest.mark.parametrize("form", ["coo", "csr"])
def test_duplicates_are_summed_in_double_precision(dtype, form):
    data = np.full(2, 200).astype(dtype)
    S = sp.coo_array((data, ([0, 0], [1, 1])), shape=(2, 2))
    if form == "csr":
        S = sp.csr_array((data, [1, 1], [0, 2, 2]), shape=(2, 2))
    A = bm.fit(S, [0, 1])
    assert A.values[0, 1] == 2 * float(data[0])
    assert bm.approximation_error(S, A) == 0


def test_an_operator_that_declares_real_numbers_and_returns_complex_ones_is_an_error():
    L = LinearOperator((3, 3), matvec=lambda x: 1j * x, matmat=lambda x: 1j * x, dtype=float)
    with pytest.raises(DtypeError, match=r"source @ indicator has dtype complex128; expected real"):
        bm.fit(L, [0, 0, 1])
    with pytest.raises(DtypeError, match=r"source @ probes has dtype complex128"):
        bm.approximation_error(L, bm.BlockConstantMatrix.identity([0, 0, 1]))


def test_the_declared_dtype_of_an_operator_is_that_of_the_fit():
    S = np.arange(9.0).reshape(3, 3)
    L = LinearOperator((3, 3), matvec=lambda x: S @ x, matmat=lambda x: S @ x, dtype=np.float32)
    assert bm.fit(L, [0, 0, 1]).dtype == np.float32


def test_a_fit_with_one_variable_per_block_is_the_source():
    S = np.array([[1, 2], [2 + 1e-15, 5]])
    np.testing.assert_array_equal(bm.fit(S, [0, 1]).toarray(), S)
