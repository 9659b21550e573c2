"""The matrix types, as SciPy LinearOperators; and their algebra.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`.
"""

from blockmat.matrices import comparison, structured, sums  # noqa: F401  (for `dispatch`)
