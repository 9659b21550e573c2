"""What a number of blocks costs.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`,
`blockmat.fitting`, `blockmat.finding.correlations`, `blockmat.finding.search`.
"""
