"""The matrices for PyTorch, against dense tensors, NumPy's matrices and numerical gradients."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import blockmat as bm
import blockmat.torch as bmt
from blockmat.exceptions import (
    DtypeError,
    IndefiniteMatrixError,
    NonFiniteError,
    NotHermitianError,
    PartitionMismatchError,
    ShapeError,
    SingularMatrixError,
)
from blockmat.torch import arrays, segments
from blockmat.torch.segments import Segments
from tests.cases import PARTITIONS as CASES
from tests.cases import in_small_parts

PARTITIONS = {**CASES, "permuted": bm.Partition.from_labels([2, 0, 1])}
EPS = {torch.float32: 2.0**-23, torch.float64: 2.0**-52}
BATCHES = {"no batch": (), "batch": (2, 3)}
# Numbers of variables: for all, for each block, for each variable.
LENGTHS = {"all": lambda p: 1, "blocks": lambda p: p.n_blocks, "variables": lambda p: p.n}

over_partitions = pytest.mark.parametrize("p", PARTITIONS.values(), ids=list(PARTITIONS))
over_batches = pytest.mark.parametrize("batch", BATCHES.values(), ids=list(BATCHES))
over_dtypes = pytest.mark.parametrize("dtype", EPS, ids=str)
# Each dtype and each number of axes, not all their combinations
over_arrays = pytest.mark.parametrize(
    ("batch", "dtype"), [((), torch.float32), ((2, 3), torch.float64)]
)


@pytest.fixture(autouse=True)
def the_same_numbers_in_any_order():
    torch.manual_seed(7)


def positive(*shape, dtype=torch.float64):
    """Numbers from 0.5 to 1.5."""
    return torch.rand(shape, dtype=dtype) + 0.5


def core(batch, k, independent=False, dtype=torch.float64):
    """Positive definite k x k numbers with eigenvalues of at least 1, or their diagonal."""
    x = torch.randn(*batch, k, k, dtype=torch.float64)
    a = (x @ x.mT / k + torch.eye(k)).to(dtype)
    return a.diagonal(dim1=-2, dim2=-1).clone() if independent else a


def plain(p, batch=(), independent=False, dtype=torch.float64):
    M = core(batch, p.n_blocks, independent, dtype)
    d = positive(*batch[-1:], p.n_blocks, dtype=dtype)
    return bmt.BlockConstantMatrix(p, M, d, independent=independent)


def factor(p, batch=(), independent=False, dtype=torch.float64, noise="variables", loadings=None):
    C = core(batch, p.n_blocks, independent, dtype)
    numbers = positive(*batch[-1:], LENGTHS[noise](p), dtype=dtype)
    loadings = loadings or noise
    s = positive(LENGTHS[loadings](p), dtype=dtype)
    s[1::2] *= -1
    return bmt.BlockFactorMatrix(p, C, numbers, s, independent=independent)


KINDS = {
    "plain": plain,
    "plain, independent": partial(plain, independent=True),
    "factor": factor,
    "factor, independent": partial(factor, independent=True),
    "factor, numbers of blocks": partial(factor, noise="blocks"),
    "factor, one number": partial(factor, noise="all"),
    "factor, one noise": partial(factor, noise="all", loadings="variables"),
    "factor, loadings of blocks": partial(factor, noise="variables", loadings="blocks"),
    "factor, independent, one number": partial(factor, independent=True, noise="all"),
}
over_kinds = pytest.mark.parametrize("make", KINDS.values(), ids=list(KINDS))


def check(found, expected, scale=1.0, dtype=None):
    """Compare with double precision.

    Matrices here have condition numbers below 200 and fewer than 12 rows. 100 roundings for each
    row, times the condition number, are more than any of the methods has.
    """
    assert found.shape == expected.shape
    dtype = found.dtype if dtype is None else dtype
    assert found.dtype == dtype
    bound = 1200 * 200 * EPS[dtype] * scale * max(1.0, float(expected.detach().abs().max()))
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=min(bound, 1e-3))


# Every method is that of the dense matrix


@over_kinds
@over_partitions
@over_arrays
def test_methods_are_those_of_the_dense_matrix(make, p, batch, dtype):
    A = make(p, batch, dtype=dtype)
    D = A.to_dense().double()
    assert A.shape == D.shape == (*batch, p.n, p.n)
    assert A.batch_shape == torch.Size(batch)
    assert A.dtype == dtype
    x = torch.randn(p.n, dtype=dtype)
    X = torch.randn(*batch, p.n, 2, dtype=dtype)
    check(A @ x, D @ x.double())
    check(A.matmul(X), D @ X.double())
    check(X.mT @ A, X.mT.double() @ D)
    check(x @ A, x.double() @ D)
    check(A.solve(X), torch.linalg.solve(D, X.double()))
    check(A.logdet(), torch.logdet(D))
    sign, logabsdet = A.slogdet()
    check(logabsdet, torch.logdet(D))
    assert (sign == 1).all()
    check(A.inv().to_dense(), torch.linalg.inv(D))
    check(A.diagonal(), D.diagonal(dim1=-2, dim2=-1))
    check(A.trace(), D.diagonal(dim1=-2, dim2=-1).sum(-1))
    check(A.mT.to_dense(), D.mT)


@over_kinds
@over_partitions
@over_arrays
def test_vectors_broadcast_with_the_batch(make, p, batch, dtype):
    A = make(p, batch, dtype=dtype)
    D = A.to_dense().double()
    x = torch.randn(4, *batch, p.n, dtype=dtype)
    solved = torch.linalg.solve(D, x.double()[..., None])[..., 0]
    inv_quad, logdet = A.inv_quad_logdet(x)
    check(inv_quad, (x * solved).sum(-1), scale=p.n)
    check(logdet, torch.logdet(D))
    white = A.whiten(x)
    check(white.square().sum(-1), (x * solved).sum(-1), scale=p.n)
    check(A.colorize(white), x)
    assert inv_quad.dtype == logdet.dtype == white.dtype == dtype


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize(
    "axes", [((), (3,)), ((), (2, 3)), ((3,), (2, 1)), ((3, 1), (2,))], ids=str
)
def test_all_batch_axes_broadcast(independent, axes):
    """The cases have k = 3 blocks, so that (3, k) numbers could be taken for a matrix."""
    p, (first, second) = GRADIENTS["shuffled"], axes
    A = bmt.BlockConstantMatrix(
        p, core(first, 3, independent), positive(*second, 3), independent=independent
    )
    batch = torch.broadcast_shapes(first, second)
    M = A.between.expand(*batch, *A.between.shape[len(first) :])
    B = bmt.BlockConstantMatrix(p, M, A.within.expand(*batch, 3), independent=independent)
    x = torch.randn(p.n, dtype=torch.float64)
    diagonal = positive(p.n)
    check(A.to_dense(), B.to_dense())
    check(A.to_dense() @ x, A @ x)
    check(A.add_diagonal(diagonal).to_dense(), A.to_dense() + diagonal.diag())
    for found, expected in [
        (A @ x, B @ x), (A.solve(x), B.solve(x)), (A.diagonal(), B.diagonal()),
        (A.trace(), B.trace()), (A.logdet(), B.logdet()), (A.whiten(x), B.whiten(x)),
    ]:  # fmt: skip
        check(found, expected)


@over_kinds
@over_batches
def test_whiten_and_colorize_are_inverse_linear_maps(make, batch):
    A = make(PARTITIONS["shuffled"], batch)
    eye = torch.eye(A.shape[-1], dtype=torch.float64).reshape(-1, *[1] * len(batch), A.shape[-1])
    W = A.whiten(eye.expand(-1, *batch, -1)).movedim(0, -1)
    check(W.mT @ W, torch.linalg.inv(A.to_dense()))
    K = A.colorize(eye.expand(-1, *batch, -1)).movedim(0, -1)
    check(K @ K.mT, A.to_dense())


@over_partitions
@over_batches
@over_dtypes
@pytest.mark.parametrize("independent", [False, True])
def test_roots(p, batch, dtype, independent):
    A = plain(p, batch, independent, dtype)
    root, inverse = A.sqrtm(), A.invsqrtm()
    check((root @ root).to_dense(), A.to_dense())
    check((root @ inverse).to_dense(), torch.eye(p.n, dtype=dtype).expand(A.shape))
    assert root.dtype == inverse.dtype == dtype


@over_batches
def test_algebra_is_that_of_dense_matrices(batch):
    p = PARTITIONS["shuffled"]
    A, B = plain(p, batch), plain(p, batch[-1:], independent=True)
    D, E = A.to_dense(), B.to_dense()
    for found, expected in [
        (A + B, D + E), (B + A, D + E), (A - B, D - E), (A @ B, D @ E), (B @ B, E @ E),
        (B + B, 2 * E), (2 * A, 2 * D), (A / 2, D / 2), (-A, -D),
    ]:  # fmt: skip
        check(found.to_dense(), expected)
    assert (B @ B).is_independent
    assert not (A @ B).is_independent
    c = positive(*batch)
    check((c * A).to_dense(), c[..., None, None] * D)
    F = factor(p, batch)
    check((F * c).to_dense(), F.to_dense() * c[..., None, None])
    check((F / 2).to_dense(), F.to_dense() / 2)
    eye = torch.eye(p.n, dtype=torch.float64)
    for name in LENGTHS:
        numbers = positive(LENGTHS[name](p))
        spread = {"all": lambda x: x.expand(p.n), "blocks": lambda x: x[p.labels.copy()]}
        diagonal = spread.get(name, lambda x: x)(numbers)
        check(F.add_diagonal(numbers).to_dense(), F.to_dense() + eye * diagonal)
    check(F.add_diagonal(0.5).to_dense(), F.to_dense() + 0.5 * eye)


def test_indefinite_and_unsymmetric_matrices_solve():
    p = PARTITIONS["shuffled"]
    M = torch.randn(2, 4, 4, dtype=torch.float64)
    A = bmt.BlockConstantMatrix(p, M, torch.tensor([1.0, -2.0, 3.0, -1.0]).double())
    D = A.to_dense()
    x = torch.randn(p.n, dtype=torch.float64)
    check(A @ x, D @ x)
    check(x @ A, x @ D)
    check(A.mT @ x, D.mT @ x)
    check(A.solve(x[:, None])[..., 0], torch.linalg.solve(D, x.expand(2, -1)), scale=100)
    sign, logabsdet = A.slogdet()
    expected = torch.linalg.slogdet(D)
    check(logabsdet, expected[1], scale=100)
    assert (sign == expected[0]).all()


def test_numbers_of_a_block_of_one_variable_are_not_used():
    p = bm.Partition.from_sizes([2, 1])
    A = bmt.BlockConstantMatrix(p, core((), 2), torch.tensor([1.0, -5.0]).double())
    B = bmt.BlockConstantMatrix(p, A.between, torch.tensor([1.0, 0.0]).double())
    x = torch.randn(3, dtype=torch.float64)
    for found, expected in [
        (A @ x, B @ x), (A.solve(x), B.solve(x)), (A.logdet(), B.logdet()), (A.trace(), B.trace()),
        (A.whiten(x), B.whiten(x)), (A.sqrtm().to_dense(), B.sqrtm().to_dense()),
    ]:  # fmt: skip
        assert torch.equal(found, expected)


def test_solve_keeps_its_digits_where_numbers_differ_by_many_orders():
    """The residual is some roundings of ``norm(A) norm(x)``, for a condition number of 1e12."""
    p = bm.Partition.from_labels([0, 1, 0, 1, 0, 0, 1])
    M = torch.tensor([[1.0, 0.5], [0.5, 1.0]]).double()
    b = torch.ones(p.n).double() + 1e-3 * torch.randn(p.n).double()
    for A in (
        bmt.BlockConstantMatrix(p, M, 1e-12 * torch.ones(2).double()),
        bmt.BlockFactorMatrix(p, M, 1e-12 * positive(p.n), positive(p.n)),
    ):
        x, D = A.solve(b), A.to_dense()
        residual = torch.linalg.norm(D @ x - b)
        assert residual <= 100 * EPS[torch.float64] * torch.linalg.norm(D) * torch.linalg.norm(x)


def test_single_precision_sums_in_double_precision():
    """The sum of 2^25 ones is exact, and in single precision it would be 2^24."""
    blocks = Segments(bm.Partition.trivial(2**25), torch.device("cpu"))
    ones = torch.ones(2**25)
    assert blocks.sums(ones) == 2**25
    assert blocks.sums_of_batch(ones) == 2**25


@over_partitions
@pytest.mark.parametrize("independent", [False, True])
def test_single_precision_factors_need_symmetry_of_their_covariance_only(p, independent):
    """Products in single precision are symmetric to single precision, not to double."""
    x = torch.randn(20, p.n_blocks, p.n_blocks)
    C = x @ x.mT / p.n_blocks + torch.eye(p.n_blocks)
    C = C + 4 * EPS[torch.float32] * torch.ones_like(C).triu(1)
    C = C.diagonal(dim1=-2, dim2=-1) if independent else C
    for noise in (positive(1), positive(p.n), positive(20, p.n_blocks)):
        A = bmt.BlockFactorMatrix(p, C, noise.float(), independent=independent)
        check(A.logdet(), torch.logdet(A.to_dense().double()))


# The same as NumPy's matrices


@over_kinds
@over_partitions
@over_dtypes
def test_they_are_the_matrices_of_numpy(make, p, dtype):
    A = make(p, dtype=dtype)
    N = A.numpy()
    assert type(N).__name__ == type(A).__name__
    assert type(N).__module__.startswith("blockmat.matrices")
    x = torch.randn(p.n, dtype=dtype)
    check(A @ x, torch.from_numpy(N @ x.numpy()))
    check(A.solve(x), torch.from_numpy(N.solve(x.numpy())))
    check(A.logdet(), torch.tensor(N.logdet()))
    check(A.inv().to_dense(), torch.from_numpy(N.inv().toarray()))
    check(A.diagonal(), torch.from_numpy(N.diagonal().copy()))
    again = type(A).from_numpy(N)
    assert again.dtype == dtype
    assert again.partition is p
    check(again.to_dense(), A.to_dense())


def test_conversion_to_numpy_needs_one_matrix_and_makes_a_copy():
    p = PARTITIONS["contiguous"]
    for make in (plain, factor):
        with pytest.raises(
            ShapeError, match=r"batch shape \(3,\); expected one matrix, such as A\[0\]"
        ):
            make(p, (3,)).numpy()
    A = plain(p)
    N = A.numpy()
    before = N.between.copy()
    A.between[0, 0] = 100
    assert np.array_equal(N.between, before)
    with pytest.raises(TypeError, match=r"is a BlockFactorMatrix; expected a blockmat\.BlockConst"):
        bmt.BlockConstantMatrix.from_numpy(factor(p).numpy())
    with pytest.raises(TypeError, match=r"is a int; expected a blockmat\.BlockFactorMatrix"):
        bmt.BlockFactorMatrix.from_numpy(3)
    aligned = bm.BlockConstantMatrix(bm.Partition.uniform(2, 2), np.eye(2), np.eye(2))
    with pytest.raises(ValueError, match="has aligned blocks"):
        bmt.BlockConstantMatrix.from_numpy(aligned)
    with pytest.raises(DtypeError, match="complex"):
        bmt.BlockConstantMatrix.from_numpy(bm.BlockConstantMatrix([0, 0], [[1j]], [1j]))


def test_independent_blocks_stay_independent_in_numpy():
    A = plain(PARTITIONS["shuffled"], independent=True)
    N = A.numpy()
    assert N.is_independent
    assert bmt.BlockConstantMatrix.from_numpy(N).is_independent


def test_from_values_are_those_of_numpy():
    p = PARTITIONS["shuffled"]
    values, diagonal = core((2,), 4), positive(4) + 5
    A = bmt.BlockConstantMatrix.from_values(p, values, diagonal)
    for i in range(2):
        N = bm.BlockConstantMatrix.from_values(p, values[i].numpy(), diagonal.numpy())
        check(A.to_dense()[i], torch.from_numpy(N.toarray()))


# Gradients

GRADIENTS = {
    "contiguous": bm.Partition.from_sizes([3, 1, 2]),
    "shuffled": bm.Partition.from_labels([2, 0, 1, 2, 0, 2]),
}
REPEATED = {
    "distinct": torch.tensor([[2.0, 0.3, 0.1], [0.3, 1.5, 0.2], [0.1, 0.2, 1.0]]).double(),
    "identity": torch.eye(3).double(),
    "multiple": 4 * torch.eye(3).double(),
    "nearly equal": torch.diag(torch.tensor([1.0, 1.0 + 1e-13, 1.0 - 1e-9]).double()),
}


METHODS = {
    "matmul": lambda A, x: A @ x,
    "matmul from the left": lambda A, x: x @ A,
    "solve": lambda A, x: A.solve(x),
    "logdet": lambda A, x: A.logdet(),
    "slogdet": lambda A, x: A.slogdet()[1],
    "inv_quad_logdet": lambda A, x: A.inv_quad_logdet(x),
    "whiten": lambda A, x: A.whiten(x),
    "colorize": lambda A, x: A.colorize(x),
    "inv": lambda A, x: A.inv().to_dense(),
    "to_dense": lambda A, x: A.to_dense(),
    "diagonal": lambda A, x: A.diagonal(),
    "trace": lambda A, x: A.trace(),
    "multiple": lambda A, x: (x[0].square() * A).to_dense(),
}
OF_PLAIN = {
    "sqrtm": lambda A, x: A.sqrtm().to_dense(),
    "invsqrtm": lambda A, x: A.invsqrtm() @ x,
    "sum": lambda A, x: (A + A).to_dense(),
    "product": lambda A, x: (A @ A).to_dense(),
}


def check_gradients(function, *tensors):
    inputs = [x.clone().requires_grad_() for x in tensors]
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


# Repeated eigenvalues matter to what decomposes the core; both partitions, to every method.
@pytest.mark.parametrize("method", METHODS | OF_PLAIN)
@pytest.mark.parametrize(
    ("partition", "core"), list(zip(["contiguous", "shuffled"] * 2, REPEATED, strict=True))
)
def test_gradients_of_a_plain_matrix(method, partition, core):
    """Perturbed cores are not symmetric, which `check` would refuse."""
    p, M = GRADIENTS[partition], REPEATED[core]

    def function(M, d, x):
        return (METHODS | OF_PLAIN)[method](bmt.BlockConstantMatrix(p, M, d, check=False), x)

    check_gradients(function, M, positive(3), torch.randn(p.n, dtype=torch.float64))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("lengths", "core"), [("all", "distinct"), ("blocks", "identity"), ("variables", "distinct")]
)
def test_gradients_of_a_factor_matrix(method, lengths, core):
    p = GRADIENTS["shuffled"]
    M, m = REPEATED[core], LENGTHS[lengths](p)

    def function(C, noise, loadings, x):
        A = bmt.BlockFactorMatrix(p, C, noise, loadings, check=False)
        return METHODS[method](A, x)

    check_gradients(function, M, positive(m), positive(m), torch.randn(p.n, dtype=torch.float64))


@pytest.mark.parametrize("method", METHODS | OF_PLAIN)
def test_gradients_of_independent_blocks(method):
    p = GRADIENTS["shuffled"]

    def function(m, d, x):
        return (METHODS | OF_PLAIN)[method](bmt.BlockConstantMatrix(p, m, d, check=False), x)

    check_gradients(function, positive(3), positive(3), torch.randn(p.n, dtype=torch.float64))


@pytest.mark.parametrize("method", METHODS)
def test_gradients_of_independent_factors(method):
    p = GRADIENTS["contiguous"]

    def function(m, d, s, x):
        return METHODS[method](bmt.BlockFactorMatrix(p, m, d, s, check=False), x)

    x = torch.randn(p.n, dtype=torch.float64)
    check_gradients(function, positive(3), positive(1), positive(p.n), x)


def test_gradients_of_a_batch_that_broadcasts():
    p = GRADIENTS["shuffled"]

    def function(M, d, x):
        A = bmt.BlockConstantMatrix(p, M, d, check=False)
        return A.solve(x), A.inv_quad_logdet(x.mT[:, None])

    def flat(*args):
        first, (second, third) = function(*args)
        return first, second, third

    M = torch.stack([REPEATED["distinct"], REPEATED["identity"]])
    check_gradients(flat, M, positive(3), torch.randn(p.n, 3, dtype=torch.float64))


def by_torch(monkeypatch):
    """Compute as on devices without kernels, with a call for each block."""
    monkeypatch.setattr(arrays, "has_kernels", lambda x: False)
    monkeypatch.setattr(segments, "_LONG", 0)


@pytest.mark.parametrize("way", [by_torch, in_small_parts])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("contiguous", plain), ("shuffled", plain), ("contiguous", factor),
        ("shuffled", partial(factor, noise="blocks")), ("shuffled", KINDS["factor, one number"]),
    ],
)  # fmt: skip
def test_long_vectors_and_other_devices_have_the_same_results(monkeypatch, way, name, make):
    p = GRADIENTS[name]
    A = make(p, (2,))
    x = torch.randn(3, 2, p.n, dtype=torch.float64)

    def function(x, *parts):
        B = type(A)(p, *parts, check=False)
        return *B.inv_quad_logdet(x), B.whiten(x), B @ x[0, 0], B.solve(x[0].mT)

    def moments_only(x, *parts):
        return type(A)(p, *parts, check=False).inv_quad_logdet(x)[0]

    inputs = [y.detach().clone().requires_grad_() for y in (x, *A._parts.values())]
    expected = function(*inputs)
    way(monkeypatch)
    for found, wanted in zip(function(*inputs), expected, strict=True):
        check(found, wanted)
    assert gradcheck(moments_only, inputs)
    assert gradgradcheck(moments_only, inputs)


def test_a_singular_root_has_no_gradient_that_is_silently_wrong():
    p = PARTITIONS["uniform"]
    A = bmt.BlockConstantMatrix(p, torch.zeros(3, 3), torch.ones(3))
    with pytest.raises(IndefiniteMatrixError, match="sqrtm needs a positive definite matrix"):
        A.sqrtm()


@over_dtypes
def test_gradients_have_the_dtype_and_shape_of_their_tensors(dtype):
    p = PARTITIONS["shuffled"]
    for make in (plain, factor):
        A = make(p, (3,), dtype=dtype)
        tensors = [x.detach().requires_grad_() for x in A._parts.values()]
        B = type(A)(p, *tensors)
        assert B.requires_grad
        total = B.logdet().sum() + B.inv_quad_logdet(torch.ones(p.n, dtype=dtype))[0].sum()
        for x, gradient in zip(tensors, torch.autograd.grad(total, tensors), strict=True):
            assert gradient.dtype == dtype
            assert gradient.shape == x.shape
        assert not B.detach().requires_grad


@pytest.mark.parametrize("method", ["solve", "whiten"])
@pytest.mark.parametrize("make", [plain, partial(factor, noise="blocks")])
def test_gradients_in_single_precision_where_the_mean_is_large(make, method):
    """The deviations are 1e-4 of the mean, so that squares around zero would have no digits left."""
    p = bm.Partition.from_sizes([500, 300])
    x, weights = 1e4 + torch.randn(p.n), torch.randn(p.n)
    A = make(p, dtype=torch.float32)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        tensors = [y.detach().to(dtype).requires_grad_() for y in A.tensors]
        y = getattr(A.with_tensors(*tensors), method)(x.to(dtype))
        gradients.append(torch.autograd.grad((y * weights.to(dtype)).sum(), tensors[1])[0])
    # Rounding of the deviations: p.n numbers of the size of 1e4 eps, times a few.
    bound = 4 * p.n**0.5 * 1e4 * EPS[torch.float32]
    torch.testing.assert_close(gradients[0].double(), gradients[1], rtol=0, atol=bound)


# Function transforms


@pytest.mark.parametrize("make", [plain, factor])
def test_functional_transforms(make):
    p = PARTITIONS["shuffled"]
    A = make(p, (3,))
    names = list(A._parts)
    parts = [x.expand(3, *x.shape[-A._axes[name] :]) for name, x in A._parts.items()]

    def logdet(*parts):
        return type(A)(p, *parts, check=False).logdet()

    check(torch.func.vmap(logdet)(*parts), A.logdet())
    gradients = torch.func.vmap(torch.func.grad(logdet, argnums=tuple(range(len(names)))))(*parts)
    inputs = [x.clone().requires_grad_() for x in parts]
    expected = torch.autograd.grad(type(A)(p, *inputs).logdet().sum(), inputs)
    for found, wanted in zip(gradients, expected, strict=True):
        check(found, wanted)


VMAPPED = {
    "solve": lambda A, x: A.solve(x),
    "whiten": lambda A, x: A.whiten(x),
    "colorize": lambda A, x: A.colorize(x),
    "matmul": lambda A, x: A.matmul(x),
    "inv_quad_logdet": lambda A, x: A.inv_quad_logdet(x)[0],
}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("method", VMAPPED)
@pytest.mark.parametrize("which", ["between", "within", "covariance", "noise", "x"])
def test_vmap_over_one_tensor_only(method, which):
    p = PARTITIONS["shuffled"]
    A = (plain if which in ("between", "within") else partial(factor, noise="blocks"))(p)
    inputs = {**A._parts, "x": torch.randn(p.n, dtype=torch.float64)}
    inputs[which] = torch.stack([inputs[which], 2 * inputs[which]], 1)  # the axis of vmap is 1

    def function(*inputs):
        *parts, x = inputs
        return VMAPPED[method](type(A)(p, *parts, check=False), x)

    found = torch.func.vmap(function, tuple(1 if x == which else None for x in inputs))(
        *inputs.values()
    )
    for i in range(2):
        single = [x.select(1, i) if name == which else x for name, x in inputs.items()]
        check(found[i], function(*single))


@pytest.mark.parametrize("make", [*KINDS.values()], ids=list(KINDS))
def test_vmap_of_vectors_along_any_axis(make):
    """The parts are not mapped, and the vectors are columns."""
    p = PARTITIONS["shuffled"]
    A = make(p)
    x = torch.randn(p.n, 5, dtype=torch.float64)

    def function(x):
        B = type(A)(p, *A.tensors, independent=A.is_independent, check=False)
        return B.solve(x), B @ x, B.inv_quad_logdet(x)[0]

    def total(x):
        return sum(y.sum() for y in function(x))

    found = torch.func.vmap(function, in_dims=1)(x)
    for y, expected in zip(found, (A.solve(x).mT, (A @ x).mT), strict=False):
        check(y, expected)
    check(found[2], A.inv_quad_logdet(x.mT)[0])
    sums = torch.func.vmap(Segments(p, x.device).sums, in_dims=1)(x)
    check(sums, Segments(p, x.device).sums(x.mT))
    gradients = torch.func.vmap(torch.func.grad(total), in_dims=1)(x)
    check(gradients, torch.stack([torch.func.grad(total)(y) for y in x.mT]))


def test_vmap_of_roots():
    p = PARTITIONS["shuffled"]
    M = core((3,), 4)

    def root(M):
        A = bmt.BlockConstantMatrix(p, M, torch.ones(4, dtype=torch.float64), check=False)
        return A.invsqrtm().to_dense().sum()

    check(torch.func.vmap(root)(M), torch.stack([root(m) for m in M]))
    found = torch.func.vmap(torch.func.grad(root))(M)
    check(found, torch.stack([torch.func.grad(root)(m) for m in M]))


COMPILED = {
    "solve": lambda A: A.solve(torch.ones(A.shape[-1]).double()),
    "logdet": lambda A: A.logdet(),
    "add a number": lambda A: A.add_diagonal(0.5).logdet(),
    "add numbers": lambda A: A.add_diagonal(torch.ones(A.shape[-1]).double()).logdet(),
    "entropy": lambda A: bmt.BlockMultivariateNormal(
        torch.zeros(A.shape[-1]).double(), A, validate_args=False
    ).entropy(),
}


@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("make", [plain, factor])
@pytest.mark.parametrize("name", COMPILED)
def test_matrices_from_outside_do_not_break_the_graph(make, name):
    A = make(PARTITIONS["shuffled"])
    compiled = torch.compile(COMPILED[name], fullgraph=True, backend="aot_eager")
    check(compiled(A), COMPILED[name](A))


@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("make", [plain, factor])
def test_compiled_methods_have_no_graph_breaks(make):
    p = PARTITIONS["shuffled"]
    A = make(p)

    def function(x, *parts):
        B = type(A)(p, *parts)
        return B.matmul(x), B.solve(x), B.logdet()

    x = torch.randn(p.n, 2, dtype=torch.float64)
    parts = [part.clone().requires_grad_() for part in A._parts.values()]
    compiled = torch.compile(function, fullgraph=True)
    found, expected = compiled(x, *parts), function(x, *parts)
    for a, b in zip(found, expected, strict=True):
        check(a, b)
    gradients = [
        torch.autograd.grad(sum(y.sum() for y in outputs), parts) for outputs in (found, expected)
    ]
    for a, b in zip(*gradients, strict=True):
        check(a, b, scale=10)


# Objects


@pytest.mark.parametrize("make", [plain, factor])
def test_a_matrix_of_inference_mode_leaves_no_tensors_for_training(make):
    p = bm.Partition.from_labels([0, 1, 0, 1, 2])
    with torch.inference_mode():
        make(p).logdet()
    tensors = [x.clone().requires_grad_() for x in make(p).tensors]
    A = type(make(p))(p, *tensors)
    x = torch.ones(p.n).double().requires_grad_()
    (A.inv_quad_logdet(x)[0] + A.logdet() + (A @ x).sum() + A.whiten(x).sum()).backward()
    assert torch.isfinite(x.grad).all()


@over_kinds
def test_no_vectors(make):
    A = make(PARTITIONS["shuffled"])
    x = torch.zeros(0, A.shape[-1], dtype=torch.float64)
    assert A.inv_quad_logdet(x)[0].shape == (0,)
    assert A.whiten(x).shape == A.colorize(x).shape == x.shape
    assert (A @ x.mT).shape == A.solve(x.mT).shape == x.mT.shape


@over_kinds
def test_copies_and_conversions(make):
    p = PARTITIONS["shuffled"]
    A = make(p, (3,))
    for B in (pickle.loads(pickle.dumps(A)), copy.deepcopy(A), A.to("cpu"), A.detach()):
        assert torch.equal(B.to_dense(), A.to_dense())
        assert type(B) is type(A)
    single = A.to(torch.float32)
    assert single.dtype == torch.float32
    check(single.to_dense(), A.to_dense())
    wide = A.expand(2, 3)
    assert wide.batch_shape == (2, 3)
    assert torch.equal(wide.to_dense(), A.to_dense().expand(2, 3, p.n, p.n))
    assert A.expand(torch.Size([2, 3])).shape == wide.shape
    text = f"<3x11x11 {type(A).__name__} of 4 blocks, dtype=torch.float64, device=cpu>"
    assert repr(A) == text
    with pytest.raises(DtypeError, match=r"dtype torch\.float16"):
        A.to(torch.float16)


def test_results_follow_changed_parameters():
    """The optimizer changes a parameter in place. Nothing old is used then."""
    M = torch.nn.Parameter(torch.eye(1))
    A = bmt.BlockConstantMatrix([0, 0], M, torch.ones(1))
    A.logdet().backward()
    with torch.no_grad():
        M.mul_(4)
    check(A.logdet(), torch.tensor(4.0).log())
    A.logdet().backward()


def test_attributes():
    p = PARTITIONS["contiguous"]
    A = plain(p, (2,))
    assert A.partition is p
    assert A.device == torch.device("cpu")
    assert A.between.shape == (2, 4, 4)
    assert A.within.shape == (2, 4)
    F = factor(p, (2,), noise="blocks")
    assert F.covariance.shape == (2, 4, 4)
    assert F.noise.shape == (2, p.n)
    assert F.loadings.shape == (p.n,)
    assert not F.is_independent
    assert torch.equal(F.inv().noise, 1 / F.noise)
    labels = torch.tensor([0, 0, 1])
    assert bmt.BlockFactorMatrix(labels, [1.0, 2.0], 1).shape == (3, 3)
    assert bmt.BlockFactorMatrix(labels, [1.0, 2.0], 1).is_independent
    assert bmt.BlockConstantMatrix(labels, np.eye(2), [1, 1]).dtype == torch.float64


def test_python_numbers_keep_all_digits():
    p = bm.Partition.from_sizes([2, 1])
    one = torch.eye(2, dtype=torch.float64)
    assert bmt.BlockFactorMatrix(p, one, 0.1).noise[0].item() == 0.1
    assert bmt.BlockConstantMatrix(p, one, [0.1, 0.2]).within.tolist() == [0.1, 0.2]
    A = bmt.BlockConstantMatrix(p, one, torch.zeros(2).double()).add_diagonal(0.1)
    assert A.within[0].item() == 0.1
    assert bmt.BlockConstantMatrix(p, torch.eye(2), [0.1, 0.2]).dtype == torch.float32
    assert bmt.BlockConstantMatrix(p, torch.eye(2), np.array([0.1, 0.2])).dtype == torch.float64
    assert bmt.BlockFactorMatrix(p, [1.0, 2.0], 0.1).dtype == torch.float32


def test_dtypes_are_promoted_as_those_of_tensors():
    single = plain(PARTITIONS["shuffled"], dtype=torch.float32)
    double = plain(PARTITIONS["shuffled"])
    for found, expected in [
        (single @ double, single.to_dense().double() @ double.to_dense()),
        (double @ single, double.to_dense() @ single.to_dense().double()),
        (single + double, single.to_dense().double() + double.to_dense()),
    ]:
        assert found.dtype == found.within.dtype == torch.float64
        check(found.to_dense(), expected, scale=2.0**29)  # the rounding of single precision
    assert (torch.tensor(2.0, dtype=torch.float64) * single).dtype == torch.float32
    assert (torch.ones(2, dtype=torch.float64) * single).dtype == torch.float64


@pytest.mark.parametrize("labels", [[2, 0, 1], [0, 1, 2]])
def test_a_diagonal_for_blocks_of_one_variable_is_that_of_the_variables(labels):
    p = bm.Partition.from_labels(labels)
    numbers = positive(2, 3)
    for A in (plain(p), plain(p, independent=True), factor(p)):
        B = A.add_diagonal(numbers)
        assert type(B) is type(A)
        check(B.to_dense(), A.to_dense() + torch.diag_embed(numbers))


# Bad input

EYE, ONES = torch.eye(2), torch.ones(2)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ShapeError, r"between has shape \(3, 3\); expected \(\.\.\., 2, 2\)",
         lambda: bmt.BlockConstantMatrix([0, 1, 1], torch.eye(3), ONES)),
        (ShapeError, r"between has shape \(5, 2\); expected \(\.\.\., 2, 2\)",
         lambda: bmt.BlockConstantMatrix([0, 1, 1], torch.ones(5, 2), ONES)),
        (ShapeError, r"within has shape \(3,\); expected \(\.\.\., 2\)",
         lambda: bmt.BlockConstantMatrix([0, 1, 1], EYE, torch.ones(3))),
        (ShapeError, r"covariance has shape \(2, 3\); expected \(\.\.\., 2\) for 2 independent",
         lambda: bmt.BlockFactorMatrix([0, 1, 1], torch.ones(2, 3), 1.0, independent=True)),
        (ShapeError, r"noise has shape \(4,\); expected \(\.\.\., 3\) for the variables",
         lambda: bmt.BlockFactorMatrix([0, 1, 1], EYE, torch.ones(4))),
        (ShapeError, r"batch axes are between \(2,\), within \(3,\); expected shapes that",
         lambda: bmt.BlockConstantMatrix([0, 1, 1], EYE.expand(2, 2, 2), torch.ones(3, 2))),
        (DtypeError, r"within has dtype torch\.complex64; expected torch\.float32 or",
         lambda: bmt.BlockConstantMatrix([0, 1, 1], EYE, ONES + 0j)),
        (DtypeError, r"between has dtype torch\.float16",
         lambda: bmt.BlockConstantMatrix([0, 1, 1], EYE.half(), ONES)),
        (NonFiniteError, r"within contains NaN or infinity at index \(1,\)",
         lambda: bmt.BlockConstantMatrix([0, 1, 1], EYE, torch.tensor([1.0, torch.nan]))),
        (ValueError, r"noise is not positive at index \(1,\); expected positive numbers",
         lambda: bmt.BlockFactorMatrix([0, 1, 1], EYE, torch.tensor([1.0, 0, 2]))),
        (ValueError, r"loadings are zero in all of the block at index \(1,\)",
         lambda: bmt.BlockFactorMatrix([0, 1, 1], EYE, 1.0, torch.tensor([1.0, 0, 0]))),
        (ValueError, r"noise is not positive",
         lambda: bmt.BlockFactorMatrix([0, 1, 1], EYE, 1.0) * -1),
        (ValueError, r"noise is not positive",
         lambda: bmt.BlockFactorMatrix([0, 1, 1], EYE, 1.0).add_diagonal(-2)),
        (ShapeError, r"values has shape \(4,\)",
         lambda: bmt.BlockFactorMatrix([0, 1, 1], EYE, 1.0).add_diagonal(torch.ones(4))),
        (NotHermitianError, r"the covariance core is not",
         lambda: bmt.BlockFactorMatrix([0, 1, 1], torch.tensor([[1.0, 2], [3, 4]]), 1.0)),
        (NotHermitianError, r"logdet needs a symmetric matrix, and the between core is not",
         lambda: bmt.BlockConstantMatrix([0, 1], torch.tensor([[1.0, 2], [3, 4]]), ONES).logdet()),
        (IndefiniteMatrixError, r"the between core at index \(1,\) is not",
         lambda: bmt.BlockConstantMatrix([0, 1], torch.stack([EYE, -EYE]), ONES).logdet()),
        (IndefiniteMatrixError, r"the between core at index \(1,\) is not",
         lambda: bmt.BlockConstantMatrix([0, 1], torch.stack([EYE, -EYE]), ONES, check=False)
         .logdet()),
        (IndefiniteMatrixError, r"the between core at index \(1,\) is not positive",
         lambda: bmt.BlockConstantMatrix([0, 1], torch.tensor([1.0, -1]), ONES).logdet()),
        (IndefiniteMatrixError, r"whiten needs .* and within at index \(0,\) is not positive",
         lambda: bmt.BlockConstantMatrix([0, 0, 1], EYE, torch.tensor([0.0, 1])).whiten(
             torch.ones(3))),
        (IndefiniteMatrixError, r"logdet needs .* the factor core is not",
         lambda: bmt.BlockFactorMatrix([0, 1], -5 * EYE, 1.0).logdet()),
        (SingularMatrixError, r"solve needs an invertible matrix, and within at index \(0,\) is 0",
         lambda: bmt.BlockConstantMatrix([0, 0, 1], EYE, torch.zeros(2)).solve(torch.ones(3))),
        (SingularMatrixError, r"the between core at index \(1,\) is singular",
         lambda: bmt.BlockConstantMatrix([0, 1], torch.stack([EYE, 0 * EYE]), ONES).solve(ONES)),
        (SingularMatrixError, r"the between core at index \(1,\) is 0",
         lambda: bmt.BlockConstantMatrix([0, 1], torch.tensor([1.0, 0]), ONES).inv()),
        (ShapeError, r"x has shape \(4,\); expected \(3,\) or \(\.\.\., 3, m\)",
         lambda: bmt.BlockConstantMatrix([0, 1, 1], EYE, ONES) @ torch.ones(4)),
        (ShapeError, r"b has shape \(2, 2\); expected \(3,\) or \(\.\.\., 3, m\)",
         lambda: bmt.BlockConstantMatrix([0, 1, 1], EYE, ONES).solve(torch.ones(2, 2))),
        (ShapeError, r"x has shape \(3, 2\); expected \(\.\.\., 3\) \(one vector per row: x\.T\)",
         lambda: bmt.BlockConstantMatrix([0, 1, 1], EYE, ONES).whiten(torch.ones(3, 2))),
        (ShapeError, r"z has shape \(2,\); expected \(\.\.\., 3\)",
         lambda: bmt.BlockConstantMatrix([0, 1, 1], EYE, ONES).colorize(ONES)),
        (DtypeError, r"b has dtype torch\.int64",
         lambda: bmt.BlockConstantMatrix([0, 1], EYE, ONES).solve(torch.ones(2).long())),
        (TypeError, r"b is a list; expected a torch\.Tensor",
         lambda: bmt.BlockConstantMatrix([0, 1], EYE, ONES).solve([1, 2])),
        (PartitionMismatchError, r"live on different partitions",
         lambda: bmt.BlockConstantMatrix([0, 1], EYE, ONES)
         + bmt.BlockConstantMatrix([0, 0, 1], EYE, ONES)),
        (ShapeError, r"batch axes are left \(2,\), right \(3,\)",
         lambda: bmt.BlockConstantMatrix([0, 1], EYE, ONES.expand(2, 2))
         @ bmt.BlockConstantMatrix([0, 1], EYE, ONES.expand(3, 2))),
        (TypeError, r"between is a NoneType; expected a tensor or real numbers",
         lambda: bmt.BlockConstantMatrix([0, 1], None, ONES)),
        (TypeError, r"within is a list; expected a tensor or real numbers",
         lambda: bmt.BlockConstantMatrix([0, 1], EYE, ["a", 1.0])),
        (TypeError, r"between has the layout torch\.sparse_coo; expected a dense tensor",
         lambda: bmt.BlockConstantMatrix([0, 1], EYE.to_sparse(), ONES)),
        (TypeError, r"x has the layout torch\.sparse_coo; expected a dense tensor",
         lambda: bmt.BlockConstantMatrix([0, 1], EYE, ONES) @ EYE.to_sparse()),
        (ShapeError, r"b has the batch axes \(2,\); expected axes that .* the matrix, \(3,\)",
         lambda: bmt.BlockConstantMatrix([0, 1], EYE, ONES.expand(3, 2)).solve(
             torch.ones(2, 2, 1))),
        (ShapeError, r"x has the batch axes \(2,\); expected axes",
         lambda: torch.ones(2, 1, 2) @ bmt.BlockConstantMatrix([0, 1], EYE, ONES.expand(3, 2))),
        (ShapeError, r"z has the batch axes \(2,\); expected axes",
         lambda: bmt.BlockConstantMatrix([0, 1], EYE, ONES.expand(3, 2)).colorize(
             torch.ones(2, 2))),
        (TypeError, r"unsupported operand", lambda: plain(PARTITIONS["uniform"]) * None),
        (TypeError, r"unsupported operand", lambda: plain(PARTITIONS["uniform"]) @ [1, 2]),
        (TypeError, r"unsupported operand", lambda: plain(PARTITIONS["uniform"]) + 1),
        (ValueError, r"within is on meta; expected cpu, as between",
         lambda: bmt.BlockConstantMatrix([0, 1], EYE, ONES.to("meta"))),
    ],
)  # fmt: skip
def test_bad_input(error, message, call):
    with pytest.raises(error, match=message):
        call()


def test_elements_of_a_batch_are_matrices():
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=rng)
    C = (root @ root.mT).requires_grad_()
    noise = torch.rand(3, 7, dtype=torch.float64, generator=rng) + 1
    A = bmt.BlockFactorMatrix([0, 1, 1, 2, 3, 3, 3], C, noise, loadings=2.0)
    D = A.to_dense()
    for index in (0, -1, (1, 2), (slice(None), 1), torch.tensor([1, 0, 1]), ([0, 1], [2, 2])):
        part = A[index]
        torch.testing.assert_close(part.to_dense(), D[index], rtol=0, atol=0)
        assert part.batch_shape == D[index].shape[:-2]
    torch.testing.assert_close(A[..., 0].to_dense(), D[:, 0], rtol=0, atol=0)
    A[1, 2].logdet().backward()
    assert C.grad[1, 2].abs().sum() > 0
    assert C.grad[0].abs().sum() == 0
    with pytest.raises(IndexError):
        A[2]
    with pytest.raises(IndexError):
        A[0, 0, 0]
    with pytest.raises(TypeError, match="without batch axes has no elements"):
        A[0, 0][0]


def test_very_large_noise_leaves_a_variable_out():
    C = torch.tensor([[1.0, 0.5], [0.5, 2.0]], dtype=float)
    noise = torch.tensor([0.3, 1e12, 0.2], dtype=float)
    x = torch.tensor([1.0, 0.0, -2.0], dtype=float)
    three = bmt.BlockMultivariateNormal(
        torch.zeros_like(x), bmt.BlockFactorMatrix(["a", "a", "b"], C, noise)
    )
    two = bmt.BlockMultivariateNormal(
        torch.zeros(2, dtype=float), bmt.BlockFactorMatrix(["a", "b"], C, noise[::2])
    )
    constant = 0.5 * np.log(2 * np.pi * 1e12)
    check(three.log_prob(x) + constant, two.log_prob(x[::2]))
