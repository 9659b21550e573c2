r"""
A Gaussian process over categories
==================================

When all that a Gaussian process sees of a sample is its category, the covariance matrix of n samples is
block-constant, without approximation: one number for each two categories, and the noise on the diagonal.
Its likelihood and posterior then cost O(n + k³) for k categories. Here: how the progression of diabetes
depends on age and body mass index in 442 patients.
"""

# %%
# Categories are decades of age together with steps of 4 of the body mass index, in scikit-learn's data on
# diabetes.

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
# The prior: neighbouring categories are alike. ``prior`` returns the small matrix of covariances between the
# categories' effects; the noise comes on the diagonal of the large one.


def prior(log_parameters, category=category, others=category):
    """Return the covariances of the effects of some categories and others."""
    variance, years, steps, _ = np.exp(log_parameters)
    apart = (category[:, None] - others) / [years, steps]
    return variance * np.exp(-0.5 * (apart**2).sum(-1))


def covariance(log_parameters):
    """Return the covariance matrix of all samples, in the numbers of its blocks."""
    K = prior(log_parameters)
    return bm.BlockConstantMatrix.from_values(
        p, K, np.diag(K) + np.exp(log_parameters[-1])
    )


def loss(log_parameters):
    """Return minus the log-likelihood, but for a constant."""
    A = covariance(log_parameters)
    return (A.logdet() + y @ A.solve(y)) / 2


# %%
# The parameters that make the data most likely:

found = minimize(loss, np.log([0.5, 2.0, 2.0, 0.5]), method="Nelder-Mead").x
variance, years, steps, noise = np.exp(found)
print(f"standard deviation of effects {variance**0.5:.2f}, of noise {noise**0.5:.2f}")
print(f"alike over {10 * years:.0f} years and {4 * steps:.0f} units of the index")

# %%
# The same from a dense Cholesky factor, to see that nothing was approximated:

A = covariance(found)
factor = scipy.linalg.cho_factor(A.toarray())
dense = np.log(np.diag(factor[0])).sum() + y @ scipy.linalg.cho_solve(factor, y) / 2
print(f"{loss(found):.10f} with blocks, {dense:.10f} dense")

# %%
# The posterior of effects, of any categories, with patients or without. The mean is the prior covariance with
# the known categories times the sums of ``solve(y)`` over each of them; the covariance needs the sums of all
# entries in each block of the inverse, which are in its core.

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
# The bands are two standard deviations. They widen where no patient is.
