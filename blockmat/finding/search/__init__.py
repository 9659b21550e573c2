"""The search for one number a block: starts, moves between blocks, merges, and the loss.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`,
`blockmat.finding.correlations`.
"""
