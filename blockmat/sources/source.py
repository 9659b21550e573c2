"""Source: the interface of matrices and samples of any kind for fits."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.geometry import Pairing
from blockmat.blocks.partition import Partition
from blockmat.sources.pair import Pair


class Options(NamedTuple):
    """Arguments of `blockmat.fit` and `blockmat.fit_samples`.

    Each kind of source uses some of them.
    """

    numbers: int = 2
    aligned: bool = False
    check_finite: bool = True
    progress: bool | None = None
    diagonal: Any = None
    n_probes: int = 32
    random_state: Any = None
    ddof: int = 1
    assume_centered: bool = False


class Products(Protocol):
    """The methods of a matrix A with which a linear operator computes its distance to A."""

    def times(self, x: Array) -> Array:
        """Return ``A @ x`` in double precision."""

    def norm(self, exponent: int) -> float:
        """Return the Frobenius norm in units of ``2**exponent``."""


class Approximation(Products, Protocol):
    """The methods of a block-constant matrix A with which sources compute their distance to A."""

    @property
    def partition(self) -> Partition:
        """The blocks."""

    @property
    def pairing(self) -> Pairing:
        """The pairs of blocks with a second value."""

    @property
    def matrix(self) -> Any:
        """The block-constant matrix."""

    @property
    def T(self) -> "Approximation":
        """The transpose."""

    def numbers(self, dtype: Any, exponent: int) -> tuple[Array, Array]:
        """Return the value of each block (k, k), and what is added to it at paired entries.

        Both are in double precision, in units of ``2**exponent``. `dtype` is that of the source.
        """


class Residual(NamedTuple):
    """The distance of a source to an approximation.

    ``norms(exponent)`` returns the Frobenius norms of the difference and of the source, in units of
    ``2**exponent``. ``largest()`` returns a bound on the magnitude of the entries of the source.
    """

    norms: Callable[[int], tuple[float, float]]
    largest: Callable[[], float]


class Source(ABC):
    """A matrix (m, n), or samples (T, n), to which a block-constant matrix is fitted."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]  # of its fit
    is_operator: ClassVar[bool] = False

    @abstractmethod
    def pair(self, p: Partition, options: Options) -> Any:
        """Return the `Pair` of the closest block-constant matrix, or a Dask Delayed of it."""

    def then(self, function: Callable[[Pair], Any], pair: Any) -> Any:
        """Call a function with the result of `pair`."""
        return function(pair)


class LocalSource(Source):
    """A source that is read in this process."""

    @abstractmethod
    def between(
        self, rows: Partition, cols: Partition, check_finite: bool, progress: bool | None
    ) -> tuple[Array, np.dtype[Any]]:
        """Return the core ``U_r^H A U_c`` (k, l) of the closest rectangular matrix, and its dtype."""

    @abstractmethod
    def residual(self, A: Approximation, options: Options) -> Residual:
        """Return the distance to a block-constant matrix."""
