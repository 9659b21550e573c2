"""Network: edges with weights, whose nodes have degrees."""

from typing import Any

import numpy as np
from scipy.sparse import diags_array, issparse
from scipy.sparse.linalg import eigsh

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.correlations.similarity import SymmetricMatrix
from blockmat.sources.standardize import sum_of_squares

_EXACT_UP_TO = 2000  # nodes; of more, only the largest eigenvalues are computed


class Network:
    """A symmetric matrix A (n, n) of numbers of edges, or of other weights that are not negative.

    Loops, the entries on the diagonal, are not used. ``normalized`` is A without loops, divided
    by the square roots of the degrees of its rows and columns.
    """

    def __init__(self, source: Any) -> None:
        A = SymmetricMatrix(source)
        entries = A.matrix.data if A.is_sparse else A.matrix
        if entries.size and entries.min() < 0:
            raise ValueError(
                f"source has the negative entry {entries.min()}; expected numbers of edges for "
                f"degrees=True"
            )
        self.A, self.n, self.diagonal = A, A.n, A.diagonal
        self.degrees = np.zeros(0)
        if A.n:
            self.degrees = A.row_sums(Partition.from_sizes([A.n]))[:, 0] - A.diagonal
        self.is_connected = self.degrees > 0
        if not self.is_connected.any():
            raise ValueError("source has no edges; expected a network for degrees=True")
        self.normalized = self._normalized()
        self.squared_norm = sum_of_squares(self.normalized.data if A.is_sparse else self.normalized)

    def row_sums(self, p: Partition) -> Array:
        """Return the sum of each row over each block, (n, k)."""
        return self.A.row_sums(p)

    def with_signs(self, signs: Array) -> SymmetricMatrix:
        """Return ``S A S``, which is no network."""
        return self.A.with_signs(signs)

    def points(self, rank: int, rng: np.random.Generator) -> Array:
        """Return the coordinates of the nodes along leading eigenvectors, (n, r).

        They are eigenvectors of the normalized network. Each coordinate is multiplied by its
        eigenvalue, shortened as if noise with a semicircle of eigenvalues had been removed. The
        first two are not shortened.
        """
        N = self.normalized
        if self.n <= max(_EXACT_UP_TO, rank):
            values, vectors = np.linalg.eigh(N.toarray() if issparse(N) else N)
        else:
            values, vectors = eigsh(N, rank, which="LM", v0=rng.standard_normal(self.n))
        largest = np.argsort(-np.abs(values))[:rank]
        values, vectors = values[largest], vectors[:, largest]
        # The radius of a semicircle is twice the root of the mean square. The first radius counts
        # the signals as noise; the second does not count those outside the first.
        mean_square = self.squared_norm / self.n
        signals = values[np.abs(values) > 2 * np.sqrt(mean_square)]
        mean_square = max(mean_square - float((signals**2).sum()) / self.n, 0.0)
        lengths = np.sqrt(np.maximum(values**2 - 4 * mean_square, 0))
        lengths[:2] = np.abs(values[:2])
        points: Array = vectors * lengths
        return points

    def _normalized(self) -> Any:
        scale = np.sqrt(np.where(self.is_connected, self.degrees, 1))
        if self.A.is_sparse:
            S = diags_array(1 / scale)
            N = (S @ self.A.matrix.astype(np.float64) @ S).tocsr()
            return N - diags_array(N.diagonal(), format="csr")
        N = self.A.matrix / scale / scale[:, None]
        np.fill_diagonal(N, 0)
        return N
