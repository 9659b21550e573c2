"""Matrices of size k x k: their functions, and the formulas of the pair (between, within).

May import: `blockmat.exceptions`, `blockmat.blocks`.
"""
