import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import blockmat as bm
from blockmat.testing import assert_matches_dense, partitions, project_dense
from tests.cases import DTYPES, random_array


@st.composite
def streams(draw):
    p = draw(partitions(max_n=10))
    dtype = draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = random_array(rng, (draw(st.integers(2, 8)), p.n), dtype)
    return p, X, draw(st.booleans())


def outer_sum(X, weights=None):
    X = X.astype(np.result_type(X, float))
    weights = np.ones(len(X)) if weights is None else np.asarray(weights)
    return (X.T * weights) @ X.conj()


@given(streams())
def test_streaming_equals_batch(case):
    p, X, aligned = case
    expected = project_dense(outer_sum(X), p, aligned=aligned)
    one_by_one, in_batches = bm.BlockAccumulator(p, aligned), bm.BlockAccumulator(p, aligned)
    for g in X:
        one_by_one.add_outer(g)
    in_batches.add_samples(X[:1])
    in_batches.add_samples(X[1:])
    for acc in (one_by_one, in_batches):
        A = acc.matrix()
        assert type(A) is bm.BlockConstantMatrix
        assert A.dtype == X.dtype
        assert A.is_aligned == aligned
        assert A.is_hermitian
        assert_matches_dense(A, expected)
    batch = bm.fit_samples(X, p, aligned=aligned)
    assert_matches_dense(in_batches.covariance(), batch.toarray(), condition=10)


@given(streams(), st.integers(0, 8))
def test_merging_equals_concatenation(case, cut):
    p, X, aligned = case
    first, second, whole = (bm.BlockAccumulator(p, aligned) for _ in range(3))
    for acc, part in ((first, X[:cut]), (second, X[cut:]), (whole, X)):
        for g in part:
            acc.add_outer(g, weight=0.5)
        if len(part):
            acc.add_samples(part)
    before = second.matrix().toarray()
    first.merge(second)
    assert_matches_dense(first.matrix(), whole.matrix().toarray())
    assert_matches_dense(first.covariance(), whole.covariance().toarray(), condition=10)
    assert first.n_samples == len(X)
    np.testing.assert_array_equal(second.matrix().toarray(), before)


@given(streams(), st.floats(0, 1))
def test_decay_is_an_exponential_average(case, beta):
    p, X, aligned = case
    acc = bm.BlockAccumulator(p, aligned)
    for g in X:
        acc.decay(beta)
        acc.add_outer(g, weight=1 - beta)
    weights = (1 - beta) * beta ** np.arange(len(X))[::-1]
    assert_matches_dense(
        acc.matrix(), project_dense(outer_sum(X, weights), p, aligned=aligned), rtol=1e-4
    )


def test_decay_applies_to_samples_and_their_mean():
    X = np.random.default_rng(0).standard_normal((5, 4)) + 3
    acc = bm.BlockAccumulator([0, 0, 1, 1])
    acc.add_samples(X)
    acc.decay(0.5)
    assert_matches_dense(acc.matrix(), project_dense(0.5 * X.T @ X, [0, 0, 1, 1]))
    assert acc.n_samples == 2.5


@st.composite
def weighted_streams(draw):
    """Batches of samples, each followed by a decay; and the weight of every sample at the end."""
    p = draw(partitions(max_n=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=5))
    betas = draw(st.lists(st.floats(0.01, 1), min_size=len(sizes), max_size=len(sizes)))
    batches = [rng.standard_normal((size, p.n)) + 2 for size in sizes]
    kept = np.cumprod(betas[::-1])[::-1]
    return p, batches, betas, np.repeat(kept, sizes)


@given(weighted_streams(), st.booleans(), st.integers(0, 2), st.integers(0, 5))
def test_a_decayed_covariance_is_that_of_weighted_samples(case, aligned, ddof, cut):
    """`numpy.cov` with aweights, whether added to one accumulator, or merged and pickled."""
    p, batches, betas, weights = case
    first, second = bm.BlockAccumulator(p, aligned), bm.BlockAccumulator(p, aligned)
    for i, (X, beta) in enumerate(zip(batches, betas, strict=True)):
        (first if i < cut else second).add_samples(X)
        first.decay(beta)
        second.decay(beta)
    first = pickle.loads(pickle.dumps(first))
    first.merge(pickle.loads(pickle.dumps(second)))
    X = np.concatenate(batches)
    effective = weights.sum() ** 2 / (weights**2).sum()
    if ddof >= effective * (1 + 1e-9):
        with pytest.raises(ValueError, match="expected less than the effective number of samples"):
            first.covariance(ddof)
    elif ddof < effective * (1 - 1e-9):
        expected = np.atleast_2d(np.cov(X, rowvar=False, aweights=weights, ddof=ddof))
        # The divisor of the oracle is a difference, which cancels where ddof is near `effective`.
        condition = 10 / (1 - ddof / effective)
        assert_matches_dense(
            first.covariance(ddof), project_dense(expected, p, aligned=aligned), condition=condition
        )
    assert first.n_samples == pytest.approx(weights.sum())


def test_a_decayed_covariance_is_unbiased():
    """The mean variance of unit normals; of one, var(s^2) = 2 / (n_eff - 1), with n_eff >= 3."""
    rng, n = np.random.default_rng(0), 20_000
    for beta in (0.5, 0.8):
        acc = bm.BlockAccumulator(bm.Partition.trivial(n))
        for _ in range(40):
            acc.decay(beta)
            acc.add_samples(rng.standard_normal((1, n)))
        assert abs(acc.covariance().trace() / n - 1) < 5 / np.sqrt(n)


def test_one_sample_has_no_covariance_however_it_decayed():
    acc = bm.BlockAccumulator([0, 0, 1])
    acc.add_samples([[1.0, 2.0, 3.0]])
    acc.decay(0.3)
    for ddof in (1, 2):
        with pytest.raises(ValueError, match="effective number of samples, 1"):
            acc.covariance(ddof)
    acc.decay(0)
    with pytest.raises(ValueError, match="the accumulator has no samples"):
        acc.covariance(0)


def test_decay_does_not_change_what_covariance_it_is():
    X = np.random.default_rng(0).standard_normal((5, 4))
    acc = bm.BlockAccumulator([0, 0, 1, 1])
    acc.add_samples(X)
    acc.decay(2.0**-600)  # whose square underflows
    assert_matches_dense(acc.covariance(), bm.fit_samples(X, [0, 0, 1, 1]).toarray())


def test_mixed_dtypes_are_promoted():
    acc = bm.BlockAccumulator([0, 0])
    assert acc.matrix().dtype == np.float64
    acc.add_outer(np.ones(2, np.float32))
    assert acc.matrix().dtype == np.float32
    acc.add_outer(np.ones(2, np.complex64) * 1j)
    assert acc.matrix().dtype == np.complex64
    acc.add_outer([1, 1])
    assert acc.matrix().dtype == np.complex128


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda acc: pickle.loads(pickle.dumps(acc))])
def test_copies_are_independent(copied):
    acc = bm.BlockAccumulator([0, 0, 1])
    acc.add_outer([1.0, 2.0, 3.0])
    other = copied(acc)
    acc.add_outer([1.0, 1.0, 1.0])
    assert_matches_dense(other.matrix(), project_dense(np.outer([1, 2, 3], [1, 2, 3]), [0, 0, 1]))


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda acc: acc.add_outer([1.0]), ValueError, "g has length 1; expected 3"),
        (lambda acc: acc.add_outer([1.0, np.nan, 2.0]), np.linalg.LinAlgError, "g contains nan at index 1"),
        (lambda acc: acc.add_outer([1.0, 2.0, 3.0], weight=np.inf), ValueError, "weight is inf"),
        (lambda acc: acc.add_outer(np.ones((1, 3))), ValueError, "g is 2-d"),
        (lambda acc: acc.add_samples([[1.0, 2.0]]), ValueError, "X has 2 columns; expected 3"),
        (lambda acc: acc.add_samples([[1.0, 2.0, 3.0], [1.0, np.inf, 2.0]]), ValueError, "in row 1"),
        (lambda acc: acc.add_samples(np.zeros((0, 3))), ValueError, "X has no rows"),
        (lambda acc: acc.add_samples([["a", "b", "c"]]), TypeError, "X has dtype"),
        (lambda acc: acc.decay(1.5), ValueError, "beta is 1.5"),
        (lambda acc: acc.decay(np.nan), ValueError, "beta is nan"),
        (lambda acc: acc.decay("1"), TypeError, "beta is '1'; expected a number from 0 to 1"),
        (lambda acc: acc.decay(None), TypeError, "beta is None"),
        (lambda acc: acc.decay(np.array([0.5])), TypeError, r"beta is array\(\[0.5\]\)"),
        (lambda acc: acc.merge(np.eye(3)), TypeError, "other is a ndarray"),
        (lambda acc: acc.merge(bm.BlockAccumulator([0, 1, 1])), ValueError, "another partition"),
        (lambda acc: acc.merge(bm.BlockAccumulator([0, 0, 1], aligned=True)), ValueError, "aligned"),
        (lambda acc: acc.covariance(ddof=2), ValueError, "ddof is 2; expected less than the effective .* 2"),
    ],
)  # fmt: skip
def test_bad_input_changes_nothing(act, error, message):
    acc = bm.BlockAccumulator([0, 0, 1])
    acc.add_samples(np.arange(6.0).reshape(2, 3))
    acc.add_outer([1.0, 2.0, 3.0])
    before, covariance = acc.matrix().toarray(), acc.covariance().toarray()
    with pytest.raises(error, match=message):
        act(acc)
    np.testing.assert_array_equal(acc.matrix().toarray(), before)
    np.testing.assert_array_equal(acc.covariance().toarray(), covariance)
    assert acc.n_samples == 2
    assert "2 blocks" in repr(acc)


def test_a_constant_variable_has_no_covariance_from_batches():
    X = np.full((41, 5), 0.1)
    acc = bm.BlockAccumulator([0, 0, 0, 1, 1])
    for part in np.array_split(X, 7):
        acc.add_samples(part)
    assert acc.covariance().matrix_rank() == 0
    np.testing.assert_array_equal(
        acc.covariance().toarray(), bm.fit_samples(X, [0, 0, 0, 1, 1]).toarray()
    )


@pytest.mark.parametrize("weight", [1j, None, np.ones(2)])
def test_a_weight_must_be_a_real_number(weight):
    acc = bm.BlockAccumulator([0, 0])
    with pytest.raises(TypeError, match="expected a real number"):
        acc.add_outer([1.0, 2.0], weight=weight)
    assert acc.matrix().norm() == 0
