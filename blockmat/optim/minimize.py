"""minimize: a loop around BlockAdaGrad with the interface of scipy.optimize.minimize."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from blockmat.blocks.checks import Array, as_count, as_numeric, require_finite
from blockmat.exceptions import ShapeError
from blockmat.optim.adagrad import BlockAdaGrad
from blockmat.sources.progress import track

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

__all__ = ["minimize"]

_CONVERGED, _MAXITER, _STOPPED, _NON_FINITE = 0, 1, 99, 3  # 99 is SciPy's for a callback
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
        ``fun(x, *args)`` returns the value and the gradient (n,), or with a callable
        `jac` the value alone. It may be stochastic, such as the loss of a batch.
    x0 : array_like, shape (n,)
        Where to start; it is not changed.
    args : tuple, default ()
        Further arguments of `fun` and `jac`.
    partition : Partition or sequence of hashable, shape (n,)
        The blocks of the variables, or a label for each.
    jac : True or callable, default True
        Whether `fun` returns the gradient too, or the function ``jac(x, *args)`` that does.
    lr : float, default 0.01
        The learning rate; see `BlockAdaGrad` for it and the next five.
    momentum : float, default 0.0
        The momentum coefficient.
    damping : float, default 1e-3
        What is added to the eigenvalues of each core, relative to the largest.
    update_interval : int, default 1
        The longest time, in steps, that an inverse square root is used.
    aligned : bool, default False
        Two numbers in every square block.
    decay : float, optional
        The factor of an exponential average.
    gtol : float, default 1e-5
        Stop where no entry of the gradient is larger.
    maxiter : int, default 1000
        Stop after so many steps.
    callback : callable, optional
        Called after each step as ``callback(intermediate_result=r)`` if that is its
        parameter's name, with an `OptimizeResult` of ``x`` and ``fun``, and otherwise as
        ``callback(x)``. If it raises `StopIteration`, the loop ends.
    progress : bool, optional
        Whether to show a progress bar; by default in a terminal, if tqdm is installed.

    Returns
    -------
    scipy.optimize.OptimizeResult
        With ``x``, ``fun``, ``jac``, ``nit``, ``nfev``, ``njev``, ``success``, ``status``
        and ``message``. Where a value or gradient is not finite, the loop ends with
        status 3 at the last point before.

    Raises
    ------
    ShapeError
        If `x0` or a gradient has another shape than (n,).
    NonFiniteError
        If `x0` is not finite, or the squares of a gradient overflow.
    ValueError
        If a number is out of range.

    See Also
    --------
    BlockAdaGrad : one step, for loops of your own.
    scipy.optimize.minimize : for methods with a line search.

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

    def evaluate(x: Array) -> tuple[float, Array]:
        value, grad = fun(x, *args) if jac is True else (fun(x, *args), jac(x, *args))
        grad = as_numeric(grad, "the gradient", (1,))
        if grad.shape != x.shape:
            raise ShapeError(f"the gradient has shape {grad.shape}; expected {x.shape}")
        return float(value), grad

    report = _reporter(callback)
    value, grad = evaluate(x)
    n_steps, status = 0, _MAXITER
    if not _is_finite(value, grad):
        return _result(x, value, grad, n_steps, 1, _NON_FINITE)
    for _ in track(range(maxiter), maxiter, "minimize", progress):
        if np.abs(grad).max() <= gtol:
            break
        before = x.copy()
        optimizer.step(x, grad)
        n_steps += 1
        next_value, next_grad = evaluate(x)
        if not _is_finite(next_value, next_grad):
            x, status = before, _NON_FINITE
            break
        value, grad = next_value, next_grad
        try:
            report(x, value)
        except StopIteration:
            status = _STOPPED
            break
    if status == _MAXITER and np.abs(grad).max() <= gtol:
        status = _CONVERGED
    return _result(x, value, grad, n_steps, n_steps + 1, status)


def _is_finite(value: float, grad: Array) -> bool:
    return bool(np.isfinite(value) and np.isfinite(grad).all())


def _reporter(callback: Callable[..., Any] | None) -> Callable[[Array, float], Any]:
    """Return how to call the callback, told by its signature as SciPy does."""
    if callback is None:
        return lambda x, fun: None
    if set(inspect.signature(callback).parameters) == {"intermediate_result"}:
        return lambda x, fun: callback(intermediate_result=_optimize_result(x=x.copy(), fun=fun))
    return lambda x, fun: callback(x.copy())


def _result(
    x: Array, value: float, grad: Array, n_steps: int, n_calls: int, status: int
) -> "OptimizeResult":
    return _optimize_result(
        x=x, fun=value, jac=grad, nit=n_steps, nfev=n_calls, njev=n_calls,
        status=status, success=status == _CONVERGED, message=_MESSAGES[status],
    )  # fmt: skip


def _optimize_result(**fields: Any) -> "OptimizeResult":
    from scipy.optimize import OptimizeResult  # not with the package, which would load slowly

    return OptimizeResult(**fields)
