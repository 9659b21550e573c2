"""What the matrix is: its entries, its blocks, and whether it is Hermitian or definite."""

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as sla

import blockmat as bm
from blockmat.exceptions import ShapeError
from tests.matrix_suite.base import (
    UNITS,
    MatrixType,
    close,
    operation,
)


class Entries(MatrixType):
    @operation("toarray", "__array__", "ndim", "nbytes", examples=20)
    def test_the_dense_matrix_is_that_of_the_definition(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        self.structured(A, D, dtype, case.size)
        assert A.shape == D.shape
        assert A.ndim == 2
        assert np.asarray(A).dtype == dtype
        np.testing.assert_array_equal(np.asarray(A), A.toarray())
        other = np.complex64
        np.testing.assert_array_equal(np.array(A, dtype=other), A.toarray().astype(other))
        with pytest.raises(ValueError, match="without a copy"):
            A.__array__(copy=False)
        assert A.nbytes == sum(getattr(A, part).nbytes for part in self.parts)

    @operation("diagonal", "trace")
    def test_diagonal_and_trace(self, case):
        diagonal, trace = case.A.diagonal(), case.A.trace()
        assert diagonal.dtype == trace.dtype == case.dtype
        close(diagonal, np.diagonal(case.D), case.size)
        close(trace, np.trace(case.D), case.size * np.sqrt(len(case.D)))

    @operation("is_hermitian")
    def test_a_hermitian_matrix_is_recognised(self, case):
        assert case.A.is_hermitian is bool(case.is_hermitian)

    @operation("is_positive_definite")
    def test_a_definite_matrix_is_recognised(self, case):
        assert case.A.is_positive_definite() is bool(case.is_definite)
        for negative in self.negative(case.A):
            assert negative.is_positive_definite() is False

    @operation("partition")
    def test_the_partition_is_that_of_the_arguments(self, case):
        assert case.A.partition == self.blocks(case.geometry)[0]

    @operation("allclose", examples=12)
    def test_close_matrices(self, case):
        A, dtype = case.A, case.dtype
        dense = A.toarray()
        for same in (
            A,
            A.T.T,
            A.astype(np.result_type(dtype, float)),
            dense,
            dense.tolist(),
            sp.csr_array(dense),
        ):
            assert A.allclose(same, rtol=0, atol=UNITS * np.finfo(dtype).eps * case.size)
        other = case.another()
        pairs = [
            (other.A, other.A.toarray()),
            (1.001 * A, np.asarray(1.001 * A)),
            (dense + 1, dense + 1),
        ]
        pairs += [(B, B.toarray()) for B in self.near(A)]
        for B, E in pairs:
            differences = np.abs(dense - E)
            for rtol in (0, 1e-3):
                # the smallest tolerance that is enough, and one that is not, beyond rounding
                needed = (differences - rtol * np.abs(E)).max()
                rounding = UNITS * np.finfo(dtype).eps * max(case.size, np.abs(E).max())
                for atol in (needed * 1.001, needed * 0.999):
                    if needed > 1e3 * rounding:
                        assert A.allclose(B, rtol, atol) is bool(atol > needed), (
                            rtol,
                            atol,
                            needed,
                        )
        changed = dense.copy()
        changed[-1, 0] += 1 + case.size
        assert not A.allclose(changed)
        assert not A.allclose(np.where(changed == changed[0, 0], np.nan, dense))
        with pytest.raises(ShapeError, match="other has shape"):
            A.allclose(dense[1:])
        with pytest.raises(ShapeError, match="other is 0-d"):
            A.allclose(0)
        with pytest.raises(TypeError, match=r"other is a .*; expected a matrix of this package"):
            A.allclose(sla.aslinearoperator(dense))
        for name in ("rtol", "atol"):
            with pytest.raises(ValueError, match=f"{name} is -1; expected 0 or more"):
                A.allclose(A, **{name: -1})

    def near(self, A):
        """Return matrices of other types with the same shape."""
        if A.shape[0] != A.shape[1]:
            return []
        n = A.shape[0]
        p = bm.Partition.from_labels(np.arange(n) // 2)
        k = p.n_blocks
        scale = np.linspace(1, 2, n)
        B = bm.BlockConstantMatrix(p, np.eye(k) + 1, np.ones(k))
        both = bm.Partition.from_sizes([n // 2, n - n // 2] if n > 1 else [n])
        D = np.full((2, 2), 0.5) if n % 2 == 0 else np.ones(both.n_blocks)
        return [
            B, bm.ScaledBlockMatrix(B, scale), bm.BlockFactorMatrix(p, np.ones(k), scale, scale),
            bm.BlockConstantMatrix(both, np.ones((both.n_blocks,) * 2), D),
            bm.BlockFactorMatrix(p, np.ones((k, k)), 1.0, scale), B.add_low_rank(np.ones((n, 1))),
            bm.BlockRectangularMatrix(p, np.arange(n), np.ones((k, n))),
        ]  # fmt: skip

    @operation("values", "from_values")
    def test_the_numbers_in_the_blocks_make_the_matrix(self, case):
        A = case.A
        blocks = [getattr(A, part) for part in self.parts if part.endswith("partition")]
        numbers = [A.values]
        if hasattr(A, "diagonal_values"):
            numbers.append(A.diagonal_values)
        assert {x.dtype for x in numbers} == {np.dtype(case.dtype)}
        again = self.type.from_values(*blocks, *numbers)
        self.structured(again, case.D, case.dtype, case.size)
        for a, rows in enumerate(blocks[0]):
            for b, cols in enumerate(blocks[-1]):  # two different members, where there are two
                place = rows[0], cols[-1]
                close(A.values[a, b], case.D[place], case.size)

    @operation("diagonal_values", "is_aligned", "is_independent")
    def test_paired_entries_have_numbers_of_their_own(self, case):
        A = case.A
        assert A.is_aligned is (A.within.ndim == 2)
        assert A.is_independent is (A.between.ndim == 1)
        numbers = A.diagonal_values if A.is_aligned else np.diag(A.diagonal_values)
        for a, rows in enumerate(A.partition):
            for b, cols in enumerate(A.partition):
                if a == b or (A.is_aligned and len(rows) == len(cols)):
                    close(numbers[a, b], case.D[rows[0], cols[0]], case.size)
