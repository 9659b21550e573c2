r"""
A Gaussian process over categories
==================================

If the only input of a Gaussian process is a category, the covariance matrix of n samples is exactly block-constant. It
has one value for each pair of categories, and the noise is added on the diagonal. The likelihood and the posterior then
cost O(n + k³) for k categories. This guide models how the progression of diabetes depends on age and body mass index
in 442 patients.
"""

# %%
# Each category is a decade of age and an interval of 4 units of the body mass index. The data set comes with
# scikit-learn.

import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg
from scipy.optimize import minimize
from sklearn.datasets import load_diabetes

import blockmat as bm

patients, y = load_diabetes(return_X_y=True, scaled=False)
y = (y - y.mean()) / y.std()
decade, step = patients[:, 0] // 10, patients[:, 2] // 4
p = bm.Partition.from_labels(list(zip(decade.tolist(), step.tolist(), strict=True)))
category = np.array(p.names)
p

# %%
# In the prior, the effects of neighbouring categories are correlated. ``prior`` returns the k x k covariance matrix of
# the effects. ``covariance`` returns the n x n covariance matrix of the samples, with the noise on its diagonal.


def prior(log_parameters, category=category, others=category):
    """Return the covariances between the effects of two lists of categories."""
    variance, years, steps, _ = np.exp(log_parameters)
    apart = (category[:, None] - others) / [years, steps]
    return variance * np.exp(-0.5 * (apart**2).sum(-1))


def covariance(log_parameters):
    """Return the block-constant covariance matrix of all samples."""
    K = prior(log_parameters)
    return bm.BlockConstantMatrix.from_values(
        p, K, np.diag(K) + np.exp(log_parameters[-1])
    )


def loss(log_parameters):
    """Return the negative log-likelihood up to a constant."""
    A = covariance(log_parameters)
    return (A.logdet() + y @ A.solve(y)) / 2


# %%
# Maximize the likelihood over the parameters:

found = minimize(loss, np.log([0.5, 2.0, 2.0, 0.5]), method="Nelder-Mead").x
variance, years, steps, noise = np.exp(found)
print(f"standard deviation of effects {variance**0.5:.2f}, of noise {noise**0.5:.2f}")
print(f"correlated over {10 * years:.0f} years and {4 * steps:.0f} units of the index")

# %%
# A dense Cholesky factor gives the same likelihood:

A = covariance(found)
factor = scipy.linalg.cho_factor(A.toarray())
dense = np.log(np.diag(factor[0])).sum() + y @ scipy.linalg.cho_solve(factor, y) / 2
print(f"{loss(found):.10f} with blocks, {dense:.10f} dense")

# %%
# Compute the posterior of the effects of any categories, with or without patients. The posterior mean is the prior
# covariance with the observed categories times the block sums of ``solve(y)``. The posterior covariance needs the sum of
# the entries in each block of the inverse, which follows from ``between``.

weights = p.block_sums(A.solve(y))
sums = A.inv().between * np.sqrt(np.outer(p.sizes, p.sizes))

figure, ax = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
ax.scatter(patients[:, 2], y, s=6, c="0.6", lw=0, label="patients")
for colour, age in zip(("C0", "C1", "C2"), (2, 4, 6), strict=True):
    wanted = np.column_stack([np.full(8, age), np.arange(4, 12)])
    K = prior(found, wanted)
    mean = K @ weights
    deviation = np.sqrt(variance - np.einsum("ij,jk,ik->i", K, sums, K))
    index = 4 * wanted[:, 1] + 2
    ax.plot(index, mean, colour, label=f"from {10 * age} to {10 * age + 10} years")
    ax.fill_between(
        index,
        mean - 2 * deviation,
        mean + 2 * deviation,
        color=colour,
        alpha=0.15,
        lw=0,
    )
ax.set(xlabel="body mass index", ylabel="progression of the disease, standardized")
ax.legend()
plt.show()

# %%
# The bands show two standard deviations. They are wider where there are no patients.
