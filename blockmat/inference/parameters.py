"""Unconstrained parameters of covariance and correlation matrices, for optimization.

:ref:`theory-parameters` has the formulas.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, as_numeric, require_finite, require_in_range
from blockmat.blocks.partition import Partition, as_partition
from blockmat.cores.arrays import as_square_core
from blockmat.cores.log_correlation import solve_log_diagonal
from blockmat.cores.pair import compose
from blockmat.cores.parameters import (
    Layout,
    free_part,
    log_cholesky_of_pair,
    pair_of_log_cholesky,
    parameters_of_log,
)
from blockmat.exceptions import (
    DtypeError,
    IndefiniteMatrixError,
    NotHermitianError,
    ShapeError,
    SingularMatrixError,
)
from blockmat.matrices.block_constant import BlockConstantMatrix

__all__ = ["from_log_cholesky", "from_log_correlation", "log_cholesky", "log_correlation"]


def log_cholesky(A: BlockConstantMatrix) -> Array:
    r"""Return unconstrained parameters of a covariance matrix.

    Parameters
    ----------
    A : BlockConstantMatrix, shape (n, n)
        A real, symmetric and positive definite matrix without aligned blocks.

    Returns
    -------
    ndarray, shape (p,)
        First the Cholesky factor L of `A.between`, row by row of its lower triangle, with the
        logarithms of its diagonal. Then the logarithms of `A.within`, for the blocks of more than
        one member. So p is ``k (k + 1) / 2`` plus the number of these blocks.

    Raises
    ------
    TypeError
        If `A` has another type.
    ValueError
        If it has aligned blocks.
    DtypeError
        If it is complex.
    NotHermitianError, IndefiniteMatrixError
        If it is not symmetric, or not positive definite.

    See Also
    --------
    from_log_cholesky : the inverse, for any vector of p numbers.

    Notes
    -----
    :math:`M = L L^T`; see :ref:`theory-parameters`. The map is log-Cholesky of Pinheiro and Bates
    (1996), applied to the canonical pair.

    Examples
    --------
    >>> import blockmat as bm
    >>> from blockmat.inference import log_cholesky
    >>> log_cholesky(bm.BlockConstantMatrix([0, 0, 1], [[4, 2], [2, 2]], [1, 1])).round(4) + 0.0
    array([0.6931, 1.    , 0.    , 0.    ])
    """
    _check_matrix(A, "A")
    if not A.is_positive_definite():
        raise IndefiniteMatrixError("A is not positive definite; expected a covariance matrix")
    between, within = (x.astype(np.float64) for x in (as_square_core(A.between), A.within))
    parameters: Array = log_cholesky_of_pair(between, within, Layout(A.partition.sizes))
    return parameters.astype(A.dtype)


def from_log_cholesky(partition: Partition | Sequence[Any], parameters: Any) -> BlockConstantMatrix:
    """Make a covariance matrix from unconstrained parameters.

    Parameters
    ----------
    partition : Partition or sequence of hashable, shape (n,)
        The blocks, or a label for each variable.
    parameters : array_like, shape (p,)
        Any real numbers, in the order of `log_cholesky`.

    Returns
    -------
    BlockConstantMatrix
        Positive definite, in the precision of ``parameters``.

    Raises
    ------
    ShapeError
        If there are not p parameters.
    DtypeError
        If they are not real.
    NonFiniteError
        If a parameter or a number of the matrix is not finite: exp of a large parameter
        overflows.

    See Also
    --------
    log_cholesky : the parameters of a matrix.

    Examples
    --------
    >>> import blockmat as bm
    >>> from blockmat.inference import from_log_cholesky
    >>> from_log_cholesky([0, 0, 1], [0.0, 0.5, 0.0, -1.0]).is_positive_definite()
    True
    """
    partition = as_partition(partition)
    layout = Layout(partition.sizes)
    given = _as_parameters(parameters, layout.n_log_cholesky, partition)
    with np.errstate(over="ignore", invalid="ignore"):
        between, within = pair_of_log_cholesky(given.astype(np.float64), layout)
    return _in_dtype(partition, between, within, given.dtype)


def log_correlation(C: BlockConstantMatrix) -> Array:
    r"""Return unconstrained parameters of a correlation matrix.

    Parameters
    ----------
    C : BlockConstantMatrix, shape (n, n)
        A real, symmetric and positive definite matrix with ones on its diagonal, without aligned
        blocks. The ones may differ from 1 by the square root of the machine epsilon.

    Returns
    -------
    ndarray, shape (p,)
        The off-diagonal numbers of :math:`\log C` in each block (a, b), times
        :math:`\sqrt{n_a n_b}`, row by row of the lower triangle. A diagonal block of one member has
        none. So p is ``k (k + 1) / 2`` minus the number of these blocks.

    Raises
    ------
    TypeError
        If `C` has another type.
    ValueError
        If it has aligned blocks, or the diagonal is not 1.
    DtypeError
        If it is complex.
    NotHermitianError, IndefiniteMatrixError
        If it is not symmetric, or not positive definite.

    See Also
    --------
    from_log_correlation : the inverse, for any vector of p numbers.

    Notes
    -----
    The map generalizes Fisher's transformation of one correlation [1]_. For two variables it is
    :math:`\operatorname{artanh} \rho`. The logarithm of C is that of its canonical pair [2]_; see
    :ref:`theory-parameters`. The factor :math:`\sqrt{n_a n_b}` is not in these papers. It makes
    parameters of the order of 1 for blocks of any size.

    References
    ----------
    .. [1] I. Archakov, P. R. Hansen, "A New Parametrization of Correlation Matrices",
       Econometrica 89(4), 2021; arXiv:2012.02395.
    .. [2] I. Archakov, P. R. Hansen, "A Canonical Representation of Block Matrices
       with Applications to Covariance and Correlation Matrices", arXiv:2012.02698.

    Examples
    --------
    >>> import blockmat as bm
    >>> from blockmat.inference import log_correlation
    >>> C = bm.BlockConstantMatrix.from_values([0, 1], [[1, 0.5], [0.5, 1]])
    >>> log_correlation(C).round(4)  # artanh(0.5)
    array([0.5493])
    """
    _check_matrix(C, "C")
    ones = C.diagonal_values
    wrong = np.flatnonzero(np.abs(ones - 1) > np.sqrt(np.finfo(C.dtype).eps))
    if wrong.size:
        raise ValueError(
            f"C has {ones[wrong[0]]} on the diagonal of block {wrong[0]}; expected 1, a "
            f"correlation matrix"
        )
    if not C.is_positive_definite():
        raise IndefiniteMatrixError("C is not positive definite; expected a correlation matrix")
    logarithm = C.astype(np.float64).logm()
    layout = Layout(C.partition.sizes)
    parameters: Array = parameters_of_log(
        as_square_core(logarithm.between), logarithm.within, layout
    )
    return parameters.astype(C.dtype)


def from_log_correlation(
    partition: Partition | Sequence[Any], parameters: Any
) -> BlockConstantMatrix:
    r"""Make a correlation matrix from unconstrained parameters.

    Parameters
    ----------
    partition : Partition or sequence of hashable, shape (n,)
        The blocks, or a label for each variable.
    parameters : array_like, shape (p,)
        Any real numbers, in the order of `log_correlation`.

    Returns
    -------
    BlockConstantMatrix
        Positive definite with ones on the diagonal, in the precision of ``parameters``. Large
        parameters give a matrix that is singular to working precision.

    Raises
    ------
    ShapeError
        If there are not p parameters.
    DtypeError
        If they are not real.
    NonFiniteError
        If they are not finite.
    SingularMatrixError
        If the parameters are so large, about 1000, that the diagonal of the logarithm is not found.

    See Also
    --------
    log_correlation : the parameters of a matrix.

    Notes
    -----
    The diagonal of the logarithm is found by the iteration of Archakov and Hansen and Newton's
    method, in O(k\ :sup:`4`); see :ref:`theory-parameters`.

    Examples
    --------
    >>> import blockmat as bm
    >>> from blockmat.inference import from_log_correlation
    >>> from_log_correlation([0, 0, 1], [1.0, -0.5]).toarray().round(3)
    array([[ 1.   ,  0.502, -0.403],
           [ 0.502,  1.   , -0.403],
           [-0.403, -0.403,  1.   ]])
    """
    partition = as_partition(partition)
    layout = Layout(partition.sizes)
    given = _as_parameters(parameters, layout.n_log_correlation, partition)
    found = solve_log_diagonal(
        free_part(given.astype(np.float64), layout), partition.sizes.astype(np.float64)
    )
    if found is None:
        raise SingularMatrixError(
            f"parameters has numbers up to {np.abs(given).max():.6g}; expected smaller ones, "
            f"because the correlation matrix is singular to working precision"
        )
    between = compose(np.exp(found.eigenvalues), found.vectors)
    return _in_dtype(partition, between, np.exp(found.y), given.dtype)


def _check_matrix(A: Any, name: str) -> None:
    """Raise an error unless it is a real symmetric matrix with one number within each block."""
    if not isinstance(A, BlockConstantMatrix):
        raise TypeError(f"{name} is a {type(A).__name__}; expected a BlockConstantMatrix")
    if A.is_aligned:
        raise ValueError(f"{name} has aligned blocks; expected one within number per block")
    if A.dtype.kind == "c":
        raise DtypeError(f"{name} has dtype {A.dtype}; expected real numbers")
    if not A.is_hermitian:
        raise NotHermitianError(f"{name} is not symmetric; expected a symmetric matrix")


def _as_parameters(parameters: Any, expected: int, partition: Partition) -> Array:
    given = as_numeric(parameters, "parameters", (1,))
    if given.dtype.kind == "c":
        raise DtypeError(f"parameters has dtype {given.dtype}; expected real numbers")
    if len(given) != expected:
        raise ShapeError(
            f"parameters has length {len(given)}; expected {expected} for "
            f"{partition.n_blocks} blocks"
        )
    require_finite(given, "parameters")
    return given


def _in_dtype(
    partition: Partition, between: Array, within: Array, dtype: Any
) -> BlockConstantMatrix:
    require_in_range(dtype, between, within)
    return BlockConstantMatrix(partition, between.astype(dtype), within.astype(dtype))
