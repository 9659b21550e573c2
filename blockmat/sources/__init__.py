"""Matrices and samples of any kind, reduced to sums over blocks; knows no matrix type.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`.
"""
