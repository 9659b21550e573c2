"""Products of k x k matrices, by SciPy's BLAS.

SciPy's and NumPy's wheels bring a BLAS library each. The idle threads of one keep a processor busy
for a while and slow the other down, so all k x k products use SciPy's.
"""

from typing import Any

import numpy as np
from scipy.linalg import blas

from blockmat.blocks.checks import Array
from blockmat.cores.core import from_lower, hermitian_part


def add_product(a: Array, b: Array, out: Array) -> None:
    """Add ``a @ b`` to `out` (c, m) in place; `b` and `out` are C-contiguous, of one dtype."""
    (gemm,) = blas.get_blas_funcs(("gemm",), (out,))
    gemm(1, b.T, a.T, beta=1, c=out.T, overwrite_c=True)


def reassemble(vectors: Any, values: Array) -> Array:
    """Return ``V diag(values) V^H``, exactly Hermitian when the values are real."""
    if np.iscomplexobj(values) or np.any(values < 0):
        (gemm,) = blas.get_blas_funcs(("gemm",), (vectors, values))
        result: Array = gemm(1, vectors * values, vectors, trans_b=2)
        return result if np.iscomplexobj(values) else hermitian_part(result)
    half = vectors * np.sqrt(values)  # half the work, for one triangle
    name = "herk" if np.iscomplexobj(vectors) else "syrk"
    (herk,) = blas.get_blas_funcs((name,), (half,))
    lower: Array = herk(1, half, lower=True)
    return from_lower(lower)
