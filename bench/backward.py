"""Backward errors of solve and of products, per type, dtype and correlation."""

import numpy as np

import blockmat as bm
from bench.rows import Row
from tests.extended import backward_error, equicorrelated, error_of_product, norm_of_matrix

TITLE = "Backward errors, in units of eps of the dtype"
BY_GROUP = True

DTYPES = (np.float32, np.float64)
WITHIN = (0.5, 1e-2, 1e-6, 1e-12)  # one minus the correlation


def measure(quick: bool) -> list[Row]:
    """The largest errors over the right-hand sides: solve and product for each correlation."""
    rows, n = [], 10**5 if quick else 10**6
    for kind, make in KINDS.items():
        for dtype in DTYPES:
            notes = {}
            for within in WITHIN:
                A = make(n, within, dtype)
                notes[f"solve {within:g}"], notes[f"product {within:g}"] = worst(A)
            rows.append(Row(f"{kind}, {np.dtype(dtype).name}, n = {n}", notes=notes))
    return rows


def worst(A):
    """The largest backward error of solve, and the largest error of a product."""
    size = norm_of_matrix(A)
    solves, products = [], []
    for b in right_hand_sides(A.shape[0]):
        b = b.astype(A.dtype)
        solves.append(backward_error(A, A.solve(b), b, size))
        products.append(error_of_product(A, b, A @ b, size))
    return float(max(solves)), float(max(products))


def right_hand_sides(n):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(n)
    yield np.full(n, 1 / 3)
    yield noise - noise.mean()  # whose sums cancel
    yield noise + 1e4
    yield np.eye(1, n)[0]


def labels(n):
    return bm.Partition.from_labels(np.arange(n) * 7919 % 5 % 3)


def scaled(n, within, dtype):
    scale = np.exp(np.random.default_rng(1).standard_normal(n))
    return bm.ScaledBlockMatrix(equicorrelated(labels(n), within, dtype, False), scale).astype(
        dtype
    )


def low_rank(n, within, dtype):
    factor = 1e3 * np.random.default_rng(2).standard_normal((n, 3))
    return bm.BlockPlusLowRank(equicorrelated(labels(n), within, dtype, False), factor).astype(
        dtype
    )


KINDS = {
    "one block": lambda n, w, d: equicorrelated(bm.Partition.trivial(n), w, d, False),
    "three blocks, labelled": lambda n, w, d: equicorrelated(labels(n), w, d, False),
    "four aligned blocks": lambda n, w, d: equicorrelated(
        bm.Partition.uniform(4, n // 4), w, d, True
    ),
    "ScaledBlockMatrix": scaled,
    "BlockPlusLowRank": low_rank,
}
