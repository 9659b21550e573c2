"""BlockMultivariateNormal: normal distributions whose covariance has blocks."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.kl import register_kl

from blockmat.exceptions import IndefiniteMatrixError, NotHermitianError, ShapeError
from blockmat.torch.block_constant import BlockConstantMatrix
from blockmat.torch.block_factor import BlockFactorMatrix
from blockmat.torch.inner_product import trace_of_product
from blockmat.torch.parts import as_operand

__all__ = ["BlockMultivariateNormal"]


class _PositiveDefinite(constraints.Constraint):
    """The constraint of a matrix of this package: symmetric and positive definite."""

    event_dim = 2

    def check(self, value: Any) -> Tensor:
        try:
            logdet: Tensor = value.logdet()
        except (NotHermitianError, IndefiniteMatrixError):
            return torch.zeros(value.batch_shape, dtype=torch.bool, device=value.device)
        return logdet.isfinite()


class BlockMultivariateNormal(Distribution):
    r"""Normal distributions whose covariance has blocks, as a distribution of PyTorch.

    `log_prob`, `rsample` and `entropy` are exact and take :math:`O(n + k^3)` time for each matrix,
    without any n x n tensor. All have gradients.

    Parameters
    ----------
    loc : Tensor, shape (..., n)
        The mean.
    matrix : BlockConstantMatrix or BlockFactorMatrix
        The covariance. Its batch axes broadcast with those of ``loc``.
    validate_args : bool, optional
        Whether to check arguments, as in all distributions of PyTorch; by default yes.

    Raises
    ------
    TypeError, DtypeError
        If ``loc`` is not a tensor of float32 or float64, or ``matrix`` is no matrix.
    ShapeError
        If they have different numbers of variables, or their batch axes do not broadcast.
    ValueError
        If ``validate_args`` is true and ``loc`` is NaN or ``matrix`` not positive definite.

    Notes
    -----
    It is what ``torch.distributions.MultivariateNormal`` is for a dense covariance.
    ``torch.distributions.kl_divergence`` has a closed form for two of them with the same blocks. See
    :ref:`theory-pair` and :ref:`theory-factor` for the determinants and inverses.

    Examples
    --------
    >>> import torch
    >>> import blockmat.torch as bmt
    >>> A = bmt.BlockConstantMatrix(["a", "a", "b"], torch.eye(2), torch.tensor([0.5, 0.0]))
    >>> normal = bmt.BlockMultivariateNormal(torch.zeros(3), A)
    >>> normal.log_prob(torch.ones(3))
    tensor(-3.9102)
    >>> normal.rsample((5,)).shape
    torch.Size([5, 3])
    """

    arg_constraints = {"loc": constraints.real_vector, "matrix": _PositiveDefinite()}
    support = constraints.real_vector
    has_rsample = True

    loc: Tensor
    matrix: BlockConstantMatrix | BlockFactorMatrix

    def __init__(
        self,
        loc: Tensor,
        matrix: BlockConstantMatrix | BlockFactorMatrix,
        validate_args: bool | None = None,
    ) -> None:
        loc = as_operand(loc, "loc")
        if not isinstance(matrix, BlockConstantMatrix | BlockFactorMatrix):
            raise TypeError(
                f"matrix is a {type(matrix).__name__}; expected a BlockConstantMatrix or a "
                f"BlockFactorMatrix of blockmat.torch"
            )
        n = matrix.shape[-1]
        if loc.ndim == 0 or loc.shape[-1] != n:
            raise ShapeError(
                f"loc has shape {tuple(loc.shape)}; expected (..., {n}), as the matrix"
            )
        try:
            batch_shape = torch.broadcast_shapes(loc.shape[:-1], matrix.batch_shape)  # type: ignore[no-untyped-call]
        except RuntimeError:
            raise ShapeError(
                f"loc has the batch shape {tuple(loc.shape[:-1])}; expected one that broadcasts "
                f"with that of the matrix, {tuple(matrix.batch_shape)}"
            ) from None
        self.loc, self.matrix = loc.expand(*batch_shape, n), matrix
        super().__init__(batch_shape, torch.Size((n,)), validate_args=validate_args)

    def expand(
        self, batch_shape: Any, _instance: "BlockMultivariateNormal | None" = None
    ) -> "BlockMultivariateNormal":
        """Repeat the distribution along new batch axes, without copies.

        Parameters
        ----------
        batch_shape : tuple of int or torch.Size
            The new batch shape, to which the present one broadcasts.
        _instance : BlockMultivariateNormal, optional
            What the `expand` of a subclass passes, as in PyTorch.

        Returns
        -------
        BlockMultivariateNormal
            With this batch shape. The matrix is the same: it is factorized once.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> A = bmt.BlockConstantMatrix([0, 0], torch.eye(1), torch.ones(1))
        >>> bmt.BlockMultivariateNormal(torch.zeros(2), A).expand((5,)).sample().shape
        torch.Size([5, 2])
        """
        new: Any = self._get_checked_instance(BlockMultivariateNormal, _instance)  # type: ignore[no-untyped-call]
        batch_shape = torch.Size(batch_shape)
        new.loc, new.matrix = self.loc.expand(batch_shape + self.event_shape), self.matrix
        super(BlockMultivariateNormal, new).__init__(
            batch_shape, self.event_shape, validate_args=False
        )
        new._validate_args = self._validate_args
        result: BlockMultivariateNormal = new
        return result

    @property
    def mean(self) -> Tensor:
        """The mean, (..., n)."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """The point of the largest density: the mean, (..., n)."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The variance of each variable, (..., n)."""
        return self.matrix.diagonal().expand(self.batch_shape + self.event_shape)

    @property
    def covariance_matrix(self) -> Tensor:
        """The dense covariance, (..., n, n), made at each call."""
        return self.matrix.to_dense().expand(self.batch_shape + 2 * self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the logarithms of the density.

        Parameters
        ----------
        value : Tensor, shape (..., n)
            Points. Their leading axes broadcast with the batch.

        Returns
        -------
        Tensor, shape (...)
            One number for each point.

        Raises
        ------
        ValueError
            If arguments are checked and `value` does not fit or contains NaN.
        IndefiniteMatrixError
            If a matrix is not positive definite.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> A = bmt.BlockConstantMatrix([0, 0], torch.eye(1), torch.ones(1))
        >>> bmt.BlockMultivariateNormal(torch.zeros(2), A).log_prob(torch.zeros(2))
        tensor(-1.8379)
        """
        if self._validate_args:
            self._validate_sample(value)
        inv_quad, logdet = self.matrix.inv_quad_logdet(value - self.loc)
        return -(inv_quad + logdet + self.event_shape[0] * math.log(2 * math.pi)) / 2

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw samples that have gradients with respect to the mean and the matrix.

        Parameters
        ----------
        sample_shape : tuple of int or torch.Size, default ()
            How many.

        Returns
        -------
        Tensor, shape (..., n)
            With the axes of ``sample_shape``, then those of the batch: the mean plus `colorize` of
            white noise.

        Raises
        ------
        IndefiniteMatrixError
            If a matrix is not positive definite.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> A = bmt.BlockConstantMatrix([0, 0], torch.eye(1), torch.ones(1))
        >>> bmt.BlockMultivariateNormal(torch.zeros(2), A).rsample((3,)).shape
        torch.Size([3, 2])
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        dtype = torch.promote_types(self.loc.dtype, self.matrix.dtype)
        noise = torch.randn(shape, dtype=dtype, device=self.loc.device)
        return self.loc + self.matrix.colorize(noise)

    def entropy(self) -> Tensor:
        """Return the differential entropies.

        Returns
        -------
        Tensor, shape batch_shape
            In natural logarithms.

        Raises
        ------
        IndefiniteMatrixError
            If a matrix is not positive definite.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> A = bmt.BlockConstantMatrix([0, 0], torch.eye(1), torch.ones(1))
        >>> bmt.BlockMultivariateNormal(torch.zeros(2), A).entropy()
        tensor(2.8379)
        """
        constant = self.event_shape[0] * (1 + math.log(2 * math.pi))
        return ((self.matrix.logdet() + constant) / 2).expand(self.batch_shape)

    def __repr__(self) -> str:
        return f"BlockMultivariateNormal(loc: {self.loc.size()}, matrix: {self.matrix!r})"


@register_kl(BlockMultivariateNormal, BlockMultivariateNormal)  # type: ignore[no-untyped-call, untyped-decorator]
def _kl_divergence(p: BlockMultivariateNormal, q: BlockMultivariateNormal) -> Tensor:
    """Return the Kullback-Leibler divergence of p from q, which have the same blocks.

    It is half of ``tr(B^-1 A) - n + (a - b)^T B^-1 (a - b) + log det B - log det A``.
    """
    shift = p.loc - q.loc
    A, B = p.matrix.to(torch.float64), q.matrix.to(torch.float64)  # the terms cancel
    inv_quad, logdet = B.inv_quad_logdet(shift)
    trace = trace_of_product(B.inv(), A)
    divergence = (trace - p.event_shape[0] + inv_quad + logdet - A.logdet()) / 2
    dtype = torch.promote_types(p.matrix.dtype, q.matrix.dtype)
    return divergence.to(torch.promote_types(dtype, shift.dtype))
