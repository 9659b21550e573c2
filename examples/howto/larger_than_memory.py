"""
A matrix larger than memory
===========================

A fit reads each entry once, so the matrix never has to be in memory: it may be on disk, be made
chunk by chunk, or exist only as products with vectors. The example is the similarity of all 273,280 pixels of a
photograph, a matrix of 597 GB that no line below forms.
"""

# %%
# The pixels, in sixteen groups of alike colours.

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
# Known by its products
# ---------------------
# The similarity here is the product of colours, and a product of the matrix with vectors
# takes two small ones. The fit of a ``LinearOperator`` needs one product for each block, and is exact off the diagonals. The
# second number of a block takes its diagonal too, which is known here.

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
# Entries that are made when they are needed
# ------------------------------------------
# For a Gaussian kernel there is no such short cut: all entries have to be looked at. Dask makes them
# chunk by chunk, on all processors of a machine or of many, and the fit keeps the sums of each chunk. To be done in
# seconds, this page takes every 20th pixel.

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
# On disk
# -------
# A memory-mapped file is an array like any other; it is read once, in pieces, with a progress bar in a terminal.
# ``da.from_zarr`` and HDF5 files through Dask work as above. For a list of labels and a file:

few, few_groups = some[::4], some_groups[::4]
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "kernel.npy"
    np.save(path, rbf_kernel(few, gamma=20))
    source = np.load(path, mmap_mode="r")
    print(f"{path.stat().st_size / 1e6:.0f} MB on disk")
    C = bm.fit(source, few_groups)
    del source

print(
    "largest difference to the numbers of more pixels:",
    np.abs(C.values - B.values).max().round(3),
)

# %%
# What became of all three is as small as if the matrix had been: with noise, the log-determinant of the 597 GB is
# that of a matrix of 16 x 16 and 16 numbers more.

noisy = A + 0.1 * bm.BlockConstantMatrix.identity(A.partition)
print(f"log-determinant {noisy.logdet():.1f}")

# %%
# :doc:`/scaling` says what several processes are worth, and what this would take for 80 TB.
