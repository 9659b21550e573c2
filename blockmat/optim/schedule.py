"""When optimizers renew inverse square roots, what a gradient counts, and what is rounding."""

from typing import Any


def refresh_is_due(step: int, last: int, interval: int) -> bool:
    """Whether step number `step` (from 1) renews the roots, which step `last` renewed before.

    After t steps one more gradient changes the sum by about 1/t. So roots are renewed after an
    eighth of all steps so far, and after at most `interval` steps.
    """
    return step - last >= min(interval, max(1, step // 8))


def factors(decay: float | None, gap: int) -> tuple[float, float]:
    """Return the weights of the past sum and of a gradient, `gap` steps after the last gradient."""
    return (1.0, float(gap)) if decay is None else (decay**gap, 1 - decay**gap)


def total_weight(decay: float | None, step: int) -> float:
    """Return the sum of the weights of an exponential average, or 1 for a sum without decay."""
    return 1.0 if decay is None else 1 - decay**step


def signal_share(largest: Any, energy: Any, eps: float) -> Any:
    """Return what the root of a core is multiplied by, so that it does not amplify rounding.

    Rounding moves each entry of a gradient by some eps of its size. So a core that is zero in
    exact arithmetic, such as the block sums of a weight behind a LayerNorm, has a largest
    eigenvalue w of some eps^2 of the energy e, the largest mean square of the entries of a
    block. Its inverse root would make updates of it as long as those of gradients. The factor
    ``w / (w + eps e)`` makes these c^2 eps as long where rounding is c eps of the entries, and
    changes a core that has a thousandth of the energy, a share far below what networks have
    without such a symmetry, by 1000 eps. The floor, eps, is as far above rounding, eps^2, as
    it is below 1.

    Parameters
    ----------
    largest : float or Tensor
        The largest eigenvalue of the core, positive.
    energy : float or Tensor
        The largest mean square of the entries of a block, summed as the core is.
    eps : float
        The spacing of the gradient's numbers at 1.
    """
    return largest / (largest + eps * energy)
