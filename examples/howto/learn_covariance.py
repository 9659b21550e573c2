r"""
Learn a covariance by gradient
==============================

The covariance of errors is often part of a larger model, such as a neural network that predicts several variables.
Then all parameters are learned together by gradient. This guide learns block-constant correlations with PyTorch and
GPyTorch, and compares them with independent errors and with a dense covariance.
"""

# %%
# The data are simulated, so that the true covariance is known. Forty sensors in four rooms measure temperatures. Their
# means depend on the weather. Their errors are correlated within and between rooms, and each sensor has its own
# standard deviation. There are 100 hours to learn from, and 2000 to test with.

import gpytorch
import matplotlib.pyplot as plt
import torch

import blockmat as bm
import blockmat.torch as bmt

torch.set_num_threads(1)  # more would be slower for matrices this small
torch.manual_seed(0)
rooms = bm.Partition.from_sizes([12, 9, 10, 9], names=["hall", "lab", "office", "roof"])
values = torch.tensor([[0.6, 0.4, 0.3, -0.2],
                       [0.4, 0.7, 0.2, -0.1],
                       [0.3, 0.2, 0.5, 0.0],
                       [-0.2, -0.1, 0.0, 0.6]])  # fmt: skip
true = bmt.BlockConstantMatrix.from_values(rooms, values, torch.ones(4))
deviations = torch.exp(0.4 * torch.randn(rooms.n))
slopes = torch.randn(3, rooms.n)


def simulate(hours):
    """Return the weather and the temperatures of some hours."""
    weather = torch.randn(hours, 3)
    errors = bmt.BlockMultivariateNormal(torch.zeros(rooms.n), true).sample((hours,))
    return weather, torch.tanh(weather) @ slopes + deviations * errors


train, test = simulate(100), simulate(2000)
errors = (test[1] - torch.tanh(test[0]) @ slopes) / deviations
best = bmt.BlockMultivariateNormal(torch.zeros(rooms.n), true).log_prob(errors).mean()
best = best - deviations.log().sum()  # log-likelihood of the true model

# %%
# A model has a network for the means, the logarithms of the standard deviations, and unconstrained parameters of the
# correlations. ``LogCorrelation`` maps any parameters to a correlation matrix, so the optimizer is free to change
# them. If each sensor is its own block, the correlation matrix is dense.
#
# The density is that of the errors divided by their standard deviations, times the derivative of this division.
# ``as_linear_operator`` passes the matrix to GPyTorch, whose ``MultivariateNormal`` uses its closed forms.


class Model(torch.nn.Module):
    """A network for the means, and a covariance of the errors."""

    def __init__(self, partition):
        super().__init__()
        self.mean = torch.nn.Sequential(
            torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, rooms.n)
        )
        self.log_deviations = torch.nn.Parameter(torch.zeros(rooms.n))
        self.correlation = bmt.LogCorrelation(partition)
        self.parameters_of_correlation = torch.nn.Parameter(
            torch.zeros(self.correlation.n_parameters)
        )

    def log_prob(self, weather, temperatures):
        """Return the logarithms of the density of the temperatures, one for each hour."""
        errors = (temperatures - self.mean(weather)) / self.log_deviations.exp()
        matrix = self.correlation(self.parameters_of_correlation)
        normal = gpytorch.distributions.MultivariateNormal(
            torch.zeros(rooms.n), matrix.as_linear_operator()
        )
        return normal.log_prob(errors) - self.log_deviations.sum()


models = {
    "independent": Model(rooms),
    "blocks": Model(rooms),
    "dense": Model(bm.Partition.singletons(rooms.n)),
}
models["independent"].parameters_of_correlation.requires_grad_(False)

# %%
# Train all three models in the same way:

curves = {}
for name, model in models.items():
    learned = [x for x in model.parameters() if x.requires_grad]
    optimizer = torch.optim.Adam(learned, lr=0.02)
    curves[name] = []
    for step in range(301):
        optimizer.zero_grad()
        loss = -model.log_prob(*train).mean()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            with torch.no_grad():
                curves[name].append(model.log_prob(*test).mean().item())
    n_learned = sum(x.numel() for x in learned)
    print(
        f"{name:12s} {n_learned:5d} parameters, log-likelihood per hour:",
        f"{-loss:.1f} in training, {curves[name][-1]:.1f} in the test",
    )
print(f"true model: {best:.1f} in the test")

# %%
# The model with blocks is closest to the true model; it also has to learn the means and standard deviations. The dense
# model has the highest likelihood in training and overfits: its likelihood in the test falls after about 30 steps. The
# independent model ignores the correlations.

figure, axes = plt.subplot_mosaic(
    [["curves", "curves", "curves"], ["true", "blocks", "dense"]],
    figsize=(7.5, 6.5),
    height_ratios=[1.1, 1],
    layout="constrained",
)
ax = axes["curves"]
for name, curve in curves.items():
    ax.plot(range(0, 301, 10), curve, label=name)
ax.axhline(best, color="0.5", ls=":", label="true model")
ax.set(
    ylim=(best - 33, best + 3),
    xlabel="step",
    ylabel="log-likelihood per hour in the test",
)
ax.legend(loc="lower right", ncols=4)
matrices = {"true": true.to_dense()}
with torch.no_grad():
    for name in ("blocks", "dense"):
        model = models[name]
        matrices[name] = model.correlation(model.parameters_of_correlation).to_dense()
for name, matrix in matrices.items():
    image = axes[name].imshow(matrix.numpy(), vmin=-1, vmax=1, cmap="RdBu_r")
    axes[name].set_title(f"correlations: {name}")
    axes[name].set_xticks([])
    axes[name].set_yticks([])
figure.colorbar(image, ax=[axes[name] for name in matrices], shrink=0.8)
plt.show()

# %%
# The learned correlations also predict errors of some sensors from those of others. ``numpy`` converts the matrix, and
# ``condition`` computes the conditional distribution:

with torch.no_grad():
    learned = models["blocks"].correlation(models["blocks"].parameters_of_correlation)
observed = torch.arange(12)  # the sensors of the hall
mean, matrix = learned.numpy().condition(observed, errors[0, observed])
print(
    f"errors predicted in the lab: {mean[0]:.2f}, mean of the true ones {errors[0, 12:21].mean():.2f}"
)

# %%
# If all variables of a block have the same variance, no gradients are needed: ``bm.fit_samples(X, rooms, ddof=0)`` is the
# maximum of the likelihood.
