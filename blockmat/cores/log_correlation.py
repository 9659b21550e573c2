"""The diagonal of the logarithm of a correlation matrix, from its other entries.

``log C`` has the pair ``(Gamma + diag(y), y)``. Gamma is given, and y is such that C has ones on its
diagonal (:ref:`theory-parameters`). Arrays are those of `blockmat.cores.pair`.
"""

from typing import Any, NamedTuple

from array_api_compat import device

from blockmat.cores.pair import Array, namespace

_MAX_ITERATIONS = 5000
_LARGEST_ROUNDING = 1e-8  # of a diagonal of ones
_LONGEST_STEP = 64.0  # of Newton's method in an entry of y; exp(64) is far from any solution


class Logarithm(NamedTuple):
    """The eigendecomposition of ``Gamma + diag(y)`` at some y, and the diagonal of C there."""

    y: Array  # (..., k)
    eigenvalues: Array  # (..., k)
    vectors: Array  # (..., k, k)
    log_diagonal: Array  # (..., k), 0 at the solution

    @property
    def residual(self) -> Array:
        """The largest magnitude of `log_diagonal`, (...)."""
        return namespace(self.y).max(abs(self.log_diagonal), axis=-1)

    @property
    def rounding(self) -> Array:
        """The rounding error of `residual`, (...): ``8 sqrt(k) eps`` times the norm of log C."""
        xp, k = namespace(self.y), self.y.shape[-1]
        norm = 1 + xp.max(abs(self.eigenvalues), axis=-1) + xp.max(abs(self.y), axis=-1)
        return 8 * k**0.5 * float(xp.finfo(self.y.dtype).eps) * norm


def solve_log_diagonal(free: Array, sizes: Array) -> Logarithm | None:
    """Return ``log C`` with the y for which C has ones on its diagonal, or None if it is not found.

    Gamma, `free` (..., k, k), is symmetric with zeros on the diagonal for blocks of one member.
    An iteration is the step of Archakov and Hansen, ``y <- y - log diag(C)``, which always
    converges but may be slow. Where that does not halve the residual, a step of Newton's method is
    tried, and taken if it does. After a trial that fails, the next one waits twice as long.
    """
    xp = namespace(free)
    start = -xp.linalg.eigvalsh(free)[..., -1:]
    at = _evaluate(free, start + xp.zeros_like(free[..., 0]), sizes)
    if xp.any(at.rounding > _LARGEST_ROUNDING):
        return None
    next_trial, wait = 1, 1
    for iteration in range(_MAX_ITERATIONS):
        if xp.all(at.residual <= at.rounding):
            return at
        new = _evaluate(free, at.y - at.log_diagonal, sizes)
        if iteration >= next_trial and not xp.all(_is_better(new, at)):
            step = -solve_columns(jacobian(at, sizes), at.log_diagonal)
            newton = _evaluate(free, at.y + xp.clip(step, -_LONGEST_STEP, _LONGEST_STEP), sizes)
            is_better = _is_better(newton, at)
            wait = 1 if xp.all(is_better) else 2 * wait
            next_trial = iteration + wait
            new = _evaluate(free, xp.where(is_better[..., None], newton.y, new.y), sizes)
        at = new
    return None


def _is_better(new: Logarithm, old: Logarithm) -> Array:
    """Tell whether a step has at least halved the residual, or made it as small as rounding."""
    return (new.residual <= old.residual / 2) | (new.residual <= new.rounding)


def jacobian(at: Logarithm, sizes: Array) -> Array:
    """Return the derivative (..., k, k) of ``log diag(C)`` by y.

    With w and V of ``Gamma + diag(y)`` it is ``diag(t)^-1 H``, where t_b is n_b times the diagonal
    of C in block b, and ``H_bc = sum_ij V_bi V_bj L_ij V_ci V_cj + [b = c] (n_b - 1) exp(y_b)``.
    L_ij is the divided difference of exp at w_i and w_j.
    """
    y, eigenvalues, vectors, _ = at
    xp, k = namespace(y), y.shape[-1]
    top = eigenvalues[..., -1:]
    products = vectors[..., :, :, None] * vectors[..., :, None, :]
    weighted = products * _divided_differences(eigenvalues - top)[..., None, :, :]
    flat = (*y.shape[:-1], k, k * k)
    H = xp.reshape(weighted, flat) @ xp.matrix_transpose(xp.reshape(products, flat))
    own, total = _diagonals(y - top, eigenvalues - top, vectors, sizes)
    eye = xp.eye(k, dtype=y.dtype, device=device(y))
    # The eigenvalues of the derivative are between 0 and 1; eps makes it invertible.
    return (H + eye * own[..., None]) / total[..., None] + float(xp.finfo(y.dtype).eps) * eye


def solve_columns(a: Array, b: Array) -> Array:
    """Return ``a^-1 b`` for vectors b (..., k)."""
    return namespace(a).linalg.solve(a, b[..., None])[..., 0]


def _evaluate(free: Array, y: Array, sizes: Array) -> Logarithm:
    xp = namespace(free)
    eye = xp.eye(y.shape[-1], dtype=y.dtype, device=device(y))
    eigenvalues, vectors = xp.linalg.eigh(free + eye * y[..., None])
    top = eigenvalues[..., -1:]
    _, total = _diagonals(y - top, eigenvalues - top, vectors, sizes)
    return Logarithm(y, eigenvalues, vectors, top + xp.log(total / sizes))


def _diagonals(y: Array, eigenvalues: Array, vectors: Array, sizes: Array) -> tuple[Array, Array]:
    """Return ``(n - 1) exp(y)``, and n times the diagonal of C, which is at least tiny."""
    xp = namespace(y)
    own = (sizes - 1) * xp.exp(y)
    total = (vectors**2 @ xp.exp(eigenvalues)[..., None])[..., 0] + own
    tiny: Any = float(xp.finfo(y.dtype).smallest_normal)
    return own, xp.where(total > tiny, total, tiny)


def _divided_differences(w: Array) -> Array:
    """Return ``(exp(w_i) - exp(w_j)) / (w_i - w_j)`` (..., k, k), and ``exp(w_i)`` if they are equal.

    It is ``exp(m) sinh(h) / h`` for the mean m and half the difference h.
    """
    xp = namespace(w)
    mean = (w[..., :, None] + w[..., None, :]) / 2
    half = abs(w[..., :, None] - w[..., None, :]) / 2
    is_small = half < 1e-3
    safe = xp.where(is_small, 1.0, half)
    series = xp.exp(mean) * (1 + half**2 / 6)  # the next term, half^4 / 120, is below 1e-14
    return xp.where(is_small, series, (xp.exp(mean + safe) - xp.exp(mean - safe)) / (2 * safe))
