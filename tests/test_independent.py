"""Independent blocks: the same results as with a dense diagonal core, in O(n) memory."""

import operator
import pickle
import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from scipy.stats import multivariate_normal

import blockmat as bm
from blockmat.exceptions import DtypeError, NonFiniteError, ShapeError, SingularMatrixError
from blockmat.inference import confidence_intervals, kl_divergence, log_likelihood
from blockmat.testing import block_matrices
from tests.cases import DTYPES, PARTITIONS, make, random_array

BCM = bm.BlockConstantMatrix
over_dtypes = pytest.mark.parametrize("dtype", DTYPES)
over_partitions = pytest.mark.parametrize("p", PARTITIONS.values(), ids=PARTITIONS)


def independent(p, dtype=np.float64, seed=0):
    """A positive definite matrix; a complex one is not Hermitian."""
    rng = np.random.default_rng(seed)
    between, within = (0.5 + rng.random(p.n_blocks) for _ in range(2))
    if np.dtype(dtype).kind == "c":
        between = between + 0.5j * rng.standard_normal(p.n_blocks)
    return BCM(p, between.astype(dtype), within.astype(dtype))


def with_dense_core(A):
    return BCM(A.partition, np.diag(A.between), A.within)


# The same numbers as with a dense core


OPERATIONS = {
    "inv": lambda A: A.inv(),
    "pinv": lambda A: A.pinv(),
    "sqrtm": lambda A: A.sqrtm(),
    "invsqrtm": lambda A: A.invsqrtm(),
    "powm": lambda A: A.powm(2.5),
    "integer power": lambda A: A**-3,
    "expm": lambda A: A.expm(),
    "logm": lambda A: A.logm(),
    "funm": lambda A: A.funm(np.cos),
    "nearest_psd": lambda A: A.nearest_psd(0.9),
    "scaled": lambda A: -3 * A / 2,
    "sum": lambda A: A + A.H - 0.25 * A,
    "product": lambda A: A @ A.T @ A,
    "conj": lambda A: A.conj(),
    "astype": lambda A: A.astype(np.complex64),
    "copy": lambda A: pickle.loads(pickle.dumps(A)),
}


@over_dtypes
@over_partitions
@pytest.mark.parametrize("name", OPERATIONS)
def test_results_are_independent_and_those_of_a_dense_core(p, dtype, name):
    A = independent(p, dtype)
    result, dense = OPERATIONS[name](A), OPERATIONS[name](with_dense_core(A))
    assert result.is_independent
    assert not dense.is_independent
    assert result.dtype == dense.dtype
    # numbers of at most 10, of conditions of at most 4 for each core, in up to five operations
    atol = 1e3 * np.finfo(result.dtype).eps
    np.testing.assert_allclose(result.between, np.diagonal(dense.between), atol=atol)
    np.testing.assert_allclose(result.within, dense.within, atol=atol)


@over_dtypes
@over_partitions
def test_numbers_are_those_of_a_dense_core(p, dtype):
    A = independent(p, dtype)
    D = with_dense_core(A)
    rtol = 1e3 * np.finfo(dtype).eps
    for f in (
        lambda A: A.trace(), lambda A: A.slogdet(), lambda A: A.norm(), lambda A: A.norm("nuc"),
        lambda A: A.norm(2), lambda A: A.norm(-2), lambda A: A.norm(1), lambda A: A.norm(-1),
        lambda A: A.norm(np.inf), lambda A: A.norm(-np.inf), lambda A: A.cond(),
        lambda A: A.matrix_rank(), lambda A: A.is_hermitian, lambda A: A.values,
        lambda A: A.diagonal_values, lambda A: A.diagonal(), lambda A: A.svdvals()[0],
    ):  # fmt: skip
        np.testing.assert_allclose(f(A), f(D), rtol=rtol, atol=rtol)
    assert A._repr_html_().split("<svg")[1] == D._repr_html_().split("<svg")[1]
    assert repr(A) == repr(D).replace(" blocks", " independent blocks")


@pytest.mark.parametrize("combine", [operator.add, operator.sub, operator.matmul])
@pytest.mark.parametrize("aligned", [False, True])
@over_partitions
def test_a_dense_core_makes_the_result_dense(p, aligned, combine):
    A, B = independent(p, np.float32), make(p, np.complex128, aligned, hermitian=False)
    for first, second in ((A, B), (B, A)):
        result = combine(first, second)
        assert result.between.shape == (p.n_blocks,) * 2
        assert result.is_aligned is aligned
        assert result.dtype == np.complex128
        expected = combine(first.toarray().astype(complex), second.toarray())
        # sums of at most 11 numbers of about 1; the values of A are rounded to single precision
        np.testing.assert_allclose(result.toarray(), expected, atol=200 * np.finfo(np.float32).eps)


@over_partitions
def test_products_with_rectangular_matrices(p):
    A, other = independent(p), PARTITIONS["uniform"]
    core = np.random.default_rng(1).standard_normal((p.n_blocks, other.n_blocks))
    B = bm.BlockRectangularMatrix(p, other, core)
    for result, expected in (
        (A @ B, A.toarray() @ B.toarray()),
        (B.T @ A, B.toarray().T @ A.toarray()),
        (B @ independent(other), B.toarray() @ independent(other).toarray()),
    ):
        assert type(result) is bm.BlockRectangularMatrix
        np.testing.assert_allclose(result.toarray(), expected, atol=1e-14)


@pytest.mark.parametrize("covariance", [np.arange(1.0, 5), np.eye(4) + 0.5])
@pytest.mark.parametrize("loading", [1.0, 2.0])
def test_sums_with_factor_matrices(covariance, loading):
    p = PARTITIONS["shuffled"]
    F = bm.BlockFactorMatrix(p, covariance, noise=1.0, loadings=loading)
    for A in (independent(p), 0.5 * BCM.identity(p)):
        for total in (F + A, A + F):
            np.testing.assert_allclose(total @ np.eye(p.n), F.toarray() + A.toarray(), atol=1e-14)
        keeps = loading == 1 or (A.between == A.within[0]).all()
        assert isinstance(F + A, bm.BlockFactorMatrix) is bool(keeps)
        if keeps:
            assert (F + A).covariance.ndim == covariance.ndim


def test_a_picture_of_many_blocks_is_that_with_a_dense_core():
    sizes = np.random.default_rng(0).integers(1, 9, 100)
    A = independent(bm.Partition.from_sizes(sizes))
    ours, theirs = (
        np.array(re.findall("<title>(.*?)</title>", B._repr_html_()), dtype=float)
        for B in (A, with_dense_core(A))
    )
    assert len(ours) == 24**2
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)  # they are written with four digits


@given(block_matrices(independent=True))
def test_independent_blocks_can_be_drawn(A):
    assert A.is_independent


def test_aligned_blocks_are_not_independent():
    with pytest.raises(ValueError, match="aligned and independent are True; expected one"):
        block_matrices(aligned=True, independent=True)


def test_the_identity_is_independent():
    for dtype in DTYPES:
        eye = BCM.identity([0, 1, 1], dtype)
        assert eye.is_independent
        assert eye.dtype == dtype
        np.testing.assert_array_equal(eye.between, [1, 1])


@over_dtypes
def test_values_of_diagonal_blocks_make_independent_blocks(dtype):
    p = PARTITIONS["shuffled"]
    rng = np.random.default_rng(0)
    values, diagonal = random_array(rng, 4, dtype), random_array(rng, 4, dtype)
    for own in (diagonal, None):
        A = BCM.from_values(p, values, own)
        D = BCM.from_values(p, np.diag(values), own)
        assert A.is_independent
        assert A.dtype == dtype
        np.testing.assert_array_equal(A.between, np.diagonal(D.between))
        np.testing.assert_array_equal(A.within, D.within)
    # the sum over a block that cancels is zero
    centring = BCM.from_values([0] * 49 + [1], [-1 / 49, 1.0], [1 - 1 / 49, 1.0])
    np.testing.assert_array_equal(centring.between, [0, 1])


def test_inference_with_independent_blocks_is_that_with_a_dense_core():
    p = bm.Partition.from_labels(list("abbcaab"))
    A, B = independent(p), independent(p, seed=1)
    others = bm.ScaledBlockMatrix(A, np.linspace(1, 2, p.n)), make(p, np.float64, False, True)
    for first, second in ((A, B), (others[0], B), (others[1], B), (A, others[1])):
        # sums of at most 14 terms of about 1
        np.testing.assert_allclose(
            kl_divergence(first, second),
            kl_divergence(*map(dense_inside, (first, second))),
            atol=1e-13,
        )
    nearly = BCM(p, A.between * 1e-9, A.within)
    np.testing.assert_allclose(kl_divergence(nearly, A), kl_divergence(dense_inside(nearly), A))
    for ours, theirs in zip(
        confidence_intervals(A, 20), confidence_intervals(dense_inside(A), 20), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_norms_with_low_rank_are_those_of_the_entries():
    rng = np.random.default_rng(0)
    p = bm.Partition.from_labels(list("abbcaabd"))
    A = independent(p)
    diagonal = bm.BlockFactorMatrix(p, rng.standard_normal(4), 1.0, rng.standard_normal(8))
    for base in (A, bm.ScaledBlockMatrix(A, rng.uniform(1, 2, 8)), diagonal):
        for C in ([[1.0, 0.5], [0.5, -2.0]], [[1e-200, 0], [0, 1e-200]]):
            low = base.add_low_rank(rng.standard_normal((8, 2)), C)
            np.testing.assert_allclose(low.norm(), np.linalg.norm(low.toarray()), rtol=1e-14)


def dense_inside(A):
    if isinstance(A, bm.ScaledBlockMatrix):
        return bm.ScaledBlockMatrix(dense_inside(A.matrix), A.scale)
    return with_dense_core(A) if A.is_independent else A


def test_the_error_of_an_approximation_is_that_with_a_dense_core():
    p = bm.Partition.from_labels(list("abbcaab"))
    A, B = independent(p), independent(p, seed=1)
    full, other = make(p, np.float64, False, True), make(p, np.float64, True, True)
    scaled = bm.ScaledBlockMatrix(A, np.linspace(1, 2, p.n))
    coarse = bm.fit(A, [0, 0, 0, 0, 0, 1, 1])
    for source, fit in ((A, B), (full, B), (A, full), (other, B), (scaled, B), (A, coarse)):
        dense = source.toarray()
        expected = np.linalg.norm(dense - fit.toarray()) / np.linalg.norm(dense)
        for form in (source, dense):
            np.testing.assert_allclose(bm.approximation_error(form, fit), expected, rtol=1e-13)
    assert bm.approximation_error(A, with_dense_core(A)) == 0


@pytest.mark.parametrize("aligned", [False, True])
def test_a_fit_is_that_of_the_entries(aligned):
    A = independent(bm.Partition.from_labels(list("abbcaabc")))
    for q in (A.partition, bm.Partition.uniform(4, 2)):
        ours, theirs = (bm.fit(source, q, aligned=aligned) for source in (A, A.toarray()))
        np.testing.assert_allclose(ours.between, theirs.between, atol=1e-14)
        np.testing.assert_allclose(ours.within, theirs.within, atol=1e-14)


def test_one_block_is_independent():
    A, D = BCM([0, 0, 0], [2.0], [0.5]), BCM([0, 0, 0], [[2.0]], [0.5])
    assert A.is_independent
    assert not D.is_independent
    np.testing.assert_array_equal(A.toarray(), D.toarray())
    assert (A + D).between.shape == (1, 1)


def test_blocks_in_another_order_stay_independent():
    p = bm.Partition.from_labels(list("abbca"))
    q = bm.Partition.from_labels([2, 0, 0, 1, 2])
    A = independent(p)
    B = A.refine(q)
    assert B.is_independent
    np.testing.assert_array_equal(B.toarray(), A.toarray())


def test_cut_blocks_stay_independent_if_they_are_multiples_of_the_identity():
    p, fine = bm.Partition.from_sizes([2, 2]), bm.Partition.from_sizes([1, 1, 2])
    kept, dense = BCM(p, [3.0, 5.0], [3.0, 1.0]), BCM(p, [3.0, 5.0], [2.0, 1.0])
    assert kept.refine(fine).is_independent
    assert not dense.refine(fine).is_independent
    for A in (kept, dense):
        np.testing.assert_allclose(A.refine(fine).toarray(), A.toarray(), atol=1e-15)
    assert BCM.identity(p).refine([0, 1, 2, 3]).is_independent


# What is refused


@pytest.mark.parametrize(
    ("make_it", "error", "message"),
    [
        (lambda: BCM([0, 1], [1.0, 2.0], np.eye(2)), ShapeError,
         r"between has shape \(2,\) and within \(2, 2\); expected between of shape \(2, 2\) for aligned"),
        (lambda: BCM.from_values([0, 1], [1.0, 2.0], np.eye(2)), ShapeError,
         r"values has shape \(2,\) and diagonal \(2, 2\); expected values of shape \(2, 2\)"),
        (lambda: BCM([0, 1], [1.0]), ShapeError,
         r"between has shape \(1,\); expected \(2, 2\) or \(2,\) for 2 blocks"),
        (lambda: BCM([0, 1], 1.0), ShapeError, "between is 0-d"),
        (lambda: BCM([0, 1], [1.0, np.inf]), NonFiniteError, "between contains inf at index 1"),
        (lambda: BCM([0, 1], ["a", "b"]), DtypeError, "between has dtype"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused(make_it, error, message):
    with pytest.raises(error, match=message):
        make_it()


def test_a_zero_block_is_named():
    A = BCM([0, 0, 1, 2], [1.0, 0.0, 2.0], [1.0, 0.0, 0.0])
    for f in (A.inv, A.invsqrtm, A.logm, lambda: A.solve(np.ones(4)), lambda: A**-1):
        with pytest.raises(SingularMatrixError, match="between of block 1 is zero"):
            f()
    assert A.slogdet() == (0, -np.inf)
    negative = BCM([0, 0, 1, 2], [1.0, 1.0, -2.0], [1.0, 0.0, 0.0])
    with pytest.raises(np.linalg.LinAlgError, match="between of block 2 has -2"):
        negative.sqrtm()


def test_there_is_a_message_if_a_dense_core_does_not_fit_into_memory():
    A = BCM.identity(bm.Partition.singletons(2**22), np.float32)  # a core of 64 TiB
    with pytest.raises(MemoryError, match="a dense core of 4194304 blocks does not fit"):
        _ = A.values


# Rank and definiteness


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ratio", [-1e-3, -1e-9, -1e-17, 0, 1e-17, 1e-9, 1e-3])
def test_one_block_has_the_rank_of_its_dense_core(dtype, ratio):
    within = np.ones(1, dtype)
    A, D = (BCM([0] * 5, np.array(core, dtype), within) for core in ([ratio], [[ratio]]))
    assert A.matrix_rank() == D.matrix_rank()
    assert A.is_positive_definite() == D.is_positive_definite()
    np.testing.assert_allclose(A.pinv().between, D.pinv().between[0], rtol=4 * np.finfo(dtype).eps)
    for f in (BCM.sqrtm, BCM.invsqrtm, BCM.logm, BCM.as_covariance):
        outcomes = []
        for matrix in (A, D):
            try:
                f(matrix)
                outcomes.append(None)
            except np.linalg.LinAlgError as error:
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1]
    complex_one = BCM([0] * 5, np.array([ratio * 1j]), np.ones(1))
    assert complex_one.matrix_rank() == 4 + (abs(ratio) > 1e-15)


def test_many_blocks_do_not_make_the_rank_rules_coarser():
    k = 10_000
    A = BCM(bm.Partition.uniform(k, 2), np.full(k, 1e-14), np.ones(k))
    assert A.is_positive_definite()
    assert A.matrix_rank() == 2 * k


# Memory


MANY = np.random.default_rng(0).integers(1, 8, 60_000)
LABELS = np.random.default_rng(1).permutation(np.repeat(np.arange(60_000), MANY))
BLOCKS = {"intervals": bm.Partition.from_sizes(MANY), "labels": bm.Partition.from_labels(LABELS)}
ARRAYS = 32  # of n doubles: 61 MB, a four-hundredth of one core of 60,000 x 60,000


def saved_and_loaded(A, folder):
    A.save(folder / "matrix.npz")
    return bm.load(folder / "matrix.npz")


def reordered(A):
    p = A.partition
    other = bm.Partition.from_labels((p.labels + 1) % p.n_blocks)
    return A.refine(other)


IN_LINEAR_MEMORY = {
    **OPERATIONS,
    "identity": lambda A: BCM.identity(A.partition),
    "from_values": lambda A: BCM.from_values(A.partition, A.between, A.within),
    "vector": lambda A: A @ np.ones(A.shape[0]),
    "vectors": lambda A: A @ np.ones((A.shape[0], 2)),
    "out": lambda A: A.dot(x := np.ones(A.shape[0]), out=x),
    "rdot": lambda A: np.ones((2, A.shape[0])) @ A,
    "solve": lambda A: A.solve(np.ones(A.shape[0])),
    "solve for two": lambda A: A.solve(np.ones((A.shape[0], 2))),
    "eigvalsh": lambda A: A.eigvalsh(),
    "eigvals": lambda A: A.eigvals(),
    "svdvals": lambda A: A.svdvals(),
    "eigenvectors": lambda A: A.eigh().vectors.H @ (A.eigh().vectors @ np.ones(A.shape[0])),
    "slogdet": lambda A: A.slogdet(),
    "logdet": lambda A: A.logdet(),
    "trace": lambda A: A.trace(),
    "diagonal": lambda A: A.diagonal(),
    "diagonal_values": lambda A: A.diagonal_values,
    "norms": lambda A: [A.norm(o) for o in (None, "nuc", 2, -2, 1, -1, np.inf, -np.inf)],
    "cond": lambda A: A.cond(1),
    "rank": lambda A: A.matrix_rank(),
    "rank with tol": lambda A: A.matrix_rank(0.1),
    "is_hermitian": lambda A: A.is_hermitian,
    "is_positive_definite": lambda A: A.is_positive_definite(),
    "whiten": lambda A: A.whiten(np.ones(A.shape[0])),
    "colorize": lambda A: A.colorize(np.ones(A.shape[0])),
    "density": lambda A: multivariate_normal.logpdf(np.ones(A.shape[0]), cov=A.as_covariance()),
    "singular density": lambda A: multivariate_normal.logpdf(
        np.ones(A.shape[0]), cov=BCM(A.partition, A.between, 0 * A.within).as_covariance()
    ),
    "samples": lambda A: multivariate_normal(cov=A.as_covariance()).rvs(random_state=0),
    "repr": repr,
    "picture": lambda A: A._repr_html_(),
    "refine": reordered,
    "refined identity": lambda A: BCM.identity(A.partition).refine(np.arange(A.shape[0])),
    "scaled matrix": lambda A: bm.ScaledBlockMatrix(A, np.full(A.shape[0], 2.0)).solve(A.diagonal()),
    "picture of a scaled matrix": lambda A: bm.ScaledBlockMatrix(
        A, np.full(A.shape[0], 2.0)
    )._repr_html_(),
    "low rank": lambda A: bm.BlockPlusLowRank(A, np.ones((A.shape[0], 2))).solve(A.diagonal()),
    "picture with low rank": lambda A: bm.BlockPlusLowRank(A, A.diagonal()[:, None])._repr_html_(),
    "norms of sums": lambda A: [
        bm.BlockPlusLowRank(B, np.ones((A.shape[0], 2))).norm()
        for B in (A, bm.ScaledBlockMatrix(A, np.full(A.shape[0], 2.0)))
    ],
    "factor": lambda A: (
        bm.BlockFactorMatrix(A.partition, A.between, noise=1.0) + A + BCM.identity(A.partition)
    ),
    "rectangle": lambda A: A @ bm.BlockRectangularMatrix(A.partition, [0], A.between[:, None]),
    "fit": lambda A: bm.fit(A, np.arange(A.shape[0]) % 3),
    "error": lambda A: bm.approximation_error(A, 1.01 * A),
    "divergence": lambda A: kl_divergence(A, 1.01 * A),
    "divergence of scales": lambda A: kl_divergence(
        bm.ScaledBlockMatrix(A, 1 + np.arange(A.shape[0]) % 2), A
    ),
    "divergence from factors": lambda A: kl_divergence(
        A, bm.BlockFactorMatrix(A.partition, A.between, A.diagonal(), A.diagonal())
    ),
    "divergence from other factors": lambda A: kl_divergence(
        bm.ScaledBlockMatrix(A, 1 + np.arange(A.shape[0]) % 2),
        bm.BlockFactorMatrix(np.arange(A.shape[0]) // 5, 0.5 * np.ones(-(-A.shape[0] // 5)), 1.0),
    ),
    "likelihood": lambda A: log_likelihood(A.diagonal()[None], A),
}  # fmt: skip


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("name", IN_LINEAR_MEMORY)
def test_many_blocks_take_memory_for_the_variables_only(name, blocks):
    run = IN_LINEAR_MEMORY[name]
    small = bm.Partition.from_labels(BLOCKS[blocks].labels[:50])
    run(independent(small))  # compiles kernels and imports modules
    A = independent(BLOCKS[blocks])
    tracemalloc.start()
    try:
        run(A)
        assert tracemalloc.get_traced_memory()[1] <= ARRAYS * 8 * A.shape[0]
    finally:
        tracemalloc.stop()


def test_files_of_many_blocks_take_memory_for_the_variables_only(tmp_path):
    A = independent(BLOCKS["labels"])
    tracemalloc.start()
    try:
        again = saved_and_loaded(A, tmp_path)
        assert tracemalloc.get_traced_memory()[1] <= ARRAYS * 8 * A.shape[0]
    finally:
        tracemalloc.stop()
    assert again.is_independent
    assert again.partition == A.partition
    np.testing.assert_array_equal(again.between, A.between)


def test_products_with_dask_arrays_take_no_dense_core():
    array = pytest.importorskip("dask.array")
    A = independent(BLOCKS["labels"])
    x = np.random.default_rng(0).standard_normal(A.shape[0])
    lazy = A @ array.from_array(x, chunks=100_000)
    np.testing.assert_allclose(lazy.compute(), A @ x, atol=1e-12)
