"""Partitions, and sums and products over arrays of size n. Nothing here depends on a matrix type.

May import: `blockmat.exceptions`.
"""
