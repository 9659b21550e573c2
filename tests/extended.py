"""Products in extended precision, and the errors that they show, in units of eps.

``bench/backward.py`` measures with the same functions.
"""

import numpy as np

import blockmat as bm

WIDE = np.longdouble


def exact_product(A, x):
    """A x in extended precision, with every mean taken of deviations, which are small."""
    x = x.astype(WIDE)
    if isinstance(A, bm.ScaledBlockMatrix):
        scale = A.scale.astype(WIDE)
        return scale * exact_product(A.matrix, scale * x)
    if isinstance(A, bm.BlockPlusLowRank):
        V, C = A.factor.astype(WIDE), A.core.astype(WIDE)
        return exact_product(A.base, x) + V @ (C @ (V.T @ x))
    p = A.partition
    means = np.array([x[b].mean() for b in p])
    means = means + np.array([(x[b] - m).mean() for b, m in zip(p, means, strict=True)])
    deviations = x - means[p.labels]
    root = np.sqrt(p.sizes.astype(WIDE))
    lifted = (A.between.astype(WIDE) @ (means * root)) / root
    if not A.is_aligned:
        return A.within.astype(WIDE)[p.labels] * deviations + lifted[p.labels]
    result = lifted[p.labels]
    for members, rows in p.size_classes:
        result[rows] += A.within[np.ix_(members, members)].astype(WIDE) @ deviations[rows]
    return result


def norm(x):
    return float(np.linalg.norm(x.astype(float)))


def norm_of_matrix(A):
    """The spectral norm: of a matrix that is not block-constant, a lower bound by iteration."""
    if isinstance(A, bm.BlockConstantMatrix):
        return float(A.astype(np.float64).norm(2))
    A, x = A.astype(np.float64), np.ones(A.shape[1])
    for _ in range(20):
        y = A @ x
        x = y / norm(y)
    return norm(A @ x)


def backward_error(A, x, b, size=None):
    """``|A x - b| / (eps (|A| |x| + |b|))``."""
    bound = (norm_of_matrix(A) if size is None else size) * norm(x) + norm(b)
    return norm(exact_product(A, x) - b) / (np.finfo(A.dtype).eps * bound) if bound else 0.0


def error_of_product(A, x, y, size=None):
    """``|y - A x| / (eps |A| |x|)``."""
    bound = (norm_of_matrix(A) if size is None else size) * norm(x)
    return norm(exact_product(A, x) - y) / (np.finfo(A.dtype).eps * bound) if bound else 0.0


def equicorrelated(p, within, dtype, aligned):
    """Blocks of correlation 1 - within, and 0.9 of it between them."""
    k, root = p.n_blocks, np.sqrt(p.sizes)
    between = 0.9 * np.outer(root, root) + np.diag(0.1 * p.sizes + within)
    d = np.full(k, within)
    if aligned:
        d = within * (np.eye(k) + 0.5 * (p.sizes[:, None] == p.sizes))
    return bm.BlockConstantMatrix(p, between.astype(dtype), d.astype(dtype))
