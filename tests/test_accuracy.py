"""Inverse and inverse square root against mpmath at 50 digits."""

import mpmath
import numpy as np
import pytest

import blockmat as bm

DIGITS = 50


def graded(k, condition, seed):
    """A symmetric matrix with eigenvalues from 1 down to 1 / condition, to 50 digits."""
    rng = np.random.default_rng(seed)
    with mpmath.workdps(DIGITS):
        basis, _ = mpmath.qr(mpmath.matrix(rng.standard_normal((k, k)).tolist()))
        values = [mpmath.mpf(condition) ** (-mpmath.mpf(i) / max(k - 1, 1)) for i in range(k)]
        product = basis * mpmath.diag(values) * basis.T
        return np.array([[float(product[i, j]) for j in range(k)] for i in range(k)])


def exact_functions(core):
    """Inverse, inverse square root and condition number of the stored numbers."""
    with mpmath.workdps(DIGITS):
        matrix = mpmath.matrix(core.astype(float).tolist())
        values, vectors = mpmath.eigsy(matrix)
        assert min(values) > 0
        inverse = vectors * mpmath.diag([1 / w for w in values]) * vectors.T
        root = vectors * mpmath.diag([1 / mpmath.sqrt(w) for w in values]) * vectors.T
        return inverse, root, float(max(values) / min(values))


def relative_error(computed, exact):
    with mpmath.workdps(DIGITS):
        k = len(computed)
        difference = mpmath.matrix(computed.astype(float).tolist()) - exact
        total = mpmath.fsum(difference[i, j] ** 2 for i in range(k) for j in range(k))
        size = mpmath.fsum(exact[i, j] ** 2 for i in range(k) for j in range(k))
        return float(mpmath.sqrt(total / size))


@pytest.mark.parametrize("k", [1, 2, 5, 20])
@pytest.mark.parametrize("condition", [1.0, 1e4, 1e8, 1e12])
def test_float64(k, condition):
    check(graded(k, condition, seed=k), np.float64)


@pytest.mark.parametrize("k", [1, 2, 5, 20])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4, 1e5])
def test_float32(k, condition):
    check(graded(k, condition, seed=k).astype(np.float32), np.float32)


@pytest.mark.parametrize("condition", [1e8, 1e12])
def test_float32_beyond_its_rounding(condition):
    """Diagonal dominance keeps these float32 numbers positive definite whatever their rounding."""
    scale = np.geomspace(1, condition**-0.5, 12)
    core = (0.5 ** np.abs(np.subtract.outer(np.arange(12), np.arange(12)))) * np.outer(scale, scale)
    check(((core + core.T) / 2).astype(np.float32), np.float32)


def check(core, dtype):
    k = len(core)
    core = ((core + core.T) / 2).astype(dtype)
    inverse, root, condition = exact_functions(core)
    A = bm.BlockConstantMatrix(bm.Partition.uniform(k, 3), core, np.ones(k, dtype))
    bound = 100 * np.finfo(dtype).eps * condition
    assert relative_error(A.inv().between, inverse) <= bound
    assert relative_error(A.invsqrtm().between, root) <= bound
    solution = A.solve(np.ones(3 * k, dtype))[::3]
    with mpmath.workdps(DIGITS):
        exact = inverse * mpmath.matrix([1] * k)
    exact = np.array([float(x) for x in exact])
    assert np.linalg.norm(solution - exact) <= bound * np.linalg.norm(exact) * 10
