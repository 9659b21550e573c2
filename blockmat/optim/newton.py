"""newton_preconditioner: the damped inverse of a Hessian's block-constant fit."""

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
    r"""Fit a Hessian and return the damped inverse, positive definite.

    Parameters
    ----------
    hessian : LinearOperator, array_like or sparse matrix, shape (n, n)
        The symmetric Hessian; Hessian-vector products suffice, as a
        `scipy.sparse.linalg.LinearOperator`.
    partition : Partition or sequence of hashable, shape (n,)
        The blocks of the variables, or a label for each.
    damping : float, default 1e-3
        The smallest eigenvalue that is inverted, relative to the largest: smaller
        and negative ones are raised to it.
    aligned : bool, default False
        Two numbers in every square block, as for `blockmat.fit`.
    diagonal : array_like, shape (n,), optional
        The diagonal of the Hessian, where it is known: the fit is exact then, and
        estimated from random vectors otherwise.
    n_probes : int, default 32
        How many random vectors; as for `blockmat.fit`.
    random_state : int or numpy.random.Generator, optional
        Where they come from.

    Returns
    -------
    BlockConstantMatrix
        The preconditioner: ``-(P @ grad)`` is the block-Newton step, and it is what
        `scipy.sparse.linalg.cg` takes as ``M``.

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
    With P H the fit and :math:`\lambda` its largest eigenvalue, the result is
    :math:`f(P H)^{-1}` for :math:`f(x) = \max(x, \delta \lambda)`. Of a LinearOperator it needs
    k products, and `n_probes` more without its diagonal.

    Examples
    --------
    A Newton step for a quadratic function whose Hessian is block-constant is exact:

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
