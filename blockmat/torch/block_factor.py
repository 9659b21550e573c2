"""BlockFactorMatrix: batches of a diagonal plus one factor for each block, with gradients."""

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from blockmat.cores import factor_model
from blockmat.matrices import block_factor
from blockmat.torch import cores, frame
from blockmat.torch.cores import DenseCore, DiagonalCore
from blockmat.torch.matrix import TensorMatrix
from blockmat.torch.moments import inv_quad_logdet, logdet
from blockmat.torch.parts import (
    as_factor,
    as_numbers,
    as_parts,
    check_core,
    check_finite,
    partition_of,
)
from blockmat.torch.segments import Segments

__all__ = ["BlockFactorMatrix"]


class BlockFactorMatrix(TensorMatrix):
    r"""A batch of diagonal matrices plus matrices with one factor for each block, with gradients.

    It is the matrix of `blockmat.BlockFactorMatrix` for PyTorch, on any device: the covariance of
    :math:`x_i = s_i f_{b(i)} + e_i`. All operations are exact and take :math:`O(n + k^3)` time for
    each matrix, or O(n) for a diagonal covariance of the factors. It keeps the tensors that it was
    given, and stores no results: it computes anew after they change.

    Parameters
    ----------
    partition : Partition or sequence of hashable, shape (n,)
        The blocks, or a label for each variable.
    covariance : Tensor, shape (..., k, k) or (..., k)
        C, the covariance of the factors, symmetric; or its diagonal. Then no k x k tensor is made.
    noise : number or Tensor, shape (..., n), (..., k) or (..., 1)
        The diagonal :math:`\delta`, positive: a number for each variable, for each block, or for
        all.
    loadings : number or Tensor, shape (..., n), (..., k) or (..., 1), optional
        The loadings s, not all of them zero in any block; by default 1.
    independent : bool, optional
        Whether `covariance` is a diagonal, (..., k). By default it is one if it has one axis.
    check : bool, default True
        Whether to check numbers: finite, symmetric, noise positive and loadings not zero. The
        checks wait for the device. Use False inside `torch.func.vmap`, where the numbers are not known.
        Code that `torch.compile` compiles does not check.

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
    NotHermitianError
        If the covariance is not symmetric.
    ValueError
        If the noise is not positive, all loadings of a block are zero, or the tensors are on
        different devices.

    See Also
    --------
    blockmat.BlockFactorMatrix : the matrix for NumPy and SciPy.

    Notes
    -----
    The axes in front of the last ones are batch axes, and broadcast. If some matrices of a batch lack
    a variable, give it very large noise there, such as 1e12. float32 matrices sum over
    blocks, and compute with C, in double precision, which the device must support. See
    :ref:`theory-factor`.

    Examples
    --------
    >>> import torch
    >>> import blockmat.torch as bmt
    >>> C = torch.tensor([[1.0, 0.5], [0.5, 1.0]], requires_grad=True)
    >>> A = bmt.BlockFactorMatrix(["a", "a", "b"], C, noise=torch.tensor([1.0, 2.0, 3.0]))
    >>> A.to_dense().detach()
    tensor([[2.0000, 1.0000, 0.5000],
            [1.0000, 3.0000, 0.5000],
            [0.5000, 0.5000, 4.0000]])
    >>> A.logdet().backward()
    >>> C.grad
    tensor([[ 0.6234, -0.0779],
            [-0.0779,  0.2597]])
    """

    def __init__(
        self,
        partition: Any,
        covariance: Any,
        noise: Any,
        loadings: Any = None,
        *,
        independent: bool | None = None,
        check: bool = True,
    ) -> None:
        p, check = partition_of(partition), check and not torch.compiler.is_compiling()
        loadings = 1 if loadings is None else loadings
        parts = as_parts({"covariance": covariance, "noise": noise, "loadings": loadings})
        if independent is None:
            independent = parts["covariance"].ndim == 1
        segments = Segments(p, parts["covariance"].device)
        check_core(parts["covariance"], "covariance", segments.k, independent)
        for name in ("noise", "loadings"):
            parts[name] = as_numbers(parts[name], name, segments.n, segments.k)
        axes = {"covariance": 1 if independent else 2, "noise": 1, "loadings": 1}
        if check:
            check_finite(parts)
        self._set(p, parts, axes, check)
        if check:
            self._check_numbers()

    def _check_numbers(self) -> None:
        if not self.is_independent:
            DenseCore(self.covariance, "covariance", True).require_symmetric("BlockFactorMatrix")
        noise, loadings = self._parts["noise"], self._parts["loadings"]
        if not cores.are_positive(noise):
            raise ValueError(
                f"noise is not positive{cores.first_of(~(noise > 0))}; expected positive numbers"
            )
        has_loading = loadings != 0
        if self._segments.is_spread(loadings):
            has_loading = self._segments.sums(has_loading.double()) > 0
        if not bool(has_loading.all()):
            raise ValueError(
                f"loadings are zero in all of the block{cores.first_of(~has_loading)}; "
                f"expected one that is not"
            )

    @classmethod
    def from_numpy(cls, matrix: Any) -> "BlockFactorMatrix":
        """Convert a matrix for NumPy.

        Parameters
        ----------
        matrix : blockmat.BlockFactorMatrix
            The matrix.

        Returns
        -------
        BlockFactorMatrix
            A copy, on the CPU.

        Raises
        ------
        TypeError
            If it is another object.

        Examples
        --------
        >>> import blockmat as bm
        >>> import blockmat.torch as bmt
        >>> bmt.BlockFactorMatrix.from_numpy(bm.BlockFactorMatrix([0, 0], [1.0], noise=1.0))
        <2x2 BlockFactorMatrix of 1 blocks, dtype=torch.float64, device=cpu>
        """
        if not isinstance(matrix, block_factor.BlockFactorMatrix):
            raise TypeError(
                f"matrix is a {type(matrix).__name__}; expected a blockmat.BlockFactorMatrix"
            )
        parts = (torch.tensor(x) for x in (matrix.covariance, matrix.noise, matrix.loadings))
        return cls(matrix.partition, *parts, check=False)

    def numpy(self) -> block_factor.BlockFactorMatrix:
        """Convert to a matrix for NumPy and SciPy.

        Returns
        -------
        blockmat.BlockFactorMatrix
            A copy, without gradients.

        Raises
        ------
        ShapeError
            If the matrix has batch axes.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.BlockFactorMatrix([0, 0], torch.eye(1), noise=1.0).numpy()
        <2x2 BlockFactorMatrix of 1 blocks, dtype=float32>
        """
        self._require_no_batch()
        parts = (self.covariance, self.noise, self.loadings)
        arrays = (x.numpy(force=True) for x in parts)
        return block_factor.BlockFactorMatrix(self._partition, *arrays)

    @property
    def covariance(self) -> Tensor:
        """The covariance C of the factors, (..., k, k), or its diagonal, (..., k)."""
        return self._parts["covariance"]

    @property
    def noise(self) -> Tensor:
        """The noise of each variable, (..., n)."""
        return self._of_variables("noise")

    @property
    def loadings(self) -> Tensor:
        """The loading of each variable, (..., n)."""
        return self._of_variables("loadings")

    def _of_variables(self, name: str) -> Tensor:
        spread = self._segments.spread(self._parts[name])
        return spread.expand(*spread.shape[:-1], self._segments.n)

    @property
    def is_independent(self) -> bool:
        """Whether only the diagonal of C is stored."""
        return self._axes["covariance"] == 1

    # Maps of rows

    @property
    def _weights(self) -> tuple[Tensor, Tensor]:
        """The roots of the noise, and the loadings divided by them."""
        loadings, noise = self._segments.alike(self._parts["loadings"], self._parts["noise"])
        root = noise.sqrt()
        return root, loadings / root

    def _lengths(self, weights: Tensor) -> Tensor:
        """Return the lengths of the weights in each block."""
        segments = self._segments
        if segments.is_spread(weights):
            return segments.sums(weights.square()).sqrt()
        return weights.double() * segments.roots

    @property
    def _scaling(self) -> "_Scaling":
        segments = self._segments
        root, weights = self._weights
        lengths, directions = self._lengths(weights), None
        if segments.is_spread(weights):
            directions = weights / segments.repeat(lengths.to(weights.dtype))
        return _Scaling(root, directions, lengths, self._core_of(lengths))

    def _core_of(self, lengths: Tensor) -> DenseCore | DiagonalCore:
        covariance, lengths = _with_batch_axes(self.covariance.double(), lengths, self._axes)
        return self._core(factor_model.core(covariance, lengths))

    def _core(self, values: Tensor) -> DenseCore | DiagonalCore:
        """Return a core that is made of C, which is known to be symmetric."""
        if self.is_independent:
            return DiagonalCore(values, "factor", self._check)
        return DenseCore(values, "factor", False)

    def _mapped_rows(
        self, rows: Tensor, function: frame.Function, scaling: "_Scaling", powers: tuple[int, int]
    ) -> Tensor:
        """Return ``left (Q f(Q^T y) + (I - Q Q^T) y)`` with ``y = right rows``.

        Left and right are powers of the roots of the noise. If these are alike in each block, they
        multiply coordinates instead of rows.
        """
        segments = self._segments
        rows = rows.to(torch.promote_types(self.dtype, rows.dtype))
        root = scaling.root[..., None, :]
        right = _power(root, powers[1])
        left = right if powers[0] == powers[1] else _power(root, powers[0])
        if scaling.directions is not None:
            white = rows * segments.spread(right)
            return segments.spread(left) * frame.mapped(segments, white, scaling.entries, function)
        before, after = right.double(), left.double()
        scale = (left * right).double().expand(*root.shape[:-1], segments.k)
        return frame.mapped_means(segments, rows, lambda x: after * function(before * x), scale)

    def _times_rows(self, rows: Tensor) -> Tensor:
        segments = self._segments
        noise, loadings = (self._parts[x][..., None, :] for x in ("noise", "loadings"))
        kind = DiagonalCore if self.is_independent else DenseCore
        core = kind(self.covariance, "factor", self._check)
        image = core.times(segments.weighted_sums(loadings, rows))
        dtype = torch.promote_types(self.dtype, rows.dtype)
        return segments.spread(noise) * rows + frame.lifted(segments, loadings, image, dtype)

    def _solved_rows(self, rows: Tensor) -> Tensor:
        scaling = self._scaling
        return self._mapped_rows(rows, scaling.core.solve, scaling, (-1, -1))

    def _whitened_rows(self, rows: Tensor) -> Tensor:
        scaling = self._scaling
        return self._mapped_rows(rows, scaling.core.cholesky("whiten").solve, scaling, (0, -1))

    def _colored_rows(self, rows: Tensor) -> Tensor:
        scaling = self._scaling
        return self._mapped_rows(rows, scaling.core.cholesky("colorize").times, scaling, (1, 0))

    @property
    def _pair(self) -> "_Pair | None":
        """The matrix as a pair, if the numbers of variables are alike in each block."""
        segments = self._segments
        noise, loadings = (self._parts[x].double() for x in ("noise", "loadings"))
        if segments.is_spread(noise) or segments.is_spread(loadings):
            return None
        covariance, loadings = _with_batch_axes(self.covariance.double(), loadings, self._axes)
        between = factor_model.between(covariance, loadings, noise, segments.sizes)
        return _Pair(self._core(between), noise)

    def _log_noise(self) -> Tensor:
        return self._segments.total(self._parts["noise"].log())

    def _logdet(self) -> Tensor:
        if alike := self._pair:
            return logdet(self._segments, alike.core.cholesky("logdet"), alike.within)
        lengths = self._lengths(self._weights[1])
        return self._core_of(lengths).cholesky("logdet").logdet() + self._log_noise()

    def _inv_quad_logdet(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        segments = self._segments
        if alike := self._pair:
            root = alike.core.cholesky("inv_quad_logdet")
            return inv_quad_logdet(segments, root, alike.within, rows)
        scaling = self._scaling
        root = scaling.core.cholesky("inv_quad_logdet")
        white = rows / segments.spread(scaling.root)[..., None, :]
        coordinates, rest = frame.split(segments, white, scaling.entries)
        inv_quad = root.inv_quad(coordinates) + rest.square().sum(-1, dtype=torch.float64)
        return inv_quad, root.logdet() + self._log_noise()

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
        >>> bmt.BlockFactorMatrix([0, 0], -torch.eye(1), noise=1.0).slogdet()[0]
        tensor(-1.)
        """
        sign, logdet = self._core_of(self._lengths(self._weights[1])).slogdet()
        return sign.to(self.dtype), (logdet + self._log_noise()).to(self.dtype)

    def inv(self) -> Self:
        """Invert.

        Returns
        -------
        BlockFactorMatrix
            The inverse, whose covariance is negative where that of the matrix is positive.

        Raises
        ------
        SingularMatrixError
            If a matrix is exactly singular.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.BlockFactorMatrix([0, 0], torch.eye(1), noise=1.0).inv().covariance
        tensor([[-0.3333]])
        """
        scaling = self._scaling
        covariance, lengths = _with_batch_axes(
            self.covariance.double(), scaling.lengths, self._axes
        )
        shared = factor_model.scaled(covariance, lengths)
        if self.is_independent:
            solved = scaling.core.inverse() * shared
        else:
            solved = cores.symmetric_part(scaling.core.inverse() @ shared)
        inverse = factor_model.covariance_of_inverse(solved, lengths)
        loadings, noise = self._segments.alike(self._parts["loadings"], self._parts["noise"])
        parts = {"covariance": inverse.to(self.dtype), "noise": 1 / noise}
        return self._with({**parts, "loadings": loadings / noise})

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
        >>> A = bmt.BlockFactorMatrix([0, 0], torch.eye(1), 1.0, torch.tensor([1.0, 2.0]))
        >>> A.to_dense()
        tensor([[2., 2.],
                [2., 5.]])
        """
        c, labels = self.covariance, self._segments.labels
        s, noise = self.loadings, self.noise
        dense = (torch.diag_embed(c) if self.is_independent else c)[..., labels[:, None], labels]
        return s[..., :, None] * dense * s[..., None, :] + torch.diag_embed(noise)

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
        >>> A = bmt.BlockFactorMatrix([0, 0], torch.eye(1), 1.0, torch.tensor([1.0, 2.0]))
        >>> A.diagonal()
        tensor([2., 5.])
        """
        c = self.covariance
        own = self._segments.repeat(c if self.is_independent else c.diagonal(dim1=-2, dim2=-1))
        return self.noise + self.loadings.square() * own

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
        >>> bmt.BlockFactorMatrix([0, 0], torch.eye(1), noise=1.0).trace()
        tensor(4.)
        """
        return self.diagonal().sum(-1, dtype=torch.float64).to(self.dtype)

    # Algebra

    @property
    def mT(self) -> Self:
        """The transposed matrices: the same, because they are symmetric."""
        return self

    def add_diagonal(self, values: Any) -> "BlockFactorMatrix":
        """Add diagonal matrices.

        Parameters
        ----------
        values : number or Tensor, shape (..., n), (..., k) or (..., 1)
            The diagonals: a number for each variable, for each block, or for all.

        Returns
        -------
        BlockFactorMatrix
            With more, or less, noise.

        Raises
        ------
        ShapeError, DtypeError
            If `values` does not fit.
        ValueError
            If noise would not be positive.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.BlockFactorMatrix([0, 0], torch.eye(1), noise=1.0).add_diagonal(0.5).noise
        tensor([1.5000, 1.5000])
        """
        given = as_parts({"noise": self._parts["noise"], "values": values})
        segments = self._segments
        added = as_numbers(given["values"], "values", segments.n, segments.k)
        old, added = segments.alike(given["noise"], added)
        return self._of(self.covariance, old + added)

    def __mul__(self, scalar: Any) -> Any:
        factor = as_factor(scalar)
        if factor is None:
            return NotImplemented
        return self._of(
            self.covariance * factor(self._axes["covariance"]), self._parts["noise"] * factor(1)
        )

    __rmul__ = __mul__

    def __truediv__(self, scalar: Any) -> Any:
        return self * (1 / scalar)

    def _of(self, covariance: Tensor, noise: Tensor) -> "BlockFactorMatrix":
        """Return a matrix with the same loadings, and check its numbers."""
        return BlockFactorMatrix(
            self._partition, covariance, noise, self._parts["loadings"],
            independent=self.is_independent, check=self._is_checked,
        )  # fmt: skip


class _Scaling(NamedTuple):
    """A matrix as ``sqrt(noise) (Q R Q^T + I - Q Q^T) sqrt(noise)``.

    Attributes
    ----------
    root : Tensor
        The roots of the noise, as numbers of variables.
    directions : Tensor, shape (..., n), or None
        The entries of Q; None if they are ``1 / sqrt(n_b)``, because the numbers of variables are
        alike in each block.
    lengths : Tensor, shape (..., k)
        The lengths of ``loadings / sqrt(noise)`` in each block, with the sign of the loadings if the
        directions have none.
    core : DenseCore or DiagonalCore
        R.
    """

    root: Tensor
    directions: Tensor | None
    lengths: Tensor
    core: DenseCore | DiagonalCore

    @property
    def entries(self) -> Tensor:
        """The directions with an axis for rows, (..., 1, n)."""
        assert self.directions is not None
        return self.directions[..., None, :]


class _Pair(NamedTuple):
    """A matrix as a pair: the core M, and d, (..., k) or (..., 1)."""

    core: DenseCore | DiagonalCore
    within: Tensor


def _power(root: Tensor, power: int) -> Tensor:
    """Return a root, its reciprocal, or 1 for all variables."""
    if power == 0:
        return root.new_ones(1)
    return root if power == 1 else root.reciprocal()


def _with_batch_axes(
    covariance: Tensor, lengths: Tensor, axes: dict[str, int]
) -> tuple[Tensor, Tensor]:
    """Give two tensors the same number of batch axes."""
    batch = max(covariance.ndim - axes["covariance"], lengths.ndim - 1)
    covariance = covariance[(None,) * (batch + axes["covariance"] - covariance.ndim)]
    return covariance, lengths[(None,) * (batch + 1 - lengths.ndim)]
