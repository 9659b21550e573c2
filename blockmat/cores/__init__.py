"""k x k matrices and the formulas of the canonical pair, for arrays of any library.

It imports nothing else of this package.
"""
