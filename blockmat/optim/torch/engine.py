"""What the optimizers have in common: parameters and groups, checkpoints, and the order of a step."""

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from blockmat.blocks.warn import warn
from blockmat.exceptions import DtypeError
from blockmat.optim.torch.checkpoint import check_state, load, tensors_in
from blockmat.optim.torch.naming import Roles, check_keys
from blockmat.optim.torch.parameters import local, parameter_of

Group = dict[str, Any]


def _checked(params: Any) -> Any:
    """Return parameters, those of an iterator as a list, or say what they are if they are none."""
    if isinstance(params, type) and issubclass(params, nn.Module):
        raise TypeError(
            f"params is the class {params.__name__}; expected a module, such as {params.__name__}(...)"
        )
    if callable(params) and hasattr(params, "__name__"):
        raise TypeError(
            f"params is the function {params.__name__}; expected the model, or its parameters: "
            f"{params.__name__}()"
        )
    if isinstance(params, dict):
        raise TypeError("params is a dict; expected the model, or model.named_parameters()")
    params = [*params] if isinstance(params, Iterator) else params
    if isinstance(params, list | tuple) and any(isinstance(p, nn.Module) for p in params):
        raise TypeError(
            "params is a list with a module; expected the model alone, or a list of parameters"
        )
    return params


class BlockOptimizer(Optimizer):
    """An optimizer that keeps a block-constant matrix for each weight.

    One option says what each parameter gets: one value for all of them, a dict by name or index, or a
    callable. A group does not keep it, but what follows from it for each of its parameters.

    Parameters
    ----------
    params : Module, or iterable of Tensor, of (str, Tensor), or of dict
        The parameters. A module is also its own `model`.
    defaults : dict
        The options.
    model : Module or None
        The module that has the parameters.
    """

    _option: ClassVar[str]  # the name of that option
    _default: ClassVar[str | None]  # its default
    _resolved: ClassVar[str]  # the key of what follows from it

    def __init__(self, params: Any, defaults: Group, model: nn.Module | None) -> None:
        if model is not None and not isinstance(model, nn.Module):
            raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
        if isinstance(params, nn.Module):
            model = params if model is None else model
            params = params.named_parameters()
        params = _checked(params)
        self._roles = Roles.of(model)
        self._layouts: dict[Any, Any] = {}
        super().__init__(params, defaults | {"differentiable": False})
        if model is not None and not any(
            p in self._roles.names for group in self.param_groups for p in group["params"]
        ):
            raise ValueError("model has none of the parameters; expected the module that has them")
        self._check_keys(defaults[self._option], self.param_groups)
        wanted = defaults[self._option]
        if (
            model is None
            and (wanted is None or isinstance(wanted, str))
            and wanted == self._default
        ):
            self._warn_without_model(params)

    def _warn_without_model(self, params: list[Any]) -> None:
        """Warn if there are several matrices, and nothing says which of them are embeddings."""
        if any(isinstance(group, dict) and self._option in group for group in params):
            return
        n = sum(p.ndim > 1 for group in self.param_groups for p in group["params"])
        if n > 1:
            warn(
                f"params has {n} matrices and no model is given, so embeddings and the output layer "
                f"are treated as all other matrices; expected {type(self).__name__}(model), or "
                f"model=model. If there is no model, pass {self._option}={{}} to silence this warning",
            )

    @abstractmethod
    def _check_options(self, group: Group) -> None:
        """Raise `ValueError` at the first option of a group that is out of range."""

    @abstractmethod
    def _resolve(self, group: Group, names: list[str | None], wanted: Any) -> list[Any]:
        """Return what each parameter of a group gets, or raise if that is not possible."""

    @abstractmethod
    def _expected(self, saved: Group, place: int, p: Tensor, state: Group) -> Group:
        """Return the shapes of what must be in the saved state of a parameter of a saved group."""

    @abstractmethod
    def _step(self) -> None:
        """Make a step from the present gradients."""

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle keeps."""
        return super().__getstate__() | {"_roles": self._roles}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, or take what `load_state_dict` has read."""
        super().__setstate__(state)
        self._layouts = {}
        self.__dict__.setdefault("_roles", Roles.of(None))  # pickles of older versions have none

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
        >>> optimizer = BlockAdamW(a.parameters(), lr=0.003)
        >>> optimizer.add_param_group({"params": b.parameters(), "lr": 0.001})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.003, 0.001]
        """
        has_own = isinstance(param_group, dict) and self._option in param_group
        if isinstance(param_group, dict):
            for name in {"kinds", "n_matrices", "shapes"} & set(param_group):
                raise ValueError(f"{name} is no option; expected {self._option} or none")
            if isinstance(param_group.get("params"), Iterator):  # which can be read only once
                param_group["params"] = [*param_group["params"]]
            param_group = param_group.copy()  # the caller may use it again
        super().add_param_group(param_group)
        group = self.param_groups.pop()
        self._check_options(group)
        for p in group["params"]:
            if p.is_complex():
                raise DtypeError(f"a parameter has dtype {p.dtype}; expected real numbers")
            parameter_of(p)  # raises if it is cut in another way than supported
        wanted = group.pop(self._option)
        if has_own:
            self._check_keys(wanted, [group])
        group[self._resolved] = self._resolve(group, self._names_of(group), wanted)
        self.param_groups.append(group)

    def state_dict(self) -> dict[str, Any]:
        """Return the options and statistics of all parameters, for `load_state_dict`.

        Returns
        -------
        dict
            Numbers, dicts, lists and tensors, which are not copied.

        Examples
        --------
        >>> import torch
        >>> from blockmat.optim.torch import BlockAdamW
        >>> p = torch.nn.Parameter(torch.ones(2, 3))
        >>> BlockAdamW([p]).state_dict()["param_groups"][0]["shapes"]
        [[2, 3]]
        """
        for group in self.param_groups:
            group["shapes"] = [list(p.shape) for p in group["params"]]
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state.

        Parameters
        ----------
        state_dict : dict
            What ``state_dict`` returned. Its options, and what it says of each parameter, replace those
            of this optimizer, and its tensors are copied.

        Raises
        ------
        ValueError
            If the state is of another optimizer or of parameters of other shapes or dtypes, or if part
            of it is missing. Nothing has changed then.

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
        load(self, state_dict, self._fitting)

    def state_bytes(self) -> int:
        """Return the memory of all statistics, roots and momentum on this rank.

        Returns
        -------
        int
            Bytes; 0 before the first step.

        Examples
        --------
        >>> import torch
        >>> from blockmat.optim.torch import BlockAdaGrad, BlockAdamW
        >>> p = torch.nn.Parameter(torch.ones(4, 100))
        >>> p.grad = torch.randn(4, 100)
        >>> optimizers = BlockAdaGrad([p]), BlockAdamW([p])
        >>> for optimizer in optimizers:
        ...     optimizer.step()
        >>> optimizers[0].state_bytes() == 4 * (3.5 * 4**2)
        True
        >>> optimizers[1].state_bytes() == 4 * (4 * 100 + 4**2 + 100 * 2 + 4)
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
            If a gradient contains NaN or infinity, or its squares overflow. Nothing has changed
            then.

        Examples
        --------
        >>> import torch
        >>> from blockmat.optim.torch import BlockAdaGrad, BlockAdamW
        >>> for optimizer in (BlockAdaGrad, BlockAdamW):
        ...     p = torch.nn.Parameter(torch.ones(3))
        ...     p.sum().backward()
        ...     optimizer([p], lr=0.01).step()
        ...     print(p.detach())
        tensor([0.9900, 0.9900, 0.9900])
        tensor([0.9500, 0.9500, 0.9500])
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with contextlib.ExitStack() as stack:
            for device in {p.device.type for group in self.param_groups for p in group["params"]}:
                stack.enter_context(torch.autocast(device, enabled=False))
            self._step()
        return loss

    def _complete_groups(self) -> Iterator[Group]:
        """Yield the groups. Raise `ValueError` if parameters were added to a group by hand."""
        for group in self.param_groups:
            found, known = len(group["params"]), len(group[self._resolved])
            if found != known:
                raise ValueError(
                    f"a group has {found} parameters; expected {known}, as it had when it was added "
                    f"(add_param_group adds others)"
                )
            yield group

    def _names_of(self, group: Group) -> list[str | None]:
        return self._roles.names_of(group["params"], group.get("param_names"))

    def _label(self, parameter: Tensor) -> str:
        """Return the name of a parameter, or its place if it has none."""
        place = ""
        for number, group in enumerate(self.param_groups):
            of_group = f" of group {number}" if len(self.param_groups) > 1 else ""
            for i, (p, name) in enumerate(zip(group["params"], self._names_of(group), strict=True)):
                if p is parameter:
                    place = name or f"parameter {i}{of_group}"
        return place

    def _check_keys(self, wanted: Any, groups: list[Group]) -> None:
        """Raise `ValueError` if a key of the option names no parameter, of groups or of the model."""
        if isinstance(wanted, dict):
            names = [*map(self._names_of, groups), *self._roles.groups_of_names()]
            check_keys(wanted, names, self._option)

    def _fitting(self, state_dict: dict[str, Any]) -> Iterator[tuple[Tensor, dict[str, Any]]]:
        """Yield each parameter that has a saved state, with that state.

        Raise `ValueError` where the state does not fit the parameter.
        """
        needed = {*self.defaults, self._resolved} - {self._option}
        for saved, group in zip(state_dict["param_groups"], self.param_groups, strict=False):
            if not needed <= set(saved):
                raise ValueError(
                    f"state_dict is of another optimizer; expected one of {type(self).__name__}"
                )
            self._check_options(saved)
            shapes = saved.get("shapes", [p.shape for p in group["params"]])
            for place, (i, p) in enumerate(zip(saved["params"], group["params"], strict=False)):
                if tuple(shapes[place]) != tuple(p.shape):
                    raise ValueError(
                        f"state_dict is of a parameter of shape {tuple(shapes[place])}; expected "
                        f"{tuple(p.shape)}"
                    )
                if state := state_dict["state"].get(i):
                    check_state(state, self._expected(saved, place, p, state), p)
                    yield p, state
