"""Damped inverse square roots of stacks of positive semi-definite matrices, by products only.

There is no decomposition, so nothing waits for the host, and equal sizes are one batch. With X the
core divided by its norm, the steps ``Y <- Y p(Z Y)`` and ``Z <- p(Z Y) Z`` from ``Y = X`` and
``Z = I`` compute ``Z = f(X^(1/2)) X^(-1/2)``, where f is the composition of the odd polynomials
``x p(x^2)`` (:ref:`theory-momentum`).
"""

import torch
from torch import Tensor

# The coefficients of x, x^3, and so on. Each polynomial minimises the largest error on what the ones
# before it make of numbers from 0.003 to 1, by the Remez algorithm; Amsel et al., "The Polar Express",
# arXiv:2505.16932, do so for degree 5. The composition takes these numbers to 1 +- 0.125, and smaller
# ones to at most 341 times their size. Degree 9 needs the fewest products for that, which are 12.
COEFFICIENTS = (
    (14.65439302, -140.2109266, 456.9521181, -575.5151213, 245.3932292),
    (6.358224335, -14.9401352, 12.49223196, -4.076323226, 0.4520128659),
    (3.660396286, -7.140163523, 6.590058334, -2.584092007, 0.3570728566),
)


def inverse_root(cores: Tensor, norms: Tensor, damping: float) -> Tensor:
    """Return about ``(D + s I)^(-1/2)`` of symmetric cores D (B, k, k).

    `norms` (B,) are at least the Frobenius norms, and s is `damping` times them. The result is 0 where
    they are so small that entries of D lose digits.
    """
    norm = norms.view(-1, 1, 1)
    exists = norm > torch.finfo(cores.dtype).tiny / torch.finfo(cores.dtype).eps
    x = cores / (torch.where(exists, norm, torch.inf) * (1 + damping))
    _diagonal(x).add_(damping / (1 + damping))
    z = _polynomial(x, COEFFICIENTS[0])  # the first Z is the identity
    y = x @ z
    for coefficients in COEFFICIENTS[1:-1]:
        p = _polynomial(z @ y, coefficients)
        y, z = y @ p, p @ z
    z = _polynomial(z @ y, COEFFICIENTS[-1]) @ z
    return z * torch.where(exists, norm * (1 + damping), torch.inf).rsqrt()


def frobenius_norms(cores: Tensor) -> Tensor:
    """Return the norms (B,) of cores (B, k, k), whose squares may underflow."""
    largest = cores.abs().amax((-2, -1), keepdim=True)
    unit = cores / torch.where(largest > 0, largest, 1)
    norms: Tensor = torch.linalg.matrix_norm(unit) * largest.view(-1)
    return norms


def _polynomial(t: Tensor, c: tuple[float, ...]) -> Tensor:
    """Return ``c_0 I + c_1 t + ... + c_4 t^4``, with two products."""
    t2 = t @ t
    high = torch.add(c[3] * t, t2, alpha=c[4])
    _diagonal(high).add_(c[2])
    result = torch.baddbmm(t, t2, high, beta=c[1])
    _diagonal(result).add_(c[0])
    return result


def _diagonal(x: Tensor) -> Tensor:
    return x.diagonal(dim1=-2, dim2=-1)
