"""Segments: sums of tensors over blocks, and numbers of blocks repeated for their variables."""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from blockmat.blocks.partition import Partition


class Segments:
    """The blocks of a partition as tensors on one device.

    Parameters
    ----------
    partition : Partition
        The blocks.
    device : torch.device
        Where the tensors are.

    Attributes
    ----------
    n, k : int
        The numbers of variables and of blocks.
    labels : Tensor, shape (n,)
        The block of each variable.
    sizes : Tensor, shape (k,)
        The number of variables in each block, in double precision.
    """

    def __init__(self, partition: Partition, device: torch.device) -> None:
        self.n, self.k = partition.n, partition.n_blocks
        self.labels = torch.tensor(partition.labels, dtype=torch.int64, device=device)
        self.sizes = torch.tensor(partition.sizes, dtype=torch.float64, device=device)

    def sums(self, x: Tensor) -> Tensor:
        """Sum x (..., n) over each block, in double precision: (..., k)."""
        zeros = x.new_zeros((*x.shape[:-1], self.k), dtype=torch.float64)
        return zeros.index_add(-1, self.labels, x.double())

    def repeat(self, numbers: Tensor) -> Tensor:
        """Repeat numbers of the blocks (..., k) for their variables: (..., n)."""
        return numbers.index_select(-1, self.labels)

    # Numbers of variables, which may be one for all (..., 1) or one for each block (..., k)

    def is_spread(self, numbers: Tensor) -> bool:
        """Tell whether numbers are given for each variable."""
        return numbers.shape[-1] == self.n

    def spread(self, numbers: Tensor) -> Tensor:
        """Return numbers that broadcast along n variables: (..., n) or (..., 1)."""
        if self.is_spread(numbers) or numbers.shape[-1] == 1:
            return numbers
        return self.repeat(numbers)

    def alike(self, *numbers: Tensor) -> list[Tensor]:
        """Return numbers that broadcast with each other, for variables if any of them are."""
        if any(map(self.is_spread, numbers)):
            return [self.spread(x) for x in numbers]
        return list(numbers)

    def weighted_sums(self, weights: Tensor, x: Tensor) -> Tensor:
        """Sum weights times x (..., n) over each block, in double precision."""
        if self.is_spread(weights):
            return self.sums(weights * x)
        return weights.double() * self.sums(x)

    def own_sums(self, numbers: Tensor) -> Tensor:
        """Sum the numbers of the variables of each block, in double precision: (..., k)."""
        if self.is_spread(numbers):
            return self.sums(numbers)
        return numbers.double() * self.sizes

    def total(self, numbers: Tensor) -> Tensor:
        """Sum the numbers of all variables, in double precision: (...)."""
        if self.is_spread(numbers):
            return numbers.sum(-1, dtype=torch.float64)
        return (numbers.double() * self.sizes).sum(-1)


_known: WeakKeyDictionary[Partition, dict[torch.device, Segments]] = WeakKeyDictionary()


def segments_of(partition: Partition, device: torch.device) -> Segments:
    """Return the blocks on a device. They are made once for each partition and device."""
    devices = _known.setdefault(partition, {})
    if device not in devices:
        devices[device] = Segments(partition, device)
    return devices[device]
