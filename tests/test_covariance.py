"""Shrinkage and BlockCovariance against dense formulas and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.base import clone
from sklearn.covariance import EmpiricalCovariance, ledoit_wolf
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import blockmat as bm
from blockmat.covariance import BlockCovariance
from blockmat.fitting.eigenvalue_shrinkage import quadratic_inverse_shrinkage
from blockmat.inference import shrinkage
from blockmat.inference.shrinkage import cross_fitted_shrinkage
from blockmat.sources.standardize import Standardized
from blockmat.sources.weighted_samples import WeightedSamples
from blockmat.testing import partitions, project_dense

LABELS = np.repeat([0, 1, 2], [5, 7, 4])


def samples(n_samples=40, labels=LABELS, seed=0, noise=0.8):
    """Samples with a factor for each block, scales of their own and a mean."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n_samples, labels.max() + 1))
    X = factors[:, labels] + noise * rng.standard_normal((n_samples, len(labels)))
    return X * rng.uniform(0.5, 2, len(labels)) + 3


@pytest.mark.parametrize(("n_samples", "n"), [(10, 5), (60, 90), (30, 1), (2, 4)])
@pytest.mark.parametrize("assume_centered", [False, True])
def test_shrinkage_toward_the_identity_is_that_of_ledoit_and_wolf(n_samples, n, assume_centered):
    X = np.random.default_rng(n).standard_normal((n_samples, n)) * np.arange(1, n + 1) + 1
    expected = ledoit_wolf(X, assume_centered=assume_centered)[1]
    result = bm.optimal_shrinkage(X, assume_centered=assume_centered)
    assert type(result) is float
    assert result == pytest.approx(expected, abs=1e-12)


@given(partitions(min_n=2, max_n=8), st.integers(0, 99), st.booleans())
def test_shrinkage_is_the_dense_formula(p, seed, assume_centered):
    X = np.random.default_rng(seed).standard_normal((9, p.n)) + 0.5
    D = X if assume_centered else X - X.mean(0)
    S = D.T @ D / len(D)

    def off(A):
        return A - project_dense(A, p)

    spread = sum(np.linalg.norm(off(np.outer(x, x) - S)) ** 2 for x in D) / len(D) ** 2
    distance = np.linalg.norm(off(S)) ** 2
    result = bm.optimal_shrinkage(X, p, assume_centered=assume_centered)
    if distance < 1e-10:  # the blocks describe every matrix, so any weight gives the same
        assert result == 1
    else:
        assert result == pytest.approx(min(spread / distance, 1), abs=1e-9)


@pytest.mark.parametrize(
    "labels", [[0], [0, 0], [0, 1, 2]], ids=["one variable", "one pair", "blocks of one"]
)
@pytest.mark.parametrize("kind", ["optimal", "cv"])
@pytest.mark.parametrize("found", [False, True])
def test_a_model_that_is_exact_is_not_mixed_with_anything(labels, kind, found):
    """Any weight gives the same matrix; 1 gives the one of O(n) numbers."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, len(labels)))
    options = {"n_blocks": max(labels) + 1} if found else {"labels": labels}
    model = BlockCovariance(shrinkage=kind, **options).fit(X)
    assert model.shrinkage_ == 1
    np.testing.assert_allclose(model.covariance_, np.cov(X, rowvar=False, ddof=0), atol=1e-12)
    assert np.isfinite(model.score(X))
    assert bm.optimal_shrinkage(X, labels) == 1


def test_shrinkage_estimates_what_has_the_least_error():
    rng = np.random.default_rng(0)
    own = rng.standard_normal((16, 16)) / 4
    truth = 0.3 * (LABELS[:, None] == LABELS) + np.eye(16) + 0.4 * own @ own.T
    p = bm.Partition.from_labels(LABELS)
    root = np.linalg.cholesky(truth)
    off = truth - project_dense(truth, p)
    wrong, total, estimates = 0, 0, []
    for _ in range(200):
        X = rng.standard_normal((60, 16)) @ root.T
        S = X.T @ X / 60
        sample_off = S - project_dense(S, p)
        wrong += np.linalg.norm(sample_off - off) ** 2
        total += np.linalg.norm(sample_off) ** 2
        estimates.append(bm.optimal_shrinkage(X, p, assume_centered=True))
    assert 0.3 < wrong / total < 0.85
    assert np.mean(estimates) == pytest.approx(wrong / total, abs=0.04)


def test_blocks_found_in_the_same_samples_do_not_count_as_free_of_error():
    """Noise without any blocks, where a found partition looks better than it is."""
    rng = np.random.default_rng(0)
    own = rng.standard_normal((80, 6))
    X = rng.standard_normal((50, 6)) @ own.T + 2 * rng.standard_normal((50, 80))
    Z = (X - X.mean(0)) / X.std(0)
    p = bm.find_partition(X, 20, samples=True, loadings=False)
    naive = bm.optimal_shrinkage(Z, p)
    standardized = Standardized(Z, X.mean(0), X.std(0))

    def fit(rest):
        return standardized, bm.find_partition(rest.X, 20, samples=True, loadings=False)

    fitted = cross_fitted_shrinkage(WeightedSamples(X), standardized, fit, lambda _: True)
    model = BlockCovariance(n_blocks=20, shrinkage="optimal").fit(X)
    assert model.shrinkage_ == pytest.approx(fitted)
    covariance = own @ own.T + 4 * np.eye(80)
    s = np.sqrt(np.diag(covariance))
    truth = covariance / s[:, None] / s
    S = Z.T @ Z / 50
    off, true_off = S - project_dense(S, p), truth - project_dense(truth, p)
    best = 1 - (off * true_off).sum() / (off**2).sum()
    assert naive > best + 0.1
    assert abs(fitted - best) < abs(naive - best) / 2


def test_cross_fitted_shrinkage_is_the_dense_formula():
    X = samples(31, noise=2)
    Z = (X - X.mean(0)) / X.std(0)
    noise = signal = 0
    for fold in np.array_split(np.arange(31), 5):
        p = bm.find_partition(np.delete(X, fold, axis=0), 4, samples=True, loadings=False)
        S = Z[fold].T @ Z[fold] / len(fold)

        def off(A, p=p):
            return A - project_dense(A, p)

        spread = np.mean([np.linalg.norm(off(np.outer(z, z) - S)) ** 2 for z in Z[fold]])
        noise += spread * len(fold) / 31
        signal += (np.linalg.norm(off(S)) ** 2 - spread / len(fold)) * len(fold) / 31
    expected = noise / (noise + 31 * signal)
    assert 0.2 < expected < 0.98
    model = BlockCovariance(n_blocks=4, shrinkage="optimal").fit(X)
    assert model.shrinkage_ == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["optimal", "cv"])
def test_threads_change_nothing(kind):
    X = samples(60, noise=2)
    alone, shared = (BlockCovariance(shrinkage=kind, n_jobs=n).fit(X) for n in (None, 2))
    assert alone.shrinkage_ == shared.shrinkage_


def test_folds_have_fewer_blocks_where_they_have_too_few_samples():
    X = samples(9)
    for kind in ("optimal", "cv"):
        assert 0 < BlockCovariance(n_blocks=7, shrinkage=kind).fit(X).shrinkage_ <= 1


@pytest.mark.parametrize("value", [0.05, 0.4, 1.0])
def test_the_held_out_likelihood_is_the_dense_one(value):
    X = samples()
    location, scale = X[10:].mean(0), X[10:].std(0)
    Z, new = (X[10:] - location) / scale, (X[:10] - location) / scale
    standardized = Standardized(Z, location, scale)
    p = bm.Partition.from_labels(LABELS)
    S = Z.T @ Z / len(Z)
    A = (1 - value) * S + value * project_dense(S, p)
    expected = 10 * np.linalg.slogdet(A)[1] + np.trace(new @ np.linalg.solve(A, new.T))
    assert shrinkage.DevianceByShrinkage(standardized, p, X[:10]).at(value) == pytest.approx(
        expected
    )


def test_cross_validated_shrinkage_has_the_highest_held_out_likelihood():
    X = samples(60, noise=1.5)
    X[:, ::2] += np.random.default_rng(1).standard_normal((60, 1))
    model = BlockCovariance(LABELS, shrinkage="cv").fit(X)

    def likelihood(value):
        total = 0
        for fold in np.array_split(np.arange(60), 5):
            rest = np.delete(X, fold, axis=0)
            part = BlockCovariance(LABELS, shrinkage=value).fit(rest)
            total += len(fold) * part.score(X[fold])
        return total

    best = likelihood(model.shrinkage_)
    assert 0.1 < model.shrinkage_ < 0.95
    assert best >= max(likelihood(model.shrinkage_ + step) for step in (-0.02, 0.02))
    pure = samples(60, seed=1)
    assert BlockCovariance(LABELS, shrinkage="cv").fit(pure).shrinkage_ == 1


def test_cross_validated_shrinkage_may_be_small():
    """Covariances that have nothing to do with the blocks, and plenty of samples."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3)) @ rng.standard_normal((3, 6))
    X += 0.5 * rng.standard_normal(X.shape)
    assert BlockCovariance([0, 0, 0, 1, 1, 1], shrinkage="cv").fit(X).shrinkage_ < 0.05


def dense_model(X, labels, scaled, weight, assume_centered):
    D = X if assume_centered else X - X.mean(0)
    S = D.T @ D / len(X)
    s = np.sqrt(np.diag(S)) if scaled else np.ones(X.shape[1])
    C = S / s[:, None] / s
    return (
        ((1 - weight) * C + weight * project_dense(C, bm.Partition.from_labels(labels)))
        * s[:, None]
        * s
    )


def dense_model_with_factors(X, labels, scaled, n_factors, shrinkage, assume_centered):
    D = X if assume_centered else X - X.mean(0)
    s = np.sqrt((D**2).mean(0)) if scaled else np.ones(X.shape[1])
    Z = D / s
    S = Z.T @ Z / len(X)
    values, vectors = np.linalg.eigh(S)
    kept = vectors[:, ::-1][:, :n_factors]
    L = kept * values[::-1][:n_factors] @ kept.T
    model = L + project_dense(S - L, bm.Partition.from_labels(labels))
    weight, sample = shrinkage, S
    if shrinkage == "nonlinear":
        dof = len(X) - (not assume_centered)
        shrunk = quadratic_inverse_shrinkage(values[-min(dof, len(S)) :], len(S), dof)
        full = np.append(np.full(len(S) - len(shrunk.values), shrunk.rest), shrunk.values)
        weight, sample = 0.5, vectors * full @ vectors.T
    mixed = weight * model + (1 - weight) * sample
    if scaled:
        s = s / np.sqrt(np.diag(mixed))
    return mixed * s[:, None] * s


@pytest.mark.parametrize("n_samples", [8, 40])
@pytest.mark.parametrize("assume_centered", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("n_factors", [0, 1, 3])
@pytest.mark.parametrize("shrinkage_", ["nonlinear", 0.3, 1.0])
def test_the_model_with_factors_is_the_dense_one(
    n_samples, assume_centered, scaled, n_factors, shrinkage_
):
    X = samples(n_samples)
    options = {"scaled": scaled, "assume_centered": assume_centered}
    for dtype, rtol in ((np.float64, 1e-10), (np.float32, 1e-4)):
        model = BlockCovariance(LABELS, n_factors=n_factors, shrinkage=shrinkage_, **options)
        model.fit(X.astype(dtype))
        assert model.n_factors_ == n_factors
        assert model.operator_.dtype == dtype
        expected = dense_model_with_factors(
            X, LABELS, scaled, n_factors, shrinkage_, assume_centered
        )
        atol = rtol * np.abs(expected).max()
        np.testing.assert_allclose(model.covariance_, expected, atol=atol)
        if scaled and not assume_centered:
            np.testing.assert_allclose(model.operator_.diagonal(), X.var(0), rtol=10 * rtol)
    sizes = [model.fit(X * 2.0**e).operator_.norm() for e in (0, 300, -300)]
    np.testing.assert_allclose(sizes, sizes[0] * 2.0 ** (2 * np.array([0, 300, -300])), rtol=1e-9)


def test_the_default_is_positive_definite_with_more_blocks_than_samples():
    X = samples(5)
    model = BlockCovariance(np.arange(16)).fit(X)
    assert model.operator_.is_positive_definite()
    assert (model.n_factors_, model.shrinkage_) == (1, 0.5)
    assert BlockCovariance(LABELS, shrinkage=0.5).fit(X).n_factors_ == 0


def test_estimated_shrinkage_is_that_of_what_the_factors_leave():
    X = samples(60)
    Z = (X - X.mean(0)) / X.std(0)
    u, s, vt = np.linalg.svd(Z, full_matrices=False)
    rest = Z - u[:, :1] * s[:1] @ vt[:1]
    model = BlockCovariance(LABELS, n_factors=1, shrinkage="optimal").fit(X)
    expected = bm.optimal_shrinkage(rest, LABELS, assume_centered=True)
    assert model.shrinkage_ == pytest.approx(expected, rel=1e-10)


def test_cross_validated_shrinkage_of_a_model_with_factors_has_the_highest_likelihood():
    rng = np.random.default_rng(3)
    X = samples(60) + rng.standard_normal((60, 1)) * rng.uniform(0.5, 2, 16)
    model = BlockCovariance(LABELS, n_factors=1, shrinkage="cv").fit(X)

    def held_out(weight):
        total = 0
        for rows in np.array_split(np.arange(60), 5):
            train = np.delete(X, rows, axis=0)
            mean, scale = train.mean(0), train.std(0)
            D = (train - mean) / scale
            A = dense_model_with_factors(D, LABELS, False, 1, weight, True)
            Y = (X[rows] - mean) / scale
            total += len(rows) * np.linalg.slogdet(A)[1] + np.sum(Y.T * np.linalg.solve(A, Y.T))
        return total

    best = held_out(model.shrinkage_)
    for weight in np.linspace(0.05, 1, 20):
        assert best <= held_out(weight) + 1e-3


CLASSES = {
    (True, 1): bm.ScaledBlockMatrix,
    (False, 1): bm.BlockConstantMatrix,
    (True, 0.3): bm.BlockPlusLowRank,
    (False, 0.3): bm.BlockPlusLowRank,
}


@pytest.mark.parametrize("n_factors", [1, 2])
@pytest.mark.parametrize("labels", [[0, 0], [0, 1]])
def test_factors_that_explain_everything_leave_a_definite_matrix(labels, n_factors):
    """With 2 variables of variance 1 the first component is their sum or their difference."""
    X = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 30)
    for weight in (None, 0.5):
        model = BlockCovariance(labels, n_factors=n_factors, shrinkage=weight).fit(X)
        covariance = np.cov(X, rowvar=False, ddof=0)
        np.testing.assert_allclose(model.covariance_, covariance, rtol=1e-7)
        deviations = X - X.mean(0)
        distances = np.sum(deviations * np.linalg.solve(covariance, deviations.T).T, axis=1)
        np.testing.assert_allclose(model.mahalanobis(X), distances, rtol=1e-6)


@pytest.mark.parametrize("assume_centered", [False, True])
@pytest.mark.parametrize(("scaled", "weight"), CLASSES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_model_is_the_dense_one(scaled, weight, assume_centered, dtype):
    X = samples().astype(dtype)
    model = BlockCovariance(
        LABELS, scaled=scaled, shrinkage=weight, assume_centered=assume_centered
    ).fit(X)
    expected = dense_model(X.astype(float), LABELS, scaled, weight, assume_centered)
    rtol = 1e-4 if dtype == np.float32 else 1e-10
    assert type(model.operator_) is CLASSES[scaled, weight]
    assert model.operator_.dtype == model.covariance_.dtype == model.precision_.dtype == dtype
    assert model.location_.dtype == dtype
    size = np.abs(expected).max()
    np.testing.assert_allclose(model.covariance_, expected, rtol=rtol, atol=rtol * size)
    inverse = np.linalg.inv(expected)
    np.testing.assert_allclose(
        model.precision_, inverse, rtol=rtol, atol=30 * rtol * np.abs(inverse).max()
    )
    new = samples(30, seed=1).astype(dtype)
    reference = EmpiricalCovariance(assume_centered=assume_centered).fit(X.astype(float))
    reference.covariance_, reference.precision_ = expected, inverse
    np.testing.assert_allclose(model.location_, reference.location_, rtol=rtol)
    score = model.score(new)
    assert score == pytest.approx(reference.score(new.astype(float)), rel=100 * rtol)
    np.testing.assert_allclose(
        model.mahalanobis(new), reference.mahalanobis(new.astype(float)), rtol=300 * rtol
    )
    other = np.cov(new, rowvar=False)
    for norm in ("frobenius", "spectral"):
        for scaling in (True, False):
            for squared in (True, False):
                options = {"norm": norm, "scaling": scaling, "squared": squared}
                result = model.error_norm(other, **options)
                assert type(result) is float
                assert result == pytest.approx(
                    reference.error_norm(other, **options), rel=10 * rtol
                )


@pytest.mark.parametrize("shrinkage_", ["nonlinear", None, 0.5, "optimal", "cv"])
@pytest.mark.parametrize("labels", [None, LABELS])
def test_nothing_of_size_n_by_n_is_formed(monkeypatch, shrinkage_, labels):
    def refuse(self):
        raise NotImplementedError

    X = samples()
    model = BlockCovariance(labels, shrinkage=shrinkage_).fit(X)
    expected = model.score(X), model.mahalanobis(X)
    for cls in (bm.BlockConstantMatrix, bm.ScaledBlockMatrix, bm.BlockPlusLowRank):
        monkeypatch.setattr(cls, "toarray", refuse)
    model = BlockCovariance(labels, shrinkage=shrinkage_).fit(X)
    assert model.score(X) == expected[0]
    np.testing.assert_array_equal(model.mahalanobis(X), expected[1])
    with pytest.raises(NotImplementedError):
        model.get_precision()
    assert "covariance_" not in vars(model)


@pytest.mark.parametrize("shrinkage_", [None, 0.5, "optimal", "cv"])
@pytest.mark.parametrize("labels", [None, LABELS])
def test_nothing_of_size_t_by_t_is_formed(shrinkage_, labels):
    X = samples(60_000)  # whose squared number is 27 GiB
    model = BlockCovariance(labels, shrinkage=shrinkage_).fit(X)
    assert model.operator_.nbytes < X.nbytes / 10
    weight = model.shrinkage_
    expected = dense_model(X, model.labels_, True, weight, False)
    np.testing.assert_allclose(model.covariance_, expected, rtol=1e-9)


def test_the_shrinkage_does_not_depend_on_which_side_is_smaller():
    """Copies of the samples, which change no second moment, make them more than the variables."""
    X = np.random.default_rng(0).standard_normal((12, 16))
    X -= X.mean(axis=0)
    p = bm.Partition.from_labels(LABELS)
    for partition in (None, p):
        few, many = (shrinkage.spread_of(x, partition) for x in (X, np.tile(X, (3, 1))))
        np.testing.assert_allclose(few, many)


def test_blocks_are_found_or_given():
    X = samples(200)
    found = BlockCovariance().fit(X)
    assert found.partition_.n_blocks == 3
    np.testing.assert_array_equal(found.labels_, LABELS)
    assert found.shrinkage_ == 0.5
    assert BlockCovariance(n_blocks=2).fit(X).partition_.n_blocks == 2
    given_ = BlockCovariance(list("aaabbbbccccddddd"), n_blocks=2).fit(X)
    assert given_.partition_.names == ("a", "b", "c", "d")
    p = bm.Partition.from_labels(LABELS)
    assert BlockCovariance(p).fit(X).partition_ is p


@parametrize_with_checks(
    [
        BlockCovariance(),
        BlockCovariance(n_factors=0, scaled=False, assume_centered=True),
        BlockCovariance(n_factors=1, shrinkage="optimal"),
        BlockCovariance(n_factors=2, shrinkage="cv", n_blocks=1),
        BlockCovariance(shrinkage="cv"),
        BlockCovariance(scaled=False, shrinkage=0.5, n_blocks=1, assume_centered=True),
        BlockCovariance(n_blocks=2, shrinkage=0.5, assume_centered=True),
        BlockCovariance(n_blocks=2, shrinkage="optimal", scaled=False, n_jobs=2),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_it_works_in_a_pipeline_and_a_grid_search():
    X = samples(80)
    search = GridSearchCV(BlockCovariance(), {"n_blocks": [1, 3], "shrinkage": [None, 0.5]}).fit(X)
    assert search.best_params_ == {"n_blocks": 3, "shrinkage": None}
    pipeline = make_pipeline(StandardScaler(), BlockCovariance(LABELS)).fit(X)
    np.testing.assert_allclose(pipeline[-1].covariance_.diagonal(), 1)
    copy = clone(BlockCovariance(bm.Partition.from_labels(LABELS), scaled=False))
    assert copy.labels == bm.Partition.from_labels(LABELS)
    assert copy.scaled is False


def test_the_estimate_exists_if_there_is_a_sample_for_each_block_and_one_for_the_mean():
    X = samples(4)
    model = BlockCovariance(LABELS, shrinkage=None).fit(X)
    assert np.isfinite(model.score(X))
    with pytest.raises(ValueError, match="X has 3 samples, too few for 3 blocks: the maximum-lik"):
        BlockCovariance(LABELS, shrinkage=None).fit(X[:3])
    centered = BlockCovariance(LABELS, shrinkage=None, assume_centered=True).fit(X[:3])
    assert np.isfinite(centered.score(X))


def test_collinear_variables_are_one_block_without_an_inverse():
    x = samples(20)[:, :2]
    X = np.column_stack([x[:, 0], 2 * x[:, 0] + 1, x[:, 1]])
    model = BlockCovariance([0, 0, 1], shrinkage=None).fit(X)
    np.testing.assert_allclose(model.covariance_, np.cov(X, rowvar=False, ddof=0))
    with pytest.raises(np.linalg.LinAlgError, match="determinant is zero"):
        model.score(X)


CONSTANT = np.column_stack([samples()[:, 0], np.full(40, 0.1)])
BAD = [
    ({}, samples(1), ValueError, "minimum of 2 is required"),
    ({}, samples(2), ValueError, "X has 2 rows; expected at least 3 samples"),
    ({"n_factors": -1}, samples(), ValueError, "n_factors is -1"),
    ({"n_factors": 1.5}, samples(), TypeError, "n_factors is"),
    ({"n_factors": "all"}, samples(), ValueError, "n_factors is 'all'; expected an integer or"),
    ({"n_factors": 17}, samples(), ValueError, "n_factors=17 expects at most 16"),
    (
        {"labels": LABELS, "n_factors": 4},
        samples(4),
        ValueError,
        "n_factors=4 expects at most 3: the sm",
    ),
    ({}, CONSTANT, ValueError, "X is constant in 1 of its columns: 1"),
    ({"labels": [0, 1]}, CONSTANT, ValueError, "X is constant in 1 of its columns: 1"),
    ({}, np.ones((5, 3)), ValueError, "X is constant in 3 of its columns: 0"),
    ({}, np.full((5, 3), np.nan), ValueError, "NaN"),
    (
        {"labels": [0, 1]},
        samples(),
        ValueError,
        "labels has 2 labels; expected 16, one for each variable",
    ),
    (
        {"n_blocks": 17},
        samples(),
        ValueError,
        r"X has 16 feature\(s\); n_blocks=17 expects at least as many",
    ),
    ({"n_blocks": 0}, samples(), ValueError, "n_blocks is 0; expected at least 1"),
    ({"n_blocks": 2.5}, samples(), TypeError, "n_blocks is 2.5; expected an integer"),
    ({"n_blocks": "all"}, samples(), ValueError, "n_blocks is 'all'; expected an integer or"),
    ({"n_blocks": 9}, samples(9), ValueError, "n_blocks is 9; expected at most 7"),
    ({"shrinkage": 0}, samples(), ValueError, "shrinkage is 0; expected None, a number above 0"),
    ({"shrinkage": 1.5}, samples(), ValueError, "shrinkage is 1.5"),
    ({"shrinkage": np.nan}, samples(), ValueError, "shrinkage is nan"),
    ({"shrinkage": "best"}, samples(), ValueError, "shrinkage is 'best'; expected None"),
    ({"shrinkage": [1]}, samples(), TypeError, r"shrinkage is \[1\]; expected None"),
    ({"shrinkage": "cv"}, samples(5), ValueError, "X has 5 rows; shrinkage='cv' expects at least"),
    ({"shrinkage": "cv", "labels": LABELS * 0}, samples(3), ValueError, "X has 3 rows; shrinkage="),
]


@pytest.mark.parametrize(("options", "X", "error", "message"), BAD)
def test_bad_input_is_refused(options, X, error, message):
    model = BlockCovariance(**options)
    with pytest.raises(error, match=message):
        model.fit(X)
    assert not any(name.endswith("_") for name in vars(model) if name != "n_features_in_")
    with pytest.raises(NotFittedError):
        _ = model.covariance_


@pytest.mark.parametrize(
    ("X", "std"),
    [
        (np.float32(100 + np.random.default_rng(0).standard_normal((100_000, 2))), 1),
        (np.random.default_rng(0).standard_normal((1_000_000, 2), dtype=np.float32), 1),
        (np.float32(1000 + 0.01 * np.random.default_rng(0).standard_normal((500, 2))), 0.01),
        (1e6 + 1e-7 * np.random.default_rng(0).standard_normal((500, 2)), 1e-7),
        (np.eye(2, 3000).T * 1e-9 + 1, 1e-9 / 3000**0.5),
    ],
    ids=["float32 with a mean", "many samples", "few digits", "double", "one number differs"],
)
def test_columns_that_vary_are_taken(X, std):
    """However many there are and whatever their mean is, and they keep their variance.

    The third and fourth are stored with two or three digits: rounding of 3e-5 in .01 in the
    third, 1e-10 in 1e-7 in the fourth.
    """
    model = BlockCovariance([0, 1]).fit(X)
    assert np.linalg.cond(model.covariance_) < 2
    np.testing.assert_allclose(np.sqrt(np.diag(model.covariance_)), std, rtol=0.1)
    exact = np.cov(X.astype(np.longdouble), rowvar=False, ddof=0).astype(float)
    rtol = 10 * np.finfo(X.dtype).eps
    np.testing.assert_allclose(np.diag(model.covariance_), np.diag(exact), rtol=max(rtol, 1e-9))
    assert bm.find_partition(X[:40], 1, samples=True).n_blocks == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_column_of_few_different_numbers_varies(dtype):
    """Sixteen roundings apart, each exactly what it is."""
    X = np.random.default_rng(0).standard_normal((30, 2)).astype(dtype)
    X[:, 1] = 1 + 16 * np.finfo(dtype).eps * (np.arange(30) % 2)
    variance = BlockCovariance([0, 1]).fit(X).covariance_[1, 1]
    np.testing.assert_allclose(variance, (8 * np.finfo(dtype).eps) ** 2, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", [0.1, 1e10 / 3, -7e-30, 0.0])
@pytest.mark.parametrize("n_samples", [5, 70_000])
def test_columns_that_are_constant_but_for_rounding_are_refused(dtype, number, n_samples):
    X = np.random.default_rng(0).standard_normal((n_samples, 2)).astype(dtype)
    X[:, 1] = number
    X[::2, 1] = np.nextafter(X[0, 1], dtype(0))
    fits = [BlockCovariance([0, 1]).fit, BlockCovariance(n_blocks=1).fit]
    if n_samples < 100:
        fits.append(lambda X: bm.find_partition(X, samples=True))
    for fit in fits:
        with pytest.raises(ValueError, match="X is constant in 1 of its columns: 1"):
            fit(X)


def test_a_constant_that_is_not_zero_varies_around_a_mean_of_zero():
    X = np.column_stack([np.random.default_rng(0).standard_normal(50), np.full(50, 0.1)])
    model = BlockCovariance([0, 1], assume_centered=True).fit(X)
    np.testing.assert_allclose(
        model.covariance_, X.T @ X / 50 * np.eye(2) + model.covariance_ * (1 - np.eye(2))
    )
    X[:, 1] = 0
    with pytest.raises(ValueError, match="X is constant in 1 of its columns: 1"):
        BlockCovariance([0, 1], assume_centered=True).fit(X)


def test_all_equal_variances_of_zero_are_allowed_without_scaling():
    model = BlockCovariance([0, 0, 0], scaled=False).fit(np.ones((5, 3)))
    assert (model.covariance_ == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.eye(2),), r"comp_cov has shape \(2, 2\); expected \(16, 16\)"),
        ((np.full((16, 16), np.nan),), r"comp_cov contains nan at index \(0, 0\)"),
        ((np.eye(16), "nuclear"), "norm is 'nuclear'"),
    ],
)
def test_error_norm_refuses_bad_input(arguments, message):
    model = BlockCovariance(LABELS).fit(samples())
    with pytest.raises((ValueError, np.linalg.LinAlgError), match=message):
        model.error_norm(*arguments)


@pytest.mark.parametrize(
    ("X", "options", "error", "message"),
    [
        (samples(1), {}, ValueError, "X has 1 rows; expected at least 2 samples"),
        (samples() * 1j, {}, TypeError, "expected real numbers"),
        (samples(), {"partition": [0]}, ValueError, "partition"),
        (np.full((3, 3), np.inf), {}, np.linalg.LinAlgError, "X contains inf"),
    ],
)
def test_optimal_shrinkage_refuses_bad_input(X, options, error, message):
    with pytest.raises(error, match=message):
        bm.optimal_shrinkage(X, **options)


def test_notebooks_show_the_matrix_of_a_fitted_estimator():
    model = BlockCovariance(np.repeat([0, 1], 5))
    assert "<svg" not in model._repr_html_()
    model.fit(np.random.default_rng(0).normal(size=(20, 10)))
    for html in (model._repr_html_(), model._repr_mimebundle_()["text/html"]):
        assert html.endswith(model.operator_._repr_html_())
        assert "sk-top-container" in html
    with config_context(display="text"):
        assert not hasattr(model, "_repr_html_")
        assert set(model._repr_mimebundle_()) == {"text/plain"}


def test_folds_with_few_different_samples_have_few_blocks():
    """Repeated rows are no further samples: more blocks than these would be singular."""
    X = np.repeat(samples(6, np.arange(16) // 4), 10, axis=0)
    model = BlockCovariance(n_blocks=4, shrinkage="cv").fit(X)
    assert model.operator_.is_positive_definite()
