"""Blocks of one factor each in small, singular and extreme data: no error, no warning and no NaN."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import blockmat as bm
from blockmat.exceptions import NonFiniteError, NotHermitianError

OPTIONS = {"signs": st.booleans(), "contiguous": st.booleans(), "random_state": st.just(0)}
INDEFINITE = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])  # an eigenvalue is -0.8


def check(source, k=None, **options):
    """Find blocks, and check the path or the partition."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = bm.partition_path(source, **options)
        n = path.best.n
        found = bm.find_partition(source, k or min(2, path.n_blocks.max()), **options)
    assert np.isfinite(path.loss).all()
    assert not np.isnan(path.criterion).any()
    assert path.n_blocks[0] == 1
    for p, number in zip(path.partitions, path.n_blocks, strict=True):
        assert (p.n, p.n_blocks) == (n, number)
    if options.get("signs"):
        assert set(path.best_signs) <= {1, -1}
        assert set(found[1]) <= {1, -1}
    return path


@st.composite
def small_data(draw):
    """Samples (T, n), T from 3 to 12 and n up to 7, some of them equal up to signs."""
    T, n = draw(st.integers(3, 12)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    X = rng.standard_normal((T, n))
    if draw(st.booleans()):
        X = X[:, rng.integers(n, size=n)] * rng.choice([-1, 1], n)
    if draw(st.booleans()):
        X = np.rint(X) + np.linspace(0, 1, T)[:, None]  # ties
    return X * draw(st.sampled_from([1.0, 1e-150, 1e150]))


@given(small_data(), st.fixed_dictionaries(OPTIONS), st.sampled_from(["misfit", "icl", "bic"]))
@settings(max_examples=30)
def test_small_samples_never_fail(X, options, criterion):
    if options["contiguous"]:
        pytest.importorskip("ruptures")
    check(X, samples=True, criterion=criterion, **options)


@given(small_data(), st.fixed_dictionaries(OPTIONS), st.integers(3, 10**9))
@settings(max_examples=30)
def test_small_correlation_matrices_never_fail(X, options, n_samples):
    if options["contiguous"]:
        pytest.importorskip("ruptures")
    Z = (X - X.mean(0)) / X.std(0)
    check(Z.T @ Z / len(Z), n_samples=n_samples, **options)


@given(small_data(), st.booleans())
@settings(max_examples=8)
def test_held_out_samples_never_fail(X, signs):
    X = np.vstack([X, 1.5 * X[::-1], X + X[:1]])[:, :4]
    if np.ptp(X[: len(X) // 2], axis=0).all():
        check(X, samples=True, criterion="cv", signs=signs, random_state=0)


@pytest.mark.parametrize("n_samples", [3, 4, 100, 10**9, 10**18])
@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize(
    "R",
    [
        np.ones((1, 1)),
        np.eye(2),
        np.array([[1.0, -1], [-1, 1]]),
        np.eye(6),
        np.ones((6, 6)),
        np.kron(np.eye(3), np.ones((2, 2))),
        np.full((6, 6), -0.2) + 1.2 * np.eye(6),  # the smallest that is semidefinite
        INDEFINITE,
    ],
)
def test_singular_and_indefinite_matrices(R, signs, n_samples):
    check(R, n_samples=n_samples, signs=signs)
    check(R.astype(np.float32), n_samples=n_samples, signs=signs)


@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_as_many_blocks_as_variables(n, signs):
    X = np.random.default_rng(n).standard_normal((30, n))
    for data in (X, X[:, :1] * np.ones(n)):
        check(data, n, samples=True, signs=signs)
        found = bm.find_partition(data, n, samples=True, signs=signs)
        assert (found[0] if signs else found).sizes.tolist() == [1] * n


def test_equal_variables_are_one_block_each():
    X = np.repeat(np.random.default_rng(0).standard_normal((40, 3)), 4, axis=1)
    assert check(X, samples=True).best.labels.tolist() == np.repeat([0, 1, 2], 4).tolist()
    turned = X * np.tile([1, -1], 6)
    path = check(turned, samples=True, signs=True)
    assert path.best.labels.tolist() == np.repeat([0, 1, 2], 4).tolist()
    assert path.best_signs.tolist() == [1, -1] * 6


def test_float32_samples_give_the_same_blocks():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 3))[:, np.arange(12) % 3] + 0.5 * rng.standard_normal((100, 12))
    double, single = (check(x, samples=True).best for x in (X, X.astype(np.float32)))
    assert double == single


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        (np.eye(3), {"n_samples": 2}, ValueError, "n_samples is 2"),
        (np.ones((2, 4)), {"samples": True}, ValueError, "expected at least 3"),
        (np.ones((5, 2)), {"samples": True}, ValueError, "constant"),
        (np.full((4, 4), np.nan), {"n_samples": 9}, NonFiniteError, "contains nan"),
        (np.array([[1, 0.5], [0.2, 1]]), {"n_samples": 9}, NotHermitianError, "symmetric"),
        (np.array([[1, 2], [2, 1]]), {"n_samples": 9}, ValueError, "from -1 to 1"),
    ],
)
def test_errors_name_what_is_wrong(source, options, error, message):
    with pytest.raises(error, match=message):
        bm.find_partition(source, **options)
