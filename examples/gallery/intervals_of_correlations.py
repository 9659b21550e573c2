"""
How sure is the number of a block?
==================================

The mean correlation between two groups of variables is known better than a correlation between two variables, and for normal
samples there are intervals that are exact, or nearly. Here: measures of diabetes patients, from few and from all of them.
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
labels = [" ".join(names[members]) for members in p]
print(*labels, sep="\n")

# %%
# Intervals of 95 percent from the first 40 patients and from all 442:

figure, ax = plt.subplots(figsize=(7.5, 4), layout="constrained")
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
# Is a coarser partition enough? The likelihood-ratio test, with Bartlett's correction, says how likely the difference
# would be if it were:

coarse = p.merge([0, 0, 1, 2])
test = likelihood_ratio_test(X, coarse, p)
print(
    f"the first two blocks as one: statistic {test.statistic:.0f}, {test.df} numbers fewer, p = {test.pvalue:.1g}"
)
