"""BlockMultivariateNormal against torch's dense MultivariateNormal, and the rules of distributions."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.distributions import (
    Independent,
    MultivariateNormal,
    TransformedDistribution,
    kl_divergence,
)
from torch.distributions.transforms import AffineTransform

import blockmat as bm
import blockmat.torch as bmt

EPS = torch.finfo(torch.float64).eps
P = bm.Partition.from_labels(list("abacbbd"))
K = P.n_blocks


def tensor(*shape, seed=0, scale=1.0):
    return torch.tensor(np.random.default_rng(seed).normal(scale=scale, size=shape))


def definite(*batch, seed=0):
    x = tensor(*batch, K, K, seed=seed)
    return x @ x.mT + torch.eye(K, dtype=torch.float64)


def constant(*batch, seed=0):
    return bmt.BlockConstantMatrix(
        P, definite(*batch, seed=seed), tensor(*batch, K, seed=seed + 1).exp()
    )


def independent(*batch, seed=0):
    between, within = tensor(*batch, K, seed=seed).exp(), tensor(*batch, K, seed=seed + 1).exp()
    return bmt.BlockConstantMatrix(P, between, within, independent=True)


def factor(*batch, seed=0):
    noise, loadings = tensor(*batch, P.n, seed=seed + 1).exp(), tensor(*batch, P.n, seed=seed + 2)
    return bmt.BlockFactorMatrix(P, definite(*batch, seed=seed), noise, loadings)


def groups(*batch, seed=0):
    covariance, noise = tensor(*batch, K, seed=seed).exp(), tensor(*batch, K, seed=seed + 1).exp()
    return bmt.BlockFactorMatrix(P, covariance, noise, independent=True)


MATRICES = {"constant": constant, "independent": independent, "factor": factor, "groups": groups}
BATCHES = {
    "no batch": ((), ()),
    "both": ((3,), (3,)),
    "matrix": ((), (2, 3)),
    "loc": ((2, 3), (3,)),
}
over_matrices = pytest.mark.parametrize("make", MATRICES.values(), ids=list(MATRICES))
over_batches = pytest.mark.parametrize(("of_loc", "of_matrix"), BATCHES.values(), ids=list(BATCHES))


@pytest.fixture
def pairs(make, of_loc, of_matrix):
    """Return a distribution and its dense counterpart."""
    loc, matrix = tensor(*of_loc, P.n, seed=9), make(*of_matrix)
    return bmt.BlockMultivariateNormal(loc, matrix), MultivariateNormal(loc, matrix.to_dense())


def close(found, expected, size=1.0):
    """Assert equality to the rounding of a matrix with a condition number below 1e3."""
    torch.testing.assert_close(found, expected, rtol=1e5 * EPS, atol=1e5 * EPS * size)


@over_matrices
@over_batches
class TestAgainstDense:
    def test_shapes(self, pairs):
        found, dense = pairs
        assert found.batch_shape == dense.batch_shape
        assert found.event_shape == dense.event_shape == (P.n,)
        for shape in ((), (4,), (4, 2)):
            sample = found.sample(shape)
            assert sample.shape == dense.sample(shape).shape
            assert found.rsample(shape).shape == sample.shape
            assert found.log_prob(sample).shape == dense.log_prob(sample).shape

    def test_density(self, pairs):
        found, dense = pairs
        for shape in ((), (4,), (4, 2)):
            x = dense.sample(shape)
            close(found.log_prob(x), dense.log_prob(x), 100)
        point = tensor(P.n)  # broadcasts with the batch
        close(found.log_prob(point), dense.log_prob(point), 100)

    def test_moments_and_entropy(self, pairs):
        found, dense = pairs
        for name in ("mean", "mode", "variance", "stddev", "covariance_matrix"):
            value, expected = getattr(found, name), getattr(dense, name)
            assert value.shape == expected.shape
            close(value, expected, 10)
        assert found.entropy().shape == found.batch_shape
        close(found.entropy(), dense.entropy(), 10)

    def test_expand(self, pairs):
        found, _ = pairs
        for front in ((), (2,), (2, 3)):
            shape = torch.Size(front) + found.batch_shape
            expanded = found.expand(list(shape))
            assert type(expanded) is bmt.BlockMultivariateNormal
            assert expanded.batch_shape == shape
            sample = expanded.sample()
            assert sample.shape == shape + (P.n,)
            close(expanded.log_prob(sample), found.log_prob(sample), 100)
            close(expanded.mean, found.mean.expand(shape + (P.n,)))
            close(expanded.variance, found.variance.expand(shape + (P.n,)))
            close(expanded.entropy(), found.entropy().expand(shape))

    def test_divergence(self, pairs, make):
        p, dense_p = pairs
        for other in MATRICES.values():
            matrix, loc = other(seed=5), tensor(P.n, seed=6)
            q, dense_q = (
                bmt.BlockMultivariateNormal(loc, matrix),
                MultivariateNormal(loc, matrix.to_dense()),
            )
            close(kl_divergence(p, q), kl_divergence(dense_p, dense_q), 1000)
            close(kl_divergence(q, p), kl_divergence(dense_q, dense_p), 1000)
        close(kl_divergence(p, p), torch.zeros(p.batch_shape, dtype=torch.float64))


@over_matrices
def test_samples_have_the_mean_and_the_covariance(make):
    torch.manual_seed(0)
    n_samples = 40_000
    normal = bmt.BlockMultivariateNormal(tensor(P.n), make())
    x = normal.sample((n_samples,))
    errors = 5 * (normal.variance / n_samples).sqrt()  # five standard errors
    assert ((x.mean(0) - normal.mean).abs() < errors).all()
    centred, v = x - normal.mean, normal.variance
    covariance = normal.covariance_matrix
    error = ((covariance**2 + v[:, None] * v) / n_samples).sqrt()
    assert ((centred.mT @ centred / n_samples - covariance).abs() < 5 * error).all()


@over_matrices
def test_entropy_and_divergence_are_means_of_the_log_density(make):
    torch.manual_seed(1)
    n_samples = 40_000
    p, q = (bmt.BlockMultivariateNormal(tensor(P.n, seed=s), make(seed=s)) for s in (0, 3))
    x = p.sample((n_samples,))
    for values, expected in (
        (-p.log_prob(x), p.entropy()),
        (p.log_prob(x) - q.log_prob(x), kl_divergence(p, q)),
    ):
        assert (values.mean() - expected).abs() < 5 * values.std() / n_samples**0.5


def parameters_of(matrix):
    names = (
        ("between", "within")
        if isinstance(matrix, bmt.BlockConstantMatrix)
        else ("covariance", "noise", "loadings")
    )
    return [getattr(matrix, name).detach().clone().requires_grad_() for name in names]


@over_matrices
def test_derivatives(make):
    template = make()
    parts = parameters_of(template)
    loc, x = tensor(P.n).requires_grad_(), tensor(2, P.n, seed=4).requires_grad_()
    kind, is_independent = type(template), template.is_independent

    def normal(loc, parts):
        first, *others = parts
        if not is_independent:
            first = (first + first.mT) / 2
        matrix = kind(P, first, *others, independent=is_independent)
        return bmt.BlockMultivariateNormal(loc, matrix, validate_args=False)

    def log_prob(x, loc, *parts):
        return normal(loc, parts).log_prob(x)

    def rsample(loc, *parts):
        torch.manual_seed(0)
        return normal(loc, parts).rsample((2,))

    def others(loc, *parts):
        p = normal(loc, parts)
        q = bmt.BlockMultivariateNormal(tensor(P.n), make(seed=7))
        return p.entropy(), kl_divergence(p, q), kl_divergence(q, p)

    assert torch.autograd.gradcheck(log_prob, (x, loc, *parts))
    assert torch.autograd.gradcheck(rsample, (loc, *parts))
    assert torch.autograd.gradcheck(others, (loc, *parts))
    assert torch.autograd.gradgradcheck(log_prob, (x, loc, *parts))


@over_matrices
def test_other_distributions_of_torch_take_it(make):
    normal = bmt.BlockMultivariateNormal(tensor(3, P.n), make(3))
    dense = MultivariateNormal(normal.loc, normal.covariance_matrix)
    x = tensor(2, 3, P.n, seed=1)
    joint = Independent(normal, 1)
    assert joint.batch_shape == ()
    assert joint.event_shape == (3, P.n)
    close(joint.log_prob(x), Independent(dense, 1).log_prob(x), 100)
    transforms = [AffineTransform(1.0, 2.0)]
    close(
        TransformedDistribution(normal, transforms).log_prob(x),
        TransformedDistribution(dense, transforms).log_prob(x),
        100,
    )


@over_matrices
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies(make, copied):
    normal = bmt.BlockMultivariateNormal(tensor(P.n), make())
    x = tensor(P.n, seed=1)
    close(copied(normal).log_prob(x), normal.log_prob(x), 0)


@over_matrices
def test_single_precision_stays(make):
    normal = bmt.BlockMultivariateNormal(tensor(P.n).float(), make().to(torch.float32))
    x = normal.sample()
    results = [
        x,
        normal.log_prob(x),
        normal.entropy(),
        normal.mean,
        normal.variance,
        kl_divergence(normal, normal),
    ]
    assert {y.dtype for y in results} == {torch.float32}


def test_a_divergence_of_long_vectors_in_single_precision():
    """Terms of the size n cancel. The result has the rounding of single precision."""
    p, loc = bm.Partition.from_sizes([500_000] * 2), torch.zeros(1_000_000)
    first, second = (
        bmt.BlockMultivariateNormal(loc, bmt.BlockConstantMatrix(p, torch.eye(2), within))
        for within in (torch.ones(2), torch.tensor([1.001, 0.999]))
    )
    ratio = 1 / second.matrix.within.double()
    expected = 499_999 * (ratio - 1 - ratio.log()).sum() / 2
    found = kl_divergence(first, second)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=2.0**-23, atol=0)


def test_long_vectors():
    n, k = 1_000_000, 64
    p = bm.Partition.from_sizes(np.full(k, n // k))
    x = tensor(k, k, seed=2)
    M = (x @ x.mT / k + torch.eye(k, dtype=torch.float64)).requires_grad_()
    matrix = bmt.BlockConstantMatrix(p, M, torch.ones(k, dtype=torch.float64))
    normal = bmt.BlockMultivariateNormal(torch.zeros(n, dtype=torch.float64), matrix)
    y = normal.rsample()
    normal.log_prob(y).backward()
    # The sum of n squares has the mean n and the variance 2 n.
    quadratic = -2 * normal.log_prob(y) - matrix.logdet() - n * np.log(2 * np.pi)
    assert abs(quadratic - n) < 5 * (2 * n) ** 0.5
    assert torch.isfinite(M.grad).all()


# Arguments


def test_the_constraints_hold():
    normal = bmt.BlockMultivariateNormal(tensor(2, P.n), constant(2))
    for name, constraint in normal.arg_constraints.items():
        assert constraint.check(getattr(normal, name)).all()
    assert normal.support.check(normal.sample()).all()
    assert normal.has_rsample
    assert "BlockMultivariateNormal(loc: torch.Size([2, 7]), matrix: <2x7x7" in repr(normal)


@pytest.mark.parametrize(
    "matrix",
    [
        bmt.BlockConstantMatrix(P, -torch.eye(K), torch.ones(K)),
        bmt.BlockConstantMatrix(P, torch.eye(K), -torch.ones(K)),
        bmt.BlockConstantMatrix(P, torch.triu(torch.ones(K, K)), torch.ones(K)),
        bmt.BlockFactorMatrix(P, -torch.eye(K), 1.0),
    ],
)
def test_a_matrix_that_is_no_covariance_is_refused(matrix):
    with pytest.raises(ValueError, match="Expected parameter matrix"):
        bmt.BlockMultivariateNormal(torch.zeros(P.n), matrix, validate_args=True)
    bmt.BlockMultivariateNormal(torch.zeros(P.n), matrix, validate_args=False)


def test_wrong_arguments_are_refused():
    A = constant()
    with pytest.raises(TypeError, match="loc is a ndarray"):
        bmt.BlockMultivariateNormal(np.zeros(P.n), A)
    with pytest.raises(TypeError, match="matrix is a Tensor; expected a BlockConstantMatrix or"):
        bmt.BlockMultivariateNormal(tensor(P.n), torch.eye(P.n))
    for shape in ((), (6,), (7, 1)):
        with pytest.raises(bm.exceptions.ShapeError, match=r"expected \(..., 7\), as the matrix"):
            bmt.BlockMultivariateNormal(torch.zeros(shape), A)
    with pytest.raises(bm.exceptions.ShapeError, match=r"batch shape \(2,\); expected one that"):
        bmt.BlockMultivariateNormal(tensor(2, P.n), constant(3))
    with pytest.raises(ValueError, match="Expected parameter loc"):
        bmt.BlockMultivariateNormal(
            torch.full((P.n,), torch.nan, dtype=torch.float64), A, validate_args=True
        )


def test_wrong_points_are_refused():
    normal = bmt.BlockMultivariateNormal(tensor(P.n), constant(), validate_args=True)
    for x in (tensor(6), tensor(3, 1), torch.full((P.n,), torch.nan)):
        with pytest.raises(ValueError, match="value"):
            normal.log_prob(x)


def test_a_divergence_needs_the_same_blocks():
    normal = bmt.BlockMultivariateNormal(tensor(P.n), constant())
    other = bmt.BlockConstantMatrix([0] * P.n, torch.eye(1), torch.ones(1))
    with pytest.raises(bm.exceptions.PartitionMismatchError, match="expected the same blocks"):
        kl_divergence(normal, bmt.BlockMultivariateNormal(tensor(P.n), other))
