"""
Choose the partition
====================

You can take labels from prior knowledge or find them in the data. Which partition is best depends on the purpose of
the model. This guide compares partitions by the likelihood of held-out samples. The variables are 300 images of
handwritten digits. The samples are the pixels.
"""

# %%
# There are more variables than samples, so the sample covariance matrix is singular. We remove pixels that hardly
# vary and subtract the mean image.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import KFold, cross_val_score

import blockmat as bm
from blockmat import plot
from blockmat.covariance import BlockCovariance

images, digits = (part[:300] for part in load_digits(return_X_y=True))
X = images[:, images.std(axis=0) > 0.5].T
X = (X - X.mean(axis=0)) / X.std(axis=0)
X = X - X.mean(axis=1, keepdims=True)
X = np.random.default_rng(0).permutation(
    X
)  # so that held-out pixels are not neighbours
X.shape

# %%
# Find the blocks
# ---------------
# :func:`~blockmat.find_partition` does not know that there are ten digits. It chooses the number of blocks with the
# lowest criterion. :func:`~blockmat.partition_path` returns the criterion for each number of blocks:

path = bm.partition_path(X, samples=True)
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
plot.path(path, ax=ax)
plt.show()

# %%
# Compare these blocks, and ten blocks, with the digits. An adjusted Rand index of 1 means that the blocks are the
# digits.

found = path.best
ten = bm.find_partition(X, 10, samples=True)
for p in (found, ten):
    print(
        f"{p.n_blocks} blocks, adjusted Rand index with the digits {adjusted_rand_score(digits, p.labels):.2f}"
    )

for members in list(found)[:6]:
    print("a block of", *sorted(digits[members].tolist()))

# %%
# There are more than ten blocks because people write the same digit in different ways.
#
# Compare partitions by cross-validation
# --------------------------------------
# :class:`~blockmat.covariance.BlockCovariance` is a scikit-learn estimator. Its score is the log-likelihood of new
# samples. So ``cross_val_score`` compares partitions with each other and with other estimators.

models = {
    "one block": BlockCovariance(np.zeros(300, int), shrinkage=None),
    "the digits": BlockCovariance(digits, shrinkage=None),
    "ten found blocks": BlockCovariance(n_blocks=10, shrinkage=None),
    "found blocks": BlockCovariance(shrinkage=None),
    "found blocks, shrinkage cv": BlockCovariance(shrinkage="cv"),
    "the digits, shrinkage cv": BlockCovariance(digits, shrinkage="cv"),
    "LedoitWolf": LedoitWolf(),
}
for name, model in models.items():
    score = cross_val_score(model, X, cv=KFold(5)).mean() / X.shape[1]
    print(f"{name:28s} {score:7.3f}")

# %%
# Found blocks have a slightly higher likelihood than the digits, because images of one digit differ. Shrinkage
# improves the likelihood more: ``shrinkage="cv"`` mixes in the sample covariance, with the weight that maximizes the
# likelihood of held-out samples. Labels with shrinkage are better than labels or shrinkage alone.
#
# Plot the matrix
# ---------------
# The value of each block is the mean correlation between the images of two digits:

# sphinx_gallery_thumbnail_number = 2
model = BlockCovariance(digits, shrinkage=None).fit(X)
figure, ax = plt.subplots(figsize=(4.8, 4), layout="constrained")
plot.matrix(model.operator_, ax=ax)
plt.show()

# %%
# Options: ``contiguous=True`` finds blocks that are intervals in the given order. ``signs=True`` allows variables with
# the opposite sign. :func:`~blockmat.cocluster` finds blocks of rows and of columns of a rectangular matrix.
