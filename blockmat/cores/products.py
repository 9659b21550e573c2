"""Products of k x k matrices with the BLAS library of SciPy.

The wheels of SciPy and NumPy contain a BLAS library each. After a product, the threads of a library
keep processors busy for a while and slow the other library down. So these products use one of them.
"""

from typing import Any

import numpy as np
from scipy.linalg import blas

from blockmat.blocks.checks import Array
from blockmat.cores.core import from_lower, hermitian_part


def add_product(a: Array, b: Array, out: Array) -> None:
    """Add ``a @ b`` to `out` (c, m) in place; `b` and `out` are C-contiguous, of one dtype."""
    if out.size:  # BLAS refuses arrays with no columns
        (gemm,) = blas.get_blas_funcs(("gemm",), (out,))
        gemm(1, b.T, a.T, beta=1, c=out.T, overwrite_c=True)


def reassemble(vectors: Any, values: Array) -> Array:
    """Return ``V diag(values) V^H``, exactly Hermitian if the values are real.

    It is a function of a Hermitian core (:ref:`theory-functions`).
    """
    if np.iscomplexobj(values) or np.any(values < 0):
        (gemm,) = blas.get_blas_funcs(("gemm",), (vectors, values))
        result: Array = gemm(1, vectors * values, vectors, trans_b=2)
        return result if np.iscomplexobj(values) else hermitian_part(result)
    half = vectors * np.sqrt(values)  # one triangle of a product with its adjoint is half the work
    name = "herk" if np.iscomplexobj(vectors) else "syrk"
    (herk,) = blas.get_blas_funcs((name,), (half,))
    lower: Array = herk(1, half, lower=True)
    return from_lower(lower)
