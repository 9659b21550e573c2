"""BlockAdaGrad for PyTorch: parameter groups, checkpoints, and the order of a step."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from blockmat.exceptions import DtypeError
from blockmat.optim.torch.blocks import (
    ROW_SCALARS,
    SHORTER,
    Roles,
    check_keys,
    has_cores,
    resolve,
    shares_blocks,
)
from blockmat.optim.torch.checkpoint import (
    fitting_states,
    load,
    tensors_in,
)
from blockmat.optim.torch.finite import are_finite, raise_non_finite
from blockmat.optim.torch.layout import Layout, layout_of
from blockmat.optim.torch.options import check_options
from blockmat.optim.torch.parameters import local, parameter_of, weight_of
from blockmat.optim.torch.ranks import ALONE, ranks_of_all
from blockmat.optim.torch.vector_step import VectorStep
from blockmat.optim.torch.weight_step import WeightStep
from blockmat.optim.torch.within import STRUCTURES


class BlockAdaGrad(Optimizer):
    r"""AdaGrad with a block-constant matrix for each weight.

    :doc:`/optimizers` is the guide: which blocks parameters get, memory, half precision, several
    ranks, checkpoints.

    Parameters
    ----------
    params : Module, or iterable of Tensor, of (str, Tensor), or of dict
        The parameters. A module is also its own `model`. With names, the bias of a linear layer
        joins the blocks of its weight.
    lr : float or Tensor, default 0.01
        The learning rate.
    momentum : float, default 0.0
        The momentum coefficient.
    nesterov : bool, default False
        Use Nesterov momentum.
    structure : {"aligned", "mean"}, default "aligned"
        The numbers for each pair of blocks: two ("aligned"), or one, and two on the diagonal
        ("mean").
    partition : str, Tensor or sequence of labels, dict or callable, default "shorter"
        The blocks of each parameter, flattened to (out, rest): "rows", "columns", the fewer of
        both ("shorter"), or labels of the entries; "row scalars" or "diagonal" for no blocks. A
        dict has these by name or index, and a callable is called as ``partition(name, param)``.
    damping : float, default 1e-3
        Added to the eigenvalues of a core, relative to the largest. It is at least eps.
    update_interval : int, default 50
        The most steps for which a root is used. Early steps renew roots more often.
    statistics_interval : int, default 5
        The most steps between gradients that are added to the cores.
    decay : float, optional
        The factor of an exponential average of outer products, instead of their sum.
    weight_decay : float, default 0.0
        The factor of the parameters that is added to the gradient.
    decoupled_weight_decay : bool, default False
        Multiply parameters by ``1 - lr * weight_decay`` instead.
    maximize : bool, default False
        Follow the gradient upwards.
    max_blocks : int, default 1024
        Parameters with more blocks get one number per row, or per entry if they have labels.
    on_nonfinite : {"raise", "skip"}, default "raise"
        What to do if a gradient contains NaN or infinity, or its squares overflow.
    model : Module, optional
        The module that has the parameters. It tells which of them are embeddings, which get one
        number per row, and which is the output layer, which gets one per entry.

    Raises
    ------
    TypeError
        If a parameter is complex.
    ValueError
        If an option is out of range, if labels or keys of `partition` do not fit the parameters,
        or if a parameter is sharded in a way that is not supported.

    Warns
    -----
    UserWarning
        If a parameter has more than `max_blocks` blocks, or a core cannot be decomposed.

    See Also
    --------
    blockmat.optim.BlockAdaGrad : for NumPy arrays, with other defaults.

    Notes
    -----
    For a gradient G (k, m) of k blocks, with :math:`\bar G` its row means, the update is

    .. math::

        (M + \delta \lambda_{\max}(M) I)^{-1/2} \bar G
        + (D + \delta \lambda_{\max}(D) I)^{-1/2} (G - \bar G),

    where M and D are sums of :math:`\tfrac1m (G 1)(G 1)^T` and of
    :math:`\tfrac1{m-1} (G G^T - \tfrac1m (G 1)(G 1)^T)` over steps [1]_ (:ref:`theory-adagrad`).

    References
    ----------
    .. [1] Y. Lu, M. Harandi, R. Hartley, R. Pascanu, "Block Mean Approximation for
       Efficient Second Order Optimization", arXiv:1804.05484, 2018.

    Examples
    --------
    >>> import torch
    >>> from blockmat.optim.torch import BlockAdaGrad
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(64, 10)
    >>> y = x @ torch.randn(10, 1)
    >>> model = torch.nn.Sequential(torch.nn.Linear(10, 8), torch.nn.Linear(8, 1))
    >>> optimizer = BlockAdaGrad(model, lr=0.05, momentum=0.9)
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
        lr: float | Tensor = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        structure: str = "aligned",
        partition: Any = SHORTER,
        damping: float = 1e-3,
        update_interval: int = 50,
        statistics_interval: int = 5,
        decay: float | None = None,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
        max_blocks: int = 1024,
        on_nonfinite: str = "raise",
        model: nn.Module | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "structure": structure,
            "partition": partition,
            "damping": damping,
            "update_interval": update_interval,
            "statistics_interval": statistics_interval,
            "decay": decay,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "max_blocks": max_blocks,
            "on_nonfinite": on_nonfinite,
            "differentiable": False,
        }
        if model is not None and not isinstance(model, nn.Module):
            raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
        is_module = isinstance(params, nn.Module)
        self._roles = Roles.of(params if is_module and model is None else model)
        self._layouts: dict[Tensor, Layout] = {}
        super().__init__(params.named_parameters() if is_module else params, defaults)
        if isinstance(partition, dict):
            names = map(self._names_of, self.param_groups)
            check_keys(partition, [*names, *self._roles.groups_of_names()])

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, or take what `load_state_dict` has read."""
        super().__setstate__(state)
        self._layouts = {}
        self.__dict__.setdefault("_roles", Roles.of(None))
        for group in self.param_groups:  # older states have none
            group.setdefault("shapes", [list(p.shape) for p in group["params"]])

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
        >>> from blockmat.optim.torch import BlockAdaGrad
        >>> a, b = torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)
        >>> optimizer = BlockAdaGrad(a.parameters())
        >>> optimizer.add_param_group({"params": b.parameters(), "lr": 0.1})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.01, 0.1]
        """
        has_own_keys = isinstance(param_group, dict) and isinstance(
            param_group.get("partition"), dict
        )
        super().add_param_group(param_group)
        group = self.param_groups.pop()
        names = self._names_of(group)
        check_options(group)
        if has_own_keys:
            check_keys(group["partition"], [names, *self._roles.groups_of_names()])
        _check_parameters(group["params"])
        kinds, too_many = resolve(
            group["params"],
            names,
            group.pop("partition"),
            self._roles,
            group["max_blocks"],
            STRUCTURES[group["structure"]].needs_products,
        )
        if too_many:
            warnings.warn(
                f"more than max_blocks={group['max_blocks']} blocks in {', '.join(too_many)}: "
                f"one number per row, or per entry for labels, is kept instead",
                stacklevel=3,
            )
        _check_labels(group["params"], kinds)
        group["kinds"] = kinds
        group["shapes"] = [list(p.shape) for p in group["params"]]
        self.param_groups.append(group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state.

        Parameters
        ----------
        state_dict : dict
            What ``state_dict`` returned. Its options and blocks replace those of this optimizer,
            and its tensors are copied.

        Raises
        ------
        ValueError
            If the state is of another optimizer or of parameters of other shapes, or if part of
            it is missing. Nothing has changed then.

        Examples
        --------
        >>> import torch
        >>> from blockmat.optim.torch import BlockAdaGrad
        >>> p = torch.nn.Parameter(torch.ones(2, 3))
        >>> saved = BlockAdaGrad([p], lr=0.5).state_dict()
        >>> optimizer = BlockAdaGrad([p])
        >>> optimizer.load_state_dict(saved)
        >>> optimizer.param_groups[0]["lr"]
        0.5
        """
        load(self, state_dict, fitting_states)

    def state_bytes(self) -> int:
        """Return the memory of all statistics, roots and momentum buffers on this rank.

        Returns
        -------
        int
            Bytes; 0 before the first step.

        Examples
        --------
        >>> import torch
        >>> from blockmat.optim.torch import BlockAdaGrad
        >>> p = torch.nn.Parameter(torch.ones(4, 100))
        >>> optimizer = BlockAdaGrad([p], structure="mean")
        >>> p.grad = torch.randn(4, 100)
        >>> optimizer.step()
        >>> optimizer.state_bytes() == 4 * (1.75 * 4**2 + 2 * 4)
        True
        """
        return sum(local(t).nbytes for t in tensors_in(self.state))

    @torch.no_grad()
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
            If a gradient contains NaN or infinity, or its squares overflow. Nothing has changed
            then.

        Examples
        --------
        >>> import torch
        >>> from blockmat.optim.torch import BlockAdaGrad
        >>> p = torch.nn.Parameter(torch.ones(2, 3))
        >>> p.sum().backward()
        >>> BlockAdaGrad([p], lr=0.02).step()
        >>> p.detach().round(decimals=3)
        tensor([[0.9920, 0.9920, 0.9920],
                [0.9920, 0.9920, 0.9920]])
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        weights, vectors = self._plan()
        steps: list[WeightStep | VectorStep] = [*weights, *vectors]
        if not are_finite(step.checked for step in steps):
            if any(group["on_nonfinite"] == "raise" for group in self.param_groups):
                raise_non_finite(steps)
            return loss
        for weight in weights:
            weight.measure()
        self._renew_roots([weight for weight in weights if weight.due.roots])
        for step in steps:
            step.update()
        return loss

    def _plan(self) -> tuple[list[WeightStep], list[VectorStep]]:
        """Read all gradients; change nothing."""
        weights, vectors = [], []
        for group in self.param_groups:
            params, kinds = group["params"], group["kinds"]
            needs_products = STRUCTURES[group["structure"]].needs_products
            biases = {kind: p for p, kind in zip(params, kinds, strict=True) if shares_blocks(kind)}
            single: list[Tensor] = []
            by_row: list[bool] = []
            for i, (p, kind) in enumerate(zip(params, kinds, strict=True)):
                bias = biases.get(i)
                has_gradient = p.grad is not None or (bias is not None and bias.grad is not None)
                if shares_blocks(kind) or not has_gradient:
                    continue
                if has_cores(kind):
                    weight = weight_of(p, bias, self._layout(p, kind), needs_products)
                    weights.append(WeightStep(group, weight, self.state))
                else:
                    single.append(p)
                    by_row.append(kind == ROW_SCALARS)
            if single:
                found = [parameter_of(p) for p in single]
                vectors.append(VectorStep(group, found, by_row, self.state))
        return weights, vectors

    def _layout(self, p: Tensor, kind: Any) -> Layout:
        if p not in self._layouts:
            self._layouts[p] = layout_of(kind, p)
        return self._layouts[p]

    def _renew_roots(self, weights: list[WeightStep]) -> None:
        """Decompose the cores of weights, those of the same size together."""
        wanted = [weight.to_decompose() for weight in weights]
        ranks = ranks_of_all(weight.ranks for weight in weights)
        found = iter(ranks.decompose([matrix for own in wanted for matrix in own]))
        for weight, own in zip(weights, wanted, strict=True):
            pairs = [pair for _ in own if (pair := next(found)) is not None]
            if len(pairs) == len(own):
                weight.keep_roots(pairs)
            else:
                self._warn_of_failure(weight)

    def _warn_of_failure(self, step: WeightStep) -> None:
        if not getattr(self, "_has_warned_of_failure", False):
            self._has_warned_of_failure = True
            shape = tuple(step.weight.weight.whole.shape)
            warnings.warn(
                f"the statistics of a parameter of shape {shape} could not be "
                f"decomposed, also in double precision; it goes on with its last root",
                stacklevel=4,
            )


def _check_parameters(params: list[Tensor]) -> None:
    """Raise if a parameter is complex, or is sharded and cannot be trained so."""
    for p in params:
        if p.is_complex():
            raise DtypeError(f"a parameter has dtype {p.dtype}; expected real numbers")
        parameter_of(p)


def _check_labels(params: list[Tensor], kinds: list[Any]) -> None:
    """Raise `ValueError` if the blocks of a sharded parameter are given by labels."""
    for p, kind in zip(params, kinds, strict=True):
        if isinstance(kind, Tensor) and parameter_of(p).ranks is not ALONE:
            raise ValueError(
                "partition labels the entries of a parameter that is sharded; expected 'rows' or "
                "'columns'"
            )
