"""The search for blocks of one factor each, whose loadings differ.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`,
`blockmat.matrices`, `blockmat.finding.correlations`, `blockmat.finding.search`,
`blockmat.finding.criteria`.
"""
