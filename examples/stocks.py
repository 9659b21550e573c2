"""Correlations of stocks, by sector and by found blocks.

    python examples/stocks.py --data FOLDER

reads sp500_sectors.npz in that folder, prints the text that the documentation shows, and draws
its picture. The file has the arrays prices (1258, 452), daily, and sectors (452,): the
data and the second column of the info of data(stockdata) of the R package huge on CRAN.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score

import blockmat as bm
from blockmat import plot
from blockmat.covariance import BlockCovariance
from blockmat.inference import confidence_intervals, likelihood_ratio_test


def read_returns(path):
    """Return daily log-returns and sectors; clip returns, as prices are not adjusted for splits."""
    with np.load(path) as file:
        returns = np.diff(np.log(file["prices"].astype(float)), axis=0)
        return np.clip(returns, -0.35, 0.35), file["sectors"]


def name_blocks(partition, sectors):
    """Name each block after the sector of most of its members, with a running number."""
    names = np.empty(partition.n, dtype=object)
    count = {}
    for members in partition:
        sector = max(sorted(set(sectors[members])), key=list(sectors[members]).count)
        count[sector] = count.get(sector, 0) + 1
        names[members] = f"{sector} {count[sector]:02d}"
    return bm.Partition.from_labels(names)


def minimum_variance(covariance):
    """Return the weights, with sum 1, of the portfolio of least variance: one solve."""
    weights = covariance.solve(np.ones(covariance.shape[0]))
    return weights / weights.sum()


def volatility(returns):
    """Return the annual standard deviation of daily returns, in per cent."""
    return 100 * np.sqrt(252) * returns.std()


def main(arguments=None):
    """Print the analysis and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder of sp500_sectors.npz"
    )
    parser.add_argument(
        "--picture", type=Path, default=Path("stocks.png"), help="where to draw"
    )
    options = parser.parse_args(arguments)
    path = options.data / "sp500_sectors.npz"
    if not path.exists():
        parser.error(f"{path} does not exist; the top of {__file__} says how to get it")

    returns, sectors = read_returns(path)
    n_days, n = returns.shape
    print(f"{n_days} days of {n} stocks in {len(set(sectors))} sectors\n")

    # One correlation for each pair of sectors, and a variance for each stock. The intervals
    # assume that days are independent and returns are normal
    by_sector = BlockCovariance(sectors, shrinkage=None).fit(returns)
    correlations = by_sector.operator_.matrix
    print(f"by sector: {correlations}")
    intervals = confidence_intervals(correlations, n_days - 1)
    for b in np.argsort(-np.diag(correlations.values)):
        low, high = intervals.values[b, b]
        name = correlations.partition.names[b]
        print(
            f"  {name:<28} {correlations.values[b, b]:.2f}  ({low:.2f} to {high:.2f})"
        )

    standardized = returns / returns.std(axis=0)
    test = likelihood_ratio_test(standardized, np.zeros(n), sectors)
    print(f"test that all sectors are alike: likelihood ratio {test.statistic:.0f}, "
          f"{test.df} degrees of freedom, p = {test.pvalue:.1g}\n")  # fmt: skip

    # Blocks found from the returns
    path_of_blocks = bm.partition_path(returns, samples=True)
    blocks = name_blocks(path_of_blocks.best, sectors)
    found = BlockCovariance(blocks, shrinkage=None).fit(returns)
    print(f"found: {found.operator_.matrix}")
    print(
        f"adjusted Rand index with the sectors: {adjusted_rand_score(sectors, found.labels_):.2f}"
    )
    pure = [len(set(sectors[members])) == 1 for members in blocks]
    print(f"{sum(pure)} of {len(pure)} blocks are within one sector\n")

    # The portfolio of least variance: fitted to one half of the days, tested on the other
    past, future = np.array_split(returns, 2)
    print("minimum-variance portfolio, volatility out of sample in % a year:")
    for name, model in (
        ("sectors", BlockCovariance(sectors, shrinkage=None)),
        ("found blocks", BlockCovariance(shrinkage=None)),
        ("found blocks, one factor", BlockCovariance()),
    ):
        weights = minimum_variance(model.fit(past).operator_)
        print(f"  {name:<28} {volatility(future @ weights):.2f}")
    print(f"  {'equal weights':<28} {volatility(future.mean(axis=1)):.2f}")

    # What to expect of the others if five stocks of the largest sector fall by 10 % in a day
    largest = max(sorted(set(sectors)), key=list(sectors).count)
    fallen = np.flatnonzero(sectors == largest)[:5]
    expected, rest = found.operator_.condition(fallen, -0.10)
    others = np.delete(np.arange(n), fallen)
    spread = np.sqrt(rest.diagonal())
    print(
        f"\nif five stocks of {largest} fall by 10 %, mean return and standard deviation in %:"
    )
    for name in sorted(set(sectors)):
        own = sectors[others] == name
        print(
            f"  {name:<28} {100 * expected[own].mean():5.1f} {100 * spread[own].mean():5.1f}"
        )

    draw(by_sector.operator_, found.operator_, path_of_blocks, options.picture)


def draw(by_sector, found, path_of_blocks, picture):
    """Draw both matrices, the choice of the number of blocks, and the spectrum."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 14), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    plot.matrix(by_sector, axes[0]).set_title("correlations by sector")
    plot.matrix(found, axes[1]).set_title("correlations by found blocks")
    plot.path(path_of_blocks, axes[2])
    plot.spectrum(found.matrix, ax=axes[3])
    figure.savefig(picture, dpi=75)
    print(f"\npicture: {picture.name}")


if __name__ == "__main__":
    main()
