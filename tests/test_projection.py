"""The properties of the fit that follow from its being an orthogonal projection."""

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import assume, given
from hypothesis import strategies as st

import blockmat as bm
from blockmat.testing import (
    assert_matches_dense,
    block_matrices,
    partitions,
    project_dense,
    symmetric_matrices,
)
from tests.cases import DTYPES, random_array

KINDS = st.sampled_from([{"numbers": 1}, {"numbers": 2}, {"aligned": True}])
TWO_NUMBERS = st.sampled_from([{"numbers": 2}, {"aligned": True}])


@st.composite
def fitted(draw, kinds=KINDS, max_n=12, **options):
    """A symmetric matrix, a partition of its variables, and a kind of fit."""
    p = draw(partitions(max_n=max_n))
    return draw(symmetric_matrices(p.n, **options)), p, draw(kinds)


@st.composite
def general(draw):
    p = draw(partitions(max_n=12))
    dtype = draw(st.sampled_from(DTYPES))
    seed = draw(st.integers(0, 2**32 - 1))
    return random_array(np.random.default_rng(seed), (p.n, p.n), dtype), p, draw(KINDS)


@given(general())
def test_fit_equals_the_oracle(case):
    S, p, kind = case
    A = bm.fit(S, p, **kind)
    assert A.dtype == S.dtype
    assert_matches_dense(A, project_dense(S, p, **kind), rtol=200 * np.finfo(S.dtype).eps)


@given(partitions(max_n=5), st.integers(0, 2**32 - 1))
def test_projection_is_the_average_over_permutations_inside_blocks(p, seed):
    S = np.random.default_rng(seed).normal(size=(p.n, p.n))
    inside = [list(itertools.permutations(members)) for members in p]
    total = np.zeros_like(S)
    for images in itertools.product(*inside):
        q = np.empty(p.n, dtype=int)
        q[np.concatenate(list(p))] = np.concatenate(images)
        total += S[np.ix_(q, q)]
    mean = total / math.prod(map(len, inside))
    np.testing.assert_allclose(bm.fit(S, p).toarray(), mean, atol=1e-12)


@given(fitted(TWO_NUMBERS))
def test_sums_of_the_largest_eigenvalues_are_not_raised(case):
    S, p, kind = case
    own, fits = (np.linalg.eigvalsh(x)[::-1].cumsum() for x in (S, bm.fit(S, p, **kind).toarray()))
    assert (fits <= own + 1e-12 * max(np.abs(S).max(), 1e-300) * p.n**2).all()


@given(general())
def test_projection_is_idempotent(case):
    S, p, kind = case
    A = bm.fit(S, p, **kind)
    for source in (A, A.toarray()):
        again = bm.fit(source, p, **kind)
        scale = max(float(A.norm()), 1e-30)
        assert float((again - A).norm()) <= 500 * np.finfo(S.dtype).eps * scale


@given(general(), st.integers(0, 99))
def test_projection_is_linear(case, seed):
    S, p, kind = case
    T = random_array(np.random.default_rng(seed), S.shape, S.dtype)
    together = bm.fit((2 * S - 3 * T).astype(S.dtype), p, **kind)
    apart = 2 * bm.fit(S, p, **kind) - 3 * bm.fit(T, p, **kind)
    size = np.linalg.norm(S) + np.linalg.norm(T)
    assert float((together - apart).norm()) <= 500 * np.finfo(S.dtype).eps * size


@given(fitted())
def test_pythagoras_and_approximation_error(case):
    S, p, kind = case
    A = bm.fit(S, p, **kind)
    distance = np.linalg.norm(S - A.toarray())
    norm = np.linalg.norm(S)
    np.testing.assert_allclose(norm**2, A.norm() ** 2 + distance**2, rtol=1e-12)
    np.testing.assert_allclose(bm.approximation_error(S, A), distance / norm, rtol=1e-9, atol=1e-13)


@given(fitted(), st.integers(0, 99))
def test_fit_is_the_closest(case, seed):
    S, p, kind = case
    A = bm.fit(S, p, **kind)
    rng = np.random.default_rng(seed)
    step = 1e-3 * bm.fit(rng.standard_normal(S.shape), p, **kind)
    assert bm.approximation_error(S, A) <= bm.approximation_error(S, A + step) + 1e-12


@given(fitted(TWO_NUMBERS))
def test_fit_keeps_the_trace(case):
    S, p, kind = case
    scale = np.abs(np.diagonal(S)).sum()
    np.testing.assert_allclose(bm.fit(S, p, **kind).trace(), np.trace(S), atol=1e-12 * scale)


@given(fitted(TWO_NUMBERS))
def test_spectrum_lies_inside_the_originals(case):
    S, p, kind = case
    values, _ = bm.fit(S, p, **kind).eigvalsh()
    exact = np.linalg.eigvalsh(S)
    slack = 1e-12 * np.abs(exact).max()
    assert exact[0] - slack <= values[0]
    assert values[-1] <= exact[-1] + slack


@given(fitted(TWO_NUMBERS, definite=True))
def test_fit_never_raises_condition_number(case):
    S, p, kind = case
    A = bm.fit(S, p, **kind)
    assert A.is_positive_definite()
    assert A.cond() <= np.linalg.cond(S) * (1 + 1e-9)


@given(fitted(TWO_NUMBERS, definite=True))
def test_inverse_of_the_fit_is_below_the_fit_of_the_inverse(case):
    S, p, kind = case
    inverse = np.linalg.inv(S)
    gap = bm.fit((inverse + inverse.T) / 2, p, **kind) - bm.fit(S, p, **kind).inv()
    assert gap.eigvalsh()[0][0] >= -1e-9 * np.linalg.norm(inverse)


@given(fitted(TWO_NUMBERS, definite=True))
def test_divergence_is_half_the_difference_of_log_determinants(case):
    S, p, kind = case
    A = bm.fit(S, p, **kind)
    half = 0.5 * (A.logdet() - np.linalg.slogdet(S)[1])
    divergence = 0.5 * (np.trace(A.inv() @ S) - len(S)) + half
    assert half >= -1e-10
    np.testing.assert_allclose(divergence, half, atol=1e-8)


@given(fitted(TWO_NUMBERS))
def test_fit_does_not_see_permutations_inside_blocks(case):
    S, p, kind = case
    dense = bm.fit(S, p, **kind).toarray()
    # Aligned: blocks of one size are permuted alike, which keeps their pairs.
    orders = [np.random.default_rng(len(block)).permutation(len(block)) for block in p]
    inside = np.arange(p.n)
    for block, order in zip(p, orders, strict=True):
        inside[block] = block[order]
    shuffled = S[np.ix_(inside, inside)]
    assert_matches_dense(bm.fit(shuffled, p, **kind), dense)
    assert_matches_dense(dense[np.ix_(inside, inside)], dense)


@given(fitted(), st.randoms())
def test_shuffling_the_variables_commutes_with_everything(case, random):
    S, p, kind = case
    order = list(range(p.n))
    random.shuffle(order)
    q = bm.Partition.from_labels(p.labels[order])
    # Aligned pairs follow the order inside blocks, so keep that order for them.
    if "aligned" in kind:
        order = np.empty(p.n, dtype=int)
        for here, there in zip(p, q, strict=True):
            order[there] = here
    A, B = bm.fit(S, p, **kind), bm.fit(S[np.ix_(order, order)], q, **kind)
    grid = np.ix_(order, order)
    assert_matches_dense(B, A.toarray()[grid])
    assert_matches_dense(B @ B, (A @ A).toarray()[grid], condition=10)
    scale = float(A.norm()) or 1.0
    assert_matches_dense((B / scale).expm(), (A / scale).expm().toarray()[grid])
    x = np.arange(p.n, dtype=float)
    assert_matches_dense(B @ x[order], (A @ x)[order], condition=100)
    for name in ("trace", "norm", "matrix_rank"):
        first, second = getattr(A, name)(), getattr(B, name)()
        np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-9 * float(A.norm()))


@given(block_matrices(definite=True, dtype=np.float64))
def test_algebra_of_functions(A):
    n = A.shape[0]
    condition = 10 * float(A.cond())
    assert_matches_dense(A @ A.inv(), np.eye(n), condition=condition)
    assert_matches_dense(A.invsqrtm() @ A.invsqrtm(), A.inv().toarray(), condition=condition)
    assert_matches_dense(A.sqrtm() @ A.sqrtm(), A.toarray(), condition=10)
    assert_matches_dense(A.logm().expm(), A.toarray(), condition=condition)
    assert_matches_dense(A.powm(0.3) @ A.powm(0.7), A.toarray(), condition=10)
    values, multiplicities = A.eigvalsh()
    assert multiplicities.sum() == n
    np.testing.assert_allclose(A.logdet(), multiplicities @ np.log(values), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(A.trace(), multiplicities @ values, rtol=1e-9)


@given(block_matrices())
def test_structured_operations_against_dense(A):
    D = A.astype(np.result_type(A.dtype, np.float64)).toarray()
    assert_matches_dense(A @ A, D @ D, condition=10)
    assert_matches_dense(A + A.H, D + D.conj().T, condition=10)
    assert_matches_dense(A.nearest_psd() - A.nearest_psd(), np.zeros_like(D), rtol=1)
    norm = np.linalg.norm(D, 2)
    assert_matches_dense(A.norm(2), norm)
    conditioned = np.linalg.cond(D)
    assume(conditioned < 0.01 / np.finfo(A.dtype).eps)
    assert_matches_dense(A.inv(), np.linalg.inv(D), condition=10 * conditioned)


@given(st.data())
def test_refine_changes_nothing_but_the_partition(data):
    A = data.draw(block_matrices(aligned=False))
    q = data.draw(partitions(min_n=A.shape[0], max_n=A.shape[0]))
    fine = A.partition.meet(q)
    B = A.refine(fine)
    assert B.partition is fine
    assert B.dtype == A.dtype
    assert_matches_dense(B, A.toarray())


@given(st.data())
def test_aligned_refine_splits_all_blocks_at_the_same_places(data):
    k, m = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    p = bm.Partition.from_labels(data.draw(st.permutations(list(range(k)) * m)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    A = bm.BlockConstantMatrix(p, rng.standard_normal((k, k)), rng.standard_normal((k, k)))
    split = data.draw(partitions(min_n=m, max_n=m))
    fine = p.refine(split.labels[p.positions])
    assert_matches_dense(A.refine(fine), A.toarray())


def test_real_kernel_matrix_of_digits():
    from sklearn.datasets import load_digits
    from sklearn.metrics.pairwise import rbf_kernel

    images, digits = load_digits(return_X_y=True)
    kernel = rbf_kernel(images[:400] / 16, gamma=0.05) + 0.1 * np.eye(400)
    A = bm.fit(kernel, digits[:400])
    assert_matches_dense(A, project_dense(kernel, digits[:400]))
    assert A.cond() <= np.linalg.cond(kernel)
    assert_matches_dense(A.inv(), np.linalg.inv(A.toarray()), condition=A.cond())
    assert_matches_dense(
        A.invsqrtm(), scipy.linalg.fractional_matrix_power(A.toarray(), -0.5), condition=A.cond()
    )
    assert bm.approximation_error(kernel, A) < 0.12
    diagonal = bm.BlockConstantMatrix(bm.Partition.singletons(400), np.diag(np.diag(kernel)))
    assert bm.approximation_error(kernel, diagonal) > 0.99


def test_breast_cancer_correlations():
    from sklearn.datasets import load_breast_cancer

    X = load_breast_cancer().data
    S = np.corrcoef(X, rowvar=False)
    labels = [i % 10 for i in range(30)]  # mean, error and worst of ten measurements
    for kind in ({}, {"aligned": True}):
        A = bm.fit(S, labels, **kind)
        assert A.is_positive_definite()
        np.testing.assert_allclose(A.trace(), 30)
        assert A.cond() <= np.linalg.cond(S)
    with pytest.raises(ValueError, match="partition has 30 labels"):
        bm.fit(S[:29, :29], labels)
