"""The matrix types, as SciPy LinearOperators; they know no source.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`.
"""
