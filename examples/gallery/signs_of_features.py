"""
Find blocks of features with unknown signs
==========================================

Some features of wines are negatively correlated with the other features of their group. ``signs=True`` finds
blocks of variables and multiplies some variables by -1, so that the variables of a block are positively correlated.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine

import blockmat as bm

wine = load_wine()
names = np.array(wine.feature_names)
X = np.log(wine.data)
plain = bm.find_partition(X, 2, samples=True)
p, signs = bm.find_partition(X, 2, samples=True, signs=True)
for members in p:
    print(", ".join(("-" if signs[i] < 0 else "") + names[i] for i in members))

# %%
# Plot the correlations, sorted by block, without and with signs:

R = np.corrcoef(X, rowvar=False)
figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
turned = signs[:, None] * R * signs
for ax, matrix, q, title in (
    (axes[0], R, plain, "as measured"),
    (axes[1], turned, p, "with signs"),
):
    picture = ax.imshow(
        matrix[np.ix_(q.order, q.order)], cmap="RdBu_r", vmin=-1, vmax=1
    )
    error = bm.approximation_error(matrix, bm.fit(matrix, q))
    ax.set_title(f"{title}: error of the blocks {error:.2f}")
    ax.set_yticks(
        range(13), [n.replace("_", " ")[:20] for n in names[q.order]], fontsize=8
    )
    ax.set_xticks([])
    for end in q.offsets[1:-1]:
        ax.axhline(end - 0.5, color="k")
        ax.axvline(end - 0.5, color="k")
figure.colorbar(picture, ax=axes, shrink=0.8)
plt.show()
