"""The between core of one weight in PyTorch: a weighted sum of outer products.

As long as it has at most half as many vectors as blocks, unit vectors are kept. Then the
decomposition of their small Gram matrix gives the inverse square root exactly: away from
their span the core is zero. With more, three quarters of the k x k matrix are kept.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from blockmat.optim import _torch_symmetric as symmetric
from blockmat.optim._torch_symmetric import compose, damped_inverse_root

State = dict[str, Any]


def new(k: int, dtype: torch.dtype, device: torch.device) -> State:
    """Return a core of zeros, with a root of zeros."""
    zeros = partial(torch.zeros, dtype=dtype, device=device)
    return {"vectors": zeros(k, 0), "weights": zeros(0), "scale": zeros(()), "middle": zeros(0, 0)}


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
    vectors, weights, scale = (state.pop(name) for name in ("vectors", "weights", "scale"))
    k = len(vectors)
    state["lower"] = symmetric.lower_zeros(k, vectors.dtype, vectors.device)
    symmetric.add_products(state["lower"], vectors * weights.sqrt(), 1, 1)
    middle = state.pop("middle")
    some = vectors[:, : len(middle)]
    state["root"] = some @ middle @ some.T
    state["root"].diagonal().add_(scale)


def dense(state: State) -> Tensor:
    """Return the core, (k, k), of which only the lower triangle is right."""
    if "lower" in state:
        return symmetric.full(state["lower"])
    matrix: Tensor = (state["vectors"] * state["weights"]) @ state["vectors"].T
    return matrix


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


def keep_root(state: State, values: Tensor, vectors: Tensor, damping: float, scale: float) -> None:
    """Keep `scale` times the damped inverse square root, from the decomposition.

    With unit vectors V, weights W, and the Gram matrix Q diag(w) Q^T of V W^(1/2), the root of
    V W V^T + s I is s^(-1/2) I + V W^(1/2) Q diag(h) Q^T W^(1/2) V^T, where
    h = ((w + s)^(-1/2) - s^(-1/2)) / w, here without its cancellation, and relative to the
    largest w so that nothing overflows.
    """
    if "lower" in state:
        state["root"].copy_(compose(damped_inverse_root(values, damping) * scale, vectors))
        return
    w = values.clamp(min=0)
    largest = w.amax()
    near, far = math.sqrt(damping), (w / largest + damping).sqrt()
    h = -1 / (near * far * (near + far))
    middle = compose(h, (state["weights"] / largest).sqrt().unsqueeze(1) * vectors)
    factor = scale * largest.rsqrt()
    state["scale"] = torch.where(largest > 0, factor / near, 0)
    state["middle"] = torch.where(largest > 0, factor * middle, 0)


def apply_root(state: State, vector: Tensor) -> Tensor:
    """Return the root times a vector (k,)."""
    if "lower" in state:
        result: Tensor = state["root"] @ vector
    else:
        some = state["vectors"][:, : len(state["middle"])]
        result = state["scale"] * vector + some @ (state["middle"] @ (some.T @ vector))
    return result
