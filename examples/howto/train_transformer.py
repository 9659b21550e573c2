"""
Train a transformer
===================

:class:`~blockmat.optim.torch.BlockAdamW` takes the place of ``torch.optim.AdamW`` in a training loop. This guide trains a
small character model in plain PyTorch, with all that a real run has: warm-up and decay of the learning rate, gradient
clipping, bfloat16 autocast, and a checkpoint from which training continues exactly. It ends with a sample of text, and
compares the validation loss with that of AdamW.
"""

# %%
# Read the text
# -------------
# The text comes with Python: the file ``pydoc_data/topics.py`` has the pages that ``help("while")`` and the like print. Many
# paragraphs are on several pages. Keep each of them once, or validation text would also be training text. A paragraph becomes
# one line.

import tempfile
from pathlib import Path
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

from blockmat.optim.torch import BlockAdamW

torch.set_num_threads(1)  # more would not make so small a model faster

paragraphs = "\n\n".join(topics.values()).split("\n\n")
lines = dict.fromkeys(" ".join(paragraph.split()) for paragraph in paragraphs)
text = "\n".join(lines)
characters = sorted(set(text))
number = {character: i for i, character in enumerate(characters)}
tokens = torch.tensor([number[character] for character in text])
training, validation = tokens.split([len(tokens) * 9 // 10, -(-len(tokens) // 10)])
print(f"{len(text)} characters, {len(characters)} different ones")

# %%
# A batch has 16 pieces of 64 characters. The target of each character is the next one. The generator decides where the
# pieces start, so it belongs to the state of the training.

CONTEXT = 64


def batch(tokens, generator, size=16):
    """Return random pieces of the text, and the same pieces one character later."""
    starts = torch.randint(len(tokens) - CONTEXT, (size, 1), generator=generator)
    pieces = tokens[starts + torch.arange(CONTEXT + 1)]
    return pieces[:, :-1], pieces[:, 1:]


# %%
# Define the model
# ----------------
# The transformer has two layers of width 64. One linear layer, ``qkv``, computes queries, keys and values.

WIDTH = 64


class Layer(nn.Module):
    """Attention and a perceptron, each behind a LayerNorm."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x):
        # each of queries, keys and values: (batch, heads, characters, width / heads)
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, 4, WIDTH // 4))
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class CharacterModel(nn.Module):
    """A transformer that predicts the next character."""

    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(len(characters), WIDTH)
        self.position = nn.Embedding(CONTEXT, WIDTH)
        self.layers = nn.Sequential(Layer(), Layer())
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(characters))
        for embedding in (self.token, self.position):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, tokens):
        positions = torch.arange(tokens.shape[1])
        x = self.token(tokens) + self.position(positions)
        return self.head(self.norm(self.layers(x)))


# %%
# Make the optimizer
# ------------------
# Pass the model, not ``model.parameters()``. The optimizer then knows the embeddings and the output layer. These get Adam,
# and so do biases and norms. The weight of ``qkv`` is three matrices below each other, one each for queries, keys and
# values. Say so with ``roles``. A function gets the name of each parameter; ``None`` means the default.


def block_adamw(model):
    """Return the optimizer with its default rate, 0.003."""
    return BlockAdamW(
        model, roles=lambda name, p: 3 if name.endswith("qkv.weight") else None
    )


# %%
# The group stores what each parameter got: the number of matrices, or 0 for Adam.

group = block_adamw(CharacterModel()).param_groups[0]
for name, n_matrices in zip(group["param_names"], group["n_matrices"], strict=True):
    if n_matrices or name in ("token.weight", "head.weight"):
        print(f"{name:22s} {n_matrices or 'Adam'}")

# %%
# Any scheduler of PyTorch changes the rate. Here it grows over the first 5 % of the steps, and then falls to zero. Without the
# fall, the weights would not settle: the length of an update depends on the rate and hardly on the gradient.

N_STEPS = 240


def warm_up_and_decay(optimizer):
    """Return the schedule of the learning rate."""
    warm_up = N_STEPS // 20
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm_up, 1 - step / N_STEPS)
    )


# %%
# Write the loop
# --------------
# The loop is the same for every optimizer. Autocast belongs around the forward pass and the loss only. Parameters, gradients
# and the optimizer's state stay in single precision, and bfloat16 needs no gradient scaler. Clip gradients between
# ``backward`` and ``step``. BlockAdamW needs this less than other optimizers; it helps if single gradients are very large.


def train(model, optimizer, schedule, generator, until):
    """Train up to step `until`; return the validation loss after every 20th step."""
    losses = {}
    while schedule.last_epoch < until:  # the number of steps so far
        inputs, targets = batch(training, generator)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        schedule.step()
        if schedule.last_epoch % 20 == 0:
            losses[schedule.last_epoch] = validation_loss(model)
    return losses


@torch.no_grad()
def validation_loss(model):
    """Return the mean loss of 64 pieces of the validation text, always the same."""
    inputs, targets = batch(validation, torch.Generator().manual_seed(1), size=64)
    with torch.autocast("cpu", torch.bfloat16):
        return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()).item()


# %%
# Train, and save a checkpoint
# ----------------------------
# Train for 160 steps, and save all that changes: the model, the optimizer, the schedule and the generator of the batches. (With
# dropout also save ``torch.get_rng_state()``.)


def start(make_optimizer):
    """Return a model with the same weights each time, and all that trains it."""
    torch.manual_seed(0)
    model = CharacterModel()
    optimizer = make_optimizer(model)
    generator = torch.Generator().manual_seed(0)
    return model, optimizer, warm_up_and_decay(optimizer), generator


folder = tempfile.TemporaryDirectory()
checkpoint = Path(folder.name) / "checkpoint.pt"

model, optimizer, schedule, generator = start(block_adamw)
losses = train(model, optimizer, schedule, generator, until=160)
torch.save(
    {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "generator": generator.get_state(),
    },
    checkpoint,
)
print(f"{checkpoint.stat().st_size / 1e6:.1f} MB")

# %%
# This run is not interrupted, and goes on to the end:

losses |= train(model, optimizer, schedule, generator, until=N_STEPS)
print(f"validation loss {losses[N_STEPS]:.3f}")

# %%
# Resume
# ------
# A new process makes new objects and loads the checkpoint into them. The state has only tensors, numbers and names, so it
# loads with ``weights_only=True``. It also contains the roles and the options of the optimizer.

torch.manual_seed(1)  # other initial weights, which are replaced
resumed = CharacterModel()
optimizer = BlockAdamW(resumed)
schedule = warm_up_and_decay(optimizer)
generator = torch.Generator()

saved = torch.load(checkpoint, weights_only=True)
resumed.load_state_dict(saved["model"])
optimizer.load_state_dict(saved["optimizer"])
schedule.load_state_dict(saved["schedule"])
generator.set_state(saved["generator"])
resumed_losses = train(resumed, optimizer, schedule, generator, until=N_STEPS)

# %%
# Both runs are equal, bit by bit:

for p, q in zip(model.parameters(), resumed.parameters(), strict=True):
    assert torch.equal(p, q)
print(all(losses[step] == loss for step, loss in resumed_losses.items()))

# %%
# Sample a text
# -------------
# The model writes one character after the other. Each is drawn from its prediction. Dividing the logits by 0.5 makes likely
# characters more likely. After so short a training it knows common words and invents others.


@torch.no_grad()
def sample(model, beginning, n=400):
    """Return the beginning and n characters that the model adds."""
    generator = torch.Generator().manual_seed(0)
    tokens = [number[character] for character in beginning]
    for _ in range(n):
        logits = model(torch.tensor([tokens[-CONTEXT:]]))[0, -1]
        chances = (logits / 0.5).softmax(0)
        tokens += torch.multinomial(chances, 1, generator=generator).tolist()
    return "".join(characters[token] for token in tokens)


print(sample(model, "If an object "))

# %%
# Compare with AdamW
# ------------------
# AdamW gets three rates. All runs have the same initial weights, batches, schedule and clipping, and no weight decay.

runs = {}
for lr in (0.001, 0.003, 0.01):

    def adamw(model, lr=lr):
        return torch.optim.AdamW(
            model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0
        )

    runs[lr] = train(*start(adamw), until=N_STEPS)
    print(f"AdamW, rate {lr:<6} {runs[lr][N_STEPS]:.3f}")
print(f"BlockAdamW         {losses[N_STEPS]:.3f}")

best = min(runs, key=lambda lr: runs[lr][N_STEPS])
reached = next(step for step in losses if losses[step] <= runs[best][N_STEPS])
print(f"BlockAdamW reaches the final loss of AdamW within {reached} steps")

# %%
# The circles are the resumed run. The thin lines are the two other rates of AdamW.

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
blue, orange, gray = "#1f77b4", "#e6842a", "0.45"
for lr, run in runs.items():
    ax.plot(run.keys(), run.values(), color=orange, lw=3.5 if lr == best else 1)
ax.plot(losses.keys(), losses.values(), color=blue, lw=3.5)
ax.plot(resumed_losses.keys(), resumed_losses.values(), "o", color=blue, mfc="w", ms=9)
low, high = losses[N_STEPS], max(run[20] for run in runs.values())
ax.axvline(160, color=gray, ls=":", lw=1.5)
ax.text(156, high - 0.05, "checkpoint", color=gray, ha="right", size=12)
ax.text(164, high - 0.05, "resumed", color=gray, size=12)
ax.text(20, low + 0.05, "BlockAdamW,\ndefault rate", color=blue, size=15)
ax.text(90, high - 0.45, f"AdamW, best rate {best}", color=orange, size=15)
ax.set(xlabel="step", ylabel="validation loss (nats per character)")
ax.set_xticks(range(0, N_STEPS + 1, 40))
ax.spines[["top", "right"]].set_visible(False)
plt.show()
folder.cleanup()

# %%
# This is one run of one small network. :doc:`/experiments` compares more optimizers on seven networks, with several seeds and with
# the time of a step, which is longer than that of AdamW. :doc:`/optimizers` explains the options, and :doc:`/scaling`
# training on several processes.
