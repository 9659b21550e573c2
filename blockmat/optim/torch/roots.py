"""Damped inverse square roots of stacks of positive semi-definite matrices, by products only.

The iterations are those of Muon's polar factor, applied to the k x k matrix: with X scaled to a
largest eigenvalue of at most 1, ``Y = X`` and ``Z = I``, each step takes ``p(Z Y)`` with an odd
polynomial's coefficients (a, b, c), ``p(t) = a + b t + c t^2``, and ``Y <- Y p``, ``Z <- p Z``. Z
converges to ``X^(-1/2)`` (:ref:`theory-momentum`). There is no decomposition, so nothing waits for
the host, and equal sizes are one batch.
"""

import torch
from torch import Tensor

# Each minimises the largest error of the composition on singular values from 1e-3 to 1 given the
# ones before it (Amsel et al., "The Polar Express", arXiv:2505.16932), by the Remez algorithm. The
# error after all six is 0.005; a test computes it.
COEFFICIENTS = (
    (7.49027, -20.90657, 15.02656),
    (3.75922, -2.6429, 0.47847),
    (3.79861, -2.72688, 0.50408),
    (3.43956, -2.52692, 0.4977),
    (2.43829, -1.75759, 0.41319),
    (1.91572, -1.29453, 0.37948),
)


def inverse_root(cores: Tensor, damping: float) -> Tensor:
    """Return ``(D + s I)^(-1/2)`` of symmetric cores D (B, k, k), and 0 for D = 0.

    The damping s is `damping` times the Frobenius norm of D, which is at least the largest
    eigenvalue.
    """
    largest = cores.abs().amax((-2, -1), keepdim=True)  # squares of small numbers would vanish
    unit = cores / torch.where(largest > 0, largest, 1)
    norm = torch.linalg.matrix_norm(unit, keepdim=True)
    norm = torch.where(norm > 0, norm, 1)
    x = unit / (norm * (1 + damping))
    _diagonal(x).add_(damping / (1 + damping))
    z = _polynomial(x, *COEFFICIENTS[0])  # of the first Z, the identity
    y = x @ z
    for coefficients in COEFFICIENTS[1:-1]:
        p = _polynomial(z @ y, *coefficients)
        y, z = y @ p, p @ z
    z = _polynomial(z @ y, *COEFFICIENTS[-1]) @ z
    factor = (largest * norm * (1 + damping)).rsqrt()
    return torch.where(largest > 0, z * factor, 0)


def _polynomial(t: Tensor, a: float, b: float, c: float) -> Tensor:
    """Return ``a I + b t + c t^2``."""
    p = torch.baddbmm(t, t, t, beta=b, alpha=c)
    _diagonal(p).add_(a)
    return p


def _diagonal(x: Tensor) -> Tensor:
    return x.diagonal(dim1=-2, dim2=-1)
