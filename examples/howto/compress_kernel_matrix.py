r"""
Compress a kernel matrix
========================

A kernel matrix of n points has n² entries. If the points belong to classes, one value for each pair of classes can be
a sufficient approximation. This guide uses 1797 images of handwritten digits in ten classes and the kernel
:math:`k(x, y) = \exp(-\gamma |x - y|^2)`.
"""

# %%
# Compute the kernel matrix of a data set of scikit-learn:

import time

import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics.pairwise import rbf_kernel

import blockmat as bm
from blockmat import plot

images, digits = load_digits(return_X_y=True)
K = rbf_kernel(images / 16, gamma=0.1)
K.shape, f"{K.nbytes / 1e6:.0f} MB"

# %%
# Fit a block-constant matrix
# ---------------------------
# ``fit`` averages the entries of each block. In a diagonal block it averages the diagonal separately.

A = bm.fit(K, digits)
A

# %%
# :func:`~blockmat.approximation_error` returns the norm of the error divided by the norm of K. Always check it, and plot
# the error and the singular values.

print(f"{A.nbytes} bytes, relative error {bm.approximation_error(K, A):.3f}")
figure, axes = plt.subplots(2, 2, figsize=(8, 6.6), layout="constrained")
plot.approximation(K, A, ax=axes.flat[:3])
plot.spectrum(A, K, ax=axes.flat[3])
plt.show()

# %%
# Use more blocks
# ---------------
# You can use clusters of the points as blocks. The error decreases with the number of clusters.

numbers = [10, 25, 50, 100, 200, 400]
errors = []
for n_blocks in numbers:
    clusters = KMeans(n_clusters=n_blocks, random_state=0).fit_predict(images)
    errors.append(bm.approximation_error(K, bm.fit(K, clusters)))

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.plot(numbers, errors, "o-", label="clusters of images")
ax.plot(10, bm.approximation_error(K, A), "s", label="the ten digits")
ax.set(xscale="log", xticks=numbers, xticklabels=numbers, ylim=(0, None))
ax.set(xlabel="blocks", ylabel="relative error")
ax.legend()
plt.show()

# %%
# Solve and compute the log-determinant
# -------------------------------------
# Add noise of variance 0.1 to K, as in Gaussian process regression. The log-determinant and the solution then need a
# 10 x 10 matrix instead of a 1797 x 1797 matrix. Both are exact for the approximation. The times are those of the machine
# that built this page.

noisy = A + 0.1 * bm.BlockConstantMatrix.identity(A.partition)
y = digits - digits.mean()


def with_blocks():
    """Solve and compute the log-determinant, both exact for the approximation."""
    return noisy.solve(y), noisy.logdet()


def dense(matrix):
    """Do the same with a Cholesky factor."""
    factor = scipy.linalg.cho_factor(matrix)
    return scipy.linalg.cho_solve(factor, y), 2 * np.log(np.diag(factor[0])).sum()


def seconds(function, *args):
    """Return the time of the fastest of three calls."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        function(*args)
        times.append(time.perf_counter() - start)
    return min(times)


ours, theirs = with_blocks(), dense(noisy.toarray())
print("same solution:", np.allclose(ours[0], theirs[0]))
print(f"log-determinant: {ours[1]:.6f} and {theirs[1]:.6f}")
print(f"{seconds(dense, noisy.toarray()) / seconds(with_blocks):.0f} times as fast")

# %%
# The log-determinant of K with this noise is different, because the small eigenvalues of K differ from those of A.
# :ref:`sphx_glr_howto_precondition.py` explains when this matters.

print(f"log-determinant of the kernel matrix: {dense(K + 0.1 * np.eye(len(K)))[1]:.1f}")
