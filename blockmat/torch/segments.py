"""Segments: sums of tensors over blocks, and numbers of blocks repeated for their variables."""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.cores import pair

for _example in (torch.zeros(1), torch.nn.Parameter(torch.zeros(1))):
    pair.namespace(_example)  # finds it now: `torch.compile` cannot trace the search


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

    labels: Tensor
    sizes: Tensor

    def __init__(self, partition: Partition, device: torch.device) -> None:
        self.labels, self.sizes = _labels(partition, device), _sizes(partition, device)
        self.n, self.k = len(self.labels), len(self.sizes)

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

    def of_blocks(self, numbers: Tensor) -> Tensor:
        """Return numbers of blocks (..., k) as numbers of variables.

        They are repeated if n is k, where their number of entries would say that they are spread.
        """
        return self.repeat(numbers) if self.n == self.k else numbers

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


_Known = WeakKeyDictionary[Partition, dict[torch.device, Tensor]]
_known_labels: _Known = WeakKeyDictionary()
_known_sizes: _Known = WeakKeyDictionary()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _labels(partition: Partition, device: torch.device) -> Tensor:
    return _on_device(_known_labels, partition, device, partition.labels, torch.int64)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _sizes(partition: Partition, device: torch.device) -> Tensor:
    return _on_device(_known_sizes, partition, device, partition.sizes, torch.float64)


def _on_device(
    known: _Known, partition: Partition, device: torch.device, array: Array, dtype: torch.dtype
) -> Tensor:
    """Return an array of a partition as a tensor, made once for each partition and device."""
    devices = known.setdefault(partition, {})
    if device not in devices:
        devices[device] = torch.tensor(array, dtype=dtype, device=device)
    return devices[device]
