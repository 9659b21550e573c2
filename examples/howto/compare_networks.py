"""
Compare two networks
====================

Two valued networks on the same nodes rarely have one edge in common to the last digit. What can be
compared is how strongly groups of nodes are tied, and block-constant matrices are just that. The networks
here are correlations between 30 measures of tumours: one network of benign, one of malignant
tumours.
"""

# %%
# Ten properties of cell nuclei are measured in three ways each: their mean, their standard error, their worst value.

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
# One partition for both
# ----------------------
# Blocks have to be the same to be compared. They may come from names, or from both samples together; here the
# measures of size, of shape and of texture are told apart by a search in all tumours.

both = np.vstack(list(kinds.values()))
p = bm.find_partition(both, 6, samples=True)
names = data.feature_names
for number, members in enumerate(p):
    print(f"{number}:", ", ".join(names[members]))

# %%
# Two matrices of 6 x 6 numbers, and their difference:

fits = {kind: bm.fit_samples(X, p) for kind, X in kinds.items()}
difference = fits["malignant"] - fits["benign"]
figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
titles = ("malignant", "benign", "malignant minus benign")
for ax, A, title in zip(axes, (*fits.values(), difference), titles, strict=True):
    plot.matrix(A, ax=ax)
    ax.set_title(title)
plt.show()

# %%
# Is a difference more than chance?
# ---------------------------------
# Each number of a block is known as well as the number of samples allows. Where intervals of both networks do not
# meet, they differ.

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
# How different are they as a whole?
# ----------------------------------
# The Kullback-Leibler divergence says how much a sample of one tells, on average, that it is not of the other; it is
# not symmetric. The distance in the Frobenius norm is a closed form too.

malignant, benign = fits.values()
print(
    f"divergence {kl_divergence(malignant, benign):.2f} and {kl_divergence(benign, malignant):.2f}"
)
print(f"relative distance {difference.norm() / benign.norm():.2f}")

# %%
# What the blocks leave out is the same question asked of each network, before any of this is believed:

for kind, X in kinds.items():
    error = bm.approximation_error(np.corrcoef(X, rowvar=False), fits[kind])
    print(f"{kind}: relative error of the blocks {error:.2f}")
