"""Matrices and samples of any kind, reduced to block sums. Nothing here depends on a matrix type.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`.
"""
