"""
Find intervals: bands of a photograph
=====================================

This example divides the rows of a photograph into six bands, such as the sky and the lake. With ``contiguous=True`` the
blocks are intervals of neighbouring variables, which ``find_partition`` finds by dynamic programming.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

import blockmat as bm

photograph = load_sample_image("china.jpg")
rows = photograph.mean(
    axis=2
).T  # one sample for each column, one variable for each row
p = bm.find_partition(rows, 6, samples=True, contiguous=True)
R = np.corrcoef(rows, rowvar=False)

figure, axes = plt.subplots(
    1, 3, figsize=(12, 3.6), layout="constrained", width_ratios=(1.5, 1, 1)
)
axes[0].imshow(photograph)
axes[1].imshow(R, cmap="RdBu_r", vmin=-1, vmax=1)
axes[2].imshow(bm.fit(R, p).toarray(), cmap="RdBu_r", vmin=-1, vmax=1)
for ax, title in zip(
    axes, ("six bands", "correlations of rows", "by bands"), strict=True
):
    ax.set(xticks=[], title=title)
    for end in p.offsets[1:-1]:
        ax.axhline(end, color="w" if ax is axes[0] else "k", lw=1)
plt.show()

print("bands end at rows", *p.offsets[1:])
