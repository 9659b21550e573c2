"""Unconstrained parameters of matrices, as modules for torch.nn.utils.parametrize.

:ref:`theory-parameters` has the formulas.
"""

from typing import Any

import torch
from torch import Tensor

from blockmat.cores import pair
from blockmat.cores.log_correlation import jacobian, solve_columns, solve_log_diagonal
from blockmat.cores.parameters import (
    Layout,
    free_part,
    log_cholesky_of_pair,
    pair_of_log_cholesky,
    parameters_of_log,
)
from blockmat.exceptions import PartitionMismatchError, ShapeError, SingularMatrixError
from blockmat.torch.block_constant import BlockConstantMatrix
from blockmat.torch.cores import first_of, symmetric_part
from blockmat.torch.parts import as_operand, check_finite, partition_of

__all__ = ["LogCholesky", "LogCorrelation"]


class Parametrization(torch.nn.Module):
    """Base class: checks of parameters and matrices. Subclasses define the two maps."""

    _n_parameters: int

    def __init__(self, partition: Any, *, check: bool = True) -> None:
        super().__init__()
        self.partition = partition_of(partition)
        self._layout = Layout(self.partition.sizes)
        self._check = check

    @property
    def n_parameters(self) -> int:
        """The number of parameters of a matrix."""
        return self._n_parameters

    def _as_parameters(self, x: Any) -> Tensor:
        given = as_operand(x, "parameters")
        if given.ndim == 0 or given.shape[-1] != self._n_parameters:
            raise ShapeError(
                f"parameters has shape {tuple(given.shape)}; expected "
                f"(..., {self._n_parameters}) for {self.partition.n_blocks} blocks"
            )
        if self._check and not torch.compiler.is_compiling():
            check_finite({"parameters": given})
        return given

    def _matrix(self, between: Tensor, within: Tensor, dtype: torch.dtype) -> BlockConstantMatrix:
        parts = between.to(dtype), within.to(dtype)
        return BlockConstantMatrix(self.partition, *parts, independent=False, check=self._check)

    def _definite(self, matrix: Any) -> BlockConstantMatrix:
        """Return a matrix in double precision, with a dense M, detached and expanded.

        Raises an error unless it is symmetric and positive definite.
        """
        if not isinstance(matrix, BlockConstantMatrix):
            raise TypeError(
                f"matrix is a {type(matrix).__name__}; expected a blockmat.torch."
                f"BlockConstantMatrix or a tensor of parameters"
            )
        if not matrix.partition.same_blocks(self.partition):
            raise PartitionMismatchError(
                f"matrix has {matrix.partition.n_blocks} blocks of {matrix.partition.n} variables; "
                f"expected the blocks of the parametrization, {self.partition.n_blocks} of "
                f"{self.partition.n}"
            )
        M, d = matrix.between.detach(), matrix.within.detach()
        if matrix.is_independent:
            M = torch.diag_embed(M)
        batch, k = matrix.batch_shape, self.partition.n_blocks
        checked = BlockConstantMatrix(self.partition, M, d, independent=False)
        checked.logdet()  # raises the errors
        return BlockConstantMatrix(
            self.partition, M.double().expand(*batch, k, k), d.double().expand(*batch, k)
        )

    def get_extra_state(self) -> Tensor:
        """Return the block of each variable, for the ``state_dict``.

        Returns
        -------
        Tensor, shape (n,)
            The numbers of the blocks.

        Examples
        --------
        >>> import blockmat.torch as bmt
        >>> bmt.LogCholesky(["a", "b", "a"]).state_dict()["_extra_state"]
        tensor([0, 1, 0], dtype=torch.int32)
        """
        return torch.tensor(self.partition.labels)

    def set_extra_state(self, state: Tensor) -> None:
        """Compare the blocks of a ``state_dict`` with those of the module.

        Parameters
        ----------
        state : Tensor, shape (n,)
            What `get_extra_state` returned.

        Raises
        ------
        PartitionMismatchError
            If they differ.

        Examples
        --------
        >>> import blockmat.torch as bmt
        >>> saved = bmt.LogCholesky(["a", "b", "a"]).state_dict()
        >>> bmt.LogCholesky([0, 1, 0]).load_state_dict(saved)
        <All keys matched successfully>
        """
        if not torch.equal(state.cpu(), self.get_extra_state()):
            raise PartitionMismatchError(
                f"state_dict has parameters for other blocks; expected {self.partition!r}"
            )

    def extra_repr(self) -> str:
        """Return what the representation of the module says.

        Returns
        -------
        str
            The partition and the number of parameters.

        Examples
        --------
        >>> import blockmat.torch as bmt
        >>> bmt.LogCholesky([0, 0]).extra_repr()
        '<Partition of 2 variables into 1 contiguous block of size 2>, n_parameters=2'
        """
        return f"{self.partition!r}, n_parameters={self._n_parameters}"


class LogCholesky(Parametrization):
    r"""Unconstrained parameters of covariance matrices.

    The module maps vectors to positive definite block-constant matrices. It is a
    parametrization in the sense of ``torch.nn.utils.parametrize``.

    Parameters
    ----------
    partition : Partition or sequence of hashable, shape (n,)
        The blocks, or a label for each variable.
    check : bool, default True
        Whether to check numbers, of parameters and in the operations of the matrices. The checks
        wait for the device. ``torch.func.vmap`` needs False.

    See Also
    --------
    blockmat.inference.log_cholesky : the same parameters for NumPy.

    Notes
    -----
    The parameters are the Cholesky factor of `between`, row by row of its lower triangle and with
    the logarithms of its diagonal, and then the logarithms of `within` for the blocks of more than
    one member. See :ref:`theory-parameters`.

    Examples
    --------
    >>> import torch
    >>> import blockmat.torch as bmt
    >>> covariance = bmt.LogCholesky(["a", "a", "b"])
    >>> covariance.n_parameters
    4
    >>> covariance(torch.zeros(4)).to_dense()
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]])

    As the parameter of a module; ``unsafe=True`` because the result is a matrix and not a tensor:

    >>> from torch.nn.utils import parametrize
    >>> model = torch.nn.Module()
    >>> model.covariance = torch.nn.Parameter(torch.zeros(4))
    >>> model = parametrize.register_parametrization(model, "covariance", covariance, unsafe=True)
    >>> model.covariance.logdet()
    tensor(0., grad_fn=<ToCopyBackward0>)
    >>> model.covariance = 4 * covariance(torch.zeros(4))
    >>> model.covariance.diagonal().tolist()
    [4.0, 4.0, 4.0]
    """

    def __init__(self, partition: Any, *, check: bool = True) -> None:
        super().__init__(partition, check=check)
        self._n_parameters = self._layout.n_log_cholesky

    def forward(self, parameters: Tensor) -> BlockConstantMatrix:
        """Make covariance matrices from parameters.

        Parameters
        ----------
        parameters : Tensor, shape (..., n_parameters)
            Any real numbers.

        Returns
        -------
        BlockConstantMatrix
            A positive definite matrix for each vector, with gradients and in the same precision.

        Raises
        ------
        TypeError, DtypeError
            If ``parameters`` is not a tensor of float32 or float64.
        ShapeError
            If it does not have `n_parameters` numbers along its last axis.
        NonFiniteError
            If a parameter or a number of the matrix is not finite: exp of a large parameter
            overflows.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.LogCholesky([0, 0]).forward(torch.tensor([0.0, 1.0])).within
        tensor([2.7183])
        """
        x = self._as_parameters(parameters)
        between, within = pair_of_log_cholesky(x.double(), self._layout)
        return self._matrix(between, within, x.dtype)

    def right_inverse(self, matrix: BlockConstantMatrix | Tensor) -> Tensor:
        """Return the parameters of covariance matrices.

        Parameters
        ----------
        matrix : BlockConstantMatrix or Tensor, shape (..., n_parameters)
            The matrices. A tensor counts as parameters and is returned.
            ``torch.nn.utils.parametrize`` passes one when it registers the module.

        Returns
        -------
        Tensor, shape (..., n_parameters)
            The parameters, without gradients.

        Raises
        ------
        TypeError, ShapeError
            If ``matrix`` is neither a matrix nor parameters.
        PartitionMismatchError
            If it has other blocks.
        NotHermitianError, IndefiniteMatrixError
            If it is not symmetric, or not positive definite.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> A = bmt.BlockConstantMatrix([0, 0], torch.eye(1), torch.ones(1))
        >>> bmt.LogCholesky([0, 0]).right_inverse(A)
        tensor([0., 0.])
        """
        if isinstance(matrix, Tensor):
            return self._as_parameters(matrix)
        A = self._definite(matrix)
        parameters: Tensor = log_cholesky_of_pair(A.between, A.within, self._layout)
        return parameters.to(matrix.dtype)


class LogCorrelation(Parametrization):
    r"""Unconstrained parameters of correlation matrices.

    The module maps vectors to positive definite block-constant matrices with ones on the
    diagonal. It is a parametrization in the sense of ``torch.nn.utils.parametrize``.

    Parameters
    ----------
    partition : Partition or sequence of hashable, shape (n,)
        The blocks, or a label for each variable.
    check : bool, default True
        Whether to check numbers, of parameters and in the operations of the matrices. The checks
        wait for the device.

    See Also
    --------
    blockmat.inference.log_correlation : the same parameters for NumPy.

    Notes
    -----
    The parameters are the off-diagonal numbers of :math:`\log C` in each block (a, b), times
    :math:`\sqrt{n_a n_b}`, row by row of the lower triangle [1]_. A diagonal block of one member has
    none. First and second derivatives are exact; see :ref:`theory-parameters`. The number of
    iterations depends on the numbers, so ``torch.func.vmap`` does not work with it, and
    ``torch.compile`` breaks the graph there.

    References
    ----------
    .. [1] I. Archakov, P. R. Hansen, "A New Parametrization of Correlation Matrices",
       Econometrica 89(4), 2021; arXiv:2012.02395.

    Examples
    --------
    >>> import torch
    >>> import blockmat.torch as bmt
    >>> correlation = bmt.LogCorrelation(["a", "a", "b"])
    >>> correlation.n_parameters
    2
    >>> parameters = torch.tensor([1.0, -0.5], requires_grad=True)
    >>> C = correlation(parameters)
    >>> C.to_dense().detach()
    tensor([[ 1.0000,  0.5024, -0.4030],
            [ 0.5024,  1.0000, -0.4030],
            [-0.4030, -0.4030,  1.0000]])
    >>> C.logdet().backward()
    >>> parameters.grad
    tensor([-0.5024,  1.1399])
    """

    def __init__(self, partition: Any, *, check: bool = True) -> None:
        super().__init__(partition, check=check)
        self._n_parameters = self._layout.n_log_correlation

    def forward(self, parameters: Tensor) -> BlockConstantMatrix:
        """Make correlation matrices from parameters.

        Parameters
        ----------
        parameters : Tensor, shape (..., n_parameters)
            Any real numbers.

        Returns
        -------
        BlockConstantMatrix
            A correlation matrix for each vector, with gradients and in the same precision. Large
            parameters give a matrix that is singular to working precision.

        Raises
        ------
        TypeError, DtypeError
            If ``parameters`` is not a tensor of float32 or float64.
        ShapeError
            If it does not have `n_parameters` numbers along its last axis.
        NonFiniteError
            If a parameter is not finite.
        SingularMatrixError
            If the parameters are so large, about 1000, that the diagonal of the logarithm is not
            found.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.LogCorrelation([0, 0]).forward(torch.tensor([1.0])).to_dense()
        tensor([[1.0000, 0.4621],
                [0.4621, 1.0000]])
        """
        x = self._as_parameters(parameters)
        sizes = torch.tensor(self.partition.sizes, dtype=torch.float64, device=x.device)
        free = free_part(x.double(), self._layout)
        found = solve_log_diagonal(free.detach(), sizes)
        if found is None:
            raise SingularMatrixError(
                f"parameters has numbers up to {float(x.detach().abs().max()):.6g}; expected "
                f"smaller ones, because the correlation matrix is singular to working precision"
            )
        slope, y = jacobian(found, sizes), found.y
        for _ in range(2):  # for first and second derivatives: :ref:`theory-parameters`
            diagonal = pair.diagonal_values(*_exponential(free, y), sizes)
            y = y - solve_columns(slope, diagonal.log())
        return self._matrix(*_exponential(free, y), x.dtype)

    def right_inverse(self, matrix: BlockConstantMatrix | Tensor) -> Tensor:
        """Return the parameters of correlation matrices.

        Parameters
        ----------
        matrix : BlockConstantMatrix or Tensor, shape (..., n_parameters)
            The matrices. A tensor counts as parameters and is returned.
            ``torch.nn.utils.parametrize`` passes one when it registers the module.

        Returns
        -------
        Tensor, shape (..., n_parameters)
            The parameters, without gradients.

        Raises
        ------
        TypeError, ShapeError
            If ``matrix`` is neither a matrix nor parameters.
        PartitionMismatchError
            If it has other blocks.
        ValueError
            If a number on the diagonal differs from 1 by more than the square root of the machine
            epsilon.
        NotHermitianError, IndefiniteMatrixError
            If it is not symmetric, or not positive definite.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> C = bmt.BlockConstantMatrix.from_values([0, 1], torch.eye(2), torch.ones(2))
        >>> bmt.LogCorrelation([0, 1]).right_inverse(C)
        tensor([0.])
        """
        if isinstance(matrix, Tensor):
            return self._as_parameters(matrix)
        C = self._definite(matrix)
        sizes = torch.tensor(self.partition.sizes, dtype=torch.float64, device=C.device)
        within = torch.where(sizes > 1, C.within, 1)  # blocks of one member have none
        ones = pair.diagonal_values(C.between, within, sizes)
        wrong = (ones - 1).abs() > torch.finfo(matrix.dtype).eps ** 0.5
        if bool(wrong.any()):
            raise ValueError(
                f"matrix has {float(ones[wrong][0]):.6g} on the diagonal{first_of(wrong)}; expected "
                f"1, a correlation matrix"
            )
        eigenvalues, vectors = torch.linalg.eigh(symmetric_part(C.between))
        between = pair.compose(eigenvalues.log(), vectors)
        parameters: Tensor = parameters_of_log(between, within.log(), self._layout)
        return parameters.to(matrix.dtype)


def _exponential(free: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pair of C for the pair ``(Gamma + diag(y), y)`` of its logarithm."""
    return symmetric_part(torch.linalg.matrix_exp(free + torch.diag_embed(y))), y.exp()
