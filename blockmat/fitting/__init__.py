"""Fits of block-constant matrices to matrices and samples, and the error of a fit.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`,
`blockmat.matrices`.
"""
