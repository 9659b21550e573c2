"""A change of units by a power of two changes results by the power that the formula says.

Powers of two change no digit, so the result must be the same to the last one where nothing over-
or underflows, and to rounding where logarithms of the unit are added.
"""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

import blockmat as bm
from blockmat.covariance import BlockCovariance
from blockmat.inference import (
    confidence_intervals,
    kl_divergence,
    likelihood_ratio_test,
    log_likelihood,
)
from tests import cases

LABELS = np.repeat([0, 1, 2], [7, 5, 4])
P = bm.Partition.from_labels(LABELS)
# Of samples: their squares are variances, and those of 2^-505 and 2^510 are within the range.
SAMPLES = [-505, -300, -41, 37, 290, 505]
# Of entries of a matrix: nearly the whole range.
ENTRIES = [-1010, -600, -41, 37, 600, 1005]
over_samples = pytest.mark.parametrize("q", SAMPLES)
over_entries = pytest.mark.parametrize("q", ENTRIES)


def times(x, q):
    """``x * 2**q``, also where 2^q itself is out of range."""
    return x * 2.0 ** (q // 2) * 2.0 ** (q - q // 2)


def samples(n_samples=40, n=16, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, 3))[:, LABELS[:n]] + rng.standard_normal((n_samples, n))
    return X + 0.5


def matrix(seed=0):
    rng = np.random.default_rng(seed)
    A = 3 * np.kron(rng.standard_normal((3, 3)), np.ones((1, 1)))[LABELS][:, LABELS]
    A = A + A.T + 0.1 * rng.standard_normal((16, 16))
    return (A + A.T) / 2


def same(A, B, q):
    """Whether A is B times 2^q, to the last digit."""
    np.testing.assert_array_equal(A.between, times(B.between, q))
    np.testing.assert_array_equal(A.within, times(B.within, q))


@over_entries
@pytest.mark.parametrize("aligned", [False, True])
def test_fit(q, aligned):
    A = matrix()
    for make in (np.array, np.asfortranarray, sp.csr_array, aslinearoperator):
        options = {"aligned": aligned, "random_state": 0}
        same(bm.fit(make(times(A, q)), P, **options), bm.fit(make(A), P, **options), q)


def test_fit_of_sums_that_overflow():
    """A sum of 10^6 numbers near the largest, of which M and d are in range."""
    n = 1000
    p = bm.Partition.from_sizes([n - 100, 100])
    S = np.random.default_rng(0).standard_normal((n, n)) / 4 + np.eye(n) / 2
    S[900:, 900:] += 0.25
    S *= 0.25
    for q in (1005, 1013):  # M is up to 2^6, the sum up to 2^12
        for make in (np.array, np.asfortranarray, sp.csr_array, aslinearoperator):
            options = {"diagonal": times(np.diagonal(S), q)} if make is aslinearoperator else {}
            A = bm.fit(make(times(S, q)), p, **options)
            assert np.isfinite(A.between).all()
            options = {"diagonal": np.diagonal(S)} if make is aslinearoperator else {}
            same(A, bm.fit(make(S), p, **options), q)
    S[0, 0] = np.nan
    A = bm.fit(S, p, check_finite=False)
    assert np.isnan(A.within[0])
    assert np.isfinite(A.within[1])


@over_samples
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("assume_centered", [False, True])
def test_fit_samples(q, aligned, assume_centered):
    options = {"aligned": aligned, "assume_centered": assume_centered}
    X = samples()
    same(bm.fit_samples(times(X, q), P, **options), bm.fit_samples(X, P, **options), 2 * q)
    acc, other = (bm.BlockAccumulator(P, aligned) for _ in range(2))
    for a, Y in ((acc, X), (other, times(X, q))):
        a.add_samples(Y[:15])
        a.decay(0.5)
        a.add_samples(Y[15:])
    same(other.covariance(), acc.covariance(), 2 * q)
    same(other.matrix(), acc.matrix(), 2 * q)


def test_fit_samples_of_sums_that_overflow():
    """2000 squares of 2^510 are more than the largest number, and their mean is not."""
    X = samples(2000)
    for options in ({}, {"assume_centered": True}, {"aligned": True}):
        A = bm.fit_samples(times(X, 508), P, **options)
        same(A, bm.fit_samples(X, P, **options), 1016)


@over_entries
@pytest.mark.parametrize("aligned", [False, True])
def test_approximation_error(q, aligned):
    S = matrix()
    A = bm.fit(S, P, aligned=aligned)
    scale = np.random.default_rng(1).uniform(0.5, 1, 16)
    scaled = bm.ScaledBlockMatrix(bm.fit(S, P), scale)
    B = bm.BlockConstantMatrix(P, times(A.between, q), times(A.within, q))
    own = scaled.matrix
    for source, changed in [
        (S, times(S, q)),
        (np.asfortranarray(S), np.asfortranarray(times(S, q))),
        (sp.csr_array(np.where(S > 1, S, 0)), sp.csr_array(times(np.where(S > 1, S, 0), q))),
        (aslinearoperator(S), aslinearoperator(times(S, q))),
        (bm.fit(S, np.arange(16) % 4), bm.fit(times(S, q), np.arange(16) % 4)),
        (
            scaled,
            bm.ScaledBlockMatrix(
                bm.BlockConstantMatrix(P, times(own.between, q), times(own.within, q)), scale
            ),
        ),
        (scaled, bm.ScaledBlockMatrix(own, times(scale, q // 2)) if q % 2 == 0 else None),
        (
            bm.BlockPlusLowRank(0 * own, S[:, :2]),
            bm.BlockPlusLowRank(0 * own, times(S[:, :2], q // 2)) if q % 2 == 0 else None,
        ),
    ]:
        if changed is not None:
            expected = bm.approximation_error(source, A, random_state=0)
            assert expected > 0.01
            error = bm.approximation_error(changed, B, random_state=0)
            assert error == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("q", [-1000, -300, 300, 1000])
@pytest.mark.parametrize("make", [np.array, sp.csr_array, aslinearoperator])
def test_approximation_error_of_a_fit_in_other_units(q, make):
    """It is |A| / |S|, or 1, beside which the other matrix is nothing."""
    S = matrix()
    A = bm.fit(S, P)
    error = bm.approximation_error(make(times(S, q)), A, random_state=0)
    expected = 1 if q > 0 else times(float(A.norm()) / np.linalg.norm(S), -q)
    assert error == pytest.approx(expected, rel=1e-14 if make is not aslinearoperator else 0.1)


@over_samples
@pytest.mark.parametrize("labels", [None, LABELS])
def test_optimal_shrinkage(q, labels):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((80, 4)) @ rng.standard_normal((4, 16)) + rng.standard_normal((80, 16))
    result = bm.optimal_shrinkage(times(X, q), labels)
    assert 0.01 < result < 0.5
    assert result == pytest.approx(bm.optimal_shrinkage(X, labels), rel=1e-14)


@pytest.mark.parametrize("options", [{}, {"signs": True}, {"criterion": "cv"}])
def test_find_partition_of_samples(options):
    X = samples(60)
    expected = str(bm.find_partition(X, samples=True, **options))
    for q in [-505, 1000] if options else [-1000, *SAMPLES, 1000]:
        assert str(bm.find_partition(times(X, q), samples=True, **options)) == expected, q


def test_units_of_samples_do_not_change_a_path():
    X = samples(60)
    units = np.ldexp(1.0, np.random.default_rng(0).integers(-1000, 1000, 16))
    path, other = (bm.partition_path(Y, samples=True, max_blocks=5) for Y in (X, X * units))
    assert other.partitions == path.partitions
    np.testing.assert_array_equal(other.loss, path.loss)


@over_entries
@pytest.mark.parametrize("make", [np.array, sp.csr_array])
def test_find_partition_of_a_matrix(q, make):
    A = matrix()
    path = bm.partition_path(make(A), max_blocks=6)
    with np.errstate(over="ignore"):  # of the loss, a square
        other = bm.partition_path(make(times(A, q)), max_blocks=6)
    assert other.partitions == path.partitions
    assert path.best.n_blocks == 3
    assert other.best == path.best
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(other.loss, times(path.loss, 2 * q))
    shift = 2 * q * np.log(2) * 16 * 17 / 2
    np.testing.assert_allclose(other.criterion, path.criterion + shift, rtol=1e-12)


@over_entries
@pytest.mark.parametrize("make", [np.array, sp.csr_array])
def test_cocluster(q, make):
    A = matrix()[:, :10]
    rows, cols, loss = bm.cocluster(make(A), 3, 2)
    with np.errstate(over="ignore"):
        other = bm.cocluster(make(times(A, q)), 3, 2)
        assert other == (rows, cols, times(loss, 2 * q))


@over_samples
def test_likelihoods_tests_and_intervals(q):
    X = samples()
    A, B = bm.fit_samples(X, P), bm.fit_samples(times(X, q), P)
    shift = X.size * q * np.log(2)
    changed = log_likelihood(times(X, q), B, times(X.mean(0), q))
    assert changed == pytest.approx(log_likelihood(X, A, X.mean(0)) - shift, rel=1e-12)
    coarse = np.minimum(LABELS, 1)
    test = likelihood_ratio_test(times(X, q), coarse, LABELS)
    assert test.statistic == pytest.approx(likelihood_ratio_test(X, coarse, LABELS).statistic)
    for changed, expected in zip(
        confidence_intervals(B, 39), confidence_intervals(A, 39), strict=True
    ):
        np.testing.assert_allclose(changed, times(expected, 2 * q), rtol=1e-12)
    other = bm.fit_samples(samples(seed=1), P)
    moved = bm.BlockConstantMatrix(P, times(other.between, 2 * q), times(other.within, 2 * q))
    assert kl_divergence(moved, B) == pytest.approx(kl_divergence(other, A), rel=1e-12)
    scale = np.linspace(1, 2, 16)
    pair = bm.ScaledBlockMatrix(A, scale), bm.ScaledBlockMatrix(other, scale[::-1])
    wide = (
        bm.ScaledBlockMatrix(A, times(scale, q)),
        bm.ScaledBlockMatrix(other, times(scale[::-1], q)),
    )
    assert kl_divergence(*wide) == pytest.approx(kl_divergence(*pair), rel=1e-12)


@pytest.mark.parametrize("shrinkage", ["nonlinear", None, 0.5, "optimal", "cv"])
@pytest.mark.parametrize("labels", [None, LABELS])
@pytest.mark.parametrize("scaled", [False, True])
@over_samples
def test_the_estimator(shrinkage, labels, scaled, q):
    X = samples()
    options = {"shrinkage": shrinkage, "scaled": scaled}
    model, other = (BlockCovariance(labels, **options).fit(Y) for Y in (X, times(X, q)))
    assert other.partition_ == model.partition_
    # The place of a maximum is known to the root of rounding.
    rtol = 1e-7 if shrinkage == "cv" else 1e-12
    assert other.shrinkage_ == pytest.approx(model.shrinkage_, rel=rtol)
    np.testing.assert_allclose(other.covariance_, times(model.covariance_, 2 * q), rtol=rtol)
    np.testing.assert_array_equal(other.location_, times(model.location_, q))
    assert other.score(times(X, q)) == pytest.approx(model.score(X) - 16 * q * np.log(2))
    np.testing.assert_allclose(other.mahalanobis(times(X, q)), model.mahalanobis(X), rtol=1e-7)
    error = model.error_norm(np.eye(16), squared=False)
    changed = other.error_norm(times(np.eye(16), 2 * q), squared=False)
    assert changed == pytest.approx(times(error, 2 * q), rel=1e-6)


# Operations of the matrices themselves: name, power of the unit, function


def kinds():
    for hermitian in (True, False):
        for aligned in (True, False):
            A = cases.make(bm.Partition.from_sizes([3, 1, 4, 3]), np.float64, aligned, hermitian)
            yield f"{'hermitian' if hermitian else 'general'}{' aligned' * aligned}", A
    A = cases.make(bm.Partition.from_sizes([3, 1, 4, 3]), np.float64, False, True)
    V = np.random.default_rng(0).standard_normal((11, 2))
    scale = np.geomspace(0.1, 10, 11)
    factor = bm.BlockFactorMatrix(A.partition, np.eye(4) + 0.3, scale, scale[::-1])
    yield "scaled", bm.ScaledBlockMatrix(A, scale)
    yield "factor", factor
    yield "low rank", A.add_low_rank(V)
    yield "low rank on factor", factor.add_low_rank(V)


X = np.random.default_rng(1).standard_normal((11, 2))
OPERATIONS = {
    "product": (1, lambda A: A @ X),
    "array": (1, lambda A: A.toarray()),
    "diagonal": (1, lambda A: A.diagonal()),
    "trace": (1, lambda A: A.trace()),
    "norm": (1, lambda A: A.norm()),
    "svdvals": (1, lambda A: A.svdvals()[0]),
    "svdvals(norms)": (1, lambda A: [A.norm(o) for o in ("nuc", 2, -2, 1, -1, np.inf, -np.inf)]),
    "eigvalsh": (1, lambda A: A.eigvalsh()[0]),
    "nearest_psd": (1, lambda A: A.nearest_psd().toarray()),
    "colorize": (0.5, lambda A: A.colorize(X.T)),
    "sqrtm": (0.5, lambda A: A.sqrtm().toarray()),
    "powm": (0.25, lambda A: A.powm(0.25).toarray()),
    "cond": (0, lambda A: [A.cond(p) for p in (None, 1, "fro")]),
    "questions": (0, lambda A: [A.is_hermitian, A.is_positive_definite(), A.matrix_rank()]),
    "invsqrtm": (-0.5, lambda A: A.invsqrtm().toarray()),
    "is_positive_definite": (0, lambda A: A.is_positive_definite()),
    "whiten": (-0.5, lambda A: A.whiten(X.T)),
    "pinv": (-1, lambda A: A.pinv().toarray()),
    "inv": (-1, lambda A: A.inv().toarray()),
    "solve": (-1, lambda A: A.solve(X)),
    "powm(-1.25)": (-1.25, lambda A: A.powm(-1.25).toarray()),
}


@pytest.mark.parametrize("q", [-1000, -600, -40, 40, 600, 1000])
@pytest.mark.parametrize(("kind", "A"), list(kinds()), ids=[name for name, _ in kinds()])
def test_operations_of_matrices(q, kind, A):
    B = (
        bm.BlockPlusLowRank(times(A.base, q), A.factor, times(A.core, q))
        if kind.startswith("low rank")
        else times(A, q)
    )
    for name, (power, operation) in OPERATIONS.items():
        method = name.partition("(")[0]
        if (
            kind.startswith(("scaled", "factor", "low rank"))
            and not hasattr(A, method)
            and name not in ("product", "array")
        ):
            continue
        if kind == "low rank on factor" and name == "eigvalsh":
            continue
        if kind.startswith("general") and name in ("eigvalsh", "whiten", "colorize"):
            continue
        if abs(power * q) > 1000:
            continue
        expected = times(np.asarray(operation(A), dtype=float), int(power * q))
        # scaled exactly, but for roots of eigenvalues and the powers of functions from SciPy
        np.testing.assert_allclose(
            operation(B), expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max(), err_msg=name
        )
    sign, logdet = B.slogdet()
    assert sign == A.slogdet()[0]
    np.testing.assert_allclose(logdet, A.slogdet()[1] + 11 * q * np.log(2), rtol=1e-12)


@pytest.mark.parametrize("q", [-1000, -600, 600, 900])
def test_divergences_from_factors_in_any_unit(q):
    matrices = dict(kinds())
    labels = [0] * 5 + [1] * 6
    for covariance in ([1.0, 2.0], [[1.0, 0.5], [0.5, 2.0]]):
        B = bm.BlockFactorMatrix(labels, covariance, 1.0, np.linspace(1, 2, 11))
        for A in (
            matrices["scaled"],
            matrices["factor"],
            bm.BlockConstantMatrix([0] * 11, [4], [1]),
        ):
            assert kl_divergence(times(A, q), times(B, q)) == pytest.approx(kl_divergence(A, B))


@pytest.mark.parametrize("q", [-1000, 600, 1000])
def test_right_hand_sides_of_low_rank_in_any_unit(q):
    """Also those whose squares are out of range are refined."""
    A = dict(kinds())["low rank"]
    np.testing.assert_array_equal(A.solve(times(X, q)), times(A.solve(X), q))


@pytest.mark.parametrize("q", [-1000, -600, 600, 1000])
def test_operations_of_rectangular_matrices(q):
    core = np.random.default_rng(0).standard_normal((3, 2))
    A = bm.BlockRectangularMatrix([0, 0, 1, 2], [0, 1, 1], core)
    B = bm.BlockRectangularMatrix([0, 0, 1, 2], [0, 1, 1], times(core, q))
    np.testing.assert_allclose(B.pinv().between, times(A.pinv().between, -q), rtol=1e-12)
    for ord in (None, "nuc", 2):
        np.testing.assert_allclose(B.norm(ord), times(A.norm(ord), q), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("q", [-110, -80, 70, 110])
def test_errors_of_single_precision(q, dtype):
    S = np.array([[2, 1, 0], [1, 4, 1], [0, 1, 3]], dtype)
    expected = bm.approximation_error(S, bm.fit(S, [0, 0, 1]))
    for make in (np.array, np.asfortranarray, sp.csr_array):
        T = make(times(S, q).astype(dtype))
        A = bm.fit(T, [0, 0, 1])
        np.testing.assert_allclose(bm.approximation_error(T, A), expected, rtol=1e-6)
        np.testing.assert_allclose(
            A.norm(), times(float(bm.fit(S, [0, 0, 1]).norm()), q), rtol=1e-6
        )


@pytest.mark.parametrize("factor", [1e200, 1e-200, 1.0])
def test_condition_numbers_in_any_unit(factor):
    A = bm.BlockConstantMatrix([0, 0, 1], np.array([[4.0, 1], [1, 3]]) * factor, [2 * factor, 0])
    dense = A.toarray() / factor
    for p in (None, "fro", 1, np.inf, "nuc", -2):
        np.testing.assert_allclose(A.cond(p), np.linalg.cond(dense, p), rtol=1e-12)
