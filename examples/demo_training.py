"""Train a network with BlockAdamW and with AdamW.

    python examples/demo_training.py

A small network learns scikit-learn's 1797 images of handwritten digits. AdamW is tuned over five
learning rates; BlockAdamW has its default rate. The program prints a comparison and draws the
validation losses. It needs the extra "demo".
"""

import argparse
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from blockmat.optim.torch import BlockAdamW

SEEDS = (0, 1, 2)
STEPS, BATCH, EVERY = 300, 100, 10
WARM_UP = STEPS // 20
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
OPTIMIZERS = {
    "AdamW (torch), best of five rates": (
        RATES,
        lambda net, lr: torch.optim.AdamW(net.parameters(), lr, weight_decay=0),
    ),
    "BlockAdamW (blockmat), default": (
        (0.003,),
        lambda net, lr: BlockAdamW(net, lr),
    ),
}


class Run(NamedTuple):
    """The validation loss after every 10 steps, and the seconds of training."""

    losses: list[float]
    seconds: float


def main(arguments=None):
    """Print the comparison and save its picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--picture",
        metavar="FILE",
        default="blockmat-training.png",
        help="where to save the picture (default: %(default)s)",
    )
    picture = parser.parse_args(arguments).picture

    data = read_digits()
    print(f"\nTraining 64-128-64-10 on {len(data[0])} digits, {STEPS} steps of {BATCH}, "
          f"{len(SEEDS)} seeds, with warm-up and decay of the rate:\n")  # fmt: skip
    best = {}
    for name, (rates, make) in OPTIMIZERS.items():
        tried = {lr: [train(make, lr, seed, data) for seed in SEEDS] for lr in rates}
        means = {
            lr: np.mean([r.losses[-1] for r in runs]) for lr, runs in tried.items()
        }
        lr = min(means, key=means.__getitem__)
        best[name] = lr, tried[lr]
    _, of_adamw = next(iter(best.values()))
    target = float(np.mean([r.losses[-1] for r in of_adamw]))
    print(f"{'optimizer':<34}{'lr':>6}{'final':>17}{'steps to the':>16}{'seconds':>9}")
    print(f"{'':<34}{'':>6}{'validation loss':>17}{'loss of AdamW':>16}{'in all':>9}")
    for name, (lr, runs) in best.items():
        curve = np.mean([r.losses for r in runs], axis=0)
        reached = np.flatnonzero(curve <= target)
        steps = f"{EVERY * (1 + reached[0])}" if len(reached) else "not reached"
        print(f"{name:<34}{lr:>6g}{curve[-1]:>17.4f}{steps:>16}"
              f"{np.median([r.seconds for r in runs]):>9.2f}")  # fmt: skip
    draw(best, target, picture)
    print(f"\nPicture: {picture}")


def read_digits():
    """Return images and digits to train on, and others to validate with."""
    images, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x = torch.tensor(images[order] / 16, dtype=torch.float32)
    y = torch.tensor(digits[order])
    return x[:1347], y[:1347], x[1347:], y[1347:]


def train(make, lr, seed, data):
    """Train a network once."""
    torch.manual_seed(seed)
    x, y, x_held, y_held = data
    net = nn.Sequential(
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = make(net, lr)
    losses, seconds = [], 0.0
    for step in range(1, STEPS + 1):
        batch = torch.randint(len(x), (BATCH,))
        for group in optimizer.param_groups:
            group["lr"] = lr * min(step / WARM_UP, 1 - (step - 1) / STEPS)
        start = perf_counter()
        optimizer.zero_grad()
        loss = cross_entropy(net(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
        seconds += perf_counter() - start
        if step % EVERY == 0:
            with torch.no_grad():
                losses.append(cross_entropy(net(x_held), y_held).item())
    return Run(losses, seconds)


def draw(best, target, picture):
    """Draw the validation losses: median and range of the seeds."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    steps = EVERY * np.arange(1, STEPS // EVERY + 1)
    for name, (lr, runs) in best.items():
        curves = np.array([r.losses for r in runs])
        (line,) = axes.plot(
            steps, np.median(curves, axis=0), label=f"{name}, lr {lr:g}"
        )
        axes.fill_between(
            steps, curves.min(axis=0), curves.max(axis=0), color=line.get_color(), alpha=0.2
        )  # fmt: skip
    axes.axhline(target, color="black", linestyle=":", linewidth=0.8)
    axes.set(yscale="log", xlabel="steps", ylabel="validation loss")
    axes.set_title("Handwritten digits: median and range of three seeds", fontsize=11)
    axes.legend(frameon=False)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
