"""Solutions, inverses, powers and other functions."""

import numpy as np
import pytest
import scipy.linalg

import blockmat as bm
from blockmat.exceptions import (
    NonFiniteError,
    ShapeError,
    SingularMatrixError,
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


class Functions(MatrixType):
    @operation("solve", examples=20)
    def test_solutions(self, case):
        A, rng = case.A, case.rng
        for columns in ((), (1,), (3,)):
            b = operand(rng, (len(case.D), *columns))
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
        if self.negative(A):
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
        parlett = 1.0
        if not (case.is_hermitian or A.is_independent):
            values = np.linalg.eigvals(A.between)
            apart = np.abs(values[:, None] - values) + 4 * np.eye(len(values))
            parlett = max(1.0, 4 / apart.min()) ** 2
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
