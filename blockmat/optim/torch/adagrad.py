"""BlockAdaGrad for PyTorch: AdaGrad whose matrix is block-constant in every layer.

Needs the ``torch`` extra.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from blockmat.exceptions import DtypeError, NonFiniteError
from blockmat.optim.torch.blocks import (
    DIAGONAL,
    ROW_SCALARS,
    SHORTER,
    Layout,
    Roles,
    check_keys,
    n_blocks,
    resolve,
)
from blockmat.optim.torch.sharded import like_parameter, local, shards_of
from blockmat.optim.torch.symmetric import decompose
from blockmat.optim.torch.weights import VectorStep, WeightStep

__all__ = ["BlockAdaGrad"]

_GRAFTS = (None, "row", "diagonal")
_STRUCTURES = ("scaled", "aligned", "mean")
MAX_CHANGE = 0.07  # of "scaled"
_BY_ENTRY = ("momentum_buffer", "squares")  # states that are cut as their parameters are


class BlockAdaGrad(Optimizer):
    r"""AdaGrad whose matrix is block-constant in every layer.

    Parameters
    ----------
    params : Module, or iterable of Tensor, of (str, Tensor), or of dict
        What to train. With names, or `model`, the bias of a linear layer joins the blocks of
        its weight, if these are its rows and both are in one group. A module as `params` is its
        own `model`.
    lr : float or Tensor, default 0.01
        The learning rate. With momentum 0.9, a tenth to a third of what is best without.
    momentum : float, default 0.0
        The momentum coefficient.
    nesterov : bool, default False
        Whether a step looks ahead along the momentum.
    structure : {"scaled", "aligned", "mean"}, default "scaled"
        One number off the diagonal and two in the diagonal blocks ("mean", as in the paper);
        two numbers in every block ("aligned"); or these for gradients whose columns, the
        members of the blocks at one place, are divided by their damped root mean square ("scaled").
    partition : str, Tensor or sequence of labels, dict or callable, default "shorter"
        The blocks of each parameter, seen as a matrix (out, rest): "rows" (one block per
        output neuron or filter), "columns", "shorter" (whichever is fewer), "row scalars"
        or "diagonal" (no blocks), or a label for each entry. A dict gives these by name, with
        or without the prefixes ``_orig_mod.`` and ``module.``, or by index in the group if there
        are no names, and a callable as ``partition(name, param)``.
    damping : float, default 1e-3
        What is added to the eigenvalues of a core, relative to its largest; at least eps.
    update_interval : int, default 50
        The longest time, in steps, that an inverse square root is used. Early steps renew
        it more often: once an eighth of all steps so far has passed.
    statistics_interval : int, default 5
        The longest time, in steps, between gradients that are added to the matrix, by the
        same rule. A gradient stands for those left out before it. Squares that are kept for
        columns, rows or entries are added at every step.
    decay : float, optional
        The factor of an exponential average of outer products, instead of their sum.
    max_change : float, optional
        Updates are shortened so that the same one, repeated for ever at this rate, changes a
        weight (with the bias in its blocks) in one step by no more than `max_change` times its
        norm, or the root of its number of rows if that is larger. A step can change more after
        the rate has risen, by the ratio of the rates, because the momentum still has updates
        that were bounded at the lower one; decoupled weight decay comes on top. While updates are
        shortened, the rate has no effect.
        By default 0.07 for "scaled", and infinity, which is no bound, for "aligned" and "mean".
    grafting : {None, "row", "diagonal"}, default None
        Take the length of each layer's update from AdaGrad with one number per block, or
        one per entry, and only the direction from the block-constant matrix.
    weight_decay : float, default 0.0
        The factor of the weights that is added to the gradient.
    decoupled_weight_decay : bool, default False
        Whether weights shrink by ``lr * weight_decay`` instead.
    maximize : bool, default False
        Whether to follow the gradient upwards.
    max_blocks : int, default 1024
        Parameters with more blocks get one number per row, or per entry if blocks are given by
        labels, and a warning says so.
    on_nonfinite : {"raise", "skip"}, default "raise"
        What to do about a gradient that contains NaN or infinity, or whose squares overflow,
        alone or in the sums: raise, or leave out the whole step. Nothing has changed in either
        case.
    model : Module, optional
        What tells the roles of `params` in any form: with "shorter", its embeddings get one
        number per row, and its last linear layer gets one per entry, unless it is the only
        matrix. It also gives names to parameters without. Without it, all matrices are alike.

    Raises
    ------
    TypeError
        For complex parameters, and in `step` for sparse gradients.
    ValueError
        If an option is out of range, labels do not fit a parameter, or a key of `partition`
        means no parameter; for a parameter that is cut over ranks in another way than
        `fully_shard` does, or with grafting or labels.

    See Also
    --------
    blockmat.optim.BlockAdaGrad : "mean" or "aligned" for NumPy arrays, with other defaults.
    torch.optim.Adagrad : one number per entry.

    Notes
    -----
    A gradient G (k, m) of k blocks adds to the canonical pair of a block-constant matrix,

    .. math::

        M \mathrel{+}= \tfrac1m (G 1)(G 1)^T, \quad
        D \mathrel{+}= \tfrac1{m-1} \left(G G^T - \tfrac1m (G 1)(G 1)^T\right),

    of which "mean" keeps only the diagonal of D [1]_. With :math:`\bar G` the matrix of its
    row means, the update is

    .. math::

        (M + \delta \lambda_{\max}(M) I)^{-1/2} \bar G
        + (D + \delta \lambda_{\max}(D) I)^{-1/2} (G - \bar G),

    full-matrix AdaGrad [2]_ on the projected matrix. With D alone in place of both, "aligned"
    would be one-sided Shampoo. "scaled" is the same with
    :math:`G \, \mathrm{diag}(c + \delta \max c)^{-1/2}` in place of G, where c is the mean square
    of each column over rows and steps so far. Vectors (norms, other biases) get one number
    per entry, as in `torch.optim.Adagrad`.

    Behind a LayerNorm or before one, :math:`\bar G` is zero but for rounding. So that rounding is
    not amplified, the root of a core is multiplied by :math:`w / (w + \varepsilon e)`, with w its
    largest eigenvalue, e the largest mean square of the entries of a block, summed likewise, and
    :math:`\varepsilon` the rounding of the gradient's dtype. Numbers per entry are not protected so.

    In single precision squares of gradients below about 1e-22 underflow; such gradients count as
    zero, for as long as they are so small.

    For k blocks in n entries, "mean" keeps at most 1.75 k\ :sup:`2` + 2 k numbers with the
    cached roots, "aligned" 3.5 k\ :sup:`2`, and "scaled" n / k more; see `state_bytes`. While
    the rank of M is at most k / 2 it is kept as its eigenvectors, which takes less memory and
    makes new roots cheap. Labels take three integers an entry more, outside the state.
    Half-precision parameters have single-precision statistics.

    Under DistributedDataParallel it needs nothing. Parameters that `fully_shard` has cut along their
    first dimension, over a mesh of one dimension, are trained as if they were whole: sums over
    ranks are of size k and k x k, and a weight whose blocks are its rows is, but for "mean", cut
    along its columns for the step. Momentum, and numbers per entry or row, stay cut; all else is
    the same on all ranks.

    It runs eagerly: a `torch.compile` region breaks at `step`, CUDA graphs cannot capture it
    (``capturable``), and it is not ``differentiable``. On a GPU, every step waits once, for
    the check that gradients are finite, and a few times more where roots are renewed.

    The derivation is in :ref:`theory-adagrad`.

    References
    ----------
    .. [1] Y. Lu, M. Harandi, R. Hartley, R. Pascanu, "Block Mean Approximation for
       Efficient Second Order Optimization", arXiv:1804.05484, 2018.
    .. [2] J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for Online
       Learning and Stochastic Optimization", JMLR 12, 2011.

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
        structure: str = "scaled",
        partition: Any = SHORTER,
        damping: float = 1e-3,
        update_interval: int = 50,
        statistics_interval: int = 5,
        decay: float | None = None,
        max_change: float | None = None,
        grafting: str | None = None,
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
            "max_change": max_change,
            "grafting": grafting,
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
            check_keys(partition, [*map(self._names_of, self.param_groups), *self._known_names()])

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, or take what `load_state_dict` has read."""
        super().__setstate__(state)
        self._layouts = {}
        self.__dict__.setdefault("_roles", Roles.of(None))
        for group in self.param_groups:  # older states have none
            group.setdefault("shapes", [list(p.shape) for p in group["params"]])

    def _names_of(self, group: dict[str, Any]) -> list[str | None]:
        return self._roles.names_of(group["params"], group.get("param_names"))

    def _known_names(self) -> list[list[str | None]]:
        """Return the names of the model as one group, or no group without a model."""
        return [[*self._roles.names.values()]] if self._roles.names else []

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters with options of its own.

        Parameters
        ----------
        param_group : dict
            ``params``, and any of the optimizer's options.

        Raises
        ------
        TypeError
            If a parameter is complex.
        ValueError
            If an option is out of range, or a key of its `partition` means no parameter;
            nothing is added then.

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
        is_own = isinstance(param_group, dict) and isinstance(param_group.get("partition"), dict)
        super().add_param_group(param_group)
        group = self.param_groups.pop()
        names = self._names_of(group)
        _check_options(group)
        if is_own:
            check_keys(group["partition"], [names, *self._known_names()])
        if group["max_change"] is None:
            group["max_change"] = MAX_CHANGE if group["structure"] == "scaled" else math.inf
        for p in group["params"]:
            if p.is_complex():
                raise DtypeError(f"a parameter has dtype {p.dtype}; expected real numbers")
            if shards_of(p) is not None and group["grafting"] is not None:
                raise ValueError(
                    f"grafting is {group['grafting']!r}; expected None for parameters that are sharded"
                )
        kinds, too_many = resolve(
            group["params"],
            names,
            group.pop("partition"),
            self._roles,
            group["max_blocks"],
            group["structure"] != "mean",
        )
        if too_many:
            warnings.warn(
                f"more than max_blocks={group['max_blocks']} blocks in {', '.join(too_many)}: "
                f"one number per row, or per entry for labels, is kept instead",
                stacklevel=3,
            )
        for p, kind in zip(group["params"], kinds, strict=True):
            if isinstance(kind, Tensor) and shards_of(p) is not None:
                raise ValueError(
                    "partition labels the entries of a parameter that is sharded; expected 'rows' or "
                    "'columns'"
                )
        group["kinds"] = kinds
        group["shapes"] = [list(p.shape) for p in group["params"]]
        self.param_groups.append(group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from where another optimizer was.

        Parameters
        ----------
        state_dict : dict
            What ``state_dict`` returned. Its options and blocks replace those of this optimizer.
            Statistics keep their precision, also for half-precision parameters, and are copied.

        Raises
        ------
        ValueError
            If it is of another optimizer, of parameters of other shapes, or statistics of a
            parameter are missing; nothing has changed then. A parameter without any state, or
            without a momentum buffer, starts anew.

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
        loaded: dict[Tensor, dict[str, Any]] = {}

        def read(_: Optimizer, final: dict[str, Any]) -> None:
            loaded.update(_states_of(final, self.param_groups))

        if "state" in state_dict:  # torch.distributed.checkpoint makes strings of the numbers
            states = {
                int(i) if isinstance(i, str) else i: s for i, s in state_dict["state"].items()
            }
            state_dict = state_dict | {"state": states}
        hook = self.register_load_state_dict_pre_hook(read)
        try:
            super().load_state_dict(state_dict)
        finally:
            hook.remove()
        for p, state in loaded.items():  # the base class casts to the parameter's dtype
            own = _copied(state, p.device)
            for name in _BY_ENTRY:
                if name in own:
                    own[name] = like_parameter(own[name], p)
            self.state[p] = own

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
        >>> for _ in range(10):
        ...     p.grad = torch.randn(4, 100)
        ...     optimizer.step()
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
            Computes the loss again, with its gradients.

        Returns
        -------
        object
            What the closure returned.

        Raises
        ------
        TypeError
            If a gradient is sparse.
        NonFiniteError
            If a gradient contains NaN or infinity, or its squares overflow; nothing has changed
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
        jobs: list[WeightStep | VectorStep] = [*weights, *vectors]
        if not _are_finite(job.checked for job in jobs):
            if any(group["on_nonfinite"] == "raise" for group in self.param_groups):
                _raise_non_finite(jobs)
            return loss
        for weight in weights:
            weight.measure()
        self._renew_roots([weight for weight in weights if weight.refresh])
        for job in jobs:
            job.update()
        return loss

    def _plan(self) -> tuple[list[WeightStep], list[VectorStep]]:
        """Read all gradients; change nothing."""
        weights, vectors = [], []
        for group in self.param_groups:
            params, kinds = group["params"], group["kinds"]
            biases = {
                kind: p for p, kind in zip(params, kinds, strict=True) if isinstance(kind, int)
            }
            plain: list[Tensor] = []
            by_row: list[bool] = []
            for i, (p, kind) in enumerate(zip(params, kinds, strict=True)):
                bias = biases.get(i)
                has_gradient = p.grad is not None or (bias is not None and bias.grad is not None)
                if isinstance(kind, int) or not has_gradient:
                    continue
                if isinstance(kind, Tensor) or kind not in (DIAGONAL, ROW_SCALARS):
                    weights.append(WeightStep(group, p, self._layout(p, kind), bias, self.state))
                else:
                    plain.append(p)
                    by_row.append(kind == ROW_SCALARS)
            if plain:
                vectors.append(VectorStep(group, plain, by_row, self.state))
        return weights, vectors

    def _layout(self, p: Tensor, kind: Any) -> Layout:
        if p not in self._layouts:
            self._layouts[p] = Layout(kind, p)
        return self._layouts[p]

    def _renew_roots(self, jobs: list[WeightStep]) -> None:
        """Decompose the cores of all weights that are due, those of one size together."""
        wanted = [job.to_decompose() for job in jobs]
        matrices = [matrix for own in wanted for matrix in own]
        shards = next((job.shards for job in jobs if job.shards is not None), None)
        results = decompose(matrices) if shards is None else shards.divided(matrices, decompose)
        found = iter(results)
        for job, own in zip(jobs, wanted, strict=True):
            pairs = [pair for _ in own if (pair := next(found)) is not None]
            if len(pairs) == len(own):
                job.keep_roots(pairs)
            else:
                self._warn_of_failure(job)

    def _warn_of_failure(self, job: WeightStep) -> None:
        if not getattr(self, "_has_warned_of_failure", False):
            self._has_warned_of_failure = True
            warnings.warn(
                f"the statistics of a parameter of shape {tuple(job.layout.shape)} could not be "
                f"decomposed, also in double precision; it goes on with its last root",
                stacklevel=4,
            )


def _check_options(group: dict[str, Any]) -> None:
    """Raise `ValueError` at the first option that is out of range."""
    lr = group["lr"]
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"Tensor lr must be 1-element; it has shape {tuple(lr.shape)}")
    for name, holds, expected in (
        ("lr", lambda x: 0 <= float(x) < float("inf"), "a finite number of at least 0"),
        ("momentum", lambda x: 0 <= x < 1, "a number from 0 to below 1"),
        ("nesterov", lambda x: not x or group["momentum"] > 0, "False without momentum"),
        ("structure", lambda x: x in _STRUCTURES, '"scaled", "aligned" or "mean"'),
        ("damping", lambda x: 0 < x < float("inf"), "a finite number above 0"),
        ("update_interval", lambda x: x == int(x) >= 1, "an integer of at least 1"),
        ("statistics_interval", lambda x: x == int(x) >= 1, "an integer of at least 1"),
        ("decay", lambda x: x is None or 0 < x < 1, "None or a number between 0 and 1"),
        ("max_change", lambda x: x is None or x > 0, "None or a number above 0"),
        ("grafting", lambda x: x in _GRAFTS, 'None, "row" or "diagonal"'),
        ("weight_decay", lambda x: 0 <= x < float("inf"), "a finite number of at least 0"),
        ("max_blocks", lambda x: x == int(x) >= 1, "an integer of at least 1"),
        ("on_nonfinite", lambda x: x in ("raise", "skip"), '"raise" or "skip"'),
    ):
        if not holds(group[name]):
            raise ValueError(f"{name} is {group[name]!r}; expected {expected}")


def _states_of(
    state_dict: dict[str, Any], groups: list[dict[str, Any]]
) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """Yield parameters with the states they are to have, or raise if these do not fit."""
    for saved, group in zip(state_dict["param_groups"], groups, strict=False):
        if "kinds" not in saved:
            raise ValueError("state_dict is of another optimizer; expected one of BlockAdaGrad")
        kinds = saved["kinds"]
        shapes = saved.get("shapes", [list(p.shape) for p in group["params"]])  # older have none
        for place, (i, p) in enumerate(zip(saved["params"], group["params"], strict=False)):
            if tuple(shapes[place]) != tuple(p.shape):
                raise ValueError(
                    f"state_dict is of a parameter of shape {tuple(shapes[place])}; expected "
                    f"{tuple(p.shape)}"
                )
            state = state_dict["state"].get(i)
            if state is None:
                continue
            has_bias = any(isinstance(kind, int) and kind == place for kind in kinds)
            kind = kinds[place]
            numbers = ["step", "measured", "refreshed"][: 3 if n_blocks(kind, p) else 1]
            numbers = [] if isinstance(kind, int) else numbers  # a bias has none
            if missing := [name for name in numbers if name not in state]:
                raise ValueError(
                    f"state_dict has no {', '.join(missing)}; expected {', '.join(numbers)}"
                )
            expected = _shapes_of_state(state, kind, p, has_bias, saved["structure"])
            for name, shape in expected.items():
                if (found := _shapes(state.get(name))) != shape:
                    raise ValueError(
                        f"state_dict has {name} of shape {found} for a parameter of shape "
                        f"{tuple(p.shape)}; expected {shape}"
                    )
            yield p, state


def _shapes_of_state(
    state: dict[str, Any], kind: Any, p: Tensor, has_bias: bool, structure: str
) -> dict[str, Any]:
    """Return the shapes of the tensors that a state must have, nested as they are."""
    shape = tuple(p.shape)
    expected: dict[str, Any] = {}
    if "momentum_buffer" in state:
        expected["momentum_buffer"] = shape
    if isinstance(kind, int):
        return expected
    if isinstance(kind, str) and kind in (DIAGONAL, ROW_SCALARS):
        by_row = (*shape[:1], *(1 for _ in shape[1:]))
        return expected | {"squares": by_row if kind == ROW_SCALARS else shape}
    k = n_blocks(kind, p)
    lower, square = [(k // 2, k // 2), (k - k // 2, k)], (k, k)
    if isinstance(kind, Tensor) and len(kind) != p.numel():
        raise ValueError(
            f"state_dict has {len(kind)} labels for a parameter of shape {shape}; expected "
            f"{p.numel()}"
        )
    aligned, between = structure != "mean", state.get("between")
    expected["within"] = lower if aligned else (k,)
    expected["within_root"] = square if aligned else (k,)
    if isinstance(between, dict) and "lower" in between:
        expected["between"] = {"lower": lower, "root": square}
    else:
        parts = between if isinstance(between, dict) else {}
        r, c = (
            len(t) if isinstance(t := parts.get(name), Tensor) and t.ndim == 1 else 0
            for name in ("weights", "change")
        )
        expected["between"] = {
            "vectors": (k, r), "weights": (r,), "scale": (), "change": (min(c, r),)
        }  # fmt: skip
    if "graft" in state:
        found = _shapes(state["graft"])
        fits = isinstance(found, list) and all(len(own) == 2 and own[0] == k for own in found)
        expected["graft"] = found if fits else [(k, 1)]
    if structure == "scaled":
        expected["columns"] = (p.numel() // max(k, 1) + has_bias,)
    return expected


def _shapes(value: Any) -> Any:
    """Return the shapes of nested tensors, and the type of anything else."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, dict):
        return {name: _shapes(item) for name, item in value.items()}
    return [_shapes(item) for item in value] if isinstance(value, list) else type(value).__name__


def _are_finite(sums: Iterable[Tensor]) -> bool:
    """Tell whether sums over gradients are finite, waiting for each device once."""
    by_device: dict[torch.device, list[Tensor]] = {}
    for s in sums:
        by_device.setdefault(s.device, []).append(s)
    return all(bool(torch.isfinite(torch.cat(own)).all()) for own in by_device.values())


def _raise_non_finite(jobs: list[WeightStep | VectorStep]) -> None:
    """Raise `NonFiniteError`, and say whether gradients or their squares are the cause."""
    if not all(bool(torch.isfinite(g).all()) for job in jobs for g in job.gradients):
        raise NonFiniteError("a gradient contains NaN or infinity; expected finite numbers")
    if any(shards_of(p) is not None for job in jobs for p in job.whole):
        raise NonFiniteError(
            "a gradient contains NaN or infinity on another rank, or its squares overflow; "
            "expected smaller numbers"
        )
    raise NonFiniteError("the squares of a gradient overflow; expected smaller numbers")


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested dicts and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(item)


def _copied(value: Any, device: torch.device) -> Any:
    """Copy nested dicts and lists, with their tensors, to a device."""
    if isinstance(value, Tensor):
        return value.detach().clone().to(device)
    if isinstance(value, dict):
        return {key: _copied(item, device) for key, item in value.items()}
    return [_copied(item, device) for item in value] if isinstance(value, list) else value
