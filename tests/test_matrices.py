"""The matrix types in the suite of all: how each is drawn, and what it is by the definition."""

import numpy as np
import pytest
from hypothesis import strategies as st

import blockmat as bm
from blockmat.exceptions import VariableIndexError
from tests.cases import PARTITIONS, core, pair, random_array
from tests.matrix_suite import MatrixSuite
from tests.matrix_suite.base import operation

SOME_BLOCKS = st.sampled_from(list(PARTITIONS.values()))
KINDS = st.sampled_from(["plain", "aligned", "independent"])
OF_SQUARE = {
    "add_low_rank", "as_covariance", "colorize", "cond", "condition", "diagonal", "diagonal_values", "eigh", "eigvals",
    "eigvalsh", "expm", "funm", "identity", "inv", "invsqrtm", "is_aligned", "is_hermitian",
    "is_independent", "is_positive_definite", "logdet", "logm", "matrix_rank", "nearest_psd",
    "partition", "powm", "refine", "slogdet", "solve", "sqrtm", "svdvals", "trace", "whiten",
}  # fmt: skip
OF_FACTORS = {"add_diagonal", "rescale"}
OF_BLOCKS = {
    "cond", "diagonal_values", "eigh", "eigvals", "eigvalsh", "expm", "from_values", "funm",
    "identity", "invsqrtm", "is_aligned", "is_independent", "logm", "matrix_rank", "nearest_psd",
    "norm", "pinv", "powm", "refine", "save", "sqrtm", "svdvals", "values",
}  # fmt: skip
LAZY = frozenset({"sum", "product", "power", "block sum", "block difference", "block product"})

# SciPy 1.18 deprecates what SciPy 1.17 does.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Calling `r?matvec` on 'column vectors':FutureWarning"
)


def unit_vectors(p):
    """U: in column b, 1 / sqrt(n_b) for the members of block b."""
    members = p.labels[:, None] == np.arange(p.n_blocks)
    return members / np.sqrt(members.sum(axis=0))


def pair_of_kind(rng, p, dtype, kind, definite):
    """The arrays `between` and `within` of a matrix of one of `KINDS`."""
    between, within = pair(rng, p, dtype, kind == "aligned", definite)
    if kind == "independent":
        signs = 1 if definite else rng.choice([-1, 1], p.n_blocks)
        between = (np.diagonal(between) * signs).astype(dtype)
    return between, within


class TestBlockConstant(MatrixSuite):
    type = bm.BlockConstantMatrix
    parts = "partition", "between", "within"
    lacks = frozenset({"svd"} | OF_FACTORS)
    geometry = SOME_BLOCKS
    kind = "plain"

    def arguments(self, rng, p, dtype, definite):
        return p, *pair_of_kind(rng, p, dtype, self.kind, definite)

    def dense(self, p, between, within):
        """``U M U^H + sum_ab D_ab (S_ab - u_a u_b^H)``, with S_ab pairing the p-th members."""
        between, D = (x if x.ndim == 2 else np.diag(x) for x in (between, within))
        U, place = unit_vectors(p), np.zeros(p.n)
        for block in range(p.n_blocks):
            members = p.labels == block
            place[members] = np.arange(members.sum())
        paired = place[:, None] == place
        return U @ between @ U.T + D[p.labels][:, p.labels] * paired - U @ D @ U.T

    def sum_with_diagonal(self, case, is_constant):
        if is_constant:
            return bm.BlockConstantMatrix
        return bm.BlockFactorMatrix if case.is_symmetric and self.kind != "aligned" else None


class TestAligned(TestBlockConstant):
    kind = "aligned"


class TestIndependent(TestBlockConstant):
    kind = "independent"


class TestRectangular(MatrixSuite):
    type = bm.BlockRectangularMatrix
    parts = "row_partition", "col_partition", "between"
    lacks = frozenset(OF_SQUARE | OF_FACTORS)
    lazy = frozenset({"block sum", "block difference", "power"})
    norms = None, "fro", "nuc", 2
    geometry = st.tuples(SOME_BLOCKS, SOME_BLOCKS)

    def arguments(self, rng, geometry, dtype, definite):
        rows, cols = geometry
        return rows, cols, random_array(rng, (rows.n_blocks, cols.n_blocks), dtype)

    def dense(self, rows, cols, between):
        return unit_vectors(rows) @ between @ unit_vectors(cols).T

    def blocks(self, geometry):
        return geometry

    @operation("submatrix", examples=20)
    def test_a_part_has_any_rows_and_columns(self, case):
        A, (rows, columns) = case.A, (case.rng.permutation(n) for n in case.D.shape)
        rows, columns = rows[: len(rows) // 2 + 1], columns[: len(columns) // 2 + 1]
        part = A.submatrix(rows, columns)
        self.structured(part, case.D[np.ix_(rows, columns)], case.dtype, case.size)
        assert part.row_partition == A.row_partition.subset(rows)
        assert part.col_partition == A.col_partition.subset(columns)
        everything = A.submatrix(slice(None), slice(None))
        np.testing.assert_array_equal(everything.between, A.between)
        for wrong, message in (([], "is empty"), ([0, 0], "has the variable 0 more than once")):
            with pytest.raises(VariableIndexError, match=f"rows {message}"):
                A.submatrix(wrong, [0])
            with pytest.raises(VariableIndexError, match=f"columns {message}"):
                A.submatrix([0], wrong)


class TestScaled(MatrixSuite):
    type = bm.ScaledBlockMatrix
    parts = "matrix", "scale"
    lacks = frozenset({"svd"} | OF_BLOCKS | OF_FACTORS) - {"norm", "save"}
    lazy = LAZY
    norms = None, "fro"
    geometry = st.tuples(SOME_BLOCKS, KINDS)

    def arguments(self, rng, geometry, dtype, definite):
        p, kind = geometry
        B = bm.BlockConstantMatrix(p, *pair_of_kind(rng, p, dtype, kind, definite))
        scale = rng.uniform(0.5, 2, p.n) * rng.choice([-1, 1], p.n)
        return B, scale.astype(np.zeros(0, dtype).real.dtype)

    def dense(self, B, scale):
        scale = scale.astype(np.float64)
        return scale[:, None] * definition(B) * scale

    def sum_with_diagonal(self, case, is_constant):
        is_aligned = case.geometry[1] == "aligned"
        return bm.BlockFactorMatrix if case.is_symmetric and not is_aligned else None

    def size(self, dense, B, scale):
        return np.abs(scale).max() ** 2 * np.linalg.norm(dense / scale / scale[:, None])

    def blocks(self, geometry):
        return geometry[0], geometry[0]


class TestLowRank(MatrixSuite):
    type = bm.BlockPlusLowRank
    parts = "base", "factor", "core"
    lacks = frozenset({"svd"} | OF_BLOCKS | OF_FACTORS) - {"norm", "save", "eigvalsh"}
    lazy = LAZY - {"sum", "block sum", "block difference"}
    norms = None, "fro"
    dtypes = np.float32, np.float64
    geometry = st.tuples(SOME_BLOCKS, KINDS)

    def base(self, rng, geometry, dtype):
        return TestScaled().arguments(rng, geometry, dtype, True)[0]

    def sum_with_diagonal(self, case, is_constant):
        is_aligned = case.geometry[1] == "aligned"
        return bm.BlockPlusLowRank if is_constant or not is_aligned else None

    def arguments(self, rng, geometry, dtype, definite):
        base, n = self.base(rng, geometry, dtype), geometry[0].n
        rank = rng.choice([1, 3, n + 2])
        factor = rng.standard_normal((n, rank)) / np.sqrt(rank)
        if definite:
            return base, factor.astype(dtype), core(rng, rank, dtype, True).astype(dtype)
        # What an inverse is: B - B V (I + V^T B V)^-1 V^T B, which is positive definite, too.
        taken = definition(base) @ factor
        inverse = np.linalg.inv(np.eye(rank) + factor.T @ taken)
        return base, taken.astype(dtype), -((inverse + inverse.T) / 2).astype(dtype)

    def dense(self, base, factor, core):
        factor = factor.astype(np.float64)
        return definition(base) + factor @ core @ factor.T

    def size(self, dense, base, factor, core):
        return np.linalg.norm(dense) + 2 * np.linalg.norm(factor) ** 2 * np.linalg.norm(core)

    def blocks(self, geometry):
        return geometry[0], geometry[0]


class TestLowRankOnScaled(TestLowRank):
    lazy = LAZY
    has_eigenvalues = False

    def base(self, rng, geometry, dtype):
        return bm.ScaledBlockMatrix(*TestScaled().arguments(rng, geometry, dtype, True))

    def sum_with_diagonal(self, case, is_constant):
        return None if case.geometry[1] == "aligned" else bm.BlockPlusLowRank


class TestLowRankOnFactor(TestLowRank):
    lazy = LAZY - {"block sum"} | {"negative"}
    has_eigenvalues = False

    def base(self, rng, geometry, dtype):
        return bm.BlockFactorMatrix(*TestFactor().arguments(rng, geometry, dtype, True))

    def sum_with_diagonal(self, case, is_constant):
        return bm.BlockPlusLowRank


class TestFactor(MatrixSuite):
    type = bm.BlockFactorMatrix
    parts = "partition", "covariance", "noise", "loadings"
    lacks = frozenset({"svd"} | OF_BLOCKS) - {"norm", "save"}
    lazy = LAZY - {"block sum"} | {"negative"}
    norms = None, "fro"
    dtypes = np.float32, np.float64
    geometry = st.tuples(SOME_BLOCKS, st.booleans())

    def arguments(self, rng, geometry, dtype, definite):
        p, independent = geometry
        noise, loadings = rng.uniform(0.5, 2, p.n), rng.uniform(0.5, 2, p.n)
        if definite:
            C = core(rng, p.n_blocks, dtype, True)
        else:  # that of an inverse
            W = np.bincount(p.labels, loadings**2 / noise)
            C = -np.linalg.inv(np.diag(W) + core(rng, p.n_blocks, np.float64, True))
        C = np.diagonal(C) if independent else (C + C.T) / 2
        return p, *(x.astype(dtype) for x in (C, noise, loadings))

    def dense(self, p, covariance, noise, loadings):
        C = covariance if covariance.ndim == 2 else np.diag(covariance)
        Z = loadings[:, None] * (p.labels[:, None] == np.arange(p.n_blocks))
        return np.diag(noise.astype(np.float64)) + Z @ C.astype(np.float64) @ Z.T

    def sum_with_diagonal(self, case, is_constant):
        return bm.BlockFactorMatrix

    def size(self, dense, p, covariance, noise, loadings):
        parts = np.linalg.norm(noise), np.linalg.norm(covariance) * np.linalg.norm(loadings) ** 2
        return sum(parts)

    def blocks(self, geometry):
        return geometry[0], geometry[0]


def definition(A):
    """The dense form of a matrix that another one is made from."""
    suites = TestBlockConstant(), TestScaled(), TestFactor()
    (suite,) = (suite for suite in suites if suite.type is type(A))
    return suite.dense(*(getattr(A, part) for part in suite.parts))
