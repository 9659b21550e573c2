"""The demonstration: a real kernel matrix compressed, inverted and used.

Needs the ``demo`` extra. The matrix is the RBF kernel of scikit-learn's 1797 images
of handwritten digits, plus a small ridge.
"""

from collections.abc import Callable
from os import PathLike
from time import perf_counter
from typing import Any

import numpy as np
import scipy.linalg
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.sparse.linalg import LinearOperator, cg

import blockmat as bm
from blockmat.blocks.checks import Array
from blockmat.blocks.extras import import_extra
from blockmat.plot import plot_fit

GAMMA = 0.05
RIDGE = 0.1


def digits_kernel() -> tuple[Array, Array, Array]:
    """Return the images (1797, 64), their digits, and the kernel matrix with its ridge."""
    datasets = import_extra("sklearn.datasets", "demo", "the demo")
    pairwise = import_extra("sklearn.metrics.pairwise", "demo", "the demo")
    images, digits = datasets.load_digits(return_X_y=True)
    images = images / 16
    kernel = pairwise.rbf_kernel(images, gamma=GAMMA)
    kernel[np.diag_indices_from(kernel)] += RIDGE
    return images, digits, kernel


def run(picture: str | PathLike[str]) -> None:
    """Print the demonstration and save its picture.

    Parameters
    ----------
    picture : path-like
        Where to save the picture.
    """
    import_extra("matplotlib", "demo", "the demo")
    images, digits, kernel = digits_kernel()
    n = len(kernel)
    A = bm.fit(kernel, digits)
    print(f"RBF kernel of scikit-learn's digits, gamma {GAMMA}, ridge {RIDGE}: "
          f"{n} x {n}, {kernel.nbytes / 1e6:.1f} MB")  # fmt: skip
    print(
        f"Blocks: the {A.partition.n_blocks} digits, {_range_of(A.partition.sizes)} images each\n"
    )
    _print_errors(kernel, A)
    _print_times(kernel, A)
    _print_clusters(kernel, images)
    _print_conjugate_gradients(kernel, A)
    figure = plot_fit(kernel, A, f"RBF kernel of {n} digits, {A.partition.n_blocks} label blocks")
    figure.savefig(picture, dpi=110)
    print(f"\nPicture: {picture}")


def _range_of(sizes: Array) -> str:
    return f"{sizes.min()} to {sizes.max()}"


def _print_errors(kernel: Array, A: bm.BlockConstantMatrix) -> None:
    p, k = A.partition, A.partition.n_blocks
    one = bm.fit(kernel, p, numbers=1)
    aligned = bm.fit(kernel, p, aligned=True)
    pairs = sum(len(members) ** 2 for members, _ in p.size_classes)
    diagonal = bm.BlockConstantMatrix(
        bm.Partition.singletons(len(kernel)), np.diag(np.diag(kernel))
    )
    rows = [
        ("diagonal", len(kernel), 8 * len(kernel), diagonal),
        ("one number per block", k**2, one.nbytes, one),
        ("two in diagonal blocks", k**2 + k, A.nbytes, A),
        (f"aligned ({(pairs - k) // 2} equal pairs)", k**2 + pairs, aligned.nbytes, aligned),
    ]
    print(f"{'approximation':<26}{'numbers':>8}{'bytes':>9}{'of dense':>10}{'relative error':>16}")
    for name, numbers, nbytes, fit in rows:
        error = bm.approximation_error(kernel, fit)
        print(f"{name:<26}{numbers:>8}{nbytes:>9}{nbytes / kernel.nbytes:>10.1e}{error:>16.4f}")
    print()


def _print_times(kernel: Array, A: bm.BlockConstantMatrix) -> None:
    dense = A.toarray()
    b = np.random.default_rng(0).standard_normal(len(kernel))

    def dense_inverse_root() -> Array:
        w, v = scipy.linalg.eigh(dense)
        root: Array = (v / np.sqrt(w)) @ v.T
        return root

    rows: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
        ("inverse", A.inv, lambda: scipy.linalg.inv(dense)),
        ("inverse square root", A.invsqrtm, dense_inverse_root),
        ("log-determinant", A.logdet, lambda: np.linalg.slogdet(dense)[1]),
        ("solve, 1 right side", lambda: A.solve(b), lambda: scipy.linalg.solve(dense, b, assume_a="pos")),
    ]  # fmt: skip
    fit_time, _ = _timed(lambda: bm.fit(kernel, A.partition), 5)
    print(
        f"{'two numbers':<22}{'blockmat':>12}{'LAPACK':>12}{'ratio':>9}{'largest difference':>21}"
    )
    print(f"{'fit':<22}{_ms(fit_time):>12}{'-':>12}{'-':>9}{'-':>21}")
    for name, ours, theirs in rows:
        our_time, result = _timed(ours, 20)
        their_time, reference = _timed(theirs, 1)
        gap = np.abs(np.asarray(result) - reference).max() / np.abs(reference).max()
        print(f"{name:<22}{_ms(our_time):>12}{_ms(their_time):>12}"
              f"{their_time / our_time:>8.0f}x{gap:>21.1e}")  # fmt: skip
    print("(LAPACK on the same projected matrix; difference relative to the largest entry)\n")


def _print_clusters(kernel: Array, images: Array) -> None:
    tree = linkage(images, method="ward")
    print(f"{'Ward clusters of the images':<28}{'one number':>12}{'two numbers':>13}{'kept':>10}")
    for k in (10, 40, 100, 400):
        partition = bm.Partition.from_labels(cut_tree(tree, n_clusters=k).ravel())
        errors = [
            bm.approximation_error(kernel, bm.fit(kernel, partition, numbers=numbers))
            for numbers in (1, 2)
        ]
        print(f"{k:>8} blocks{'':<13}{errors[0]:>12.4f}{errors[1]:>13.4f}{k**2 + k:>10}")
    print()


def _print_conjugate_gradients(kernel: Array, A: bm.BlockConstantMatrix) -> None:
    b = np.random.default_rng(0).standard_normal(len(kernel))
    plain = _iterations(kernel, b, None)
    preconditioned = _iterations(kernel, b, A.inv())
    print(f"Conjugate gradients on the kernel itself (rtol 1e-8): {plain} iterations, "
          f"{preconditioned} with the block inverse\nas preconditioner: for a smooth kernel it does "
          f"not help.")  # fmt: skip


def _iterations(matrix: Array, b: Array, preconditioner: LinearOperator | None) -> int:
    count = 0

    def step(_: Array) -> None:
        nonlocal count
        count += 1

    cg(matrix, b, rtol=1e-8, maxiter=2000, M=preconditioner, callback=step)
    return count


def _timed(function: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Return the median time of some calls after a first one (one call: that one)."""
    times = []
    for _ in range(repeats + (repeats > 1)):
        start = perf_counter()
        result = function()
        times.append(perf_counter() - start)
    return float(np.median(times[1:] or times)), result


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms"
