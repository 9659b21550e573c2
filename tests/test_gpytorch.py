"""Matrices of blockmat.torch as operators of linear_operator, and in models of GPyTorch."""

import copy
import pickle
import subprocess
import sys
import textwrap

import gpytorch
import linear_operator
import numpy as np
import pytest
import torch
from linear_operator.operators import (
    AddedDiagLinearOperator,
    BlockDiagLinearOperator,
    ConstantDiagLinearOperator,
    DenseLinearOperator,
    DiagLinearOperator,
)

import blockmat as bm
import blockmat.torch as bmt
from blockmat.torch.linear_operator import BlockLinearOperator
from tests.test_torch_distributions import MATRICES, P, tensor

EPS = torch.finfo(torch.float64).eps
BATCHES = [(), (3,), (2, 3)]
over_matrices = pytest.mark.parametrize("make", MATRICES.values(), ids=list(MATRICES))
over_batches = pytest.mark.parametrize("batch", BATCHES, ids=str)


@pytest.fixture
def matrix(make, batch):
    """Return a matrix whose tensors require gradients."""
    return make(*batch).with_tensors(*(x.clone().requires_grad_() for x in make(*batch).tensors))


@pytest.fixture
def operator(matrix):
    return matrix.as_linear_operator()


@pytest.fixture
def dense(operator):
    """Return the entries, which come from the formula of the matrix and not from the operator."""
    return operator.matrix.to_dense().detach()


def close(found, expected, size=1.0):
    """Assert equality to the rounding of a matrix with a condition number below 1e3."""
    torch.testing.assert_close(found, expected, rtol=1e5 * EPS, atol=1e5 * EPS * size)


@over_matrices
@over_batches
class TestAgainstDense:
    def test_shape_and_type(self, operator, dense):
        assert isinstance(operator, linear_operator.LinearOperator)
        assert operator.shape == dense.shape
        assert operator.batch_shape == dense.shape[:-2]
        assert operator.dtype == torch.float64
        assert operator.requires_grad
        assert not operator.detach().requires_grad
        close(operator.mT.to_dense(), dense)

    def test_entries(self, operator, dense):
        close(operator.to_dense(), dense)
        close(operator.diagonal(), dense.diagonal(dim1=-2, dim2=-1))
        rows, columns = torch.tensor([0, 3, 3]), torch.tensor([2, 3, 0])
        for index in (
            (..., 0, 1),
            (..., 2, slice(None)),
            (..., slice(None), 4),
            (..., slice(1, 4), slice(2, 7, 2)),
            (..., rows, slice(1, 3)),
            (..., slice(None), columns),
            (..., rows, columns),
        ):
            found = linear_operator.to_dense(operator[index])
            assert found.shape == dense[index].shape
            close(found, dense[index])

    def test_products(self, operator, dense):
        for x in (tensor(P.n), tensor(P.n, 2), tensor(*dense.shape[:-2], P.n, 2)):
            close(operator @ x, dense @ x, 10)
            close(operator._matmul(x), dense @ x, 10)
        left = tensor(2, P.n)
        close(left @ operator, left @ dense, 10)

    def test_solutions(self, operator, dense):
        b, left = tensor(*dense.shape[:-2], P.n, 2), tensor(2, P.n)
        expected = torch.linalg.solve(dense, b)
        close(operator.solve(b), expected, 10)
        close(torch.linalg.solve(operator, b), expected, 10)
        close(operator.solve(b, left), left @ expected, 10)
        close(operator.inverse().to_dense(), torch.linalg.inv(dense), 10)

    def test_quadratic_forms_and_determinants(self, operator, dense):
        b = tensor(*dense.shape[:-2], P.n, 2)
        forms = (b * torch.linalg.solve(dense, b)).sum(-2)
        close(operator.logdet(), torch.logdet(dense), 10)
        close(torch.logdet(operator), torch.logdet(dense), 10)
        close(operator.inv_quad(b), forms.sum(-1), 10)
        for is_sum in (True, False):
            form, logdet = operator.inv_quad_logdet(b, logdet=True, reduce_inv_quad=is_sum)
            close(form, forms.sum(-1) if is_sum else forms, 10)
            close(logdet, torch.logdet(dense), 10)
        assert operator.inv_quad_logdet(b)[1] is None
        form, logdet = operator.inv_quad_logdet(logdet=True)
        assert form is None
        close(logdet, torch.logdet(dense), 10)

    def test_roots(self, operator, dense):
        L = operator.root_decomposition().root
        W = operator.root_inv_decomposition().root
        close(L.to_dense() @ L.to_dense().mT, dense, 10)
        close(W.to_dense() @ W.to_dense().mT, torch.linalg.inv(dense), 10)
        for root in (L, W):
            close(root.mT.to_dense(), root.to_dense().mT, 10)
            close(root @ tensor(P.n), root.to_dense() @ tensor(P.n), 10)
        close(operator.cholesky().to_dense(), torch.linalg.cholesky(dense), 10)
        close(operator.root_decomposition("cholesky").to_dense(), dense, 10)

    def test_sums_and_multiples(self, operator, dense):
        eye = torch.eye(P.n, dtype=torch.float64)
        diagonal = tensor(P.n).exp()
        for found, expected in (
            (operator.add_jitter(0.5), dense + 0.5 * eye),
            (operator.add_diagonal(torch.tensor([0.5])), dense + 0.5 * eye),
            (operator.add_diagonal(diagonal), dense + diagonal.diag()),
            (operator + DiagLinearOperator(diagonal), dense + diagonal.diag()),
            (operator + ConstantDiagLinearOperator(torch.tensor([2.0]), P.n), dense + 2 * eye),
            (operator * 3.0, 3 * dense),
        ):
            assert isinstance(found, BlockLinearOperator)
            close(found.to_dense(), expected, 10)
        for found, expected in (
            (operator * -3.0, -3 * dense),
            (operator + operator, 2 * dense),
            (operator - operator, torch.zeros_like(dense)),
            (operator + DenseLinearOperator(eye), dense + eye),
            (DiagLinearOperator(diagonal) + operator, dense + diagonal.diag()),
        ):
            close(linear_operator.to_dense(found), expected, 10)

    def test_batches(self, operator, dense):
        expanded = operator.expand(4, *dense.shape)
        close(expanded.to_dense(), dense.expand(4, *dense.shape))
        close(expanded.logdet(), torch.logdet(dense).expand(4, *dense.shape[:-2]), 10)
        close(operator.unsqueeze(0).to_dense(), dense.unsqueeze(0))
        if dense.ndim > 2:
            close(operator[0].to_dense(), dense[0])
            close(operator[..., 1:, :, :].to_dense(), dense[..., 1:, :, :])
            close(operator.sum(0).to_dense(), dense.sum(0), 10)
        repeated = operator.repeat(2, *[1] * dense.ndim)
        close(repeated.to_dense(), dense.repeat(2, *[1] * dense.ndim))
        logdets = torch.logdet(dense)
        close(repeated.logdet(), logdets.repeat(2, *[1] * logdets.ndim), 10)
        if dense.ndim > 2:  # tasks of a multitask model
            close(BlockDiagLinearOperator(operator).logdet(), logdets.sum(-1), 10)

    def test_representation(self, operator, dense):
        again = operator.representation_tree()(*operator.representation())
        assert type(again) is BlockLinearOperator
        close(again.to_dense(), dense)
        detached = operator.detach()
        for copied in (copy.deepcopy(detached), pickle.loads(pickle.dumps(detached))):
            close(copied.to_dense(), dense)

    def test_gradients(self, operator, matrix):
        x = tensor(*matrix.batch_shape, P.n, 2)

        def gradients(number):
            return torch.autograd.grad(number, matrix.tensors, allow_unused=True, retain_graph=True)

        dense = matrix.to_dense()
        form = (x * torch.linalg.solve(dense, x)).sum()
        for found, expected in (
            (
                sum(y.sum() for y in operator.inv_quad_logdet(x, logdet=True)),
                form + torch.logdet(dense).sum(),
            ),
            ((x * (operator @ x)).sum(), (x * (dense @ x)).sum()),
            ((operator + operator)._matmul(x).sum(), 2 * (dense @ x).sum()),
            (
                (operator + DenseLinearOperator(torch.ones_like(dense))).matmul(x).sum(),
                (dense @ x).sum(),
            ),
        ):
            for mine, theirs in zip(gradients(found), gradients(expected), strict=True):
                close(mine, theirs, 1000)


@over_matrices
def test_second_derivatives(make):
    template, x = make(), tensor(P.n, 2)
    tensors = [y.clone().requires_grad_() for y in template.tensors]

    def numbers(*tensors):
        first, *others = tensors
        if first.ndim > 1:
            first = (first + first.mT) / 2
        operator = template.with_tensors(first, *others).as_linear_operator()
        return *operator.inv_quad_logdet(x, logdet=True), operator.solve(x), operator @ x

    assert torch.autograd.gradcheck(numbers, tensors)
    assert torch.autograd.gradgradcheck(numbers, tensors)


@over_matrices
@over_batches
def test_distributions_of_gpytorch(matrix):
    loc = tensor(*matrix.batch_shape, P.n, seed=3)
    mvn = gpytorch.distributions.MultivariateNormal(loc, matrix.as_linear_operator())
    theirs = torch.distributions.MultivariateNormal(loc, matrix.to_dense())
    ours = bmt.BlockMultivariateNormal(loc, matrix)
    for x in (loc + 1, tensor(5, *loc.shape)):
        close(mvn.log_prob(x), theirs.log_prob(x), 100)
        close(mvn.log_prob(x), ours.log_prob(x), 100)
    close(mvn.variance, theirs.variance)
    torch.manual_seed(0)
    samples = mvn.rsample(torch.Size([3]))
    assert samples.shape == (3, *loc.shape)
    samples.sum().backward()
    assert matrix.tensors[0].grad is not None
    other = gpytorch.distributions.MultivariateNormal(loc, torch.eye(P.n, dtype=torch.float64))
    dense_other = torch.distributions.MultivariateNormal(loc, torch.eye(P.n, dtype=torch.float64))
    kl = torch.distributions.kl_divergence
    close(kl(mvn, other), kl(theirs, dense_other), 100)
    close(kl(other, mvn), kl(dense_other, theirs), 100)


@over_matrices
def test_samples_have_the_covariance(make):
    torch.manual_seed(0)
    operator, n_samples = make().as_linear_operator(), 40_000
    x, covariance = operator.zero_mean_mvn_samples(n_samples), make().to_dense()
    v = covariance.diagonal()
    error = ((covariance**2 + v[:, None] * v) / n_samples).sqrt()
    assert ((x.mT @ x / n_samples - covariance).abs() < 5 * error).all()


@over_matrices
def test_nothing_of_size_n_squared_is_made(make, monkeypatch):
    operator = make().as_linear_operator()
    monkeypatch.setattr(type(operator.matrix), "to_dense", None)
    with linear_operator.settings.max_cholesky_size(10_000):
        mvn = gpytorch.distributions.MultivariateNormal(tensor(P.n), operator)
        likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
        noisy = likelihood(mvn)
        loss = noisy.log_prob(tensor(P.n)) + noisy.variance.sum()
        (loss + noisy.rsample(torch.Size([2])).sum()).backward()
    assert likelihood.noise_covar.raw_noise.grad.isfinite().all()


def test_a_model_learns_a_grouped_covariance():
    torch.manual_seed(0)
    p = bm.Partition.from_sizes([4, 3])
    true = bmt.BlockConstantMatrix.from_values(
        p, torch.tensor([[0.6, -0.3], [-0.3, 0.4]]), torch.tensor([1.0, 2.0])
    )
    samples = bmt.BlockMultivariateNormal(torch.ones(7), true).sample((500,))
    covariance = bmt.LogCholesky(p)
    mean = torch.nn.Parameter(torch.zeros(7))
    parameters = torch.nn.Parameter(torch.zeros(covariance.n_parameters))
    optimizer = torch.optim.LBFGS([mean, parameters], line_search_fn="strong_wolfe", max_iter=50)

    def loss():
        optimizer.zero_grad()
        operator = covariance(parameters).as_linear_operator()
        value = -gpytorch.distributions.MultivariateNormal(mean, operator).log_prob(samples).mean()
        value.backward()
        return value

    first = loss().item()
    optimizer.step(loss)
    assert loss().item() < first - 1
    # The maximum of the likelihood is the fit of the sample covariance.
    centred = (samples - samples.mean(0)).double()
    fit = bm.fit((centred.mT @ centred / len(samples)).numpy(), p)
    learned = covariance(parameters).detach().to_dense()
    np.testing.assert_allclose(learned, fit.toarray(), rtol=0, atol=2e-2)


def test_noise_of_each_variable_makes_a_factor_matrix():
    A = bmt.BlockConstantMatrix(P, torch.eye(P.n_blocks), torch.ones(P.n_blocks))
    noise = torch.rand(P.n)
    B = A.add_diagonal(noise)
    assert isinstance(B, bmt.BlockFactorMatrix)
    torch.testing.assert_close(B.to_dense(), A.to_dense() + noise.diag())
    C = A.add_diagonal(torch.arange(1.0, 5.0))
    assert isinstance(C, bmt.BlockConstantMatrix)
    expected = A.to_dense() + torch.arange(1.0, 5.0)[torch.tensor(P.labels)].diag()
    torch.testing.assert_close(C.to_dense(), expected)
    assert isinstance(A.as_linear_operator().add_diagonal(noise).to_dense(), torch.Tensor)
    with pytest.raises(bm.exceptions.ShapeError, match=r"values has shape \(3,\)"):
        A.add_diagonal(torch.ones(3))


def test_both_diagonals_of_added_operators_count():
    A = bmt.BlockConstantMatrix(P, torch.eye(P.n_blocks), torch.ones(P.n_blocks))
    total = A.as_linear_operator() + DiagLinearOperator(torch.ones(P.n))
    assert not isinstance(total, AddedDiagLinearOperator)
    torch.testing.assert_close(total.logdet(), P.n * torch.tensor(2.0).log())


@over_matrices
def test_a_difference_with_a_diagonal(make):
    """It may be positive definite although the noise of a BlockFactorMatrix would be negative."""
    operator = make().as_linear_operator()
    dense, numbers = operator.matrix.to_dense(), torch.linspace(0.5, 3.0, P.n).double()
    diagonal = DiagLinearOperator(numbers)
    total = operator - diagonal
    close(total.to_dense(), dense - numbers.diag())
    close(total @ torch.ones(P.n).double(), (dense - numbers.diag()).sum(1), 10)
    close((operator + 0.0 * diagonal).to_dense(), dense)


def test_a_diagonal_of_numbers_of_blocks_is_refused():
    operator = MATRICES["constant"]().as_linear_operator()
    with pytest.raises(bm.exceptions.ShapeError, match=r"diag has shape \(4,\); expected \(\),"):
        operator.add_diagonal(torch.ones(4).double())


def test_the_diagonal_of_blocks_of_one_variable():
    p = bm.Partition.from_labels([2, 0, 1])
    operator = bmt.BlockConstantMatrix(p, torch.eye(3), torch.ones(3)).as_linear_operator()
    numbers = torch.tensor([1.0, 2.0, 3.0])
    expected = torch.eye(3) + numbers.diag()
    torch.testing.assert_close((operator + DiagLinearOperator(numbers)).to_dense(), expected)


def test_linear_operator_is_imported_only_where_it_is_used():
    code = """
        import sys
        import torch, blockmat.torch as bmt
        assert "linear_operator" not in sys.modules
        sys.modules["linear_operator"] = None
        A = bmt.BlockConstantMatrix([0, 0], torch.eye(1), torch.ones(1))
        try:
            A.as_linear_operator()
        except ImportError as error:
            print(error)
    """
    code = textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "blockmat[gpytorch]"' in done.stdout
