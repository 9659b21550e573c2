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


@dataclass
class Task:
    """One network with its batches."""

    model: nn.Module
    batch: Callable[[torch.Generator], tuple[Tensor, ...]]
    loss: Callable[..., Tensor]  # of a batch
    validation: tuple[Tensor, ...]


@dataclass(frozen=True)
class Workload:
    """A network and its data."""

    title: str
    make: Callable[[Path], Task]  # from the file of the data, with the seed already set
    steps: int
    needs: str | None = None  # the name of that file


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


def _digits(_: Path) -> Task:
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x = torch.tensor(images[order] / 16, dtype=torch.float32)
    return _classifier(_perceptron(64, 128, 64, 10), x, torch.tensor(classes[order]), 100)


@cache
def _mnist(file: Path) -> tuple[Tensor, Tensor]:
    with np.load(file) as arrays:
        x = torch.tensor(arrays["x_train"].reshape(-1, 784), dtype=torch.float32) / 255
        return x, torch.tensor(arrays["y_train"].astype(np.int64))


def _mlp(file: Path) -> Task:
    return _classifier(_perceptron(784, 256, 128, 10), *_mnist(file), 100)


def _autoencoder(file: Path) -> Task:
    x, _ = _mnist(file)
    model = _perceptron(784, 200, 64, 16, 64, 200, 784, activation=nn.Tanh)
    task = _classifier(model, x, x, 100)
    task.loss = lambda images, _: F.binary_cross_entropy_with_logits(model(images), images)
    return task


def _convolutional(file: Path) -> Task:
    def convolution(n_in: int, n_out: int, stride: int = 1) -> list[nn.Module]:
        own = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        return [own, nn.BatchNorm2d(n_out), nn.ReLU()]

    model = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)), *convolution(1, 16, 2), *convolution(16, 32, 2),
        *convolution(32, 64, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    return _classifier(model, *_mnist(file), 100)


# Models of text


class _Attention(nn.Module):
    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        split = self.queries_keys_values(x).unflatten(-1, (3, self.n_heads, -1))
        q, k, v = split.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.output(mixed.transpose(1, 2).flatten(-2))


class _Block(nn.Module):
    def __init__(self, width: int, n_heads: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.before_attention, self.before_mlp = norm(width), norm(width)
        self.attention = _Attention(width, n_heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False), nn.GELU(),
            nn.Linear(4 * width, width, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.before_attention(x))
        return x + self.mlp(self.before_mlp(x))


class _Transformer(nn.Module):
    def __init__(self, n_symbols: int, length: int, norm: type[nn.Module]) -> None:
        super().__init__()
        width, n_heads, n_layers = 96, 4, 2
        self.symbols = nn.Embedding(n_symbols, width)
        self.places = nn.Embedding(length, width)
        nn.init.normal_(self.symbols.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.02)
        self.blocks = nn.Sequential(*(_Block(width, n_heads, norm) for _ in range(n_layers)))
        self.norm = norm(width)
        self.output = nn.Linear(width, n_symbols, bias=False)

    def forward(self, symbols: Tensor) -> Tensor:
        x = self.symbols(symbols) + self.places(torch.arange(symbols.shape[1]))
        return self.output(self.norm(self.blocks(x)))


class _Recurrent(nn.Module):
    def __init__(self, n_symbols: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_symbols, width)
        self.recurrent = nn.GRU(width, width, num_layers=2, batch_first=True)
        self.output = nn.Linear(width, n_symbols)

    def forward(self, symbols: Tensor) -> Tensor:
        return self.output(self.recurrent(self.embedding(symbols))[0])


@cache
def _text(file: Path) -> tuple[Tensor, int]:
    """Return the bytes of a text as numbers from 0, and how many different ones there are."""
    symbols, codes = np.unique(np.fromfile(file, dtype=np.uint8), return_inverse=True)
    return torch.tensor(codes), len(symbols)


def _of_text(file: Path, length: int, size: int, make: Callable[[int], nn.Module]) -> Task:
    """Predict the next byte, on batches of pieces of the first nine tenths of the text."""
    codes, n_symbols = _text(file)
    model = make(n_symbols)
    n = 9 * len(codes) // 10
    if len(codes) - n < 2 * length:
        raise ValueError(f"the text has {len(codes)} bytes; expected at least {20 * length}")
    last = len(codes) - length - 1
    held_out = torch.linspace(n, last, 64).long()[:, None] + torch.arange(length + 1)

    def batch(generator: torch.Generator) -> tuple[Tensor, ...]:
        starts = torch.randint(n - length - 1, (size, 1), generator=generator)
        symbols = codes[starts + torch.arange(length + 1)]
        return symbols[:, :-1], symbols[:, 1:]

    def loss(symbols: Tensor, following: Tensor) -> Tensor:
        return F.cross_entropy(model(symbols).flatten(0, 1), following.flatten())

    return Task(model, batch, loss, (codes[held_out][:, :-1], codes[held_out][:, 1:]))


def _gru(file: Path) -> Task:
    return _of_text(file, 48, 16, lambda n_symbols: _Recurrent(n_symbols, 96))


def _transformer(norm: type[nn.Module]) -> Callable[[Path], Task]:
    return lambda file: _of_text(file, 64, 16, lambda n: _Transformer(n, 64, norm))


IMAGES, TEXT = "mnist.npz", "tinyshakespeare.txt"
WORKLOADS = {
    "layernorm": Workload(
        "Bytes of Shakespeare, transformer of 2 layers, width 96, LayerNorm",
        _transformer(nn.LayerNorm), 600, TEXT,
    ),
    "rmsnorm": Workload(
        "Bytes of Shakespeare, the same transformer with RMSNorm",
        _transformer(nn.RMSNorm), 400, TEXT,
    ),
    "gru": Workload("Bytes of Shakespeare, two GRU layers of 96 units", _gru, 400, TEXT),
    "mlp": Workload("MNIST, perceptron 784-256-128-10", _mlp, 400, IMAGES),
    "autoencoder": Workload(
        "MNIST, autoencoder 784-200-64-16-64-200-784, tanh", _autoencoder, 400, IMAGES
    ),
    "convolutional": Workload(
        "MNIST, three 3 x 3 convolutions of 16, 32 and 64 filters, BatchNorm",
        _convolutional, 400, IMAGES,
    ),
    "digits": Workload("Digits of scikit-learn, perceptron 64-128-64-10", _digits, 100),
}  # fmt: skip


def make(name: str, seed: int, file: Path) -> Task:
    """Make a workload's network and batches from a seed and the file of its data."""
    torch.manual_seed(seed)
    return WORKLOADS[name].make(file)
