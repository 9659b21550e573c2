"""The mistakes of the first hours, and the messages that say what to do."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import blockmat as bm
from blockmat import BlockConstantMatrix as BCM
from blockmat import Partition, exceptions
from blockmat.covariance import BlockCovariance
from blockmat.inference import kl_divergence, likelihood_ratio_test, log_likelihood

COLUMNS = list("vwxyz")
LABELS = ["a", "a", "b", "b", "b"]
rng = np.random.default_rng(0)
X = rng.normal(size=(40, 5)) + rng.normal(size=(40, 1))
FRAME = pd.DataFrame(X, columns=COLUMNS)
BY_NAME = pd.Series(LABELS, index=COLUMNS)
S = np.cov(X, rowvar=False)
R = np.corrcoef(X, rowvar=False)
A = bm.fit(S, LABELS)
P = A.partition
DAYS = pd.date_range("2024-01-01", periods=40)


def check(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bm.fit(LABELS, S), r"source is \['a'.*\] and partition is a ndarray of shape \(5, 5\); expected the arguments as in fit\(source, partition\)"),
        (lambda: bm.fit(P, S), r"source is a Partition.* as in fit\(source, partition\)"),
        (lambda: bm.fit(BY_NAME, FRAME.cov()), r"source is a Series of shape \(5,\)"),
        (lambda: bm.fit_samples(LABELS, X), r"as in fit_samples\(X, partition\)"),
        (lambda: bm.fit_samples(np.array([0, 0, 1, 1, 1]), X), r"as in fit_samples\(X, partition\)"),
        (lambda: bm.fit_factor(P, X), r"as in fit_factor\(source, partition\)"),
        (lambda: bm.optimal_shrinkage(LABELS, X), r"as in optimal_shrinkage\(X, partition\)"),
        (lambda: likelihood_ratio_test(LABELS, LABELS, X), r"as in likelihood_ratio_test\(X, coarse, fine\)"),
        (lambda: bm.find_partition(10, X), r"source is 10 and n_blocks is a ndarray of shape \(40, 5\); .*find_partition\(source, n_blocks\)"),
        (lambda: bm.partition_stability(10, X), r"as in partition_stability\(source, n_blocks\)"),
        (lambda: bm.partition_path(10, X), r"samples is a ndarray of shape \(40, 5\); expected True or False"),
        (lambda: bm.find_partition(S, X), r"n_blocks is a ndarray of shape \(40, 5\); expected an integer"),
        (lambda: bm.approximation_error(A, S), r"A is a ndarray of shape \(5, 5\); .* approximation_error\(S, fit\(S, partition\)\)"),
        (lambda: log_likelihood(A, X), r"covariance is a ndarray .* log_likelihood\(X, fit_samples\(X, partition\)\)"),
        (lambda: kl_divergence(S, A), r"A is a ndarray of shape .* \(see fit\)"),
        (lambda: BCM(np.eye(2), LABELS), r"between is .* BlockConstantMatrix\(partition, between\)"),
        (lambda: BCM(np.eye(2), P), r"as in BlockConstantMatrix\(partition, between\)"),
        (lambda: BCM.from_values(np.eye(2), P), r"as in from_values\(partition, values\)"),
        (lambda: bm.BlockFactorMatrix(np.eye(2), P, 1.0), r"as in BlockFactorMatrix\(partition, covariance, noise\)"),
        (lambda: bm.BlockRectangularMatrix(np.eye(2), P, P), r"as in BlockRectangularMatrix\(row_partition, col"),
        (lambda: bm.BlockRectangularMatrix.fit(P, P, S), r"as in fit\(source, row_partition, col_partition\)"),
        (lambda: A.condition([0.1, -0.2], [0, 1]), r"index has dtype float64; .* condition\(index, values\)"),
        (lambda: bm.BlockAccumulator(LABELS, X), r"aligned is a ndarray of shape"),
        (lambda: BCM(P, LABELS), "between has dtype <U1; expected numbers"),
    ],
)  # fmt: skip
def test_arguments_in_the_wrong_order(make, message):
    check(make, TypeError, message)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: bm.fit_samples(FRAME, "sector"), TypeError, r"partition is 'sector'; .* such as data\['sector'\]"),
        (lambda: bm.fit(FRAME.cov(), pd.DataFrame({"sector": LABELS})), ValueError, r"partition is 2-d with shape \(5, 1\); expected 1-d, one label"),
        (lambda: bm.fit(S, np.eye(2)[P.labels]), ValueError, "partition is 2-d"),
        (lambda: bm.fit_samples(FRAME, BY_NAME.set_axis(list("VWXYZ"))), ValueError, "no label for 'v', 'w', 'x', ...; .* Its names are 'V', 'W', 'X', ..."),
        (lambda: bm.fit_samples(FRAME, {"a": ["v", "w"], "b": ["x", "y", "z"]}), ValueError, "Its names are 'a', 'b'"),
        (lambda: bm.fit(S, [["v", "w"], ["x", "y", "z"]]), TypeError, "one label for each variable, not the variables of each block"),
        (lambda: bm.fit(S, 2), TypeError, "partition is 2; .* find_partition finds blocks"),
        (lambda: bm.fit(S, None), TypeError, "partition is None; .* find_partition finds blocks"),
        (lambda: Partition.from_labels(P), TypeError, "labels is a Partition; .* is used as it is"),
        (lambda: Partition(LABELS), TypeError, r"sizes has dtype <U1; expected integers \(for labels use Partition.from_labels\)"),
        (lambda: Partition([0, 0, 1]), ValueError, r"sizes\[0\] is 0; .* \(for labels use Partition.from_labels\)"),
        (lambda: Partition.from_sizes(5), TypeError, "sizes is 5; expected a sequence of integers"),
        (lambda: Partition.from_sizes({"a": 2}), TypeError, r"sizes is \{'a': 2\}; expected a sequence"),
        (lambda: Partition.from_sizes([10**19]), ValueError, "sizes add up to 10000000000000000000"),
        (lambda: bm.fit(S, [2, 3]), ValueError, r"partition has 2 labels; expected 5, .*\(for sizes of blocks use Partition.from_sizes\)"),
        (lambda: bm.fit(S, P.sizes), ValueError, "Partition.from_sizes"),
        (lambda: A.condition(["v"], [1.0]), TypeError, r"index has a name, 'v', .*get_indexer"),
        (lambda: A.submatrix(0), ValueError, r"rows is 0; expected a list of variables, such as \[0\]"),
    ],
)  # fmt: skip
def test_labels_and_sizes(make, error, message):
    check(make, error, message)


@pytest.mark.parametrize("labels", [[2, 2], [1, 4, 1], ["a", "b"], [True, True], [-1, 6]])
def test_only_sizes_are_taken_for_sizes(labels):
    with pytest.raises(ValueError, match=r"expected 5, one for each variable$"):
        bm.fit(S, labels)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bm.fit_samples(X.T, LABELS),
        lambda: bm.fit_samples(FRAME.T, LABELS),
        lambda: bm.fit_samples(X.T, P),
        lambda: bm.fit_factor(X.T, LABELS),
        lambda: bm.optimal_shrinkage(X.T, LABELS),
        lambda: likelihood_ratio_test(X.T, P, P),
        lambda: log_likelihood(X.T, A),
        lambda: bm.BlockAccumulator(LABELS).add_samples(X.T),
    ],
)
def test_transposed_samples(make):
    check(make, exceptions.ShapeError, r"the data have 5 rows and samples are rows, so .*\(X.T\)$")


def test_transposed_frames():
    with pytest.raises(
        ValueError, match=r"no label for 0, 1, 2, ...; .* samples are rows, so .* \(.T\)"
    ):
        bm.fit_samples(FRAME.T, BY_NAME)
    with pytest.warns(UserWarning, match="the columns of X are dates; .* probably X.T"):
        bm.find_partition(FRAME.set_index(DAYS).T, samples=True)
    with pytest.warns(UserWarning, match="the columns of X are dates"):
        bm.find_partition(FRAME.set_index(DAYS.to_period()).T, samples=True)
    with pytest.warns(UserWarning, match="the columns of X are dates"):  # 60 stocks on 25 days
        bm.find_partition(pd.DataFrame(X[:25, :1] + X[:25].T[[0, 1] * 30].T, DAYS[:25]).T, 1, True)
    visits = FRAME.set_axis(DAYS[:5], axis=1)  # a few dates may be variables
    bm.fit_samples(visits, LABELS)
    both = FRAME.T.set_axis(DAYS, axis=1)
    both.index = pd.MultiIndex.from_product([["x"], DAYS[:5]])  # a panel
    bm.find_partition(both, samples=True)
    with pytest.raises(
        ValueError, match=r"row_partition has 2 labels; expected 3.* 2 columns.*transposed \(.T\)"
    ):
        bm.BlockRectangularMatrix.fit(np.ones((3, 2)), [0, 0], [0, 0, 0])


def test_rows_on_the_left():
    for product in (lambda: A @ X, lambda: A.solve(X)):
        check(
            product,
            exceptions.ShapeError,
            r"has shape \(40, 5\); .* \(rows of . go to the right side: ..T\)",
        )
    assert (A @ X.T).shape == (5, 40)


LOADINGS = np.eye(5)[:, :2]
SQUARE_TYPES = [
    A,
    bm.ScaledBlockMatrix(A, np.ones(5)),
    bm.BlockFactorMatrix(P, np.eye(2), np.ones(5)),
    A.add_low_rank(LOADINGS),
]


@pytest.mark.parametrize("matrix", SQUARE_TYPES, ids=lambda matrix: type(matrix).__name__)
def test_columns_to_whiten(matrix):
    hint = r"\(5, 3\); expected \(..., 5\) \(one vector per row: {}.T\)$"
    check(lambda: matrix.whiten(X[:3].T), exceptions.ShapeError, "x has shape " + hint.format("x"))
    check(lambda: matrix.colorize(X[:3].T), exceptions.ShapeError, "z has .*" + hint.format("z"))
    check(lambda: matrix.colorize(X[:3, :4]), exceptions.ShapeError, r"expected \(..., 5\)$")


def test_one_sample():
    check(
        lambda: bm.fit_samples(X[:1], LABELS),
        ValueError,
        r"less than the number of samples, 1; are samples the rows of X\?",
    )
    check(lambda: bm.fit_samples(X[:2], LABELS, ddof=2), ValueError, "the number of samples, 2$")


def test_a_dense_identity():
    identity = (
        r"use A.toarray\(\) \+ array, .* A \+ c \* BlockConstantMatrix.identity\(A.partition\)"
    )
    for matrix in SQUARE_TYPES:
        check(lambda matrix=matrix: matrix + np.eye(5), TypeError, identity)


def test_fewer_samples_than_blocks():
    few = bm.fit_samples(X[:2], [0, 1, 2, 2, 2])
    hint = r"between core is singular .*: it is 3 x 3, for 3 blocks, and its rank is 1. .* more samples than blocks$"
    for singular in (few.inv, lambda: few.solve(X[0]), lambda: few.condition([3], [1.0])[1].inv()):
        check(singular, exceptions.SingularMatrixError, hint)
    product = BCM(P, [[1.0, 2.0], [2.0, 4.0]]) @ BCM(P, [[1.0, 2.0], [3.0, 4.0]])
    check(product.inv, exceptions.SingularMatrixError, r"condition number [-+\d.e]+\)$")


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("1.5", r"for numbers as text such as '1.5' pandas.to_numeric\(X\['u'\]\); if it names"),
        ("3.2%", r"such as '3.2%' pandas.to_numeric\(X\['u'\].str.rstrip\('% '\)\) / 100; if"),
        ("1,5", "such as '1,5' see the options decimal and thousands of pandas.read_csv; if"),
        (np.float64(1.5), r"for numbers as objects X\['u'\].astype\(float\); if"),
        ("JPM", r"expected numbers \(if it names the rows, X.set_index\('u'\)"),
    ],
)
def test_columns_of_text(value, hint):
    column = pd.Series([None] + [value] * 39, dtype=object)
    frame = FRAME.assign(u=column)
    check(lambda: bm.fit_samples(frame, [*LABELS, "b"]), exceptions.DtypeError, hint)
    if isinstance(value, str):  # scikit-learn converts numbers
        check(lambda: BlockCovariance().fit(frame), exceptions.DtypeError, hint)
    else:
        check(lambda: BlockCovariance().fit(frame), exceptions.NonFiniteError, r"nan at .*\(0, 5\)")


@pytest.mark.parametrize(
    "read",
    [
        lambda x: bm.fit_samples(x, LABELS),
        lambda x: bm.find_partition(x, samples=True),
        lambda x: bm.fit_factor(x, LABELS),
        lambda x: bm.optimal_shrinkage(x, LABELS),
        lambda x: bm.BlockAccumulator(LABELS).add_samples(x),
        lambda x: BlockCovariance().fit(x),
    ],
)
def test_a_row_without_a_value(read):
    hint = r"; row 0 has no value: leave it out, as X.dropna\(how='all'\) of a DataFrame does$"
    differences = FRAME.diff()
    check(lambda: read(differences), exceptions.NonFiniteError, hint)
    read(differences.dropna(how="all"))


def test_noise_at_its_bound_names_the_variables():
    pair = FRAME.assign(x=FRAME["w"] + 1e-6 * FRAME["x"])
    for source, names in ((pair, "'w', 'x'"), (pair.to_numpy(), "1, 2")):
        with pytest.warns(
            RuntimeWarning, match=rf"2 of 5 variables: {names}. .* leave one of them"
        ):
            bm.fit_factor(source, [0] * 5)
    with pytest.warns(RuntimeWarning, match="variables: 'w', 'x'. "):
        bm.fit_factor(pair.corr(), [0] * 5, samples=False, n_samples=40)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bm.fit_samples(FRAME.assign(day=DAYS), [*LABELS, "b"]), r"column 'day' of X has dtype datetime64.*; .*X.set_index\('day'\)"),
        (lambda: bm.fit(FRAME.cov().reset_index(), LABELS), r"column 'index' of source has dtype .*source.set_index\('index'\)"),
        (lambda: bm.find_partition(FRAME.cov().assign(q="s")), "column 'q' of source"),
        (lambda: bm.fit_samples("data.csv", LABELS), r"X is 'data.csv'; .* \(read a file with numpy.load or pandas.read_csv\)"),
        (lambda: bm.fit_samples(FRAME.to_dict(), LABELS), "X is a dict of length 5; expected an array"),
        (lambda: bm.fit(None, LABELS), "source is None; expected an array"),
        (lambda: bm.fit([["1", "2"], ["2", "1"]], [0, 0]), r"source has dtype <U1; expected numbers, such as numpy.asarray\(source, dtype=float\)"),
        (lambda: bm.fit([[10**30, 1], [1, 2]], [0, 0]), "source has dtype object; .* dtype=float"),
        (lambda: A @ A.inv, r"x is the function inv; expected an array: call it, as in inv\(\)"),
        (lambda: log_likelihood(X, A.astype(complex)), "covariance has dtype complex128; expected real"),
        (lambda: bm.find_partition(S.astype(complex)), "source has dtype complex128; expected real"),
        (lambda: bm.fit_samples(X, LABELS, sample_weight=np.ones(40) * 1j), "sample_weight has dtype complex128"),
        (lambda: bm.fit_samples(sp.csr_array(X), LABELS), "X is a sparse matrix; expected a dense array"),
    ],
)  # fmt: skip
def test_what_is_no_array_of_numbers(make, message):
    check(make, TypeError, message)


def test_one_dimension():
    for x in (X[:, 0], FRAME["v"]):
        check(
            lambda x=x: bm.fit_samples(x, LABELS),
            ValueError,
            r"X is 1-d .* one variable is X\[:, None\]",
        )


@pytest.mark.parametrize("name", ["Unnamed: 0", "index"])
def test_numbers_of_rows_are_no_variable(name):
    with_numbers = FRAME.copy()
    with_numbers.insert(0, name, np.arange(40))
    with pytest.warns(UserWarning, match=f"column '{name}' of X is the number of its row"):
        bm.find_partition(with_numbers, samples=True)
    bm.find_partition(FRAME.rename(columns={"v": name}), samples=True)  # no warning


def test_nullable_numbers_are_numbers():
    nullable = FRAME.cov().astype("Float64")
    plain = FRAME.cov()
    np.testing.assert_array_equal(bm.fit(nullable, LABELS).values, bm.fit(plain, LABELS).values)
    assert bm.find_partition(nullable) == bm.find_partition(plain)
    np.testing.assert_array_equal(A @ nullable, A @ plain)
    for dtype, expected in (
        ("Float32", "f"), ("Sparse[float32]", "f"), ("Sparse[float64]", "d"), ("Sparse[complex64]", "F"),
        ({"v": "Float32", "w": "complex64"}, "D"),
        ({"v": "Float32"} | dict.fromkeys("wxyz", "complex64"), "F"),
    ):  # fmt: skip
        assert bm.fit((10 * plain).astype(dtype), LABELS).dtype == expected
    mixed = plain.astype({"v": "Float32", "w": "Sparse[float64]"})
    assert bm.fit(mixed, LABELS).dtype == "d"
    both = plain.astype({"v": "Float64", "w": "complex128"})
    both.loc["v", "w"], both.loc["w", "v"] = 0.5 + 1j, 0.5  # whose Hermitian part is fitted
    assert bm.fit(both, LABELS).dtype == "D"
    nullable.iloc[1, 2] = pd.NA
    check(lambda: bm.fit(nullable, LABELS), exceptions.NonFiniteError, "row 1 and column 2")


@pytest.mark.parametrize(
    "make",
    [
        lambda: bm.fit_samples(R, LABELS),
        lambda: bm.find_partition(R, samples=True),
        lambda: bm.fit_factor(FRAME.corr(), LABELS),
        lambda: bm.optimal_shrinkage(R, LABELS),
        lambda: bm.BlockAccumulator(LABELS).add_samples(R),
        lambda: log_likelihood(R, A),
    ],
)
def test_a_correlation_matrix_as_samples(make):
    check(make, ValueError, r"X is a symmetric matrix; expected samples.*fit\(X, partition\)")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
def test_small_integers_do_not_overflow(dtype):
    most = np.iinfo(dtype).max
    p = Partition.from_sizes(np.array([most, most]) if most < 2**20 else [most, most])
    sizes = np.array([most, most], dtype=dtype)
    assert Partition.from_sizes(sizes).n == 2 * int(most) == p.n
    full = np.full((40, 5), most, dtype=dtype)
    full[::2] = 0
    wide = full.astype(float)
    np.testing.assert_array_equal(
        bm.fit_samples(full, LABELS).values, bm.fit_samples(wide, LABELS).values
    )
    np.testing.assert_array_equal(bm.fit(full[:5], LABELS).values, bm.fit(wide[:5], LABELS).values)
    np.testing.assert_array_equal(
        bm.fit(sp.csr_array(full[:5]), LABELS).values, bm.fit(wide[:5], LABELS).values
    )
    np.testing.assert_array_equal(P.block_sums(full[1]), P.block_sums(wide[1]))
    np.testing.assert_array_equal(A @ full[1], A @ wide[1])


def test_three_billion_variables():
    billions = BCM(Partition.from_sizes([10**9, 2 * 10**9]), [[1.0, 0.5], [0.5, 1.0]], [1.0, 1.0])
    assert billions.shape == (3 * 10**9, 3 * 10**9)
    np.testing.assert_allclose(billions.trace(), 3e9)
    np.testing.assert_allclose(billions.logdet(), np.log(0.75))
    np.testing.assert_allclose(billions.norm() ** 2, 3e9 + 0.5)


@pytest.mark.parametrize("decay", [0.94, 0.5])
def test_a_decay_factor_is_no_half_life(decay):
    with pytest.warns(
        UserWarning, match=r"half_life is .*, less than one sample; .* log\(0.5\) / log\(d\)"
    ):
        bm.BlockAccumulator(LABELS, half_life=decay)
    bm.BlockAccumulator(LABELS, half_life=1)  # no warning


def test_names_of_submodules():
    import importlib

    for name, places in bm._ELSEWHERE.items():
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; it is in {places}"):
            getattr(bm, name)
        for place in places.split(", or "):
            assert hasattr(importlib.import_module(place), name)


def test_products_of_entries_are_no_matrix_products():
    for other in (A, S, S[0]):
        check(
            lambda other=other: np.multiply(A, other),
            TypeError,
            r"np.multiply does not support .*toarray\(\)",
        )
    assert (np.multiply(A, 2) - 2 * A).norm() == 0
    np.testing.assert_allclose(A * S, A @ S)  # as for every LinearOperator of SciPy


def test_a_covariance_matrix_with_and_without_a_number_of_samples():
    labels = np.repeat([0, 1, 2], 6)
    samples = rng.normal(size=(200, 3))[:, labels] + rng.normal(size=(200, 18))
    samples *= np.geomspace(0.1, 10, 18)
    covariance = np.cov(samples, rowvar=False)
    correlation = np.corrcoef(samples, rowvar=False)
    found = bm.find_partition(correlation)
    assert found == Partition.from_labels(labels)
    assert bm.find_partition(covariance, n_samples=200) == found
    assert bm.find_partition(covariance, 3, loadings=True) == found
    assert bm.find_partition(covariance) == bm.find_partition(covariance, loadings=False) != found


def test_labels_with_the_default_index():
    in_order = pd.Series(["b", "a", "a", "b", "a"])
    assert bm.fit_samples(FRAME, in_order).partition == Partition.from_labels(in_order)
    by_number = bm.fit_samples(FRAME.set_axis([4, 3, 2, 1, 0], axis=1), in_order).partition
    assert by_number == Partition.from_labels(in_order[::-1])


def test_labels_that_are_tuples_are_no_matrix():
    labels = [("a", 1), ("a", 1), ("b", 1)]
    assert bm.BlockConstantMatrix(labels, [1.0, 2.0], [1.0, 1.0]).shape == (3, 3)
    assert bm.BlockFactorMatrix(labels, [1.0, 2.0], 1.0).shape == (3, 3)


def test_a_first_column_without_a_name_is_no_number_of_rows():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(9, 3)), columns=[pd.NA, 1, 2])
    assert bm.fit_samples(X, [0, 0, 1]).shape == (3, 3)


def test_a_column_that_is_true_or_false_is_a_variable():
    found = bm.fit_samples(FRAME.assign(v=FRAME["v"] > 0), LABELS)
    expected = bm.fit_samples(FRAME.assign(v=(FRAME["v"] > 0).astype(float)), LABELS)
    np.testing.assert_array_equal(found.toarray(), expected.toarray())


@pytest.mark.parametrize("error", [RuntimeError, TypeError, OSError, KeyError])
def test_an_error_of_reading_reaches_the_user(error):
    """The array of a library that reads a file, whose disk fails."""

    class Lazy:
        shape, ndim, dtype = (40, 5), 2, np.dtype(float)

        def __array__(self, dtype=None, copy=None):
            raise error("disk")

    for call in (lambda: A @ Lazy(), lambda: bm.fit_samples(Lazy(), LABELS)):
        with pytest.raises(error, match="disk"):
            call()


@pytest.mark.parametrize(
    ("make", "error", "name"),
    [
        (lambda x: bm.find_partition(S, x), TypeError, "n_blocks"),
        (lambda x: bm.partition_stability(X, x, samples=True), TypeError, "n_blocks"),
        (lambda x: bm.partition_stability(X, 2, method=x), ValueError, "method"),
        (lambda x: bm.find_partition(X, samples=True, criterion=x), ValueError, "criterion"),
        (lambda x: BlockCovariance(n_blocks=x).fit(X), TypeError, "n_blocks"),
        (lambda x: BlockCovariance(missing=x).fit(X), ValueError, "missing"),
        (lambda x: BlockCovariance(weight_type=x).fit(X), ValueError, "weight_type"),
        (lambda x: BlockCovariance(constant=x).fit(X), ValueError, "constant"),
        (lambda x: BlockCovariance(LABELS).fit(X).error_norm(S, norm=x), ValueError, "norm"),
        (lambda x: bm.fit_samples(X, LABELS, missing=x), ValueError, "missing"),
        (lambda x: bm.fit_factor(X, LABELS, missing=x), ValueError, "missing"),
        (lambda x: bm.fit_factor(X, LABELS).factor_scores(X, missing=x), ValueError, "missing"),
    ],
)
def test_an_array_in_place_of_an_option(make, error, name):
    check(lambda: make(np.array([0.5, 1.5])), error, rf"{name} is a ndarray of shape \(2,\); expec")


def test_a_square_matrix_is_not_transposed():
    """Labels of another length are then not for the other axis."""
    with pytest.raises(exceptions.ShapeError, match="expected 5") as caught:
        bm.fit(S, LABELS[:4])
    assert "transpose" not in str(caught.value)


def test_series_in_another_order():
    """A matrix has no names, so names can only be compared with each other."""
    mask, mean = pd.Series([True, True, False, False, True], COLUMNS), FRAME.mean()
    values = FRAME.iloc[3][mask]
    F = bm.fit_factor(FRAME, BY_NAME)
    expected, _ = A.condition([0, 1, 4], values.to_numpy(), mean.to_numpy())
    for index, x, means in (
        (mask, values, mean),
        (mask.to_numpy(), values, mean),
        (mask, values.to_numpy(), mean),
        (mask, values, mean.to_numpy()),
        ([0, 1, 4], values, mean),
        (mask, values.reset_index(drop=True), mean.reset_index(drop=True)),
        (mask.reset_index(drop=True), values, mean),
        (pd.Series([0, 1, 4], ["first", "second", "third"]), values, mean),  # numbers of variables
    ):
        np.testing.assert_allclose(A.condition(index, x, means)[0], expected, rtol=1e-12)
    np.testing.assert_allclose(
        A.condition(mask, FRAME.loc[:, mask], mean)[0][3], expected, rtol=1e-12
    )
    for call, names in (
        (lambda: A.condition(mask[::-1], values, mean), "mean has other names than index"),
        (lambda: A.condition(mask, values[::-1], mean), "values has other names than mean"),
        (lambda: A.condition(mask, values[::-1]), "values has other names than index"),
        (lambda: A.condition([0, 1, 4], values[::-1], mean), "values has other names than mean"),
        (lambda: A.condition(mask, values, mean[::-1]), "mean has other names than index"),
        (
            lambda: A.condition(mask, FRAME[["w", "v", "z"]], mean),
            "values has other names than mean",
        ),
        (lambda: F.factor_scores(FRAME, mean[::-1]), "mean has other names than x"),
        (lambda: F.factor_scores(FRAME.iloc[0], mean[::-1]), "mean has other names than x"),
        (lambda: log_likelihood(FRAME, A, mean[::-1]), "mean has other names than X"),
    ):
        check(
            call, ValueError, rf"{names}, or in another order: '.*; expected the same, or .to_num"
        )
    F.factor_scores(FRAME, mean)
    assert log_likelihood(FRAME, A, mean) == log_likelihood(X, A, mean.to_numpy())


def test_series_with_numbers_as_names_in_another_order():
    for names in (range(5), [3, 1, 4, 0, 2], [1.0, 2.0, np.nan, 4.0, 5.0], [1, 2, pd.NA, 4, 5]):
        frame = FRAME.set_axis([*names], axis=1)
        mean, values = frame.mean(), frame.iloc[0]
        log_likelihood(frame, A, mean)
        some = values.iloc[[2, 3]]
        expected = A.condition([2, 3], some.to_numpy(), mean.to_numpy())[0]
        np.testing.assert_array_equal(A.condition([2, 3], some, mean)[0], expected)
        anew = some.reset_index(drop=True)
        np.testing.assert_array_equal(A.condition([2, 3], anew, mean)[0], expected)
        with pytest.raises(ValueError, match="values has other names than mean"):
            A.condition([2, 3], some.iloc[::-1], mean)
        with pytest.raises(ValueError, match="mean has other names than X"):
            log_likelihood(frame, A, mean.iloc[::-1])


def test_the_largest_number_of_blocks_that_is_tried_warns():
    pairs = np.random.default_rng(0).normal(size=(500, 60)).repeat(2, axis=1)
    pairs += 0.3 * np.random.default_rng(1).normal(size=pairs.shape)
    with pytest.warns(UserWarning, match="50 blocks fit best, the largest number that is tried"):
        found = bm.find_partition(pairs, samples=True)
    assert found.n_blocks == 50
    assert bm.find_partition(pairs, samples=True, max_blocks=50).n_blocks == 50
    assert bm.find_partition(pairs, samples=True, max_blocks=70).n_blocks == 60
    different = np.random.default_rng(0).normal(size=(5000, 50))
    different = different @ np.random.default_rng(1).normal(size=(50, 50))
    assert bm.find_partition(different, samples=True, loadings=False).n_blocks == 50  # all of them
    assert bm.find_partition(pairs, 50, samples=True).n_blocks == 50
