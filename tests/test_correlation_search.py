"""Blocks of a correlation matrix: with its number of samples, and without."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import cut_tree, linkage
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris, load_wine
from sklearn.metrics import adjusted_rand_score

import blockmat as bm
from blockmat.covariance import BlockCovariance
from blockmat.finding.correlations import leading_spectrum as spectra
from blockmat.finding.correlations.given_correlation import GivenCorrelation
from blockmat.finding.correlations.leading_spectrum import leading_spectrum
from blockmat.finding.correlations.similarity import Correlation
from blockmat.finding.problems.matrix_problems import MatrixProblem
from blockmat.finding.problems.problem import read_matrix
from blockmat.finding.problems.sample_problems import CorrelationProblem


def planted(n_samples, sizes=(12, 8, 20, 5), noise=1.0, seed=0):
    """Samples whose variables share one factor per block, in a random order; and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    factors = rng.standard_normal((n_samples, len(sizes)))
    return factors[:, labels] + noise * rng.standard_normal((n_samples, len(labels))), labels


def hard(n_samples, seed):
    """Samples of 200 variables in 10 blocks, with weak correlations of rank 3 between blocks."""
    rng = np.random.default_rng(seed)
    L = rng.standard_normal((10, 3))
    L /= np.linalg.norm(L, axis=1, keepdims=True)
    labels = rng.permutation(np.repeat(np.arange(10), 20))
    A = bm.BlockConstantMatrix.from_values(labels, 0.2 * L @ L.T + 0.15 * np.eye(10), np.ones(10))
    return A.as_covariance().colorize(rng.standard_normal((n_samples, 200))), labels


def questionnaire(n_samples, seed):
    """Answers to 25 items of 5 scales with unequal loadings and correlated residuals of ten pairs."""
    rng = np.random.default_rng(seed)
    labels, loadings = np.repeat(np.arange(5), 5), rng.uniform(0.3, 0.8, 25)
    factors = rng.multivariate_normal(np.zeros(5), 0.3 + 0.7 * np.eye(5), size=n_samples)
    X = factors[:, labels] * loadings
    X += rng.standard_normal((n_samples, 25)) * np.sqrt(1 - loadings**2)
    for _ in range(10):
        X[:, rng.choice(25, 2, replace=False)] += 0.45 * rng.standard_normal((n_samples, 1))
    return X, labels


def correlations(X):
    return np.corrcoef(X, rowvar=False)


@pytest.mark.parametrize("n_samples", [20, 46, 300])
@pytest.mark.parametrize("n_blocks", [None, 4, 7])
@pytest.mark.parametrize("options", [{}, {"signs": True}, {"contiguous": True}])
def test_a_correlation_matrix_and_its_number_of_samples_have_the_blocks_of_the_samples(
    n_samples, n_blocks, options
):
    X, _ = planted(n_samples, noise=1.5, seed=n_samples)
    expected = bm.find_partition(X, n_blocks, samples=True, **options)
    found = bm.find_partition(correlations(X), n_blocks, n_samples=n_samples, **options)
    if "signs" in options:
        np.testing.assert_array_equal(found[1], expected[1])
        found, expected = found[0], expected[0]
    assert found == expected


@pytest.mark.parametrize("criterion", ["icl", "bic"])
def test_a_covariance_matrix_has_the_path_of_its_samples(criterion):
    X, _ = planted(60, noise=1.5)
    X *= np.random.default_rng(0).uniform(0.01, 100, X.shape[1])
    expected = bm.partition_path(X, samples=True, criterion=criterion)
    found = bm.partition_path(np.cov(X, rowvar=False), n_samples=60, criterion=criterion)
    assert found.partitions == expected.partitions
    np.testing.assert_allclose(found.loss, expected.loss, atol=1e-8)
    np.testing.assert_allclose(found.criterion, expected.criterion, atol=1e-6)


@given(st.integers(3, 40), st.integers(2, 30), st.integers(1, 20), st.integers(0, 999))
@settings(max_examples=25)
def test_points_are_those_of_the_samples(n_samples, n, rank, seed):
    X = np.random.default_rng(seed).standard_normal((n_samples, n))
    expected = Correlation(X).points(rank, None)
    R = correlations(X)
    found = GivenCorrelation(R, leading_spectrum(R), n_samples).points(rank, None)
    # An eigenvalue next to that of noise has a coordinate of about the root of its rounding.
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-6)


def test_rows_add_up_with_signs():
    R = correlations(planted(30)[0])
    signs = np.random.default_rng(1).choice([-1.0, 1.0], len(R))
    p = bm.Partition.from_labels(np.arange(len(R)) % 3)
    similarity = GivenCorrelation(R, leading_spectrum(R), 30).with_signs(signs)
    expected = (R * np.outer(signs, signs)) @ np.eye(3)[p.labels]
    np.testing.assert_allclose(similarity.row_sums(p), expected, atol=1e-12)


@pytest.mark.parametrize("n_samples", [None, 40])
def test_correlations_of_pairs_of_observations_are_made_positive(n_samples):
    X, labels = planted(40, (20, 20, 20), noise=0.8)
    X[np.random.default_rng(2).random(X.shape) < 0.1] = np.nan
    observed = np.isfinite(X)
    Z = np.where(observed, X - np.nanmean(X, axis=0), 0)
    sums = Z.T @ Z / np.sqrt((Z**2).T @ observed * (observed.T @ Z**2))
    R = np.clip((sums + sums.T) / 2, -1, 1)
    np.fill_diagonal(R, 1)
    assert np.linalg.eigvalsh(R)[0] < -0.01
    spectrum = leading_spectrum(R)
    values, vectors = np.linalg.eigh(R)
    positive = (vectors * np.maximum(values, 0)) @ vectors.T
    expected = positive / np.sqrt(np.outer(positive.diagonal(), positive.diagonal()))
    np.testing.assert_allclose(GivenCorrelation(R, spectrum).matrix, expected, atol=1e-12)
    np.testing.assert_allclose(spectrum.negative_share, -values[values < 0].sum() / 60)
    found = bm.find_partition(R, n_samples=n_samples)
    assert adjusted_rand_score(labels, found.labels) == 1


def test_correlations_alone_are_as_good_as_samples_and_better_than_other_methods():
    scores = {"samples": [], "alone": [], "KMeans": [], "Ward": []}
    for seed in range(4):
        X, labels = hard(60, seed)
        R = correlations(X)
        for name, found in (
            ("samples", bm.find_partition(X, 10, samples=True).labels),
            ("alone", bm.find_partition(R, 10).labels),
            ("KMeans", KMeans(10, n_init=10, random_state=seed).fit(R).labels_),
            ("Ward", cut_tree(linkage(R, "ward"), 10)[:, 0]),
        ):
            scores[name].append(adjusted_rand_score(labels, found))
    means = {name: np.mean(values) for name, values in scores.items()}
    assert means["alone"] >= means["samples"] - 0.02
    assert means["alone"] >= max(means["KMeans"], means["Ward"])


@pytest.mark.parametrize("n_samples", [60, 200, 1000])
def test_the_number_of_blocks_of_correlations_alone_is_found(n_samples):
    for seed in range(3):
        X, labels = planted(n_samples, (30, 20, 25, 40, 10), noise=1.5, seed=seed)
        found = bm.find_partition(correlations(X))
        assert adjusted_rand_score(labels, found.labels) > 0.99


@pytest.mark.parametrize("n_samples", [500, 2000, 10_000])
def test_the_number_of_blocks_does_not_grow_with_the_samples_where_no_blocks_are_exact(n_samples):
    for seed in range(3):
        X, labels = questionnaire(n_samples, seed)
        found = bm.find_partition(correlations(X))
        assert 4 <= found.n_blocks <= 7
        assert adjusted_rand_score(labels, found.labels) > 0.8


def test_noise_alone_is_one_block():
    for n, n_samples in ((10, 50), (30, 60), (60, 30), (60, 2000)):
        X = np.random.default_rng(n).standard_normal((n_samples, n))
        assert bm.find_partition(correlations(X)).n_blocks == 1


def test_the_rank_tells_how_many_samples_there_are_at_most():
    X, _ = planted(20)
    R = correlations(X)
    assert GivenCorrelation(R, leading_spectrum(R)).n_samples == 20
    twice = np.repeat(R[:, :15][:15], 2, axis=0).repeat(2, axis=1)
    twice *= np.outer([1, -1] * 15, [1, -1] * 15)
    assert leading_spectrum(twice).rank == 15
    assert GivenCorrelation(twice, leading_spectrum(twice)).n_samples == 1_000_000


def test_blocks_are_narrower_than_the_samples_allow():
    X, _ = planted(8, noise=1.5)
    path = bm.partition_path(correlations(X))
    assert path.n_blocks[-1] == 6
    assert bm.partition_path(correlations(X), max_blocks=20).n_blocks[-1] == 20
    assert bm.find_partition(correlations(X), 30).n_blocks == 30


@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 99), st.floats(0, 1))
@settings(max_examples=40)
@example(2, 3, 0, 1.0)
@example(1, 1, 0, 1.0)
def test_blocks_of_an_exact_correlation_matrix_are_found(k, size, seed, share):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(k), size + 1))
    factors = rng.standard_normal((k, k + 2))
    factors /= np.linalg.norm(factors, axis=1, keepdims=True)
    R = (0.2 + 0.8 * share) * (factors @ factors.T)[labels][:, labels]
    np.fill_diagonal(R, 1)
    found = bm.find_partition(R, k)
    assert found == bm.find_partition(R, max_blocks=len(R))
    assert adjusted_rand_score(labels, found.labels) == 1


def test_equal_variables_are_blocks():
    R = np.kron(np.eye(3), np.ones((4, 4)))
    assert bm.find_partition(R).labels.tolist() == np.repeat([0, 1, 2], 4).tolist()
    assert bm.find_partition(np.eye(5)).n_blocks == 1


@pytest.mark.parametrize("load", [load_iris, load_wine])
@pytest.mark.parametrize("k", [3, 10])
def test_blocks_of_equal_values_are_those_of_least_squares(load, k):
    Z = load().data
    Z = (Z - Z.mean(0)) / Z.std(0)
    A = np.exp(-((Z[:, None] - Z) ** 2).sum(-1) / Z.shape[1] / 4)
    p = bm.find_partition(A, k, loadings=False)
    assert p == bm.find_partition(2 * A, k)
    error = bm.approximation_error(A, bm.fit(A, p))
    clusters = KMeans(k, n_init=5, random_state=0).fit(A).labels_
    assert error <= 1.02 * bm.approximation_error(A, bm.fit(A, clusters))
    assert error <= bm.approximation_error(A, bm.fit(A, bm.find_partition(A, k)))


def test_only_correlations_are_taken_for_correlations():
    R = correlations(planted(60)[0])
    signs = np.where(np.random.default_rng(0).random(R.shape) < 0.5, -0.9, 0.9)
    indefinite = np.triu(signs, 1) + np.triu(signs, 1).T + np.eye(len(R))
    for C in (R, R.astype(np.float32)):
        problem, criterion = read_matrix(C, None, None, None)
        assert isinstance(problem, CorrelationProblem)
        assert criterion == "misfit"
    values, vectors = np.linalg.eigh(R)
    values[: len(R) // 2] -= 0.3  # a tenth of the trace
    negative = (vectors * values) @ vectors.T
    lengths = np.sqrt(np.diag(negative))
    negative /= np.outer(lengths, lengths)
    w = np.linalg.eigvalsh(negative)
    assert 0.05 < -w[w < 0].sum() / len(R) < 0.3
    for other in (negative, 2 * R, R - 2 * np.eye(len(R)), 3 * R - 2 * np.eye(len(R)), indefinite):
        problem, criterion = read_matrix(other, None, None, None)
        assert isinstance(problem, MatrixProblem)
        assert criterion == "icl"
    for options in ((False, None), (None, "icl"), (None, "bic")):
        problem, criterion = read_matrix(R, *options, None)
        assert isinstance(problem, MatrixProblem)
        assert criterion == (options[1] or "icl")


def test_loadings_take_a_covariance_matrix_for_one():
    R = correlations(planted(60)[0])
    scale = np.random.default_rng(0).uniform(0.01, 100, len(R))
    S = R * np.outer(scale, scale)
    assert bm.find_partition(S, loadings=True) == bm.find_partition(R)
    assert bm.find_partition(S, 3, loadings=True) == bm.find_partition(R, 3)
    with pytest.raises(ValueError, match=r"source has the variance -1.0 at index 0"):
        bm.find_partition(-R, loadings=True)
    for criterion in ("icl", "bic"):
        with pytest.raises(
            ValueError, match=f"criterion is '{criterion}' with loadings=True; .* n_s"
        ):
            bm.find_partition(R, loadings=True, criterion=criterion)


@pytest.mark.parametrize("known", [False, True])
def test_many_variables_need_only_the_largest_eigenvalues(monkeypatch, known):
    X, _ = planted(90, (60, 50, 40, 50, 60), noise=1.5)
    R = correlations(X)
    exact = GivenCorrelation(R, leading_spectrum(R), 90 if known else None)
    expected = bm.find_partition(R, 5, n_samples=90 if known else None)
    monkeypatch.setattr(spectra, "_EXACT_UP_TO", 100)
    spectrum = leading_spectrum(R)
    assert spectrum.vectors.shape == (260, 128)
    assert spectrum.rank == 89
    found = GivenCorrelation(R, spectrum, 90 if known else None)
    for A, B in zip((found.points(8, None),), (exact.points(8, None),), strict=True):
        np.testing.assert_allclose(A @ A.T, B @ B.T, atol=1e-8)
    assert bm.find_partition(R, 5, n_samples=90 if known else None) == expected
    full = correlations(planted(400, (60, 50, 40, 50, 60), noise=1.5)[0])
    spectrum = leading_spectrum(full)
    assert spectrum.rank == 260
    values = np.linalg.eigvalsh(full)
    np.testing.assert_allclose(spectrum.values[-5:], values[-5:], rtol=1e-6)
    assert values[60] < spectrum.noise(260) < values[200]
    assert values[200] < spectrum.noise(100) < values[240]


def test_large_negative_eigenvalues_of_many_variables_are_found(monkeypatch):
    X, _ = planted(400, (60, 50, 40, 50, 60), noise=1.5)
    R = correlations(X)
    values, vectors = np.linalg.eigh(R)
    values[0] = -4
    R = (vectors * values) @ vectors.T
    monkeypatch.setattr(spectra, "_EXACT_UP_TO", 100)
    spectrum = leading_spectrum(R)
    assert not spectrum.is_complete
    assert spectrum.rank == 260
    np.testing.assert_allclose(spectrum.negative_share, 4 / R.trace(), rtol=1e-6)
    assert values[60] < spectrum.noise(259) < values[200]
    fixed = GivenCorrelation(R, spectrum).matrix
    np.testing.assert_allclose(fixed.diagonal(), 1, rtol=1e-12)
    assert np.linalg.eigvalsh(fixed)[0] > -1e-4  # of 1 to 4: four iterations are approximate


def test_single_precision_is_enough():
    X, labels = planted(60)
    R = correlations(X).astype(np.float32)
    for n_samples in (None, 60):
        found = bm.find_partition(R, n_samples=n_samples)
        assert adjusted_rand_score(labels, found.labels) == 1


def test_rounding_of_single_precision_is_no_variance():
    R = np.kron(np.eye(2), np.ones((4, 4))).astype(np.float32)  # of equal variables, or nearly so
    eps = np.finfo(np.float32).eps
    path = bm.partition_path(R, n_samples=30, max_blocks=2, loadings=False)
    np.testing.assert_allclose(path.loss[1], 6 * np.log(eps) + 2 * np.log(4), rtol=1e-6)


BAD = {
    "samples": ({"samples": True, "n_samples": 45}, ValueError, "n_samples is 45 with samples=True"),
    "few": ({"n_samples": 2}, ValueError, "n_samples is 2; expected at least 3"),
    "fraction": ({"n_samples": 20.5}, TypeError, "n_samples is 20.5; expected an integer"),
    "many blocks": ({"n_samples": 20, "n_blocks": 19}, ValueError,
                    "n_blocks is 19; expected at most 18: .* T - 2"),
    "held out": ({"n_samples": 20, "criterion": "cv"}, ValueError, "criterion is 'cv' with samples=F"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_numbers_of_samples_are_checked(case):
    options, error, message = BAD[case]
    with pytest.raises(error, match=message):
        bm.find_partition(correlations(planted(20)[0]), **options)
    options = {k: v for k, v in options.items() if k != "n_blocks"} | (
        {"max_blocks": 19} if "n_blocks" in options else {}
    )
    with pytest.raises(error, match=message.replace("n_blocks", "max_blocks")):
        bm.partition_path(correlations(planted(20)[0]), **options)


def test_what_is_no_correlation_matrix_is_refused_with_a_number_of_samples():
    R = correlations(planted(20)[0])
    with pytest.raises(ValueError, match=r"source has ones on its diagonal and .*; expected"):
        bm.find_partition(3 * R - 2 * np.eye(len(R)), n_samples=20)
    with pytest.raises(ValueError, match=r"source has the variance -1.0 at index 0"):
        bm.find_partition(-R, n_samples=20)


@pytest.mark.parametrize("known", ["samples", "n_samples"])
def test_variables_whose_sum_is_zero_are_not_blocks_of_one(known):
    """Singular correlations: with as many blocks as variables the likelihood would be infinite."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3))[:, np.repeat([0, 1, 2], 4)] + rng.normal(size=(500, 12))
    X -= X.mean(axis=1, keepdims=True)
    source, options = (
        (X, {"samples": True}) if known == "samples" else (correlations(X), {"n_samples": 500})
    )
    assert bm.find_partition(source, **options).n_blocks == 3
    with pytest.raises(ValueError, match=r"n_blocks is 11; expected at most 10: .* not collinear"):
        bm.find_partition(source, 11, loadings=False, **options)
    assert bm.find_partition(source, loadings=False, **options).n_blocks < 11
    equal = np.repeat(X[:, ::4], 4, axis=1)  # equal variables are no fewer blocks
    assert (
        bm.find_partition(equal, 3, samples=True).labels.tolist()
        == np.repeat([0, 1, 2], 4).tolist()
    )


@pytest.mark.parametrize("location", [0, 10, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_of_samples_does_not_hide_that_variables_are_collinear(location, dtype):
    """The error of a standardized number is eps times the quotient of mean and deviation."""
    rng = np.random.default_rng(2)
    A = rng.normal(size=(34, 13))
    X = (np.hstack([A, A @ rng.normal(size=(13, 12))]) + location).astype(dtype)
    with pytest.raises(ValueError, match="n_blocks is 13; expected at most 12"):
        bm.find_partition(X, 13, samples=True)
    with pytest.raises(ValueError, match="n_blocks is 13; expected at most 12"):
        BlockCovariance(n_blocks=13).fit(X)
    assert bm.find_partition(X, samples=True, loadings=False).n_blocks == 3
