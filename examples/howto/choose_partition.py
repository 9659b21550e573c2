"""
Choose the partition
====================

Labels may come from what the variables are, or from the data. Which partition is best depends on what the
model is for, and held-out samples can tell. Here the variables are 300 images of handwritten
digits, and the samples are pixels: how alike are images, as their grey values vary from pixel to pixel?
"""

# %%
# More variables than samples: the sample covariance matrix is singular. Pixels that are hardly ever used are left
# out, the mean image is subtracted.

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
# Found blocks
# ------------
# Nobody tells :func:`~blockmat.find_partition` that there are ten digits. It takes the number of blocks at which its criterion is
# lowest; the path shows how clear the choice is.

path = bm.partition_path(X, samples=True)
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
plot.path(path, ax=ax)
plt.show()

# %%
# How much do these blocks, and ten blocks, have to do with the digits? A Rand index of 1 would be the digits themselves.

found = path.best
ten = bm.find_partition(X, 10, samples=True)
for p in (found, ten):
    print(
        f"{p.n_blocks} blocks, adjusted Rand index with the digits {adjusted_rand_score(digits, p.labels):.2f}"
    )

for members in list(found)[:6]:
    print("a block of", *sorted(digits[members].tolist()))

# %%
# They split digits by the way they are written, which is why there are more than ten.
#
# Ask held-out samples
# --------------------
# :class:`~blockmat.covariance.BlockCovariance` is a scikit-learn estimator, and its score is the log-likelihood of
# samples that it has not seen. So ``cross_val_score`` compares partitions with each other, and with
# other estimators.

models = {
    "one block": BlockCovariance(np.zeros(300, int)),
    "the digits": BlockCovariance(digits),
    "ten found blocks": BlockCovariance(n_blocks=10),
    "found blocks": BlockCovariance(),
    "found blocks, shrinkage cv": BlockCovariance(shrinkage="cv"),
    "the digits, shrinkage cv": BlockCovariance(digits, shrinkage="cv"),
    "LedoitWolf": LedoitWolf(),
}
for name, model in models.items():
    score = cross_val_score(model, X, cv=KFold(5)).mean() / X.shape[1]
    print(f"{name:28s} {score:7.3f}")

# %%
# Found blocks are worth a little more than the names of the digits, because images of one digit differ. What
# helps more is to leave some of the sample covariance in: ``shrinkage="cv"`` mixes it in, as far as held-out samples
# find likely. Labels and shrinkage together are better than either.
#
# What the blocks say
# -------------------
# The matrix of the digits, whose numbers are mean correlations between images of two digits:

model = BlockCovariance(digits).fit(X)
figure, ax = plt.subplots(figsize=(4.8, 4), layout="constrained")
plot.matrix(model.operator_, ax=ax)
plt.show()

# %%
# If blocks must be intervals in a given order, say so with ``contiguous=True``; if variables may have
# the wrong sign, with ``signs=True``; if rows and columns are different things, use
# :func:`~blockmat.cocluster`.
