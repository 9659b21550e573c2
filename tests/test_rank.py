"""Symmetry, rank and definiteness: one rule each, by the scales of the rows concerned and by k.

Neither the number of variables nor the units of the variables change an answer, and all
questions about one matrix are answered alike.
"""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

import blockmat as bm
from blockmat.cores import rank

BCM = bm.BlockConstantMatrix
DTYPES = (np.float32, np.float64)


def powers_of_two(k, exponent):
    return st.lists(st.integers(-exponent, exponent), min_size=k, max_size=k).map(
        lambda e: np.ldexp(1.0, e)
    )


@st.composite
def definite(draw, dtype, exponent=30, largest=10**6):
    """A positive definite pair: a core of condition up to 100, with units of its own per block."""
    k = draw(st.integers(1, 4))
    sizes = draw(st.lists(st.integers(1, largest), min_size=k, max_size=k))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    basis = np.linalg.qr(rng.standard_normal((k, k)))[0]
    core = (basis * np.geomspace(1, 1e-2, k)) @ basis.T
    units = draw(powers_of_two(k, exponent))
    within = draw(powers_of_two(k, exponent)) * units**2
    between = ((core + core.T) / 2 * units) * units[:, None]
    return BCM(bm.Partition.from_sizes(sizes), between.astype(dtype), within.astype(dtype))


def exact_logdet(A):
    with mpmath.workdps(60):
        core = mpmath.log(mpmath.det(mpmath.matrix(A.between.astype(float).tolist())))
        rest = mpmath.fsum(
            (int(n) - 1) * mpmath.log(float(d))
            for n, d in zip(A.partition.sizes, A.within, strict=True)
            if n > 1
        )
        return float(core + rest)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_all_questions_about_a_positive_definite_matrix_have_one_answer(dtype, data):
    A = data.draw(definite(dtype))
    n = A.shape[0]
    cov = A.as_covariance()
    logdet = exact_logdet(A)
    assert A.is_hermitian
    assert A.is_positive_definite()
    assert A.matrix_rank() == cov.rank == n
    assert np.isfinite(A.cond()) or dtype == np.float32  # above its largest number
    # a logarithm of each number: rounding of the sum, and of cores of condition 100
    tolerance = 100 * np.finfo(dtype).eps * (abs(logdet) + 100 * n)
    assert abs(cov.log_pdet - logdet) <= tolerance
    assert abs(A.logdet() - logdet) <= tolerance
    # its own scale, so that entries of 1e-18 are compared as those of 1e18 are
    scale = np.sqrt(np.diagonal(A.between).astype(float))
    difference = (A.pinv().between.astype(float) - A.inv().between) * np.outer(scale, scale)
    assert np.abs(difference).max() <= 1e4 * np.finfo(dtype).eps
    np.testing.assert_allclose(A.pinv().within, A.inv().within)
    assert not (-A).is_positive_definite()
    assert not (A - A).is_positive_definite()
    assert (A - A).matrix_rank() == 0


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_a_density_is_that_of_the_dense_matrix(dtype, data):
    A = data.draw(definite(dtype, exponent=3, largest=6))
    x = np.random.default_rng(0).standard_normal((3, A.shape[0]))
    ours = multivariate_normal(cov=A.as_covariance()).logpdf(x)
    theirs = multivariate_normal(cov=A.astype(np.float64).toarray()).logpdf(x)
    # condition at most 100 * 2^12, of which a quadratic form in float64 sees 1e-16
    np.testing.assert_allclose(ours, theirs, rtol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [3000, 10**6, 10**9])
@pytest.mark.parametrize("correlation", [0.5, 0.9, 0.9999])
def test_equal_correlations_have_full_rank_whatever_n(dtype, n, correlation):
    if n == 10**9:  # a partition of so many variables takes gigabytes; its cores do not
        core = BCM([0], [[1 + (n - 1) * correlation]]).astype(dtype)._cores[0]
        assert rank.is_positive_definite(core)
        return
    values, diagonal = np.array([[correlation]], dtype), np.ones(1, dtype)
    A = BCM.from_values(bm.Partition.trivial(n), values, diagonal)
    assert A.is_positive_definite()
    assert A.matrix_rank() == A.as_covariance().rank == n
    assert np.isfinite(A.as_covariance().log_pdet)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_units_and_sizes_do_not_change_the_rank(dtype, data):
    k = data.draw(st.integers(1, 5))
    r = data.draw(st.integers(0, k))
    seed = data.draw(st.integers(0, 10**6))
    symmetric = data.draw(st.booleans())
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((k, k)))[0][:, :r]
    right = left if symmetric else np.linalg.qr(rng.standard_normal((k, k)))[0][:, :r]
    core = (left * (1.0 + rng.random(r))) @ right.T
    core = ((core + core.T) / 2 if symmetric else core).astype(dtype)
    sizes = np.array(data.draw(st.lists(st.integers(2, 10**5), min_size=k, max_size=k)))
    zero = np.array(data.draw(st.lists(st.booleans(), min_size=k, max_size=k)))
    within = np.where(zero, 0, 1e-3)
    units = data.draw(powers_of_two(k, 20))
    # The first term is what rounding may make of a zero: entries of up to 2 in k terms.
    for row in (np.ones(k), units):
        col = row if symmetric else data.draw(powers_of_two(k, 20))
        between = (core * row[:, None]) * col
        d = within * row * col
        A = BCM(bm.Partition.from_sizes(sizes), between.astype(dtype), d.astype(dtype))
        expected = r + (sizes - 1)[~zero].sum()
        assert A.matrix_rank() == expected
        assert np.isinf(A.cond()) == (expected < sizes.sum())
        if symmetric:
            cov = A.as_covariance()
            assert cov.rank == expected
            assert A.is_positive_definite() == (expected == sizes.sum())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 30, 300])
def test_a_core_of_ones_has_rank_one(dtype, k):
    A = BCM(bm.Partition.singletons(k), np.ones((k, k), dtype))
    assert A.matrix_rank() == A.as_covariance().rank == 1
    assert BCM(bm.Partition.singletons(k), np.ones((k, k)) + 1e-9 * np.eye(k)).matrix_rank() == k


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [2, 3, 49, 1000, 10**6])
def test_a_centring_matrix_lacks_one_dimension(dtype, n):
    p = bm.Partition.trivial(n)
    C = BCM.from_values(p, np.array([[-1 / n]], dtype), np.array([1 - 1 / n], dtype))
    assert C.matrix_rank() == C.as_covariance().rank == n - 1
    assert not C.is_positive_definite()
    np.testing.assert_array_equal(C.pinv().between, 0)
    # in single precision rounding may leave a little less than zero, but not of a larger part
    below = BCM(p, np.array([[-3e-8]], np.float32), np.ones(1, np.float32))
    assert below.matrix_rank() == below.as_covariance().rank == n - 1
    assert BCM(p, np.array([[-1e-4]], np.float32), np.ones(1, np.float32)).matrix_rank() == n
    mean = BCM.from_values(p, np.array([[1 / n]]))
    assert (BCM.identity(p) - mean).matrix_rank() == n - 1


@pytest.mark.parametrize("n", [10, 1000])
def test_the_fit_of_a_centred_matrix_lacks_one_dimension(n):
    X = np.random.default_rng(n).standard_normal((n, n))
    centring = np.eye(n) - 1 / n
    A = bm.fit(centring @ X @ X.T @ centring, np.zeros(n, dtype=int))
    assert A.matrix_rank() == A.as_covariance().rank == n - 1


def test_a_negative_eigenvalue_is_not_taken_for_rounding():
    A = BCM([0, 1], [[1e18, 0.5e9], [0.5e9, -1.0]])
    assert A.matrix_rank() == 2
    assert not A.is_positive_definite()
    for refused in (A.as_covariance, A.sqrtm):
        with pytest.raises(np.linalg.LinAlgError, match="negative"):
            refused()
    B = BCM([0, 0, 1], np.eye(2), [-1e-6, 0])
    with pytest.raises(np.linalg.LinAlgError, match="negative eigenvalues"):
        B.as_covariance()


@pytest.mark.parametrize("ratio", [1e4, 1e9, 1e14])
def test_functions_of_badly_scaled_cores_keep_their_digits(ratio):
    """Scaled to a diagonal of ones, the core has condition 3, and so each result its digits."""
    scale = np.array([ratio, 1.0, 1 / ratio])
    core = (np.eye(3) + 1) / 2 * np.outer(scale, scale)
    A = BCM([0, 1, 2], core)
    root, inverse_root = A.sqrtm().between, A.invsqrtm().between
    with mpmath.workdps(150):
        values, vectors = mpmath.eigsy(mpmath.matrix(core.tolist()))
        for ours, power in ((root, 0.5), (inverse_root, -0.5)):
            theirs = vectors * mpmath.diag([w**power for w in values]) * vectors.T
            for i in range(3):
                for j in range(3):
                    # entries are sums, of which some are small beside their row and column
                    bound = mpmath.sqrt(theirs[i, i] * theirs[j, j]) * 1e-13
                    assert abs(theirs[i, j] - ours[i, j]) <= bound
    np.testing.assert_allclose(A.cond(), float(max(values) / min(values)), rtol=1e-12)


# Symmetry


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_symmetry_is_judged_by_the_scales_of_the_pair(dtype, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    big = data.draw(st.sampled_from([1.0, 1e6, 1e16, 1e25]))
    x = rng.standard_normal((3, 3))
    core = np.zeros((4, 4))
    core[0, 0] = big
    core[1:, 1:] = x @ x.T + np.eye(3)
    order = rng.permutation(4)
    core = core[np.ix_(order, order)].astype(dtype)
    core = (core + core.T) / 2
    p = bm.Partition.singletons(4)
    A = BCM(p, core)
    assert A.is_hermitian
    i, j = np.flatnonzero(np.diagonal(core) < big)[:2] if big > 100 else (0, 1)
    scale = min(np.abs(core[i]).max(), np.abs(core[j]).max())
    skewed = core.copy()
    skewed[i, j] += 64 * np.finfo(dtype).eps * scale
    assert not BCM(p, skewed).is_hermitian
    np.testing.assert_array_equal(bm.fit(skewed, p).toarray(), skewed)
    rounded = core.copy()
    rounded[i, j] += 4 * np.finfo(dtype).eps * scale
    assert BCM(p, rounded).is_hermitian
    skewed[i, j] += scale
    with pytest.raises(ValueError, match="symmetric"):
        bm.find_partition(skewed)
    # nothing of what is not symmetric is lost, in entries of any scale
    exact = np.linalg.inv(skewed[np.ix_(order.argsort()[1:], order.argsort()[1:])].astype(float))
    kept = BCM(p, skewed).inv().between[np.ix_(order.argsort()[1:], order.argsort()[1:])]
    condition = np.linalg.cond(exact)
    tolerance = 100 * np.finfo(dtype).eps * condition * np.abs(exact).max()
    np.testing.assert_allclose(kept, exact, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_inverse_and_solve_keep_the_small_pair_beside_a_large_entry(dtype):
    big = 1e6 if dtype == np.float32 else 1e16
    core = np.array([[big, 0, 0], [0, 4, 1], [0, 0, 4]], dtype)
    A = BCM.from_values([0, 1, 2], core)
    assert A.inv().toarray()[1, 2] == -0.0625
    np.testing.assert_allclose(
        A.solve(np.eye(3, dtype=dtype))[1:, 1:], [[0.25, -0.0625], [0, 0.25]]
    )
    np.testing.assert_array_equal(bm.fit(core, [0, 1, 2]).toarray(), core)


def test_products_of_commuting_matrices_are_symmetric():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((40, 40))
    A = BCM(bm.Partition.uniform(40, 2), x @ x.T, np.ones(40))
    assert (A @ A).is_hermitian
    assert (A @ A @ A).is_hermitian


# Powers of singular cores


def test_a_power_of_a_defective_singular_core_is_the_limit_of_regular_ones():
    core = np.array([[2.0, 1, 0], [0, 2, 0], [0, 0, 0]])
    power = BCM([0, 1, 2], core).powm(0.3).between
    exact = [[2**0.3, 0.3 * 2**-0.7, 0], [0, 2**0.3, 0], [0, 0, 0]]
    np.testing.assert_allclose(power, exact, atol=1e-14)


@given(data=st.data())
def test_powers_of_singular_cores_add_up(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    k, r = data.draw(st.sampled_from([(2, 1), (3, 2), (4, 2), (5, 4)]))
    basis = rng.standard_normal((k, k)) + 3 * np.eye(k)
    triangle = np.triu(rng.standard_normal((r, r)), 1) + np.diag(1 + rng.random(r))
    if data.draw(st.booleans()):
        np.fill_diagonal(triangle, 1.5)  # one eigenvalue, defective
    inner = np.zeros((k, k))
    inner[:r, :r] = triangle
    core = basis @ inner @ np.linalg.inv(basis)
    A = BCM(bm.Partition.uniform(k, 2), core, np.ones(k))
    p = data.draw(st.sampled_from([0.3, 0.5, 0.75, 1.25]))
    product = A.powm(p) @ A.powm(2 - p)
    square = core @ core
    # the condition of the basis enters four times, of triangles by the spread of eigenvalues
    tolerance = 1e-10 * np.linalg.cond(basis) ** 2 * np.abs(square).max()
    np.testing.assert_allclose(product.between, square, atol=tolerance)


def test_a_nilpotent_core_has_no_small_power():
    nilpotent = BCM([0, 1], [[0.0, 1.0], [0.0, 0.0]])
    for power in (0.3, 0.5):
        with pytest.raises(np.linalg.LinAlgError, match="does not exist"):
            nilpotent.powm(power)
    np.testing.assert_array_equal(nilpotent.powm(1.5).between, 0)
    np.testing.assert_array_equal(BCM([0, 1], np.zeros((2, 2))).powm(0.3).between, 0)


@pytest.mark.parametrize("negative", [-1e-2, -1e-4, -1.0])
def test_a_small_imaginary_part_of_a_root_is_not_dropped(negative):
    A = BCM([0, 1], [[1.0, 1.0], [0.0, negative]])
    for refused in (A.sqrtm, A.logm, lambda: A.powm(0.3)):
        with pytest.raises(np.linalg.LinAlgError, match="off the negative real axis"):
            refused()


def test_what_lies_outside_a_singular_covariance_has_no_density():
    singular = BCM([0, 0, 0, 1], [[2.0, 0.5], [0.5, 1.0]], [0.0, 0.0])
    inside = singular @ np.ones(4)
    density = multivariate_normal(cov=singular.as_covariance())
    assert np.isfinite(density.logpdf(inside))
    for deviation in (1e-2, 1e-6, 1e-10):
        assert density.logpdf(inside + [deviation, -deviation, 0, 0]) == -np.inf


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_pseudo_inverse_of_a_rectangular_core_sees_through_rounding(dtype):
    rng = np.random.default_rng(0)
    for sizes in ((2, 2, 2, 2), (10**5, 1, 10**6, 2)):
        left, right = rng.standard_normal((4, 2)), rng.standard_normal((2, 3))
        core = (left @ right).astype(dtype)
        rows, cols = bm.Partition.from_sizes(sizes), bm.Partition.from_sizes(sizes[:3])
        B = bm.BlockRectangularMatrix(rows, cols, core)
        exact = np.linalg.pinv(left @ right, rcond=1e-4)
        tolerance = 1e3 * np.finfo(dtype).eps * np.abs(exact).max()
        np.testing.assert_allclose(B.pinv().between, exact, atol=tolerance)
    # a small singular value of a large matrix is not rounding
    B = bm.BlockRectangularMatrix(rows, cols, np.diag([1.0, 1e-5, 1e-9, 0])[:, :3].astype(dtype))
    np.testing.assert_allclose(np.diagonal(B.pinv().between), [1, 1e5, 1e9], rtol=1e-6)


def demeaned(kind, dtype):
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    X = np.random.default_rng(0).standard_normal((200, 60))
    if kind == "in each block":
        for g in range(3):
            X[:, labels == g] -= X[:, labels == g].mean(axis=1, keepdims=True)
        return X.astype(dtype), labels, 57
    if kind == "over all":
        return (X - X.mean(axis=1, keepdims=True)).astype(dtype), labels, 59
    return X[:3].astype(dtype), labels, 60 - 1  # fewer samples than blocks and one


@pytest.mark.parametrize("kind", ["in each block", "over all", "too few"])
def test_every_operation_tells_that_a_covariance_of_samples_is_singular(kind):
    X, labels, rank = demeaned(kind, np.float64)
    A = bm.fit_samples(X, labels)
    assert A.matrix_rank() == A.as_covariance().rank == rank
    assert A.matrix_rank() == np.linalg.matrix_rank(A.toarray())
    assert np.isinf(A.cond())
    assert not A.is_positive_definite()
    assert A.slogdet() == (0, -np.inf)
    for refused in (A.inv, A.invsqrtm, A.logdet, lambda: A.solve(np.ones(60)), lambda: A**-1):
        with pytest.raises(np.linalg.LinAlgError, match="invertible"):
            refused()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_rank_deficient_core_is_never_inverted(dtype, seed):
    X = np.random.default_rng(seed).standard_normal((4, 110)).astype(dtype)
    A = bm.fit_samples(X, np.repeat(range(4), [50, 30, 20, 10]))
    assert A.matrix_rank() == 109
    assert A.slogdet() == (0, -np.inf)
    for refused in (A.inv, lambda: A.solve(np.ones(110))):
        with pytest.raises(np.linalg.LinAlgError, match="singular to working precision"):
            refused()


def test_all_spectra_of_a_graded_core_are_the_same():
    core = np.array([[1e-14, 0.9e-7, 0.9e5], [0.9e-7, 1, 0.9e12], [0.9e5, 0.9e12, 1e24]])
    A = BCM([0, 1, 2], core)
    with mpmath.workdps(100):
        exact = [float(w) for w in mpmath.eigsy(mpmath.matrix(core.tolist()))[0]]
        logarithm = float(mpmath.log(mpmath.det(mpmath.matrix(core.tolist()))))
    np.testing.assert_allclose(A.eigvalsh()[0], exact, rtol=1e-12)
    np.testing.assert_allclose(A.eigh()[0], exact, rtol=1e-12)
    np.testing.assert_allclose(A.svdvals()[0], exact[::-1], rtol=1e-12)
    np.testing.assert_allclose(A.norm(-2), exact[0], rtol=1e-12)
    np.testing.assert_allclose(A.cond(), exact[-1] / exact[0], rtol=1e-12)
    np.testing.assert_allclose(A.funm(np.log).trace(), logarithm, rtol=1e-12)
    assert A.matrix_rank() == A.matrix_rank(0.0) == 3
