"""From a source of any kind to a matrix, and how good the approximation is.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`, `blockmat.matrices`.
"""
