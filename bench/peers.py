"""Times against linear_operator and CoLA, which get the same matrix as low rank plus diagonal."""

import contextlib
import io

import cola
import linear_operator
import numpy as np
import torch
from cola.linalg import CG, Hutch, Lanczos
from linear_operator.operators import (
    DiagLinearOperator,
    LowRankRootAddedDiagLinearOperator,
    LowRankRootLinearOperator,
)

import blockmat as bm
from bench.harness import contest
from bench.product import consecutive
from bench.rows import OURS, Row

TITLE = "Comparison with linear_operator and CoLA"
AGREEMENT = 1e-8


class Model:
    """A positive definite block matrix in three packages."""

    def __init__(self, n: int, k: int) -> None:
        rng = np.random.default_rng(0)
        p = consecutive(n, k)
        x = rng.standard_normal((k, 2 * k))
        within = 0.5 + rng.random(k)
        self.A = bm.BlockConstantMatrix(p, x @ x.T / k + np.diag(within), within)
        root = torch.from_numpy(np.linalg.cholesky(self.A.values)[p.labels])  # n x k, dense
        diagonal = torch.from_numpy(within[p.labels])
        self.T = LowRankRootAddedDiagLinearOperator(
            LowRankRootLinearOperator(root), DiagLinearOperator(diagonal)
        )
        dense = cola.ops.Dense
        self.C = cola.PSD(
            cola.ops.Sum(
                cola.ops.Product(dense(root), dense(root.T.contiguous())),
                cola.ops.Diagonal(diagonal),
            )
        )
        self.b = rng.standard_normal(n)
        self.column = torch.from_numpy(self.b)[:, None]


def measure(quick: bool) -> list[Row]:
    n, k = (30_000, 32) if quick else (10**6, 64)
    torch.set_num_threads(bm.get_num_threads())
    model = Model(n, k)
    A, T, C, b, column = model.A, model.T, model.C, model.b, model.column

    def by_contour_integral():
        with (
            linear_operator.settings.num_contour_quadrature(40),
            linear_operator.settings.minres_tolerance(1e-12),
            linear_operator.settings.max_cg_iterations(1000),
        ):
            return linear_operator.sqrt_inv_matmul(T, column)

    works = {
        "A @ b": (lambda: A @ b, lambda: T @ column, lambda: C @ column),
        "solve": (
            lambda: A.astype(A.dtype).solve(b),
            lambda: T.solve(column),
            lambda: cola.linalg.solve(C, column, CG(tol=1e-10, max_iters=1000)),
        ),
        "logdet": (A.logdet, T.logdet, None),
        "invsqrtm() @ b": (
            lambda: A.invsqrtm() @ b,
            by_contour_integral,
            lambda: cola.linalg.isqrt(C, Lanczos(max_iters=35, tol=1e-12)) @ column,
        ),
    }
    rows = []
    for work, (ours, theirs, colas) in works.items():
        peers = {"linear_operator": quietly(theirs)}
        if colas is not None:
            peers["CoLA"] = quietly(colas)
        results: dict = {}
        row = contest(f"{work}, n = {n}, k = {k}", ours, peers=peers, quick=quick, results=results)
        for name in peers:
            row.require(f"{name} / blockmat", row.ratio(name), at_least=10)
            difference = relative(results[name], results[OURS])
            row.require(f"relative difference to {name}", difference, at_most=AGREEMENT)
        rows.append(row)
    return [*rows, estimated_logdet(300 if quick else 1000, 8, quick)]


def estimated_logdet(n: int, k: int, quick: bool) -> Row:
    """Without a dense matrix CoLA estimates the log-determinant from random vectors: one small case."""
    model = Model(n, k)

    def estimate():
        algorithm = Lanczos(max_iters=k + 2, tol=1e-10), Hutch(tol=0.1, max_iters=1, bs=1)
        return cola.linalg.logdet(model.C, *algorithm)

    results: dict = {}
    row = contest(f"logdet, n = {n}, k = {k}", model.A.logdet,
                  peers={"CoLA, estimate": quietly(estimate)}, quick=quick, results=results)  # fmt: skip
    difference = relative(results["CoLA, estimate"], results[OURS])
    row.notes["relative error of CoLA's estimate"] = difference
    return row


def quietly(run):
    """Hide the progress bars of a peer."""

    def silent():
        with contextlib.redirect_stderr(io.StringIO()):
            return run()

    return silent


def relative(theirs, ours) -> float:
    theirs, ours = np.asarray(theirs).ravel(), np.asarray(ours).ravel()
    return float(np.linalg.norm(theirs - ours) / np.linalg.norm(ours))
