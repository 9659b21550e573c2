r"""
Stress test of a portfolio
==========================

What happens to a portfolio if five banks lose 10 % in one day? The method ``condition`` answers with the conditional
normal distribution: the expected returns of all other stocks, and their covariance matrix. The covariance matrix of this
guide has one correlation for each pair of sectors, and the answer costs O(n + k³) for n stocks in k sectors.
"""

# %%
# Estimate the covariance
# -----------------------
# The returns are simulated, because prices may rarely be redistributed: 500 days of 400 stocks in eight sectors. A stock
# depends on the market, on its sector and on itself, and each stock has its own volatility.

import matplotlib.pyplot as plt
import numpy as np

from blockmat.covariance import BlockCovariance

rng = np.random.default_rng(0)
names = np.array(
    "banks insurance energy industry retail health software utilities".split()
)
sectors = np.repeat(names, 50)
market = np.repeat([1.0, 0.9, 0.7, 0.9, 0.7, 0.5, 0.9, 0.2], 50)  # of each sector
volatility = 0.02 * rng.lognormal(sigma=0.3, size=400)


def common(n_days):
    """Draw what the stocks of each sector have in common."""
    finance = rng.standard_normal((n_days, 1)) * np.isin(names, ["banks", "insurance"])
    return np.repeat(0.5 * finance + 0.4 * rng.standard_normal((n_days, 8)), 50, axis=1)


moves = market * rng.standard_normal((500, 1)) + common(500)
returns = 0.6 * volatility * (moves + rng.standard_normal((500, 400)))

covariance = BlockCovariance(sectors, shrinkage=None).fit(returns).operator_
covariance

# %%
# Condition on the scenario
# -------------------------
# Each of the first five banks loses 10 % on one day. ``condition`` returns the mean and the covariance of the other 395
# stocks, in ascending order. The covariance has the same structure as before.

fallen = np.flatnonzero(sectors == "banks")[:5]
others = np.delete(np.arange(400), fallen)
mean, rest = covariance.condition(fallen, np.full(5, -0.10))
rest

# %%
# The expected losses by sector:

for name in names:
    chosen = sectors[others] == name
    print(f"{name:10s} {100 * mean[chosen].mean():6.1f} %")

# %%
# ``toarray`` gives the dense matrix, and the textbook formula gives the same mean:

dense = covariance.toarray()
gains = np.linalg.solve(dense[np.ix_(fallen, fallen)], np.full(5, -0.10))
difference = np.abs(dense[np.ix_(others, fallen)] @ gains - mean).max()
print(f"largest difference: {difference:.0e}")

# %%
# Loss of the portfolio
# ---------------------
# The portfolio holds all other stocks with equal weights. Its return in the scenario is normal. On a usual day the mean
# is zero, and the covariance is that of the same stocks, ``submatrix(others)``:

weights = np.full(len(others), 1 / len(others))
usual = covariance.submatrix(others)
for name, expected, matrix in (
    ("usual day", 0.0, usual),
    ("scenario", weights @ mean, rest),
):
    deviation = np.sqrt(weights @ (matrix @ weights))
    low = expected - 1.645 * deviation
    print(
        f"{name:10s} expected {100 * expected:5.1f} %, 5 % quantile {100 * low:5.1f} %"
    )

# %%
# Draw all stocks
# ---------------
# Each dot is the expected return of a stock in the scenario, and the line is its interval of 90 %. Stocks are sorted by
# sector and by expected return. The banks fall by more than the market because they share a sector with the fallen banks.

deviations = 1.645 * np.sqrt(rest.diagonal())
number = np.array([list(names).index(name) for name in sectors[others]])
order = np.lexsort([mean, number])
place = np.arange(len(others)) + 12 * number[order]

figure, ax = plt.subplots(figsize=(9, 4.2), layout="constrained")
ax.axhline(0, color="0.5", lw=0.8)
for b in range(8):
    chosen = number[order] == b
    stocks = order[chosen]
    ax.errorbar(place[chosen], 100 * mean[stocks], 100 * deviations[stocks],
                fmt=".", ms=3, lw=0.6, color=f"C{b}")  # fmt: skip
centres = [place[number[order] == b].mean() for b in range(8)]
ax.set_xticks(centres, names)
ax.set(
    ylabel="return in the scenario, %",
    title="All other stocks when five banks fall by 10 %",
)
plt.show()
