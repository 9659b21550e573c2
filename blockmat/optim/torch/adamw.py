"""BlockAdamW for PyTorch."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from blockmat.blocks.warn import warn
from blockmat.optim.torch.adam import LIKE_PARAMETER, step_of_others
from blockmat.optim.torch.engine import BlockOptimizer
from blockmat.optim.torch.options import SHARED, Rule, check_options, is_bool, is_count, is_number
from blockmat.optim.torch.plan import finite_counts, plans_of
from blockmat.optim.torch.precision import single_precision
from blockmat.optim.torch.roles import resolve_roles
from blockmat.optim.torch.stack import StackLayout
from blockmat.optim.torch.whitened_step import shapes, step_of_weights

_SLOW = 0.95  # AdamW's, for training on text


class BlockAdamW(BlockOptimizer):
    r"""AdamW whose second moment of a weight is a block-constant matrix.

    :doc:`/optimizers` is the guide.

    Parameters
    ----------
    params : Module, or iterable of Tensor, of (str, Tensor), or of dict
        The parameters. A module is also its own `model`.
    lr : float or Tensor, default 3e-3
        The learning rate. One rate fits all parameters; those that are no matrices get a multiple.
        That of AdamW is usually too small.
    betas : (float, float), default (0.9, 0.5)
        The factors of the running means of the gradient and of its second moment, for matrices. The
        second one of AdamW does not fit.
    weight_decay : float, default 0.0
        In each step matrices are multiplied by ``1 - lr * weight_decay``.
    damping : float, default 1e-6
        Added to the eigenvalues of a core, relative to its norm.
    n_directions : int, default 16
        The most directions of the long side of a matrix that get a variance of their own. A matrix
        whose short side is k has at most k / 4.
    nesterov : bool, default True
        Use Nesterov momentum.
    roles : optional
        "matrix", "adam", or the number of matrices that the rows of a parameter are, such as 3 for the
        weight of a layer that computes queries, keys and values. A dict has these by name or index,
        and a callable is called as ``roles(name, param)``. None means the default. Names come from
        the model or from named parameters; without them `name` is None.
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

    Warns
    -----
    UserWarning
        If there are several matrices, and neither `model` nor ``roles`` is given; or if the second one of
        `betas` is that of AdamW.

    See Also
    --------
    BlockAdaGrad : AdaGrad with the same family of matrices.

    Notes
    -----
    A weight is a matrix with its shorter side k first. With its momentum U (k, m), the update is

    .. math::

        D^{-1/2} U S^{-1/2} \left(V \Lambda^{-1/2} V^T + \sigma^{-1} (I - V V^T)\right)

    times a factor of its shape. D (k, k), the diagonal S, and the directions V with their variances
    are running means over a few steps. No variance counts as more than :math:`4 \sigma^2`
    (:ref:`theory-momentum`).

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

    _option, _resolved, _default = "roles", "n_matrices", None

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
        options = {
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
        }
        super().__init__(params, options, model)
        slow = [own for group in self.param_groups if (own := group["betas"])[1] >= _SLOW]
        if slow:
            warn(
                f"betas is {slow[0]!r}; expected about (0.9, 0.5), because the second one is for the "
                f"second moment of an average. AdamW's fits adam_betas only",
            )

    def _check_options(self, group: dict[str, Any]) -> None:
        rules: list[Rule] = [
            ("betas", _are_betas, "two numbers from 0 to below 1"),
            ("adam_betas", _are_betas, "two numbers from 0 to below 1"),
            ("eps", is_number, "a finite number of at least 0"),
            ("n_directions", is_count, "an integer of at least 0"),
            ("decay_all", is_bool, "True or False"),
            ("on_nonfinite", lambda x: x in (None, "raise", "skip"), 'None, "raise" or "skip"'),
        ]
        check_options(group, [*SHARED, *rules])

    def _resolve(self, group: dict[str, Any], names: list[str | None], wanted: Any) -> list[Any]:
        return [*resolve_roles(group["params"], names, wanted, self._roles)]

    def _expected(
        self, saved: dict[str, Any], place: int, p: Tensor, state: dict[str, Any]
    ) -> dict[str, Any]:
        n_matrices, shape = saved["n_matrices"][place], tuple(p.shape)
        if not n_matrices:
            return dict.fromkeys(LIKE_PARAMETER, shape) | {"step": ()}
        layout = StackLayout(shape, n_matrices, saved["max_blocks"])
        variances = state.get("variances")
        r = variances.shape[-1] if isinstance(variances, Tensor) and variances.ndim == 2 else 0
        return shapes(layout, r) | {"momentum": shape}

    def _step(self) -> None:
        self.update()

    @torch.no_grad()
    def update(self) -> None:
        """Make a step from the present gradients, without closure and hooks.

        `torch.compile` takes it as one graph. A rate that is a float compiles once more when it
        changes; a tensor does not.

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
        plans = [
            plan
            for group in self._complete_groups()
            for plan in plans_of(group, self._layouts, self.state)
        ]
        counts = finite_counts(plans, self._label)
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


def _are_betas(betas: Any) -> bool:
    return (
        isinstance(betas, tuple | list)
        and len(betas) == 2
        and all(is_number(beta) and np.float32(beta) < 1 for beta in betas)
    )
