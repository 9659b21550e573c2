"""
Train a network
===============

:class:`blockmat.optim.torch.BlockAdamW` is AdamW with a block-constant matrix in each layer. It is a
``torch.optim.Optimizer``, so it works in any training loop. This guide trains a small network on handwritten digits and
compares it with ``torch.optim.AdamW``.
"""

# %%
# Prepare the data and the model as usual:

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from blockmat.optim.torch import BlockAdamW

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
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )


# %%
# Write the training loop as usual. Let the learning rate grow over the first steps, and then fall to zero:


def train(optimizer, model, n_epochs=15):
    """Return the loss on the test images after each epoch."""
    losses = []
    generator = torch.Generator().manual_seed(0)
    n_steps = n_epochs * -(-len(x) // 64)
    warm_up = max(1, n_steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm_up, 1 - step / n_steps)
    )
    for _ in range(n_epochs):
        for batch in torch.randperm(len(x), generator=generator).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            losses.append(nn.functional.cross_entropy(model(x_test), y_test).item())
    return losses


# %%
# Pass the model to the optimizer, not only its parameters. The optimizer then knows the output layer, which gets Adam, as
# biases do. The default rate of ``BlockAdamW`` needs no tuning here; AdamW gets the best of four rates.

model = make_model()
optimizer = BlockAdamW(model)
curves = {"BlockAdamW, default rate": train(optimizer, model)}

runs = {}
for lr in (0.001, 0.003, 0.01, 0.03):
    model = make_model()
    adamw = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0)
    runs[lr] = train(adamw, model)
best = min(runs, key=lambda lr: runs[lr][-1])
curves[f"torch.optim.AdamW, lr={best}"] = runs[best]

figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for name, losses in curves.items():
    ax.plot(range(1, len(losses) + 1), losses, "o-", ms=3, label=name)
    print(f"{name:30s} {losses[-1]:.4f}")
ax.set(yscale="log", xlabel="epoch", ylabel="loss on test images")
ax.legend()
plt.show()

# %%
# Look at the memory: a momentum for each weight, a matrix between its blocks, and some numbers for each column.

state = sum(
    tensor.nbytes for entry in adamw.state.values() for tensor in entry.values()
)
print(f"{optimizer.state_bytes()} bytes, AdamW {state}")

# %%
# One run on one small network is not conclusive. :doc:`/experiments` compares more optimizers on seven networks with several
# seeds. :doc:`/optimizers` and :doc:`/scaling` explain checkpoints, data-parallel training and sharded parameters.
