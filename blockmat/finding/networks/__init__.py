"""The search for groups of a network, by modularity or by degrees.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`,
`blockmat.finding.correlations`, `blockmat.finding.search`, `blockmat.finding.criteria`.
"""
