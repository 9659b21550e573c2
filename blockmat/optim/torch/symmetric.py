"""Symmetric k x k matrices: three of four quarters are stored, and many are decomposed at once."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

Decomposition = tuple[Tensor, Tensor]  # eigenvalues (k,) and eigenvectors (k, k)


class Symmetric:
    """A symmetric matrix (k, k) that stores three of its four quarters.

    This takes 3/4 of the memory of the whole matrix, and adding products takes 3/4 of the work.

    Parameters
    ----------
    quarters : list of Tensor
        The upper left quarter, (h, h) with ``h = k // 2``, and the lower half, (k - h, k). The
        methods change them in place.
    """

    def __init__(self, quarters: list[Tensor]) -> None:
        self.quarters = quarters
        self.top, self.bottom = quarters

    @classmethod
    def zeros(cls, k: int, dtype: torch.dtype, device: torch.device) -> "Symmetric":
        """Return a matrix of zeros."""
        zeros = partial(torch.zeros, dtype=dtype, device=device)
        return cls([zeros(*shape) for shape in cls.shapes(k)])

    @staticmethod
    def shapes(k: int) -> list[tuple[int, int]]:
        """Return the shapes of the quarters."""
        half = k // 2
        return [(half, half), (k - half, k)]

    def add_products(self, x: Tensor, weight: float, decay: float) -> None:
        """Multiply the matrix by `decay`, then add ``weight * x @ x.T`` for x of shape (k, c)."""
        half = len(self.top)
        self.top.addmm_(x[:half], x[:half].T, beta=decay, alpha=weight)
        self.bottom.addmm_(x[half:], x.T, beta=decay, alpha=weight)

    def lower_triangle(self) -> Tensor:
        """Return a matrix (k, k) whose lower triangle is correct; the rest is undefined."""
        half, k = len(self.top), self.bottom.shape[1]
        matrix = self.bottom.new_zeros(k, k)
        matrix[:half, :half] = self.top
        matrix[half:] = self.bottom
        return matrix

    def diagonal(self) -> Tensor:
        """Return the diagonal, (k,)."""
        return torch.cat([self.top.diagonal(), self.bottom.diagonal(offset=len(self.top))])


def decompose(matrices: Sequence[Tensor]) -> list[Decomposition | None]:
    """Return the eigenvalues and eigenvectors of symmetric matrices.

    Only the lower triangles are read. Matrices of the same size are decomposed in one call. If
    that call fails, each of them is decomposed in double precision, and the result is None for a
    matrix that fails again.
    """
    found: list[Decomposition | None] = [None] * len(matrices)
    alike: dict[tuple[object, ...], list[int]] = {}
    for i, matrix in enumerate(matrices):
        alike.setdefault((matrix.shape, matrix.dtype, matrix.device), []).append(i)
    for indices in alike.values():
        together = _eigh(torch.stack([matrices[i] for i in indices]))
        for i, j in enumerate(indices):
            if together is not None:
                found[j] = together[0][i], together[1][i]
            elif (alone := _eigh(matrices[j].double())) is not None:
                found[j] = alone[0].to(matrices[j].dtype), alone[1].to(matrices[j].dtype)
    return found


def _eigh(matrices: Tensor) -> Decomposition | None:
    try:
        values, vectors = torch.linalg.eigh(matrices)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return None
    is_finite = torch.isfinite(values).all() & torch.isfinite(vectors).all()
    return (values, vectors) if bool(is_finite) else None
