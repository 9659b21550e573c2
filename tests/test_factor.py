"""BlockFactorMatrix: extreme noise and loadings, many groups, and arguments that do not fit.

The suite of all matrix types is in test_matrices.py.
"""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import blockmat as bm
from blockmat.blocks.passes import members, weighted_add, weighted_sums
from blockmat.exceptions import (
    DtypeError,
    IndefiniteMatrixError,
    NonFiniteError,
    NotHermitianError,
    ShapeError,
    SingularMatrixError,
)
from tests.cases import in_small_parts

EPS = np.finfo(np.float64).eps


def spread(seed, orders, n=60, k=4):
    """A matrix whose noise and squared loadings have a range of so many orders of magnitude."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((k, k + 1))
    noise = 10.0 ** rng.uniform(-orders, 0, n)
    loadings = rng.choice([-1, 1], n) * 10.0 ** rng.uniform(-orders / 2, 0, n)
    labels = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    return bm.BlockFactorMatrix(labels, root @ root.T, noise, loadings)


@pytest.mark.parametrize("orders", [0, 6, 12, 16])
@pytest.mark.parametrize("seed", range(2))
def test_solving_is_backward_stable(orders, seed):
    """The residual is that of the rounding of a product: some eps times the size of A times x."""
    A = spread(seed, orders)
    n, size = A.shape[0], np.linalg.norm(A.toarray(), 2)
    rng = np.random.default_rng(seed)
    for b in (A @ rng.standard_normal(n), rng.standard_normal(n), np.ones(n), A.loadings):
        x = A.solve(b)
        residual = np.linalg.norm(A.toarray().astype(np.longdouble) @ x - b)
        allowed = 4 * EPS * (size * np.linalg.norm(x) + np.linalg.norm(b))
        assert residual <= allowed, residual / allowed


@pytest.mark.parametrize("unit", [1e-200, 1.0])
def test_the_norm_if_the_largest_entries_are_off_the_diagonal(unit):
    C = np.array([[0.0, 2e200], [2e200, 0.0]])
    A = bm.BlockFactorMatrix([0, 1], unit * C, unit)
    np.testing.assert_allclose(A.norm(), np.sqrt(8) * (unit * 1e200), rtol=4 * EPS)


def large(seed, orders, shuffled=True, ones=False):
    """A matrix whose blocks are so large that `FrameMap` estimates coordinates from samples."""
    A = spread(seed, orders, n=400, k=3)
    order = np.arange(400) if shuffled else A.partition.order
    loadings = 1.0 if ones else A.loadings[order]
    return bm.BlockFactorMatrix(A.partition.labels[order], A.covariance, A.noise[order], loadings)


def relative_residual(A, norm, x, b):
    """The residual of a matrix with this norm, in units of the rounding of a product."""
    x, b, s, noise, C = (y.astype(np.longdouble) for y in (x, b, A.loadings, A.noise, A.covariance))
    Z = np.eye(A.partition.n_blocks)[A.partition.labels]
    residual = noise * x + s * (Z @ (C @ (Z.T @ (s * x)))) - b
    allowed = norm * np.linalg.norm(x) + np.linalg.norm(b)
    return float(np.linalg.norm(residual) / allowed / np.finfo(A.dtype).eps)


@pytest.mark.parametrize("orders", [0, 6, 16])
@pytest.mark.parametrize("kind", ["shuffled", "contiguous", "loadings of 1"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_solving_is_backward_stable_whatever_the_sampled_members_are(orders, kind, dtype):
    """Right-hand sides are multiples of the loadings, or large, at these members only.

    The sums may have three times the rounding of a product, and so have the two products with R.
    """
    if dtype == np.float32:
        orders = orders / 2
    A = large(1, orders, kind != "contiguous", kind == "loadings of 1").astype(dtype)
    rng, sampled = np.random.default_rng(0), members(A.partition, 32).ravel()
    sides = [A @ rng.standard_normal(400), rng.standard_normal(400), np.ones(400), A.loadings]
    for factor in (0.0, 1e4, 1e8):
        b = rng.standard_normal(400)
        b[sampled] *= factor
        sides.append(b)
        b = A.loadings + 1e-6 * rng.standard_normal(400)
        b[sampled] = factor * A.loadings[sampled]
        sides.append(b)
    norm = np.linalg.norm(A.toarray().astype(np.float64), 2)
    for i, b in enumerate(sides):
        b = b.astype(dtype)
        x = A.solve(b)
        assert x.dtype == dtype
        assert relative_residual(A, norm, x, b) <= 8, i


@pytest.mark.parametrize("orders", [0, 6, 12])
@pytest.mark.parametrize("seed", range(5))
def test_whitening_and_determinant_are_accurate(orders, seed):
    """Relative to the matrix divided by the roots of its diagonal, which has a moderate condition.

    Entries of ``W A W^T`` are sums of n products, and an error of W counts by the condition number
    of the scaled matrix.
    """
    A = spread(seed, orders)
    n, D = A.shape[0], A.toarray()
    W = A.whiten(np.eye(n)).T
    root = np.sqrt(A.diagonal())
    scaled = D / root / root[:, None]
    condition = np.linalg.cond(scaled)
    error = np.abs((W * root) @ scaled @ (W * root).T - np.eye(n)).max()
    assert error <= 8 * n * EPS * condition
    assert np.abs(A.colorize(W.T) - np.eye(n)).max() <= 8 * n * EPS * condition
    expected = np.linalg.slogdet(scaled)[1] + 2 * np.log(root).sum()
    assert abs(A.logdet() - expected) <= 8 * n * EPS * (condition + np.abs(np.log(root)).sum())


def test_unequal_noise_is_the_plain_pair_where_it_is_equal():
    p = bm.Partition.from_labels([2, 0, 1, 1, 0, 2, 2])
    C = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 3.0]])
    A = bm.BlockFactorMatrix(p, C, [1.0, 2.0, 3.0])
    B = bm.BlockConstantMatrix.from_values(p, C, np.diagonal(C) + [1, 2, 3])
    np.testing.assert_allclose(A.toarray(), B.toarray(), rtol=4 * EPS)
    np.testing.assert_allclose(A.solve(np.arange(7)), B.solve(np.arange(7)), rtol=64 * EPS)
    assert A.logdet() == pytest.approx(B.logdet(), rel=64 * EPS)
    np.testing.assert_allclose((A + B).covariance, 2 * C, rtol=8 * EPS)
    assert type(B + A) is type(A)
    assert type(bm.BlockFactorMatrix(p, C, 1, [1, 1, 1, 1, 1, 1, 2]) + B) is not type(A)


def test_hundred_thousand_independent_groups_need_no_square_array():
    k = 125_066
    A = bm.BlockFactorMatrix(np.repeat(np.arange(k), 2), np.full(k, 0.5), 1.0)
    assert A.nbytes < 100 * k
    x = np.random.default_rng(0).standard_normal(2 * k)
    # Pairs [[1.5, .5], [.5, 1.5]] have the eigenvalues 1 and 2.
    pairs = x.reshape(k, 2)
    means = pairs.mean(1, keepdims=True)
    np.testing.assert_allclose(A.solve(x), (pairs - means / 2).ravel(), atol=32 * EPS * 6)
    assert A.logdet() == pytest.approx(k * np.log(2), rel=1e-12)
    norms = np.sum(A.whiten(x) ** 2), x @ A.solve(x)
    assert norms[0] == pytest.approx(norms[1], rel=1e-12)
    assert "BlockFactorMatrix" in A._repr_html_()
    assert type(A.inv()) is bm.BlockFactorMatrix
    assert A.is_positive_definite()
    assert np.isfinite(A.norm())


def test_samples_have_the_covariance():
    A = spread(0, 2, n=6, k=2)
    draws = multivariate_normal(np.zeros(6), A.as_covariance()).rvs(40_000, random_state=0)
    scale = np.sqrt(A.diagonal())
    error = (np.cov(draws.T) - A.toarray()) / scale / scale[:, None]
    assert np.abs(error).max() < 5 * np.sqrt(2 / 40_000)  # five standard errors


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 1], [1, 0, 1, 1, 0]])
def test_kinds_of_noise_and_loadings(labels):
    C, n = np.eye(2, dtype=np.float32), 5
    for noise in (2, 2.0, [2, 2], [2.0] * 5, np.float32(2)):
        A = bm.BlockFactorMatrix(labels, C, noise)
        assert (A.noise == 2).all()
        assert A.noise.shape == A.loadings.shape == (n,)
    assert bm.BlockFactorMatrix(labels, C, 2).dtype == np.float32  # a number does not widen
    assert bm.BlockFactorMatrix(labels, C, 2.0, 0.5).dtype == np.float32
    assert bm.BlockFactorMatrix(labels, C, np.full(n, 2.0)).dtype == np.float64
    assert bm.BlockFactorMatrix(labels, [1, 1], 2).dtype == np.float64
    per_block = bm.BlockFactorMatrix(labels, C, [1.0, 3.0], [1.0, -1.0])
    np.testing.assert_array_equal(per_block.noise, np.array([1.0, 3.0])[labels])
    np.testing.assert_array_equal(per_block.loadings, np.array([1.0, -1.0])[labels])
    every = bm.BlockFactorMatrix([1, 0], C, [1.0, 3.0])  # as many blocks as variables: of variables
    np.testing.assert_array_equal(every.noise, [1.0, 3.0])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0, 0], [[1.0]], [1.0, 0.0]), ValueError, "noise is 0.0 at index 1; expected positive"),
        (([0, 0], [[1.0]], -1.0), ValueError, "noise is -1.0 at index 0; expected positive"),
        (([0, 0], [[1.0]], np.nan), NonFiniteError, "noise contains nan"),
        (([0, 0, 1], [1.0, 1.0], 1.0, [1.0, 0.0, 0.0]), ValueError, "zero in all of block 1"),
        (([0, 0], [[1.0]], 1.0, 0.0), ValueError, "zero in all of block 0"),
        (([0, 0], [[1.0]], [1.0, 1.0, 1.0]), ShapeError, r"noise has shape \(3,\); expected \(2,"),
        (([0, 0], [[1.0]], 1.0, [[1.0]]), ShapeError, "loadings is 2-d"),
        (([0, 1], [[1.0, 2.0], [0.0, 1.0]], 1.0), NotHermitianError, "covariance is not symmetric"),
        (([0, 1], [1.0], 1.0), ShapeError, r"covariance has shape \(1,\); expected \(2,\) or"),
        (([0, 1], [1j, 1.0], 1.0), DtypeError, "covariance has dtype complex128"),
        (([0, 0], [[1.0]], 1j), DtypeError, "noise has dtype complex128"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        bm.BlockFactorMatrix(*arguments)


def test_complex_vectors_keep_their_precision():
    A = spread(0, 2).astype(np.float32)
    x = np.random.default_rng(0).standard_normal((60, 2)) @ [1, 1j]
    expected = A.toarray().astype(np.float64) @ x
    wide = A.astype(np.float64) @ x
    assert (A @ x).dtype == np.complex128
    np.testing.assert_allclose(A @ x, wide, atol=64 * EPS * np.abs(wide).max())
    assert np.abs(expected - wide).max() < 1e-5 * np.abs(wide).max()


def test_singular_and_indefinite_matrices():
    singular = bm.BlockFactorMatrix([0, 0], [[-0.5]], 1.0)
    assert singular.slogdet() == (0, -np.inf)
    for f in (singular.inv, lambda: singular.solve([1.0, 2.0])):
        with pytest.raises(SingularMatrixError):
            f()
    indefinite = bm.BlockFactorMatrix([0, 0, 1], [-1.0, 1.0], 1.0)
    assert indefinite.slogdet()[0] == -1
    for f in (indefinite.whiten, indefinite.colorize):
        with pytest.raises(IndefiniteMatrixError, match="positive definite"):
            f(np.ones(3))
    np.testing.assert_allclose(
        indefinite @ indefinite.solve([1.0, 2.0, 3.0]), [1, 2, 3], rtol=1e-15
    )


@pytest.mark.parametrize("labels", [np.repeat([0, 1, 2], [5, 1, 14]), np.arange(20) * 7 % 3])
@pytest.mark.parametrize("columns", [(), (0,), (1,), (3,)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("has_weights", [True, False])
def test_weighted_passes(monkeypatch, labels, columns, order, has_weights):
    """Also in small pieces, as long arrays are divided."""
    p, rng = bm.Partition.from_labels(labels), np.random.default_rng(0)
    x = np.asarray(rng.standard_normal((20, *columns)), order=order)
    scale, w = rng.standard_normal((2, 20)) if has_weights else (rng.standard_normal(20), None)
    every = np.ones(20) if w is None else w
    terms, centre = rng.standard_normal((2, 3, *columns))
    Z = np.eye(3)[labels]
    for small in (False, True):
        if small:
            in_small_parts(monkeypatch)
        np.testing.assert_allclose(weighted_sums(p, x, w), Z.T @ (x.T * every).T, atol=40 * EPS)
        difference = x.T - every * centre[labels].T
        expected = Z.T @ (every * scale * difference).T
        np.testing.assert_allclose(weighted_sums(p, x, w, scale, centre), expected, atol=200 * EPS)
        added = every * terms[labels].T
        for c, expected in (
            (None, (x.T * scale + added).T),
            (centre, (scale * (difference + added)).T),
        ):
            result = weighted_add(p, x, scale, w, terms, centre=c)
            np.testing.assert_allclose(result, expected, atol=32 * EPS)
            for layout in "CF":
                out = np.asarray(x.copy(), order=layout)
                assert weighted_add(p, x, scale, w, terms, out, c) is out
                np.testing.assert_allclose(out, expected, atol=32 * EPS)
            out = x.copy(order=order)
            assert weighted_add(p, out, scale, w, terms, out, c) is out  # in place
            np.testing.assert_allclose(out, expected, atol=32 * EPS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shuffled", [False, True])
def test_results_are_bitwise_the_same_for_any_number_of_threads(monkeypatch, dtype, shuffled):
    in_small_parts(monkeypatch)
    A = large(0, 1, shuffled).astype(dtype)
    X = np.random.default_rng(0).standard_normal((A.shape[0], 3)).astype(dtype)

    def results():
        fresh = A.astype(dtype)
        arrays = [
            f(x) for f in (fresh.dot, fresh.solve) for x in (X[:, 0], X, np.asfortranarray(X))
        ]
        return [*arrays, fresh.whiten(X.T), fresh.colorize(X.T), fresh.logdet()]

    bm.set_num_threads(1)
    serial = results()
    for n_threads in (2, 3):
        bm.set_num_threads(n_threads)
        for result, expected in zip(results(), serial, strict=True):
            np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("orders", [0, 6, 12])
@pytest.mark.parametrize("diagonal", [False, True])
def test_factor_scores_are_those_of_the_joint_distribution(orders, diagonal):
    A, rng = spread(0, orders), np.random.default_rng(1)
    if diagonal:
        c = np.diagonal(A.covariance)
        A = bm.BlockFactorMatrix(A.partition, c, A.noise, A.loadings)
    C = np.diag(A.covariance) if diagonal else A.covariance
    L = A.loadings[:, None] * A.partition.indicator().toarray()
    x, mean = rng.standard_normal((3, 60)) @ np.linalg.cholesky(A.toarray()).T, rng.normal(size=60)
    W = L.T @ (L / A.noise[:, None])  # (I + C W)^-1 C and its product with the weighted sums
    scores, covariance = A.factor_scores(x + mean, mean)
    size = np.linalg.cond(np.eye(4) + C @ W) * EPS
    expected = np.linalg.solve(np.eye(4) + C @ W, C)
    np.testing.assert_allclose(
        np.diag(covariance) if diagonal else covariance, expected, atol=100 * size * np.abs(C).max()
    )
    fitted = expected @ (L.T @ (x.T / A.noise[:, None]))
    # the rounding of x + mean - mean is that of the deviations
    np.testing.assert_allclose(scores.T, fitted, atol=1e3 * size * np.abs(fitted).max())
    one, _ = A.factor_scores(x[0])
    np.testing.assert_allclose(one, fitted[:, 0], atol=1e3 * size * np.abs(fitted).max())
    assert covariance.shape == ((4,) if diagonal else (4, 4))


@pytest.mark.parametrize("diagonal", [False, True])
def test_factor_scores_of_samples_with_gaps_are_those_given_the_observed_values(diagonal):
    A, rng = spread(0, 1), np.random.default_rng(1)
    if diagonal:
        A = bm.BlockFactorMatrix(A.partition, np.diagonal(A.covariance), A.noise, A.loadings)
    C = np.diag(A.covariance) if diagonal else A.covariance
    cross = C @ (A.loadings[:, None] * A.partition.indicator().toarray()).T
    x, mean = rng.normal(size=(6, 60)), rng.normal(size=60)
    x[rng.random(x.shape) < 0.3] = np.nan
    x[1, A.partition.labels == 2] = np.nan  # nothing of a block is observed
    x[2] = np.nan
    x[3] = rng.normal(size=60)
    x[5] = np.where(np.isnan(x[0]), np.nan, x[5])  # the same gaps, if any more
    scores, covariance = A.factor_scores(x, mean, missing="em")
    for t, row in enumerate(x):
        seen = ~np.isnan(row)
        gain = np.linalg.solve(A.toarray()[np.ix_(seen, seen)], cross[:, seen].T).T
        own = C - gain @ cross[:, seen].T
        np.testing.assert_allclose(scores[t], gain @ (row - mean)[seen], atol=1e-11)
        np.testing.assert_allclose(covariance[t], np.diagonal(own) if diagonal else own, atol=1e-11)
        one, its = A.factor_scores(row, mean, missing="em")
        np.testing.assert_array_equal(one, scores[t])
        np.testing.assert_array_equal(its, covariance[t])
    complete, shared = A.factor_scores(x[3], mean)
    np.testing.assert_array_equal(complete, scores[3])
    np.testing.assert_array_equal(shared, covariance[3])


def test_factor_scores_of_a_gap_among_loadings_of_zero_and_wrong_options():
    A = bm.BlockFactorMatrix([0, 0, 1], np.float32([1, 2]), np.float32(1), np.float32([1, 0, 1]))
    scores, covariance = A.factor_scores(np.float32([np.nan, 5, 2]), missing="em")
    np.testing.assert_allclose(scores, [0, 4 / 3], rtol=1e-6)
    np.testing.assert_allclose(covariance, [1, 2 / 3], rtol=1e-6)
    assert scores.dtype == covariance.dtype == np.float32
    with pytest.raises(NonFiniteError, match="x contains inf"):
        A.factor_scores([1, np.nan, np.inf], missing="em")
    with pytest.raises(ValueError, match="missing is 'pairwise'; expected 'raise' or 'em'"):
        A.factor_scores(np.ones(3), missing="pairwise")


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("missing", ["raise", "em"])
def test_factor_scores_of_float32_are_rounded_once(missing, diagonal):
    """They are those of the same numbers in double precision, rounded: the error is half an eps."""
    A, rng = spread(0, 1), np.random.default_rng(1)
    if diagonal:
        A = bm.BlockFactorMatrix(A.partition, np.diagonal(A.covariance), A.noise, A.loadings)
    A = A.astype(np.float32)
    x = rng.normal(size=(4, 60)).astype(np.float32)
    mean = rng.normal(100, 1, 60).astype(np.float32)
    if missing == "em":
        x[0], x[1, ::2], x[2, A.partition.labels == 1] = np.nan, np.nan, np.nan
    for found, exact in zip(
        A.factor_scores(x, mean, missing=missing),
        A.astype(np.float64).factor_scores(x.astype(float), mean.astype(float), missing=missing),
        strict=True,
    ):
        assert (found.dtype, exact.dtype) == (np.float32, np.float64)
        np.testing.assert_array_equal(found, exact.astype(np.float32))


@pytest.mark.parametrize("missing", ["raise", "em"])
def test_factor_scores_of_no_samples(missing):
    scores, covariance = spread(0, 1).factor_scores(np.empty((0, 60)), missing=missing)
    assert scores.shape == (0, 4)
    assert covariance.shape == ((0, 4, 4) if missing == "em" else (4, 4))


def test_factor_scores_keep_float32_and_refuse_wrong_arguments():
    A = bm.BlockFactorMatrix([0, 0, 1], np.float32([1, 2]), np.float32(1))
    scores, covariance = A.factor_scores(np.float32([1, 2, 3]))
    assert scores.dtype == covariance.dtype == np.float32
    assert A.factor_scores(np.ones(3))[0].dtype == np.float64
    for x, mean, error, message in (
        (np.ones(2), None, ShapeError, r"x has shape \(2,\); expected \(3,\) or \(q, 3\)"),
        (np.ones(3), [1.0], ShapeError, r"mean has shape \(1,\); expected \(3,\)"),
        (np.ones(3) * 1j, None, DtypeError, "x has dtype complex128"),
        ([1, 2, np.nan], None, NonFiniteError, "x contains nan"),
    ):
        with pytest.raises(error, match=message):
            A.factor_scores(x, mean)
    with pytest.raises(IndefiniteMatrixError, match="not positive definite"):
        bm.BlockFactorMatrix([0, 0], [-1.0], 1.0).factor_scores([1.0, 2.0])


def test_scores_of_125066_groups_make_no_dense_matrix():
    p = bm.Partition.uniform(125_066, 4)
    A = bm.BlockFactorMatrix(p, np.full(p.n_blocks, 0.5), 2.0)
    x = np.random.default_rng(0).standard_normal(p.n)
    scores, variances = A.factor_scores(x)
    np.testing.assert_allclose(scores, 0.25 * p.block_sums(x) / 2, atol=8 * EPS)
    np.testing.assert_allclose(variances, 0.25, atol=8 * EPS)


@pytest.mark.parametrize("independent", [False, True])
def test_the_picture_of_many_blocks_is_that_of_the_block_constant_matrix(independent):
    """Neighbouring blocks are averaged, and none is left out."""
    rng = np.random.default_rng(0)
    p = bm.Partition.from_sizes(rng.integers(2, 9, 100))
    root = rng.standard_normal((100, 100)) / 10
    C = np.diag(rng.uniform(1, 2, 100)) if independent else root @ root.T
    B = bm.BlockConstantMatrix.from_values(p, C, np.diagonal(C) + 1)
    A = bm.BlockFactorMatrix(p, np.diagonal(C) if independent else C, 1.0)
    assert A._repr_html_().split("<svg")[1] == B._repr_html_().split("<svg")[1]
