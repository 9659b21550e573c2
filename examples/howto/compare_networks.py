"""
Compare two networks
====================

Two weighted networks on the same nodes rarely have equal edge weights. Compare the mean weights between groups of
nodes instead: these are the values of a block-constant matrix. The two networks in this guide are correlations
between 30 measurements of tumours, one for benign and one for malignant tumours.
"""

# %%
# The data set contains ten properties of cell nuclei, each with its mean, standard error and worst value.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer

import blockmat as bm
from blockmat import plot
from blockmat.inference import confidence_intervals, kl_divergence

data = load_breast_cancer()
kinds = {"malignant": np.log(data.data[data.target == 0] + 0.01),
         "benign": np.log(data.data[data.target == 1] + 0.01)}  # fmt: skip
for kind, X in kinds.items():
    kinds[kind] = (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)
    print(kind, X.shape)

# %%
# Use one partition for both
# --------------------------
# Both matrices must have the same blocks. You can take the blocks from names or find them in both samples together.
# Here ``find_partition`` finds six blocks in the samples of all tumours:

both = np.vstack(list(kinds.values()))
p = bm.find_partition(both, 6, samples=True)
names = data.feature_names
for number, members in enumerate(p):
    print(f"{number}:", ", ".join(names[members]))

# %%
# The values of the two matrices, 6 x 6 each:

fits = {kind: bm.fit_samples(X, p) for kind, X in kinds.items()}
figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for ax, (kind, A) in zip(axes, fits.items(), strict=True):
    plot.matrix(A, ax=ax)
    ax.set_title(kind)
plt.show()

# %%
# Their difference is a block-constant matrix too:

difference = fits["malignant"] - fits["benign"]
figure, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
plot.matrix(difference, ax=ax)
ax.set_title("malignant minus benign")
plt.show()
# sphinx_gallery_thumbnail_number = 2

# %%
# Test which blocks differ
# ------------------------
# ``confidence_intervals`` returns an interval for the value of each block. If the intervals of the two networks do not
# overlap, the values differ significantly.

intervals = {
    kind: confidence_intervals(A, df=len(kinds[kind]) - 1, level=0.99).values
    for kind, A in fits.items()
}
low, high = intervals["malignant"], intervals["benign"]
apart = (low[..., 0] > high[..., 1]) | (high[..., 0] > low[..., 1])
for i, j in zip(*np.nonzero(np.triu(apart)), strict=True):
    values = [fits[kind].values[i, j] for kind in kinds]
    print(
        f"blocks {i} and {j}: {values[0]:.2f} in malignant, {values[1]:.2f} in benign tumours"
    )

# %%
# Measure the total difference
# ----------------------------
# The Kullback-Leibler divergence is the expected log-likelihood ratio of a sample from the first network. It is not
# symmetric. The relative distance in the Frobenius norm is another measure:

malignant, benign = fits.values()
print(
    f"divergence {kl_divergence(malignant, benign):.2f} and {kl_divergence(benign, malignant):.2f}"
)
print(f"relative distance {difference.norm() / benign.norm():.2f}")

# %%
# Check how well the blocks describe each network before you interpret the results:

for kind, X in kinds.items():
    error = bm.approximation_error(np.corrcoef(X, rowvar=False), fits[kind])
    print(f"{kind}: relative error of the blocks {error:.2f}")
