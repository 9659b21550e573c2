"""A weight as a stack of matrices with the shorter side first."""

import math
from collections.abc import Sequence

from torch import Tensor


class StackLayout:
    """How a parameter becomes a stack (B, k, m), k <= m, and back.

    Parameters
    ----------
    shape : sequence of int
        The shape of the parameter, which is flattened to (out, rest).
    n_groups : int
        The number of equal groups of rows that are matrices of their own.
    max_blocks : int
        A shorter side above it is divided into equal groups too.
    """

    def __init__(self, shape: Sequence[int], n_groups: int, max_blocks: int) -> None:
        rows, columns = shape[0] // n_groups, math.prod(shape[1:])
        parts = _divisor(min(rows, columns), max_blocks)
        splits_rows = rows <= columns
        self.shape = tuple(shape)
        self.n_row_groups = n_groups * parts if splits_rows else n_groups
        self.n_column_groups = 1 if splits_rows else parts
        self.rows, self.columns = shape[0] // self.n_row_groups, columns // self.n_column_groups
        self.is_transposed = self.rows > self.columns
        self.n = self.n_row_groups * self.n_column_groups
        self.k, self.m = sorted((self.rows, self.columns))
        # A whitened matrix H has H H^T = m I; an update should have the spectral norm below.
        self.scale = math.sqrt(min(1, rows / columns) / self.m)

    def stack(self, x: Tensor) -> Tensor:
        """Return a tensor like the parameter as a stack; a view where that is possible."""
        split = x.reshape(self.n_row_groups, self.rows, self.n_column_groups, self.columns)
        stack = split.transpose(1, 2).reshape(self.n, self.rows, self.columns)
        return stack.mT if self.is_transposed else stack

    def parameter(self, stack: Tensor) -> Tensor:
        """Return what `stack` was made from."""
        matrices = stack.mT if self.is_transposed else stack
        split = matrices.reshape(self.n_row_groups, self.n_column_groups, self.rows, self.columns)
        return split.transpose(1, 2).reshape(self.shape)


def _divisor(n: int, most: int) -> int:
    """Return the smallest number of equal parts of n things with at most `most` in a part.

    If they would have less than half of that, such as for a prime number, return 1.
    """
    fewest = -(-n // most)
    return next((parts for parts in range(fewest, 2 * fewest) if n % parts == 0), 1)
