"""minimize: BlockAdaGrad with the interface of scipy.optimize.minimize."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array, as_count, as_numeric, require_finite
from blockmat.exceptions import ShapeError
from blockmat.optim.adagrad import BlockAdaGrad
from blockmat.sources.progress import track

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

__all__ = ["minimize"]

_CONVERGED, _MAXITER, _STOPPED, _NON_FINITE = 0, 1, 99, 3  # SciPy's methods return 99 as well
_MESSAGES = {
    _CONVERGED: "The largest entry of the gradient is at most gtol.",
    _MAXITER: "The maximum number of iterations has been reached.",
    _STOPPED: "`callback` raised `StopIteration`.",
    _NON_FINITE: "The function or its gradient is not finite; x is the last point where it was.",
}


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...] = (),
    *,
    partition: Any,
    jac: bool | Callable[..., Any] = True,
    lr: float = 0.01,
    momentum: float = 0.0,
    damping: float = 1e-3,
    update_interval: int = 1,
    aligned: bool = False,
    decay: float | None = None,
    gtol: float = 1e-5,
    maxiter: int = 1000,
    callback: Callable[..., Any] | None = None,
    progress: bool | None = None,
) -> "OptimizeResult":
    """Minimize a function of many variables with BlockAdaGrad.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` returns the value and the gradient (n,), or only the value if `jac` is
        a function. The values may be random, as for the loss of a mini-batch.
    x0 : array_like, shape (n,)
        The starting point; it is not changed.
    args : tuple, default ()
        Further arguments of `fun` and `jac`.
    partition : Partition or sequence of hashable, shape (n,)
        The blocks, or a label for each variable.
    jac : True or callable, default True
        True if `fun` returns the gradient too, or the function ``jac(x, *args)`` that returns
        it.
    lr, momentum, damping, update_interval, aligned, decay : optional
        As for `BlockAdaGrad`.
    gtol : float, default 1e-5
        Stop if no entry of the gradient is larger in absolute value.
    maxiter : int, default 1000
        The largest number of steps.
    callback : callable, optional
        Called after each step as ``callback(x)``. If its only parameter is
        ``intermediate_result``, it is an `OptimizeResult` with ``x`` and ``fun``. The loop ends
        if the callback raises `StopIteration`.
    progress : bool, optional
        Whether to show a progress bar; by default in a terminal, if tqdm is installed.

    Returns
    -------
    scipy.optimize.OptimizeResult
        With ``x``, ``fun``, ``jac`` (the gradient at ``x``), ``nit``, ``nfev``, ``njev``,
        ``success``, ``status`` and ``message``. If a value or gradient is not finite, the loop
        ends with status 3, and ``x`` is the last point where both are finite.

    Raises
    ------
    ShapeError
        If the shape of `x0` or of a gradient is not (n,).
    TypeError
        If `jac` is neither True nor a function.
    NonFiniteError
        If `x0` is not finite, or the squares of a gradient overflow.
    ValueError
        If an option is out of range.

    See Also
    --------
    BlockAdaGrad : one step at a time.
    scipy.optimize.minimize : methods with a line search.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> def fun(x):
    ...     return np.sum((x - 3) ** 2), 2 * (x - 3)
    >>> result = bm.optim.minimize(fun, np.zeros(4), partition=[0, 0, 1, 1], lr=1.0)
    >>> result.success, result.x.round(3)
    (True, array([3., 3., 3., 3.]))
    """
    optimizer = BlockAdaGrad(partition, lr, momentum, damping, update_interval, aligned, decay)
    maxiter = as_count(maxiter, "maxiter", 1)
    if not gtol >= 0:
        raise ValueError(f"gtol is {gtol!r}; expected a number of at least 0")
    x = np.array(as_numeric(x0, "x0", (1,)))
    require_finite(x, "x0")
    if jac is not True and not callable(jac):
        raise TypeError(f"jac is {jac!r}; expected True or a function")

    def evaluate(x: Array) -> _Point:
        value, grad = fun(x, *args) if jac is True else (fun(x, *args), jac(x, *args))
        grad = as_numeric(grad, "the gradient", (1,))
        if grad.shape != x.shape:
            raise ShapeError(f"the gradient has shape {grad.shape}; expected {x.shape}")
        return _Point(x, float(value), grad)

    report = _reporter(callback)
    point = evaluate(x)
    if not point.is_finite():
        return _result(point, 0, _NON_FINITE)
    n_steps, status = 0, _MAXITER
    for _ in track(range(maxiter), maxiter, "minimize", progress):
        if np.abs(point.grad).max() <= gtol:
            break
        x = point.x.copy()
        optimizer.step(x, point.grad)
        n_steps += 1
        moved = evaluate(x)
        if not moved.is_finite():
            status = _NON_FINITE
            break
        point = moved
        try:
            report(x, point.value)
        except StopIteration:
            status = _STOPPED
            break
    if status == _MAXITER and np.abs(point.grad).max() <= gtol:
        status = _CONVERGED
    return _result(point, n_steps, status)


class _Point(NamedTuple):
    """A point, with the value and the gradient at it."""

    x: Array
    value: float
    grad: Array

    def is_finite(self) -> bool:
        """Whether the value and the gradient are finite."""
        return bool(np.isfinite(self.value) and np.isfinite(self.grad).all())


def _reporter(callback: Callable[..., Any] | None) -> Callable[[Array, float], Any]:
    """Return a function that calls the callback according to its signature, as SciPy does."""
    if callback is None:
        return lambda x, fun: None
    if set(inspect.signature(callback).parameters) == {"intermediate_result"}:
        return lambda x, fun: callback(intermediate_result=_optimize_result(x=x.copy(), fun=fun))
    return lambda x, fun: callback(x.copy())


def _result(point: _Point, n_steps: int, status: int) -> "OptimizeResult":
    n_calls = n_steps + 1
    return _optimize_result(
        x=point.x, fun=point.value, jac=point.grad, nit=n_steps, nfev=n_calls, njev=n_calls,
        status=status, success=status == _CONVERGED, message=_MESSAGES[status],
    )  # fmt: skip


def _optimize_result(**fields: Any) -> "OptimizeResult":
    from scipy.optimize import OptimizeResult  # imported here because it loads slowly

    return OptimizeResult(**fields)
