"""When an optimizer renews its inverse square roots."""


def refresh_is_due(step: int, last: int, interval: int) -> bool:
    """Tell whether step number `step` (from 1) renews roots last renewed at step `last`.

    After t steps one more gradient changes the sum by about 1/t. So the first steps
    renew at every step, later ones when an eighth of all steps has passed, and none
    waits longer than `interval` steps.
    """
    return step - last >= min(interval, max(1, step // 8))
