"""What is refused: arrays that do not fit and arguments that are no numbers."""

import operator

import numpy as np
import pytest
import scipy.sparse.linalg as sla
from numpy.linalg import LinAlgError

from blockmat.exceptions import (
    DtypeError,
    NonFiniteError,
    ShapeError,
    SingularMatrixError,
)
from tests.matrix_suite.base import (
    MatrixType,
    operation,
)


class Errors(MatrixType):
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
        for singular in (0 * A, 0.0 * A.T) if self.negative(A) else ():
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

    @operation("matvec", "rmatvec", examples=12)
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
