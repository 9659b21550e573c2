"""The options of BlockCovariance: signs, weights, constant columns, streams, names."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import blockmat as bm
from blockmat.covariance import BlockCovariance
from blockmat.inference import shrinkage
from blockmat.sources.running_samples import RunningSamples
from blockmat.sources.weighted_samples import WeightedSamples
from blockmat.sources.weights import as_weights
from blockmat.testing import project_dense

LABELS = np.repeat([0, 1, 2], [5, 7, 4])
REVERSED = np.where(np.isin(np.arange(16), [2, 5, 6, 13]), -1, 1)
SHRINKAGES = [None, 0.4, "optimal", "cv"]


def samples(n_samples=60, seed=0, noise=0.8):
    """Samples with a factor for each block, scales of their own and a mean."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, 3))[:, LABELS]
    X = X + noise * rng.standard_normal((n_samples, 16))
    return X * rng.uniform(0.5, 2, 16) + 3


def assert_same(model, other, rtol=1e-9):
    """Check that two estimators have the same blocks and, to rounding, the same numbers."""
    np.testing.assert_array_equal(model.labels_, other.labels_)
    np.testing.assert_array_equal(model.signs_, other.signs_)
    assert model.shrinkage_ == pytest.approx(other.shrinkage_, rel=1e-6)
    np.testing.assert_allclose(model.location_, other.location_, rtol=rtol)
    size = np.abs(other.covariance_).max()
    np.testing.assert_allclose(model.covariance_, other.covariance_, rtol=rtol, atol=rtol * size)


@parametrize_with_checks(
    [
        BlockCovariance(signs=True),
        BlockCovariance(signs=True, shrinkage="cv", n_blocks=1),
        BlockCovariance(half_life=50.0, n_blocks=2, shrinkage="optimal"),
        BlockCovariance(constant="keep", signs=True, half_life=30.0, shrinkage=0.5),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


# Signs


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("kind", SHRINKAGES)
@pytest.mark.parametrize("labels", [None, LABELS])
def test_reversed_variables_get_the_covariance_of_the_others(labels, kind, scaled):
    """With signs, reversing variables reverses their covariances and changes nothing else."""
    X = samples(200)
    if not scaled:
        X = X / X.std(axis=0)
    options = {"scaled": scaled, "shrinkage": kind, "signs": True}
    plain = BlockCovariance(labels, **options).fit(X)
    model = BlockCovariance(labels, **options).fit(X * REVERSED)
    np.testing.assert_array_equal(plain.signs_, 1)
    np.testing.assert_array_equal(model.labels_, LABELS)
    first = REVERSED[[0, 5, 12]][LABELS]
    np.testing.assert_array_equal(model.signs_, REVERSED * first)
    assert model.shrinkage_ == pytest.approx(plain.shrinkage_, rel=1e-6)
    expected = plain.covariance_ * np.outer(REVERSED, REVERSED)
    np.testing.assert_allclose(model.covariance_, expected, rtol=1e-9, atol=1e-10)
    assert model.score(X * REVERSED) == pytest.approx(plain.score(X))
    np.testing.assert_allclose(model.mahalanobis(X * REVERSED), plain.mahalanobis(X))
    assert isinstance(plain.operator_, type(model.operator_)) or not scaled


def test_without_signs_nothing_is_reversed():
    model = BlockCovariance(LABELS).fit(samples() * REVERSED)
    np.testing.assert_array_equal(model.signs_, 1)
    assert model.signs_.dtype.kind == "i"


# Weights


def weighted_dense(X, w, scaled, shrinkage_):
    mean = w @ X / w.sum()
    S = (X - mean).T @ ((X - mean) * w[:, None]) / w.sum()
    s = np.sqrt(np.diag(S)) if scaled else np.ones(16)
    C = S / s[:, None] / s
    P = project_dense(C, bm.Partition.from_labels(LABELS))
    return mean, ((1 - shrinkage_) * C + shrinkage_ * P) * s[:, None] * s


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("shrinkage_", [1.0, 0.3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_are_those_of_the_dense_formula(scaled, shrinkage_, dtype):
    X = samples().astype(dtype)
    w = np.random.default_rng(1).uniform(0, 3, len(X))
    w[:5] = 0
    model = BlockCovariance(LABELS, scaled=scaled, shrinkage=shrinkage_)
    model.fit(X, sample_weight=w)
    mean, expected = weighted_dense(X.astype(float), w, scaled, shrinkage_)
    rtol = 1e-4 if dtype == np.float32 else 1e-10
    assert model.covariance_.dtype == model.location_.dtype == dtype
    np.testing.assert_allclose(model.location_, mean, rtol=rtol)
    np.testing.assert_allclose(model.covariance_, expected, rtol=rtol, atol=rtol)
    assert model.n_effective_ == pytest.approx(w.sum())


@pytest.mark.parametrize("options", [{}, {"shrinkage": 0.5}, {"signs": True}, {"scaled": False}])
@pytest.mark.parametrize("labels", [None, LABELS])
def test_integer_weights_are_repeated_rows(labels, options):
    X = samples(90, noise=1.5)
    w = np.random.default_rng(0).integers(0, 4, len(X))
    model = BlockCovariance(labels, **options)
    repeated = clone(model).fit(np.repeat(X, w, axis=0))
    assert_same(model.fit(X, sample_weight=w), repeated)
    assert model.n_effective_ == repeated.n_effective_ == w.sum()


@pytest.mark.parametrize("kind", SHRINKAGES)
def test_repeated_rows_allow_no_more_blocks(kind):
    """Six different rows have no more than four found blocks, so the model has an inverse."""
    X = np.random.default_rng(0).standard_normal((12, 16))
    w = np.arange(12) // 6 * 4
    model = BlockCovariance(shrinkage=kind)
    repeated = clone(model).fit(np.repeat(X, w, axis=0))
    assert repeated.partition_.n_blocks <= 4
    assert np.isfinite(repeated.score(X))
    with pytest.raises(ValueError, match="n_blocks is 5; expected at most 4"):
        BlockCovariance(n_blocks=5).fit(np.repeat(X, w, axis=0))
    assert model.fit(X, sample_weight=w).partition_.n_blocks <= 4


def test_the_optimal_shrinkage_of_integer_weights_is_that_of_repeated_rows():
    X = samples(90, noise=1.5)
    X[:, ::2] += np.random.default_rng(1).standard_normal((90, 1))
    w = np.random.default_rng(0).integers(0, 4, len(X))
    model = BlockCovariance(LABELS, shrinkage="optimal")
    repeated = clone(model).fit(np.repeat(X, w, axis=0))
    assert 0.05 < repeated.shrinkage_ < 0.95
    assert_same(model.fit(X, sample_weight=w), repeated)


@pytest.mark.parametrize("kind", ["optimal", "cv"])
@pytest.mark.parametrize("labels", [None, LABELS])
def test_equal_weights_do_not_change_an_estimated_shrinkage(labels, kind):
    X = samples(80, noise=1.5)
    X[:, ::2] += np.random.default_rng(1).standard_normal((80, 1))
    plain = BlockCovariance(labels, shrinkage=kind).fit(X)
    assert 0.05 < plain.shrinkage_ < 0.99
    assert_same(BlockCovariance(labels, shrinkage=kind).fit(X, sample_weight=np.ones(80)), plain)


def test_the_held_out_likelihood_counts_samples_by_their_weights():
    X = samples(50)
    w = np.random.default_rng(0).integers(1, 4, 10)
    p = bm.Partition.from_labels(LABELS)
    train = WeightedSamples(X[10:]).standardize(True, True)
    weighted = shrinkage.DevianceByShrinkage(train, p, X[:10], w)
    repeated = shrinkage.DevianceByShrinkage(train, p, np.repeat(X[:10], w, axis=0))
    for value in (0.1, 0.7, 1.0):
        assert weighted.at(value) == pytest.approx(repeated.at(value))


def test_the_half_life_halves_weights():
    X = samples()
    w = 0.5 ** (np.arange(60)[::-1] / 25)
    own = np.random.default_rng(2).uniform(0, 1, 60)
    for given in (None, own):
        given_or_one = np.ones(60) if given is None else own
        total = given_or_one * w
        model = BlockCovariance(LABELS, half_life=25, shrinkage=0.3).fit(X, sample_weight=given)
        mean, expected = weighted_dense(X, total, True, 0.3)
        np.testing.assert_allclose(model.location_, mean)
        np.testing.assert_allclose(model.covariance_, expected)
        assert model.n_effective_ == pytest.approx(total.sum() ** 2 / (total * w).sum())


@pytest.mark.parametrize("half_life", [3.0, 40.0])
@pytest.mark.parametrize("loadings", [False, True])
def test_a_half_life_is_as_good_as_so_many_samples(half_life, loadings):
    """The score for each variable is at most 0.05 lower; with eigenvalues near zero it is far lower."""
    rng = np.random.default_rng(0)
    X, new = rng.standard_normal((300, 60)), rng.standard_normal((2000, 60))
    options = {"labels": np.arange(60) % 4, "loadings": loadings}
    decayed = BlockCovariance(**options, half_life=half_life).fit(X)
    last = BlockCovariance(**options).fit(X[-round(decayed.n_effective_) :])
    assert decayed.score(new) / 60 >= last.score(new) / 60 - 0.05


@pytest.mark.parametrize("options", [{}, {"half_life": 25}, {"shrinkage": "cv"}, {"signs": True}])
@pytest.mark.parametrize("missing", ["raise", "pairwise"])
def test_a_factor_of_reliability_weights_has_no_effect(options, missing):
    X = samples(noise=1.5)
    if missing == "pairwise":
        X[3:20, 2] = np.nan
    w = np.random.default_rng(0).uniform(0.1, 1, 60)
    models = [
        BlockCovariance(**options, missing=missing, weight_type="reliability")
        .fit(X, sample_weight=c * w) for c in (1, 1 / 64)
    ]  # fmt: skip
    assert_same(*models)
    f = w * 0.5 ** (np.arange(60)[::-1] / options.get("half_life", np.inf))
    for model in models:
        assert model.n_effective_ == pytest.approx(f.sum() ** 2 / (f**2).sum())
    fitted = BlockCovariance(LABELS, shrinkage=None, missing=missing, weight_type="reliability")
    frequency = clone(fitted).set_params(weight_type="frequency")
    same = [each.fit(X, sample_weight=w).covariance_ for each in (fitted, frequency)]
    np.testing.assert_allclose(*same, rtol=1e-12)  # only numbers that are chosen depend on the kind


def test_batches_of_reliability_weights_are_one_fit():
    X, w = samples(), np.random.default_rng(0).uniform(0.1, 1, 60)
    model = BlockCovariance(weight_type="reliability", half_life=30)
    whole = clone(model).fit(X, sample_weight=w)
    for rows in (slice(25), slice(25, None)):
        model.partial_fit(X[rows], sample_weight=w[rows])
    assert_same(model, whole)


def test_the_number_of_samples_limits_the_number_of_found_blocks():
    X = samples()
    with pytest.raises(ValueError, match=r"n_blocks is 6; expected at most 5: the smaller"):
        BlockCovariance(n_blocks=6).fit(X, sample_weight=np.full(60, 7 / 60))
    with pytest.raises(ValueError, match="the weights of X count as 1 samples; expected at least"):
        BlockCovariance().fit(X, sample_weight=np.full(60, 1 / 60))
    model = BlockCovariance(LABELS, shrinkage=None)
    expected = model.fit(X).covariance_
    same = model.fit(X, sample_weight=np.full(60, 1 / 60))
    np.testing.assert_allclose(same.covariance_, expected)


# Constant columns


def with_constant_columns(X):
    return np.insert(X, [0, 7, 16], [[0.1, 0.0, -4.0]], axis=1)


VARYING = ~np.isin(np.arange(19), [0, 8, 18])


@pytest.mark.parametrize("options", [{}, {"scaled": False}, {"signs": True}])
@pytest.mark.parametrize("kind", SHRINKAGES)
@pytest.mark.parametrize("labels", [None, "names"])
def test_constant_variables_have_covariances_of_zero(labels, kind, options):
    X, rest = with_constant_columns(samples(100)), samples(100)
    options = options | {"shrinkage": kind}
    names = np.array(list("abc"))[LABELS] if labels else None
    every = np.insert(names, [0, 7, 16], ["a", "c", "d"]) if labels else None
    plain = BlockCovariance(names, **options).fit(rest)
    model = BlockCovariance(every, constant="keep", **options).fit(X)
    np.testing.assert_array_equal(model.constant_, ~VARYING)
    np.testing.assert_array_equal(model.labels_[VARYING], plain.labels_)
    np.testing.assert_array_equal(model.labels_[~VARYING], plain.partition_.n_blocks)
    expected = np.zeros((19, 19))
    expected[np.ix_(VARYING, VARYING)] = plain.covariance_
    np.testing.assert_array_equal(model.covariance_[~VARYING], 0)
    np.testing.assert_allclose(model.covariance_, expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(model.location_[~VARYING], [0.1, 0, -4])
    np.testing.assert_allclose(model.location_[VARYING], plain.location_)
    expected[np.ix_(VARYING, VARYING)] = plain.precision_
    np.testing.assert_allclose(model.precision_, expected, rtol=1e-9, atol=1e-9)
    assert model.score(X) == pytest.approx(plain.score(rest))
    moved = X + 5 * ~VARYING
    np.testing.assert_allclose(model.mahalanobis(moved), plain.mahalanobis(rest))
    assert type(model.operator_) is type(plain.operator_)
    with pytest.raises(np.linalg.LinAlgError):
        model.operator_.solve(np.ones(19))
    assert model.partition_.names[-1] == ("constant" if labels else plain.partition_.n_blocks)


def test_columns_that_vary_are_not_changed_by_keeping_constants():
    X = samples()
    assert_same(BlockCovariance(constant="keep").fit(X), BlockCovariance().fit(X), 0)


def test_constant_columns_are_an_error_by_default():
    with pytest.raises(ValueError, match="X is constant in 3 of its columns: 0, 8, 18"):
        BlockCovariance().fit(with_constant_columns(samples()))
    with pytest.raises(ValueError, match="all columns of X are constant; expected at least one"):
        BlockCovariance(constant="keep").fit(np.ones((5, 3)))


def test_a_name_of_constant_variables_is_new():
    X = np.column_stack([samples()[:, :3], np.ones(60)])
    model = BlockCovariance(["constant", "constant", "x", "x"], constant="keep").fit(X)
    assert model.partition_.names == ("constant", "x", "constant_")
    assert model.groups_ == {"constant": [0, 1], "x": [2], "constant_": [3]}


# Streams


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"labels": LABELS},
        {"labels": LABELS, "shrinkage": 0.4},
        {"labels": LABELS, "scaled": False, "assume_centered": True},
        {"signs": True, "n_blocks": 3},
        {"half_life": 15.0},
        {"labels": LABELS, "half_life": 7.0, "assume_centered": True, "shrinkage": 0.2},
    ],
)
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_stream_is_the_fit_of_all_rows(options, weights, dtype):
    X = samples(75).astype(dtype)
    w = np.random.default_rng(3).integers(0, 4, 75) if weights else np.ones(75)
    whole = BlockCovariance(**options).fit(X, sample_weight=w)
    stream = BlockCovariance(**options)
    for rows in np.split(np.arange(75), [20, 21, 40]):
        stream.partial_fit(X[rows], sample_weight=w[rows])
    assert stream.operator_.dtype == dtype
    assert type(stream.operator_) is type(whole.operator_)
    assert stream.n_effective_ == pytest.approx(whole.n_effective_)
    assert_same(stream, whole, 1e-4 if dtype == np.float32 else 1e-9)


def test_a_stream_has_a_large_mean():
    """Means of 1e8 in units of the deviations cost eight digits, not sixteen."""
    X = samples(90) + 1e8
    stream = BlockCovariance(LABELS)
    for rows in np.split(np.arange(90), 3):
        stream.partial_fit(X[rows])
    np.testing.assert_allclose(stream.covariance_, BlockCovariance(LABELS).fit(X).covariance_, 1e-6)


def test_a_stream_stores_at_most_as_many_rows_as_variables():
    stream = BlockCovariance(LABELS)
    for seed in range(5):
        stream.partial_fit(samples(50, seed=seed))
    assert stream._stream.rows.shape == (16, 16)
    few = RunningSamples.of(WeightedSamples(samples(3)))
    assert few.rows.shape == (3, 16)
    assert few.join(few).rows.shape == (7, 16)


def test_a_variable_of_a_stream_varies_if_it_does_in_any_batch():
    X = samples(40)
    X[:20, 3], X[:, 9] = 5.0, 2.0
    stream = BlockCovariance(LABELS, constant="keep").partial_fit(X[:20])
    assert np.flatnonzero(stream.constant_).tolist() == [3, 9]
    stream.partial_fit(X[20:])
    assert np.flatnonzero(stream.constant_).tolist() == [9]
    assert_same(stream, BlockCovariance(LABELS, constant="keep").fit(X))


def test_a_stream_refuses_what_it_cannot_do():
    X = samples()
    for kind in ("cv", "optimal"):
        assert not hasattr(BlockCovariance(shrinkage=kind), "partial_fit")
        with pytest.raises(AttributeError, match="has no attribute 'partial_fit'") as info:
            BlockCovariance(shrinkage=kind).partial_fit(X)
        assert f"shrinkage is '{kind}'; partial_fit expects" in str(info.value.__cause__)
    with pytest.warns(UserWarning, match="partial_fit starts anew, because fit stored no samples"):
        again = BlockCovariance(LABELS).fit(X[:30]).partial_fit(X[30:])
    assert_same(again, BlockCovariance(LABELS).fit(X[30:]))
    with pytest.raises(ValueError, match="X has 1 rows; expected at least 2 samples"):
        BlockCovariance(LABELS).partial_fit(X[:1])
    stream = BlockCovariance(LABELS).partial_fit(X[:20])
    before = stream.covariance_
    with pytest.raises(ValueError, match="NaN"):
        stream.partial_fit(np.full((3, 16), np.nan))
    with pytest.raises(ValueError, match="16 features"):
        stream.partial_fit(X[:, 1:])
    np.testing.assert_array_equal(stream.covariance_, before)
    stream.partial_fit(X[20:])
    assert_same(stream, BlockCovariance(LABELS).fit(X))
    assert_same(stream.fit(X[:30]), BlockCovariance(LABELS).fit(X[:30]), 0)


# Bad input

BAD = [
    ({"half_life": 0}, {}, ValueError, "half_life is 0; expected a positive number of samples"),
    ({"half_life": np.inf}, {}, ValueError, "half_life is inf"),
    ({"half_life": "year"}, {}, TypeError, "half_life is 'year'"),
    ({"half_life": True}, {}, TypeError, "half_life is True"),
    ({"shrinkage": True}, {}, TypeError, "shrinkage is True"),
    ({"constant": "drop"}, {}, ValueError, "constant is 'drop'; expected 'raise' or 'keep'"),
    ({"constant": None}, {}, ValueError, "constant is None"),
    ({"weight_type": "survey"}, {}, ValueError, "weight_type is 'survey'; expected 'frequency'"),
    ({"weight_type": None}, {}, ValueError, "weight_type is None"),
    ({}, {"sample_weight": np.ones(59)}, ValueError, "sample_weight has length 59; expected 60"),
    ({}, {"sample_weight": -np.ones(60)}, ValueError, "sample_weight is -1.0 at index 0"),
    ({}, {"sample_weight": np.zeros(60)}, ValueError, "sample_weight has only zeros"),
    ({}, {"sample_weight": np.eye(1, 60)[0]}, ValueError, "X has 1 rows; expected at least 2"),
    (
        {"labels": LABELS, "shrinkage": None},
        {"sample_weight": np.arange(60) < 3},
        ValueError,
        "X has 3 samples, too few for 3 blocks",
    ),
    ({}, {"sample_weight": np.full(60, np.nan)}, np.linalg.LinAlgError, "sample_weight contains"),
]


@pytest.mark.parametrize(("options", "arguments", "error", "message"), BAD)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_input_is_refused(method, options, arguments, error, message):
    model = BlockCovariance(**options)
    with pytest.raises(error, match=message):
        getattr(model, method)(samples(), **arguments)
    assert not any(name.endswith("_") for name in vars(model))


# scikit-learn and pandas


def frame(n_samples=60, columns=None):
    columns = [f"v{i}" for i in range(16)] if columns is None else columns
    index = pd.date_range("2020-01-01", periods=n_samples)
    return pd.DataFrame(samples(n_samples), index, columns)


@pytest.mark.parametrize(
    "columns",
    [
        [f"v{i}" for i in range(16)],
        list(range(100, 116)),
        [("bank", i) for i in range(16)],
        [*"abcdefgh", *range(8)],
    ],
    ids=["strings", "integers", "tuples", "mixed"],
)
def test_names_of_any_type_are_kept(columns):
    df = frame()
    df.columns = pd.Index(columns, tupleize_cols=False)
    labels = pd.Series(np.array(list("abc"))[LABELS], index=df.columns)
    shuffled = labels.sample(frac=1, random_state=0)
    mixed = len({type(c) for c in columns}) > 1
    if mixed:  # scikit-learn's rule
        with pytest.raises(
            TypeError, match="Feature names are only supported if all input feature"
        ):
            BlockCovariance(shuffled).fit(df)
        return
    model = BlockCovariance(shuffled).fit(df)
    np.testing.assert_array_equal(model.labels_, LABELS)
    assert model.groups_ == {c: columns[s] for c, s in zip("abc", SLICES, strict=True)}
    assert type(model.labels_) is np.ndarray
    assert BlockCovariance(n_blocks=3).fit(df).groups_ == {
        b: columns[s] for b, s in enumerate(SLICES)
    }
    assert bm.find_partition(df, 3, samples=True).groups(df.columns) == {
        b: columns[s] for b, s in enumerate(SLICES)
    }


SLICES = slice(0, 5), slice(5, 12), slice(12, 16)


def test_weights_in_a_series_belong_to_the_rows_of_their_names():
    df = frame()
    w = pd.Series(np.arange(60.0), index=df.index)
    expected = BlockCovariance(LABELS).fit(df.to_numpy(), sample_weight=w.to_numpy())
    shuffled = w.sample(frac=1, random_state=0)
    for given in (w, shuffled, w.reset_index(drop=True), w.to_numpy(), w.tolist()):
        assert_same(BlockCovariance(LABELS).fit(df, sample_weight=given), expected, 0)
    assert_same(BlockCovariance(LABELS).fit(df.to_numpy(), sample_weight=w), expected, 0)
    message = "sample_weight has another index than the rows of X; expected a number for each name"
    later = w.set_axis(df.index + pd.Timedelta("1D"))
    twice = df.set_axis(df.index[[0, *range(59)]])
    for X, given in ((df, later), (df, w[:-1]), (twice, shuffled)):
        with pytest.raises(ValueError, match=message):
            BlockCovariance(LABELS).fit(X, sample_weight=given)
    integers = df.reset_index(drop=True)[::-1]
    by_name = BlockCovariance(LABELS).fit(integers, sample_weight=w.reset_index(drop=True))
    assert_same(by_name, expected)


def test_labels_by_name_follow_the_columns():
    df = frame()
    labels = dict(zip(df.columns, LABELS.tolist(), strict=True))
    other = df[df.columns[::-1]]
    model = BlockCovariance(labels).fit(other)
    np.testing.assert_array_equal(model.labels_, LABELS[::-1])
    with pytest.raises(ValueError, match="feature names"):
        model.score(df)
    R = df.corr()
    for fit in (bm.fit, lambda R, x: bm.fit_factor(R, x, samples=False)):
        A, B = fit(R, labels), fit(R.loc[other.columns, other.columns], labels)
        np.testing.assert_allclose(B.toarray(), A.toarray()[::-1, ::-1], rtol=1e-5)


def test_it_works_in_pipelines_and_grid_searches():
    df = frame(80)
    df["flat"] = 1.0
    scaler = StandardScaler().set_output(transform="pandas")
    pipeline = make_pipeline(scaler, BlockCovariance(constant="keep", signs=True)).fit(df)
    assert pipeline[-1].feature_names_in_.tolist() == df.columns.tolist()
    assert list(pipeline[-1].groups_.values())[-1] == ["flat"]
    grid = {"n_blocks": [1, 3], "shrinkage": [None, 0.5], "half_life": [None, 40]}
    w = pd.Series(np.random.default_rng(0).uniform(0.5, 2, 80), df.index)
    search = GridSearchCV(BlockCovariance(constant="keep"), grid).fit(df, sample_weight=w)
    assert search.best_params_["n_blocks"] == 3
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("options", [{}, {"constant": "keep"}, {"shrinkage": 0.5}])
def test_the_score_is_a_weighted_mean(options):
    X, new = samples(), samples(20, seed=1)
    w = np.random.default_rng(0).integers(0, 4, 20)
    model = BlockCovariance(LABELS, **options).fit(X)
    expected = model.score(np.repeat(new, w, axis=0))
    assert model.score(new, sample_weight=w) == pytest.approx(expected)
    assert model.score(new, sample_weight=np.ones(20)) == pytest.approx(model.score(new))
    df = pd.DataFrame(new, index=list("abcdefghijklmnopqrst"))
    by_name = pd.Series(w, df.index)[::-1]
    assert model.score(df, sample_weight=by_name) == pytest.approx(expected)
    with pytest.raises(ValueError, match="sample_weight has length 3; expected 20"):
        model.score(new, sample_weight=[1, 1, 1])


@pytest.mark.parametrize("stream", [False, True])
def test_a_pickle_goes_on(stream):
    X = samples(80)
    model = BlockCovariance(signs=True, half_life=30, constant="keep")
    method = BlockCovariance.partial_fit if stream else BlockCovariance.fit
    copy = pickle.loads(pickle.dumps(method(model, X[:50])))
    assert_same(copy, model, 0)
    assert clone(copy).get_params() == model.get_params()
    if stream:
        assert_same(copy.partial_fit(X[50:]), clone(model).fit(X))


def test_weights_are_checked_when_they_are_reduced():
    w = as_weights([0.0, 2.0, 1.0, 0.0], 4, "reliability")
    some = WeightedSamples.of(samples(4), w)
    assert some.n_rows == 2
    assert some.n_effective == pytest.approx(9 / 5)
    np.testing.assert_allclose(some.relative_weights, [4 / 3, 2 / 3])
    assert some.rows(np.array([0])).n_effective == 1
    assert WeightedSamples(samples(4)).relative_weights is None


@pytest.mark.parametrize("labels", [None, LABELS])
def test_variables_beside_constant_ones_keep_their_signs(labels):
    X = samples(100) * REVERSED
    plain = BlockCovariance(labels, signs=True).fit(X)
    every = None if labels is None else np.insert(labels, [0, 7, 16], [0, 1, 3])
    model = BlockCovariance(every, signs=True, constant="keep").fit(with_constant_columns(X))
    assert (plain.signs_ < 0).any()
    np.testing.assert_array_equal(model.signs_[VARYING], plain.signs_)
    np.testing.assert_array_equal(model.signs_[~VARYING], 1)


def test_weights_of_a_population_take_no_memory_for_each_person():
    X = samples()
    weights = np.random.default_rng(0).integers(1, 9, 60)
    kind = {"labels": LABELS, "shrinkage": "cv"}
    few = BlockCovariance(**kind).fit(X, sample_weight=weights)
    many = BlockCovariance(**kind).fit(X, sample_weight=weights * 10**15)
    assert many.shrinkage_ == pytest.approx(few.shrinkage_, abs=0.05)  # folds differ by a row
