"""Times of products with vectors and matrices, against passes over memory and NumPy or SciPy code."""

import numpy as np
from scipy.linalg.blas import dgemm

import blockmat as bm
from bench import experts, limits
from bench.harness import contest
from bench.rows import LIMIT, Row

TITLE = "Products"


def measure(quick: bool) -> list[Row]:
    rng = np.random.default_rng(0)
    n = 10**6 if quick else 10**7
    return [
        *large(rng, n, 256, quick),
        single_precision(rng, n, 256, quick),
        *small(rng, quick),
        *matrices(rng, n // 10, 256, quick),
        aligned(rng, 256, 4096, quick),
    ]


def matrix(p: bm.Partition, dtype=np.float64) -> bm.BlockConstantMatrix:
    rng = np.random.default_rng(1)
    k = p.n_blocks
    core = rng.standard_normal((k, k)).astype(dtype)
    return bm.BlockConstantMatrix(p, core, 1 + rng.random(k).astype(dtype))


def consecutive(n: int, k: int) -> bm.Partition:
    """Contiguous blocks with unequal sizes around n / k."""
    rng = np.random.default_rng(2)
    return bm.Partition.from_sizes(1 + rng.multinomial(n - k, np.full(k, 1 / k)))


def shuffled(n: int, k: int) -> bm.Partition:
    rng = np.random.default_rng(2)
    return bm.Partition.from_labels(rng.permutation(consecutive(n, k).labels))


def large(rng, n: int, k: int, quick: bool) -> list[Row]:
    x, y = rng.standard_normal(n), np.ones(n)
    rows = []
    for kind, p, expert in (
        ("contiguous", consecutive(n, k), experts.contiguous_product),
        ("shuffled labels", shuffled(n, k), experts.labelled_product),
    ):
        A = matrix(p)
        labels = [] if p.is_contiguous else [limits.read(p.labels.view(np.float32))]
        wanted = 0.85 if p.is_contiguous else 0.6
        name = f"n = {n:.0e}, k = {k}, {kind}".replace("e+0", "e")
        passes = [limits.read(x), *labels, limits.read_write(x, y), *labels]
        row = contest(f"A.dot(x, out=y), {name}", lambda: A.dot(x, out=y), passes, quick=quick)
        row.require("limit / blockmat", row.ratio(LIMIT), at_least=wanted)
        rows.append(row)
        row = contest(
            f"A @ x, {name}", lambda: A @ x,
            [limits.read(x), *labels, limits.read_write_new(x), *labels],
            {"expert NumPy": expert(A, x), "scipy.sparse": experts.sparse_product(A, x)}, quick=quick,
        )  # fmt: skip
        row.require("limit / blockmat", row.ratio(LIMIT), at_least=wanted)
        if not p.is_contiguous:
            row.require("expert NumPy / blockmat", row.ratio("expert NumPy"), at_least=3)
        into_existing = contest("", lambda: A @ x, passes, quick=quick)
        row.notes["limit without a new array / blockmat"] = into_existing.ratio(LIMIT)
        rows.append(row)
    return rows


def single_precision(rng, n: int, k: int, quick: bool) -> Row:
    A = matrix(consecutive(n, k))
    B = A.astype(np.float32)
    size = f"{n:.0e}".replace("e+0", "e")
    x, y = rng.standard_normal(n), np.ones(n)
    x32, y32 = x.astype(np.float32), np.ones(n, np.float32)
    row = contest(
        f"A.dot(x, out=y), n = {size}, k = {k}, contiguous, float32", lambda: B.dot(x32, out=y32),
        [limits.read(x32), limits.read_write(x32, y32)],
        {"float64": lambda: A.dot(x, out=y)}, quick=quick,
    )  # fmt: skip
    row.require("float64 / float32", row.ratio("float64"), at_least=2)
    return row


def small(rng, quick: bool) -> list[Row]:
    rows = []
    for kind, p in (("contiguous", bm.Partition.uniform(8, 125)), ("shuffled", shuffled(1000, 8))):
        A = matrix(p)
        D, d, x = A.toarray(), rng.standard_normal(1000), rng.standard_normal(1000)
        row = contest(
            f"A @ x, n = 1000, k = 8, {kind}", lambda: A @ x, calls=1000, quick=quick,
            peers={"elementwise product": lambda: d * x, "dense": lambda: D @ x,
                   "scipy.sparse": experts.sparse_product(A, x)},
        )  # fmt: skip
        allowed = max(8.0, 4e6 * row.median("elementwise product"))
        row.require("microseconds", row.median() * 1e6, at_most=allowed)
        rows.append(row)
    return rows


def matrices(rng, n: int, k: int, quick: bool) -> list[Row]:
    rows = []
    for m in (16, 64):
        height = min(n, 16 * n // m)
        p, q = consecutive(height, k), shuffled(height, k)
        for order in "CF":
            X = np.asarray(rng.standard_normal((height, m)), order=order)
            Y = np.ones_like(X)
            flat, out = X.reshape(-1, order=order), Y.reshape(-1, order=order)
            A, B = matrix(p), matrix(q)
            name = f"X {height} x {m}, {'C' if order == 'C' else 'Fortran'} order"
            peers = {"shuffled labels": lambda: B.dot(X, out=Y)}
            if m == 16:
                peers["scipy.sparse"] = experts.sparse_product(A, X)
            row = contest(
                f"A.dot(X, out=Y), {name}", lambda: A.dot(X, out=Y),
                [limits.read(flat), limits.read_write(flat, out)], peers, quick=quick,
            )  # fmt: skip
            if m == 16:
                row.require("limit / blockmat", row.ratio(LIMIT), at_least=0.8)
            rows.append(row)
    X = rng.standard_normal((n, 16))
    A = matrix(consecutive(n, k))
    row = contest(
        f"A @ X, {n} x 16", lambda: A @ X,
        [limits.read(X), limits.read_write_new(X)], quick=quick,
    )  # fmt: skip
    row.require("limit / blockmat", row.ratio(LIMIT), at_least=0.8)
    rows.append(row)
    return rows


def aligned(rng, k: int, size: int, quick: bool) -> Row:
    core = rng.standard_normal((k, k))
    A = bm.BlockConstantMatrix(bm.Partition.uniform(k, size), core, rng.standard_normal((k, k)))
    x = rng.standard_normal(k * size)
    D, X = np.array(A.within), x.reshape(k, size)
    row = contest(
        f"aligned A @ x, {k} blocks of {size}", lambda: A @ x, quick=quick, rest=False,
        peers={"dgemm": lambda: dgemm(1, X.T, D.T)},  # the k x k product that it contains
    )  # fmt: skip
    row.require("blockmat / dgemm", 1 / row.ratio("dgemm"), at_most=1.2)
    return row
