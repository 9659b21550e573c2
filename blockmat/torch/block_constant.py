"""BlockConstantMatrix: batches of block-constant matrices with gradients."""

from typing import Any, Self

import torch
from torch import Tensor

from blockmat.cores import pair
from blockmat.exceptions import (
    IndefiniteMatrixError,
    PartitionMismatchError,
    SingularMatrixError,
)
from blockmat.matrices import block_constant
from blockmat.torch import cores, frame
from blockmat.torch.block_factor import BlockFactorMatrix
from blockmat.torch.cores import DenseCore, DiagonalCore
from blockmat.torch.matrix import TensorMatrix
from blockmat.torch.moments import inv_quad_logdet, logdet
from blockmat.torch.parts import (
    as_factor,
    as_numbers,
    as_parts,
    batch_shape_of,
    check_core,
    check_finite,
    partition_of,
)
from blockmat.torch.roots import square_root
from blockmat.torch.segments import Segments

__all__ = ["BlockConstantMatrix"]


class BlockConstantMatrix(TensorMatrix):
    r"""A batch of square matrices that are constant on the blocks of a partition, with gradients.

    It is the matrix of `blockmat.BlockConstantMatrix` for PyTorch, on any device. All operations
    are exact and take :math:`O(n + k^3)` time for each matrix. It keeps the tensors that it was
    given, and stores no results: it computes anew after they change.

    Parameters
    ----------
    partition : Partition or sequence of hashable, shape (n,)
        The blocks, or a label for each variable.
    between : Tensor, shape (..., k, k) or (..., k)
        The core M, which acts on block sums divided by the square roots of the sizes. For
        independent blocks its diagonal: then no k x k tensor is made.
    within : Tensor, shape (..., k)
        The numbers d, which multiply the deviations from these means. Numbers of blocks of one
        variable are not used.
    independent : bool, optional
        Whether `between` is a diagonal, (..., k). By default it is one if it has one axis.
    check : bool, default True
        Whether to check numbers: finite here, and symmetric, not zero or positive where an operation
        needs it. The checks wait for the device. Use False inside `torch.func.vmap`, where the numbers
        are not known. Code that `torch.compile` compiles does not check.

    Raises
    ------
    PartitionError
        If the labels are not a partition.
    ShapeError
        If a tensor does not fit the partition, or the batch axes do not broadcast.
    DtypeError
        If a tensor is neither float32 nor float64.
    NonFiniteError
        If one contains NaN or infinity.
    ValueError
        If the tensors are on different devices.

    See Also
    --------
    blockmat.BlockConstantMatrix : the matrix for NumPy and SciPy.

    Notes
    -----
    The axes in front of the last ones are batch axes. Those of `between` and `within` broadcast.
    float32 matrices sum over blocks, and compute with M, in double precision, which the device must
    support. See :ref:`theory-pair`.

    Examples
    --------
    >>> import torch
    >>> import blockmat.torch as bmt
    >>> M = torch.tensor([[2.0, 1.0], [1.0, 3.0]], requires_grad=True)
    >>> A = bmt.BlockConstantMatrix(["a", "a", "b"], M, torch.tensor([1.0, 0.0]))
    >>> A @ torch.ones(3)
    tensor([2.7071, 2.7071, 4.4142], grad_fn=<SelectBackward0>)
    >>> A.logdet().backward()
    >>> M.grad
    tensor([[ 0.6000, -0.2000],
            [-0.2000,  0.4000]])
    """

    def __init__(
        self,
        partition: Any,
        between: Any,
        within: Any,
        *,
        independent: bool | None = None,
        check: bool = True,
    ) -> None:
        p, check = partition_of(partition), check and not torch.compiler.is_compiling()
        parts = as_parts({"between": between, "within": within})
        if independent is None:
            independent = parts["between"].ndim == 1
        k = Segments(p, parts["between"].device).k
        check_core(parts["between"], "between", k, independent)
        check_core(parts["within"], "within", k, True)
        axes = {"between": 1 if independent else 2, "within": 1}
        if check:
            check_finite(parts)
        self._set(p, parts, axes, check)

    @classmethod
    def from_values(
        cls, partition: Any, values: Any, diagonal: Any, *, check: bool = True
    ) -> "BlockConstantMatrix":
        """Make a matrix from the numbers in its blocks.

        Parameters
        ----------
        partition : Partition or sequence of hashable, shape (n,)
            The blocks, or a label for each variable.
        values : Tensor, shape (..., k, k)
            The number in each block, off its diagonal.
        diagonal : Tensor, shape (..., k)
            The number on the diagonal of each diagonal block.
        check : bool, default True
            As in the constructor.

        Returns
        -------
        BlockConstantMatrix
            With these numbers.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> A = bmt.BlockConstantMatrix.from_values([0, 0], torch.tensor([[0.5]]), torch.ones(1))
        >>> A.to_dense()
        tensor([[1.0000, 0.5000],
                [0.5000, 1.0000]])
        """
        p = partition_of(partition)
        parts = as_parts({"values": values, "diagonal": diagonal})
        segments = Segments(p, parts["values"].device)
        k = segments.k
        check_core(parts["values"], "values", k, False)
        check_core(parts["diagonal"], "diagonal", k, True)
        batch = batch_shape_of(parts, {"values": 2, "diagonal": 1})
        values, diagonal = parts["values"].expand(*batch, k, k), parts["diagonal"].expand(*batch, k)
        between, within = pair.pair_of_values(values, diagonal, segments.sizes.to(values.dtype))
        return cls(p, between, within, independent=False, check=check)

    @classmethod
    def from_numpy(cls, matrix: Any) -> "BlockConstantMatrix":
        """Convert a matrix for NumPy.

        Parameters
        ----------
        matrix : blockmat.BlockConstantMatrix
            A real matrix without aligned blocks.

        Returns
        -------
        BlockConstantMatrix
            A copy, on the CPU.

        Raises
        ------
        TypeError
            If it is another object.
        ValueError
            If it has aligned blocks.
        DtypeError
            If it is complex.

        Examples
        --------
        >>> import blockmat as bm
        >>> import blockmat.torch as bmt
        >>> bmt.BlockConstantMatrix.from_numpy(bm.BlockConstantMatrix.identity([0, 0]))
        <2x2 BlockConstantMatrix of 1 blocks, dtype=torch.float64, device=cpu>
        """
        if not isinstance(matrix, block_constant.BlockConstantMatrix):
            raise TypeError(
                f"matrix is a {type(matrix).__name__}; expected a blockmat.BlockConstantMatrix"
            )
        if matrix.is_aligned:
            raise ValueError("matrix has aligned blocks; expected one within number for each block")
        parts = (torch.tensor(x) for x in (matrix.between, matrix.within))
        return cls(matrix.partition, *parts, check=False)

    def numpy(self) -> block_constant.BlockConstantMatrix:
        """Convert to a matrix for NumPy and SciPy.

        Returns
        -------
        blockmat.BlockConstantMatrix
            A copy, without gradients.

        Raises
        ------
        ShapeError
            If the matrix has batch axes.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.BlockConstantMatrix([0, 0], torch.eye(1), torch.ones(1)).numpy()
        <2x2 BlockConstantMatrix of 1 blocks, dtype=float32>
        """
        self._require_no_batch()
        between, within = (self._parts[x].numpy(force=True) for x in ("between", "within"))
        if self.is_independent:
            between = pair.as_square(between[None], between)
        return block_constant.BlockConstantMatrix(self._partition, between, within)

    @property
    def between(self) -> Tensor:
        """The core M, (..., k, k), or its diagonal for independent blocks, (..., k)."""
        return self._parts["between"]

    @property
    def within(self) -> Tensor:
        """The numbers d, (..., k)."""
        return self._parts["within"]

    @property
    def is_independent(self) -> bool:
        """Whether only the diagonal of M is stored."""
        return self._axes["between"] == 1

    # Numbers in double precision

    @property
    def _core(self) -> DenseCore | DiagonalCore:
        kind = DiagonalCore if self.is_independent else DenseCore
        core: DenseCore | DiagonalCore = kind(self.between, "between", self._check)
        return core

    @property
    def _has_deviations(self) -> Tensor:
        """Whether blocks have several variables, (k,). Others have no within number."""
        several: Tensor = self._segments.sizes > 1
        return several

    def _within_or(self, other: float) -> Tensor:
        """Return d, with another number for blocks of one variable."""
        return torch.where(self._has_deviations, self.within.double(), other)

    def _positive_within(self, operation: str) -> Tensor:
        d = self._within_or(1)
        if self._check and not cores.are_positive(d):
            raise IndefiniteMatrixError(
                f"{operation} needs a positive definite matrix, and within"
                f"{cores.first_of(~(d > 0))} is not positive"
            )
        return d

    def _reciprocal_within(self, operation: str) -> Tensor:
        """Return 1 / d, and 0 for blocks of one variable."""
        d = self._within_or(1)
        if self._check and bool((d == 0).any()):
            raise SingularMatrixError(
                f"{operation} needs an invertible matrix, and within{cores.first_of(d == 0)} is 0"
            )
        return torch.where(self._has_deviations, 1 / d, 0)

    # Maps of rows

    def _times_rows(self, rows: Tensor) -> Tensor:
        segments, d = self._segments, self._within_or(0)[..., None, :]
        means = segments.coordinates(segments.sums(rows))
        means = means[(None,) * (d.ndim - means.ndim)]  # `lift` counts axes
        shift = pair.lift(self._core.times(means), d, means, segments.sizes)
        dtype = torch.promote_types(self.dtype, rows.dtype)
        return segments.repeat(d.to(dtype)) * rows + segments.repeat(shift.to(dtype))

    def _solved_rows(self, rows: Tensor) -> Tensor:
        return self._mapped_rows(rows, self._core.solve, self._reciprocal_within("solve"))

    def _whitened_rows(self, rows: Tensor) -> Tensor:
        root = self._core.cholesky("whiten")
        d = torch.where(self._has_deviations, self._positive_within("whiten").rsqrt(), 0)
        return self._mapped_rows(rows, root.solve, d)

    def _colored_rows(self, rows: Tensor) -> Tensor:
        root = self._core.cholesky("colorize")
        d = torch.where(self._has_deviations, self._positive_within("colorize").sqrt(), 0)
        return self._mapped_rows(rows, root.times, d)

    def _mapped_rows(self, rows: Tensor, function: frame.Function, scale: Tensor) -> Tensor:
        rows = rows.to(torch.promote_types(self.dtype, rows.dtype))
        return frame.mapped_means(self._segments, rows, function, scale[..., None, :])

    def _logdet(self) -> Tensor:
        d = self._positive_within("logdet")
        return logdet(self._segments, self._core.cholesky("logdet"), d)

    def _inv_quad_logdet(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        d = self._positive_within("inv_quad_logdet")
        return inv_quad_logdet(self._segments, self._core.cholesky("inv_quad_logdet"), d, rows)

    # Determinant, inverse and roots

    def slogdet(self) -> tuple[Tensor, Tensor]:
        """Return the signs and the logarithms of the absolute determinants.

        Returns
        -------
        sign : Tensor, shape batch_shape
            1, 0 or -1.
        logabsdet : Tensor, shape batch_shape
            The natural logarithms; minus infinity for a singular matrix.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.BlockConstantMatrix([0, 0], -torch.eye(1), torch.ones(1)).slogdet()
        (tensor(-1.), tensor(0.))
        """
        d, sizes = self._within_or(1), self._segments.sizes
        sign, logdet = self._core.slogdet()
        signs = torch.where(sizes % 2 == 0, d.sign(), d.sign().square())
        total = logdet + pair.multiplicity_sum(d.abs().log(), sizes)
        return (sign * signs.prod(-1)).to(self.dtype), total.to(self.dtype)

    def inv(self) -> Self:
        """Invert.

        Returns
        -------
        BlockConstantMatrix
            The inverse.

        Raises
        ------
        SingularMatrixError
            If a matrix is exactly singular.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.BlockConstantMatrix([0, 0], 4 * torch.eye(1), torch.ones(1)).inv().between
        tensor([[0.2500]])
        """
        inverse = self._core.inverse(), self._reciprocal_within("inv")
        between, within = (x.to(self.dtype) for x in inverse)
        return self._with({"between": between, "within": within})

    def sqrtm(self) -> Self:
        """Return the square root of symmetric positive definite matrices.

        Returns
        -------
        BlockConstantMatrix
            The symmetric positive definite B with ``B @ B == A``.

        Raises
        ------
        NotHermitianError, IndefiniteMatrixError
            If a matrix is not symmetric or not positive definite.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.BlockConstantMatrix([0, 0], 4 * torch.eye(1), torch.ones(1)).sqrtm().between
        tensor([[2.]])
        """
        return self._root("sqrtm")

    def invsqrtm(self) -> Self:
        """Return the inverse square root of symmetric positive definite matrices.

        Returns
        -------
        BlockConstantMatrix
            The inverse of `sqrtm`.

        Raises
        ------
        NotHermitianError, IndefiniteMatrixError
            If a matrix is not symmetric or not positive definite.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.BlockConstantMatrix([0, 0], 4 * torch.eye(1), torch.ones(1)).invsqrtm().between
        tensor([[0.5000]])
        """
        return self._root("invsqrtm").inv()

    def _root(self, operation: str) -> Self:
        d = self._positive_within(operation).sqrt()
        core = self._core
        if self._check:
            core.cholesky(operation)  # raises the errors
        if isinstance(core, DiagonalCore):
            between = core.values.sqrt()
        else:
            between = square_root(cores.symmetric_part(core.values))
        return self._with({"between": between.to(self.dtype), "within": d.to(self.dtype)})

    # Entries

    def to_dense(self) -> Tensor:
        """Make the dense matrices.

        Returns
        -------
        Tensor, shape (..., n, n)
            Every entry.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.BlockConstantMatrix([0, 0], 3 * torch.eye(1), torch.ones(1)).to_dense()
        tensor([[2., 1.],
                [1., 2.]])
        """
        segments, d = self._segments, self._within_or(0)
        between = torch.diag_embed(self.between) if self.is_independent else self.between
        values = pair.values(between.double(), d, segments.sizes)
        labels = segments.labels
        dense: Tensor = values[..., labels[:, None], labels].to(self.dtype)
        return dense + torch.diag_embed(segments.repeat(d.to(self.dtype)))

    def diagonal(self) -> Tensor:
        """Return the diagonals.

        Returns
        -------
        Tensor, shape (..., n)
            The diagonal entries: for a covariance, the variances.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.BlockConstantMatrix([0, 0], 3 * torch.eye(1), torch.ones(1)).diagonal()
        tensor([2., 2.])
        """
        segments, d = self._segments, self._within_or(0)
        own = (self._own - d) / segments.sizes + d
        return segments.repeat(own.to(self.dtype))

    @property
    def _own(self) -> Tensor:
        """The diagonal of M in double precision, (..., k)."""
        own: Tensor = self.between if self.is_independent else pair.diagonal(self.between)
        return own.double()

    def trace(self) -> Tensor:
        """Return the traces.

        Returns
        -------
        Tensor, shape batch_shape
            The sums of the diagonals.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.BlockConstantMatrix([0, 0], 3 * torch.eye(1), torch.ones(1)).trace()
        tensor(4.)
        """
        of_within = pair.multiplicity_sum(self._within_or(0), self._segments.sizes)
        total: Tensor = (self._own.sum(-1) + of_within).to(self.dtype)
        return total

    # Algebra

    def add_diagonal(self, values: Any) -> "BlockConstantMatrix | BlockFactorMatrix":
        """Add diagonal matrices.

        Parameters
        ----------
        values : number or Tensor, shape (..., n), (..., k) or (..., 1)
            The diagonals: a number for each variable, for each block, or for all.

        Returns
        -------
        BlockConstantMatrix or BlockFactorMatrix
            The second for a number for each variable. The matrix must then be symmetric, and
            `within` plus the numbers must be positive.

        Raises
        ------
        ShapeError, DtypeError
            If `values` does not fit.
        NotHermitianError, ValueError
            If a BlockFactorMatrix needs a symmetric matrix or positive numbers.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> A = bmt.BlockConstantMatrix([0, 0], torch.eye(1), torch.ones(1))
        >>> A.add_diagonal(0.5).diagonal()
        tensor([1.5000, 1.5000])
        >>> A.add_diagonal(torch.tensor([1.0, 2.0])).diagonal()
        tensor([2., 3.])
        """
        p = self._partition
        given = as_parts({"between": self.between, "within": self.within, "values": values})
        added = as_numbers(given["values"], "values", p.n, p.n_blocks)
        M, d = given["between"], torch.where(self._has_deviations, given["within"], 0)
        if added.shape[-1] == p.n and p.n > p.n_blocks:
            segments = self._segments
            covariance = self._values(M.double(), d.double()).to(M.dtype)
            return BlockFactorMatrix(
                p, covariance, segments.repeat(d) + added,
                independent=self.is_independent, check=self._check,
            )  # fmt: skip
        added = added.expand(*added.shape[:-1], p.n_blocks)
        if self.is_independent:
            return self._of(M + added, d + added, True)
        return self._of(M + torch.diag_embed(added), d + added, False)

    def _values(self, M: Tensor, d: Tensor) -> Tensor:
        """Return the numbers in the blocks off their diagonals; of diagonal blocks if independent."""
        sizes = self._segments.sizes
        if self.is_independent:
            own: Tensor = (M - d) / sizes
            return own
        values: Tensor = pair.values(M, d[(None,) * (M.ndim - 1 - d.ndim)], sizes)
        return values

    @property
    def mT(self) -> Self:
        """The transposed matrices."""
        return self if self.is_independent else self._with({"between": self.between.mT})

    def __matmul__(self, x: Any) -> Any:
        if not isinstance(x, BlockConstantMatrix):
            return super().__matmul__(x)
        M, N, independent = self._cores_with(x)
        return self._of(M * N if independent else M @ N, self.within * x.within, independent)

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, BlockConstantMatrix):
            return NotImplemented
        M, N, independent = self._cores_with(other)
        return self._of(M + N, self.within + other.within, independent)

    def __sub__(self, other: Any) -> Any:
        return self + -other if isinstance(other, BlockConstantMatrix) else NotImplemented

    def __mul__(self, scalar: Any) -> Any:
        factor = as_factor(scalar)
        if factor is None:
            return NotImplemented
        between = self.between * factor(self._axes["between"])
        return self._of(between, self.within * factor(1), self.is_independent)

    __rmul__ = __mul__

    def __truediv__(self, scalar: Any) -> Any:
        return self * (1 / scalar)

    def __neg__(self) -> Self:
        return self._mapped(lambda x, _: -x)

    def _cores_with(self, other: "BlockConstantMatrix") -> tuple[Tensor, Tensor, bool]:
        """Return the cores of two matrices, diagonal if both are, and whether they are."""
        if not self._partition.same_blocks(other.partition):
            raise PartitionMismatchError(
                f"the operands live on different partitions ({self._partition.n} variables in "
                f"{self._partition.n_blocks} blocks, {other.partition.n} in "
                f"{other.partition.n_blocks}); expected the same blocks"
            )
        batch_shape_of({"left": self.within, "right": other.within}, {"left": 1, "right": 1})
        if self.is_independent and other.is_independent:
            return self.between, other.between, True
        M, N = (
            torch.diag_embed(x.between) if x.is_independent else x.between for x in (self, other)
        )
        return M, N, False

    def _of(self, between: Tensor, within: Tensor, independent: bool) -> Self:
        axes = {"between": 1 if independent else 2, "within": 1}
        return self._with({"between": between, "within": within}, axes)
