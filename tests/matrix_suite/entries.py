"""What the matrix is: its entries, its blocks, and whether it is Hermitian or definite."""

import numpy as np
import pytest

from tests.matrix_suite.base import (
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
