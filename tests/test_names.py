"""Labels that go by name, and input that means something else than it seems to."""

import datetime

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import blockmat as bm
from blockmat.covariance import BlockCovariance
from blockmat.exceptions import DtypeError, PartitionError, PartitionMismatchError, ShapeError
from blockmat.inference import likelihood_ratio_test, log_likelihood

NAMES = ["e", "b", "d", "a", "c"]
BY_NAME = {"a": "x", "b": "y", "c": "x", "d": "x", "e": "y"}
IN_ORDER = [BY_NAME[name] for name in NAMES]
X = pd.DataFrame(np.random.default_rng(0).standard_normal((20, 5)), columns=NAMES)
S = X.cov()
FINE = {**BY_NAME, "c": "z"}


def labels_by_name(kind, mapping=BY_NAME):
    """The labels of all names and of others, in an order of their own."""
    everything = {"zz": "other", **dict(sorted(mapping.items()))}
    return everything if kind == "dict" else pd.Series(everything)


def results(samples, covariance, labels, fine):
    """What every function that takes a source and labels makes of them."""
    return [
        bm.fit(covariance, labels).toarray(),
        bm.fit_samples(samples, labels).toarray(),
        bm.BlockRectangularMatrix.fit(samples[:5], list("ppqqq"), labels).toarray(),
        bm.optimal_shrinkage(samples, labels),
        likelihood_ratio_test(samples, labels, fine).statistic,
        BlockCovariance(labels).fit(samples).covariance_,
        BlockCovariance(labels, shrinkage="cv").fit(samples).covariance_,
        BlockCovariance(labels, shrinkage="optimal").fit(samples).covariance_,
    ]


@pytest.mark.parametrize("kind", ["dict", "series"])
def test_labels_by_name_go_to_the_columns_of_that_name(kind):
    found = results(X, S, labels_by_name(kind), labels_by_name(kind, FINE))
    by_position = results(X.to_numpy(), S.to_numpy(), IN_ORDER, [FINE[name] for name in NAMES])
    for result, expected in zip(found, by_position, strict=True):
        np.testing.assert_allclose(result, expected)


@given(st.permutations(range(5)), st.permutations(range(5)))
def test_the_order_of_columns_and_of_labels_does_not_matter(columns, labels):
    expected = bm.fit_samples(X, BY_NAME)
    moved = X.iloc[:, list(columns)]
    series = pd.Series(BY_NAME).iloc[list(labels)]
    A = bm.fit_samples(moved, series)
    for p, q in zip(A.values.ravel(), expected.values.ravel(), strict=True):
        assert p == pytest.approx(q)
    assert A.partition.names == ("x", "y")


def test_rows_go_by_the_index():
    frame = pd.DataFrame(np.arange(6.0).reshape(3, 2), index=list("abc"), columns=list("uv"))
    B = bm.BlockRectangularMatrix.fit(frame, {"c": 0, "a": 1, "b": 0}, {"v": 0, "u": 1})
    assert B.row_partition.labels.tolist() == [1, 0, 0]
    assert B.col_partition.labels.tolist() == [1, 0]


def test_a_series_without_names_goes_by_position():
    plain = pd.Series(IN_ORDER)
    for source in (X, X.to_numpy(), X.rename(columns=str.upper)):
        assert bm.fit_samples(source, plain).partition.labels.tolist() == [1, 1, 0, 0, 0]
    numbered = X.set_axis([4, 1, 3, 0, 2], axis=1)
    assert bm.fit_samples(numbered, pd.Series(list("xyxxy"))).partition.labels.tolist() == [
        1,
        1,
        0,
        0,
        0,
    ]
    for same in (IN_ORDER, tuple(IN_ORDER), np.array(IN_ORDER), pd.Index(IN_ORDER)):
        assert bm.fit_samples(X, same).partition.labels.tolist() == [1, 1, 0, 0, 0]
    p = bm.Partition.from_labels(IN_ORDER)
    assert bm.fit_samples(X, p).partition is p


def test_an_index_needs_names():
    named = pd.Series(BY_NAME)
    numbers = X.to_numpy()
    acc = bm.BlockAccumulator(named)
    for use in (
        lambda: bm.fit_samples(numbers, named),
        lambda: bm.fit(X.cov().to_numpy(), named),
        lambda: BlockCovariance(named).fit(numbers),
        lambda: acc.add_samples(numbers),
    ):
        with pytest.raises(
            PartitionError, match=r"\.to_numpy\(\) in the order of the columns, or a Dat"
        ):
            use()
    in_order = named.reset_index(drop=True)
    for labels in (in_order, named.to_numpy()):
        assert bm.fit_samples(numbers, labels).partition.labels.tolist() == [0, 1, 0, 0, 1]


def test_a_pipeline_matches_labels_by_name_or_refuses_them():
    shuffled = pd.Series(BY_NAME).reindex(X.columns[[3, 0, 4, 2, 1]])
    model = make_pipeline(StandardScaler(), BlockCovariance(shuffled, shrinkage=None))
    with pytest.raises(PartitionError, match=r"labels is a Series with an index"):
        model.fit(X)
    labels = model.set_output(transform="pandas").fit(X)[-1].labels_
    assert labels.tolist() == bm.fit_samples(X, shuffled).partition.labels.tolist()


MIXED = [2, 0, 4, 1, 3]  # an order
GIVEN = {
    "series": pd.Series(IN_ORDER, index=NAMES),
    "dict": dict(zip(NAMES, IN_ORDER, strict=True)),
    "list": IN_ORDER,
    "default": pd.Series(IN_ORDER),
}


def covariance_after(acc, *parts):
    for part in parts:
        acc.add_samples(part)
    return acc.covariance(ddof=0)


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize("options", [{}, {"scaled": True}, {"missing": "pairwise"}])
def test_an_accumulator_takes_columns_in_one_order_only(kind, options):
    """Also where another order has the same blocks. Nothing is changed by what is refused."""
    expected = covariance_after(bm.BlockAccumulator(IN_ORDER, **options), X.to_numpy()).toarray()
    acc = bm.BlockAccumulator(GIVEN[kind], **options)
    np.testing.assert_array_equal(covariance_after(acc, X).toarray(), expected)
    assert acc.partition == bm.Partition.from_labels(IN_ORDER)
    same_blocks = X[["b", "e", "d", "a", "c"]]
    for moved in (same_blocks, X.iloc[:, MIXED]):
        with pytest.raises(PartitionMismatchError, match="X has its variables in another order"):
            acc.add_samples(moved)
    with pytest.raises(PartitionMismatchError, match="X has other variables than the"):
        acc.add_samples(X.rename(columns={"a": "z"}))
    assert acc.n_samples == len(X)
    np.testing.assert_array_equal(acc.covariance(ddof=0).toarray(), expected)
    first = bm.BlockAccumulator(GIVEN[kind], **options)
    if kind in ("series", "dict"):
        with pytest.raises(PartitionMismatchError, match="another order than the labels"):
            first.add_samples(same_blocks)
        with pytest.raises(PartitionError, match="X has no names, and the labels have; expected"):
            first.add_samples(X.to_numpy())
        with pytest.raises(PartitionMismatchError, match="X has other variables than the labels"):
            first.add_samples(pd.DataFrame(X.to_numpy()))


@pytest.mark.parametrize("kind", GIVEN)
def test_an_accumulator_takes_outer_products_in_one_order_only(kind):
    g, acc = X.iloc[0], bm.BlockAccumulator(GIVEN[kind])
    acc.add_outer(g)
    with pytest.raises(PartitionMismatchError, match="g has its variables in another order"):
        acc.add_outer(g.iloc[MIXED])
    with pytest.raises(PartitionMismatchError, match="X has its variables in another order"):
        acc.add_samples(X.iloc[:, MIXED])
    if kind in ("series", "dict"):
        for unnamed in (g.to_numpy(), g.reset_index(drop=True)):
            with pytest.raises(PartitionError, match="g has no names, and the labels have"):
                acc.add_outer(unnamed)
    else:
        acc.add_outer(g.to_numpy())
        acc.add_outer(g.reset_index(drop=True))
    assert acc.matrix().trace() == pytest.approx((g @ g) * (1 if kind in ("series", "dict") else 3))


def test_the_names_of_a_location_are_those_of_the_columns():
    location = X.mean()
    for name in ("location", "scale"):
        acc = bm.BlockAccumulator(IN_ORDER, scaled=True, **{name: location.abs()})
        with pytest.raises(PartitionMismatchError, match=f"another order than {name}; expected X"):
            acc.add_samples(X.iloc[:, MIXED])
        acc.add_samples(X.to_numpy())
        acc.add_samples(X)
    with pytest.raises(ValueError, match="scale has another index than location"):
        bm.BlockAccumulator(
            IN_ORDER, scaled=True, location=location, scale=pd.Series([1.0] * 5, list("vwxyz"))
        )
    named = bm.BlockAccumulator(GIVEN["dict"], scaled=True, location=location.iloc[MIXED])
    plain = bm.BlockAccumulator(IN_ORDER, scaled=True, location=location.to_numpy())
    np.testing.assert_array_equal(
        covariance_after(named, X).toarray(), covariance_after(plain, X).toarray()
    )


def test_default_names_count_as_none_beside_others():
    unnamed = pd.DataFrame(X.to_numpy())
    acc = bm.BlockAccumulator(IN_ORDER)
    for part in (unnamed, X, unnamed, X):
        acc.add_samples(part)
    with pytest.raises(PartitionMismatchError):
        acc.add_samples(X.iloc[:, MIXED])
    numbered = bm.BlockAccumulator(GIVEN["default"])
    with pytest.raises(PartitionMismatchError, match=r"expected X\[labels.index\]"):
        numbered.add_samples(unnamed[MIXED])


def test_merged_accumulators_have_the_same_names():
    def made(part):
        acc = bm.BlockAccumulator(IN_ORDER)
        if part is not None:
            acc.add_samples(part)
        return acc

    with pytest.raises(PartitionMismatchError, match="other has its variables in another order"):
        made(X).merge(made(X.iloc[:, MIXED]))
    for one, two in ((X, X), (X, X.to_numpy()), (None, X), (X, None)):
        acc = made(one)
        acc.merge(made(two))
        with pytest.raises(PartitionMismatchError):
            acc.add_samples(X.iloc[:, MIXED])


def series(**changed):
    return pd.Series({**BY_NAME, **changed})


BAD = [
    (lambda: bm.fit_samples(X, series().drop(["b", "e"])), PartitionError, "partition has no label for 'e', 'b'; expected"),
    (lambda: bm.fit_samples(X, {"a": 1}), PartitionError, "no label for 'e', 'b', 'd', ..."),
    (lambda: BlockCovariance({"a": 1}).fit(X), PartitionError, "labels has no label for 'e', 'b', 'd', ..."),
    (lambda: likelihood_ratio_test(X, BY_NAME, {"a": 1}), PartitionError, "fine has no label"),
    (lambda: bm.fit_samples(X, pd.concat([series(), series()])), PartitionError, "partition has the name 'a' more than once"),
    (lambda: bm.fit(S.set_axis(list("aabcd"), axis=1), BY_NAME), PartitionError, "source has the name 'a' more than once"),
    (lambda: bm.fit_samples(X, series(c=None)), PartitionError, "partition is missing .* at index 4"),
    (lambda: bm.fit_samples(X.set_axis([10, 20, 30, 40, 50], axis=1), pd.Series(IN_ORDER)), PartitionError, "no label for 10"),
    (lambda: bm.fit_samples(X.to_numpy(), BY_NAME), TypeError, "partition is a dict, which gives labels by name; expected it with a DataFrame"),
    (lambda: bm.BlockConstantMatrix(BY_NAME, np.eye(2)), TypeError, "partition is a dict"),
    (lambda: bm.Partition.from_labels(BY_NAME), TypeError, "expected a sequence with one label per variable"),
    (lambda: bm.fit(S.loc[sorted(NAMES)], IN_ORDER), ValueError, r"another order in its rows .* source.loc\[source.columns\]"),
    (lambda: bm.find_partition(S.loc[sorted(NAMES)]), ValueError, "another order in its rows"),
    (lambda: bm.Partition.from_labels({1, 2}), TypeError, r"labels is \{1, 2\}; expected a sequence"),
    (lambda: bm.Partition.from_labels(frozenset([1])), TypeError, "expected a sequence"),
    (lambda: bm.Partition.from_labels({1: 2}.keys()), TypeError, "expected a sequence"),
    (lambda: bm.Partition.from_labels({1: 2}.values()), TypeError, "expected a sequence"),
    (lambda: bm.Partition.from_labels({1: 2}.items()), TypeError, "expected a sequence"),
    (lambda: bm.Partition.from_labels(b"abc"), TypeError, "expected a sequence"),
    (lambda: bm.Partition.from_labels(bytearray(b"abc")), TypeError, "expected a sequence"),
    (lambda: bm.Partition.from_labels(np.ma.array([1, 2], mask=[0, 1])), DtypeError, "labels is a masked array"),
    (lambda: bm.Partition.from_labels([1, np.ma.masked]), (PartitionError, TypeError), "labels"),
    (lambda: bm.Partition.from_labels(sp.csr_array([[1, 2]])), DtypeError, "labels is a sparse matrix"),
    (lambda: bm.Partition.from_labels(X), ShapeError, "labels is 2-d"),
    (lambda: bm.Partition.from_labels(pd.Series([1, None], dtype="Int64")), PartitionError, "missing"),
    (lambda: bm.Partition.from_labels(pd.Categorical(["a", None])), PartitionError, "at index 1"),
    (lambda: bm.Partition.from_labels([1, float("nan")]), PartitionError, "at index 1"),
    (lambda: bm.Partition.from_labels(np.array(["2020", "NaT"], "datetime64[ns]")), PartitionError, "at index 1"),
    (lambda: bm.fit(np.eye(2), [0] * 3), ShapeError, "partition has 3 labels; expected 2, one for each variable"),
    (lambda: bm.BlockConstantMatrix([0, 0], sp.eye_array(1)), DtypeError, r"between is a sparse matrix; expected a dense array \(see .toarray\(\)\)"),
    (lambda: bm.BlockConstantMatrix([0, 0], [[1]], sp.eye_array(1)), DtypeError, "within is a sparse matrix"),
    (lambda: bm.BlockConstantMatrix.from_values([0, 0], sp.eye_array(1)), DtypeError, "values is a sparse matrix"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_bad_input_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@given(st.lists(st.one_of(st.integers(-3, 3), st.sampled_from("abc")), min_size=1))
def test_labels_that_do_not_compare_are_in_the_order_of_first_appearance(labels):
    names = bm.Partition.from_labels(labels).names
    distinct = list(dict.fromkeys(labels))
    assert list(names) == (distinct if len(set(map(type, labels))) > 1 else sorted(distinct))


@pytest.mark.parametrize("unit", ["D", "s", "ms", "us", "ns", "ps"])
@pytest.mark.parametrize("kind", ["datetime64", "timedelta64"])
def test_times_stay_times(unit, kind):
    times = np.array([20, 10, 20]).astype(f"{kind}[{unit}]")
    for labels in (times, list(times)):
        p = bm.Partition.from_labels(labels)
        assert p.labels.tolist() == [1, 0, 1]
        for name, expected in zip(p.names, (times[1], times[0]), strict=True):
            assert isinstance(name, datetime.date | datetime.timedelta | np.generic)
            assert np.array(name, times.dtype) == expected
    index = pd.DatetimeIndex(["2021-01-01", "2020-01-01"])
    for labels in (index, pd.Series(index), list(index)):
        assert [str(name)[:4] for name in bm.Partition.from_labels(labels).names] == [
            "2020",
            "2021",
        ]


def test_categories_keep_their_order_and_those_without_variables_are_left_out():
    labels = pd.Categorical(
        ["mid", "low", "high", "low"], categories=["none", "low", "mid", "high"]
    )
    for each in (labels, pd.Series(labels), pd.CategoricalIndex(labels)):
        p = bm.Partition.from_labels(each)
        assert p.names == ("low", "mid", "high")
        assert p.labels.tolist() == [1, 0, 2, 0]
    numbers = pd.Series(pd.Categorical([3, 1, 3], categories=[3, 2, 1]))
    assert bm.Partition.from_labels(numbers).names == (3, 1)
    aligned = pd.Series(labels, index=list("dcba"))
    q = bm.fit_samples(X[list("abcd")], aligned).partition
    assert q.names == ("low", "mid", "high")
    assert q.labels.tolist() == [0, 2, 0, 1]


# A matrix given as samples


def covariances():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((50, 6))
    C = Z.T @ Z
    yield "covariance", np.cov(Z, rowvar=False)
    yield "correlation", np.corrcoef(Z, rowvar=False)
    yield "single precision", np.corrcoef(Z, rowvar=False).astype(np.float32)
    yield "rounded", np.corrcoef(Z, rowvar=False).round(2)
    yield "products", np.linalg.inv(np.linalg.inv(C))
    yield "symmetric", C - 60 * np.eye(6)
    yield "of whole numbers", np.rint(C)
    yield "frame", pd.DataFrame(Z).corr()
    yield "large", 1e200 * C
    yield "small", 1e-200 * C
    yield "equal correlations", 0.5 * np.eye(3) + 0.5


PASSED = dict(covariances())
DOORS = {
    "fit_samples": lambda R: bm.fit_samples(R, [0] * len(R)),
    "accumulator": lambda R: bm.BlockAccumulator([0] * len(R)).add_samples(R),
    "test": lambda R: likelihood_ratio_test(R, [0] * len(R), range(len(R))),
    "likelihood": lambda R: log_likelihood(R, bm.BlockConstantMatrix.identity([0] * len(R))),
    "shrinkage": lambda R: bm.optimal_shrinkage(R),
    "find": lambda R: bm.find_partition(R, samples=True),
    "path": lambda R: bm.partition_path(R, samples=True),
    "estimator": lambda R: BlockCovariance([0] * len(R)).fit(R),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", PASSED)
def test_a_symmetric_matrix_is_not_taken_for_samples(kind, door):
    with pytest.raises(
        ValueError, match=r"X is a symmetric matrix; .* fit\(X, .*find_partition\(X\)"
    ):
        DOORS[door](PASSED[kind])


@given(st.integers(1, 6), st.integers(0, 999))
def test_samples_are_taken_for_samples(n, seed):
    rng = np.random.default_rng(seed)
    labels = [0] * n
    for scale, mean in ((1, 0), (1e-6, 1e6), (1e100, 0)):
        bm.fit_samples(
            mean + scale * rng.standard_normal((n, n)), labels, ddof=0, check_finite=False
        )
    for X in (np.eye(n), np.eye(n)[rng.permutation(n)], np.ones((n, n)), np.zeros((n, n)),
              np.diag(rng.random(n)), np.full((n, n), 1e9) + 1e-9 * rng.random((n, n)),
              rng.integers(0, 99, (n, n))):  # fmt: skip
        bm.fit_samples(X, labels, ddof=0)


def test_rows_in_another_order_are_the_same_samples():
    R = PASSED["correlation"]
    bm.fit_samples(R[::-1], [0] * 6)
    adjacency = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    bm.fit_samples(adjacency, [0] * 3)


# What is not finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
@given(data=st.data())
def test_what_is_not_finite_is_named_by_row_and_column(bad, dtype, data):
    n = data.draw(st.integers(3, 9))
    i, j = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, n - 1))
    M = (np.random.default_rng(0).standard_normal((n, n)) + 5).astype(dtype)
    M[i, j] = bad
    labels = [0, 1] * n
    labels = labels[:n]
    place = rf"row {i} and column {j};|index \({i}, {j}\);"
    doors = [
        lambda: bm.fit(M, labels),
        lambda: bm.fit(np.asfortranarray(M), labels),
        lambda: bm.fit(sp.csr_array(M), labels),
        lambda: bm.fit(sp.coo_matrix(M), labels),
        lambda: bm.BlockRectangularMatrix.fit(M, labels, labels),
        lambda: bm.fit_samples(M, labels),
        lambda: bm.fit_samples(M, labels, assume_centered=True),
        lambda: bm.BlockAccumulator(labels).add_samples(M),
    ]
    if np.dtype(dtype).kind == "f":
        doors += [
            lambda: bm.find_partition(M, samples=True),
            lambda: bm.find_partition(sp.csr_array(M)),
            lambda: bm.find_partition(M),
            lambda: bm.cocluster(M, 1, 1),
            lambda: bm.cocluster(sp.csr_array(M), 1, 1),
            lambda: bm.optimal_shrinkage(M),
            lambda: likelihood_ratio_test(M, [0] * n, range(n)),
        ]
    for door in doors:
        with np.errstate(invalid="ignore"), pytest.raises(np.linalg.LinAlgError, match=place):
            door()


def test_what_is_not_finite_is_named_in_chunks_of_a_file(tmp_path, monkeypatch):
    from tests.cases import in_small_parts

    in_small_parts(monkeypatch, 8 * 30 * 4)
    mapped = np.lib.format.open_memmap(tmp_path / "S.npy", "w+", np.float64, (30, 30))
    mapped[:] = 1
    mapped[23, 7] = np.nan
    for source in (mapped, mapped.T):
        place = (23, 7) if source is mapped else (7, 23)
        with pytest.raises(np.linalg.LinAlgError, match=f"row {place[0]} and column {place[1]};"):
            bm.fit(source, [0] * 30)
        with pytest.raises(np.linalg.LinAlgError, match=f"row {place[0]} and column {place[1]};"):
            bm.fit_samples(source, [0] * 30)


def test_sums_that_overflow_are_not_said_to_be_nan():
    with pytest.raises(
        np.linalg.LinAlgError, match=r"the sum of block \(0, 0\) of source overflows"
    ):
        bm.fit(np.full((4, 4), 1e308), [0] * 4)


WEIGHTED_FITS = [
    lambda X, w: bm.fit_samples(X, [0, 0, 1, 1], sample_weight=w).toarray(),
    lambda X, w: bm.fit_samples(X, [0, 0, 1, 1], sample_weight=w, missing="em").toarray(),
    lambda X, w: bm.fit_factor(X, [0] * 4, sample_weight=w).toarray(),
    lambda X, w: bm.fit_factor(X, [0] * 4, sample_weight=w, missing="em").toarray(),
    lambda X, w: bm.optimal_shrinkage(X, [0, 0, 1, 1], sample_weight=w),
    lambda X, w: log_likelihood(X, bm.BlockConstantMatrix.identity([0] * 4), sample_weight=w),
    lambda X, w: likelihood_ratio_test(X, [0] * 4, [0, 0, 1, 1], sample_weight=w).statistic,
    lambda X, w: accumulated(X, w).toarray(),
]


def accumulated(X, w):
    acc = bm.BlockAccumulator([0, 0, 1, 1], missing="pairwise")
    acc.add_samples(X, sample_weight=w)
    return acc.covariance()


@pytest.mark.parametrize("call", WEIGHTED_FITS)
def test_a_series_of_weights_is_matched_to_the_rows(call):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 1)) + rng.standard_normal((60, 4))
    w = rng.uniform(0.5, 2, 60)
    names = [f"row {i}" for i in range(60)]
    frame, weights = pd.DataFrame(X, index=names), pd.Series(w, index=names)
    np.testing.assert_allclose(call(frame, weights[::-1]), call(X, w), rtol=1e-12)
    with pytest.raises(ValueError, match="sample_weight has another index than the rows of X"):
        call(frame, weights.rename({"row 0": "other"}))
