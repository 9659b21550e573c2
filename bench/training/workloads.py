"""The networks of the experiments with their batches and validation data, made from a seed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

VALIDATION = 1000  # examples


@dataclass(frozen=True)
class Workload:
    """A network and its data."""

    title: str
    make: Callable[[Path | None], "Task"]  # with the seed already set
    needs: str | None = None
    steps: int = 400

    def missing(self, data: Path | None) -> bool:
        """Whether the file that it needs is missing."""
        return self.needs is not None and not (data is not None and (data / self.needs).exists())


@dataclass
class Task:
    """One network with its batches."""

    model: nn.Module
    batch: Callable[[torch.Generator], tuple[Tensor, ...]]
    loss: Callable[..., Tensor]  # of a batch
    validation: tuple[Tensor, ...]


def _classifier(model: nn.Module, x: Tensor, y: Tensor, size: int) -> Task:
    """Train on batches of all but the last examples, and validate on these."""
    n = len(x) - VALIDATION if len(x) > 5 * VALIDATION else 3 * len(x) // 4

    def batch(generator: torch.Generator) -> tuple[Tensor, ...]:
        chosen = torch.randint(n, (size,), generator=generator)
        return x[chosen], y[chosen]

    def loss(inputs: Tensor, classes: Tensor) -> Tensor:
        return F.cross_entropy(model(inputs), classes)

    return Task(model, batch, loss, (x[n:], y[n:]))


def _perceptron(*sizes: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), activation()]
    return nn.Sequential(*layers[:-1])


def _digits(_: Path | None) -> Task:
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x = torch.tensor(images[order] / 16, dtype=torch.float32)
    return _classifier(_perceptron(64, 128, 64, 10), x, torch.tensor(classes[order]), 100)


@cache
def _mnist_images(data: Path) -> tuple[Tensor, Tensor]:
    with np.load(data / "mnist.npz") as file:
        x = torch.tensor(file["x_train"].reshape(-1, 784), dtype=torch.float32) / 255
        return x, torch.tensor(file["y_train"].astype(np.int64))


def _mlp(data: Path) -> Task:
    return _classifier(_perceptron(784, 256, 128, 10), *_mnist_images(data), 100)


def _autoencoder(data: Path) -> Task:
    x, _ = _mnist_images(data)
    model = _perceptron(784, 200, 64, 16, 64, 200, 784, activation=nn.Tanh)
    task = _classifier(model, x, x, 100)
    task.loss = lambda images, _: F.binary_cross_entropy_with_logits(model(images), images)
    return task


def _convolutional(data: Path) -> Task:
    model = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(784, 10),
    )  # fmt: skip
    return _classifier(model, *_mnist_images(data), 50)


def _strided(data: Path) -> Task:
    model = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(8, 16, 5, stride=2, padding=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    return _classifier(model, *_mnist_images(data), 100)


class _CharacterModel(nn.Module):
    def __init__(self, n_symbols: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_symbols, width)
        self.recurrent = nn.GRU(width, width, num_layers=2, batch_first=True)
        self.output = nn.Linear(width, n_symbols)

    def forward(self, symbols: Tensor) -> Tensor:
        return self.output(self.recurrent(self.embedding(symbols))[0])


@cache
def _text(data: Path) -> tuple[Tensor, int]:
    text = (data / "tinyshakespeare.txt").read_text(encoding="utf-8")
    symbols, codes = np.unique(list(text), return_inverse=True)
    return torch.tensor(codes), len(symbols)


def _gru(data: Path) -> Task:
    codes, n_symbols = _text(data)
    model = _CharacterModel(n_symbols, 96)
    n, length, size = 9 * len(codes) // 10, 24, 16
    held_out = n + 5 * length * torch.arange(96)[:, None] + torch.arange(length + 1)

    def batch(generator: torch.Generator) -> tuple[Tensor, ...]:
        starts = torch.randint(n - length - 1, (size, 1), generator=generator)
        symbols = codes[starts + torch.arange(length + 1)]
        return symbols[:, :-1], symbols[:, 1:]

    def loss(symbols: Tensor, following: Tensor) -> Tensor:
        return F.cross_entropy(model(symbols).flatten(0, 1), following.flatten())

    return Task(model, batch, loss, (codes[held_out][:, :-1], codes[held_out][:, 1:]))


WORKLOADS = {
    "digits": Workload("Digits of scikit-learn, perceptron 64-128-64-10", _digits),
    "mlp": Workload("MNIST, perceptron 784-256-128-10", _mlp, "mnist.npz"),
    "autoencoder": Workload(
        "MNIST, autoencoder 784-200-64-16-64-200-784, tanh", _autoencoder, "mnist.npz"
    ),
    "convolutional": Workload(
        "MNIST, two 5 x 5 convolutions of 8 and 16 filters", _convolutional, "mnist.npz"
    ),
    "strided": Workload(
        "MNIST, the same filters with stride 2 and a hidden layer of 64", _strided, "mnist.npz"
    ),
    "gru": Workload(
        "Characters of Shakespeare, two GRU layers of 96 units", _gru, "tinyshakespeare.txt"
    ),
}


def make(name: str, seed: int, data: Path | None) -> Task:
    """Make a workload's network and batches from a seed."""
    torch.manual_seed(seed)
    return WORKLOADS[name].make(data)
