"""
Find regions of an image from correlations
==========================================

``find_partition`` divides the pixels of handwritten digits into nine blocks of correlated pixels. The 1797 images are the
samples, and the 64 pixels are the variables. The function does not know which pixels are neighbours.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import blockmat as bm
from blockmat import plot

images = load_digits().data
used = images.std(axis=0) > 0.5  # the corners are always black
p = bm.find_partition(images[:, used], n_blocks=9, samples=True)

regions = np.full(64, np.nan)
regions[used] = p.labels
A = bm.fit_samples(images[:, used] / images[:, used].std(axis=0), p)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
axes[0].imshow(regions.reshape(8, 8), cmap="tab10", vmin=-0.5, vmax=9.5)
for i in np.flatnonzero(used):
    axes[0].text(i % 8, i // 8, int(regions[i]), ha="center", va="center", color="w")
axes[0].set(xticks=[], yticks=[], title="the block of each pixel")
plot.matrix(A, ax=axes[1])
axes[1].set_title("mean correlations")
plt.show()

# %%
# Most neighbouring pixels are in the same block, because strokes make them vary together. Two blocks consist of two
# separate pieces.

print(f"relative error of the matrix of {p.n_blocks} blocks:",
      f"{bm.approximation_error(np.corrcoef(images[:, used], rowvar=False), A):.2f}")  # fmt: skip
