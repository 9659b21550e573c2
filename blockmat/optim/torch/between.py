"""The between core of one weight in PyTorch: a weighted sum of outer products.

As long as they are at most half as many as the blocks, the vectors are kept: eigenvectors
as of the last root, and what was added since. The decomposition of their small Gram matrix
is then all that the inverse square root needs, because the core is zero away from their
span. With more, three quarters of the k x k matrix are kept.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from blockmat.optim.torch import symmetric
from blockmat.optim.torch.symmetric import compose, damped_inverse_root

State = dict[str, Any]


def new(k: int, dtype: torch.dtype, device: torch.device) -> State:
    """Return a core of zeros, with a root of zeros."""
    zeros = partial(torch.zeros, dtype=dtype, device=device)
    return {"vectors": zeros(k, 0), "weights": zeros(0), "scale": zeros(()), "change": zeros(0)}


def add(state: State, vector: Tensor, weight: float, decay: float) -> None:
    """Multiply the core by `decay` and add ``weight * vector @ vector.T``, for vector (k,)."""
    if "vectors" not in state:
        symmetric.add_products(state["lower"], vector.unsqueeze(1), weight, decay)
        return
    length = vector.norm()
    unit = torch.where(length > 0, vector / length, 0)
    state["weights"] = torch.cat([state["weights"] * decay, weight * length.square().view(1)])
    state["vectors"] = torch.cat([state["vectors"], unit.unsqueeze(1)], dim=1)
    k, n_vectors = state["vectors"].shape
    if n_vectors > k // 2:
        make_dense(state)


def make_dense(state: State) -> None:
    """Go over from vectors to the k x k matrix and its root."""
    vectors, weights, scale, change = (
        state.pop(name) for name in ("vectors", "weights", "scale", "change")
    )
    state["lower"] = symmetric.lower_zeros(len(vectors), vectors.dtype, vectors.device)
    symmetric.add_products(state["lower"], vectors * weights.sqrt(), 1, 1)
    state["root"] = compose(change, vectors[:, : len(change)])
    state["root"].diagonal().add_(scale)


def dense(state: State) -> Tensor:
    """Return the core, (k, k), of which only the lower triangle is right."""
    if "lower" in state:
        return symmetric.full(state["lower"])
    return compose(state["weights"], state["vectors"])


def diagonal(state: State) -> Tensor:
    """Return the diagonal of the core, (k,)."""
    if "lower" in state:
        return symmetric.diagonal(state["lower"])
    squares: Tensor = state["vectors"].square() @ state["weights"]
    return squares


def to_decompose(state: State) -> Tensor:
    """Return the symmetric matrix whose eigenvalues and eigenvectors `keep_root` wants.

    Its eigenvalues are those of the core, but for zeros.
    """
    if "lower" in state:
        return dense(state)
    scaled = state["vectors"] * state["weights"].sqrt()
    gram: Tensor = scaled.T @ scaled
    return gram


def keep_root(
    state: State, values: Tensor, basis: Tensor, damping: float, scale: float | Tensor
) -> None:
    """Keep `scale` times the damped inverse square root, from the decomposition.

    With vectors V, weights W and the Gram matrix Q diag(w) Q^T of V W^(1/2), the core is
    E diag(w) E^T for its eigenvectors E = V W^(1/2) Q diag(w)^(-1/2), and the root, with s for
    the damping, s^(-1/2) I + E diag((w + s)^(-1/2) - s^(-1/2)) E^T. Eigenvalues that are zero
    but for rounding are left out.
    """
    if "lower" in state:
        state["root"].copy_(compose(damped_inverse_root(values, damping) * scale, basis))
        return
    is_kept = values > torch.finfo(values.dtype).eps * values.amax()
    w = values[is_kept]
    to_eigenvectors = basis[:, is_kept] * w.rsqrt()
    state["vectors"] = (state["vectors"] * state["weights"].sqrt()) @ to_eigenvectors
    state["weights"] = w
    if not len(w):
        state["scale"], state["change"] = torch.zeros_like(state["scale"]), w
        return
    relative = w / w.amax()
    near, far = math.sqrt(damping), (relative + damping).sqrt()
    factor = scale * w.amax().rsqrt()
    state["scale"] = factor / near
    state["change"] = factor * -relative / (near * far * (near + far))  # without cancellation


def apply_root(state: State, vector: Tensor) -> Tensor:
    """Return the root times a vector (k,)."""
    if "lower" in state:
        result: Tensor = state["root"] @ vector
    else:
        some = state["vectors"][:, : len(state["change"])]
        result = state["scale"] * vector + some @ (state["change"] * (some.T @ vector))
    return result
