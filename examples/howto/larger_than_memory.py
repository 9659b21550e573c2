"""
A matrix larger than memory
===========================

``fit`` reads each entry once, so the matrix does not have to fit into memory. It can be a file, it can be computed in
chunks, or it can be an operator that only multiplies vectors. The example is the similarity matrix of all 273,280
pixels of a photograph. It would take 597 GB, and the program never forms it.
"""

# %%
# Divide the pixels into sixteen groups of similar colours:

import tempfile
from pathlib import Path

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse.linalg import LinearOperator
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_image
from sklearn.metrics.pairwise import rbf_kernel

import blockmat as bm
from blockmat import plot

photograph = load_sample_image("china.jpg")
pixels = photograph.reshape(-1, 3) / 255
clustering = KMeans(16, n_init=1, random_state=0).fit(pixels[::50])
brightness = clustering.cluster_centers_.sum(axis=1).argsort().argsort()
groups = brightness[clustering.predict(pixels)]

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
axes[0].imshow(photograph)
axes[1].imshow(groups.reshape(photograph.shape[:2]), cmap="magma")
for ax in axes:
    ax.axis("off")
plt.show()

# %%
# Fit a LinearOperator
# --------------------
# In the first example the similarity of two pixels is the inner product of their colours. A product of the matrix with a
# vector then needs two small products. The fit of a ``LinearOperator`` needs one product for each block. If you pass the
# diagonal, as here, the fit is exact.

n = len(pixels)
similarity = LinearOperator(
    (n, n),
    matvec=lambda x: pixels @ (pixels.T @ x),
    matmat=lambda X: pixels @ (pixels.T @ X),
    dtype=float,
)
A = bm.fit(similarity, groups, diagonal=(pixels**2).sum(axis=1))
print(f"{8e-9 * n**2:.0f} GB in {A.nbytes} bytes: {A}")

# %%
# Fit a Dask array
# ----------------
# For a Gaussian kernel the fit needs all entries. Dask computes them in chunks, on all processors of one or many
# machines, and the fit adds up the block sums of the chunks. To run in seconds, this page uses every 20th pixel.

some, some_groups = pixels[::20], groups[::20]
rows = da.from_array(some, chunks=(2000, 3))
kernel = da.blockwise(
    lambda x, y: rbf_kernel(x[0], y[0], gamma=20),
    "ij",
    rows,
    "ik",
    rows,
    "jk",
    dtype=float,
)
print(f"{8e-9 * len(some) ** 2:.1f} GB in {kernel.npartitions} chunks")
B = bm.fit(kernel, some_groups)

figure, ax = plt.subplots(figsize=(4.8, 4), layout="constrained")
plot.matrix(B, ax=ax)
plt.show()

# %%
# Fit a file
# ----------
# Pass a memory-mapped file like any other array. ``fit`` reads it once, in chunks, and shows a progress bar in a
# terminal. For zarr and HDF5 files use Dask as above. Here is an example with a ``.npy`` file:

few, few_groups = some[::4], some_groups[::4]
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "kernel.npy"
    np.save(path, rbf_kernel(few, gamma=20))
    source = np.load(path, mmap_mode="r")
    print(f"{path.stat().st_size / 1e6:.0f} MB on disk")
    C = bm.fit(source, few_groups)
    del source

print(
    "largest difference from the values of the Dask fit:",
    np.abs(C.values - B.values).max().round(3),
)

# %%
# Each result stores a 16 x 16 matrix and 16 more numbers. The log-determinant of the 597 GB matrix with noise needs only
# these:

noisy = A + 0.1 * bm.BlockConstantMatrix.identity(A.partition)
print(f"log-determinant {noisy.logdet():.1f}")

# %%
# :doc:`/scaling` measures the speed with several processes and estimates the cost for a matrix of 80 TB.
