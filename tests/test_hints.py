"""Errors that are easy to run into say what to do."""

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import scipy
import scipy.sparse as sp

import blockmat as bm
from blockmat.covariance import BlockCovariance
from blockmat.exceptions import DtypeError, NonFiniteError, NotHermitianError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))[:, [0, 0, 0, 1, 1, 1]] + RNG.normal(size=(60, 6))
LABELS = [0, 0, 0, 1, 1, 1]


def changed(place, value):
    result = X.copy()
    result[place] = value
    return result


BOTH = "missing='pairwise' or 'em' if NaN marks a missing value"
READERS = [
    (lambda S: bm.find_partition(S, samples=True), BOTH),
    (lambda S: bm.partition_path(S, samples=True), BOTH),
    (lambda S: bm.partition_stability(S, samples=True), BOTH),
    (lambda S: bm.fit_samples(S, LABELS), BOTH),
    (lambda S: bm.fit_factor(S, LABELS), BOTH.replace("'pairwise' or ", "")),
    (lambda S: bm.BlockAccumulator(LABELS).add_samples(S), BOTH.replace(" or 'em'", "")),
    (lambda S: BlockCovariance().fit(S), BOTH),
    (lambda S: BlockCovariance().fit(X).score(S), BOTH),
    (lambda S: BlockCovariance().fit(X).mahalanobis(S), BOTH),
]


@pytest.mark.parametrize(("read", "hint"), READERS)
def test_nan_names_the_argument_for_missing_values(read, hint):
    with pytest.raises(NonFiniteError, match=r"X contains (nan|NaN)") as error:
        read(changed((3, 1), np.nan))
    assert str(error.value).endswith(hint)


@pytest.mark.parametrize(
    ("read", "hint"), [pair for i, pair in enumerate(READERS) if i not in (3, 5)]
)
def test_infinity_is_no_missing_value(read, hint):
    with pytest.raises(ValueError, match=r"inf(inity)?") as error:
        read(changed((3, 1), np.inf))
    assert "missing=" not in str(error.value)


def test_partial_fit_says_that_it_takes_no_missing_values():
    with pytest.raises(NonFiniteError, match=r"X contains nan at index \(3, 1\); expected finite"):
        BlockCovariance().partial_fit(changed((3, 1), np.nan))


def test_functions_without_missing_do_not_name_it():
    with pytest.raises(NonFiniteError) as error:
        bm.optimal_shrinkage(changed((3, 1), np.nan), LABELS)
    assert "missing=" not in str(error.value)


def test_skfolio_names_the_place_among_all_assets():
    skfolio = pytest.importorskip("blockmat.skfolio")
    S = changed((slice(5, None), 0), np.nan)  # not listed
    S[3, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"X contains nan at index \(3, 2\)") as error:
        skfolio.BlockCovariance().fit(S)
    assert str(error.value).endswith(BOTH)


def with_constants(n):
    table = pd.DataFrame(RNG.normal(size=(40, n + 2)), columns=[f"v{i}" for i in range(n + 2)])
    table.iloc[:, 1 : n + 1] = 7.0
    return table


@pytest.mark.parametrize(
    "read",
    [
        lambda S, w: bm.find_partition(S, samples=True, sample_weight=w),
        lambda S, w: bm.fit_factor(S, np.zeros(S.shape[1], int), sample_weight=w),
        lambda S, w: BlockCovariance().fit(S, sample_weight=w),
        lambda S, w: BlockCovariance().partial_fit(S, sample_weight=w),
        lambda S, w: bm.find_partition(S.mask(S.iloc[0, 0] == S), samples=True, missing="em"),
        lambda S, w: BlockCovariance(missing="em").fit(S.mask(S.iloc[0, 0] == S)),
    ],
)
@pytest.mark.parametrize("w", [None, np.arange(40) % 3])
def test_constant_columns_are_named_and_counted(read, w):
    match = r"X is constant in 20 of its columns: 'v1', 'v2', 'v3', \.\.\.; expected .*X.nunique\(\) > 1"
    with pytest.raises(ValueError, match=match):
        read(with_constants(20), w)
    with pytest.raises(ValueError, match=r"X is constant in 1 of its columns: 'v1'; expected"):
        read(with_constants(1), w)


def test_the_advice_for_constant_columns_helps():
    table = with_constants(2)
    assert list(table.loc[:, table.nunique() > 1]) == ["v0", "v3"]
    with pytest.raises(ValueError, match=r"of a DataFrame, or constant='keep'"):
        BlockCovariance().fit(table)
    assert BlockCovariance(constant="keep").fit(table).constant_.tolist() == [
        False,
        True,
        True,
        False,
    ]
    labels = [0, 0, 0, 0]
    with pytest.raises(ValueError, match=r"of a DataFrame, or constant='keep', or scaled=False$"):
        BlockCovariance(labels).fit(table)
    BlockCovariance(labels, scaled=False).fit(table)
    BlockCovariance(labels, constant="keep").fit(table)
    with pytest.raises(
        ValueError, match=r"of a DataFrame$"
    ):  # the other ways are none for loadings
        BlockCovariance(labels, loadings=True, shrinkage=None).fit(table)


def test_weights_that_sum_to_one_name_the_other_kind_of_weights():
    w = np.full(60, 1 / 60)
    with pytest.raises(ValueError, match=r"count as 1 samples; .* or weight_type='reliability'"):
        bm.find_partition(X, samples=True, sample_weight=w)
    with pytest.raises(
        ValueError, match=r"of samples, 1, the sum of .* or weight_type='reliability'"
    ):
        bm.fit_samples(X, LABELS, sample_weight=w)
    with pytest.raises(ValueError, match=r"count as 1 samples; .* or weight_type='reliability'"):
        BlockCovariance().fit(X, sample_weight=w)
    p = bm.find_partition(X, samples=True, sample_weight=w, weight_type="reliability")
    assert p.same_blocks(bm.find_partition(X, samples=True))
    bm.fit_samples(X, LABELS, sample_weight=w, weight_type="reliability")


def test_other_weights_do_not_name_it():
    one = np.eye(60)[0]
    few = np.array([1.0, 1.0, *[1e-3] * 58])
    for w, kind in ((one, "frequency"), (few, "reliability")):
        with pytest.raises(ValueError, match=r"ddof is 3; expected .*, [\d.]+$"):
            bm.fit_samples(X, LABELS, 3, sample_weight=w, weight_type=kind)
    with pytest.raises(ValueError, match=r"expected at least 3$"):
        bm.find_partition(X, samples=True, sample_weight=few, weight_type="reliability")


@pytest.mark.parametrize(
    "use",
    [
        lambda w: bm.find_partition(X, samples=True, sample_weight=w),
        lambda w: bm.fit_samples(X, LABELS, sample_weight=w),
        lambda w: bm.fit_factor(X, LABELS, sample_weight=w),
        lambda w: BlockCovariance().fit(X, sample_weight=w),
    ],
)
def test_weights_are_no_column_name(use):
    with pytest.raises(
        TypeError, match=r"is 'w'; expected one number per sample, such as data\['w'\]"
    ):
        use("w")


def test_the_first_column_without_numbers_is_named():
    table = pd.DataFrame(X).rename(columns=str).assign(sector=list("abc") * 20, day="Monday")
    for use in (
        lambda S: bm.find_partition(S, samples=True),
        lambda S: bm.fit_samples(S, [*LABELS, 2, 2]),
    ):
        with pytest.raises(
            DtypeError, match=r"column 'sector' of X has dtype (object|str.*); expected"
        ):
            use(table)
    assert bm.find_partition(table.select_dtypes("number"), samples=True).n == 6


R = np.corrcoef(X, rowvar=False)
SEARCHES = [
    lambda A: bm.find_partition(A, n_samples=60),
    bm.find_partition,
    lambda A: bm.find_partition(sp.csr_array(A)),
    lambda A: bm.fit_factor(A, LABELS, samples=False),
]


@pytest.mark.parametrize("search", SEARCHES)
def test_the_size_of_an_asymmetry_is_given(search):
    skew = R.copy()
    skew[1, 0] += 1e-3
    match = r"source is not symmetric: mirrored entries differ by up to 0.001; .*\(source \+ source.T\) / 2"
    with pytest.raises(NotHermitianError, match=match):
        search(skew)
    search((skew + skew.T) / 2)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize(("side", "k"), [("lower", -1), ("upper", 1)])
def test_a_triangle_alone_is_recognised(search, side, k):
    f = np.tril if side == "lower" else np.triu
    part = f(R)
    advice = rf"source \+ (np|scipy.sparse).{f.__name__}\(source, {k}\).T"
    with pytest.raises(NotHermitianError, match=rf"it has only its {side} triangle; .*{advice}"):
        search(part)
    np.testing.assert_allclose(part + f(part, k).T, R, rtol=1e-14)


@pytest.mark.parametrize(("side", "name", "k"), [("lower", "tril", -1), ("upper", "triu", 1)])
@pytest.mark.parametrize("make", [sp.csr_array, sp.coo_matrix])
def test_the_advice_for_a_sparse_triangle_can_be_followed(side, name, k, make):
    part = make(getattr(sp, name)(sp.coo_array(R)))
    with pytest.raises(NotHermitianError, match=f"it has only its {side} triangle") as caught:
        bm.find_partition(part)
    advice = f"source + scipy.sparse.{name}(source, {k}).T"
    assert str(caught.value).endswith(advice)
    whole = eval(advice, {"scipy": scipy, "source": part})
    np.testing.assert_allclose(whole.toarray(), R, rtol=1e-14)


@pytest.mark.parametrize("make", [nx.karate_club_graph, lambda: nx.DiGraph([(0, 1)])])
def test_a_graph_is_to_be_an_adjacency_matrix(make):
    graph = make()
    for use in (bm.find_partition, bm.partition_path, lambda G: bm.fit(G, [0] * len(G))):
        with pytest.raises(DtypeError, match="Graph; expected its adjacency matrix, such as netw"):
            use(graph)


def test_a_whole_number_of_type_float_is_to_be_converted():
    for value in (60.0, np.float64(60)):
        with pytest.raises(
            TypeError, match=r"60\.0\)?; expected an integer, such as int\(n_samples\)$"
        ):
            bm.find_partition(R, n_samples=value)
    for value in (60.5, "60", np.inf, np.nan):
        with pytest.raises(TypeError, match=r"; expected an integer$"):
            bm.find_partition(R, n_samples=value)


@pytest.mark.parametrize("options", [{}, {"missing": "pairwise"}, {"scaled": True}])
def test_an_accumulator_without_samples_says_so(options):
    acc = bm.BlockAccumulator(LABELS, **options)
    for ddof in (0, 1):
        with pytest.raises(
            ValueError, match="the accumulator has no samples; expected add_samples"
        ):
            acc.covariance(ddof)
    acc.add_samples(X)
    acc.covariance()


def test_a_stream_keeps_the_names_of_columns():
    model = (
        BlockCovariance(constant="keep")
        .partial_fit(with_constants(2))
        .partial_fit(with_constants(2))
    )
    model.set_params(constant="raise")
    with pytest.raises(ValueError, match="X is constant in 2 of its columns: 'v1', 'v2'; expected"):
        model.partial_fit(with_constants(2))


@pytest.mark.parametrize(
    "use",
    [
        lambda row: bm.fit_samples(row, LABELS),
        lambda row: bm.find_partition(row, samples=True),
        lambda row: bm.BlockAccumulator(LABELS).add_samples(row),
    ],
)
def test_one_sample_as_a_series_has_too_few_axes(use):
    n = len(LABELS)
    with pytest.raises(ShapeError, match=rf"X is 1-d with shape \({n},\); expected 2-d"):
        use(pd.Series(np.arange(float(n))))


def test_a_partition_with_its_signs_is_no_labels():
    found = bm.find_partition(X, 2, samples=True, signs=True)
    with pytest.raises(
        TypeError, match="With signs=True find_partition returns the partition and the"
    ):
        bm.fit_samples(X, found)


def test_scores_of_samples_with_gaps_are_those_of_conditional_means():
    fit = bm.fit_factor(X, LABELS, full_output=True)
    A, sample = fit.matrix, X[0].copy()
    sample[1] = np.nan
    with pytest.raises(NonFiniteError, match="missing='em' if NaN marks a missing value"):
        A.factor_scores(sample, mean=fit.mean)
    seen = np.isfinite(sample)
    filled = sample.copy()
    filled[~seen] = A.condition(seen, sample[seen], mean=fit.mean)[0]
    dense, Z = A.toarray(), np.eye(A.partition.n_blocks)[A.partition.labels] * A.loadings[:, None]
    cross = np.asarray(A.covariance) @ Z.T
    part = dense[np.ix_(seen, seen)]
    expected = cross[:, seen] @ np.linalg.solve(part, (sample - fit.mean)[seen])
    found, _ = A.factor_scores(filled, mean=fit.mean)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert repr(fit).startswith(f"<FactorFit of a {A!r}: {fit.n_iter} steps, converged")
