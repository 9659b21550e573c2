"""One suite for all matrix types: every operation, compared with dense arrays.

A matrix type is a subclass of `MatrixSuite` in test_matrices.py. It says how the arguments of the
constructor are drawn, what the dense matrix is by the definition, and which operations the type
lacks. An operation that is missing and not declared, or declared and not missing, is an error;
so is a public name that no test here has in its list.

Tolerances. Let u be the eps of the dtype of a result. A sum of m rounded numbers errs by at most
m u times the sum of their sizes (Higham, Accuracy and Stability of Numerical Algorithms,
section 4.2). No matrix here has a sum of more than m = 16 numbers, and no operation has more
than 8 such sums in a row, so errors are below ``128 u`` times the size of what is summed, in the
Frobenius norm. An operation that inverts, or is a function with a derivative bounded by the
inverse (roots, logarithms, negative powers), multiplies this by the condition number. A test that
needs another bound says why.
"""

import copy
import operator
import pickle
import tempfile
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.linalg import LinAlgError
from scipy.stats import Covariance, multivariate_normal

import blockmat as bm
from blockmat.exceptions import (
    DtypeError,
    IndefiniteMatrixError,
    NonFiniteError,
    NotHermitianError,
    PartitionMismatchError,
    ShapeError,
    SingularMatrixError,
)
from tests.cases import DTYPES, random_array

UNITS = 128  # of eps, see above
NORMS = (None, "fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf)
OPERANDS = (np.float32, np.float64, np.complex64, np.int64)  # dtypes of arrays in products

# Tested where the sources are.
ELSEWHERE = {"fit": "test_fitting.py", "fit_samples": "test_fitting.py"}
# What Python and SciPy need a class to have.
NO_OPERATIONS = {
    "__annotations__", "__class_getitem__", "__dict__", "__module__", "__signature__",
    "__weakref__",
}  # fmt: skip


def operation(*names, examples=None):
    """Make a test of what has these names, of drawn cases, for the types that have all of them."""

    def decorate(check):
        inherited = HealthCheck.differing_executors  # one test, of several classes
        default = settings.get_profile("default")

        @settings(
            max_examples=max(1, default.max_examples * (examples or 8) // 50),
            suppress_health_check=[*default.suppress_health_check, inherited],
        )
        @given(st.data())
        def test(self, data):
            if self.lacks.isdisjoint(names):
                check(self, Case(self, *data.draw(cases(type(self)))))

        test.__name__, test.names = check.__name__, names
        return test

    return decorate


@cache
def cases(suite):
    """What a `Case` is made from: blocks, dtype, whether it is definite, and a seed."""
    dtypes = st.sampled_from(suite.dtypes)
    return st.tuples(suite.geometry, dtypes, st.booleans(), st.integers(0, 999))


def real(dtype):
    return np.zeros(0, dtype).real.dtype


def double(dtype):
    return np.result_type(dtype, np.float64)


def close(result, expected, size=None, condition=1.0):
    """Assert that an array or a number has the dtype's accuracy, relative to `size`."""
    result, expected = np.asarray(result), np.asarray(expected)
    assert result.shape == expected.shape
    size = np.linalg.norm(expected) if size is None else size
    error = np.linalg.norm(result - expected)
    allowed = UNITS * np.finfo(result.dtype).eps * condition * size
    assert error <= allowed, f"error {error:.3g}; allowed {allowed:.3g}"


@dataclass(frozen=True)
class Case:
    """A matrix, its dense form in double precision, and what tolerances need."""

    suite: Any = field(repr=False)
    geometry: Any
    dtype: Any
    definite: bool
    seed: int

    @cached_property
    def arguments(self):
        rng = np.random.default_rng(self.seed)
        return self.suite.arguments(rng, self.geometry, self.dtype, self.definite)

    @cached_property
    def A(self):
        return self.suite.type(*self.arguments)

    @cached_property
    def D(self):
        return self.suite.dense(*self.arguments)

    @cached_property
    def size(self):
        return self.suite.size(*self.arguments)

    @cached_property
    def inverse(self):
        return np.linalg.inv(self.D)

    @cached_property
    def condition(self):
        return self.size * np.linalg.norm(self.inverse)

    @cached_property
    def is_hermitian(self):
        # Cores that are not Hermitian differ from their adjoints by a tenth and more.
        D, H = self.D, self.D.conj().T
        return D.shape == H.shape and bool(np.abs(D - H).max() < 1e-5 * self.size)

    @cached_property
    def is_definite(self):
        return self.is_hermitian and np.linalg.eigvalsh(self.D)[0] > 0

    @property
    def rng(self):
        return np.random.default_rng(self.seed + 1)

    def another(self, **changes):
        """Make a case of the same type on the same blocks, with other numbers."""
        kept = {"dtype": self.dtype, "definite": self.definite, "seed": self.seed + 1}
        return Case(self.suite, self.geometry, **{**kept, **changes})


class MatrixSuite:
    """The tests of a matrix type.

    A subclass sets the class `type`, the names `parts` of its constructor's arguments, the
    strategy `geometry` of what its first argument is made from, and `arguments` and `dense`.
    """

    lacks: frozenset[str] = frozenset()  # public names that other types have
    lazy: frozenset[str] = frozenset()  # operations whose results are SciPy's lazy operators
    flaws: frozenset[str] = frozenset()  # what test_matrices.py expects to fail
    dtypes = DTYPES
    norms = NORMS

    def arguments(self, rng, geometry, dtype, definite):
        """Return the arguments of the constructor, of a well-conditioned matrix."""
        raise NotImplementedError

    def dense(self, *arguments):
        """Return the matrix by the definition, in double precision, without blockmat's kernels."""
        raise NotImplementedError

    def size(self, *arguments):
        """Bound the norms of what the matrix is a sum or a product of."""
        return np.linalg.norm(self.dense(*arguments))

    def structured(self, result, expected, dtype, size=None, condition=1.0):
        """Assert that a result is of this type and of the dtype, and has the right entries."""
        assert type(result) is self.type
        for part in self.parts:
            assert getattr(getattr(result, part), "dtype", dtype) in (dtype, real(dtype))
        array = result.toarray()
        assert result.dtype == array.dtype == dtype
        close(array, expected, size, condition)

    def composite(self, name, result, expected, dtype, size):
        """Assert the same of a sum or a product, or that it is lazy where that is declared."""
        if name not in self.lazy:
            return self.structured(result, expected, dtype, size)
        assert type(result).__module__.startswith("scipy.")
        assert result.dtype == dtype
        close(result @ np.eye(result.shape[1], dtype=dtype), expected, size)

    def test_every_public_name_is_tested(self):
        tests = [getattr(type(self), name) for name in dir(self) if name.startswith("test_")]
        tested = {name for test in tests for name in getattr(test, "names", ())} | {*self.parts}
        public = {
            name
            for name in dir(self.type)
            if not name.startswith("_") or (name.startswith("__") and name not in dir(object))
        }
        assert public - NO_OPERATIONS - ELSEWHERE.keys() - tested == set()
        assert tested - public - self.lacks == set(), "declare it in `lacks`"
        assert self.lacks & public == set(), "it is not lacking"
        for name, file in ELSEWHERE.items():
            assert f".{name}(" in (Path(__file__).parent / file).read_text()

    # What the matrix is

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
        assert (-case.A).is_positive_definite() is False

    @operation("partition")
    def test_the_partition_is_that_of_the_arguments(self, case):
        assert case.A.partition == case.geometry

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

    @operation("diagonal_values", "is_aligned")
    def test_paired_entries_have_numbers_of_their_own(self, case):
        A = case.A
        assert A.is_aligned is (A.within.ndim == 2)
        numbers = A.diagonal_values if A.is_aligned else np.diag(A.diagonal_values)
        for a, rows in enumerate(A.partition):
            for b, cols in enumerate(A.partition):
                if a == b or (A.is_aligned and len(rows) == len(cols)):
                    close(numbers[a, b], case.D[rows[0], cols[0]], case.size)

    # Products with arrays

    @operation("__matmul__", "__mul__", "__call__", "dot", "matvec", "matmat", examples=20)
    @pytest.mark.filterwarnings("ignore:Calling `matvec` on 'column vectors':FutureWarning")
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
        if "no columns" not in self.flaws:
            self.products_with_no_columns(case)

    def products_with_no_columns(self, case):
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
    @pytest.mark.filterwarnings("ignore:Calling `rmatvec` on 'column vectors':FutureWarning")
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
        read_only.flags.writeable = False
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
        X = random_array(case.rng, (n, 3), case.dtype)
        Y = random_array(case.rng, (3, m), case.dtype)
        X[case.rng.random(X.shape) < 0.5] = Y[case.rng.random(Y.shape) < 0.5] = 0
        size = case.size * (np.linalg.norm(X) + np.linalg.norm(Y))
        for sparse in (sp.csr_array, sp.csc_array, sp.coo_array, sp.csr_matrix):
            products = (A @ sparse(X), D @ X), (sparse(Y) @ A, Y @ D), (A.rdot(sparse(Y)), Y @ D)
            for result, expected in products:
                assert type(result) is np.ndarray
                assert result.dtype == case.dtype
                close(result, expected, size)

    # Multiples, sums, products of matrices

    @operation("__mul__", "__rmul__", "__truediv__", "__neg__", "__pos__", examples=20)
    def test_multiples(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        for result, expected in (
            (2 * A, 2 * D), (A * 0.5, D / 2), (A.dot(3), 3 * D), (A.rdot(3), 3 * D), (A / 4, D / 4),
            (-A, -D), (+A, D), (0 * A, 0 * D), (True * A, D),
            (np.float32(2) * A, 2 * D), (A * np.int64(2), 2 * D), (np.array(2.0) * A, 2 * D),
            (A / np.float32(2), D / 2), (A * np.bool_(True), D),
        ):  # fmt: skip
            assert type(result) is self.type
            widened = np.result_type(dtype, np.float64)  # by NumPy's integers and 0-d arrays
            assert result.dtype in (dtype, widened)
            close(result.toarray(), expected, 3 * case.size)
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
        S = sp.csr_array(D)
        for f in (
            lambda: A / A, lambda: 1 / A, lambda: A / D, lambda: A + None, lambda: None + A,
            lambda: A - None, lambda: None - A, lambda: A + S, lambda: S + A, lambda: A - S,
            lambda: S - A, lambda: np.sin(A), lambda: np.add(A, A), lambda: A @ None,
            lambda: A * None, lambda: None @ A, lambda: A // 2, lambda: A % 2, lambda: abs(A),
            lambda: float(A), lambda: len(A), lambda: [*A], lambda: A[0],
        ):  # fmt: skip
            with pytest.raises(TypeError):
                f()

    @operation("__add__", "__radd__", "__sub__", "__rsub__", examples=20)
    def test_sums_and_differences(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        for result, expected in ((0 + A, D), (A + 0, D), (A - 0, D), (0 - A, -D), (0.0 + A, D)):
            self.structured(result, expected, dtype, case.size)
        other = case.another(dtype=case.rng.choice(self.dtypes))
        B, E = other.A, other.D
        common, size = np.result_type(A.dtype, B.dtype), case.size + other.size
        for result, expected in (
            (A + B, D + E), (A - B, D - E), (B - A, E - D), (sum([A, B]), D + E),
        ):  # fmt: skip
            self.composite("sum", result, expected, common, size)

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
            self.composite("block sum", B - A, E - D, wide, case.size + len(D))
        if "block product" in self.lazy or right.n == 1:
            return
        other = bm.BlockConstantMatrix.identity([0] + list(range(right.n - 1)))
        if not other.partition.same_blocks(right):
            with pytest.raises(PartitionMismatchError, match="different partitions"):
                A @ other
            with pytest.raises(PartitionMismatchError, match="different partitions"):
                A.H.H @ other

    def blocks(self, geometry):
        """Return the partitions of rows and of columns."""
        return geometry, geometry

    # Solving and functions

    @operation("solve", examples=20)
    def test_solutions(self, case):
        A, rng = case.A, case.rng
        for columns in ((), (1,), (3,)):
            b = operand(rng, (len(case.D), *columns))
            if "complex right-hand sides" in self.flaws:
                b = b.real
            result, exact = A.solve(b), case.inverse @ b.astype(double(b.dtype))
            assert type(result) is np.ndarray
            assert result.dtype == product_dtype(A, b)
            size = np.linalg.norm(case.inverse) * np.linalg.norm(b)
            close(result, exact, size, case.condition)
        b = operand(rng, len(case.D)).real
        np.testing.assert_array_equal(A.solve(b.tolist()), A.solve(b.astype(float)))
        rows = random_array(rng, (6, len(case.D)), case.dtype)[::2]
        for b in (rows.T, np.asfortranarray(rows.T), rows[::-1].T[:, 0]):
            before, size = b.copy(), np.linalg.norm(case.inverse) * np.linalg.norm(b)
            close(A.solve(b), case.inverse @ before, size, case.condition)
            np.testing.assert_array_equal(b, before)

    @operation("inv", examples=20)
    def test_inverse(self, case):
        A, inverse = case.A, case.A.inv()
        self.structured(inverse, case.inverse, case.dtype, None, case.condition)
        x = random_array(case.rng, len(case.D), case.dtype)
        close(inverse @ (A @ x), x, None, case.condition * len(x))
        if "solve" not in self.lacks:
            close(inverse.solve(x), case.D @ x, case.size * np.linalg.norm(x), case.condition**2)
        with pytest.raises(SingularMatrixError):
            (0 * A).inv()

    @operation("pinv")
    def test_pseudo_inverse(self, case):
        A, D = case.A, case.D
        s = np.linalg.svd(D, compute_uv=False)
        s = s[s > 1e-4 * s[0]]
        expected = np.linalg.pinv(D, rcond=1e-4)
        for result in (A.pinv(), A.pinv(1e-4)):
            assert result.shape == D.T.shape
            self.structured(result, expected, case.dtype, None, (case.size / s[-1]) ** 2)
        self.structured((0 * A).pinv(), 0 * D.T, case.dtype)
        for rtol in (-1, np.nan):
            with pytest.raises(ValueError, match="rtol is"):
                A.pinv(rtol)

    @operation("powm", "sqrtm", "invsqrtm", "logm", "__pow__", examples=12)
    def test_powers_and_logarithm(self, case):
        A, D, inverse, dtype = case.A, case.D, case.inverse, case.dtype
        if np.dtype(dtype).kind == "f" and (np.linalg.eigvals(D).real <= 0).any():
            return  # the root is not real
        root, condition = scipy.linalg.sqrtm(D), case.condition**2
        for result, expected in (
            (A.sqrtm(), root), (A.powm(0.5), root), (A**0.5, root), (A.powm(1.5), D @ root),
            (A.invsqrtm(), inverse @ root), (A**-1, inverse), (A**-2, inverse @ inverse),
            (A.powm(2), D @ D),
        ):  # fmt: skip
            self.structured(result, expected, dtype, None, condition)
        # SciPy's own logarithm and fourth root take longer than all of the above.
        logarithm, quarter = A.logm().toarray(), A.powm(-0.25).toarray()
        assert logarithm.dtype == quarter.dtype == dtype
        for result, expected in (
            (scipy.linalg.expm(logarithm.astype(D.dtype)), D),
            (np.linalg.matrix_power(quarter.astype(D.dtype), 4), inverse),
        ):
            close(result.astype(dtype), expected, None, condition)
        assert (np.abs(np.linalg.eigvals(logarithm).imag) < np.pi).all()
        assert (np.abs(np.angle(np.linalg.eigvals(quarter))) < np.pi / 4 + 1e-3).all()
        for p in (1j, "2", np.inf):
            with pytest.raises(TypeError, match="exponent is"):
                A.powm(p)

    @operation("expm", "funm", examples=12)
    def test_exponential_and_other_functions(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        exponential = scipy.linalg.expm(D)
        # The condition of exp is at most |A| (van Loan, 1977), for normal matrices.
        condition = case.condition**2
        self.structured(A.expm(), exponential, dtype, None, condition)
        # Parlett's recurrence, for cores that are not Hermitian, divides by differences of
        # eigenvalues.
        values = np.linalg.eigvals(A.between)
        apart = np.abs(values[:, None] - values) + 4 * np.eye(len(values))
        parlett = 1.0 if case.is_hermitian else max(1.0, 4 / apart.min()) ** 2
        if parlett < 1e4:
            self.structured(A.funm(np.exp), exponential, dtype, None, condition * parlett)
        with pytest.raises(ShapeError, match="f returned shape"):
            A.funm(lambda w: w[..., None])
        with pytest.raises(NonFiniteError, match="f is not finite"):
            A.funm(lambda w: w * np.nan)

    @operation("nearest_psd")
    def test_nearest_semi_definite_matrix(self, case):
        A, D = case.A, case.D
        middle = np.abs(np.linalg.eigvalsh((D + D.conj().T) / 2)).mean()
        shifted = A - float(middle) * bm.BlockConstantMatrix.identity(A.partition, case.dtype)
        w, v = np.linalg.eigh((D + D.conj().T) / 2 - float(middle) * np.eye(len(D)))
        for smallest in (0, 0.25):
            expected = (v * np.maximum(w, smallest)) @ v.conj().T
            result = shifted.nearest_psd(smallest)
            self.structured(result, expected, case.dtype, 2 * case.size + len(D))
        for smallest in (-1, np.inf, np.nan):
            with pytest.raises(ValueError, match="min_eigenvalue is"):
                A.nearest_psd(smallest)

    # Numbers of the matrix

    @operation("slogdet", "logdet", examples=20)
    def test_determinant(self, case):
        A = case.A
        sign, logdet = A.slogdet()
        expected_sign, expected = np.linalg.slogdet(case.D)
        size = len(case.D) * (1 + np.abs(np.log(case.size)))
        assert sign.dtype == case.dtype
        assert logdet.dtype == real(case.dtype)
        close(sign, expected_sign, size, case.condition)
        close(logdet, expected, size, case.condition)
        if case.is_definite:
            assert A.logdet() == logdet
        opposite = (-A).slogdet()[0]
        close(opposite, expected_sign * (-1) ** len(case.D), size, case.condition)
        if len(case.D) % 2 and case.is_definite:
            with pytest.raises(IndefiniteMatrixError, match="needs a positive determinant"):
                (-A).logdet()
        if "inv" not in self.lacks:
            close(A.inv().slogdet()[1], -expected, size, case.condition)

    @operation("norm")
    def test_norms(self, case):
        for ord in NORMS:
            if ord in self.norms:
                result = case.A.norm(ord)
                assert result.dtype == real(case.dtype)
                size = case.size * np.sqrt(max(case.D.shape))
                close(result, np.linalg.norm(case.D, ord or "fro"), size)
        for ord in {*NORMS, 3, "x"}.difference(self.norms):
            with pytest.raises(ValueError, match="ord is"):
                case.A.norm(ord)

    @operation("cond", "matrix_rank")
    def test_condition_and_rank(self, case):
        for p in (*NORMS[1:], None):
            result = case.A.cond(p)
            assert result.dtype == real(case.dtype)
            size = case.condition * max(case.D.shape)
            close(result, np.linalg.cond(case.D, p), size, case.condition)
        assert case.A.matrix_rank() == len(case.D)
        assert (0 * case.A).matrix_rank() == 0
        assert (0 * case.A).cond() == np.inf
        with pytest.raises(ValueError, match="ord is 3"):
            case.A.cond(3)
        with pytest.raises(ValueError, match="tol is"):
            case.A.matrix_rank(-1)

    @operation("eigvals", "eigvalsh", "svdvals", examples=12)
    def test_spectra(self, case):
        A, D = case.A, case.D
        singular = expanded(A.svdvals())
        assert singular.dtype == real(case.dtype)
        close(singular, np.linalg.svd(D, compute_uv=False), case.size)
        values = expanded(A.eigvals())
        assert values.dtype == np.result_type(case.dtype, np.complex64)
        # Computed eigenvalues are those of a matrix that is eps |A| away, so their power sums
        # are near traces of powers, whatever the condition of the eigenvalues.
        for p in (1, 2, 3):
            power = np.linalg.matrix_power(D, p)
            close((values.astype(complex) ** p).sum().astype(values.dtype), np.trace(power),
                  p * len(D) * case.size**p)  # fmt: skip
        if case.is_hermitian:
            values = expanded(A.eigvalsh())
            assert values.dtype == real(case.dtype)
            close(values, np.linalg.eigvalsh(D), case.size)
        else:
            with pytest.raises(NotHermitianError, match="eigvalsh needs a Hermitian matrix"):
                A.eigvalsh()

    @operation("eigh", examples=12)
    def test_eigenvectors(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        if not case.is_hermitian:
            with pytest.raises(NotHermitianError, match="eigh needs a Hermitian matrix"):
                A.eigh()
            return
        values, multiplicities, V = A.eigh()
        assert isinstance(V, sla.LinearOperator)
        assert values.dtype == real(dtype)
        values, dense = expanded((values, multiplicities)), V.toarray()
        assert V.dtype == dense.dtype == dtype
        close(dense.conj().T @ dense, np.eye(len(D)))
        close((dense * values) @ dense.conj().T, D, case.size)
        x = random_array(case.rng, (len(D), 2), dtype)
        size = np.linalg.norm(dense) * np.linalg.norm(x)
        for variant, matrix in (
            (V, dense), (V.H, dense.conj().T), (V.T, dense.T), (V.H.T, dense.conj()),
        ):  # fmt: skip
            for y in (x, x[:, 0]):
                result = variant @ y
                assert result.dtype == dtype
                close(result, matrix @ y, size)

    @operation("svd")
    def test_singular_vectors(self, case):
        D, dtype = case.D, case.dtype
        U, s, Vh = case.A.svd()
        rank = len(s)
        assert U.dtype == Vh.dtype == dtype
        assert s.dtype == real(dtype)
        assert U.shape == (D.shape[0], rank)
        assert Vh.shape == (rank, D.shape[1])
        close((U * s) @ Vh, D, case.size)
        close(U.conj().T @ U, np.eye(rank))
        close(Vh @ Vh.conj().T, np.eye(rank))
        exact = np.linalg.svd(D, compute_uv=False)
        close(s, exact[:rank], case.size)
        assert np.abs(exact[rank:]).max(initial=0) < 1e-12 * case.size

    # Covariances

    @operation("whiten", "colorize", examples=20)
    def test_whitening_and_colouring(self, case):
        A, D, n, dtype = case.A, case.D, len(case.D), case.dtype
        if np.dtype(dtype).kind == "c":
            for f in (A.whiten, A.colorize, (-A).whiten):
                with pytest.raises(DtypeError, match="must be real"):
                    f(np.ones(n))
            return
        if not case.is_definite:
            for f in (A.whiten, A.colorize):
                with pytest.raises((NotHermitianError, IndefiniteMatrixError)):
                    f(np.ones(n))
            return
        with pytest.raises(IndefiniteMatrixError, match="positive definite"):
            (-A).whiten(np.ones(n))
        W, C = A.whiten(np.eye(n, dtype=dtype)).T, A.colorize(np.eye(n, dtype=dtype)).T
        assert W.dtype == C.dtype == dtype
        wide = W.astype(float), C.astype(float)
        close((wide[0] @ D @ wide[0].T).astype(dtype), np.eye(n), None, case.condition)
        close((wide[1] @ wide[1].T).astype(dtype), D, case.size, case.condition)
        close((wide[0] @ wide[1]).astype(dtype), np.eye(n), None, case.condition)
        batch = case.rng.standard_normal((2, 3, n)).astype(dtype)
        for f, matrix in ((A.whiten, W), (A.colorize, C)):
            result, size = f(batch), np.linalg.norm(matrix) * np.linalg.norm(batch)
            assert result.shape == batch.shape
            assert result.dtype == dtype
            close(result, batch @ matrix.T, size, case.condition)
            close(f(batch[1, 2].tolist()).astype(dtype), result[1, 2], size, case.condition)
            with pytest.raises(ShapeError, match="x has shape"):
                f(np.ones(n + 1))
            with pytest.raises(DtypeError, match="x has dtype complex128"):
                f(np.ones(n, complex))

    @operation("as_covariance")
    def test_a_covariance_for_scipy(self, case):
        A, D, n = case.A, case.D, len(case.D)
        if not case.is_definite or A.dtype.kind == "c":
            with pytest.raises((DtypeError, NotHermitianError, IndefiniteMatrixError)):
                A.as_covariance()
            return
        with pytest.raises(IndefiniteMatrixError):
            (-A).as_covariance()
        cov = A.as_covariance()
        assert isinstance(cov, Covariance)
        assert cov.rank == n
        assert cov.shape == A.shape
        close(cov.covariance, A.toarray(), 0)
        x = case.rng.standard_normal((4, n))
        ours, theirs = multivariate_normal(x[0], cov), multivariate_normal(x[0], D)
        # Distances and log-determinants of stored numbers, in the precision of the matrix.
        rtol = UNITS * n * np.finfo(case.dtype).eps * case.condition
        for result, expected in (
            (ours.logpdf(x), theirs.logpdf(x)), (ours.logpdf(x[1]), theirs.logpdf(x[1])),
            (ours.entropy(), theirs.entropy()), (cov.log_pdet, np.linalg.slogdet(D)[1]),
        ):  # fmt: skip
            np.testing.assert_allclose(result, expected, rtol=rtol, atol=rtol * n)
        W = cov.whiten(np.eye(n)).T
        close((W.T @ W).astype(case.dtype), case.inverse, None, case.condition)
        white = cov.whiten(cov.colorize(x))
        np.testing.assert_allclose(white, x, rtol=rtol, atol=rtol)

    # Conversions and copies

    @operation("astype")
    def test_conversion_to_another_dtype(self, case):
        A = case.A
        for dtype in DTYPES:
            if dtype not in self.dtypes:
                with pytest.raises(DtypeError):
                    A.astype(dtype)
            elif A.dtype.kind == "c" and np.dtype(dtype).kind != "c":
                with pytest.raises(DtypeError, match="converts only to complex"):
                    A.astype(dtype)
            else:
                coarse = np.finfo(np.result_type(case.dtype, dtype)).eps
                fine = np.finfo(dtype).eps
                self.structured(A.astype(dtype), case.D, dtype, case.size, max(1, coarse / fine))
        for dtype in (int, np.float16, np.longdouble):
            with pytest.raises(DtypeError, match=r"dtype (is|has dtype)"):
                A.astype(dtype)

    @operation("refine")
    def test_a_finer_partition_changes_no_entry(self, case):
        A, n = case.A, len(case.D)
        order = case.rng.permutation(n)
        other = bm.Partition.from_labels([names[0] for names in order[:, None] // 2])
        finest = bm.Partition.from_labels([(int(i),) for i in order])
        fine = A.partition.meet(other)
        for p in (finest, A.partition, *(() if A.is_aligned else (fine,))):
            B = A.refine(p)
            assert B.partition is p
            self.structured(B, case.D, case.dtype, case.size)
        with pytest.raises(ShapeError, match="partition has"):
            A.refine([0] * (n + 1))
        if A.partition.n_blocks > 1:
            with pytest.raises(PartitionMismatchError, match="not a refinement"):
                A.refine(bm.Partition.trivial(n))

    @operation("identity")
    def test_identity(self, case):
        for dtype in self.dtypes:
            eye = self.type.identity(case.geometry, dtype)
            assert type(eye) is self.type
            assert eye.dtype == dtype
            np.testing.assert_array_equal(eye.toarray(), np.eye(case.geometry.n))
            close((case.A + eye).toarray(), case.D + np.eye(len(case.D)), case.size + len(case.D))

    @operation("toarray")
    def test_copies_are_equal(self, case):
        A = case.A
        copies = [pickle.loads(pickle.dumps(A, p)) for p in range(2, pickle.HIGHEST_PROTOCOL + 1)]
        for again in (*copies, copy.copy(A), copy.deepcopy(A)):
            self.same(again, A)

    @operation("save", examples=5)
    def test_saved_matrices_are_equal(self, case):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "any name")
            case.A.save(path)
            assert [file.name for file in Path(folder).iterdir()] == ["any name"]
            self.same(bm.load(path), case.A)
            self.same(bm.load(str(path)), case.A)

    def same(self, first, second):
        """Assert that two matrices have equal stored numbers, which nobody can change."""
        assert type(first) is type(second) is self.type
        assert first.dtype == second.dtype
        assert first.shape == second.shape
        for name in self.parts:
            ours, theirs = getattr(first, name), getattr(second, name)
            assert type(ours) is type(theirs)
            if isinstance(ours, bm.Partition):
                assert ours == theirs
                assert ours.names == theirs.names
            else:
                np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
                assert getattr(ours, "flags", None) is None or not ours.flags.writeable

    @operation(examples=12)
    def test_the_stored_arrays_are_read_only_copies(self, case):
        given_arrays = [
            argument.copy() if isinstance(argument, np.ndarray) else argument
            for argument in case.arguments
        ]
        A = self.type(*given_arrays)
        self.same(A, case.A)
        derived = [A, A.T, A.conj(), 2 * A, A.astype(A.dtype), pickle.loads(pickle.dumps(A))]
        for name, argument in zip(self.parts, given_arrays, strict=True):
            if isinstance(argument, np.ndarray):
                argument[...] = 7  # ours, not the matrix's
                for matrix in derived:
                    with pytest.raises(ValueError, match="read-only"):
                        getattr(matrix, name)[0] = 1
            with pytest.raises(AttributeError):
                setattr(A, name, argument)
        self.same(A, case.A)

    @operation(examples=5)
    def test_how_it_is_shown(self, case):
        A = case.A
        shape = "x".join(map(str, A.shape))
        assert repr(A).startswith(f"<{shape} {self.type.__name__} of ")
        assert repr(A).endswith(f", dtype={A.dtype}>")
        html = A._repr_html_()
        assert html.startswith("<div")
        assert f"&lt;{repr(A)[1:-1]}&gt;" in html
        assert "<svg" in html
        assert hash(A) == hash(A)
        assert A in {A, A.T}
        assert self.type(*case.arguments) != A  # entries are not compared

    # Errors

    @operation("__matmul__", "dot", "rdot", examples=3)
    def test_arrays_that_do_not_fit_are_refused(self, case):
        A, (m, n) = case.A, case.A.shape
        for x in (np.ones(n + 1), np.ones((n + 1, n)), []):
            with pytest.raises(ShapeError, match=r"x has shape .*; expected"):
                A @ x
        for x in (np.ones(m + 1), np.ones((m, m + 1)), []):
            with pytest.raises(ShapeError, match=r"x has shape .*; expected"):
                x @ A
        for f in (operator.matmul, operator.mul, lambda A, x: A.dot(x), lambda A, x: x @ A):
            with pytest.raises(ShapeError, match="x is 3-d"):
                f(A, np.ones((n, 2, 1)))
            with pytest.raises(DtypeError, match="masked array"):
                f(A, np.ma.ones(n))
            for dtype in (object, "U1", "M8[s]", np.longdouble):
                with pytest.raises(DtypeError, match="x has dtype"):
                    f(A, np.empty(n, dtype))
        with pytest.raises(ValueError, match=r"shape|dimension"):
            A @ sla.aslinearoperator(np.ones((n + 1, 2)))
        with pytest.raises(ValueError, match=r"shape|add"):
            A + sla.aslinearoperator(np.ones((m, n + 1)))

    @operation("solve", examples=3)
    def test_right_hand_sides_that_do_not_fit_are_refused(self, case):
        A, n = case.A, len(case.D)
        for b in (np.ones(n + 1), np.ones((n + 1, n)), []):
            with pytest.raises(ShapeError, match=r"b has shape .*; expected"):
                A.solve(b)
        for b in (1.0, np.ones((n, 1, 1))):
            with pytest.raises(ShapeError, match=r"b is [03]-d"):
                A.solve(b)
        for b in (np.ma.ones(n), np.empty(n, object), np.empty(n, "U1")):
            with pytest.raises(DtypeError, match=r"b (is a masked array|has dtype)"):
                A.solve(b)
        for singular in (0 * A, 0.0 * A.T):
            with pytest.raises(SingularMatrixError):
                singular.solve(np.ones(n))

    @operation(examples=4)
    def test_arguments_that_are_no_numbers_are_refused(self, case):
        for i, (name, argument) in enumerate(zip(self.parts, case.arguments, strict=True)):
            if not isinstance(argument, np.ndarray):
                continue
            nan = argument.copy()
            nan.flat[-1] = np.nan
            for wrong, error, message in (
                (nan, NonFiniteError, f"{name} contains .*nan.* at index"),
                (argument.astype(object), DtypeError, f"{name} has dtype object"),
                (np.ma.array(argument), DtypeError, f"{name} is a masked array"),
                (np.append(argument, argument[-1:], axis=0), ShapeError, f"{name} has (shape|length)"),
                (argument[None, None], ShapeError, f"{name} is [34]-d"),
            ):  # fmt: skip
                arguments = [*case.arguments[:i], wrong, *case.arguments[i + 1 :]]
                with pytest.raises((error, LinAlgError) if wrong is nan else error, match=message):
                    self.type(*arguments)

    @operation("matvec", "rmatvec", examples=10)
    def test_scipy_solves_with_it(self, case):
        if case.dtype != np.float64:
            return
        b = case.rng.standard_normal(case.D.shape[0])
        x, *_ = sla.lsqr(case.A, b, atol=1e-14, btol=1e-14)
        residual = b - case.D @ x
        assert np.linalg.norm(case.D.T @ residual) <= 1e-9 * case.size * np.linalg.norm(b)
        if case.is_definite:
            x, info = sla.cg(case.A, b, rtol=1e-10)
            assert info == 0
            assert np.linalg.norm(b - case.D @ x) <= 1e-9 * np.linalg.norm(b)


def operand(rng, shape):
    dtype = rng.choice(OPERANDS)
    return rng.integers(-5, 5, shape) if dtype == np.int64 else random_array(rng, shape, dtype)


def product_dtype(A, x):
    return np.result_type(A.dtype, np.float64 if x.dtype == np.int64 else x.dtype)


def expanded(spectrum):
    """Repeat values as often as they occur."""
    values, multiplicities = spectrum
    assert multiplicities.dtype.kind == "i"
    assert (multiplicities > 0).all()
    return np.repeat(values, multiplicities)
