"""The between core of a weight, a weighted sum of outer products: as vectors or as a matrix.

`VectorCore` stores the vectors while they are at most half as many as the blocks. Its root comes
from the decomposition of their small Gram matrix, because the core is zero outside their span.
`DenseCore` stores three quarters of the matrix. Both read and write the dictionary that a
checkpoint saves, and have the same methods.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from blockmat.cores import pair
from blockmat.optim.torch.symmetric import Symmetric

State = dict[str, Any]


class VectorCore:
    """The sum of ``weights[i] * outer(vectors[:, i], vectors[:, i])``, with few vectors.

    Parameters
    ----------
    state : dict
        ``vectors`` (k, r) of length 1, their ``weights`` (r,), and the root: ``scale`` times the
        identity plus the first vectors with the weights ``change``. After the root was renewed,
        all vectors are eigenvectors of the core.
    """

    def __init__(self, state: State) -> None:
        self.state = state

    @staticmethod
    def zeros(k: int, dtype: torch.dtype, device: torch.device) -> State:
        """Return the state of a core of zeros, with a root of zeros."""
        zeros = partial(torch.zeros, dtype=dtype, device=device)
        return {"vectors": zeros(k, 0), "weights": zeros(0), "scale": zeros(()), "change": zeros(0)}

    @staticmethod
    def shapes(k: int, state: Any) -> dict[str, Any]:
        """Return the shapes of a state that has so many weights, for a check of checkpoints."""
        parts = state if isinstance(state, dict) else {}
        n_vectors, n_changes = (
            len(t) if isinstance(t := parts.get(name), Tensor) and t.ndim == 1 else 0
            for name in ("weights", "change")
        )
        return {
            "vectors": (k, n_vectors), "weights": (n_vectors,), "scale": (),
            "change": (min(n_changes, n_vectors),),
        }  # fmt: skip

    def add(self, vector: Tensor, weight: float, decay: float) -> "VectorCore | DenseCore":
        """Multiply the core by `decay`, then add ``weight * outer(vector, vector)``.

        Return the core to use from now on, which is a `DenseCore` once there are too many vectors.
        """
        state = self.state
        length = vector.norm()
        unit = torch.where(length > 0, vector / length, 0)
        state["weights"] = torch.cat([state["weights"] * decay, weight * length.square().view(1)])
        state["vectors"] = torch.cat([state["vectors"], unit.unsqueeze(1)], dim=1)
        k, n_vectors = state["vectors"].shape
        return self.to_dense_core() if n_vectors > k // 2 else self

    def to_dense_core(self) -> "DenseCore":
        """Replace the vectors by the matrix and its root."""
        vectors, weights, scale, change = (
            self.state.pop(name) for name in ("vectors", "weights", "scale", "change")
        )
        lower = Symmetric.zeros(len(vectors), vectors.dtype, vectors.device)
        lower.add_products(vectors * weights.sqrt(), 1, 1)
        self.state["lower"] = lower.quarters
        self.state["root"] = pair.compose(change, vectors[:, : len(change)])
        self.state["root"].diagonal().add_(scale)
        return DenseCore(self.state)

    def lower_triangle(self) -> Tensor:
        """Return a matrix (k, k) whose lower triangle is that of the core."""
        matrix: Tensor = pair.compose(self.state["weights"], self.state["vectors"])
        return matrix

    def diagonal(self) -> Tensor:
        """Return the diagonal of the core, (k,)."""
        squares: Tensor = self.state["vectors"].square() @ self.state["weights"]
        return squares

    def to_decompose(self) -> Tensor:
        """Return the Gram matrix of the weighted vectors; it has the core's nonzero eigenvalues."""
        scaled = self._scaled()
        gram: Tensor = scaled.T @ scaled
        return gram

    def keep_root(
        self, values: Tensor, basis: Tensor, damping: float, scale: float | Tensor
    ) -> None:
        """Store `scale` times the damped inverse square root, from the decomposed Gram matrix.

        For vectors V, weights W and the Gram matrix Q diag(w) Q^T of V W^(1/2), the core is
        E diag(w) E^T with its eigenvectors E = V W^(1/2) Q diag(w)^(-1/2). The root, with the
        damping s, is s^(-1/2) I + E diag((w + s)^(-1/2) - s^(-1/2)) E^T. Eigenvalues that are
        zero except for rounding are dropped.
        """
        state = self.state
        is_kept = values > torch.finfo(values.dtype).eps * values.amax()
        w = values[is_kept]
        to_eigenvectors = basis[:, is_kept] * w.rsqrt()
        state["vectors"] = self._scaled() @ to_eigenvectors
        state["weights"] = w
        if not len(w):
            state["scale"], state["change"] = torch.zeros_like(state["scale"]), w
            return
        relative = w / w.amax()
        near, far = math.sqrt(damping), (relative + damping).sqrt()
        factor = scale * w.amax().rsqrt()
        state["scale"] = factor / near
        state["change"] = factor * -relative / (near * far * (near + far))  # no cancellation

    def apply_root(self, vector: Tensor) -> Tensor:
        """Return the root times a vector (k,)."""
        state = self.state
        some = state["vectors"][:, : len(state["change"])]
        result: Tensor = state["scale"] * vector + some @ (state["change"] * (some.T @ vector))
        return result

    def _scaled(self) -> Tensor:
        scaled: Tensor = self.state["vectors"] * self.state["weights"].sqrt()
        return scaled


class DenseCore:
    """The same sum as a matrix.

    Parameters
    ----------
    state : dict
        The quarters ``lower`` of the matrix, see `Symmetric`, and its ``root`` (k, k).
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.matrix = Symmetric(state["lower"])

    @staticmethod
    def shapes(k: int) -> dict[str, Any]:
        """Return the shapes of the state, for a check of checkpoints."""
        return {"lower": Symmetric.shapes(k), "root": (k, k)}

    def add(self, vector: Tensor, weight: float, decay: float) -> "DenseCore":
        """Multiply the core by `decay`, then add ``weight * outer(vector, vector)``."""
        self.matrix.add_products(vector.unsqueeze(1), weight, decay)
        return self

    def to_dense_core(self) -> "DenseCore":
        """Return this core."""
        return self

    def lower_triangle(self) -> Tensor:
        """Return a matrix (k, k) whose lower triangle is that of the core."""
        return self.matrix.lower_triangle()

    def diagonal(self) -> Tensor:
        """Return the diagonal of the core, (k,)."""
        return self.matrix.diagonal()

    def to_decompose(self) -> Tensor:
        """Return the lower triangle of the core."""
        return self.matrix.lower_triangle()

    def keep_root(
        self, values: Tensor, basis: Tensor, damping: float, scale: float | Tensor
    ) -> None:
        """Store `scale` times the damped inverse square root, from the decomposed core."""
        self.state["root"].copy_(
            pair.compose(pair.damped_inverse_root(values, damping) * scale, basis)
        )

    def apply_root(self, vector: Tensor) -> Tensor:
        """Return the root times a vector (k,)."""
        result: Tensor = self.state["root"] @ vector
        return result


BetweenCore = VectorCore | DenseCore


def is_dense(state: Any) -> bool:
    """Return whether a state, which may be damaged, is that of a `DenseCore`."""
    return isinstance(state, dict) and "lower" in state


def between_core(state: State) -> BetweenCore:
    """Return the core whose state this is."""
    return DenseCore(state) if is_dense(state) else VectorCore(state)
