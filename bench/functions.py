"""Times of inverses and matrix functions, against LAPACK on k x k and n x n matrices."""

import numpy as np
import scipy.linalg

import blockmat as bm
from bench import limits
from bench.harness import contest
from bench.rows import Row

TITLE = "Inverses and matrix functions"


def measure(quick: bool) -> list[Row]:
    n, k = (10**5, 200) if quick else (10**6, 500)
    return [*beside_lapack(n, k, quick), *beside_dense(900 if quick else 3000, 30, quick)]


def positive_definite(p: bm.Partition) -> bm.BlockConstantMatrix:
    rng = np.random.default_rng(0)
    k = p.n_blocks
    x = rng.standard_normal((k, 2 * k))
    return bm.BlockConstantMatrix(p, x @ x.T / k, 0.5 + rng.random(k))


def beside_lapack(n: int, k: int, quick: bool) -> list[Row]:
    """Compare with one LAPACK call for a k x k matrix."""
    A = positive_definite(bm.Partition.uniform(k, n // k))
    M = np.array(A.between)
    b = np.random.default_rng(1).standard_normal(n)
    rows = []
    for name in ("invsqrtm", "sqrtm", "logm", "expm", "logdet"):
        row = contest(
            f"{name}, k = {k}, n = {n}", getattr(A, name), quick=quick,
            peers={"eigh, default driver": lambda: scipy.linalg.eigh(M),
                   "eigh, driver evd": lambda: scipy.linalg.eigh(M, driver="evd")},
        )  # fmt: skip
        row.require("blockmat / eigh", 1 / row.ratio("eigh, default driver"), at_most=1.15)
        rows.append(row)
    row = contest(
        f"inv, k = {k}, n = {n}", A.inv, quick=quick,
        peers={"scipy.linalg.inv": lambda: scipy.linalg.inv(M),
               "inverse by LU": lambda: inverse_by_lu(M)},
    )  # fmt: skip
    row.require("blockmat / inverse by LU", 1 / row.ratio("inverse by LU"), at_most=1.15)
    rows.append(row)
    row = contest(
        f"solve, k = {k}, n = {n}", lambda: A.astype(A.dtype).solve(b),
        [lambda: scipy.linalg.lu_solve(scipy.linalg.lu_factor(M), b[:k]),
         limits.read(b), limits.read_write_new(b)],
        {"scipy.linalg.solve of the core": lambda: scipy.linalg.solve(M, b[:k])}, quick=quick,
    )  # fmt: skip
    row.require("blockmat / limit", 1 / row.ratio("limit"), at_most=1.15)
    rows.append(row)
    return rows


def inverse_by_lu(M):
    getrf, getri, getri_lwork = scipy.linalg.lapack.get_lapack_funcs(
        ("getrf", "getri", "getri_lwork"), (M,)
    )
    factors, pivots, _ = getrf(M)
    return getri(factors, pivots, lwork=int(getri_lwork(len(M))[0]), overwrite_lu=True)[0]


def beside_dense(n: int, k: int, quick: bool) -> list[Row]:
    """Compare with LAPACK for the n x n matrix."""
    A = positive_definite(bm.Partition.uniform(k, n // k))
    D = A.toarray()
    b = np.random.default_rng(1).standard_normal(n)

    def dense_invsqrtm():
        w, v = scipy.linalg.eigh(D)
        return (v * w**-0.5) @ v.T

    works = {
        "inv": (A.inv, lambda: scipy.linalg.inv(D)),
        "solve": (
            lambda: A.astype(A.dtype).solve(b),
            lambda: scipy.linalg.solve(D, b, assume_a="pos"),
        ),
        "logdet": (A.logdet, lambda: np.linalg.slogdet(D)),
        "invsqrtm": (A.invsqrtm, dense_invsqrtm),
    }
    return [
        contest(f"{name}, k = {k}, n = {n}", ours, peers={"dense LAPACK": dense}, quick=quick)
        for name, (ours, dense) in works.items()
    ]
