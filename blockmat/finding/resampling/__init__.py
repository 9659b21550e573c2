"""Resamples, and how far their partitions agree.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`,
`blockmat.matrices`.
"""
