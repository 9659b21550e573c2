"""
Portfolio with a late listing, and a stress test
================================================

You hold 20 stocks. One of them is listed only since October 2019, the others for decades. Which covariance matrix should you use?
Which weights have the smallest variance? What happens if the two banks fall by 10 % in a day? This guide starts from a
file of daily prices and answers these questions at the end of 2019. Then it compares the answers with later years.
"""

# %%
# From prices to returns
# ----------------------
# The file comes with skfolio. We read it as any other CSV file, with a date and 20 prices in each row.

# sphinx_gallery_thumbnail_number = 2
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from skfolio.moments import EWMu
from skfolio.optimization import MeanRisk
from skfolio.prior import EmpiricalPrior

import blockmat as bm
import blockmat.skfolio
from blockmat.covariance import BlockCovariance

file = files("skfolio.datasets") / "data" / "sp500_dataset.csv.gz"
prices = pd.read_csv(file, index_col="Date", parse_dates=True)
returns = prices.pct_change().iloc[1:]
prices.iloc[[0, -1], :6]

# %%
# blockmat needs returns, not prices. Check their unit: these are fractions, so a fall of 10 % is -0.1.

print(f"median size of a daily return: {returns.abs().median().median():.4f}")

# %%
# The prices have no gaps. To show a late listing, **we delete all prices of Coca-Cola (KO) before October 2019**. So we can
# compare each estimate with that of the complete prices. The two years 2018 and 2019 are the samples.

complete = returns.loc["2018":"2019"]
past = complete.copy()
past.loc[:"2019-09", "KO"] = np.nan
past.count()[["JNJ", "JPM", "KO", "LLY"]]

# %%
# Groups
# ------
# We type in the sectors. A dict or a Series of labels is matched to the names of the columns.

members = {
    "technology": "AAPL AMD MSFT",
    "banks": "BAC JPM",
    "energy": "CVX RRC XOM",
    "industry": "GE",
    "shops": "BBY HD",
    "health": "JNJ LLY MRK PFE UNH",
    "staples": "KO PEP PG WMT",
}
sectors = {stock: name for name, stocks in members.items() for stock in stocks.split()}

# %%
# :func:`~blockmat.find_partition` finds almost the same groups from the returns alone, in spite of the gap:

found = bm.find_partition(past, samples=True, missing="em")
for names in found.groups(past.columns).values():
    print(*names)

# %%
# Which covariance?
# -----------------
# :class:`~blockmat.covariance.BlockCovariance` estimates the covariance. With ``loadings=True`` each sector has a factor, and each
# stock has a loading on it. With ``missing="em"`` the fit maximizes the likelihood of the observed returns. Below it is compared
# with the default model, with the covariance of the days on which all stocks were traded, and with that of the complete prices.

options = {"loadings": True, "shrinkage": None, "missing": "em"}
model = BlockCovariance(sectors, **options).fit(past)
default = BlockCovariance(sectors, missing="em").fit(past)
covariances = {
    "complete prices": complete.cov(),
    "sector factors": model.covariance_,
    "default model": default.covariance_,
    "days without gaps": past.dropna().cov(),
}
ko, pep = past.columns.get_indexer(["KO", "PEP"])
print("                   volatility of KO   correlation with PEP")
for name, covariance in covariances.items():
    C = np.asarray(covariance)
    correlation = C[ko, pep] / np.sqrt(C[ko, ko] * C[pep, pep])
    print(f"{name:18s} {100 * np.sqrt(252 * C[ko, ko]):12.1f} % {correlation:20.2f}")

# %%
# The last months of 2019 were calm. The default model takes the variance of each stock from the observed returns of this
# stock, so KO looks safer than it is. The model with sector factors also uses the other stocks. They were
# calm in these months too, compared with the two years, so it estimates a larger variance of KO.
#
# Weights
# -------
# The weights of smallest variance are proportional to the solution of a linear system:

weights = model.operator_.solve(np.ones(20))
weights /= weights.sum()
print(
    f"{(weights < 0).sum()} of 20 weights are negative, the lowest is {weights.min():.2f}"
)

# %%
# If you do not sell short, use an optimizer. ``MeanRisk`` of skfolio minimizes the variance by default,
# and ``blockmat.skfolio.BlockCovariance`` has the same options. The estimator of the means must accept gaps, and ``max_history`` leaves
# only the days on which all stocks were traded as scenarios.

prior = EmpiricalPrior(
    mu_estimator=EWMu(),
    covariance_estimator=blockmat.skfolio.BlockCovariance(sectors, **options),
    max_history=int(past["KO"].count()),
)
optimizer = MeanRisk(prior_estimator=prior).fit(past)
table = pd.DataFrame({"solve": weights, "no short sales": optimizer.weights_})
table.set_index(past.columns).nlargest(8, "no short sales").round(3)

# %%
# Test on later years
# -------------------
# One year is little evidence. For each of 20 years we estimate covariances from the two years before. Each year another stock
# loses its prices before the last October, in the order of the file. The numbers are volatilities in % a year.


def volatility(covariance, future):
    """Return the annual volatility of the portfolio of least estimated variance, in per cent."""
    weights = np.linalg.solve(np.asarray(covariance), np.ones(len(covariance)))
    return 100 * np.sqrt(252) * (future @ (weights / weights.sum())).std()


tests = {}
for late, year in zip(returns.columns, range(2003, 2023), strict=True):
    before = returns.loc[f"{year - 2}" : f"{year - 1}"].copy()
    before.loc[: f"{year - 1}-09", late] = np.nan
    after = returns.loc[f"{year}"]
    others = before.drop(columns=late)
    tests[f"{late} {year}"] = {
        "equal weights": volatility(np.eye(20), after),
        "sample, all pairs of values": volatility(before.cov(), after),
        "sample, days without gaps": volatility(before.dropna().cov(), after),
        "sample, without the stock": volatility(others.cov(), after[others.columns]),
        "sector factors": volatility(
            BlockCovariance(sectors, **options).fit(before).covariance_, after
        ),
    }
tests = pd.DataFrame(tests).T
tests.describe().loc[["mean", "50%", "max"]].T.round(1)

# %%
# The sector factors are close to leaving the stock out, and better than both covariances that keep it without a model. If you leave
# the stock out, you get no estimate of its risk and no weight for it, although you hold it. ``returns.cov()`` of pandas uses all pairs of values. It need
# not be positive definite, and then its weights make no sense.

ratios = tests.drop(columns="equal weights").div(tests["equal weights"], axis=0)
figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.axvline(1, color="0.5", lw=1)
for i, name in enumerate(ratios.columns[::-1]):
    ax.plot(ratios[name], np.full(20, i), "o", ms=9, alpha=0.5, mew=0)
    ax.plot(ratios[name].median(), i, "|", ms=24, mew=2, color="black")
ax.set_yticks(range(4), ratios.columns[::-1])
ax.set_ylim(-0.6, 3.6)
ax.set_xscale("log")
ax.set_xticks([0.6, 1, 2, 5, 20, 50], ["0.6", "1", "2", "5", "20", "50"], minor=False)
ax.minorticks_off()
ax.set_xlabel("volatility / volatility of equal weights; 20 years and their median")
plt.show()

# %%
# Stress test
# -----------
# ``condition`` returns the mean and the covariance of the other stocks if both banks fall by 10 %. A matrix has no names, so
# ``get_indexer`` looks up the numbers of the columns.

banks = past.columns.get_indexer(["BAC", "JPM"])
mean, rest = model.operator_.condition(banks, -0.10)
others = past.columns.drop(["BAC", "JPM"])
scenario = pd.DataFrame({"mean": mean, "deviation": np.sqrt(rest.diagonal())}, others)

for name, held in (
    ("equal weights", np.full(20, 0.05)),
    ("no short sales", optimizer.weights_),
):
    held_rest = np.delete(held, banks)
    expected = -0.10 * held[banks].sum() + held_rest @ mean
    deviation = np.sqrt(held_rest @ (rest @ held_rest))
    print(f"{name}: {100 * expected:.1f} %, standard deviation {100 * deviation:.1f} %")

# %%
# In 2020 there were two days on which each bank fell by 8 to 12 %. The picture compares them with the model. A bar is the interval of
# 90 % of the normal model, a dot is its mean, and a cross is what happened.

year = returns.loc["2020"]
days = year[
    year[["BAC", "JPM"]].apply(lambda fall: fall.between(-0.12, -0.08)).all(axis=1)
]

figure, ax = plt.subplots(figsize=(9, 4.8), layout="constrained")
ax.axhline(0, color="0.5", lw=1)
place, ticks = 0, []
for name in [name for name in members if name != "banks"]:
    stocks = members[name].split()
    x = place + np.arange(len(stocks))
    colour = f"C{list(members).index(name)}"
    centre, deviation = 100 * scenario.loc[stocks].to_numpy().T
    ax.errorbar(
        x, centre, 1.645 * deviation, fmt="o", ms=9, lw=7, alpha=0.5, color=colour
    )
    for day, marker in zip(days.index, "x+", strict=True):
        ax.plot(x, 100 * days.loc[day, stocks], marker, ms=9, mew=2, color="black",
                label=f"{day:%d %B %Y}" if place == 0 else None)  # fmt: skip
    ax.text(x.mean(), 9, name, color=colour, ha="center", weight="bold")
    ticks += [*zip(x, stocks, strict=True)]
    place += len(stocks) + 1
ax.set_xticks(*zip(*ticks, strict=True), rotation=90)
ax.set(
    ylabel="return, %",
    title="All other stocks if both banks fall by 10 %",
    ylim=(-17, 11),
)
ax.legend(loc="lower right")
plt.show()

# %%
# The mean of these 18 stocks, in the model and on both days:

print(f"model: {100 * mean.mean():.1f} %")
for day, value in days[others].mean(axis=1).items():
    print(f"{day:%d %B %Y}: {100 * value:.1f} %")

# %%
# Both times they fell by more than the model expects. Large falls are more frequent and more correlated than in a normal model, so
# the stress test is an optimistic estimate.
#
# :doc:`/stocks` analyses 452 stocks. The :doc:`user guide </guide>` lists more options for gaps and
# for skfolio.
