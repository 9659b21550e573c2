"""From a matrix or samples to a partition.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`, `blockmat.matrices`,
`blockmat.fitting`.
"""
