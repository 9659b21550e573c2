"""Multiples, sums, products and powers of matrices, and expressions with other operators."""

import operator

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as sla

import blockmat as bm
from blockmat.exceptions import (
    DtypeError,
    NonFiniteError,
    NotHermitianError,
    PartitionMismatchError,
    ShapeError,
)
from tests.cases import random_array
from tests.matrix_suite.base import (
    MatrixType,
    close,
    operation,
    real,
)


class Algebra(MatrixType):
    @operation("__mul__", "__rmul__", "__truediv__", "__neg__", "__pos__", examples=20)
    def test_multiples(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        for result, expected in (
            (2 * A, 2 * D), (A * 0.5, D / 2), (A.dot(3), 3 * D), (A.rdot(3), 3 * D), (A / 4, D / 4),
            (+A, D), (True * A, D),
            (np.float32(2) * A, 2 * D), (A * np.int64(2), 2 * D), (np.array(2.0) * A, 2 * D),
            (A / np.float32(2), D / 2), (A * np.bool_(True), D),
        ):  # fmt: skip
            assert type(result) is self.type
            widened = np.result_type(dtype, np.float64)  # by NumPy's integers and 0-d arrays
            assert result.dtype in (dtype, widened)
            close(result.toarray(), expected, 3 * case.size)
        for result, expected in ((-A, -D), (0 * A, 0 * D), (A * -3, -3 * D), (A / -2, D / -2)):
            self.composite("negative", result, expected, dtype, 3 * case.size)
        for scalar in (2, 0.5, True, np.float32(2)):
            assert (scalar * A).dtype == (A * scalar).dtype == dtype
        assert (np.float64(2) * A).dtype == np.result_type(dtype, np.float64)
        if np.complex64 in self.dtypes:
            self.structured(1j * A, 1j * D, np.result_type(dtype, np.complex64), case.size)
        else:
            with pytest.raises(DtypeError, match="complex"):
                1j * A

    @operation("__mul__", "__rmul__", "__truediv__", "__add__", "__radd__", "__sub__", "__rsub__",
               "__matmul__", "__rmatmul__", "__array_ufunc__", examples=3)  # fmt: skip
    def test_operands_that_mean_nothing_are_refused(self, case):
        A, D = case.A, case.D
        for number in (np.nan, np.inf, complex(0, np.nan)):
            for f in (operator.mul, operator.truediv):
                with pytest.raises(NonFiniteError, match=r"the scalar is .*; expected a finite"):
                    f(A, number)
        with pytest.raises(ZeroDivisionError, match="division of a matrix by zero"):
            A / 0
        for f in (lambda: A * "a", lambda: "a" * A):
            with pytest.raises(TypeError, match="cannot multiply or divide a matrix by 'a'"):
                f()
        for f in (lambda: A @ 2, lambda: 2 @ A, lambda: A(2)):
            with pytest.raises(ValueError, match="@ does not take a scalar"):
                f()
        for f in (lambda: A + 1, lambda: 1 + A, lambda: A - 1, lambda: 1 - A):
            with pytest.raises(TypeError, match=r"cannot add the scalar -?1 .*identity"):
                f()
        for f in (lambda: A + D, lambda: D + A, lambda: A - D, lambda: D - A):
            with pytest.raises(TypeError, match=r"cannot add a dense array .*toarray"):
                f()
        for f in (
            lambda: A / A, lambda: 1 / A, lambda: A / D, lambda: A + None, lambda: None + A,
            lambda: A - None, lambda: None - A, lambda: np.sin(A), lambda: np.add.reduce(A),
            lambda: np.matmul(A, D.T, out=D), lambda: A @ None, lambda: A * None, lambda: None @ A, lambda: A // 2, lambda: A % 2, lambda: abs(A),
            lambda: float(A), lambda: len(A), lambda: [*A], lambda: 1.0 in A,
        ):  # fmt: skip
            with pytest.raises(TypeError):
                f()

    @operation("__add__", "__radd__", "__sub__", "__rsub__", examples=20)
    def test_sums_and_differences(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        for result, expected in ((0 + A, D), (A + 0, D), (A - 0, D), (0.0 + A, D)):
            self.structured(result, expected, dtype, case.size)
        self.composite("negative", 0 - A, -D, dtype, case.size)
        other = case.another(dtype=case.rng.choice(self.dtypes))
        B, E = other.A, other.D
        common, size = np.result_type(A.dtype, B.dtype), case.size + other.size
        for result, expected in (
            (A + B, D + E), (A - B, D - E), (B - A, E - D), (sum([A, B]), D + E),
        ):  # fmt: skip
            self.composite("sum", result, expected, common, size)

    @operation("__add__", "__radd__", "__sub__", "__rsub__", examples=12)
    def test_sums_with_sparse_matrices(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        E = random_array(case.rng, D.shape, dtype) * (case.rng.random(D.shape) < 0.4)
        E[0, -1] = 1
        for S in (sp.csr_array(E), sp.coo_matrix(E)):
            size = case.size + np.linalg.norm(E)
            for result, expected in (
                (A + S, D + E), (S + A, D + E), (A - S, D - E), (S - A, E - D)
            ):  # fmt: skip
                self.is_lazy(result, expected, dtype, size)
        with pytest.raises(ShapeError, match="the sparse matrix has shape"):
            A + sp.csr_array((len(D) + 1, D.shape[1]))
        with pytest.raises(NonFiniteError, match="the sparse matrix contains inf"):
            A + sp.csr_array(np.full(D.shape, np.inf))
        with pytest.raises(DtypeError, match="the sparse matrix has dtype"):
            A - sp.csr_array(np.ones(D.shape, np.longdouble))

    @operation("__add__", "__radd__", "__sub__", "__rsub__", examples=12)
    def test_sums_with_sparse_diagonals(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        if D.shape[0] != D.shape[1]:
            self.is_lazy(
                A + sp.eye_array(*D.shape),
                D + np.eye(*D.shape),
                np.result_type(dtype, float),
                case.size,
            )
            return
        n = len(D)
        positive = case.rng.uniform(1, 2, n).astype(real(dtype))
        for d in (positive, np.full(n, 2, dtype)):
            S, E = sp.diags_array(d, dtype=dtype), np.diag(d)
            size = case.size + np.linalg.norm(E)
            for result, expected in (
                (A + S, D + E), (S + A, D + E), (A + sp.csr_matrix(S), D + E), (A - -S, D + E),
                (A + sp.coo_array(S), D + E), (S - A, E - D),
            ):  # fmt: skip
                self.matches(result, expected, size)
                assert result.dtype == dtype
            is_constant = d is not positive or self.blocks(case.geometry)[0].n_blocks == n
            structure = self.sum_with_diagonal(case, is_constant)
            if structure is None:
                assert type(A + S).__module__.startswith("scipy.")
            elif case.is_definite or structure is bm.BlockConstantMatrix:
                assert type(A + S) is structure
        for wrong in (sp.diags_array(np.full(n, -9.0 * case.size)), sp.diags_array(np.full(n, 1j))):
            self.matches(A + wrong, D + wrong.toarray(), 10 * n * case.size + n)
        counts = sp.diags_array(np.arange(n), dtype=np.uint8)
        self.matches(A - counts, D - counts.toarray().astype(float), case.size + n**2)

    def matches(self, result, expected, size):
        """Assert that a structured or lazy matrix has the right entries."""
        close(result @ np.eye(len(expected), dtype=result.dtype), expected, size)

    @operation("add_low_rank")
    def test_sums_with_low_rank(self, case):
        A, D, n, dtype = case.A, case.D, len(case.D), case.dtype
        V = case.rng.standard_normal((n, 2)).astype(real(dtype))
        C = np.array([[2, 1], [1, 3]], real(dtype))
        if np.dtype(dtype).kind == "c" or not case.is_hermitian:
            with pytest.raises((DtypeError, NotHermitianError)):
                A.add_low_rank(V)
            return
        size = case.size + 5 * np.linalg.norm(V) ** 2
        for result, expected in (
            (A.add_low_rank(V), D + V @ V.T), (A.add_low_rank(V, core=C), D + V @ C @ V.T),
            (A.add_low_rank(V, -C).add_low_rank(V, C), D),
        ):  # fmt: skip
            assert type(result) is bm.BlockPlusLowRank
            assert result.dtype == dtype
            close(result.toarray(), expected, size)
        with pytest.raises(ShapeError, match="factor has shape"):
            A.add_low_rank(V[1:])
        with pytest.raises(ShapeError, match="core has shape"):
            A.add_low_rank(V, C[:1])
        with pytest.raises(NonFiniteError, match="factor contains nan"):
            A.add_low_rank(V * np.nan)

    @operation("__array_ufunc__", "__array_function__")
    def test_functions_of_numpy(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        X = random_array(case.rng, (D.shape[1], 2), dtype)
        Y = random_array(case.rng, (2, D.shape[0]), dtype)
        for result, expected in (
            (np.matmul(A, X), A @ X), (np.matmul(Y, A), Y @ A), (np.dot(A, X), A @ X),
            (np.dot(Y, A), Y @ A), (np.dot(A, X[:, 0], out=Y[0].copy()), A @ X[:, 0]),
            (np.dot([1.0] * len(D), A), [1.0] * len(D) @ A),
        ):  # fmt: skip
            assert type(result) is np.ndarray
            np.testing.assert_array_equal(result, expected)
        two = np.float32(2)
        for result, expected in (
            (np.multiply(two, A), 2 * D), (np.multiply(A, two), 2 * D), (np.divide(A, two), D / 2),
            (np.dot(A, two), 2 * D), (np.add(A, 0), D), (np.add(A, A), 2 * D),
            (np.subtract(A, 0), D), (np.matmul(A, A.H), D @ D.conj().T),
            (np.dot(A, A.H), D @ D.conj().T),
        ):  # fmt: skip
            assert isinstance(result, sla.LinearOperator)
            close(result @ np.eye(result.shape[1], dtype=dtype), expected, (1 + case.size) ** 2)
        assert (A == D) is (D == A) is False
        assert (A != D) is (D != A) is True
        for f in (
            lambda: np.sin(A),
            lambda: np.add.reduce(A),
            lambda: np.add(A, A, out=D),
            lambda: A / D,
        ):
            with pytest.raises(TypeError, match=r"np\.\w+ does not support a .* here"):
                f()
        for f in (lambda: np.kron(A, A), lambda: np.kron(D, A)):
            with pytest.raises(TypeError, match=r"np.kron would make .*ravel"):
                f()
        with pytest.raises(TypeError, match="out is given"):
            np.dot(Y, A, out=Y)
        close(np.concatenate([A, A]), np.concatenate([D, D]), 2 * case.size)

    @operation("add_diagonal", "rescale")
    def test_diagonal_matrices(self, case):
        A, D, n, dtype = case.A, case.D, len(case.D), case.dtype
        for d in (case.rng.uniform(1, 2, n).astype(dtype), 0.5):
            size = case.size + np.linalg.norm(d) * np.sqrt(n)
            self.structured(A.add_diagonal(d), D + np.diag(d * np.ones(n)), dtype, size)
        for d in (random_array(case.rng, n, dtype), -0.5):
            scale = d * np.ones(n, np.float64)
            size = case.size * np.abs(scale).max() ** 2
            self.structured(A.rescale(d), scale[:, None] * D * scale, dtype, size)
        for f, name in ((A.add_diagonal, "values"), (A.rescale, "scale")):
            with pytest.raises(
                ShapeError, match=rf"{name} has shape \({n + 1},\); expected \({n},"
            ):
                f(np.ones(n + 1))
            with pytest.raises(NonFiniteError, match=f"{name} contains nan"):
                f(np.nan)
            with pytest.raises(DtypeError, match=f"{name} has dtype complex"):
                f(np.ones(n, complex))
        with pytest.raises(ValueError, match=r"noise is .*; expected positive"):
            A.add_diagonal(-9.0)
        with pytest.raises(ValueError, match="scale is 0 at index 0; expected other"):
            A.rescale(0)

    @operation("__matmul__", "__mul__", "dot", "rdot", examples=20)
    def test_products_of_matrices(self, case):
        A, D = case.A, case.D
        other = case.another(dtype=case.rng.choice(self.dtypes))
        B, E = other.A.H, other.D.conj().T
        common, size = np.result_type(A.dtype, B.dtype), case.size * other.size
        for result, expected in ((A @ B, D @ E), (A * B, D @ E), (A.dot(B), D @ E), (B @ A, E @ D)):
            self.composite("product", result, expected, common, size)
        close(A.rdot(B) @ np.eye(D.shape[1], dtype=common), E @ D, size)

    @operation("__pow__")
    def test_integer_powers(self, case):
        A, D = case.A, case.D
        if D.shape[0] != D.shape[1]:
            with pytest.raises(ValueError, match="square"):
                A**2
            return
        for p in (0, 1, 2, 3):
            expected = np.linalg.matrix_power(D, p)
            self.composite("power", A**p, expected, case.dtype, case.size**p + len(D))

    @operation("__add__", "__sub__", "__matmul__", "__rmatmul__", "__mul__", "__rmul__")
    def test_expressions_with_other_operators_are_lazy(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        m, n = D.shape
        S = random_array(case.rng, (m, n), dtype)
        x = random_array(case.rng, (n, 2), dtype)
        L, adjoint = sla.aslinearoperator(S), sla.aslinearoperator(S).H
        size = (case.size + np.linalg.norm(S)) ** 2 * np.linalg.norm(x)
        for result, expected in (
            (A + L, D + S), (L + A, S + D), (A - L, D - S), (L - A, S - D),
            (adjoint @ A, S.conj().T @ D), (adjoint * A, S.conj().T @ D),
            (A.H @ L, D.conj().T @ S), (A.H * L, D.conj().T @ S), (A.H.dot(L), D.conj().T @ S),
            (A.rdot(adjoint), S.conj().T @ D),
        ):  # fmt: skip
            assert isinstance(result, sla.LinearOperator)
            assert type(result).__module__.startswith("scipy.")
            close(result @ x, expected @ x, size)
        assert (A + L).dtype == (A.H @ L).dtype == dtype
        assert sla.aslinearoperator(A) is A

    @operation("__add__", "__sub__", "__matmul__")
    def test_expressions_with_block_constant_matrices(self, case):
        A, D = case.A, case.D
        left, right = self.blocks(case.geometry)
        B, C = (1.5 * bm.BlockConstantMatrix.identity(p) for p in (left, right))
        E = 1.5 * np.eye(len(D))
        wide = np.result_type(case.dtype, np.float64)
        self.composite("block product", B @ A, 1.5 * D, wide, 1.5 * case.size * len(D))
        self.composite("block product", A @ C, 1.5 * D, wide, 1.5 * case.size * len(D))
        if D.shape[0] == D.shape[1]:
            self.composite("block sum", A + B, D + E, wide, case.size + len(D))
            self.composite("block difference", B - A, E - D, wide, case.size + len(D))
        scaled = 2 * bm.ScaledBlockMatrix(C, np.ones(right.n)).astype(case.dtype)
        for result, expected in ((A @ scaled, 3 * D), (scaled @ A.H, 3 * D.conj().T)):
            assert type(result).__module__.startswith("scipy.")
            assert result.dtype == case.dtype
            dense = result @ np.eye(result.shape[1], dtype=case.dtype)
            close(dense, expected, 3 * case.size * len(D))
        if "block product" in self.lazy or right.n == 1:
            return
        other = bm.BlockConstantMatrix.identity([0] + list(range(right.n - 1)))
        if not other.partition.same_blocks(right):
            with pytest.raises(PartitionMismatchError, match="different partitions"):
                A @ other
            with pytest.raises(PartitionMismatchError, match="different partitions"):
                A.H.H @ other
