"""BlockAccumulator with weights, missing values, variances of its own and a half-life."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import blockmat as bm
from blockmat.exceptions import DtypeError, NonFiniteError, PartitionMismatchError, ShapeError
from blockmat.testing import assert_matches_dense, partitions, project_dense
from tests.cases import DTYPES, random_array

P = bm.Partition.from_labels([0, 1, 0, 2, 1, 0])


@st.composite
def batches(draw, dtypes=DTYPES):
    p = draw(partitions(max_n=8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(dtypes))
    X = random_array(rng, (p.n_blocks + draw(st.integers(3, 9)), p.n), dtype)
    return p, X, rng.integers(1, 4, len(X)), draw(st.integers(1, len(X) - 1))


@given(batches(), st.sampled_from(["frequency", "reliability"]), st.booleans())
def test_weighted_batches_have_the_fit_of_all_samples(case, kind, aligned):
    p, X, w, cut = case
    acc = bm.BlockAccumulator(p, aligned)
    for part in (slice(cut), slice(cut, None)):
        acc.add_samples(X[part], sample_weight=w[part], weight_type=kind)
    A = acc.covariance()
    expected = bm.fit_samples(X, p, aligned=aligned, sample_weight=w, weight_type=kind)
    assert A.dtype == X.dtype
    assert_matches_dense(A, expected.toarray(), condition=20)
    double = X.astype(np.result_type(X, float))
    outer = (double.T * w) @ double.conj()
    assert_matches_dense(acc.matrix(), project_dense(outer, p, aligned=aligned), condition=10)
    assert acc.n_samples == w.sum()


def recent(T, half_life):
    return 0.5 ** (np.arange(T)[::-1] / half_life)


@given(batches([np.float64]), st.floats(1, 30), st.sampled_from([{}, {"missing": "pairwise"}]))
def test_a_half_life_gives_recent_samples_more_weight(case, half_life, options):
    """The batches do not matter; a sample that counts twice is two samples of the same age."""
    p, X, w, cut = case
    acc = bm.BlockAccumulator(p, half_life=half_life, **options)
    for part in (slice(cut), slice(cut, None)):
        acc.add_samples(X[part], sample_weight=w[part])
    single = np.repeat(recent(len(X), half_life), w)
    assert acc.n_samples == pytest.approx(single.sum())
    repeated = np.repeat(X, w, axis=0)
    cov = np.atleast_2d(np.cov(repeated, rowvar=False, aweights=single))
    effective = single.sum() ** 2 / (single**2).sum()
    dense = project_dense(cov, p)
    if np.linalg.eigvalsh(dense).min() > 1e-6 * np.abs(dense).max() or not options:
        condition = 20 / (1 - 1 / effective)
        assert_matches_dense(acc.covariance(), dense, rtol=1e-12, condition=condition)


def test_a_half_life_applies_to_outer_products():
    acc = bm.BlockAccumulator([0], half_life=2)
    for x in ([1.0], [2.0], [3.0]):
        acc.add_outer(x)
    assert acc.matrix().toarray()[0, 0] == pytest.approx(1 / 2 + 4 / np.sqrt(2) + 9)


def gappy(rng, T, share=0.2, spread=1.0):
    X = rng.standard_normal((T, 3))[:, P.labels] + rng.standard_normal((T, P.n))
    X = 3 + spread * X
    X[rng.random(X.shape) < share] = np.nan
    return X


def test_one_batch_has_the_fit_of_its_samples():
    X = gappy(np.random.default_rng(0), 50)
    w = np.arange(50) % 3
    acc = bm.BlockAccumulator(P, missing="pairwise")
    acc.add_samples(X, sample_weight=w)
    expected = bm.fit_samples(X, P, sample_weight=w, missing="pairwise")
    assert type(acc.covariance()) is bm.BlockConstantMatrix
    assert_matches_dense(acc.covariance(), expected.toarray())
    assert acc.n_samples == w.sum()


@given(st.integers(0, 2**32 - 1), st.floats(-50, 50))
def test_means_of_blocks_may_move(seed, shift):
    """The means of the first batch will do if the variables of a block move alike."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, P.n))
    for half in (X[:30], X[30:]):
        for column in half.T:  # with as many gaps in each column, means move alike
            column[rng.choice(30, 5, replace=False)] = np.nan
        half -= np.nanmean(half, axis=0)
    X[:30] += shift * np.array([1, -2, 3])[P.labels]
    acc = bm.BlockAccumulator(P, missing="pairwise")
    acc.add_samples(X[:30])
    acc.add_samples(X[30:])
    expected = bm.fit_samples(X, P, missing="pairwise").toarray()
    assert_matches_dense(acc.covariance(), expected, condition=10)


def test_other_moves_of_means_have_a_small_effect():
    """The mean of the product of shifts is 0.01, of which gaps leave a part of about 1 / 100."""
    X = gappy(np.random.default_rng(0), 20_000, 0.3)
    expected = bm.fit_samples(X, P, missing="pairwise").toarray()
    for sign in (-1, 1):
        location = np.nanmean(X, axis=0) + 0.1 * sign * np.arange(-2, 4)
        acc = bm.BlockAccumulator(P, missing="pairwise", location=location)
        acc.add_samples(X)
        np.testing.assert_allclose(acc.covariance().toarray(), expected, atol=2e-3)


@given(batches([np.float64]), st.floats(-1e3, 1e3))
def test_without_gaps_any_location_gives_the_same(case, shift):
    p, X, w, cut = case
    location = shift * np.random.default_rng(0).standard_normal(p.n)
    acc = bm.BlockAccumulator(p, missing="pairwise", location=location)
    acc.add_samples(X[:cut], sample_weight=w[:cut])
    acc.add_samples(X[cut:], sample_weight=w[cut:])
    dense = bm.fit_samples(X, p, sample_weight=w).toarray()
    if np.linalg.eigvalsh(dense).min() > 1e-4 * np.abs(dense).max():
        # Squares of the shift cancel.
        assert_matches_dense(acc.covariance(), dense, condition=10 + shift**2)


@given(batches([np.float64, np.float32]), st.sampled_from(["raise", "pairwise"]))
def test_scaled_correlations_are_means_in_units_of_the_scale(case, missing):
    p, X, w, cut = case
    scale = np.exp(np.random.default_rng(0).standard_normal(p.n))
    acc = bm.BlockAccumulator(p, missing=missing, scaled=True, scale=scale)
    acc.add_samples(X[:cut], sample_weight=w[:cut])
    acc.add_samples(X[cut:], sample_weight=w[cut:])
    A = acc.covariance()
    assert type(A) is bm.ScaledBlockMatrix
    assert A.dtype == X.dtype
    cov = np.atleast_2d(np.cov(X.astype(float), rowvar=False, fweights=w))
    rtol = 1e-10 if X.dtype == np.float64 else 1e-4
    np.testing.assert_allclose(A.diagonal(), np.diag(cov), rtol=rtol)
    B = project_dense(cov / np.outer(scale, scale), p)
    B /= np.sqrt(np.outer(np.diag(B), np.diag(B)))
    if np.linalg.eigvalsh(B).min() > 1e-2:
        own = np.sqrt(np.diag(cov))
        assert_matches_dense(A, B * np.outer(own, own), rtol=rtol)


def test_the_scale_is_that_of_the_first_samples():
    """Also of variables whose first values come later. With one batch it is the fit of correlations."""
    rng = np.random.default_rng(0)
    X = gappy(rng, 80) * np.exp(rng.standard_normal(P.n))
    X[:20, 1] = np.nan
    acc = bm.BlockAccumulator(P, missing="pairwise", scaled=True)
    acc.add_samples(X[:20])
    acc.add_samples(X[20:40])
    acc.add_samples(X[40:])
    first = np.where(np.arange(P.n) == 1, X[20:40], X[:20])
    location, scale = np.nanmean(first, axis=0), np.nanstd(first, axis=0)
    again = bm.BlockAccumulator(P, missing="pairwise", scaled=True, location=location, scale=scale)
    again.add_samples(X[:20])
    again.merge(pickle.loads(pickle.dumps(again)))
    again.decay(0.5)
    again.add_samples(X[20:])
    # Samples that are added twice and decayed have their weight again, except in the divisor.
    assert_matches_dense(acc.covariance(0), again.covariance(0).toarray(), condition=10)

    whole = bm.BlockAccumulator(P, missing="pairwise", scaled=True)
    whole.add_samples(X)
    Z = (X - np.nanmean(X, axis=0)) / np.nanstd(X, axis=0)
    B = bm.fit_samples(Z, P, 0, True, missing="pairwise").toarray()
    own = np.nanstd(X, axis=0)
    assert_matches_dense(whole.covariance(ddof=0), B * np.outer(own, own), condition=10)


def test_merging_equals_concatenation_if_the_references_are_the_same():
    X = gappy(np.random.default_rng(0), 60)
    options = {"missing": "pairwise", "scaled": True}
    given = {"location": np.full(P.n, 3.0), "scale": np.ones(P.n)}
    first, second, whole = (bm.BlockAccumulator(P, **options, **given) for _ in range(3))
    first.merge(second)
    first.add_samples(X[:20])
    second.add_samples(X[20:])
    whole.add_samples(X)
    first.merge(second)
    assert_matches_dense(first.covariance(), whole.covariance().toarray())
    other, empty = bm.BlockAccumulator(P, **options), bm.BlockAccumulator(P, **options)
    other.add_samples(X[20:])
    with pytest.raises(ValueError, match="other has another location or scale; expected the same"):
        first.merge(other)
    empty.merge(other)
    assert_matches_dense(empty.covariance(), other.covariance().toarray())
    for kind in ({}, {"missing": "pairwise"}, {"scaled": True}):
        with pytest.raises(
            PartitionMismatchError, match="another aligned, missing, scaled or half_life"
        ):
            first.merge(bm.BlockAccumulator(P, **kind))


def test_nothing_changes_before_an_error():
    X = gappy(np.random.default_rng(0), 60)
    acc = bm.BlockAccumulator(P, missing="pairwise", scaled=True, half_life=10)
    acc.add_samples(X)
    before = acc.covariance().toarray()
    X[3, 2] = np.inf
    with pytest.raises(NonFiniteError, match="infinity in row 3 and column 2"):
        acc.add_samples(X)
    assert_matches_dense(acc.covariance(), before, rtol=0)
    strict = bm.BlockAccumulator(P, scaled=True)
    with pytest.raises(NonFiniteError, match=r"X contains NaN or infinity in row \d"):
        strict.add_samples(X)
    assert strict.n_samples == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"missing": "em"}, ValueError, "missing is 'em'; expected 'raise' or 'pairwise'"),
        (
            {"location": [1] * 6},
            ValueError,
            "location or scale is given; expected only with missing",
        ),
        ({"missing": "pairwise", "scale": [1] * 6}, ValueError, "expected only with scaled=True"),
        ({"scaled": True, "aligned": True}, ValueError, "aligned is True; expected False with"),
        ({"scaled": True, "scale": [1]}, ShapeError, "scale has length 1; expected 6, one per"),
        ({"scaled": True, "scale": [1j] * 6}, DtypeError, "scale has dtype complex128"),
        ({"scaled": True, "scale": [1, 0] * 3}, ValueError, r"scale is 0\.0 at index 1; expected"),
        ({"scaled": True, "location": [np.nan] * 6}, NonFiniteError, "location contains nan"),
        ({"half_life": 0}, ValueError, "half_life is 0; expected a positive number of samples"),
        ({"half_life": np.inf}, ValueError, "half_life is inf; expected a positive number"),
        ({"half_life": "a"}, TypeError, "half_life is 'a'; expected a positive number"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        bm.BlockAccumulator(P, **options)


def test_bad_samples_are_refused():
    acc = bm.BlockAccumulator([0, 0], scaled=True)
    for call in (lambda: acc.add_outer([1, 2]), acc.matrix):
        with pytest.raises(
            ValueError, match="it has no sum of outer products; expected add_samples"
        ):
            call()
    with pytest.raises(
        ValueError, match=r"column 1 of X is constant; expected .* the argument scale"
    ):
        acc.add_samples([[1, 2], [3, 2]])
    with pytest.raises(ValueError, match="the accumulator has no samples"):
        acc.covariance()
    acc = bm.BlockAccumulator([0, 0, 0], missing="pairwise", scaled=True, scale=[1, 1, 1])
    acc.add_samples([[1, 2, 1], [3, 1, np.nan], [1, 4, np.nan], [2, 1, np.nan]])
    with pytest.raises(ValueError, match="X has too few values for ddof=1 in 1 of its columns: 2"):
        acc.covariance()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("missing", ["raise", "pairwise"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_constant_variables_have_no_correlations(missing, value):
    """Their sums of squares about the location cancel, to either sign of rounding."""
    X = np.random.default_rng(0).standard_normal((3000, 3))
    X[:, 1] = value
    acc = bm.BlockAccumulator(
        [0, 1, 0], missing=missing, scaled=True, location=[0.3] * 3, scale=[1] * 3
    )
    acc.add_samples(X[:700])
    acc.add_samples(X[700:])
    with pytest.raises(
        ValueError, match="X is constant to rounding in 1 of its columns: 1; expected variables"
    ):
        acc.covariance()
    acc.add_samples(X[::-1] + [0, 1e-5, 0])
    if value == 0.1:
        assert acc.covariance().diagonal()[1] == pytest.approx(2.5e-11, rel=1e-2)


def test_a_series_of_locations_is_matched_to_the_labels():
    pd = pytest.importorskip("pandas")
    labels = pd.Series([0, 0, 1, 1], index=list("abcd"))
    location, scale = pd.Series([1.0, 2, 3, 4], index=labels.index), pd.Series([1.0, 3, 1, 5])
    X = np.random.default_rng(0).standard_normal((20, 4))
    X[3, 1] = np.nan
    results = []
    for center in (location[::-1], location.to_numpy()):
        acc = bm.BlockAccumulator(
            labels, missing="pairwise", scaled=True, location=center, scale=scale
        )
        acc.add_samples(pd.DataFrame(X, columns=labels.index))
        results.append(acc.covariance().toarray())
    np.testing.assert_array_equal(*results)
    with pytest.raises(ValueError, match="location has another index than the labels; expected"):
        bm.BlockAccumulator(labels, scaled=True, location=location.rename({"a": "x"}))


T40 = np.exp(2j * np.pi * np.arange(40) / 40)
CIRCLES = np.stack([T40, 2 * T40, 1j * T40, T40**2], axis=1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("missing", ["raise", "pairwise"])
@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_complex_samples_have_a_scale_of_their_own(missing, dtype, seed):
    """One batch has the fit of its correlations.

    Sums of 40 products are exact to 100 eps. The circles have a correlation of 1, so an eigenvalue
    is raised from zero to sqrt(eps).
    """
    Y, rounding = CIRCLES, 2 * np.sqrt(np.finfo(dtype).eps)
    if seed is not None:
        rng, rounding = np.random.default_rng(seed), 100 * np.finfo(dtype).eps
        Y = rng.standard_normal((40, 4)) * [1, 0, 3, 0.1] + 1j * rng.standard_normal((40, 4)) + 5
    Y = Y.astype(dtype)
    acc = bm.BlockAccumulator([0, 0, 1, 1], scaled=True, missing=missing)
    acc.add_samples(Y)
    A = acc.covariance()
    assert A.dtype == dtype
    Z = Y.astype(complex) - Y.astype(complex).mean(axis=0)
    S = np.sqrt((np.abs(Z) ** 2).sum(axis=0) / 39)
    R = (Z / S).T @ (Z / S).conj() / 39
    expected = project_dense(R, [0, 0, 1, 1]) * np.outer(S, S)
    np.testing.assert_allclose(A.toarray(), expected, rtol=0, atol=rounding * S.max() ** 2)
    np.testing.assert_allclose(acc.mean, Y.mean(axis=0), atol=100 * np.finfo(dtype).eps * 6)


@pytest.mark.filterwarnings("error")
def test_complex_samples_with_gaps_have_a_scale():
    """A value is missing if one of its parts is NaN. The scale is that of the observed values."""
    Y = CIRCLES + 3
    Y[3, 1], Y[7, 2] = complex(np.nan, 1), complex(1, np.nan)
    acc = bm.BlockAccumulator([0, 0, 1, 1], scaled=True, missing="pairwise")
    acc.add_samples(Y)
    observed = [column[~np.isnan(column)] for column in Y.T]
    variances = [column.var(ddof=1) for column in observed]
    np.testing.assert_allclose(acc.covariance().diagonal().real, variances, rtol=1e-12)


def test_complex_variables_are_constant_if_both_parts_are():
    Y = CIRCLES.copy()
    Y.real[:, 1] = Y.imag[:, 2] = 2
    bm.BlockAccumulator([0, 0, 1, 1], scaled=True).add_samples(Y)
    Y[:, 1] = 2 + 1j
    with pytest.raises(ValueError, match="column 1 of X is constant"):
        bm.BlockAccumulator([0, 0, 1, 1], scaled=True).add_samples(Y)


def test_a_complex_location_needs_complex_samples():
    acc = bm.BlockAccumulator([0, 0, 1, 1], scaled=True, location=[1j] * 4)
    with pytest.raises(
        DtypeError, match="X has dtype float64; expected complex numbers, because location"
    ):
        acc.add_samples(CIRCLES.real)
    acc.add_samples(CIRCLES)
    mixed = bm.BlockAccumulator([0, 0, 1, 1], missing="pairwise")
    for part in (CIRCLES[:20], CIRCLES[20:].real):
        mixed.add_samples(part)
    whole = np.concatenate([CIRCLES[:20], CIRCLES[20:].real])
    expected = bm.fit_samples(whole, [0, 0, 1, 1], missing="pairwise")
    assert_matches_dense(mixed.covariance(), expected.toarray(), condition=10)


@pytest.mark.parametrize("changed", ["location", "scale"])
def test_streams_about_other_references_are_not_merged(changed):
    same = {"location": np.zeros(6), "scale": np.ones(6)}
    X = np.random.default_rng(0).standard_normal((20, 6))
    acc = bm.BlockAccumulator(P, scaled=True, **same)
    other = bm.BlockAccumulator(P, scaled=True, **{**same, changed: np.full(6, 2.0)})
    acc.merge(other)  # without samples it has nothing to add
    for each in (acc, other):
        each.add_samples(X)
    before = acc.covariance().toarray()
    with pytest.raises(ValueError, match="other has another location or scale; expected the same"):
        acc.merge(other)
    np.testing.assert_array_equal(acc.covariance().toarray(), before)


def test_accumulators_with_another_half_life_are_not_merged():
    acc = bm.BlockAccumulator(P, half_life=3)
    acc.merge(bm.BlockAccumulator(P, half_life=3.0))
    for half_life in (None, 4):
        with pytest.raises(
            PartitionMismatchError, match="another aligned, missing, scaled or half_"
        ):
            acc.merge(bm.BlockAccumulator(P, half_life=half_life))


def test_a_message_names_the_row_among_all_samples():
    X = np.ones((4, 6))
    X[0, 0] = X[2, 3] = np.nan
    acc = bm.BlockAccumulator(P, scaled=True, location=[0] * 6, scale=[1] * 6)
    with pytest.raises(NonFiniteError, match="in row 2 and column 3"):
        acc.add_samples(X, sample_weight=[0, 1, 1, 1])


def test_samples_without_values_change_nothing():
    X = gappy(np.random.default_rng(0), 40)
    X = X[~np.isnan(X).all(axis=1)]
    results = []
    for rows in (X, np.insert(X, [5] * 20, np.nan, axis=0)):
        acc = bm.BlockAccumulator(P, missing="pairwise", location=np.arange(P.n))
        acc.add_samples(rows)
        assert acc.n_samples == len(X)
        results.append(acc.covariance())
    assert_matches_dense(results[1], results[0].toarray())


@given(
    batches(), st.floats(1, 30), st.sampled_from([{}, {"missing": "pairwise"}, {"scaled": True}])
)
def test_the_mean_is_that_of_all_weighted_samples(case, half_life, options):
    p, X, w, cut = case
    X = X + 100
    if "scaled" in options and np.abs(X[:cut] - X[0]).max(axis=0).min() == 0:
        return
    acc = bm.BlockAccumulator(p, half_life=half_life, **options)
    for part in (slice(cut), slice(cut, None)):
        acc.add_samples(X[part], sample_weight=w[part])
    f = w * recent(len(X), half_life)
    assert acc.mean.dtype == X.dtype
    expected = f @ X.astype(np.result_type(X, float)) / f.sum()
    # Numbers near 100 are summed in double precision and rounded to the dtype.
    np.testing.assert_allclose(acc.mean, expected, rtol=4 * np.finfo(X.dtype).eps + 1e-14)


def test_the_mean_counts_observed_values_only():
    X = np.arange(24.0).reshape(4, 6)
    X[1, 2] = X[:3, 4] = np.nan
    acc = bm.BlockAccumulator(P, missing="pairwise")
    for row in X:
        acc.add_samples(row[None])
    np.testing.assert_allclose(acc.mean, np.nanmean(X, axis=0), rtol=1e-14)


@pytest.mark.parametrize("options", [{"missing": "pairwise"}, {"scaled": True}, {}])
def test_there_is_no_mean_without_samples(options):
    acc = bm.BlockAccumulator(P, **options)
    with pytest.raises(ValueError, match="has no samples; expected add_samples before mean"):
        _ = acc.mean


def test_messages_name_the_columns_of_a_frame():
    df = pd.DataFrame(
        random_array(np.random.default_rng(0), (5, 6), np.float64), columns=list("abcdef")
    )
    df[["b", "e"]] = np.nan
    acc = bm.BlockAccumulator(P, missing="pairwise")
    acc.add_samples(df)
    for use in (acc.covariance, lambda: acc.mean):
        with pytest.raises(ValueError, match="X has no value in 2 of its columns: 'b', 'e'"):
            use()
    with pytest.raises(ValueError, match="column 'c' of X is constant"):
        bm.BlockAccumulator(P, scaled=True).add_samples(df.fillna(0.0).assign(c=1.0, b=df["a"]))
