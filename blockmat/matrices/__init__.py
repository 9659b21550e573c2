"""The matrix types, as SciPy LinearOperators; and their algebra.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`.
"""
