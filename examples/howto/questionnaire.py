"""
Find the scales of a questionnaire
==================================

The items of a questionnaire measure a few traits. Which items belong together, how many groups are there, and how sure
is that? This guide answers these questions for a file of answers. Some items are reversed: who agrees with the others
disagrees with them.
"""

# %%
# The file
# --------
# Here the answers are simulated: 15 items from 1 (disagree) to 5 (agree) of 400 people. Five items each measure three
# correlated traits, some better than others. Three items are reversed. Some answers are missing.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import blockmat as bm
from blockmat import plot
from blockmat.covariance import BlockCovariance

rng = np.random.default_rng(5)
traits = ["calm", "curious", "kind"]
n_people, n_items = 400, 5
true_groups = np.repeat(traits, n_items)
items = [f"{trait} {i}" for trait in traits for i in range(1, n_items + 1)]

correlations = 0.7 * np.eye(3) + 0.3
scores = rng.multivariate_normal(np.zeros(3), correlations, size=n_people)
loadings = rng.uniform(0.5, 0.8, size=15)
direction = np.ones(15)
direction[[2, 8, 13]] = -1
opinions = scores[:, np.repeat(np.arange(3), n_items)] * loadings * direction
opinions += np.sqrt(1 - loadings**2) * rng.normal(size=(n_people, 15))
answers = pd.DataFrame(
    np.digitize(opinions, [-1.5, -0.5, 0.5, 1.5]) + 1.0, columns=items
)
answers = answers.mask(rng.random(answers.shape) < 0.05)

file = Path(tempfile.mkdtemp()) / "answers.csv"
answers.to_csv(file, index=False)

# %%
# Read it
# -------
# ``pandas.read_csv`` reads empty cells as NaN. Few people answered every item, so we keep all of them.

data = pd.read_csv(file)
print(f"{data.isna().mean().mean():.1%} of the answers are missing")
print(f"{len(data.dropna())} of {len(data)} people answered every item")

# %%
# Find the groups
# ---------------
# :func:`~blockmat.partition_path` compares numbers of groups. With ``signs=True`` it also finds the items that are
# reversed. The sign of the first item of each group is 1. With ``missing="em"`` missing answers are replaced by those that
# are expected from the other answers of the person and the groups, and the groups are found again.

path = bm.partition_path(data, samples=True, signs=True, missing="em")
groups, signs = path.best, path.best_signs
for members in groups:
    print(", ".join(("-" if signs[i] < 0 else "") + items[i] for i in members))

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
plot.path(path, ax=ax)
plt.show()

# %%
# How sure are the groups?
# ------------------------
# :func:`~blockmat.partition_stability` draws the people again, with replacement, and repeats the search a hundred times.

sure = bm.partition_stability(
    data, samples=True, signs=True, missing="em", random_state=0
)
for members, value in zip(sure.partition, sure.of_block, strict=True):
    print(f"{value:.2f}  {items[members[0]]} and {len(members) - 1} others")

# %%
# The picture shows, from left to right, how often two items share a group, how sure each item belongs to its group, and
# how often each number of groups was chosen. Reversed items have a minus.

plot.stability(sure)
plt.show()

# %%
# The bars on the right show how often each number of groups was chosen. The line shows how similar the groups of a draw
# and of all people are (adjusted Rand index) if the number is given.
#
# Larger groups
# -------------
# The tree first merges the two groups whose merging raises the loss least (minus twice the log-likelihood).
# :meth:`~blockmat.PartitionTree.cut` returns the partition into any smaller number of groups.

figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
plot.tree(path, ax=ax, names=items)
plt.show()

# %%
# The correlations
# ----------------
# :class:`~blockmat.covariance.BlockCovariance` estimates the covariance matrix. If the items that have a minus are reversed, the
# correlations inside the groups are positive. The picture shows their means:

model = BlockCovariance(groups, signs=True, missing="em").fit(data)
figure, ax = plt.subplots(figsize=(6.4, 5), layout="constrained")
plot.matrix(model.operator_, ax=ax, signs=model.signs_, names=items)
plt.show()

# %%
# If you have only the correlation matrix and the number of people, pass both. Here they are those of the people who
# answered every item:

complete = data.dropna()
R = complete.corr()
again = bm.partition_stability(
    R, 3, signs=True, n_samples=len(complete), random_state=0
)
print(again.of_block.round(2))
