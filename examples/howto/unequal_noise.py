"""
Score items with unequal noise
==============================

A questionnaire measures a few traits with several items each. The average of the items of a trait is a common score,
but it gives noisy items the same weight as accurate ones. This guide fits a factor model and computes the expected
traits of each person instead.
"""

# %%
# The data are simulated: 300 persons, four traits that are correlated, and 6, 5, 4 and 3 items. The noise of the
# items has very different sizes.

import matplotlib.pyplot as plt
import numpy as np

import blockmat as bm

rng = np.random.default_rng(1)
traits = ["anxiety", "mood", "sleep", "energy"]
labels = np.repeat(traits, [6, 5, 4, 3])
p = bm.Partition.from_labels(labels)
C = np.full((4, 4), 0.6) + 0.4 * np.eye(4)
noise = 10 ** rng.uniform(-1, 1, len(labels))
model = bm.BlockFactorMatrix(p, C, noise, rng.uniform(0.6, 1.4, len(labels)))
true = rng.multivariate_normal(np.zeros(4), C, size=300)
X = 3 + true[:, p.labels] * model.loadings + rng.normal(size=(300, 18)) * noise**0.5

# %%
# Fit the model
# -------------
# Each item depends on the trait of its block, with a loading and noise of its own. ``fit_factor`` estimates both by
# maximum likelihood, and the correlations of the traits too. With ``full_output=True`` it also returns the
# likelihood and whether the search converged.

fit = bm.fit_factor(X, labels, full_output=True)
A = fit.matrix
print("converged:", fit.converged, "after", fit.n_iter, "steps")
print("traits, sorted by name:", *p.names)
print("estimated correlations:")
print(A.covariance.round(2))

# %%
# If you know the loadings and the noise, for example from the manual of a test, make the matrix from these numbers:
# ``bm.BlockFactorMatrix(labels, C, noise, loadings)``. The rest of this guide is the same.
#
# Compute the scores
# ------------------
# ``factor_scores`` returns the expected traits of each person, given the answers, and the covariance matrix of their
# errors, which is the same for all persons.

scores, covariance = A.factor_scores(X, mean=X.mean(axis=0))
uncertainty = np.sqrt(np.diagonal(covariance))

# %%
# Compare with averages
# ---------------------
# Averages are not in the unit of the traits. So each is multiplied by the factor that makes its error smallest, which
# is known only in a simulation.

averages = p.block_means(X - X.mean(axis=0), axis=1)
averages *= (averages * true).sum(axis=0) / (averages**2).sum(axis=0)
print("root mean square error")
for b, trait in enumerate(p.names):
    errors = [np.sqrt(np.mean((x[:, b] - true[:, b]) ** 2)) for x in (averages, scores)]
    print(
        f"{trait:8s} average {errors[0]:.2f}, expected trait {errors[1]:.2f}, "
        f"predicted {uncertainty[b]:.2f}"
    )

# %%
# The expected traits are more accurate for two reasons. Accurate items have larger weights, and the items of the
# other traits contribute, because traits are correlated. The last column is what the model predicts without knowing
# the true traits.
#
# The left picture shows the estimated noise of each item, with bars of two standard errors. The right picture shows the
# anxiety of 40 persons. Most averages are further from the true value, because two of the six items are very noisy.

errors = fit.standard_errors()[1]
figure, (left, right) = plt.subplots(
    1, 2, figsize=(12, 4.6), layout="constrained", width_ratios=(1, 1.6)
)
order = np.lexsort((noise, p.labels))
places = np.arange(len(order)) + 0.8 * p.labels[order]
left.errorbar(
    A.noise[order], places, xerr=2 * errors[order], fmt="o", ms=4, label="estimate"
)
left.plot(noise[order], places, "k|", ms=9, mew=2, label="true")
middle = [places[p.labels[order] == b].mean() for b in range(4)]
left.set_yticks(middle, p.names)
left.tick_params(axis="y", length=0)
left.set(xscale="log", xlabel="variance of the noise", title="Noise of the items")
left.legend(loc="lower right")

b = p.names.index("anxiety")
some = np.argsort(true[:40, b])
right.errorbar(
    range(40), scores[some, b], yerr=2 * uncertainty[b], fmt="o", ms=4, color="C0",
    elinewidth=1, label="expected trait, two standard deviations",
)  # fmt: skip
right.plot(averages[some, b], "x", color="C1", label="average of the items")
right.plot(true[some, b], "k_", ms=9, mew=2, label="true")
right.set(
    xlabel="40 persons, sorted by the true value",
    ylabel="anxiety, in standard deviations",
    xticks=[],
    title="Scores of a trait",
)
right.legend(loc="upper left")
plt.show()

# %%
# ``FactorFit.at_bound`` tells which items have no noise according to the fit. Such items are rare in good data, and
# usually mean that two items ask the same question. For correlations instead of answers, call
# ``bm.fit_factor(R, labels, samples=False)``.
