"""
Confidence intervals of block values
====================================

The mean correlation between two groups of variables has a smaller error than the correlation between two variables. For
normal samples, ``confidence_intervals`` returns exact or nearly exact intervals. The example uses measurements of
diabetes patients.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes

import blockmat as bm
from blockmat.inference import confidence_intervals, likelihood_ratio_test

data = load_diabetes()
X = data.data / data.data.std(axis=0, ddof=1)
names = np.array(
    ["age", "sex", "bmi", "pressure", "tc", "ldl", "hdl", "tch", "ltg", "glucose"]
)
p = bm.find_partition(X, 4, samples=True)
for members in p:
    print(*names[members])

# %%
# Plot the 95 % intervals for the first 40 patients and for all 442 patients. The first two measures name a block:

labels = [", ".join(names[members[:2]]) + ", ..." * (len(members) > 2) for members in p]
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
pairs = list(zip(*np.triu_indices(4), strict=True))
pairs = [(a, b) for a, b in pairs if a != b or p.sizes[a] > 1]
for shift, n in ((-0.12, 40), (0.12, len(X))):
    A = bm.fit_samples(X[:n], p)
    low, high = np.moveaxis(confidence_intervals(A, df=n - 1).values, -1, 0)
    for y, (a, b) in enumerate(pairs):
        ax.plot([low[a, b], high[a, b]], [y + shift] * 2, f"C{n == 40:d}", lw=2)
        ax.plot(
            A.values[a, b],
            y + shift,
            f"C{n == 40:d}o",
            label=f"{n} patients" if not y else None,
        )
ax.axvline(0, color="0.7", lw=0.8)
ax.set_yticks(
    range(len(pairs)),
    [
        f"{labels[a]} and {labels[b]}" if a != b else f"inside {labels[a]}"
        for a, b in pairs
    ],
)
ax.invert_yaxis()
ax.set_xlabel("mean covariance of standardized measures")
ax.legend()
plt.show()

# %%
# Test whether a coarser partition is sufficient. The p-value of the likelihood-ratio test, with Bartlett's correction, is
# the probability of such a difference if the coarser partition is true:

coarse = p.merge([0, 0, 1, 2])
test = likelihood_ratio_test(X, coarse, p)
print(
    f"the first two blocks as one: statistic {test.statistic:.0f}, {test.df} numbers fewer, p = {test.pvalue:.1g}"
)
