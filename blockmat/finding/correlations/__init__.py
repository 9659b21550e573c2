"""The forms in which correlations reach a search: samples, matrices, and values with gaps.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`,
`blockmat.matrices`, `blockmat.fitting`.
"""
