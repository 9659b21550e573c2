"""
Fit a matrix larger than memory
===============================

``fit`` reads each entry of a matrix once, so the matrix does not have to fit into memory, nor on one machine. This
guide starts from a photograph. Its matrix of similarities of all pixels takes 7 GB. Two Dask workers with 0.8 GB each compute and fit
it in chunks. Then the fit finds the sky, the lake, the pagoda and the trees, given a few pixels of each.
"""

# %%
# The photograph
# --------------
# The file comes with scikit-learn. Nine pixels are averaged to one. Each pixel has five numbers, three for its colour and
# two for its position.

from pathlib import Path

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from dask.distributed import Client, LocalCluster
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_sample_image
from sklearn.metrics.pairwise import rbf_kernel

import blockmat as bm

photograph = load_sample_image("china.jpg")[:426, :639] / 255
photograph = photograph.reshape(142, 3, 213, 3, 3).mean(axis=(1, 3))
height, width, _ = photograph.shape
rows, columns = np.mgrid[:height, :width] / width
pixels = np.column_stack([photograph.reshape(-1, 3), rows.ravel(), columns.ravel()])
n = len(pixels)
print(f"{n} pixels, {8e-9 * n**2:.1f} GB for the similarity of each pair")

# %%
# Similar pixels form a group. Here k-means finds 400 groups:

clustering = MiniBatchKMeans(400, n_init=1, batch_size=4096, random_state=0)
groups = clustering.fit_predict(pixels)

# %%
# Start two workers
# -----------------
# ``LocalCluster`` starts two processes on this machine. Each has one thread and at most 0.8 GB of memory. For workers on other machines
# start ``dask scheduler`` and ``dask worker`` there, and pass the address of the scheduler to ``Client``. The rest is
# the same.

cluster = LocalCluster(
    n_workers=2, threads_per_worker=1, memory_limit="800MB", dashboard_address=None
)
client = Client(cluster)

# %%
# This code runs in a notebook. In a script, put all code after the imports under ``if __name__ == "__main__":``, because each worker
# process runs the script again when it starts.
#
# Define the matrix
# -----------------
# A Dask array says how to compute each chunk. Nothing is computed yet. If your matrix is in a zarr store, write
# ``similarity = da.from_zarr("file.zarr")`` instead.


def similarities(x, y):
    """Return the similarities of two chunks of pixels."""
    return rbf_kernel(x[0], y[0], gamma=20)


chunks = da.from_array(pixels, chunks=(3400, 5))
similarity = da.blockwise(similarities, "ij", chunks, "ik", chunks, "jk", dtype=float)
similarity

# %%
# Fit it
# ------
# While a client is open, ``fit`` runs on its workers. Each worker computes a chunk, sums it over blocks and
# frees its memory. So a worker needs memory for its program and a few chunks only.

A = bm.fit(similarity, groups)
print(A, f"in {A.nbytes / 1e6:.1f} MB")


def peak_memory():
    """Return the peak memory of this process in bytes; Linux writes it into a file."""
    text = Path("/proc/self/status").read_text()
    return 1024 * int(text.split("VmHWM:")[1].split()[0])


for number, peak in enumerate(client.run(peak_memory).values()):
    print(f"worker {number}: at most {peak / 1e9:.2f} GB")

client.close()
cluster.close()

# %%
# Check the fit before you use it. The error of the whole matrix would take another pass. The similarities of 1500 pixels, drawn at random,
# are enough:

some = np.sort(np.random.default_rng(0).choice(n, 1500, replace=False))
part = rbf_kernel(pixels[some], gamma=20)
print(f"relative error {bm.approximation_error(part, A.submatrix(some)):.2f}")

# %%
# Use it
# ------
# Mark some pixels of each object with a brush:

names = ["sky", "lake", "pagoda", "trees"]
strokes = {
    "sky": [(6, 9, 10, 200), (60, 62, 120, 180)],
    "lake": [(90, 92, 125, 175), (97, 99, 8, 22)],
    "pagoda": [(15, 112, 68, 71), (88, 91, 30, 105), (40, 42, 38, 100), (119, 122, 75, 105)],
    "trees": [(128, 131, 20, 80), (60, 130, 200, 203), (70, 90, 5, 8), (125, 128, 130, 180)],
}  # fmt: skip
marks = np.full((height, width), -1)
for i, name in enumerate(names):
    for top, bottom, left, right in strokes[name]:
        marks[top:bottom, left:right] = i

# %%
# Let the matrix be the covariance of a Gaussian process: similar pixels are likely to belong to the same object. ``condition``
# returns the expected value of all other pixels, and their covariance, given that marked pixels have the value 1 for their object and 0 for
# the others. The observations have noise of variance 0.1.

marked = np.flatnonzero(marks.ravel() >= 0)
values = np.eye(4)[marks.ravel()[marked]].T
noisy = A + 0.1 * bm.BlockConstantMatrix.identity(A.partition)
expected, covariance = noisy.condition(marked, values, mean=0.25)
print(f"{len(marked)} marked pixels, {expected.shape[1]} others: {covariance}")

# %%
# The object of a pixel is the one with the largest expected value. Pixels that are similar to no marked pixel have a large variance.

others = marks.ravel() < 0
found = marks.ravel().copy()
found[others] = expected.argmax(axis=0)
found = found.reshape(height, width)
deviation = np.full(n, np.nan)
deviation[others] = np.sqrt(covariance.diagonal() - 0.1)

colours = np.array(plt.get_cmap("Set1").colors)[[1, 4, 0, 2]]
with_marks = np.where(marks[..., None] >= 0, colours[marks], photograph)

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
axes[0].imshow(with_marks)
axes[0].set_title("photograph with marked pixels")
axes[1].imshow(0.55 * colours[found] + 0.45 * photograph)
axes[1].set_title("objects that were found")
for ax in axes:
    ax.axis("off")
plt.show()
for name, share in zip(names, np.bincount(found.ravel()) / n, strict=True):
    print(f"{name:7s} {share:.0%}")

# %%
# The standard deviation shows where to mark more pixels:

figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
image = ax.imshow(deviation.reshape(height, width), cmap="viridis")
figure.colorbar(image, label="standard deviation", shrink=0.8)
ax.axis("off")
plt.show()

# %%
# Other sources
# -------------
# ``fit`` also takes memory-mapped files, which it reads in chunks, and operators that only multiply vectors; see the table in
# :doc:`/guide`. :doc:`/scaling` measures the speed with several processes and estimates the cost for a matrix of 80 TB.
