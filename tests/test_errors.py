"""What bad input gets: the class, and a message that names the argument."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.linalg import LinAlgError
from scipy.linalg import LinAlgWarning
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import blockmat as bm
from blockmat import BlockConstantMatrix as BCM
from blockmat import exceptions

P = bm.Partition.from_labels(["x", "x", "y"])
I3 = BCM.identity(P)
S = np.eye(3)
NAN = np.array([[1.0, np.nan, 0], [0, 1, 0], [0, 0, 1]])
INDEFINITE = BCM(P, [[1, 2], [2, 1]], [1, 0])
SKEW = BCM(P, [[0, -1], [1, 0]], [1, 0])


def operator(shape):
    return LinearOperator(shape, matvec=lambda x: np.zeros(shape[0]), dtype=float)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        # shapes
        (lambda: bm.fit(np.ones((2, 3)), [0, 0]), ValueError, r"source has shape \(2, 3\); expected a square"),
        (lambda: bm.fit(1.0, [0]), ValueError, "source is 0-d"),
        (lambda: bm.fit(np.ones((2, 2, 2)), [0, 0]), ValueError, "source is 3-d"),
        (lambda: bm.fit([[1, 2], [3]], [0, 0]), ValueError, "source is not a rectangular array"),
        (lambda: bm.fit(S, [0, 0]), ValueError, "partition has 2 labels; expected 3, one for each variable"),
        (lambda: bm.fit(S, [0, 0, np.nan]), ValueError, "partition is missing .* at index 2"),
        (lambda: bm.fit(S, bm.Partition.trivial(4)), ValueError, "partition divides 4 variables"),
        (lambda: bm.fit(operator((3, 2)), [0] * 3), ValueError, r"source has shape \(3, 2\)"),
        (lambda: bm.fit(operator((2, 2)), P), ValueError, "partition divides 3 variables; expected 2"),
        (lambda: bm.fit(sp.csr_array(np.ones((3, 2))), P), ValueError, r"source has shape \(3, 2\)"),
        (lambda: BCM(P, np.eye(3)), ValueError, r"between has shape \(3, 3\); expected \(2, 2\)"),
        (lambda: BCM(P, np.eye(2), [1]), ValueError, r"within has shape \(1,\); expected \(2,\) or \(2, 2\)"),
        (lambda: BCM(P, np.eye(2), np.ones((2, 2, 2))), ValueError, "within is 3-d"),
        (lambda: BCM(P, np.eye(2), np.ones((2, 2))), ValueError, r"within\[0, 1\] is 1.0; expected 0, because .* different sizes, 2 and 1"),
        (lambda: BCM.from_values(P, np.eye(3)), ValueError, "values has shape"),
        (lambda: BCM.from_values(P, np.eye(2), [1, 2, 3]), ValueError, "diagonal has shape"),
        (lambda: BCM.from_values(P, np.eye(2), np.ones((2, 2))), ValueError, r"different sizes"),
        (lambda: I3.solve([1, 2]), ValueError, r"b has shape \(2,\); expected \(3,\) or \(3, m\)"),
        (lambda: I3.solve(np.ones((3, 1, 1))), ValueError, "b is 3-d"),
        (lambda: I3.solve(1.0), ValueError, "b is 0-d"),
        (lambda: I3 @ np.ones(2), ValueError, r"x has shape \(2,\)"),
        (lambda: I3 @ np.ones((3, 2, 1)), ValueError, "x is 3-d"),
        (lambda: np.ones(2) @ I3, ValueError, r"x has shape \(2,\); expected \(3,\) or \(m, 3\)"),
        (lambda: bm.fit_samples(np.ones(3), P), ValueError, "X is 1-d"),
        (lambda: bm.fit_samples(np.ones((4, 2)), P), ValueError, "partition divides 3 variables; expected 2"),
        (lambda: bm.fit_samples(np.ones((0, 3)), P), ValueError, "X has no rows"),
        (lambda: bm.approximation_error(np.eye(2), I3), ValueError, r"source has shape \(2, 2\)"),
        (lambda: bm.fit(aslinearoperator(S), P, diagonal=[1, 2]), ValueError, "diagonal has length 2"),
        # types
        (lambda: bm.fit(np.array([[None]]), [0]), TypeError, "source has dtype object"),
        (lambda: bm.fit(np.array([["a"]]), [0]), TypeError, "source has dtype <U1"),
        (lambda: bm.fit(np.array([["2020-01-01"]], "datetime64[D]"), [0]), TypeError, "source has dtype"),
        (lambda: bm.fit(np.ma.ones((3, 3)), P), TypeError, "masked array"),
        (lambda: bm.fit_samples(np.ma.ones((3, 3)), P), TypeError, "masked array"),
        (lambda: bm.fit_samples(sp.eye_array(3), P), TypeError, "X is a sparse matrix"),
        (lambda: bm.fit_samples(np.array([[None] * 3]), P), TypeError, "X has dtype object"),
        (lambda: I3 @ np.ma.ones(3), TypeError, "x is a masked array"),
        (lambda: BCM(P, np.ma.ones((2, 2))), TypeError, "between is a masked array"),
        (lambda: bm.approximation_error(S, S), TypeError, "A is a ndarray"),
        (lambda: I3 @ np.array([None] * 3), TypeError, "x has dtype object"),
        (lambda: BCM(P, [["a", "b"], ["c", "d"]]), TypeError, "between has dtype"),
        (lambda: I3.astype(int), TypeError, "dtype is int64"),
        (lambda: I3.astype(complex).astype(float), TypeError, "converts only to complex"),
        (lambda: I3.powm(1j), TypeError, "exponent is 1j"),
        (lambda: I3 ** "2", TypeError, "exponent is '2'"),
        (lambda: I3.powm(np.inf), TypeError, "exponent is inf"),
        (lambda: I3 + 1, TypeError, "cannot add the scalar 1 .* identity"),
        (lambda: 1 - I3, TypeError, "cannot add the scalar 1"),
        (lambda: I3 + S, TypeError, "cannot add a dense array.*toarray"),
        (lambda: S - I3, TypeError, "cannot add a dense array"),
        (lambda: I3 * "a", TypeError, "cannot multiply or divide a matrix by 'a'"),
        (lambda: I3 / S, TypeError, "does not support|unsupported operand"),
        # values
        (lambda: bm.fit(S, P, numbers=3), ValueError, "numbers is 3; expected 1 or 2"),
        (lambda: bm.fit(S, P, numbers=1, aligned=True), ValueError, "aligned is True with numbers=1"),
        (lambda: bm.fit(aslinearoperator(S), P, n_probes=0), ValueError, "n_probes is 0; expected at least 1"),
        (lambda: bm.approximation_error(aslinearoperator(S), I3, n_probes=0), ValueError, "n_probes is 0"),
        (lambda: bm.fit(S, P, diagonal=[1, 1, 1]), ValueError, "diagonal is given"),
        (lambda: bm.fit_samples(S, P, ddof=3), ValueError, "ddof is 3; expected less than the number of samples, 3"),
        (lambda: bm.fit_samples(S, P, ddof=-1), ValueError, "ddof is -1"),
        (lambda: bm.fit_samples(S, P, ddof=0.5), TypeError, "ddof is 0.5"),
        (lambda: 2 @ I3, ValueError, "@ does not take a scalar"),
        (lambda: I3 @ 2, ValueError, "@ does not take a scalar"),
        (lambda: I3 / 0, ZeroDivisionError, "division of a matrix by zero"),
        (lambda: I3.norm(3), ValueError, "ord is 3"),
        (lambda: I3.cond(3), ValueError, "p is 3"),
        (lambda: I3.matrix_rank(-1), ValueError, "tol is -1"),
        (lambda: I3.pinv(np.nan), ValueError, "rtol is nan"),
        (lambda: I3.nearest_psd(-1), ValueError, "min_eigenvalue is -1"),
        (lambda: I3.funm(lambda w: w[:1]), ValueError, r"f returned shape \(1,\); expected \(2,\)"),
        (lambda: I3 + BCM.identity([0, 1, 1]), ValueError, "different partitions .* refine"),
        (lambda: I3 @ BCM.identity([0, 1, 1]), ValueError, "different partitions .* refine"),
        (lambda: I3.refine([0, 1, 1]), ValueError, "not a refinement"),
        (lambda: I3.refine([0, 1]), ValueError, "partition has 2 labels"),
        (lambda: BCM([0, 0, 1, 1], np.eye(2), np.ones((2, 2))).refine([0, 0, 1, 2]), ValueError, "breaks up the p <-> p pairs"),
        # not finite
        (lambda: bm.fit(NAN, P), LinAlgError, r"NaN or infinity in block \('x', 'x'\)"),
        (lambda: bm.fit(sp.csr_array(NAN), P), LinAlgError, "NaN or infinity"),
        (lambda: bm.fit(aslinearoperator(NAN), P), LinAlgError, "NaN or infinity"),
        (lambda: bm.fit(np.where(S, np.inf, 0), P), LinAlgError, "NaN or infinity"),
        (lambda: bm.fit_samples(NAN, P), LinAlgError, "X contains NaN or infinity in row 0"),
        (lambda: BCM(P, [[1, np.nan], [0, 1]]), LinAlgError, r"between contains nan at index \(0, 1\)"),
        (lambda: BCM(P, np.eye(2), [np.inf, 0]), LinAlgError, "within contains inf at index 0"),
        (lambda: BCM.from_values(P, [[np.nan, 0], [0, 1]]), LinAlgError, "values contains nan"),
        (lambda: np.nan * I3, LinAlgError, "scalar is nan"),
        (lambda: I3.funm(lambda w: w * np.inf), LinAlgError, "f is not finite at the eigenvalue 1 of the between core"),
        # singular
        (lambda: BCM(P, np.ones((2, 2)), [1, 0]).inv(), LinAlgError, "inv needs an invertible matrix, and the between core is singular"),
        (lambda: BCM(P, np.zeros((2, 2)), [1, 0]).inv(), LinAlgError, "between core is singular"),
        (lambda: BCM(P, np.eye(2)).inv(), LinAlgError, "within of block 0 is zero"),
        (lambda: BCM(P, np.eye(2)).solve([1, 2, 3]), LinAlgError, "solve needs an invertible matrix, and within of block 0"),
        (lambda: BCM([0, 0, 1, 1], np.eye(2), np.ones((2, 2))).inv(), LinAlgError, "within core is singular"),
        (lambda: BCM(P, np.ones((2, 2)), [1, 0]).solve([1, 2, 3]), LinAlgError, "solve needs"),
        (lambda: BCM(P, np.ones((2, 2)), [1, 0]).invsqrtm(), LinAlgError, "invsqrtm needs an invertible matrix"),
        (lambda: BCM(P, np.ones((2, 2)), [1, 0]).powm(-1.5), LinAlgError, r"powm\(-1.5\) needs an invertible"),
        (lambda: BCM(P, np.ones((2, 2)), [1, 0]) ** -2, LinAlgError, "between core is singular"),
        (lambda: BCM(P, np.eye(2)).powm(-0.5), LinAlgError, "within of block 0 is zero"),
        (lambda: BCM(P, np.ones((2, 2)), [1, 0]).logm(), LinAlgError, "logm needs an invertible matrix"),
        (lambda: BCM(P, [[0, 1], [0, 0]], [1, 0]).logm(), LinAlgError, "logm needs an invertible matrix"),
        (lambda: BCM(P, [[0, 1], [0, 0]], [1, 0]).sqrtm(), LinAlgError, "sqrtm"),
        (lambda: BCM(P, np.ones((2, 2)), [1, 0]).logdet(), LinAlgError, "determinant is zero"),
        # not Hermitian, not definite
        (lambda: SKEW.eigvalsh(), LinAlgError, "eigvalsh needs a Hermitian matrix, and the between core is not"),
        (lambda: SKEW.eigh(), LinAlgError, "eigh needs a Hermitian matrix"),
        (lambda: BCM(P, np.eye(2), [1j, 0]).eigvalsh(), LinAlgError, "the within core is not"),
        (lambda: INDEFINITE.sqrtm(), LinAlgError, r"sqrtm of a real matrix .* the between core has -1; use A.astype\(complex\)"),
        (lambda: INDEFINITE.logm(), LinAlgError, "logm of a real matrix"),
        (lambda: INDEFINITE.invsqrtm(), LinAlgError, "invsqrtm of a real matrix"),
        (lambda: BCM(P, np.eye(2), [-1, 0]).sqrtm(), LinAlgError, "within of block 0 has -1"),
        (lambda: BCM(P, [[-1, 1], [0, -2]], [1, 0]).sqrtm(), LinAlgError, "off the negative real axis"),
        (lambda: BCM(P, [[-1, 1], [0, -2]], [1, 0]).powm(0.3), LinAlgError, "off the negative real axis"),
        (lambda: BCM(P, [[-1, 1], [0, -2]], [1, 0]).logm(), LinAlgError, "off the negative real axis"),
        (lambda: INDEFINITE.logdet(), LinAlgError, "positive determinant"),
    ],
)  # fmt: skip
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_check_finite_can_be_switched_off():
    A = bm.fit(NAN, P, check_finite=False)
    np.testing.assert_array_equal(np.isnan(A.between), [[True, False], [False, False]])
    B = bm.fit_samples(NAN, P, check_finite=False)
    assert np.isnan(B.between).any()
    assert np.isnan(BCM(P, [[np.nan, 0], [0, 1]], check_finite=False).values[0, 0])


@pytest.mark.parametrize(
    "name",
    ["inv", "pinv", "sqrtm", "invsqrtm", "expm", "logm", "nearest_psd", "eigvalsh", "eigvals",
     "svdvals", "eigh", "slogdet", "logdet", "cond", "matrix_rank", "is_positive_definite"],
)  # fmt: skip
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_functions_of_what_is_not_finite(name, number):
    A = BCM(P, [[number, 0], [0, 1]], [1, 0], check_finite=False)
    with pytest.raises(LinAlgError, match=r"the between core contains (nan|inf)"):
        getattr(A, name)()
    B = BCM(P, np.eye(2), [number, 0], check_finite=False)
    with pytest.raises(LinAlgError, match=r"the within core contains (nan|inf)"):
        B.solve([1, 2, 3])
    assert not np.isfinite(A @ np.ones(3)).all()


def test_conditions_of_singular_matrices_are_infinite():
    singular = BCM(P, np.ones((2, 2)), [1, 0])
    for p in ("fro", 1, np.inf):
        assert singular.cond(p) == np.inf
    assert singular.cond() > 1e15
    assert BCM(P, np.zeros((2, 2))).cond() == np.inf
    assert singular.slogdet() == (0, -np.inf)
    assert BCM(P, np.eye(2)).slogdet() == (0, -np.inf)


def test_bad_scaling_is_not_singularity():
    A = BCM(P, [[1e-300, 0], [0, 1e300]], [1e-200, 0])
    np.testing.assert_allclose(A.inv().between, [[1e300, 0], [0, 1e-300]])
    np.testing.assert_allclose(A.solve([1e-300, 1e-300, 1e300]), [1, 1, 1])
    B = BCM(P, [[1e-100, 0], [0, 1e100]], [1e-200, 0])
    np.testing.assert_allclose(B.invsqrtm().between, [[1e50, 0], [0, 1e-50]])


def low_rank(dtype):
    """Positive semi-definite cores of rank 2 with eigenvalues that round to either side of 0."""
    for seed in range(10):
        factor = np.random.default_rng(seed).standard_normal((8, 2))
        core = (factor @ factor.T).astype(dtype)
        yield BCM(bm.Partition.uniform(8, 2), core, np.ones(8, dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_below_zero_counts_as_zero(dtype):
    smallest = [A.eigvalsh()[0][0] for A in low_rank(dtype)]
    assert min(smallest) < 0
    for A in low_rank(dtype):
        root = A.sqrtm()
        tolerance = 1e3 * np.finfo(dtype).eps
        np.testing.assert_allclose((root @ root).between, A.between, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_eigenvalues_that_round_to_zero_are_singular(dtype):
    for A in low_rank(dtype):
        for operation in (A.invsqrtm, A.logm):
            with pytest.raises(LinAlgError, match="invertible"):
                operation()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pinv_and_rank_see_through_rounding(dtype):
    for A in low_rank(dtype):
        assert A.matrix_rank() == 2 + 8
        dense = np.linalg.pinv(A.toarray().astype(float), rcond=1e-4)
        np.testing.assert_allclose(A.pinv().toarray(), dense, atol=1e4 * np.finfo(dtype).eps)
        general = A.pinv() @ A @ A.pinv()
        np.testing.assert_allclose(general.toarray(), dense, atol=1e4 * np.finfo(dtype).eps)


def test_inaccurate_functions_of_general_matrices_warn():
    A = BCM([0, 1], [[1, 1], [0, 1 + 1e-13]])
    with pytest.warns(LinAlgWarning, match="f of the between core, which is not Hermitian"):
        A.funm(np.exp)


def test_every_class_has_the_root_and_a_builtin_base():
    for name in exceptions.__all__:
        cls = getattr(exceptions, name)
        assert issubclass(cls, bm.BlockmatError)
        if cls is not bm.BlockmatError:
            assert issubclass(cls, ValueError | TypeError | ImportError)
            assert cls.__doc__


def test_a_function_that_is_finite_on_some_eigenvalues_only_is_refused():
    A = BCM(P, [[2.0, 1.0], [1.0, 2.0]], [5.0, 0.0])  # eigenvalues 1 and 3, and 5
    with pytest.raises(LinAlgError, match="not finite at the eigenvalue 3 of the between core"):
        A.funm(lambda w: np.where(w > 2.5, np.inf, w))


def test_a_decay_below_zero_is_refused():
    accumulator = bm.BlockAccumulator(P)
    for beta in (-0.5, 1.5, np.nan):
        with pytest.raises(ValueError, match="beta is"):
            accumulator.decay(beta)
