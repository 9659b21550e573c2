"""When optimizers renew inverse square roots, and what a gradient counts."""

from blockmat.cores.pair import signal_share as signal_share  # for _torch_cores


def refresh_is_due(step: int, last: int, interval: int) -> bool:
    """Tell whether step number `step` (from 1) renews roots last renewed at step `last`.

    After t steps one more gradient changes the sum by about 1/t. So the first steps
    renew at every step, later ones when an eighth of all steps has passed, and none
    waits longer than `interval` steps.
    """
    return step - last >= min(interval, max(1, step // 8))


def factors(decay: float | None, gap: int) -> tuple[float, float]:
    """Return what the past and a gradient count, `gap` steps after the one before."""
    return (1.0, float(gap)) if decay is None else (decay**gap, 1 - decay**gap)


def total_weight(decay: float | None, step: int) -> float:
    """Return the sum of the weights in an exponential average, and 1 for a sum."""
    return 1.0 if decay is None else 1 - decay**step
