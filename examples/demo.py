"""Approximate a kernel matrix by blocks, then invert it and solve with it.

    python examples/demo.py

The matrix is the RBF kernel of scikit-learn's 1797 images of handwritten digits, with a small
multiple of the identity added. The program prints the errors of the approximations and the times
beside LAPACK, and draws the matrix and its approximation. It needs the extra "demo".
"""

import argparse
from time import perf_counter
from typing import NamedTuple

import numpy as np
import scipy.linalg
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.sparse.linalg import cg
from sklearn.datasets import load_digits
from sklearn.metrics.pairwise import rbf_kernel

import blockmat as bm
from blockmat.plot import plot_fit

GAMMA = 0.05
RIDGE = 0.1


class Approximation(NamedTuple):
    """An approximation of the kernel matrix: how many numbers it stores, and its error."""

    name: str
    numbers: int
    nbytes: int
    error: float


def digits_kernel():
    """Return the images (1797, 64), their digits, and the kernel matrix."""
    images, digits = load_digits(return_X_y=True)
    images = images / 16
    kernel = rbf_kernel(images, gamma=GAMMA)
    kernel[np.diag_indices_from(kernel)] += RIDGE
    return images, digits, kernel


def by_digits(kernel, digits):
    """Approximate the kernel by its diagonal, and by blocks of images of one digit."""
    n = len(kernel)
    diagonal = bm.BlockConstantMatrix(
        bm.Partition.singletons(n), np.diag(np.diag(kernel))
    )
    one = bm.fit(kernel, digits, numbers=1)
    two = bm.fit(kernel, digits)
    aligned = bm.fit(kernel, digits, aligned=True)
    k = two.partition.n_blocks
    pairs = sum(len(members) ** 2 for members, _ in two.partition.size_classes)
    rows = [
        ("diagonal", n, 8 * n, diagonal),
        ("one number per block", k**2, one.nbytes, one),
        ("two in diagonal blocks", k**2 + k, two.nbytes, two),
        (
            f"aligned ({(pairs - k) // 2} equal pairs)",
            k**2 + pairs,
            aligned.nbytes,
            aligned,
        ),
    ]
    return [
        Approximation(name, numbers, nbytes, bm.approximation_error(kernel, fit))
        for name, numbers, nbytes, fit in rows
    ]


def by_clusters(kernel, images):
    """Approximate the kernel by blocks of similar images: pairs with one number and with two."""
    tree = linkage(images, method="ward")
    for k in (10, 40, 100, 400):
        partition = bm.Partition.from_labels(cut_tree(tree, n_clusters=k).ravel())
        yield tuple(
            Approximation(
                f"{k} clusters of images",
                k**2 + k * (numbers - 1),
                fit.nbytes,
                bm.approximation_error(kernel, fit),
            )
            for numbers in (1, 2)
            for fit in [bm.fit(kernel, partition, numbers=numbers)]
        )


def main(arguments=None):
    """Print the comparison and save its picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--picture",
        metavar="FILE",
        default="blockmat-demo.png",
        help="where to save the picture (default: %(default)s)",
    )
    picture = parser.parse_args(arguments).picture

    images, digits, kernel = digits_kernel()
    n = len(kernel)
    A = bm.fit(kernel, digits)
    sizes = A.partition.sizes
    print(f"RBF kernel of scikit-learn's digits, gamma {GAMMA}, ridge {RIDGE}: "
          f"{n} x {n}, {kernel.nbytes / 1e6:.1f} MB")  # fmt: skip
    print(
        f"Blocks: the {len(sizes)} digits, {sizes.min()} to {sizes.max()} images each\n"
    )
    print_errors(kernel, digits)
    print_times(kernel, A)
    print_clusters(kernel, images)
    print_conjugate_gradients(kernel, A)
    figure = plot_fit(kernel, A, f"RBF kernel of {n} digits, {len(sizes)} label blocks")
    figure.savefig(picture, dpi=110)
    print(f"\nPicture: {picture}")


def print_errors(kernel, digits):
    """Print the error of each approximation beside its size."""
    print(f"{'approximation':<26}{'numbers':>8}{'bytes':>9}{'of dense':>10}"
          f"{'relative error':>16}")  # fmt: skip
    for row in by_digits(kernel, digits):
        print(f"{row.name:<26}{row.numbers:>8}{row.nbytes:>9}"
              f"{row.nbytes / kernel.nbytes:>10.1e}{row.error:>16.4f}")  # fmt: skip
    print()


def print_times(kernel, A):
    """Print times beside those of LAPACK for the same matrix, and the differences."""
    dense = A.toarray()
    b = np.random.default_rng(0).standard_normal(len(kernel))

    def dense_inverse_root():
        w, v = scipy.linalg.eigh(dense)
        return (v / np.sqrt(w)) @ v.T

    rows = [
        ("inverse", A.inv, lambda: scipy.linalg.inv(dense)),
        ("inverse square root", A.invsqrtm, dense_inverse_root),
        ("log-determinant", A.logdet, lambda: np.linalg.slogdet(dense)[1]),
        ("solve, 1 right side", lambda: A.solve(b),
         lambda: scipy.linalg.solve(dense, b, assume_a="pos")),
    ]  # fmt: skip
    fit_time, _ = timed(lambda: bm.fit(kernel, A.partition), 5)
    print(f"{'two numbers':<22}{'blockmat':>12}{'LAPACK':>12}{'ratio':>9}"
          f"{'largest difference':>21}")  # fmt: skip
    print(f"{'fit':<22}{ms(fit_time):>12}{'-':>12}{'-':>9}{'-':>21}")
    for name, ours, theirs in rows:
        our_time, result = timed(ours, 20)
        their_time, reference = timed(theirs, 1)
        gap = np.abs(np.asarray(result) - reference).max() / np.abs(reference).max()
        print(f"{name:<22}{ms(our_time):>12}{ms(their_time):>12}"
              f"{their_time / our_time:>8.0f}x{gap:>21.1e}")  # fmt: skip
    print("(LAPACK on the same matrix of blocks; difference relative to the largest "
          "entry)\n")  # fmt: skip


def print_clusters(kernel, images):
    """Print the errors for blocks of similar images."""
    print(f"{'Ward clusters of the images':<28}{'one number':>12}{'two numbers':>13}"
          f"{'numbers':>10}")  # fmt: skip
    for one, two in by_clusters(kernel, images):
        print(f"{one.name:<28}{one.error:>12.4f}{two.error:>13.4f}"
              f"{two.numbers:>10}")  # fmt: skip
    print()


def print_conjugate_gradients(kernel, A):
    """Print the iterations of conjugate gradients without and with the block inverse."""
    b = np.random.default_rng(0).standard_normal(len(kernel))
    plain, preconditioned = (iterations(kernel, b, M) for M in (None, A.inv()))
    print(f"Conjugate gradients on the kernel itself (rtol 1e-8): {plain} iterations, "
          f"{preconditioned} with the block inverse\nas preconditioner: it does not help "
          f"for a smooth kernel.")  # fmt: skip


def iterations(matrix, b, preconditioner):
    """Count the iterations of conjugate gradients."""
    seen = []
    cg(matrix, b, rtol=1e-8, maxiter=2000, M=preconditioner, callback=seen.append)
    return len(seen)


def timed(function, repeats):
    """Return the median time of some calls after a first one, and the last result."""
    times = []
    for _ in range(repeats + (repeats > 1)):
        start = perf_counter()
        result = function()
        times.append(perf_counter() - start)
    return float(np.median(times[1:] or times)), result


def ms(seconds):
    """Return a time in milliseconds as text."""
    return f"{1e3 * seconds:.2f} ms"


if __name__ == "__main__":
    main()
