"""Matrices for PyTorch: a density with gradient beside linear_operator, and a batch beside a loop."""

from typing import Any

import numpy as np
import torch
from linear_operator.operators import (
    DiagLinearOperator,
    LowRankRootAddedDiagLinearOperator,
    LowRankRootLinearOperator,
)

import blockmat as bm
import blockmat.torch as bmt
from bench.harness import contest
from bench.product import consecutive
from bench.rows import LIMIT, OURS, Row

GROUP = "PyTorch"
THEIRS = "linear_operator"


def measure(quick: bool) -> list[Row]:
    n, k = (30_000, 32) if quick else (10**6, 64)
    shape = (100, 200, 10) if quick else (1000, 500, 10)
    rows = [density(n, k, kind, quick) for kind in ("BlockConstantMatrix", "BlockFactorMatrix")]
    rows += [batch(*shape, kind, quick) for kind in ("BlockConstantMatrix", "BlockFactorMatrix")]
    for row in rows:
        row.group = GROUP
    return rows


class Density:
    """log N(y; 0, A) with A = diag(noise) + diag(s) Z L L^T Z^T diag(s), in two packages.

    For linear_operator its root diag(s) Z L, n x k, is made before the measurement. Gradients are
    with respect to this root here, and to the k x k matrix L there.
    """

    def __init__(self, n: int, k: int, kind: str) -> None:
        rng = np.random.default_rng(0)
        self.p, self.is_factor = consecutive(n, k), kind == "BlockFactorMatrix"
        self.labels = torch.from_numpy(np.array(self.p.labels))
        self.y = torch.from_numpy(rng.standard_normal(n))
        x = torch.from_numpy(rng.standard_normal((k, 2 * k)))
        eye = torch.eye(k, dtype=torch.float64)
        self.root = torch.linalg.cholesky(x @ x.T / (2 * k) + 0.1 * eye).requires_grad_()
        size = n if self.is_factor else k
        self.noise = torch.from_numpy(0.5 + rng.random(size)).requires_grad_()
        loadings = 0.5 + rng.random(n) if self.is_factor else np.ones(n)
        self.loadings = torch.from_numpy(loadings)
        lifted = self.loadings[:, None] * self.root.detach()[self.labels]
        noise = self.noise.detach() if self.is_factor else self.noise.detach()[self.labels]
        self.lifted, self.diagonal = lifted.requires_grad_(), noise.requires_grad_()

    def matrix(self) -> bmt.BlockConstantMatrix | bmt.BlockFactorMatrix:
        C = self.root @ self.root.T
        if self.is_factor:
            return bmt.BlockFactorMatrix(self.p, C, self.noise, self.loadings)
        return bmt.BlockConstantMatrix.from_values(self.p, C, C.diagonal() + self.noise)

    def ours(self) -> tuple[Any, ...]:
        """The value, and its gradients with respect to the root and to the noise."""
        value = bmt.BlockMultivariateNormal(torch.zeros_like(self.y), self.matrix()).log_prob(
            self.y
        )
        return value, *torch.autograd.grad(value, (self.root, self.noise))

    def theirs(self) -> tuple[Any, ...]:
        A = LowRankRootAddedDiagLinearOperator(
            LowRankRootLinearOperator(self.lifted), DiagLinearOperator(self.diagonal)
        )
        inv_quad, logdet = A.inv_quad_logdet(self.y[:, None], logdet=True)
        value = -(inv_quad + logdet + len(self.y) * np.log(2 * np.pi)) / 2
        return value, *torch.autograd.grad(value, (self.lifted, self.diagonal))

    @torch.no_grad()
    def largest_difference(self, ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> float:
        """Of the values and of the gradients, relative to the norm of each."""
        value, root, noise = theirs
        root = torch.zeros_like(self.root).index_add(0, self.labels, self.loadings[:, None] * root)
        if not self.is_factor:
            noise = torch.zeros_like(self.noise).index_add(0, self.labels, noise)
        pairs = zip((value, root, noise), ours, strict=True)
        return max(float((b - a).norm() / a.norm()) for b, a in pairs)


def density(n: int, k: int, kind: str, quick: bool) -> Row:
    model = Density(n, k, kind)
    results: dict = {}
    row = contest(
        f"log_prob with gradient, {kind}, n = {n}, k = {k}", model.ours,
        peers={THEIRS: model.theirs}, quick=quick, results=results,
    )  # fmt: skip
    row.require(f"{THEIRS} / blockmat", row.ratio(THEIRS), at_least=10)
    difference = model.largest_difference(results[OURS], results[THEIRS])
    row.require("relative difference", difference, at_most=1e-8)
    return row


def batch(size: int, n: int, k: int, kind: str, quick: bool) -> Row:
    """logdet and solve of a batch, beside loops and beside what no implementation can avoid."""
    rng = np.random.default_rng(0)
    p = consecutive(n, k)
    x = torch.from_numpy(rng.standard_normal((size, k, 2 * k)))
    C = x @ x.mT / (2 * k)
    b = torch.from_numpy(rng.standard_normal((size, n)))
    if kind == "BlockFactorMatrix":
        more = [torch.from_numpy(0.5 + rng.random((size, n))) for _ in range(2)]  # noise, loadings
    else:
        more = [torch.from_numpy(0.5 + rng.random((size, k)))]
    make, make_numpy = getattr(bmt, kind), getattr(bm, kind)
    A = make(p, C, *more)
    each = [make(p, *parts) for parts in zip(C, *more, strict=True)]
    in_numpy = [make_numpy(p, *(x.numpy() for x in parts)) for parts in zip(C, *more, strict=True)]

    def numpy_loop() -> Any:
        fresh = [B.astype(B.dtype) for B in in_numpy]  # without factors of an earlier call
        pairs = [(B.logdet(), B.solve(v)) for B, v in zip(fresh, b.numpy(), strict=True)]
        return tuple(np.stack(parts) for parts in zip(*pairs, strict=True))

    def torch_loop() -> Any:
        pairs = [(B.logdet(), B.solve(v)) for B, v in zip(each, b, strict=True)]
        return tuple(torch.stack(parts) for parts in zip(*pairs, strict=True))

    core = C + torch.eye(k, dtype=torch.float64)
    data = [b, *more] if kind == "BlockFactorMatrix" else [b]
    results: dict = {}
    row = contest(
        f"logdet and solve of {size} matrices, {kind}, n = {n}, k = {k}",
        lambda: (A.logdet(), A.solve(b[..., None])[..., 0]),
        [lambda: torch.linalg.cholesky(core), *[lambda a=a: (a * 2).sum() for a in data] * 2],
        peers={"NumPy loop": numpy_loop, "PyTorch loop": torch_loop},
        quick=quick, results=results,
    )  # fmt: skip
    for name in ("NumPy loop", "PyTorch loop"):
        for ours, theirs in zip(results[OURS], results[name], strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-8, atol=1e-10)
        row.require(f"{name} / blockmat", row.ratio(name), at_least=20)
    row.require("blockmat / limit", 1 / row.ratio(LIMIT), at_most=3)
    return row
