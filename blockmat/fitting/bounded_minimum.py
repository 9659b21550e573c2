"""The minimum of a smooth function within bounds, by L-BFGS-B."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array

_MEMORY = 20  # pairs of steps and differences of gradients
_ROUNDING = 1e-4  # of a gradient, where the line search cannot see a smaller loss


class BoundedMinimum(NamedTuple):
    """Where a search ended, after how many steps, and whether it converged."""

    x: Array
    value: float
    n_iter: int
    converged: bool


def bounded_minimum(
    function: Callable[[Array], tuple[float, Array]],
    start: Array,
    lower: Array,
    upper: Array,
    tol: float,
    max_iter: int,
) -> BoundedMinimum:
    """Minimize a function that returns its value and its gradient. The value never increases.

    The search converges if no entry of the projected gradient is larger than `tol`, or if the value
    does not decrease beyond rounding.
    """
    from scipy.optimize import minimize  # imported here because it loads slowly

    if (lower == upper).all():
        return BoundedMinimum(lower, function(lower)[0], 0, True)
    result = minimize(
        function,
        np.clip(start, lower, upper),
        jac=True,
        method="L-BFGS-B",
        bounds=np.column_stack([lower, upper]),
        options={
            "maxiter": max_iter, "maxfun": 10 * max_iter, "maxcor": _MEMORY,
            "ftol": 4 * np.finfo(np.float64).eps, "gtol": tol,
        },
    )  # fmt: skip
    moved = np.clip(result.x - result.jac, lower, upper) - result.x
    at_rounding = result.status == 2 and np.abs(moved).max() <= max(tol, _ROUNDING)
    converged = bool(result.status == 0 or at_rounding)
    return BoundedMinimum(result.x, float(result.fun), int(result.nit), converged)
