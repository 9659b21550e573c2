"""Weights of samples, compared with repeated rows and with `numpy.cov`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import blockmat as bm
from blockmat.exceptions import DtypeError, NonFiniteError, ShapeError
from blockmat.sources.weights import as_weights
from blockmat.testing import assert_matches_dense, partitions, project_dense
from tests.cases import DTYPES, random_array

EPS = np.finfo(np.float64).eps


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any), st.integers(0, 3))
def test_frequency_weights_count_rows(counts, ddof):
    weights = as_weights(counts, len(counts))
    assert weights.values.dtype == np.float64
    assert not weights.values.flags.writeable
    assert weights.total == weights.n_effective == sum(counts)
    if ddof < sum(counts):
        assert weights.divisor(ddof) == sum(counts) - ddof
    else:
        with pytest.raises(ValueError, match=f"ddof is {ddof}; expected less than the number"):
            weights.divisor(ddof)


@given(st.lists(st.floats(0.01, 9), min_size=3, max_size=9), st.floats(1e-50, 1e50))
def test_reliability_weights_have_the_divisor_of_numpy(w, factor):
    """Their unit does not matter, and the divisor is that of ``aweights``."""
    w, x = np.array(w), np.arange(len(w)) ** 2.0
    weights = as_weights(w * factor, len(w), "reliability")
    n = w.sum() ** 2 / (w**2).sum()
    assert weights.n_effective == pytest.approx(n, rel=32 * EPS)
    products = (weights.values * (x - np.average(x, weights=w)) ** 2).sum()
    expected = np.cov(x, aweights=w, ddof=1)
    assert products / weights.divisor(1) == pytest.approx(expected, rel=64 * EPS * n / (n - 1))


@given(st.lists(st.integers(1, 5), min_size=2, max_size=9), st.floats(0.5, 20))
def test_decayed_weights_are_those_of_decayed_repeated_rows(counts, half_life):
    """A sample that counts twice is two samples, which both lose weight."""
    factors = 0.5 ** (np.arange(len(counts))[::-1] / half_life)
    weights = as_weights(counts, len(counts)).decayed(half_life)
    single = np.repeat(factors, counts)
    assert weights.values == pytest.approx(factors * counts)
    assert weights.total == pytest.approx(single.sum())
    assert weights.n_effective == pytest.approx(single.sum() ** 2 / (single**2).sum())
    kept = np.arange(len(counts)) > 0
    assert weights.where(kept).total == pytest.approx((factors * counts)[1:].sum())


def test_no_weights_are_ones():
    for kind in ("frequency", "reliability"):
        weights = as_weights(None, 4, kind)
        assert weights.values.tolist() == [1, 1, 1, 1]
        assert (weights.total, weights.n_effective, weights.divisor(1)) == (4, 4, 3)


@pytest.mark.parametrize(
    ("w", "error", "message"),
    [
        ([1, 2], ShapeError, "w has length 2; expected 3, one per sample"),
        ([[1, 2, 3]], ShapeError, "w is 2-d"),
        ([1, -2, 3], ValueError, "w is -2.0 at index 1; expected at least 0"),
        ([0, 0, 0], ValueError, "w has only zeros; expected a positive sum"),
        ([1, 1e70, 1], ValueError, "w is up to 1e.70; expected weights near 1"),
        ([1, np.nan, 1], NonFiniteError, "w contains nan at index 1"),
        ([1, 1j, 1], DtypeError, "w has dtype complex128; expected real numbers"),
        (["a", "b", "c"], DtypeError, "w has dtype"),
    ],
)
def test_bad_weights_are_refused(w, error, message):
    with pytest.raises(error, match=message):
        as_weights(w, 3, name="w")


def test_unknown_types_of_weights_are_refused():
    with pytest.raises(ValueError, match="weight_type is 'count'; expected 'frequency' or"):
        as_weights([1], 1, "count")


@st.composite
def weighted_samples(draw):
    p = draw(partitions(max_n=10))
    dtype = draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = random_array(rng, (draw(st.integers(2, 8)), p.n), dtype)
    w = draw(st.lists(st.integers(0, 5), min_size=len(X), max_size=len(X)))
    w = np.array(w) + 2 * (np.arange(len(X)) < 2)  # two samples have a weight
    return p, X + dtype(2), w, draw(st.booleans()), draw(st.booleans())


@given(weighted_samples(), st.integers(0, 1))
def test_integer_weights_give_the_fit_of_repeated_rows(case, ddof):
    p, X, w, aligned, centred = case
    A = bm.fit_samples(X, p, ddof, centred, aligned, sample_weight=w)
    expected = bm.fit_samples(np.repeat(X, w, axis=0), p, ddof, centred, aligned)
    assert A.dtype == X.dtype
    assert_matches_dense(A, expected.toarray(), condition=10)


@given(weighted_samples(), st.sampled_from(["fweights", "aweights"]))
def test_weights_are_those_of_numpy(case, name):
    p, X, w, aligned, _ = case
    kind = "frequency" if name == "fweights" else "reliability"
    A = bm.fit_samples(X, p, 1, aligned=aligned, sample_weight=w, weight_type=kind)
    cov = np.atleast_2d(np.cov(X.astype(np.result_type(X, float)), rowvar=False, **{name: w}))
    # The divisor of reliability weights is a difference, which cancels for one large weight.
    condition = 10 * w.sum() / (w.sum() - (w**2).sum() / w.sum())
    assert_matches_dense(A, project_dense(cov, p, aligned=aligned), condition=condition)


def test_samples_of_weight_zero_are_left_out():
    """So they may contain NaN; messages name the row in X."""
    X = np.random.default_rng(0).standard_normal((5, 3))
    X[1] = np.nan
    w = [1, 0, 2, 1, 1]
    expected = bm.fit_samples(X[[0, 2, 2, 3, 4]], [0, 0, 1])
    assert_matches_dense(bm.fit_samples(X, [0, 0, 1], sample_weight=w), expected.toarray())
    X[3, 1] = np.inf
    with pytest.raises(NonFiniteError, match="in row 3 and column 1"):
        bm.fit_samples(X, [0, 0, 1], sample_weight=w)


def test_small_deviations_in_a_block_keep_their_digits():
    """The deviations are computed before their squares, as without weights."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 1)) + 1e-6 * rng.standard_normal((50, 4))
    w = rng.integers(1, 4, 50)
    expected = bm.fit_samples(np.repeat(X, w, axis=0), [0, 0, 0, 0])
    A = bm.fit_samples(X, [0, 0, 0, 0], sample_weight=w)
    np.testing.assert_allclose(A.within, expected.within, rtol=1e-9)  # eps times 1 / 1e-6


def test_weights_of_many_chunks():
    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((5000, 3)) + 5, rng.integers(0, 2, 5000)
    w[1024:2048] = 0
    A = bm.fit_samples(X, [0, 1, 0], sample_weight=w)
    assert_matches_dense(A, bm.fit_samples(X[w > 0], [0, 1, 0]).toarray())


def test_the_divisor_must_be_positive():
    with pytest.raises(
        ValueError, match=r"ddof is 1; expected less than the number of samples, 0\.5"
    ):
        bm.fit_samples(np.eye(2), [0, 1], sample_weight=[0.5, 0])


@pytest.mark.parametrize("chunks", [(3, 4), (3, 2), (1, 4)])
@pytest.mark.parametrize("kind", ["frequency", "reliability"])
@pytest.mark.parametrize("centred", [False, True])
def test_dask_arrays_have_weights(chunks, kind, centred):
    da = pytest.importorskip("dask.array")
    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((9, 4)) + 1, np.array([1, 0, 3, 0, 0, 0, 1, 2, 1])
    X[1, 2] = np.nan
    p = bm.Partition.from_labels([0, 1, 0, 1])
    options = {"sample_weight": w, "weight_type": kind, "assume_centered": centred}
    expected = bm.fit_samples(X, p, **options)
    lazy = da.from_array(X, chunks=chunks)
    assert_matches_dense(bm.fit_samples(lazy, p, **options), expected.toarray())
    X[7, 3] = np.inf
    with pytest.raises(NonFiniteError, match="in row 7 and column 3"):
        bm.fit_samples(da.from_array(X, chunks=chunks), p, **options)
