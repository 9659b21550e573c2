"""What a saved state must contain, and how it is put back."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from blockmat.optim.torch.gradients import kept_dtype
from blockmat.optim.torch.parameters import parameter_of

_LIKE_PARAMETER = (
    "momentum_buffer",
    "squares",
    "momentum",
    "exp_avg",
    "exp_avg_sq",
)  # states that are cut as their parameters are


def load(
    optimizer: Optimizer,
    state_dict: dict[str, Any],
    fitting: Callable[[dict[str, Any]], Iterator[tuple[Tensor, dict[str, Any]]]],
) -> None:
    """Load a state into an optimizer, with its tensors in the dtypes that they were saved in.

    ``fitting(state_dict)`` yields each parameter with its state, or raises.
    """
    loaded: dict[Tensor, dict[str, Any]] = {}

    def read(_: Optimizer, final: dict[str, Any]) -> None:
        loaded.update(fitting(final))

    hook = optimizer.register_load_state_dict_pre_hook(read)
    try:
        Optimizer.load_state_dict(optimizer, _with_integer_keys(state_dict))
    finally:
        hook.remove()
    for p, state in loaded.items():  # the base class has cast them to the parameter's dtype
        optimizer.state[p] = _copied_for(p, state)


def check_state(state: dict[str, Any], expected: dict[str, Any], p: Tensor) -> None:
    """Raise `ValueError` if part of a state is missing, or has another shape or dtype.

    `expected` has the shapes of tensors, nested as they are, and the names of other types.
    """
    for name, shape in expected.items():
        if (found := shapes_in(state.get(name))) != shape:
            raise ValueError(
                f"state_dict has {name} of shape {found} for a parameter of shape "
                f"{tuple(p.shape)}; expected {shape}"
            )
        dtype = torch.float32 if name == "step" else kept_dtype(p)
        for tensor in tensors_in(state[name]):
            if tensor.dtype != dtype:
                raise ValueError(
                    f"state_dict has {name} of dtype {tensor.dtype} for a parameter of dtype "
                    f"{p.dtype}; expected {dtype}"
                )


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested dicts and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(item)


def shapes_in(value: Any) -> Any:
    """Return the shapes of nested tensors, and the type of anything else."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, dict):
        return {name: shapes_in(item) for name, item in value.items()}
    return [shapes_in(item) for item in value] if isinstance(value, list) else type(value).__name__


def _with_integer_keys(state_dict: dict[str, Any]) -> dict[str, Any]:
    """Return a state with the numbers that torch.distributed.checkpoint has made strings."""
    if "state" not in state_dict:
        return state_dict
    return state_dict | {
        "state": {
            int(i) if isinstance(i, str) and i.isdecimal() else i: state
            for i, state in state_dict["state"].items()
        }
    }


def _copied_for(p: Tensor, state: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a saved state on the device of a parameter, cut as the parameter is."""
    own: dict[str, Any] = _copied(state, p.device)
    for name in _LIKE_PARAMETER:
        if name in own:
            own[name] = parameter_of(p).restored(own[name]).contiguous()
    return own


def _copied(value: Any, device: torch.device) -> Any:
    """Copy nested dicts and lists, with their tensors, to a device."""
    if isinstance(value, Tensor):
        return value.detach().clone().to(device)
    if isinstance(value, dict):
        return {key: _copied(item, device) for key, item in value.items()}
    return [_copied(item, device) for item in value] if isinstance(value, list) else value
