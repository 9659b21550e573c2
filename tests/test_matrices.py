"""The matrix types in the suite of all: how each is drawn, and what it is by the definition."""

import numpy as np
from hypothesis import strategies as st

import blockmat as bm
from blockmat.testing import partitions
from tests.cases import core, pair, random_array
from tests.matrix_suite import MatrixSuite

OF_SQUARE = {
    "as_covariance", "colorize", "cond", "diagonal", "diagonal_values", "eigh", "eigvals",
    "eigvalsh", "expm", "funm", "identity", "inv", "invsqrtm", "is_aligned", "is_hermitian",
    "is_positive_definite", "logdet", "logm", "matrix_rank", "nearest_psd", "partition", "powm",
    "refine", "slogdet", "solve", "sqrtm", "svdvals", "trace", "whiten",
}  # fmt: skip
OF_BLOCKS = {
    "cond", "diagonal_values", "eigh", "eigvals", "eigvalsh", "expm", "from_values", "funm",
    "identity", "invsqrtm", "is_aligned", "logm", "matrix_rank", "nearest_psd", "norm", "pinv",
    "powm", "refine", "save", "sqrtm", "svdvals", "values",
}  # fmt: skip
LAZY = frozenset({"sum", "product", "power", "block sum", "block product"})


def unit_vectors(p):
    """U: in column b, 1 / sqrt(n_b) for the members of block b."""
    members = p.labels[:, None] == np.arange(p.n_blocks)
    return members / np.sqrt(members.sum(axis=0))


class TestBlockConstant(MatrixSuite):
    type = bm.BlockConstantMatrix
    parts = "partition", "between", "within"
    lacks = frozenset({"svd"})
    geometry = partitions(max_n=8)
    aligned = False

    def arguments(self, rng, p, dtype, definite):
        return p, *pair(rng, p, dtype, self.aligned, definite)

    def dense(self, p, between, within):
        """``U M U^H + sum_ab D_ab (S_ab - u_a u_b^H)``, with S_ab pairing the p-th members."""
        D = (within if within.ndim == 2 else np.diag(within)).astype(complex)
        U = unit_vectors(p)
        dense = U @ between @ U.T
        for a, b in np.argwhere(D):
            paired = np.zeros(dense.shape)
            paired[np.flatnonzero(p.labels == a), np.flatnonzero(p.labels == b)] = 1
            dense = dense + D[a, b] * (paired - np.outer(U[:, a], U[:, b]))
        return dense if np.iscomplexobj(between) else dense.real


class TestAligned(TestBlockConstant):
    geometry = st.booleans().flatmap(lambda equal: partitions(max_n=8, equal_sizes=equal))
    aligned = True


class TestRectangular(MatrixSuite):
    type = bm.BlockRectangularMatrix
    parts = "row_partition", "col_partition", "between"
    lacks = frozenset(OF_SQUARE)
    lazy = frozenset({"block sum", "power"})
    norms = None, "fro", "nuc", 2
    geometry = st.tuples(partitions(max_n=8), partitions(max_n=8))

    def arguments(self, rng, geometry, dtype, definite):
        rows, cols = geometry
        return rows, cols, random_array(rng, (rows.n_blocks, cols.n_blocks), dtype)

    def dense(self, rows, cols, between):
        return unit_vectors(rows) @ between @ unit_vectors(cols).T

    def blocks(self, geometry):
        return geometry


class TestScaled(MatrixSuite):
    type = bm.ScaledBlockMatrix
    parts = "matrix", "scale"
    lacks = frozenset({"svd"} | OF_BLOCKS)
    lazy = LAZY
    inside = TestBlockConstant()
    geometry = inside.geometry

    def arguments(self, rng, p, dtype, definite):
        B = self.inside.type(*self.inside.arguments(rng, p, dtype, definite))
        return B, rng.uniform(0.5, 2, p.n).astype(np.zeros(0, dtype).real.dtype)

    def dense(self, B, scale):
        scale = scale.astype(np.float64)
        return scale[:, None] * self.inside.dense(B.partition, B.between, B.within) * scale

    def size(self, B, scale):
        return np.linalg.norm(self.dense(B, np.full_like(scale, scale.max())))


class TestScaledAligned(TestScaled):
    inside = TestAligned()
    geometry = inside.geometry


class LowRank(MatrixSuite):
    """Plus low rank, or with a factor as wide as the matrix, or what the inverse of one is."""

    type = bm.BlockPlusLowRank
    parts = "base", "factor", "core"
    lacks = frozenset({"svd", "partition", "is_positive_definite"} | OF_BLOCKS)
    lazy = LAZY
    dtypes = np.float32, np.float64

    def arguments(self, rng, p, dtype, definite):
        base = self.inside.type(*self.inside.arguments(rng, p, dtype, True))
        rank = rng.choice([1, 3, p.n + 2])
        factor = rng.standard_normal((p.n, rank)) / np.sqrt(rank)
        if definite:
            return base, factor.astype(dtype), core(rng, rank, dtype, True).astype(dtype)
        # B - B V (I + V^T B V)^-1 V^T B is positive definite.
        inverse = np.linalg.inv(np.eye(rank) + factor.T @ base.toarray() @ factor)
        taken = base.toarray() @ factor
        return base, taken.astype(dtype), -((inverse + inverse.T) / 2).astype(dtype)

    def dense(self, base, factor, core):
        inside = getattr(base, "matrix", base)
        arguments = (inside, base.scale) if "scale" in self.inside.parts else self.pair_of(base)
        factor = factor.astype(np.float64)
        return self.inside.dense(*arguments) + factor @ core @ factor.T

    def size(self, base, factor, core):
        return np.linalg.norm(base.toarray()) + np.linalg.norm(factor) ** 2 * np.linalg.norm(core)

    @staticmethod
    def pair_of(B):
        return B.partition, B.between, B.within


class TestLowRank(LowRank):
    inside = TestBlockConstant()
    geometry = inside.geometry


class TestLowRankAligned(LowRank):
    inside = TestAligned()
    geometry = inside.geometry


class TestLowRankScaled(LowRank):
    inside = TestScaledAligned()
    geometry = inside.geometry
