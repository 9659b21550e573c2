"""BlockCovariance: what its arguments may be, and that errors change nothing."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV

import blockmat as bm
from blockmat.covariance import BlockCovariance
from blockmat.exceptions import DtypeError, ShapeError

X = np.random.default_rng(0).standard_normal((60, 6))
X[:, 3:] += X[:, :1]
LABELS = [0, 0, 0, 1, 1, 1]
FRAME = pd.DataFrame(X, columns=list("abcdef"))


def state(model):
    """The attributes of an estimator, as text."""
    return {name: repr(value) for name, value in vars(model).items()}


# An error changes nothing


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    "bad",
    [
        FRAME.iloc[:, :3],  # labels for six
        FRAME.rename(columns=str.upper).assign(A=1.0),  # a constant column, other names
        FRAME.iloc[:1],
        FRAME.assign(a=np.nan),
    ],
    ids=["columns", "constant", "rows", "nan"],
)
def test_an_error_leaves_the_estimator_as_it_was(method, bad):
    model = BlockCovariance(LABELS)
    for fitted in (False, True):
        if fitted:
            getattr(model, method)(FRAME)
        before = state(model)
        if method == "partial_fit" and fitted and bad.shape == (1, 6):
            continue  # one more row is no error
        with pytest.raises((ValueError, np.linalg.LinAlgError)):
            getattr(model, method)(bad)
        assert state(model) == before
    model.score(FRAME)


def test_an_error_of_a_new_start_changes_nothing():
    model = BlockCovariance(LABELS).fit(FRAME)
    before = state(model)
    with (
        pytest.warns(UserWarning, match="partial_fit starts anew"),
        pytest.raises(ValueError, match="labels"),
    ):
        model.partial_fit(X[:, :3])
    assert state(model) == before
    model.score(FRAME)


# True or False


@pytest.mark.parametrize("name", ["scaled", "signs", "assume_centered", "loadings"])
@pytest.mark.parametrize("value", ["no", 1, None, 0.0, np.array([True])])
def test_flags_of_the_estimator_are_true_or_false(name, value):
    with pytest.raises(TypeError, match=f"{name} is .*; expected True or False"):
        BlockCovariance(LABELS, **{name: value}).fit(X)


@pytest.mark.parametrize("name", ["scaled", "signs", "assume_centered", "loadings"])
@pytest.mark.parametrize("value", [False, True])
def test_flags_of_numpy_are_those_of_python(name, value):
    plain = BlockCovariance(LABELS, **{name: value}).fit(X)
    model = BlockCovariance(LABELS, **{name: np.bool_(value)}).fit(X)
    np.testing.assert_array_equal(model.covariance_, plain.covariance_)
    assert type(model.operator_) is type(plain.operator_)


def test_a_grid_search_takes_an_array_of_flags():
    search = GridSearchCV(BlockCovariance(LABELS), {"loadings": np.array([True, False])}).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


FINDERS = [bm.find_partition, bm.partition_path, bm.partition_stability]


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize("name", ["samples", "contiguous", "signs", "degrees", "loadings"])
@pytest.mark.parametrize("value", ["no", 1])
def test_flags_of_a_search_are_true_or_false(find, name, value):
    if find is bm.partition_stability and name == "degrees":
        return  # which it does not have
    with pytest.raises(TypeError, match=f"{name} is {value!r}; expected True"):
        find(X, **({"samples": True} | {name: value}))


@pytest.mark.parametrize("find", FINDERS)
def test_flags_of_numpy_are_those_of_a_search(find):
    options = {"n_resamples": 3, "random_state": 0} if find is bm.partition_stability else {}
    for loadings in (True, False):
        flags = {"samples": True, "signs": True, "contiguous": False, "loadings": loadings}
        of_numpy = {name: np.bool_(value) for name, value in flags.items()}
        assert repr(find(X, **flags, **options)) == repr(find(X, **of_numpy, **options))


@pytest.mark.parametrize("value", [True, np.True_])
def test_a_flag_is_no_number(value):
    with pytest.raises(TypeError, match=r"n_blocks is .*True.*; expected an integer$"):
        BlockCovariance(n_blocks=value).fit(X)
    with pytest.raises(TypeError, match=r"n_blocks is .*True.*; expected an integer$"):
        bm.find_partition(X, value, samples=True)


# Masked arrays


def test_masked_arrays_are_refused():
    masked = np.ma.masked_array(X, X > 1)
    model = BlockCovariance(LABELS, missing="em", shrinkage=None).fit(X)
    fits = (BlockCovariance(LABELS).fit, BlockCovariance(LABELS).partial_fit)
    for method in (*fits, model.score, model.mahalanobis):
        with pytest.raises(DtypeError, match="X is a masked array; expected one without a mask"):
            method(masked)


# error_norm


def test_the_other_covariance_is_real():
    model = BlockCovariance(LABELS).fit(X)
    C = model.covariance_
    for bad in (C + 1j, C.astype(object), C.astype(str), np.ma.masked_array(C)):
        with pytest.raises(DtypeError, match="comp_cov"):
            model.error_norm(bad)
    with pytest.raises(ShapeError, match=r"comp_cov has shape \(5, 5\); expected \(6, 6\)"):
        model.error_norm(C[:5, :5])
    assert model.error_norm(C.astype(int)) > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm", ["frobenius", "spectral"])
def test_a_large_distance_is_infinite(norm, dtype):
    model = BlockCovariance(LABELS).fit(X.astype(dtype))
    other = model.covariance_ + 1e300 * np.eye(6)
    assert model.error_norm(other, norm) == np.inf
    length = 6**0.5 if norm == "frobenius" else 1
    assert model.error_norm(other, norm, False, False) == pytest.approx(1e300 * length)


@pytest.mark.parametrize(
    "names", [list("abcdef"), [5, 4, 3, 2, 1, 0], [("x", i) for i in range(6)]]
)
def test_names_of_the_other_covariance_are_matched(names):
    frame = FRAME.set_axis(pd.Index(names, tupleize_cols=False), axis=1)
    model = BlockCovariance(LABELS).fit(frame)
    other = frame.cov()
    expected = model.error_norm(other.to_numpy())
    turned = other.iloc[::-1, [3, 1, 2, 0, 5, 4]]
    for given in (other, turned, other.iloc[::-1]):
        assert model.error_norm(given) == expected
    if names[0] == "a":
        assert model.error_norm(pd.DataFrame(other.to_numpy())) == expected
        assert model.error_norm(pd.DataFrame(other.to_numpy(), columns=names)) == expected
    strange = other.set_axis(list("uvwxyz"), axis=1)
    with pytest.raises(ValueError, match="comp_cov has other names than X in its rows or columns"):
        model.error_norm(strange)
    assert BlockCovariance(LABELS).fit(X).error_norm(strange) == pytest.approx(expected)


# Scores and distances


def test_rows_with_a_value_and_without_weight_have_no_score():
    model = BlockCovariance(LABELS, missing="em", shrinkage=None).fit(X)
    rows = np.vstack([np.full(6, np.nan), X[0]])
    with pytest.raises(ValueError, match="X has no values; expected at least one sample"):
        model.score(rows, sample_weight=[1, 0])
    assert model.score(rows, sample_weight=[1, 2]) == pytest.approx(model.score(X[:1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("of_samples", [np.float32, np.float64])
def test_distances_have_one_dtype(dtype, of_samples):
    model = BlockCovariance(LABELS, missing="em", shrinkage=None).fit(X.astype(dtype))
    gaps = X.astype(of_samples)
    whole = model.mahalanobis(gaps)
    gaps[3, 2] = np.nan
    distances = model.mahalanobis(gaps)
    assert distances.dtype == whole.dtype == np.result_type(dtype, of_samples)
    np.testing.assert_allclose(np.delete(distances, 3), np.delete(whole, 3), rtol=1e-4)


# Messages


def test_messages_count_the_variables_that_vary():
    flat = np.column_stack([X[:, :5], np.ones(60)])
    with pytest.raises(ValueError, match=r"X has 5 feature\(s\) that vary; n_blocks=6 expects"):
        BlockCovariance(n_blocks=6, constant="keep").fit(flat)
    with pytest.raises(
        ValueError, match=r"X has 5 feature\(s\) that vary and 60 rows; n_factors=6"
    ):
        BlockCovariance(n_factors=6, constant="keep").fit(flat)
    with pytest.raises(ValueError, match=r"X has 6 feature\(s\); n_blocks=7 expects at least as"):
        BlockCovariance(n_blocks=7).fit(X)


@pytest.mark.parametrize("missing", ["pairwise", "em"])
def test_a_single_value_is_not_called_constant(missing):
    gaps = X.copy()
    gaps[1:, 2] = np.nan
    message = "X has only one value in 1 of its columns: 2; expected at least 2 different values"
    with pytest.raises(ValueError, match=message):
        BlockCovariance(LABELS, missing=missing).fit(gaps)
    with pytest.raises(ValueError, match=message):
        bm.find_partition(gaps, 2, samples=True, missing=missing)
    gaps[1, 2] = gaps[0, 2]
    with pytest.raises(ValueError, match="X is constant in 1 of its columns: 2"):
        BlockCovariance(LABELS, missing=missing).fit(gaps)
    gaps[1, 2] = 7.0  # its weight is zero
    with pytest.raises(ValueError, match=message):
        BlockCovariance(LABELS, missing=missing).fit(gaps, sample_weight=np.arange(60) != 1)


# Streams of blocks with factors


@pytest.mark.parametrize("shrinkage", [None, "nonlinear"])
@pytest.mark.parametrize("labels", [[0, 0], [0, 1], [0, 1, 2], [0, 0, 1, 2]])
def test_a_stream_of_blocks_with_factors_counts_its_samples(labels, shrinkage):
    rows = np.random.default_rng(0).standard_normal((30, 1)) + X[:30, : len(labels)]
    whole = BlockCovariance(labels, loadings=True, shrinkage=shrinkage).fit(rows)
    stream = BlockCovariance(labels, loadings=True, shrinkage=shrinkage)
    for batch in np.split(rows, [12, 13]):
        stream.partial_fit(batch)
    # Both searches end within the tolerance of fit_factor, 1e-6 of the gradient.
    np.testing.assert_allclose(stream.covariance_, whole.covariance_, rtol=1e-4, atol=1e-4)
    least = max(3, max(labels) + 1)
    message = (
        f"X has {least - 1} rows; expected at least {least} samples for {max(labels) + 1} factors"
    )
    for method in ("fit", "partial_fit"):
        model = BlockCovariance(labels, loadings=True, shrinkage=shrinkage)
        with pytest.raises(ValueError, match=message):
            getattr(model, method)(rows[: least - 1])


# Scales


@pytest.mark.parametrize("exponent", [-900, -500, -332, 332, 500])
@pytest.mark.parametrize("missing", ["pairwise", "em"])
@pytest.mark.parametrize("shrinkage", [None, "nonlinear"])
def test_a_power_of_two_of_samples_with_gaps_scales_the_result(exponent, missing, shrinkage):
    """Powers of two are exact, so that EM makes the same steps; squares are in the range of float64."""
    rng = np.random.default_rng(0)
    gaps = rng.normal(size=(30, 2))
    gaps[:, 1] += 2 * gaps[:, 0]
    gaps[5:][rng.random((25, 2)) < 0.5] = np.nan
    unit = 2.0**exponent
    options = {"missing": missing, "scaled": False, "shrinkage": shrinkage}
    expected = BlockCovariance([0, 1], **options).fit(gaps)
    model = BlockCovariance([0, 1], **options).fit(gaps * unit)
    np.testing.assert_allclose(model.location_ / unit, expected.location_, rtol=1e-12)
    if abs(exponent) < 511:
        np.testing.assert_allclose(
            model.covariance_ / unit / unit, expected.covariance_, rtol=1e-12
        )


# The first mistakes


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("labels", [LABELS, np.array(LABELS), bm.Partition.from_labels(LABELS)])
def test_labels_are_no_y(method, labels):
    with pytest.raises(
        ValueError, match=r"y is .*, one for each variable; .* BlockCovariance\(labels\).fit"
    ):
        getattr(BlockCovariance(), method)(X, labels)


def test_y_of_a_pipeline_is_ignored():
    fitted = BlockCovariance(LABELS).fit(X)
    for y in (np.arange(60), ["x"] * 60, X[:, :2], None):
        again = BlockCovariance(LABELS).fit(X, y)
        np.testing.assert_array_equal(again.covariance_, fitted.covariance_)
    BlockCovariance(LABELS).fit(X[:6], np.arange(6))  # which can be of the samples


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_columns_that_are_no_variables(method):
    days = FRAME.assign(day=pd.date_range("2024-01-01", periods=60))
    with pytest.raises(DtypeError, match=r"column 'day' of X has dtype .*X.set_index\('day'\)"):
        getattr(BlockCovariance([*LABELS, 1]), method)(days)
    with pytest.warns(UserWarning, match="the columns of X are dates"):
        getattr(BlockCovariance(n_blocks=1), method)(days.set_index("day").T)


@pytest.mark.parametrize("dtype", [object, "category", "Float64", "Sparse[float64]"])
def test_numbers_in_columns_of_another_dtype(dtype):
    """Scikit-learn converts objects and categories that are numbers."""
    frame = FRAME.astype({FRAME.columns[1]: dtype})
    expected = BlockCovariance(LABELS).fit(FRAME)
    found = BlockCovariance(LABELS).fit(frame)
    np.testing.assert_allclose(found.covariance_, expected.covariance_, rtol=1e-12)
    assert found.score(frame) == pytest.approx(expected.score(FRAME), rel=1e-12)
    assert BlockCovariance(LABELS).partial_fit(frame).score(frame) == pytest.approx(
        expected.score(FRAME), rel=1e-12
    )


def test_a_frame_without_columns_is_refused():
    with pytest.raises(ValueError, match="X has no columns; expected at least one variable"):
        BlockCovariance().fit(pd.DataFrame(index=range(9)))


def test_frames_of_extension_dtypes_are_read_as_arrays():
    for dtype, expected in (("Float32", "f"), ("Sparse[float32]", "f"), ("Sparse[float64]", "d")):
        model = BlockCovariance(LABELS).fit(FRAME.astype(dtype))
        assert model.operator_.dtype == expected
        assert [*model.feature_names_in_] == [*FRAME.columns]
        plain = BlockCovariance(LABELS).fit(FRAME.to_numpy(dtype=expected))
        np.testing.assert_array_equal(model.covariance_, plain.covariance_)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, Decimal("NaN")])
def test_what_is_missing_among_objects_is_a_gap(missing):
    name = FRAME.columns[1]
    gaps = FRAME.assign(**{name: pd.Series([missing, *FRAME[name][1:]], dtype=object)})
    floats = FRAME.astype(float)
    floats.iloc[0, 1] = np.nan
    expected = BlockCovariance(LABELS, missing="em", shrinkage=None).fit(floats)
    found = BlockCovariance(LABELS, missing="em", shrinkage=None).fit(gaps)
    np.testing.assert_array_equal(found.covariance_, expected.covariance_)
    assert found.score(gaps) == expected.score(floats)


@pytest.mark.parametrize(
    "entry", [1 + 2j, np.complex64(1j), 10**400, np.timedelta64(1, "s"), [1.0]]
)
def test_what_is_no_number_among_objects_is_refused_with_the_column(entry):
    fitted = BlockCovariance(LABELS).fit(FRAME)
    column = FRAME[FRAME.columns[1]].astype(object)
    column.iloc[0] = entry
    frame = FRAME.assign(**{FRAME.columns[1]: column})
    for method in (BlockCovariance(LABELS).fit, fitted.score, fitted.mahalanobis):
        with pytest.raises(DtypeError, match=f"column '{FRAME.columns[1]}' of X has dtype object"):
            method(frame)


@pytest.mark.parametrize("dtype", [str, object, "category"])
def test_text_in_columns_is_no_number(dtype):
    frame = FRAME.astype({FRAME.columns[1]: str}).astype({FRAME.columns[1]: dtype})
    fitted = BlockCovariance(LABELS).fit(FRAME)
    for method in (BlockCovariance(LABELS).fit, fitted.score, fitted.mahalanobis):
        with pytest.raises(DtypeError, match=r"column .* of X has dtype"):
            method(frame)


def test_transposed_samples_and_samples_in_place_of_labels():
    with pytest.raises(
        ShapeError, match=r"labels has 6 labels; expected 60.* samples are rows, .*\(X.T\)"
    ):
        BlockCovariance(LABELS).fit(X.T)
    with pytest.raises(
        ShapeError, match=r"labels is 2-d with shape \(60, 6\); expected 1-d, one label"
    ):
        BlockCovariance(FRAME).fit(FRAME)


def test_lists_of_unequal_lengths_are_a_y_that_is_ignored():
    expected = BlockCovariance(LABELS).fit(X).covariance_
    ragged = [[0], *([0, 1] for _ in range(59))]
    np.testing.assert_array_equal(BlockCovariance(LABELS).fit(X, ragged).covariance_, expected)
