"""What a user asks for, read and bound to its loss, its search and its criterion.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`,
`blockmat.matrices`, `blockmat.fitting`, `blockmat.finding.correlations`, `blockmat.finding.search`,
`blockmat.finding.criteria`, `blockmat.finding.networks`, `blockmat.finding.factor_blocks`.
"""
