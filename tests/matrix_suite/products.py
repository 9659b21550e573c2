"""Products with arrays, from both sides, and with the adjoint."""

import numpy as np
import pytest
import scipy.sparse as sp

from blockmat.exceptions import (
    DtypeError,
    ShapeError,
)
from tests.cases import random_array
from tests.matrix_suite.base import (
    MatrixType,
    close,
    double,
    operand,
    operation,
    product_dtype,
)


class Products(MatrixType):
    @operation("__matmul__", "__mul__", "__call__", "dot", "matvec", "matmat", examples=20)
    def test_products_with_arrays(self, case):
        A, D, rng = case.A, case.D, case.rng
        for columns in ((), (1,), (3,)):
            x = operand(rng, (D.shape[1], *columns))
            exact, size = D @ x.astype(double(x.dtype)), case.size * np.linalg.norm(x)
            other = A.matmat if columns == (3,) else A.matvec
            for result in (A @ x, A * x, A(x), A.dot(x), other(x)):
                assert type(result) is np.ndarray
                assert result.dtype == product_dtype(A, x)
                close(result, exact, size)
        np.testing.assert_array_equal(A @ x.tolist(), A @ x.astype(double(x.dtype)))
        assert np.isnan(A @ np.full(D.shape[1], np.nan)).all()

    @operation("__matmul__", "__rmatmul__")
    def test_products_with_no_columns_are_empty(self, case):
        A, (m, n) = case.A, case.A.shape
        for result, shape in ((A @ np.ones((n, 0)), (m, 0)), (np.ones((0, m)) @ A, (0, n))):
            assert result.shape == shape
            assert result.dtype == np.result_type(case.dtype, float)
        if "solve" not in self.lacks:
            assert A.solve(np.ones((m, 0))).shape == (n, 0)

    @operation("__rmatmul__", "rdot", examples=20)
    def test_products_from_the_left(self, case):
        A, D, rng = case.A, case.D, case.rng
        for rows in ((), (1,), (3,)):
            x = operand(rng, (*rows, D.shape[0]))
            exact, size = x.astype(double(x.dtype)) @ D, case.size * np.linalg.norm(x)
            for result in (x @ A, x * A, A.rdot(x)):
                assert type(result) is np.ndarray
                assert result.dtype == product_dtype(A, x)
                close(result, exact, size)
        np.testing.assert_array_equal(x.tolist() @ A, x.astype(double(x.dtype)) @ A)

    @operation("H", "T", "adjoint", "transpose", "conj", "rmatvec", "rmatmat", examples=20)
    def test_adjoint_transpose_and_conjugate(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        for result, expected in (
            (A.H, D.conj().T), (A.adjoint(), D.conj().T), (A.T, D.T), (A.transpose(), D.T),
            (A.conj(), D.conj()), (A.H.H, D), (A.T.H, D.conj()),
        ):  # fmt: skip
            self.structured(result, expected, dtype, case.size)
        Y = random_array(case.rng, (D.shape[0], 3), dtype)
        size = case.size * np.linalg.norm(Y)
        for result, expected in (
            (A.rmatmat(Y), D.conj().T @ Y), (A.H @ Y, D.conj().T @ Y), (A.T @ Y, D.T @ Y),
            (A.rmatvec(Y[:, 0]), D.conj().T @ Y[:, 0]), (A.conj().T @ Y, D.conj().T @ Y),
            (A.rmatvec(Y[:, :1]), D.conj().T @ Y[:, :1]),
        ):  # fmt: skip
            assert result.dtype == dtype
            close(result, expected, size)

    @operation("__matmul__")
    def test_products_accept_any_layout(self, case):
        A, D = case.A, case.D
        n = D.shape[1]
        base = random_array(case.rng, (2 * n, 6), case.dtype)
        read_only = base[:n].copy()
        read_only.flags.writeable = case.dtype != np.float64  # one dtype: kernels compile for it
        swapped = base[:n].astype(base.dtype.newbyteorder())
        fortran = np.asfortranarray(base[:n])
        for x in (
            base[::2], base[::-2], base[n:, ::-2], base[:n, 1], base[::2, 0], fortran, read_only,
            swapped,
        ):  # fmt: skip
            before = x.copy()
            result = A @ x
            assert result.dtype == case.dtype
            close(result, D @ before.astype(D.dtype), case.size * np.linalg.norm(before))
            np.testing.assert_array_equal(x, before)
        close(x.T @ A.T, (D @ x.astype(D.dtype)).T, case.size * np.linalg.norm(x))

    @operation("dot", examples=12)
    def test_a_product_is_written_where_it_is_asked_for(self, case):
        A, dtype = case.A, case.dtype
        m, n = A.shape
        X = random_array(case.rng, (n, 3), dtype)
        for x in (X, X[:, 1], np.asfortranarray(X)):
            out = np.full((m, *x.shape[1:]), np.nan, dtype)
            assert A.dot(x, out=out) is out
            np.testing.assert_array_equal(out, A @ x)
        if m == n:
            expected, buffer = A @ X, X.copy()
            assert A.dot(buffer, out=buffer) is buffer
            np.testing.assert_array_equal(buffer, expected)
            buffer = np.append(X, X[-1:], axis=0)
            A.dot(buffer[:-1], out=buffer[1:])  # what is written is yet to be read
            np.testing.assert_array_equal(buffer[1:], expected)
        single = np.complex64 if dtype != np.complex64 else np.float64
        read_only = np.broadcast_to(np.zeros((), dtype), (m, 3))
        for wrong, error, message in (
            (np.empty((m, 2), dtype), ShapeError, "out has shape"),
            (np.empty((m, 3), single), DtypeError, "out has dtype"),
            (read_only, ValueError, "out is read-only"),
            ([0.0], TypeError, "out is a list"),
        ):
            with pytest.raises(error, match=message):
                A.dot(X, out=wrong)
        for x in (2.0, A):
            with pytest.raises(TypeError, match="out is given"):
                A.dot(x, out=out)

    @operation("__matmul__", "__rmatmul__", "rdot")
    def test_products_with_sparse_matrices_are_dense(self, case):
        A, D = case.A, case.D
        m, n = D.shape
        X = random_array(case.rng, (n, n + 1), case.dtype)
        Y = random_array(case.rng, (m + 1, m), case.dtype)
        X[case.rng.random(X.shape) < 0.5] = Y[case.rng.random(Y.shape) < 0.5] = 0
        size = case.size * (np.linalg.norm(X) + np.linalg.norm(Y))
        for sparse in (sp.csr_array, sp.csc_array, sp.coo_array, sp.csr_matrix):
            products = (A @ sparse(X), D @ X), (sparse(Y) @ A, Y @ D), (A.rdot(sparse(Y)), Y @ D)
            for result, expected in products:
                assert type(result) is np.ndarray
                assert result.dtype == case.dtype
                close(result, expected, size)

    @operation("__matmul__", "__mul__", "dot", "rdot")
    def test_products_with_square_sparse_matrices_are_lazy(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        m, n = D.shape
        for sparse in (sp.csr_array, sp.dia_matrix):
            X, Y = (random_array(case.rng, (size, size), dtype) for size in (n, m))
            size = case.size * (np.linalg.norm(X) + np.linalg.norm(Y))
            for result, expected in (
                (A @ sparse(X), D @ X), (A * sparse(X), D @ X), (A.dot(sparse(X)), D @ X),
                (A.rdot(sparse(Y)), Y @ D),
            ):  # fmt: skip
                self.is_lazy(result, expected, dtype, size)
        with pytest.raises(ValueError, match="shape"):
            A @ sp.eye_array(n + 1)
