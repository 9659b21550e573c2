"""BlockAdaGrad for PyTorch."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from blockmat.blocks.warn import warn
from blockmat.optim.torch.blocks import (
    ROW_SCALARS,
    SHORTER,
    has_cores,
    n_blocks,
    resolve,
    shares_blocks,
)
from blockmat.optim.torch.cores import Cores
from blockmat.optim.torch.engine import BlockOptimizer
from blockmat.optim.torch.finite import (
    are_finite,
    raise_overflow,
    require_finite_gradients,
    require_finite_values,
)
from blockmat.optim.torch.gradients import require_shape
from blockmat.optim.torch.layout import Layout, layout_of
from blockmat.optim.torch.options import SHARED, Rule, check_options, is_bool, is_count, is_number
from blockmat.optim.torch.parameters import parameter_of, weight_of
from blockmat.optim.torch.ranks import ALONE
from blockmat.optim.torch.vector_step import VectorStep
from blockmat.optim.torch.weight_step import WeightStep, renew_roots
from blockmat.optim.torch.within import STRUCTURES


class BlockAdaGrad(BlockOptimizer):
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
        If a parameter has more than `max_blocks` blocks, or a core cannot be decomposed. If there are
        several matrices, and neither `model` nor `partition` is given.

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

    _option, _resolved, _default = "partition", "kinds", "shorter"

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
        options = {
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
        }
        super().__init__(params, options, model)

    def _check_options(self, group: dict[str, Any]) -> None:
        rules: list[Rule] = [
            ("momentum", lambda x: is_number(x) and x < 1, "a number from 0 to below 1"),
            ("nesterov", lambda x: not x or group["momentum"] > 0, "False without momentum"),
            ("structure", lambda x: isinstance(x, str) and x in STRUCTURES, '"aligned" or "mean"'),
            ("update_interval", lambda x: is_count(x) and x >= 1, "an integer of at least 1"),
            ("statistics_interval", lambda x: is_count(x) and x >= 1, "an integer of at least 1"),
            ("decay", _is_decay, "None or a number between 0 and 1"),
            ("decoupled_weight_decay", is_bool, "True or False"),
            ("on_nonfinite", lambda x: x in ("raise", "skip"), '"raise" or "skip"'),
        ]
        check_options(group, [*SHARED, *rules])
        for name in ("max_change", "grafting"):  # options of the past
            if group.get(name) not in (None, math.inf):
                raise ValueError(
                    f"{name} is {group[name]!r}; expected none: it is no option any more"
                )

    def _resolve(self, group: dict[str, Any], names: list[str | None], wanted: Any) -> list[Any]:
        needs_products = STRUCTURES[group["structure"]].needs_products
        kinds, too_many = resolve(
            group["params"], names, wanted, self._roles, group["max_blocks"], needs_products
        )
        if too_many:
            warn(
                f"more than max_blocks={group['max_blocks']} blocks in {', '.join(too_many)}: "
                f"one number per row, or per entry for labels, is kept instead",
            )
        for p, kind in zip(group["params"], kinds, strict=True):
            if isinstance(kind, Tensor) and parameter_of(p).ranks is not ALONE:
                raise ValueError(
                    "partition labels the entries of a parameter that is sharded; expected 'rows' or "
                    "'columns'"
                )
        return [*kinds]

    def _expected(
        self, saved: dict[str, Any], place: int, p: Tensor, state: dict[str, Any]
    ) -> dict[str, Any]:
        kind, shape = saved["kinds"][place], tuple(p.shape)
        expected: dict[str, Any] = {"momentum_buffer": shape} if "momentum_buffer" in state else {}
        if shares_blocks(kind):
            return expected
        if not has_cores(kind):
            by_row = (*shape[:1], *(1 for _ in shape[1:]))
            return expected | {"step": "int", "squares": by_row if kind == ROW_SCALARS else shape}
        if isinstance(kind, Tensor) and len(kind) != p.numel():
            raise ValueError(
                f"state_dict has {len(kind)} labels for a parameter of shape {shape}; expected "
                f"{p.numel()}"
            )
        steps = dict.fromkeys(("step", "measured", "refreshed"), "int")
        within = STRUCTURES[saved["structure"]]
        return expected | steps | Cores.shapes(n_blocks(kind, p), within)

    @torch.no_grad()
    def _step(self) -> None:
        weights, vectors = self._plan()
        steps: list[WeightStep | VectorStep] = [*weights, *vectors]
        if not are_finite(step.checked for step in steps):
            bad = [step for step in steps if not are_finite([step.checked])]
            self._raise([step for step in bad if step.group["on_nonfinite"] == "raise"])
            return
        for weight in weights:
            weight.measure()
        for failed in renew_roots([weight for weight in weights if weight.due.roots]):
            self._warn_of_failure(failed)
        for step in steps:
            step.update()

    def _raise(self, steps: list[WeightStep | VectorStep]) -> None:
        """Raise `NonFiniteError` for steps that are not finite, if there are any."""
        groups = [g for g in self.param_groups if any(step.group is g for step in steps)]
        params = [p for group in groups for p in group["params"] if p.grad is not None]
        require_finite_gradients(params, self._label)
        require_finite_values(params, self._label)
        if steps:
            raise_overflow(steps)

    def _plan(self) -> tuple[list[WeightStep], list[VectorStep]]:
        """Read all gradients; change nothing."""
        weights, vectors = [], []
        for group in self._complete_groups():
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
        layout: Layout | None = self._layouts.get(p)
        if layout is None:
            layout = self._layouts[p] = layout_of(kind, p)
        require_shape(p, layout)
        return layout

    def _warn_of_failure(self, step: WeightStep) -> None:
        if not getattr(self, "_has_warned_of_failure", False):
            self._has_warned_of_failure = True
            shape = tuple(step.weight.weight.whole.shape)
            warn(
                f"the statistics of a parameter of shape {shape} could not be "
                f"decomposed, also in double precision; it goes on with its last root",
            )


def _is_decay(x: Any) -> bool:
    return x is None or (is_number(x) and 0 < x < 1)
