"""
Train a network
===============

:class:`blockmat.optim.torch.BlockAdaGrad` is full-matrix AdaGrad with a block-constant matrix in each layer. It is a
``torch.optim.Optimizer``, so it works in any training loop. This guide trains a small network on handwritten digits and
compares it with ``torch.optim.Adagrad``.
"""

# %%
# Prepare the data and the model as usual:

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from blockmat.optim.torch import BlockAdaGrad

images, digits = load_digits(return_X_y=True)
x, x_test, y, y_test = (
    torch.as_tensor(part)
    for part in train_test_split(images / 16, digits, random_state=0)
)
x, x_test = x.float(), x_test.float()


def make_model():
    """Return the network, with the same initial weights at each call."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )


# %%
# Write the training loop as usual. Pass the model to the optimizer, not only its parameters. The optimizer then puts each
# bias into the blocks of its weight, and uses one number per entry for the output layer.


def train(model, optimizer, n_epochs=15):
    """Return the loss on the test images after each epoch."""
    losses = []
    generator = torch.Generator().manual_seed(0)
    for _ in range(n_epochs):
        for batch in torch.randperm(len(x), generator=generator).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            losses.append(nn.functional.cross_entropy(model(x_test), y_test).item())
    return losses


# %%
# For a fair comparison, choose the best of five learning rates for each optimizer:

kinds = {
    "BlockAdaGrad": lambda model, lr: BlockAdaGrad(model, lr=lr),
    "torch.optim.Adagrad": lambda model, lr: torch.optim.Adagrad(
        model.parameters(), lr=lr
    ),
}
curves, optimizers = {}, {}
for name, make in kinds.items():
    runs = {}
    for lr in (0.003, 0.01, 0.03, 0.1, 0.3):
        model = make_model()
        optimizers[name] = make(model, lr)
        runs[lr] = train(model, optimizers[name])
    best = min(runs, key=lambda lr: runs[lr][-1])
    curves[f"{name}, lr={best}"] = runs[best]
    print(f"{name:20s}", {lr: round(losses[-1], 3) for lr, losses in runs.items()})

figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for name, losses in curves.items():
    ax.plot(range(1, len(losses) + 1), losses, "o-", ms=3, label=name)
ax.set(yscale="log", xlabel="epoch", ylabel="loss on test images")
ax.legend()
plt.show()

# %%
# For a weight with k rows and m columns, BlockAdaGrad stores about 3.5 k² + m numbers, and AdaGrad stores k m. This
# is more for square layers, as here, and less for wide layers. ``structure="mean"``, as in the paper, stores half of it.

adagrad = sum(
    state["sum"].nbytes for state in optimizers["torch.optim.Adagrad"].state.values()
)
print(f"{optimizers['BlockAdaGrad'].state_bytes()} bytes, diagonal AdaGrad {adagrad}")

# %%
# One run on one small network is not conclusive. :doc:`/experiments` compares more optimizers on six networks with several
# seeds. :doc:`/optimizers` and :doc:`/scaling` explain checkpoints, data-parallel training and sharded parameters.
