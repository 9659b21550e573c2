"""Real data, from the folder that ``--data`` or BLOCKMAT_DATA names; missing files are skipped."""

import os
from pathlib import Path

import numpy as np

FILES = {
    "mnist.npz": "arrays x_train (60000, 28, 28) and y_train, as in the file of that name that Keras "
    "downloads from storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    "tinyshakespeare.txt": "data/tinyshakespeare/input.txt of github.com/karpathy/char-rnn",
    "sp500_sectors.npz": "arrays prices (1258, 452) and sectors (452,): data(stockdata) of the R "
    "package huge on CRAN, its data and the second column of its info",
    "questionnaire_correlations.npz": "for x in thurstone, reise: arrays x (n, n), x_groups (n,) and "
    "x_n, the number of people: Thurstone and Reise of the R package psych on CRAN, with the "
    "groups of its help pages",
    "graph_football.npz": "arrays n, edges (613, 2) and labels (115,): football.gml of "
    "websites.umich.edu/~mejn/netdata, each edge once, labels its value",
    "graph_polbooks.npz": "arrays n, edges (441, 2) and labels (105,): polbooks.gml of the same page",
}


def folder(given: str | None = None) -> Path | None:
    """Return the folder of the data, or None if none is given."""
    name = given or os.environ.get("BLOCKMAT_DATA")
    return Path(name) if name else None


def load(name: str):
    """Open a file of arrays; if it is missing, print where to get it and return None."""
    where = folder()
    if where is None or not (where / name).exists():
        print(f"skipped: {name} is not in the data folder (--data or BLOCKMAT_DATA); it contains "
              f"{FILES[name]}")  # fmt: skip
        return None
    return np.load(where / name)


def stocks():
    """Return daily log-returns (1257, 452), clipped at 0.35 for splits, and sectors; or None."""
    file = load("sp500_sectors.npz")
    if file is None:
        return None
    returns = np.diff(np.log(file["prices"].astype(float)), axis=0)
    return np.clip(returns, -0.35, 0.35), file["sectors"]


def questionnaire(name: str):
    """Return a correlation matrix of items, their known groups and the number of people; or None."""
    file = load("questionnaire_correlations.npz")
    return None if file is None else (file[name], file[f"{name}_groups"], int(file[f"{name}_n"]))


def network(name: str):
    """Return a symmetric adjacency matrix and the known communities; or None."""
    file = load(f"graph_{name}.npz")
    if file is None:
        return None
    n = int(file["n"])
    adjacency = np.zeros((n, n))
    first, second = file["edges"].T
    adjacency[first, second] = adjacency[second, first] = 1
    return adjacency, file["labels"]
