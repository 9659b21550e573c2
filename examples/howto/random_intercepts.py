r"""
Random intercepts of many groups
================================

In a mixed model, every group has its own intercept, drawn from a normal distribution. The covariance matrix of the
samples is then :math:`\sigma^2 I + \tau^2 Z Z^T` with one block for each group. The groups are independent, so the
log-likelihood and its gradient cost O(n) for any number of groups. This guide fits half a million samples in 125,066 groups,
and compares the estimates with those of statsmodels on a smaller data set.
"""

# %%
# Simulate the data
# -----------------
# The groups have between 1 and 7 samples. All parameters are known: the fixed effects are 1 and 0.5, the standard
# deviation of the intercepts is 0.8 and that of the noise is 1.

import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import minimize

import blockmat as bm
import blockmat.torch as bmt


def simulate(n_groups, seed=0):
    """Return the groups of the samples, a design matrix, outcomes and the true intercepts."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 8, n_groups)
    groups = rng.permutation(np.repeat(np.arange(n_groups), sizes))
    X = np.column_stack([np.ones(len(groups)), rng.standard_normal(len(groups))])
    intercepts = 0.8 * rng.standard_normal(n_groups)
    noise = rng.standard_normal(len(groups))
    return groups, X, X @ [1.0, 0.5] + intercepts[groups] + noise, intercepts


# %%
# Maximize the likelihood
# -----------------------
# The variances of the intercepts are a vector and not a matrix, so the groups are independent, and no k x k matrix is
# made. PyTorch computes the gradient. SciPy minimizes the mean negative log-likelihood over the two fixed effects and
# the logarithms of the two variances.


def fit(groups, X, y):
    """Return the fixed effects, the variances of intercepts and noise, and a count."""
    p = bm.Partition.from_labels(groups)
    X, y = torch.from_numpy(X), torch.from_numpy(y)

    def loss(parameters):
        given = torch.tensor(parameters, requires_grad=True)
        variances = given[2:].exp()
        A = bmt.BlockFactorMatrix(
            p, variances[:1].expand(p.n_blocks), noise=variances[1]
        )
        model = bmt.BlockMultivariateNormal(X @ given[:2], A)
        value = -model.log_prob(y) / len(y)
        value.backward()
        return value.item(), given.grad.numpy()

    start = np.zeros(4)
    found = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-9})
    return found.x[:2], *np.exp(found.x[2:]), found.nfev


groups, X, y, intercepts = simulate(125_066)
begin = time.perf_counter()
effects, variance, noise, n_evaluations = fit(groups, X, y)
print(
    f"{len(y)} samples, {n_evaluations} evaluations in {time.perf_counter() - begin:.1f} s"
)
print(f"fixed effects {effects.round(3)}")
print(
    f"standard deviations {variance**0.5:.3f} of intercepts, {noise**0.5:.3f} of noise"
)

# %%
# Compare with statsmodels
# ------------------------
# ``MixedLM`` of statsmodels fits the same model. Its time grows faster, so it gets about 20,000 samples in 5,000 groups:

import statsmodels.api as sm  # noqa: E402

small = simulate(5_000)[:3]
fit(*small)  # the first call loads libraries
begin = time.perf_counter()
ours = fit(*small)
middle = time.perf_counter()
theirs = sm.MixedLM(small[2], small[1], groups=small[0]).fit(reml=False, gtol=1e-8)
end = time.perf_counter()
print(f"blockmat {middle - begin:.3f} s, statsmodels {end - middle:.1f} s")
numbers = [*theirs.fe_params, theirs.cov_re[0, 0], theirs.scale]
difference = np.abs(np.subtract([*ours[0], ours[1], ours[2]], numbers)).max()
print(f"largest difference of the estimates: {difference:.0e}")

# %%
# Predict the intercepts
# ----------------------
# The posterior mean of an intercept shrinks the mean residual of its group toward zero, the more the fewer samples the
# group has. ``factor_scores`` returns it for all groups, with its variance.

p = bm.Partition.from_labels(groups)
A = bm.BlockFactorMatrix.from_effects([(p, variance)], noise)
residuals = y - X @ effects
posterior, uncertainty = A.factor_scores(residuals)
means = p.block_means(residuals)
true = intercepts[np.array(p.names)]

print(f"the matrix takes {A.nbytes / 1e6:.0f} MB")
print("root mean square error:")
for name, estimate in (("means", means), ("posterior", posterior)):
    print(f"  {name:9s} {np.sqrt(np.mean((estimate - true) ** 2)):.3f}")
print(f"  predicted {np.sqrt(uncertainty.mean()):.3f} for the posterior")

# %%
# Draw the error by the number of samples in the group:

sizes = np.arange(1, 8)
figure, ax = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
for name, estimate in (("mean of the group", means), ("posterior mean", posterior)):
    errors = [
        np.sqrt(np.mean((estimate - true)[p.sizes == size] ** 2)) for size in sizes
    ]
    ax.plot(sizes, errors, ".-", label=name)
ax.axhline(
    0.8, color="0.6", lw=0.8, ls="--", label="standard deviation of the intercepts"
)
ax.set(
    xlabel="samples in the group",
    ylabel="root mean square error",
    ylim=(0, None),
    title="Error of 125,066 intercepts",
)
ax.legend()
plt.show()
