"""Segments: sums of tensors over blocks, and numbers of blocks repeated for their variables."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from blockmat.blocks.partition import Partition
from blockmat.cores import pair
from blockmat.torch import arrays
from blockmat.torch.arrays import vmap_rule

_LONG = 2048  # numbers; summing them in one call takes less time than adding each of them

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
    partition : Partition
        The blocks.
    n, k : int
        The numbers of variables and of blocks.
    labels : Tensor, shape (n,)
        The block of each variable.
    sizes, roots : Tensor, shape (k,)
        The number of variables in each block, and its square root, in double precision.
    """

    labels: Tensor
    sizes: Tensor
    roots: Tensor

    def __init__(self, partition: Partition, device: torch.device) -> None:
        self.partition = partition
        self.labels, self.sizes = _labels(partition, device), _sizes(partition, device)
        self.roots = _roots(partition, device)
        self.n, self.k = len(self.labels), len(self.sizes)

    def sums(self, x: Tensor) -> Tensor:
        """Sum x (..., n) over each block, in double precision: (..., k)."""
        if torch.compiler.is_compiling():
            return self.sums_of_batch(x)
        sums: Tensor = _Sums.apply(x, self)  # type: ignore[no-untyped-call]
        return sums

    def repeat(self, numbers: Tensor) -> Tensor:
        """Repeat numbers of the blocks (..., k) for their variables: (..., n)."""
        if torch.compiler.is_compiling():
            return self.repeated_in_batch(numbers)
        repeated: Tensor = _Repeat.apply(numbers, self)  # type: ignore[no-untyped-call]
        return repeated

    def sums_of_batch(self, x: Tensor) -> Tensor:
        """Compute `sums` by adding each number to the sum of its block."""
        zeros = x.new_zeros((*x.shape[:-1], self.k), dtype=torch.float64)
        return zeros.scatter_add(-1, self.labels.expand(x.shape), x.double())

    def repeated_in_batch(self, numbers: Tensor) -> Tensor:
        """Compute `repeat` by looking up the number of each block."""
        return numbers.gather(-1, self.labels.expand(*numbers.shape[:-1], self.n))

    def lengths_if_long(self, n_vectors: int) -> list[int] | None:
        """Return the sizes of the blocks if they are long intervals, worth a call for each."""
        if self.k * _LONG > n_vectors * self.n:
            return None
        return _lengths(self.partition)

    def coordinates(self, sums: Tensor) -> Tensor:
        """Return the coordinates ``U^T x`` from block sums, as `blockmat.cores.pair` does."""
        return sums / self.roots

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

    def total(self, numbers: Tensor) -> Tensor:
        """Sum the numbers of all variables, in double precision: (...)."""
        if self.is_spread(numbers):
            return numbers.sum(-1, dtype=torch.float64)
        return (numbers.double() * self.sizes).sum(-1)


@vmap_rule
class _Sums(torch.autograd.Function):
    """Block sums, the adjoint of `_Repeat`."""

    @staticmethod
    def forward(x: Tensor, segments: Segments) -> Tensor:
        if arrays.has_kernels(x):
            return arrays.block_sums(segments.partition, x)
        n_vectors = x.numel() // segments.n
        if lengths := segments.lengths_if_long(n_vectors):
            parts = x.split(lengths, -1)  # type: ignore[no-untyped-call]
            return torch.stack([part.sum(-1, dtype=torch.float64) for part in parts], -1)
        if n_vectors == 1:  # for which an index with one axis is faster
            return segments.sums_of_batch(x.reshape(-1)).reshape(*x.shape[:-1], segments.k)
        return segments.sums_of_batch(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Segments], output: Tensor) -> None:
        ctx.segments, ctx.dtype = inputs[1], inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.segments.repeat(gradient.to(ctx.dtype)), None


@vmap_rule
class _Repeat(torch.autograd.Function):
    """Numbers of blocks repeated for their variables, the adjoint of `_Sums`."""

    @staticmethod
    def forward(numbers: Tensor, segments: Segments) -> Tensor:
        n_vectors = numbers.numel() // segments.k
        if lengths := segments.lengths_if_long(n_vectors):
            each = zip(numbers.split(1, -1), lengths, strict=True)  # type: ignore[no-untyped-call]
            return torch.cat([x.expand(*x.shape[:-1], length) for x, length in each], -1)
        if n_vectors == 1:
            repeated = numbers.reshape(-1).index_select(0, segments.labels)
            return repeated.reshape(*numbers.shape[:-1], segments.n)
        return segments.repeated_in_batch(numbers)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Segments], output: Tensor) -> None:
        ctx.segments, ctx.dtype = inputs[1], inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.segments.sums(gradient).to(ctx.dtype), None


_known_lengths: WeakKeyDictionary[Partition, list[int]] = WeakKeyDictionary()


def _lengths(partition: Partition) -> list[int] | None:
    """Return the sizes of blocks that are consecutive intervals."""
    if not partition.is_contiguous:
        return None
    if partition not in _known_lengths:
        _known_lengths[partition] = partition.sizes.tolist()
    return _known_lengths[partition]


_Known = WeakKeyDictionary[Partition, dict[torch.device, Tensor]]
_known_labels: _Known = WeakKeyDictionary()
_known_sizes: _Known = WeakKeyDictionary()
_known_roots: _Known = WeakKeyDictionary()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _labels(partition: Partition, device: torch.device) -> Tensor:
    def make() -> Tensor:
        return torch.tensor(partition.labels, dtype=torch.int64, device=device)

    return _made_once(_known_labels, partition, device, make)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _sizes(partition: Partition, device: torch.device) -> Tensor:
    def make() -> Tensor:
        return torch.tensor(partition.sizes, dtype=torch.float64, device=device)

    return _made_once(_known_sizes, partition, device, make)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _roots(partition: Partition, device: torch.device) -> Tensor:
    return _made_once(_known_roots, partition, device, lambda: pair.root(_sizes(partition, device)))


def _made_once(
    known: _Known, partition: Partition, device: torch.device, make: Callable[[], Tensor]
) -> Tensor:
    """Return a tensor that is made once for each partition and device."""
    devices = known.setdefault(partition, {})
    if device not in devices:
        devices[device] = make()
    return devices[device]
