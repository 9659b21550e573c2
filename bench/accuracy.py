"""The largest relative error of each operation, per dtype, against dense NumPy and SciPy."""

import numpy as np
import scipy.linalg

import blockmat as bm
from bench.rows import Row
from blockmat.testing import project_dense

DTYPES = (np.float32, np.float64, np.complex64, np.complex128)
SEEDS = range(10)
PARTITIONS = (
    bm.Partition.from_sizes([7, 1, 4, 12]),
    bm.Partition.from_labels([2, 0, 1, 2, 0, 2, 3, 1, 3, 2, 3, 0]),
    bm.Partition.uniform(5, 6),
    bm.Partition.singletons(8),
    bm.Partition.trivial(20),
)
CONDITION = 1e3

TITLE = "Largest relative error, in units of eps of the dtype"
BY_GROUP = True


def measure(quick: bool) -> list[Row]:
    """The largest error of each operation over all matrices, one number per dtype."""
    worst: dict[str, dict[str, float]] = {}
    for dtype in DTYPES:
        eps, column = np.finfo(dtype).eps, np.dtype(dtype).name
        for A in matrices(dtype, SEEDS[:1] if quick else SEEDS):
            D = A.astype(np.result_type(dtype, float)).toarray()
            for name, (result, dense, condition) in operations(A, D).items():
                error = np.linalg.norm(np.asarray(result) - dense) / np.linalg.norm(dense)
                errors = worst.setdefault(name, dict.fromkeys(map(name_of, DTYPES), 0.0))
                errors[column] = max(errors[column], float(error / eps / condition))
    return [Row(name, notes=errors) for name, errors in worst.items()]


def name_of(dtype) -> str:
    return np.dtype(dtype).name


def matrices(dtype, seeds):
    """Positive definite matrices with cores of condition number up to 1000."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for p in PARTITIONS:
            for aligned in (False, True):
                within = CONDITION ** -rng.random(p.n_blocks)
                if aligned:
                    within = np.zeros((p.n_blocks, p.n_blocks), np.result_type(dtype, float))
                    for members, _ in p.size_classes:
                        within[np.ix_(members, members)] = core(rng, len(members), dtype)
                yield bm.BlockConstantMatrix(
                    p, core(rng, p.n_blocks, dtype).astype(dtype), within.astype(dtype)
                )


def core(rng, k, dtype):
    x = rng.standard_normal((k, k))
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal((k, k))
    basis, _ = np.linalg.qr(x)
    values = CONDITION ** -rng.random(k)
    product = (basis * values) @ basis.conj().T
    return (product + product.conj().T) / 2


def operations(A, D):
    """Per operation: blockmat's result, the dense result, and the number to divide the error by."""
    n = len(D)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 3)).astype(A.dtype)
    cond = np.linalg.cond(D)
    w, v = np.linalg.eigh(D)

    def function(f):
        return (v * f(w)) @ v.conj().T

    source = (D + 0.1 * rng.standard_normal((n, n))).astype(A.dtype)
    double = source.astype(D.dtype)
    fitted = bm.fit(source, A.partition, aligned=A.is_aligned)
    X = rng.standard_normal((n, 40)).astype(A.dtype).T
    wide = X.astype(D.dtype)
    deviations = wide - wide.mean(0)
    covariance = deviations.T @ deviations.conj() / 39
    samples = bm.fit_samples(X, A.partition, aligned=A.is_aligned)
    values, multiplicities = A.eigvalsh()
    return {
        "toarray": (A, D, 1),
        "A @ x": (A @ x, D @ x.astype(D.dtype), 1),
        "A + A.H": (A + A.H, D + D.conj().T, 1),
        "A @ A": (A @ A, D @ D, 1),
        "fit": (fitted, project_dense(double, A.partition, aligned=A.is_aligned), 1),
        "fit_samples": (samples, project_dense(covariance, A.partition, aligned=A.is_aligned), 1),
        "trace": (A.trace(), np.trace(D), 1),
        "norm": (A.norm(), np.linalg.norm(D), 1),
        "norm(2)": (A.norm(2), np.linalg.norm(D, 2), 1),
        "norm(1)": (A.norm(1), np.linalg.norm(D, 1), 1),
        "eigvalsh": (np.repeat(values, multiplicities), w, 1),
        "sqrtm": (A.sqrtm(), function(np.sqrt), 1),
        "expm": (A.expm(), scipy.linalg.expm(D), 1),
        "nearest_psd": (A.nearest_psd(), D, 1),
        "logdet / cond": (A.logdet(), np.log(w).sum(), cond),
        "inv / cond": (A.inv(), np.linalg.inv(D), cond),
        "solve / cond": (A.solve(x), np.linalg.solve(D, x.astype(D.dtype)), cond),
        "pinv / cond": (A.pinv(), np.linalg.inv(D), cond),
        "invsqrtm / cond": (A.invsqrtm(), function(lambda w: w**-0.5), cond),
        "powm(-1.5) / cond": (A.powm(-1.5), function(lambda w: w**-1.5), cond),
        "logm / cond": (A.logm(), function(np.log), cond),
        "funm(cos) / cond": (A.funm(np.cos), function(np.cos), cond),
    }
