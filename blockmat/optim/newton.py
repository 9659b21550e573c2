"""newton_preconditioner: the damped inverse of the block-constant fit of a Hessian."""

from typing import Any

import numpy as np

from blockmat.exceptions import SingularMatrixError
from blockmat.fitting.fit import fit
from blockmat.matrices.block_constant import BlockConstantMatrix

__all__ = ["newton_preconditioner"]


def newton_preconditioner(
    hessian: Any,
    partition: Any,
    damping: float = 1e-3,
    *,
    aligned: bool = False,
    diagonal: Any = None,
    n_probes: int = 32,
    random_state: Any = None,
) -> BlockConstantMatrix:
    r"""Fit a Hessian and return the damped, positive definite inverse of the fit.

    Parameters
    ----------
    hessian : LinearOperator, array_like or sparse matrix, shape (n, n)
        The symmetric Hessian. A `scipy.sparse.linalg.LinearOperator` needs only
        Hessian-vector products.
    partition : Partition or sequence of hashable, shape (n,)
        The blocks, or a label for each variable.
    damping : float, default 1e-3
        Eigenvalues of the fit below this fraction of the largest one, including negative ones,
        are replaced by it.
    aligned : bool, default False
        Whether every square block has two numbers, as for `blockmat.fit`.
    diagonal : array_like, shape (n,), optional
        The diagonal of a LinearOperator. With it the fit is exact; otherwise the diagonal is
        estimated from products with random vectors.
    n_probes : int, default 32
        The number of these random vectors.
    random_state : int or numpy.random.Generator, optional
        For the random vectors.

    Returns
    -------
    BlockConstantMatrix
        The preconditioner P. The Newton step is ``-(P @ grad)``, and `scipy.sparse.linalg.cg`
        takes P as ``M``.

    Raises
    ------
    SingularMatrixError
        If the fit has no positive eigenvalue.
    ValueError
        If `damping` is not between 0 and 1.

    See Also
    --------
    blockmat.fit : the fit.

    Notes
    -----
    With :math:`\hat H` the fit, :math:`\lambda` its largest eigenvalue and :math:`\delta` the
    damping, the result is :math:`f(\hat H)^{-1}` for :math:`f(x) = \max(x, \delta \lambda)`. It
    needs k products with a LinearOperator, and `n_probes` more without the diagonal.

    Examples
    --------
    For a quadratic function with a block-constant Hessian, one Newton step is exact:

    >>> import numpy as np
    >>> import blockmat as bm
    >>> H = bm.BlockConstantMatrix.from_values([0, 0, 1], [[1, 0.5], [0.5, 2]], [2, 2])
    >>> x = np.array([3.0, -2.0, 1.0])
    >>> P = bm.optim.newton_preconditioner(H, H.partition)
    >>> bool(np.allclose(x - P @ (H @ x), 0))
    True
    """
    if not 0 < damping < 1:
        raise ValueError(f"damping is {damping!r}; expected a number between 0 and 1")
    fitted = fit(
        hessian, partition, aligned=aligned,
        diagonal=diagonal, n_probes=n_probes, random_state=random_state,
    )  # fmt: skip
    matrix: BlockConstantMatrix = (fitted + fitted.H) / 2
    largest = matrix.eigvalsh()[0][-1]
    if not largest > 0:
        raise SingularMatrixError(
            f"hessian has no positive curvature on these blocks: the largest eigenvalue of its "
            f"fit is {largest:.3g}; expected a positive one"
        )
    return matrix.nearest_psd(min_eigenvalue=damping * np.float64(largest)).inv()
