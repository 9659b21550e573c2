"""What a saved state must contain, and how it is put back."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from blockmat.optim.torch.blocks import ROW_SCALARS, has_cores, n_blocks, shares_blocks
from blockmat.optim.torch.cores import Cores
from blockmat.optim.torch.parameters import parameter_of
from blockmat.optim.torch.within import STRUCTURES, WithinCore

_LIKE_PARAMETER = (
    "momentum_buffer",
    "squares",
    "momentum",
    "exp_avg",
    "exp_avg_sq",
)  # states that are cut as their parameters are


def fitting_states(
    state_dict: dict[str, Any], groups: list[dict[str, Any]]
) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """Yield each parameter that has a saved state, with that state.

    Raise `ValueError` where the state does not fit the parameter.
    """
    for saved, group in zip(state_dict["param_groups"], groups, strict=False):
        if "kinds" not in saved:
            raise ValueError("state_dict is of another optimizer; expected one of BlockAdaGrad")
        kinds, structure = saved["kinds"], _structure(saved["structure"])
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
            _check_numbers(state, kinds[place])
            check_shapes(state, _expected_shapes(state, kinds[place], p, structure), p)
            yield p, state


def load(
    optimizer: Optimizer,
    state_dict: dict[str, Any],
    fitting: Callable[..., Iterator[tuple[Tensor, dict[str, Any]]]],
) -> None:
    """Load a state into an optimizer, with its tensors in the dtypes that they were saved in.

    ``fitting(state_dict, param_groups)`` yields each parameter with its state, or raises.
    """
    loaded: dict[Tensor, dict[str, Any]] = {}

    def read(_: Optimizer, final: dict[str, Any]) -> None:
        loaded.update(fitting(final, optimizer.param_groups))

    hook = optimizer.register_load_state_dict_pre_hook(read)
    try:
        Optimizer.load_state_dict(optimizer, _with_integer_keys(state_dict))
    finally:
        hook.remove()
    for p, state in loaded.items():  # the base class has cast them to the parameter's dtype
        optimizer.state[p] = _copied_for(p, state)


def _with_integer_keys(state_dict: dict[str, Any]) -> dict[str, Any]:
    """Return a state with the numbers that torch.distributed.checkpoint has made strings."""
    if "state" not in state_dict:
        return state_dict
    states = {int(i) if isinstance(i, str) else i: s for i, s in state_dict["state"].items()}
    return state_dict | {"state": states}


def _copied_for(p: Tensor, state: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a saved state on the device of a parameter, cut as the parameter is."""
    own: dict[str, Any] = _copied(state, p.device)
    for name in _LIKE_PARAMETER:
        if name in own:
            own[name] = parameter_of(p).restored(own[name])
    return own


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested dicts and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(item)


def _structure(name: Any) -> type[WithinCore]:
    """Return the structure of a saved group, or raise `ValueError` if there is no such one."""
    if name not in STRUCTURES:
        known = "one of " + ", ".join(STRUCTURES)
        raise ValueError(f"structure is {name!r}; expected {known}")
    return STRUCTURES[name]


def _check_numbers(state: dict[str, Any], kind: Any) -> None:
    """Raise `ValueError` if the number of a step is missing."""
    if shares_blocks(kind):
        return
    expected = ["step", "measured", "refreshed"] if has_cores(kind) else ["step"]
    if missing := [name for name in expected if name not in state]:
        raise ValueError(f"state_dict has no {', '.join(missing)}; expected {', '.join(expected)}")


def check_shapes(state: dict[str, Any], expected: dict[str, Any], p: Tensor) -> None:
    """Raise `ValueError` if a tensor is missing or has another shape."""
    for name, shape in expected.items():
        if (found := shapes_in(state.get(name))) != shape:
            raise ValueError(
                f"state_dict has {name} of shape {found} for a parameter of shape "
                f"{tuple(p.shape)}; expected {shape}"
            )


def _expected_shapes(
    state: dict[str, Any], kind: Any, p: Tensor, within: type[WithinCore]
) -> dict[str, Any]:
    """Return the shapes of the tensors that a state must have, nested as they are."""
    shape = tuple(p.shape)
    expected: dict[str, Any] = {}
    if "momentum_buffer" in state:
        expected["momentum_buffer"] = shape
    if shares_blocks(kind):
        return expected
    if not has_cores(kind):
        by_row = (*shape[:1], *(1 for _ in shape[1:]))
        return expected | {"squares": by_row if kind == ROW_SCALARS else shape}
    if isinstance(kind, Tensor) and len(kind) != p.numel():
        raise ValueError(
            f"state_dict has {len(kind)} labels for a parameter of shape {shape}; expected "
            f"{p.numel()}"
        )
    return expected | Cores.shapes(n_blocks(kind, p), within)


def shapes_in(value: Any) -> Any:
    """Return the shapes of nested tensors, and the type of anything else."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, dict):
        return {name: shapes_in(item) for name, item in value.items()}
    return [shapes_in(item) for item in value] if isinstance(value, list) else type(value).__name__


def _copied(value: Any, device: torch.device) -> Any:
    """Copy nested dicts and lists, with their tensors, to a device."""
    if isinstance(value, Tensor):
        return value.detach().clone().to(device)
    if isinstance(value, dict):
        return {key: _copied(item, device) for key, item in value.items()}
    return [_copied(item, device) for item in value] if isinstance(value, list) else value
