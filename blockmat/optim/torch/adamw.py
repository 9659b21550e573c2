"""BlockAdamW for PyTorch."""

import math
import numbers
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from blockmat.exceptions import DtypeError
from blockmat.optim.torch.adam import LIKE_PARAMETER, step_of_others
from blockmat.optim.torch.blocks import Roles, check_keys
from blockmat.optim.torch.checkpoint import check_shapes, load, tensors_in
from blockmat.optim.torch.options import Rule, check_rules
from blockmat.optim.torch.parameters import local, parameter_of
from blockmat.optim.torch.plan import Layouts, finite_counts, plans_of
from blockmat.optim.torch.precision import single_precision
from blockmat.optim.torch.roles import resolve_roles
from blockmat.optim.torch.stack import StackLayout
from blockmat.optim.torch.whitened_step import shapes, step_of_weights


class BlockAdamW(Optimizer):
    r"""AdamW whose second moment of a weight is a block-constant matrix.

    :doc:`/optimizers` is the guide.

    Parameters
    ----------
    params : Module, or iterable of Tensor, of (str, Tensor), or of dict
        The parameters. A module is also its own `model`.
    lr : float or Tensor, default 3e-3
        The learning rate. One rate fits all parameters; those that are no matrices get a multiple.
    betas : (float, float), default (0.9, 0.5)
        The factors of the running means of the gradient and of its second moment, for matrices.
    weight_decay : float, default 0.0
        Matrices are multiplied by ``1 - lr * weight_decay``.
    damping : float, default 1e-6
        Added to the eigenvalues of a core, relative to its norm.
    n_directions : int, default 16
        The most directions of the long side of a matrix that get a variance of their own. A matrix
        whose short side is k has at most k / 4.
    nesterov : bool, default True
        Use Nesterov momentum.
    roles : optional
        "matrix", "adam", or the number of matrices that the rows of a parameter are, such as 3 for a
        layer that computes queries, keys and values. A dict has these by name or index, and a
        callable is called as ``roles(name, param)``. None means the default.
    adam_betas : (float, float), default (0.9, 0.95)
        The factors of Adam, for the other parameters.
    eps : float, default 1e-8
        Added to the roots of Adam.
    decay_all : bool, default False
        Apply the weight decay to the other parameters too.
    max_blocks : int, default 1024
        Matrices with a longer short side are divided into equal parts with at most so many rows.
    maximize : bool, default False
        Follow the gradient upwards.
    on_nonfinite : {None, "raise", "skip"}, default None
        What to do if a gradient contains NaN or infinity. None raises for parameters on a CPU, and
        otherwise skips the step, because asking would wait for the device.
    model : Module, optional
        The module that has the parameters. It tells which of them are embeddings and which is the
        output layer: these get Adam.

    Raises
    ------
    TypeError
        If a parameter is complex.
    ValueError
        If an option is out of range, or does not fit the parameters.

    See Also
    --------
    BlockAdaGrad : AdaGrad with the same family of matrices.

    Notes
    -----
    A weight is a matrix with its shorter side k first. With its momentum U (k, m), the update is

    .. math::

        D^{-1/2} U S^{-1/2} \left(V \Lambda^{-1/2} V^T + \sigma^{-1} (I - V V^T)\right)

    times a factor of its shape. D (k, k), the diagonal S, and the directions V with their variances
    are running means over a few steps (:ref:`theory-momentum`).

    Examples
    --------
    >>> import torch
    >>> from blockmat.optim.torch import BlockAdamW
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(64, 10)
    >>> y = torch.sin(x @ torch.randn(10, 4))
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(10, 32), torch.nn.Tanh(), torch.nn.Linear(32, 32), torch.nn.Tanh(),
    ...     torch.nn.Linear(32, 4))
    >>> optimizer = BlockAdamW(model)
    >>> for _ in range(100):
    ...     optimizer.zero_grad()
    ...     loss = torch.nn.functional.mse_loss(model(x), y)
    ...     loss.backward()
    ...     optimizer.step()
    >>> loss.item() < 1e-2
    True
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 3e-3,
        betas: tuple[float, float] = (0.9, 0.5),
        weight_decay: float = 0.0,
        damping: float = 1e-6,
        n_directions: int = 16,
        nesterov: bool = True,
        roles: Any = None,
        adam_betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        decay_all: bool = False,
        max_blocks: int = 1024,
        maximize: bool = False,
        on_nonfinite: str | None = None,
        model: nn.Module | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "weight_decay": weight_decay,
            "damping": damping,
            "n_directions": n_directions,
            "nesterov": nesterov,
            "roles": roles,
            "adam_betas": adam_betas,
            "eps": eps,
            "decay_all": decay_all,
            "max_blocks": max_blocks,
            "maximize": maximize,
            "on_nonfinite": on_nonfinite,
            "differentiable": False,
        }
        if model is not None and not isinstance(model, nn.Module):
            raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
        is_module = isinstance(params, nn.Module)
        self._roles = Roles.of(params if is_module and model is None else model)
        self._layouts: Layouts = {}
        super().__init__(params.named_parameters() if is_module else params, defaults)
        if model is not None and not any(
            id(p) in self._roles.names for group in self.param_groups for p in group["params"]
        ):
            raise ValueError("model has none of the parameters; expected the module that has them")
        if isinstance(roles, dict):
            names = map(self._names_of, self.param_groups)
            check_keys(roles, [*names, *self._roles.groups_of_names()], "roles")

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, or take what `load_state_dict` has read."""
        super().__setstate__(state)
        self._layouts = {}
        self.__dict__.setdefault("_roles", Roles.of(None))

    def _names_of(self, group: dict[str, Any]) -> list[str | None]:
        return self._roles.names_of(group["params"], group.get("param_names"))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters with its own options.

        Parameters
        ----------
        param_group : dict
            ``params``, and any of the optimizer's options.

        Raises
        ------
        TypeError
            If a parameter is complex.
        ValueError
            If an option is out of range, or does not fit the parameters. Nothing is added then.

        Examples
        --------
        >>> import torch
        >>> from blockmat.optim.torch import BlockAdamW
        >>> a, b = torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)
        >>> optimizer = BlockAdamW(a.parameters())
        >>> optimizer.add_param_group({"params": b.parameters(), "lr": 1e-3})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.003, 0.001]
        """
        wanted = param_group.get("roles") if isinstance(param_group, dict) else None
        super().add_param_group(param_group)
        group = self.param_groups.pop()
        names = self._names_of(group)
        _check_options(group)
        if isinstance(wanted, dict):
            check_keys(wanted, [names, *self._roles.groups_of_names()], "roles")
        for p in group["params"]:
            if p.is_complex():
                raise DtypeError(f"a parameter has dtype {p.dtype}; expected real numbers")
            parameter_of(p)
        group["n_matrices"] = resolve_roles(group["params"], names, group.pop("roles"), self._roles)
        group["shapes"] = [list(p.shape) for p in group["params"]]
        self.param_groups.append(group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state.

        Parameters
        ----------
        state_dict : dict
            What ``state_dict`` returned. Its options and roles replace those of this optimizer, and
            its tensors are copied.

        Raises
        ------
        ValueError
            If the state is of another optimizer or of parameters of other shapes, or if part of
            it is missing. Nothing has changed then.

        Examples
        --------
        >>> import torch
        >>> from blockmat.optim.torch import BlockAdamW
        >>> p = torch.nn.Parameter(torch.ones(2, 3))
        >>> saved = BlockAdamW([p], lr=0.5).state_dict()
        >>> optimizer = BlockAdamW([p])
        >>> optimizer.load_state_dict(saved)
        >>> optimizer.param_groups[0]["lr"]
        0.5
        """
        load(self, state_dict, _fitting_states)

    def state_bytes(self) -> int:
        """Return the memory of all running means on this rank.

        Returns
        -------
        int
            Bytes; 0 before the first step.

        Examples
        --------
        >>> import torch
        >>> from blockmat.optim.torch import BlockAdamW
        >>> p = torch.nn.Parameter(torch.ones(4, 100))
        >>> optimizer = BlockAdamW([p])
        >>> p.grad = torch.randn(4, 100)
        >>> optimizer.step()
        >>> optimizer.state_bytes() == 4 * (4 * 100 + 4**2 + 100 * 2 + 4)
        True
        """
        return sum(local(t).nbytes for t in tensors_in(self.state))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss and its gradients again.

        Returns
        -------
        object
            What the closure returned.

        Raises
        ------
        TypeError
            If a gradient is sparse.
        NonFiniteError
            If a gradient contains NaN or infinity. Nothing has changed then.

        Examples
        --------
        >>> import torch
        >>> from blockmat.optim.torch import BlockAdamW
        >>> p = torch.nn.Parameter(torch.ones(3))
        >>> p.sum().backward()
        >>> BlockAdamW([p], lr=0.01).step()
        >>> p.detach()
        tensor([0.9500, 0.9500, 0.9500])
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.update()
        return loss

    @torch.no_grad()
    def update(self) -> None:
        """Make a step from the present gradients, without closure and hooks.

        `torch.compile` takes it as one graph. Give the rate as a tensor then, so that a new rate does
        not compile again.

        Raises
        ------
        TypeError
            If a gradient is sparse.
        NonFiniteError
            If a gradient contains NaN or infinity. Nothing has changed then. Compiled, the step is
            skipped instead.

        Examples
        --------
        >>> import torch
        >>> from blockmat.optim.torch import BlockAdamW
        >>> p = torch.nn.Parameter(torch.ones(3))
        >>> p.sum().backward()
        >>> optimizer = BlockAdamW([p], lr=torch.tensor(0.01))
        >>> torch.compile(optimizer.update, backend="eager", fullgraph=True)()
        >>> p.detach()
        tensor([0.9500, 0.9500, 0.9500])
        """
        plans = [plan for group in self.param_groups for plan in plans_of(group, self._layouts)]
        counts = finite_counts(plans)
        if counts is None:
            return
        for plan in plans:
            own = plan.zeroed(counts)
            if plan.others:
                step_of_others(plan.group, plan.others, self.state, own)
            if plan.weights:
                device = plan.weights[0].gradient.device
                with torch.autocast(device.type, enabled=False), single_precision(device):
                    step_of_weights(plan.group, plan.weights, self.state, own)


def _check_options(group: dict[str, Any]) -> None:
    """Raise `ValueError` at the first option of a group that is out of range."""
    rules: list[Rule] = [
        ("lr", lambda x: _is_number(x) or isinstance(x, Tensor), "a finite number of at least 0"),
        ("lr", lambda x: 0 <= float(x) < math.inf, "a finite number of at least 0"),
        ("betas", _are_betas, "two numbers from 0 to below 1"),
        ("adam_betas", _are_betas, "two numbers from 0 to below 1"),
        ("weight_decay", _is_number, "a finite number of at least 0"),
        ("damping", lambda x: _is_number(x) and x > 0, "a finite number above 0"),
        ("eps", _is_number, "a finite number of at least 0"),
        ("n_directions", lambda x: _is_count(x) and x >= 0, "an integer of at least 0"),
        ("max_blocks", lambda x: _is_count(x) and x >= 1, "an integer of at least 1"),
        ("nesterov", lambda x: isinstance(x, bool), "True or False"),
        ("decay_all", lambda x: isinstance(x, bool), "True or False"),
        ("maximize", lambda x: isinstance(x, bool), "True or False"),
        ("on_nonfinite", lambda x: x in (None, "raise", "skip"), 'None, "raise" or "skip"'),
    ]
    check_rules(group, rules)


def _is_number(x: Any) -> bool:
    return isinstance(x, numbers.Real) and not isinstance(x, bool) and 0 <= float(x) < math.inf


def _is_count(x: Any) -> bool:
    return isinstance(x, numbers.Integral) and not isinstance(x, bool)


def _are_betas(betas: Any) -> bool:
    return (
        isinstance(betas, tuple | list)
        and len(betas) == 2
        and all(_is_number(beta) and beta < 1 for beta in betas)
    )


def _fitting_states(
    state_dict: dict[str, Any], groups: list[dict[str, Any]]
) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """Yield each parameter that has a saved state, with that state.

    Raise `ValueError` where the state does not fit the parameter.
    """
    for saved, group in zip(state_dict["param_groups"], groups, strict=False):
        if "n_matrices" not in saved or not set(group) <= set(saved):
            raise ValueError("state_dict is of another optimizer; expected one of BlockAdamW")
        for place, (i, p) in enumerate(zip(saved["params"], group["params"], strict=False)):
            if tuple(saved["shapes"][place]) != tuple(p.shape):
                raise ValueError(
                    f"state_dict is of a parameter of shape {tuple(saved['shapes'][place])}; expected "
                    f"{tuple(p.shape)}"
                )
            state = state_dict["state"].get(i)
            if state is not None:
                check_shapes(state, _expected_shapes(saved, state, place, p), p)
                yield p, state


def _expected_shapes(
    saved: dict[str, Any], state: dict[str, Any], place: int, p: Tensor
) -> dict[str, Any]:
    n_matrices, shape = saved["n_matrices"][place], tuple(p.shape)
    if not n_matrices:
        return dict.fromkeys(LIKE_PARAMETER, shape) | {"step": ()}
    layout = StackLayout(shape, n_matrices, saved["max_blocks"])
    variances = state.get("variances")
    r = variances.shape[-1] if isinstance(variances, Tensor) and variances.ndim == 2 else 0
    return shapes(layout, r) | {"momentum": shape}
