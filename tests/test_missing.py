"""Samples with missing values, compared with loops over pairs and with dense conditioning."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

import blockmat as bm
from blockmat.cores.definite import definite_pair
from blockmat.exceptions import DtypeError, NonFiniteError, SingularMatrixError
from blockmat.sources.em import Estimate, em_fit
from blockmat.sources.observed import ObservedSamples
from blockmat.sources.standardize import standardize
from blockmat.sources.standardize_observed import standardize_observed
from blockmat.sources.weights import as_weights
from blockmat.testing import assert_matches_dense, partitions, project_dense
from tests.cases import DTYPES, random_array

P = bm.Partition.from_labels([0, 1, 0, 2, 1, 0, 3, 3])


def with_gaps(rng, shape, dtype=np.float64, share=0.2):
    """Samples with gaps; the first and the last rows are complete, so that each pair is observed."""
    X = random_array(rng, shape, dtype) + dtype(2)
    gaps = rng.random(shape) < share
    gaps[:2] = gaps[-1] = False
    X[gaps] = np.nan
    return X


def pairwise_dense(X, w, p, ddof, kind, centred=False):
    """The values (k, k) and variances (k,) by loops over pairs of entries."""
    k = p.n_blocks
    products, counts, squares, pairs = np.zeros((4, k, k), dtype=np.result_type(X, float))
    own = np.zeros((4, k))
    seen = ~np.isnan(X)
    mean = [
        0 if centred else np.average(x[o], weights=w[o]) for x, o in zip(X.T, seen.T, strict=True)
    ]
    Z = np.where(seen, X - np.array(mean), 0)
    for i in range(p.n):
        for j in range(p.n):
            a, b = p.labels[[i, j]]
            both = w * seen[:, i] * seen[:, j]
            numbers = (both @ (Z[:, i] * Z[:, j].conj()), both.sum(), both @ w, 1)
            if i == j:
                own[:, a] += np.real(numbers)
            else:
                for total, number in zip((products, counts, squares, pairs), numbers, strict=True):
                    total[a, b] += number
    lost, own_lost = 1, 1
    if kind == "reliability":
        lost, own_lost = squares / np.where(counts, counts, 1), own[2] / own[1]
    counts = counts - ddof * lost * pairs
    values = products / np.where(pairs, counts, 1)
    return values, own[0] / (own[1] - ddof * own_lost * own[3])


@st.composite
def gappy(draw, dtypes=DTYPES):
    p = draw(partitions(max_n=8))
    dtype = draw(st.sampled_from(dtypes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = with_gaps(rng, (draw(st.integers(4, 9)), p.n), dtype, draw(st.sampled_from([0.1, 0.5])))
    X[1, 0] = np.nan  # there is a gap
    return p, X, rng.integers(1, 4, len(X))


@given(gappy(), st.sampled_from(["frequency", "reliability"]), st.integers(0, 1), st.booleans())
def test_pairwise_values_are_means_over_observed_pairs(case, kind, ddof, centred):
    p, X, w = case
    options = {"sample_weight": w, "weight_type": kind, "missing": "pairwise"}
    A = bm.fit_samples(X, p, ddof, centred, **options)
    assert A.dtype == X.dtype
    assert np.linalg.eigvalsh(A.toarray()).min() > 0
    values, variances = pairwise_dense(
        X.astype(np.result_type(X, float)), w, p, ddof, kind, centred
    )
    least = np.sqrt(np.finfo(X.real.dtype).eps)
    between, within = definite_pair(values, variances, p.sizes, least)
    expected = bm.BlockConstantMatrix(p, between, within).toarray()
    # The repair of a negative eigenvalue is as sharp as its gap to the next one.
    assert_matches_dense(A, expected, rtol=1e-9 if least < 1e-6 else 1e-3)
    np.testing.assert_allclose(A.diagonal(), variances[p.labels], rtol=100 * least**2)


def test_pairwise_values_of_many_samples_are_not_changed():
    X = with_gaps(np.random.default_rng(0), (3000, P.n))
    values, variances = pairwise_dense(X, np.ones(len(X)), P, 1, "frequency")
    dense = values[np.ix_(P.labels, P.labels)]
    np.fill_diagonal(dense, variances[P.labels])
    assert_matches_dense(bm.fit_samples(X, P, missing="pairwise"), dense)


@given(gappy([np.float64]), st.sampled_from(["pairwise", "em"]))
def test_integer_weights_repeat_rows(case, missing):
    p, X, w = case
    X = np.concatenate([X, np.random.default_rng(0).standard_normal((p.n_blocks + 2, p.n))])
    w = np.concatenate([w, np.zeros(1, int), np.ones(p.n_blocks + 1, int)])
    X[len(w) - p.n_blocks - 2] = np.inf  # a sample of weight zero is left out
    A = bm.fit_samples(X, p, sample_weight=w, missing=missing)
    expected = bm.fit_samples(np.repeat(X, w, axis=0), p, missing=missing)
    assert_matches_dense(A, expected.toarray(), rtol=1e-6)  # EM stops at steps of 1e-7


@pytest.mark.parametrize("missing", ["pairwise", "em"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_complete_samples_have_the_plain_fit(missing, dtype):
    X = random_array(np.random.default_rng(0), (3, P.n), dtype)  # also if it is singular
    w = np.array([1, 2, 0])
    for options in ({}, {"aligned": True}, {"sample_weight": w}):
        expected = bm.fit_samples(X, P, **options).toarray()
        assert_matches_dense(bm.fit_samples(X, P, missing=missing, **options), expected)


@pytest.mark.parametrize("missing", ["pairwise", "em"])
def test_samples_without_values_do_not_count(missing):
    X = with_gaps(np.random.default_rng(0), (40, P.n))
    X[[3, 7]] = np.nan
    expected = bm.fit_samples(np.delete(X, [3, 7], axis=0), P, missing=missing)
    assert_matches_dense(bm.fit_samples(X, P, missing=missing), expected.toarray(), rtol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("missing", ["pairwise", "em"])
@pytest.mark.parametrize("exponent", [-500, -300, 300, 500, 510])
def test_the_unit_of_samples_does_not_matter(missing, exponent):
    """Squares of variances overflow from 2**256 on, and sums of squares from about 2**509 on."""
    X = with_gaps(np.random.default_rng(0), (60, P.n)) / 4
    expected = bm.fit_samples(X, P, missing=missing).toarray()
    A = bm.fit_samples(X * 2.0**exponent, P, missing=missing).toarray()
    scale = 2.0**-exponent
    assert_matches_dense(A * scale * scale, expected, rtol=1e-14)


@pytest.mark.parametrize("missing", ["pairwise", "em"])
def test_a_fit_that_overflows_is_refused(missing):
    X = with_gaps(np.random.default_rng(0), (60, P.n)) * 2.0**600
    with pytest.raises(NonFiniteError, match="the result overflows; expected numbers below"):
        bm.fit_samples(X, P, missing=missing, check_finite=False)


# Standardized samples


@given(gappy([np.float32, np.float64]), st.booleans(), st.booleans(), st.sampled_from([1, 1e-250]))
def test_standardized_columns_have_their_weighted_mean_and_variance(case, centre, unit, factor):
    _, X, w = case
    factor = factor if X.dtype == np.float64 else 1
    X, w = np.concatenate([X, X[:1]]) * X.dtype.type(factor), np.append(w, 0)
    X[2], X[-1] = np.nan, np.inf  # one without values, and one of weight zero
    z = standardize_observed(X, as_weights(w, len(X)), centre, unit)
    seen = ~np.isnan(X) & (w > 0)[:, None]
    np.testing.assert_array_equal(z.observed, seen)
    np.testing.assert_array_equal(np.isnan(z.with_gaps()), ~seen)
    assert z.deviations.dtype == np.float64
    assert not z.deviations[~seen].any()
    np.testing.assert_array_equal(z.counts, w @ seen)
    assert z.weights.total == w[seen.any(axis=1)].sum()
    for i, (x, o) in enumerate(zip(X.T.astype(float), seen.T, strict=True)):
        mean = np.average(x[o], weights=w[o]) if centre else 0
        assert z.location[i] / factor == pytest.approx(mean / factor, rel=1e-13)
        if not unit:
            assert z.scale[i] == 1
        elif centre:
            scale = np.std(np.repeat(x[o] / factor, w[o]))
            assert z.scale[i] / factor == pytest.approx(scale, rel=1e-12)
        np.testing.assert_allclose(
            (z.location + z.scale * z.deviations)[o, i] / factor, x[o] / factor, atol=1e-12
        )
        squares = w[o] @ z.deviations[o, i] ** 2 / w[o].sum()
        assert not unit or squares == pytest.approx(1, rel=1e-12)


def test_standardized_samples_without_gaps_are_those_of_before():
    X = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    expected = standardize(X)
    z = standardize_observed(X, as_weights(None, 50))
    np.testing.assert_allclose(z.deviations, expected.deviations, atol=1e-13)
    np.testing.assert_allclose(z.scale, expected.scale, rtol=1e-13)


def test_a_large_mean_is_subtracted_to_the_rounding_of_the_deviations():
    X = 1e9 + np.random.default_rng(0).standard_normal((5000, 3))
    X[::7, 1] = np.nan
    z = standardize_observed(X, as_weights(None, len(X)))
    np.testing.assert_allclose(z.deviations.sum(axis=0) / z.counts, 0, atol=1e-13)


def test_columns_that_cannot_be_standardized_are_refused():
    X = np.array([[1, 2.0], [np.nan, 2], [3, 5]])
    weights = as_weights([1, 1, 0], 3)
    message = "X has only one value in 1 of its columns: 0; expected at least 2 .* in each column!"
    with pytest.raises(ValueError, match=message):
        standardize_observed(X, weights, hint="!")
    constant = np.where(np.isnan(X), 1, X)
    with pytest.raises(
        ValueError, match=r"X is constant in 2 of its columns: 0, 1; expected .* DataFrame!"
    ):
        standardize_observed(constant, weights, hint="!")
    standardize_observed(X, weights, unit_variance=False)
    with pytest.raises(ValueError, match="no value in 1 of its columns: 'a'"):
        standardize_observed(X, as_weights([0, 1, 0], 3), names=["a", "b"])
    X[0, 1] = np.inf
    with pytest.raises(NonFiniteError, match="infinity in row 0 and column 1"):
        standardize_observed(X, weights)


# A positive definite pair


@given(partitions(max_n=9), st.integers(0, 2**32 - 1), st.floats(0, 2))
def test_the_repair_keeps_variances_and_good_pairs(p, seed, spread):
    rng = np.random.default_rng(seed)
    values = spread * rng.standard_normal((p.n_blocks,) * 2)
    values, variances = values + values.T, rng.random(p.n_blocks) + 0.1
    A = bm.BlockConstantMatrix(p, *definite_pair(values, variances, p.sizes, 1e-8))
    assert np.linalg.eigvalsh(A.toarray()).min() > 0
    np.testing.assert_allclose(A.diagonal(), variances[p.labels])
    again = A.toarray()[[np.flatnonzero(p.labels == b)[0] for b in range(p.n_blocks)]]
    off = np.array([[again[a, m[-1]] if len(m) > 1 or a != b else 0.0
                     for b in range(p.n_blocks) for m in [np.flatnonzero(p.labels == b)]]
                    for a in range(p.n_blocks)])  # fmt: skip
    if np.linalg.eigvalsh(A.toarray()).min() > 1e-4:
        between, within = definite_pair(off, A.diagonal()[[m[0] for m in blocks(p)]], p.sizes, 1e-8)
        assert_matches_dense(bm.BlockConstantMatrix(p, between, within), A.toarray(), rtol=1e-12)


def blocks(p):
    return [np.flatnonzero(p.labels == b) for b in range(p.n_blocks)]


def test_eigenvalues_are_raised_to_the_size_of_the_smallest():
    correlation = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    between, within = definite_pair(4 * correlation, np.full(3, 4.0), np.ones(3, int), 1e-8)
    eigenvalues, vectors = np.linalg.eigh(correlation)
    raised = (vectors * np.maximum(eigenvalues, -eigenvalues[0])) @ vectors.T
    scale = 2 / np.sqrt(np.diag(raised))
    np.testing.assert_allclose(between, raised * np.outer(scale, scale), rtol=1e-12)
    assert not within.any()
    # Values above the variance, and a negative variance of a block mean
    between, within = definite_pair(np.array([[1.5]]), np.array([1.0]), np.array([4]), 1e-8)
    assert within == pytest.approx(0.5)
    assert between == pytest.approx(2.5)
    between, within = definite_pair(np.array([[-0.4]]), np.array([1.0]), np.array([4]), 1e-8)
    assert between == pytest.approx(0.2)
    assert within == pytest.approx(3.8 / 3)


# Expectation-maximization


def dense_em_step(X, w, mean, cov, p, centred):
    """One iteration with explicit conditional distributions."""
    filled, extra = np.array(X), np.zeros_like(cov)
    for t, x in enumerate(X):
        o, m = np.flatnonzero(~np.isnan(x)), np.flatnonzero(np.isnan(x))
        G = cov[np.ix_(m, o)] @ np.linalg.inv(cov[np.ix_(o, o)])
        if not len(o):
            w = np.where(np.arange(len(w)) == t, 0, w)  # left out
        filled[t, m] = mean[m] + G @ (x[o] - mean[o])
        extra[np.ix_(m, m)] += w[t] * (cov[np.ix_(m, m)] - G @ cov[np.ix_(o, m)])
    mean = mean if centred else np.average(filled, axis=0, weights=w)
    deviations = filled - mean
    return mean, project_dense(((deviations.T * w) @ deviations + extra) / w.sum(), p)


def dense_likelihood(X, w, mean, cov):
    total = 0.0
    for x, weight in zip(X, w, strict=True):
        o = np.flatnonzero(~np.isnan(x))
        if not len(o):
            continue
        total += weight * multivariate_normal.logpdf(x[o], mean[o], cov[np.ix_(o, o)])
    return total


def observed(X, w=None):
    return ObservedSamples(X, as_weights(w, len(X))).without_empty_rows()


def run_em(X, w, p, centred, steps):
    samples = observed(X, w)
    return em_fit(samples, p, not centred, tolerance=0.0, max_iterations=steps)


def dense_of(estimate, p):
    return bm.BlockConstantMatrix(p, estimate.between, estimate.within).toarray()


@pytest.mark.filterwarnings("ignore:EM has not converged")
@given(gappy([np.float64]), st.booleans())
def test_each_iteration_is_that_of_explicit_conditioning(case, centred):
    p, X, w = case
    X = np.concatenate([X, np.random.default_rng(0).standard_normal((p.n_blocks + 2, p.n))])
    w = np.concatenate([w, np.ones(p.n_blocks + 2)])
    last = run_em(X, w, p, centred, 1).estimate
    for steps in (2, 3):
        result = run_em(X, w, p, centred, steps)
        before = last
        mean, cov = dense_em_step(X, w, before.mean, dense_of(before, p), p, centred)
        last = result.estimate
        condition = np.linalg.cond(cov)
        assert_matches_dense(dense_of(last, p), cov, condition=condition)
        np.testing.assert_allclose(last.mean, mean, atol=1e-13 * condition)
        expected = dense_likelihood(X, w, before.mean, dense_of(before, p))
        assert result.log_likelihoods[-1] == pytest.approx(expected, rel=1e-12 * condition)


@given(gappy([np.float64, np.float32]), st.booleans())
def test_the_likelihood_never_falls_and_is_largest_at_the_end(case, centred):
    p, X, w = case
    more = np.random.default_rng(0).standard_normal((p.n_blocks + 2, p.n))
    X = np.concatenate([X, more.astype(X.dtype)])
    w = np.concatenate([w, np.ones(p.n_blocks + 2)])
    result = em_fit(observed(X, w), p, not centred)
    steps = np.diff(result.log_likelihoods)
    rounding = 1e-12 * max(np.abs(result.log_likelihoods).max(), X.size)
    assert steps.min(initial=0) >= -rounding
    A = bm.fit_samples(X, p, 0, centred, sample_weight=w, missing="em")
    assert A.dtype == X.dtype
    dense = dense_of(result.estimate, p)
    assert_matches_dense(A, dense)
    best = dense_likelihood(X, w, result.estimate.mean, dense)
    for factor in (0.99, 1.01):
        assert dense_likelihood(X, w, result.estimate.mean, factor * dense) < best


def test_values_missing_in_whole_blocks_of_a_sample():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))[:, P.labels] + rng.standard_normal((60, P.n))
    X[:20, P.labels == 0] = np.nan
    X[10:30, P.labels == 1] = np.nan
    result = em_fit(observed(X), P, True)
    mean, cov = result.estimate.mean, dense_of(result.estimate, P)
    next_mean, next_cov = dense_em_step(X, np.ones(60), mean, cov, P, False)
    np.testing.assert_allclose(next_mean, mean, atol=1e-6)  # the tolerance of the last step is 1e-7
    np.testing.assert_allclose(next_cov, cov, atol=1e-6)


def test_em_warns_if_it_stops_early():
    X = with_gaps(np.random.default_rng(0), (20, P.n))
    with pytest.warns(RuntimeWarning, match="EM has not converged after 2 iterations"):
        run_em(X, None, P, False, 2)


@pytest.mark.parametrize("rows", [3, 4])
def test_em_refuses_singular_estimates(rows):
    X = np.random.default_rng(0).standard_normal((rows, P.n))
    X[0, 0] = np.nan
    with pytest.raises(SingularMatrixError, match="estimate for 4 blocks is singular"):
        bm.fit_samples(X, P, missing="em")
    X = np.random.default_rng(0).standard_normal((30, 4))[:, P.labels]
    X[0, 0] = np.nan
    with pytest.raises(SingularMatrixError, match="expected more samples, fewer blocks or missing"):
        bm.fit_samples(X, P, missing="em")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("labels", "T", "share", "seed"), [([0, 1, 0], 3, 0.4, 4), ([0, 1], 3, 0.3, 1)]
)
def test_degenerate_estimates_are_refused_or_positive_definite(labels, T, share, seed):
    """The likelihood of few samples is often unbounded, and the steps end near a singular matrix."""
    rng, refused = np.random.default_rng(seed), 0
    for _ in range(20):
        X = rng.standard_normal((T, len(labels)))
        X[rng.random(X.shape) < share] = np.nan
        X[:2, 0], X[1:, 1:] = 1 + rng.random(2), rng.random((T - 1, len(labels) - 1))
        w = 10 ** rng.uniform(-9, 9, T)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "EM has not converged")
                A = bm.fit_samples(X, labels, 0, sample_weight=w, missing="em")
        except SingularMatrixError:
            refused += 1
            continue
        assert np.linalg.eigvalsh(A.toarray()).min() > 0
    assert 0 < refused < 20


def test_estimate_has_the_names_of_its_parameters():
    assert Estimate._fields == ("mean", "between", "within")


# Errors


@pytest.mark.parametrize("missing", ["pairwise", "em"])
def test_bad_samples_are_refused(missing):
    pd = pytest.importorskip("pandas")
    X = with_gaps(np.random.default_rng(0), (9, P.n))
    X[:, [1, 4]] = np.nan
    with pytest.raises(ValueError, match=r"no value in 2 of its columns: 1, 4; expected"):
        bm.fit_samples(X, P, missing=missing)
    frame = pd.DataFrame(X, columns=list("abcdefgh"))
    with pytest.raises(ValueError, match=r"no value in 2 of its columns: 'b', 'e'; expected"):
        bm.fit_samples(frame, P, missing=missing)
    with pytest.raises(ValueError, match=r"8 of its columns: 0, 1, 2, \.\.\.; expected"):
        bm.fit_samples(np.full((3, 8), np.nan), P, missing=missing)
    X[:, [1, 4]] = 1
    X[5, 2] = np.inf
    with pytest.raises(NonFiniteError, match="infinity in row 5 and column 2; expected finite"):
        bm.fit_samples(X, P, missing=missing)
    X[5, 2] = 1
    with pytest.raises(ValueError, match=f"aligned is True with missing='{missing}'"):
        bm.fit_samples(X, P, aligned=True, missing=missing)


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (["Float32"] * 4, np.float32),
        (["Float32", "float32", "Float32", "float32"], np.float32),
        (["Float32", "Float32", "Float64", "Float32"], np.float64),
        (["Float32", "Float32", "Int8", "Float32"], np.float32),  # as without missing values
        (["Float32", "Float32", "Int64", "Float32"], np.float64),
    ],
)
def test_nullable_columns_keep_single_precision(types, expected):
    pd = pytest.importorskip("pandas")
    X = np.rint(10 * np.random.default_rng(0).standard_normal((20, 4)))
    frame = pd.DataFrame(X).astype(dict(enumerate(types)))
    frame.iloc[3, 0] = pd.NA
    A = bm.fit_samples(frame, [0, 0, 1, 1], missing="pairwise")
    assert A.dtype == expected
    X[3, 0] = np.nan
    dense = bm.fit_samples(X, [0, 0, 1, 1], missing="pairwise").toarray()
    assert_matches_dense(A, dense.astype(expected))


@pytest.mark.parametrize("missing", ["pairwise", "em"])
def test_nullable_columns_of_pandas_have_missing_values(missing):
    pd = pytest.importorskip("pandas")
    X = np.rint(3 * with_gaps(np.random.default_rng(0), (30, P.n)))
    frame = pd.DataFrame(X, columns=list("abcdefgh")).convert_dtypes()
    assert any(str(dtype) == "Int64" for dtype in frame.dtypes)
    A = bm.fit_samples(frame, P, missing=missing)
    assert_matches_dense(A, bm.fit_samples(X, P, missing=missing).toarray())
    with pytest.raises(NonFiniteError, match="X contains NaN or infinity"):
        bm.fit_samples(frame, P)
    with pytest.raises(DtypeError):
        bm.fit_samples(frame.assign(a="x"), P)


def test_unknown_and_impossible_treatments_are_refused():
    with pytest.raises(ValueError, match="missing is 'drop'; expected 'raise', 'pairwise' or 'em'"):
        bm.fit_samples(np.ones((3, 2)), [0, 1], missing="drop")
    X = np.array([[1j, 1], [2, np.nan], [3, 1]])
    with pytest.raises(DtypeError, match="expected real numbers for missing='em'"):
        bm.fit_samples(X, [0, 0], missing="em")
    with pytest.raises(NonFiniteError):
        bm.fit_samples(X, [0, 0])
    X = np.array([[1, np.nan], [np.nan, 2], [2, np.nan], [np.nan, 3]])
    with pytest.raises(
        ValueError, match="too few samples with values in blocks 0 and 1 for ddof=1"
    ):
        bm.fit_samples(X, [0, 1], missing="pairwise")
    with pytest.raises(NonFiniteError, match="the result overflows"):
        bm.fit_samples([[1e200, 0], [2, np.nan], [0, 0]], [0, 1], missing="pairwise")


@pytest.mark.parametrize("chunks", [(9, 8), (2, 3), (4, 8)])
@pytest.mark.parametrize("centred", [False, True])
def test_dask_arrays_have_the_fit_of_their_samples(chunks, centred):
    da = pytest.importorskip("dask.array")
    X = with_gaps(np.random.default_rng(0), (9, P.n), np.float32)
    X[0], w = np.inf, np.array([0, 1, 2, 0, 0, 1, 3, 1, 1])
    options = {"sample_weight": w, "missing": "pairwise", "assume_centered": centred}
    expected = bm.fit_samples(X, P, **options)
    lazy = bm.fit_samples(da.from_array(X, chunks=chunks), P, compute=False, **options)
    A = lazy.compute(scheduler="sync")
    assert A.dtype == X.dtype
    assert_matches_dense(A, expected.toarray())
    X[6, 5] = np.inf
    with pytest.raises(NonFiniteError, match="infinity in row 6 and column 5"):
        bm.fit_samples(da.from_array(X, chunks=chunks), P, **options)
    X[:, 5] = np.nan
    with pytest.raises(ValueError, match="X has no value in 1 of its columns: 5"):
        bm.fit_samples(da.from_array(X, chunks=chunks), P, **options)


def test_dask_arrays_for_which_there_is_no_estimate_are_refused():
    da = pytest.importorskip("dask.array")
    with pytest.raises(ValueError, match="X is a Dask array; expected 'raise' or 'pairwise', or"):
        bm.fit_samples(da.ones((3, 2)), [0, 1], missing="em")
    with pytest.raises(ValueError, match="missing='pairwise' and X a Dask array; expected aligned"):
        bm.fit_samples(da.ones((3, 2)), [0, 1], missing="pairwise", aligned=True)
