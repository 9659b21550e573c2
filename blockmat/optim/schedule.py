"""When optimizers recompute inverse square roots, and the weights of gradients."""


def refresh_is_due(step: int, last: int, interval: int) -> bool:
    """Whether to recompute the roots at step `step` (from 1), if step `last` was the last time.

    After t steps one more gradient changes the sum by a fraction of about 1/t. So roots are
    recomputed after an eighth of all steps so far, and after at most `interval` steps.
    """
    return step - last >= min(interval, max(1, step // 8))


def factors(decay: float | None, gap: int) -> tuple[float, float]:
    """Return the weights of the past sum and of a gradient, `gap` steps after the last gradient."""
    return (1.0, float(gap)) if decay is None else (decay**gap, 1 - decay**gap)


def total_weight(decay: float | None, step: int) -> float:
    """Return the sum of the weights of an exponential average, or 1 for a sum without decay."""
    return 1.0 if decay is None else 1 - decay**step
