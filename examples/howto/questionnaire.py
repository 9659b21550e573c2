"""
Questionnaire: from a file of answers to scores
===============================================

A file has the answers of 200 people to 15 items. Which items belong to one scale, how many scales are there, and how sure is
that? What is the score of each person? Some items are reversed: who agrees with the other items of the scale disagrees with
them. Some answers are missing.
"""

# %%
# Read the file
# -------------
# Answers of real people may rarely be published, so this program first writes a simulated file: the answers 1 (disagree)
# to 5 (agree) depend on three correlated traits. Replace this part by your own file, with a row for each person.

# sphinx_gallery_thumbnail_number = 2
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import blockmat as bm
from blockmat import plot

rng = np.random.default_rng(5)
items = """worries nervous relaxed tense upset  ideas art routine reads wonders
           helps trusts shares cold listens""".split()
reverse = np.isin(items, ["relaxed", "routine", "cold"])
loadings = rng.uniform(0.35, 0.75, size=15)
traits = rng.multivariate_normal(np.zeros(3), 0.7 * np.eye(3) + 0.3, size=200)
opinions = np.repeat(traits, 5, axis=1) * loadings * np.where(reverse, -1, 1)
opinions += np.sqrt(1 - loadings**2) * rng.normal(size=(200, 15))
answers = pd.DataFrame(np.digitize(opinions, [-1.5, -0.5, 0.5, 1.5]) + 1, columns=items)
file = Path(tempfile.mkdtemp()) / "answers.csv"
gaps = answers.mask(rng.random(answers.shape) < 0.05)
gaps[rng.permutation(items)].to_csv(file, index=False)

# %%
# ``pandas.read_csv`` reads empty cells as NaN. Half of the people left out an answer, so we keep their rows.

data = pd.read_csv(file)
print(f"{len(data.dropna())} of {len(data)} people answered every item")
data.iloc[:4, :7]

# %%
# Find the scales
# ---------------
# :func:`~blockmat.partition_stability` finds groups of items, and finds them again in random draws of the people.
# ``signs=True`` also finds the reversed items, and ``missing="em"`` uses all observed answers. Each line below starts with how similar
# the groups of the draws are to this one (Jaccard index, at most 1).

sure = bm.partition_stability(
    data, samples=True, signs=True, missing="em", n_resamples=30, random_state=0
)
for members, similarity in zip(sure.partition, sure.of_block, strict=True):
    names = [("-" if sure.signs[i] < 0 else "") + data.columns[i] for i in members]
    print(f"{similarity:.2f}", *names)

# %%
# The left picture shows how often two items share a group, the middle one how sure each item is, and the right one how often each
# number of groups was chosen. All three groups are stable.

plot.stability(sure)
plt.show()

# %%
# Name the scales, turn the items
# -------------------------------
# We know the scale of one item in each group. The first item of a group always has the sign 1. If most other signs of its group are -1, it is
# itself reversed, and we change all signs of the group. On reversed items an answer of 1 becomes 5.

known = {"ideas": "curiosity", "upset": "anxiety", "helps": "kindness"}
scales = {}
for group in sure.partition.groups(data.columns).values():
    name = next(known[item] for item in group if item in known)
    scales.update(dict.fromkeys(group, name))

majority = np.sign(sure.partition.block_sums(sure.signs))
reversed_items = data.columns[sure.signs * majority[sure.partition.labels] < 0]
turned = data.copy()
turned[reversed_items] = 6 - turned[reversed_items]
print("reversed:", *reversed_items)

# %%
# Fit the model
# -------------
# In the model of :func:`~blockmat.fit_factor` each scale has a factor. Each item has a loading on it, and its own noise.

fit = bm.fit_factor(turned, scales, missing="em", full_output=True)
model = fit.matrix
print("correlations of", *model.partition.names)
print(model.covariance.round(2))

# %%
# Score the persons
# -----------------
# ``factor_scores`` returns the expected factors of each person, and their covariance. The unit is the standard deviation in the
# population. With ``missing="em"`` the score uses the answers that the person gave. The fewer they are, the larger is its error.

scores, covariances = model.factor_scores(turned, mean=fit.mean, missing="em")
errors = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
table = pd.DataFrame(scores, columns=model.partition.names)
table["answers"] = data.notna().sum(axis=1)
table.round(2).head()

# %%
# The picture shows two scales. The bars are two standard errors of three persons: the one with most gaps, and those with the lowest and
# the highest anxiety.

anxiety, curiosity = (model.partition.names.index(x) for x in ("anxiety", "curiosity"))
level = table["anxiety"]
shown = [table["answers"].idxmin(), level.idxmin(), level.idxmax()]

figure, ax = plt.subplots(figsize=(6.4, 5), layout="constrained")
ax.plot(scores[:, anxiety], scores[:, curiosity], "o", ms=5, alpha=0.3, mew=0)
for i in shown:
    ax.errorbar(
        scores[i, anxiety], scores[i, curiosity],
        xerr=2 * errors[i, anxiety], yerr=2 * errors[i, curiosity],
        fmt="o", ms=9, lw=2.5, label=f"person {i}, {table['answers'][i]} answers",
    )  # fmt: skip
ax.set(xlabel="anxiety", ylabel="curiosity", title="Scores of 200 persons")
ax.legend(loc="lower right")
plt.show()

# %%
# The scores are not averages: accurate items count more, and the other scales help too, because they are correlated.
# :ref:`sphx_glr_howto_unequal_noise.py` compares both. If you have no answers but their correlations, pass this matrix and ``n_samples``, and to
# ``fit_factor`` also ``samples=False``. Scores need the answers.
