"""Which variable is in which block, and passes over arrays of size n; knows no matrix.

May import: `blockmat.exceptions`.
"""
