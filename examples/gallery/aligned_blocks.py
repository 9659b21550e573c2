"""
Aligned blocks: two numbers in every block
==========================================

The data set contains ten properties of cell nuclei, each with its mean, standard error and worst value. These are
three blocks of ten variables in the same order. The mean radius has a higher correlation with the worst radius than
with the worst texture. With ``aligned=True`` every block has a second value for such pairs.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer

import blockmat as bm

data = load_breast_cancer()
R = np.corrcoef(np.log1p(data.data), rowvar=False)
p = bm.Partition.from_sizes([10, 10, 10])

fits = {
    "one value per block": bm.fit(R, p, numbers=1),
    "two in diagonal blocks": bm.fit(R, p),
    "two in every block": bm.fit(R, p, aligned=True),
}
figure, axes = plt.subplots(2, 2, figsize=(7.4, 6.6), layout="constrained")
axes[0, 0].imshow(R, cmap="RdBu_r", vmin=-1, vmax=1)
axes[0, 0].set_title("correlations")
for ax, (title, A) in zip(axes.flat[1:], fits.items(), strict=True):
    picture = ax.imshow(A.toarray(), cmap="RdBu_r", vmin=-1, vmax=1)
    ax.set_title(f"{title}\nerror {bm.approximation_error(R, A):.2f}")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
figure.colorbar(picture, ax=axes, shrink=0.8)
plt.show()

# %%
# The second values are the mean correlations between two statistics of the same property:

aligned = fits["two in every block"]
kinds = ("mean", "error", "worst")
for i, row in enumerate(aligned.values + aligned.within):
    print(
        f"{kinds[i]:6s}",
        *(f"{kind} {value:.2f}" for kind, value in zip(kinds, row, strict=True)),
    )

# %%
# All operations work for aligned matrices. The inverse is exact, and it is aligned too:

inverse = aligned.inv()
print(inverse, np.allclose(inverse.toarray(), np.linalg.inv(aligned.toarray())))
