"""Stability of partitions: coassignment against dense counts, published definitions, and planted blocks."""

import itertools
import re

import numpy as np
import pytest

import blockmat as bm
from blockmat.exceptions import DtypeError, PartitionMismatchError, ShapeError
from blockmat.finding.resampling.agreement import adjusted_rand
from blockmat.finding.resampling.coassignment import Coassignment
from blockmat.finding.resampling.resamples import NormalResamples, RowResamples
from blockmat.finding.search.kmeans import in_order
from blockmat.sources.weighted_samples import WeightedSamples


def random_labels(m, n, k, seed=0):
    """Labels of m partitions; the first k variables are in different blocks, so none is empty."""
    labels = np.random.default_rng(seed).integers(k, size=(m, n))
    labels[:, :k] = np.arange(k)
    return labels


def dense(labels):
    return (labels[:, :, None] == labels[:, None, :]).mean(axis=0)


def test_coassignment_is_the_share_of_partitions_in_which_two_variables_meet():
    labels = random_labels(7, 30, 4)
    C, D = Coassignment(labels), dense(labels)
    np.testing.assert_allclose(C.toarray(), D, rtol=1e-15)
    for key in ((3, 5), 3, (slice(None), 2), np.ix_([1, 2], [0, 29]), (-1, -2), D > 0.5):
        np.testing.assert_allclose(C[key], D[key], rtol=1e-15)
    x, X = np.arange(30.0), np.random.default_rng(1).standard_normal((30, 3))
    for y in (x, X):
        np.testing.assert_allclose(C @ y, D @ y, rtol=1e-12)
        np.testing.assert_allclose(C.T @ y, D @ y, rtol=1e-12)
        np.testing.assert_allclose(C.H @ y, D @ y, rtol=1e-12)
    assert C.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        C.labels[0, 0] = 1


def test_mean_coassignment_with_blocks_leaves_out_the_variable_itself():
    labels = random_labels(6, 12, 3)
    p = bm.Partition.from_labels(np.r_[[0] * 5, [1] * 6, [2]])
    found = Coassignment(labels).with_blocks(p)
    D = dense(labels)
    for i, (b, members) in itertools.product(range(12), enumerate(p)):
        others = [j for j in members if j != i]
        expected = D[i, others].mean() if others else np.nan
        np.testing.assert_allclose(found[i, b], expected, rtol=1e-13)


def test_mean_products_of_signs_with_blocks():
    labels, rng = random_labels(6, 12, 3), np.random.default_rng(3)
    signs = rng.choice([-1.0, 1.0], size=(6, 12))
    p = bm.Partition.uniform(3, 4)
    found = Coassignment(labels).with_blocks(p, signs)
    together = labels[:, :, None] == labels[:, None, :]
    D = (together * signs[:, :, None] * signs[:, None, :]).mean(axis=0)
    for i, (b, members) in itertools.product(range(12), enumerate(p)):
        expected = np.mean([D[i, j] for j in members if j != i])
        np.testing.assert_allclose(found[i, b], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([[0, -1, 0]], ValueError, r"labels is -1 at index \(0, 1\); expected block numbers from 0 to 2"),
        ([[0, 1], [0, 2]], ValueError, r"labels is 2 at index \(1, 1\)"),
        ([[0, 10**15]], ValueError, "expected block numbers from 0 to 1"),
        (np.array([[2**64 - 1, 0]], np.uint64), ValueError, "labels is 18446744073709551615 at"),
        ([[0.0, 1.0]], DtypeError, "labels has dtype float64; expected integers"),
        ([["a", "b"]], DtypeError, "labels has dtype"),
        ([0, 1], ShapeError, "labels is 1-d"),
        (np.zeros((0, 3), int), ShapeError, r"labels has shape \(0, 3\); expected at least one"),
        (np.zeros((3, 0), int), ShapeError, r"labels has shape \(3, 0\); expected at least one"),
        ([[0, 1], [0]], ShapeError, "labels is not a rectangular array"),
    ],
)  # fmt: skip
def test_coassignment_needs_block_numbers(labels, error, message):
    with pytest.raises(error, match=message):
        Coassignment(labels)


def test_coassignment_takes_partitions_and_signs_of_its_variables():
    C = Coassignment([[0, 0, 1], [0, 1, 1]])
    p = bm.Partition.uniform(1, 3)
    for use in (C.overlaps, C.with_blocks):
        with pytest.raises(PartitionMismatchError, match="p divides 2 variables; expected 3, as"):
            use(bm.Partition.trivial(2))
        with pytest.raises(TypeError, match="p is a list; expected a Partition"):
            use([0, 0, 0])
    for signs in (np.ones((3, 2)), np.ones((2, 2)), np.ones((1, 3))):
        with pytest.raises(
            ShapeError, match=r"signs has shape .*; expected \(2, 3\), as the labels"
        ):
            C.with_blocks(p, signs)
    with pytest.raises(ShapeError, match="signs is 1-d"):
        C.with_blocks(p, np.ones(3))
    with pytest.raises(DtypeError, match="signs has dtype"):
        C.with_blocks(p, [["a"] * 3] * 2)


def test_overlaps_are_the_largest_jaccard_indices():
    labels = random_labels(5, 20, 4)
    p = bm.Partition.from_labels(np.arange(20) % 3)
    found = Coassignment(labels).overlaps(p)
    for r, (b, members) in itertools.product(range(5), enumerate(p)):
        block = set(members.tolist())
        others = [set(np.flatnonzero(labels[r] == c).tolist()) for c in range(4)]
        expected = max(len(block & c) / len(block | c) for c in others)
        assert found[r, b] == pytest.approx(expected, rel=1e-15)


def test_the_adjusted_rand_index_is_that_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for k, m in [(2, 3), (5, 5), (1, 4), (30, 1), (30, 30)]:
        a, b = rng.integers(k, size=30), rng.integers(m, size=30)
        p, q = bm.Partition.from_labels(a), bm.Partition.from_labels(b)
        expected = sklearn.adjusted_rand_score(a, b)
        assert adjusted_rand(p, q) == pytest.approx(expected, rel=1e-14, abs=1e-14)
        assert adjusted_rand(p, p) == 1
    one = bm.Partition.from_sizes([1])
    assert adjusted_rand(one, one) == 1


def planted(n_samples=200, sizes=(6, 4, 7), noise=0.7, seed=0):
    """Samples with one factor per block, their labels, and random signs of the variables."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    n = len(labels)
    signs = rng.choice([-1, 1], size=n)
    X = rng.standard_normal((n_samples, len(sizes)))[:, labels]
    return X + noise * rng.standard_normal((n_samples, n)), labels, signs


def is_same(a, b):
    return in_order(a).labels.tolist() == in_order(b).labels.tolist()


@pytest.mark.parametrize("how", ["bootstrap", "subsample", "matrix"])
def test_clear_blocks_are_stable(how):
    X, labels, _ = planted()
    options = {"n_resamples": 12, "random_state": 0}
    if how == "matrix":
        R = np.cov(X, rowvar=False)
        results = [bm.partition_stability(R, k, n_samples=200, **options) for k in (3, "auto")]
    else:
        options |= {"samples": True, "method": how}
        results = [bm.partition_stability(X, k, **options) for k in (3, "auto")]
    for result in results:
        assert is_same(result.partition.labels, labels)
        assert result.signs is None
        assert result.of_sign is None
        assert result.names is None
        for array in (result.of_variable, result.of_block, result.n_blocks, result.agreement):
            assert not array.flags.writeable
    given, auto = results
    np.testing.assert_array_equal(given.coassignment.toarray(), dense(labels[None]))
    np.testing.assert_array_equal(given.of_variable, 1)
    np.testing.assert_array_equal(given.of_block, 1)
    assert given.n_blocks.tolist() == [3]
    assert given.of_n_blocks.tolist() == given.agreement.tolist() == [1]
    assert auto.n_blocks[np.argmax(auto.of_n_blocks)] == 3
    assert auto.agreement[auto.n_blocks == 3] == 1
    assert auto.of_block.min() > 0.85
    assert auto.of_variable.min() > 0.7


def test_a_variable_between_two_blocks_is_less_sure_than_the_others():
    X, labels, _ = planted(60)
    a, b = np.flatnonzero(labels == 0)[0], np.flatnonzero(labels == 2)[0]
    X[:, a] = X[:, a] + X[:, b] + np.random.default_rng(5).standard_normal(60)
    result = bm.partition_stability(X, 3, samples=True, n_resamples=40, random_state=1)
    others = np.delete(result.of_variable, a)
    assert result.of_variable[a] < 0.8
    assert others.min() > result.of_variable[a]
    assert (result.of_variable <= 1).all()
    assert (result.of_variable >= -1).all()


def test_the_stability_of_variables_is_the_published_difference():
    X, _, _ = planted(40, noise=2.0)
    result = bm.partition_stability(X, 4, samples=True, n_resamples=25, random_state=0)
    D, p = result.coassignment.toarray(), result.partition
    for i in range(p.n):
        means = []
        for members in p:
            others = members[members != i]
            means.append(D[i, others].mean() if len(others) else 1.0)
        own = means.pop(p.labels[i])
        assert result.of_variable[i] == pytest.approx(own - max(means), abs=1e-13)
    jaccard = result.coassignment.overlaps(p).mean(axis=0)
    np.testing.assert_allclose(result.of_block, jaccard, rtol=1e-14)
    assert 0 < jaccard.min() < 1


def test_one_block_and_blocks_of_one_variable():
    X, _, _ = planted(50)
    one = bm.partition_stability(X, 1, samples=True, n_resamples=3)
    np.testing.assert_array_equal(one.of_variable, 1)
    alone = bm.partition_stability(X, 17, samples=True, n_resamples=3)
    np.testing.assert_array_equal(alone.of_variable, 1)
    np.testing.assert_array_equal(alone.coassignment.toarray(), np.eye(17))


def test_signs_are_found_and_are_stable():
    X, labels, signs = planted()
    result = bm.partition_stability(X * signs, 3, samples=True, signs=True, n_resamples=12)
    assert is_same(result.partition.labels, labels)
    for members in result.partition:
        relative = result.signs[members] * signs[members]
        assert abs(relative.sum()) == len(members)
    np.testing.assert_array_equal(result.of_sign, 1)
    auto = bm.partition_stability(X * signs, samples=True, signs=True, n_resamples=3)
    np.testing.assert_array_equal(auto.signs, result.signs)


def test_a_sign_that_changes_is_unsure():
    rng = np.random.default_rng(0)
    X, _, _ = planted(40, sizes=(5, 5), noise=0.5)
    X[:, 0] = 0.05 * X[:, 0] + rng.standard_normal(40)
    result = bm.partition_stability(X, 2, samples=True, signs=True, n_resamples=40, random_state=2)
    assert 0 <= result.of_sign[0] < 0.95
    assert result.of_sign[1:].min() > 0.95


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_results_do_not_depend_on_the_number_of_threads(n_jobs):
    pytest.importorskip("joblib")
    X, _, _ = planted(40, noise=2.0)
    options = {"samples": True, "n_resamples": 6, "signs": True}
    a = bm.partition_stability(X, random_state=3, **options)
    state = np.random.default_rng(3)
    b = bm.partition_stability(X, random_state=state, n_jobs=n_jobs, **options)
    np.testing.assert_array_equal(a.coassignment.labels, b.coassignment.labels)
    np.testing.assert_array_equal(a.of_sign, b.of_sign)
    np.testing.assert_array_equal(a.agreement, b.agreement)
    other = bm.partition_stability(X, random_state=4, **options)
    assert (a.coassignment.labels != other.coassignment.labels).any()


def test_the_agreement_of_numbers_of_blocks_is_the_mean_adjusted_rand_index():
    X, _, _ = planted(40, noise=2.0)
    result = bm.partition_stability(X, 4, samples=True, n_resamples=9, random_state=0)
    found = [bm.Partition.from_labels(x.tolist()) for x in result.coassignment.labels]
    expected = np.mean([adjusted_rand(result.partition, q) for q in found])
    assert result.n_blocks.tolist() == [4]
    np.testing.assert_allclose(result.agreement, expected, rtol=1e-14)
    path = bm.partition_stability(X, samples=True, n_resamples=9, random_state=0)
    place = path.n_blocks.tolist().index(4)
    assert path.of_n_blocks.sum() == pytest.approx(1, rel=1e-15)
    assert path.agreement[path.n_blocks == 1] == 1
    assert np.isfinite(path.agreement[place])


@pytest.mark.parametrize("n_samples", [10, 17, 18, 100])
def test_the_correlations_of_normal_resamples_scatter_as_those_of_samples(n_samples):
    X, _, _ = planted(400)
    R = np.corrcoef(X, rowvar=False)
    resamples = NormalResamples(R, n_samples)
    assert resamples.data.source is R
    rng = np.random.default_rng(0)
    drawn = [resamples.draw(rng) for _ in range(1000)]
    is_matrix = n_samples > 17  # samples have fewer numbers if there are at most n of them
    shape = (17, 17) if is_matrix else (n_samples, 17)
    assert all(data.source.shape == shape for data in drawn)
    assert all(data.n_samples == (n_samples if is_matrix else None) for data in drawn)
    if is_matrix:
        found = np.array([data.source for data in drawn])
        np.testing.assert_array_equal(found, found.transpose(0, 2, 1))
    else:
        found = np.array([np.corrcoef(data.source, rowvar=False) for data in drawn])
    root = np.linalg.cholesky(R).T
    direct = [rng.standard_normal((n_samples, 17)) @ root for _ in range(1000)]
    expected = np.array([np.corrcoef(samples, rowvar=False) for samples in direct])
    off = ~np.eye(17, dtype=bool)
    error = expected.std(axis=0)[off] * np.sqrt(2 / 1000)
    z = (found.mean(axis=0) - expected.mean(axis=0))[off] / error
    assert np.abs(z).max() < 5  # of 136 differences of means, each with this error
    ratio = np.log(found.std(axis=0)[off] / expected.std(axis=0)[off])
    assert np.abs(ratio).max() < 0.25  # about 5 errors, which are 1 / sqrt(1000) or more


def test_an_indefinite_correlation_matrix_is_resampled():
    C = np.array([[1, 0.9, 0.9], [0.9, 1, -0.9], [0.9, -0.9, 1]])
    R = np.kron(C, np.ones((4, 4))) * 0.9 + 0.1 * np.eye(12)
    result = bm.partition_stability(R, 3, n_samples=50, n_resamples=4, random_state=0)
    assert result.partition.labels.tolist() == np.repeat(np.arange(3), 4).tolist()


def test_resamples_are_rows_of_the_samples():
    X = np.arange(30.0).reshape(10, 3)
    samples, rng = WeightedSamples(X), np.random.default_rng(0)
    rows = RowResamples(samples, 10, replace=True).draw(rng).source.X
    assert rows.shape == (10, 3)
    assert 1 < len(np.unique(rows[:, 0])) < 10
    half = RowResamples(samples, 5, replace=False).draw(rng).source.X
    assert len(np.unique(half[:, 0])) == 5
    assert np.isin(half, X).all()


def test_resamples_without_a_constant_column_are_drawn():
    X = np.random.default_rng(0).standard_normal((20, 4))
    X[:, 2] = np.arange(20) < 2
    resamples = RowResamples(WeightedSamples(X), 20, replace=True)
    rng = np.random.default_rng(0)
    assert all(np.ptp(resamples.draw(rng).source.X, axis=0).min() > 0 for _ in range(50))
    X[:, 2] = 0
    with pytest.raises(ValueError, match="column 2 of source is constant in 100 resamples"):
        resamples.draw(rng)


def test_names_of_a_data_frame_are_kept():
    pd = pytest.importorskip("pandas")
    X, _, _ = planted(sizes=(2, 3))
    names = ("a", "b", "c", "d", "e")
    frame = pd.DataFrame(X, columns=names)
    assert bm.partition_stability(frame, 2, samples=True, n_resamples=2).names == names
    result = bm.partition_stability(frame.corr(), 2, n_samples=200, n_resamples=2)
    assert result.names == names


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("n_resamples is 1; expected", {"n_resamples": 1}),
        ("method is 'jackknife'; expected 'bootstrap' or 'subsample'", {"method": "jackknife"}),
        ("share is 0.5 with method='bootstrap'", {"share": 0.5}),
        ("share is 1; expected a number above 0", {"method": "subsample", "share": 1}),
        ("share is 0.0; expected a number above 0", {"method": "subsample", "share": 0.0}),
        ("share is nan; expected", {"method": "subsample", "share": float("nan")}),
        ("share is 'x'; expected", {"method": "subsample", "share": "x"}),
        ("at least 3 rows", {"method": "subsample", "share": 0.05}),
        ("n_samples is 40 with samples=True; expected it only", {"n_samples": 40}),
        ("criterion is 'cv' with method='bootstrap'", {"criterion": "cv"}),
        ("criterion is 'x'", {"criterion": "x"}),
        ("n_blocks is 50; expected at most 17", {"n_blocks": 50}),
        ("max_blocks is 50; expected at most 17", {"max_blocks": 50}),
        ("n_samples is None; expected the number of samples", {"samples": False}),
        (
            "method is 'subsample' with samples=False",
            {"samples": False, "n_samples": 40, "method": "subsample"},
        ),
        ("n_samples is 2; expected", {"samples": False, "n_samples": 2}),
    ],
)
def test_bad_arguments_are_named(message, options):
    X, _, _ = planted(40)
    options = {"samples": True, **options}
    source = X if options["samples"] else np.corrcoef(X, rowvar=False)
    with pytest.raises(ValueError, match=re.escape(message)):
        bm.partition_stability(source, **options)


def test_bad_sources_are_named():
    X, _, _ = planted(40)
    R = np.corrcoef(X, rowvar=False)
    R[0, 1] = R[1, 0] = 1.5
    with pytest.raises(ValueError, match="source has ones on its diagonal"):
        bm.partition_stability(R, n_samples=40)
    with pytest.raises(bm.exceptions.ShapeError, match="source"):
        bm.partition_stability(X, n_samples=40)
    X[3, 4] = np.nan
    with pytest.raises(bm.exceptions.NonFiniteError):
        bm.partition_stability(X, samples=True)
    with pytest.raises(ValueError, match="X has 2 rows; expected at least 3"):
        bm.partition_stability(X[:2], samples=True)


def test_cross_validation_and_a_largest_number_work_with_subsamples():
    X, labels, _ = planted()
    result = bm.partition_stability(
        X, samples=True, criterion="cv", max_blocks=5, n_resamples=2, method="subsample", share=0.9
    )
    assert is_same(result.partition.labels, labels)
    assert result.n_blocks.tolist() == [1, 2, 3, 4, 5]
    few = bm.partition_stability(
        X[:20], samples=True, max_blocks=17, n_resamples=2, method="subsample"
    )
    assert few.n_blocks[-1] == 17  # of all the samples; ten of them allow 8 blocks
    assert np.isnan(few.agreement[-1])


STABLE = np.random.default_rng(0).normal(size=(20, 30))
GAPPED = np.where(np.random.default_rng(1).random((20, 30)) < 0.3, np.nan, STABLE)


@pytest.mark.parametrize(
    ("X", "options"),
    [
        (STABLE, {"max_blocks": 15, "method": "subsample", "sample_weight": np.full(20, 10)}),
        (STABLE, {"max_blocks": 12, "method": "subsample", "criterion": "cv"}),
        (GAPPED, {"max_blocks": 6, "missing": "pairwise"}),
        (STABLE, {"max_blocks": 2, "weight_type": "reliability",
                  "sample_weight": np.random.default_rng(0).random(20) ** 6}),
        (STABLE, {"n_blocks": 15}),
        (STABLE, {"n_blocks": 15, "signs": True}),
    ],
)  # fmt: skip
def test_a_resample_has_as_many_blocks_as_it_allows(X, options):
    result = bm.partition_stability(X, samples=True, n_resamples=4, random_state=0, **options)
    most = options.get("max_blocks", options.get("n_blocks"))
    assert (result.coassignment.labels.max(axis=1) < most).all()
    assert result.of_n_blocks.sum() == pytest.approx(1)


def test_repeated_rows_of_a_resample_are_no_blocks_of_one():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))[:, np.arange(45) % 3] + rng.normal(size=(60, 45))
    options = {"samples": True, "loadings": False, "n_resamples": 10, "random_state": 0}
    assert bm.partition_stability(X, **options).coassignment.labels.max() < 10


def test_blocks_of_resamples_are_intervals_if_they_have_to_be():
    pytest.importorskip("ruptures")
    X, labels, _ = planted(40, noise=2.0)
    X = X[:, np.argsort(labels)]
    result = bm.partition_stability(X, 3, True, True, 0, n_resamples=5)
    assert (np.diff(result.coassignment.labels, axis=1) >= 0).all()
    assert (np.diff(result.partition.labels) >= 0).all()


def test_the_sign_of_a_variable_that_never_shares_a_block_is_unknown():
    X = np.random.default_rng(1).standard_normal((30, 8))
    result = bm.partition_stability(X, 5, samples=True, signs=True, n_resamples=2, random_state=0)
    shared = result.coassignment.with_blocks(result.partition)
    own = shared[np.arange(8), result.partition.labels]
    never = ~(own > 0)
    assert (own == 0).any()
    np.testing.assert_array_equal(np.isnan(result.of_sign), never)


def test_results_are_displayed_in_one_line():
    X = np.random.default_rng(0).standard_normal((60, 2))[:, [0, 0, 0, 1, 1]]
    X = X + 0.5 * np.random.default_rng(1).standard_normal(X.shape)
    path = bm.partition_path(X, samples=True, max_blocks=3)
    assert repr(path) == "<PartitionPath of 5 variables: 3 numbers of blocks tried, best 2>"
    given = bm.partition_stability(X, 2, samples=True, n_resamples=3)
    assert (
        repr(given) == "<PartitionStability of 5 variables: 1 number of blocks tried, "
        "2 in all the data>"
    )
