r"""
Estimate effects of many groups
===============================

Which schools are better than the average school? The mean mark of a school is a poor answer: the best and the worst means
belong to schools with few marks. A mixed model shrinks each mean toward the average. It shrinks inaccurate means more.
This guide starts from a file in which every mark has its own standard error. It learns the covariance of the
effects of a school on three subjects, and ends with effects and their intervals.
"""

# %%
# The file
# --------
# The data are simulated, so that the true effects are known. Each row is the mean mark of a class, with its standard error and
# an index of the pupils' homes. A school has up to four classes in each subject. Some schools report only one or two subjects.

import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.patches import Ellipse

import blockmat as bm
import blockmat.torch as bmt

rng = np.random.default_rng(3)
subjects = ["mathematics", "reading", "science"]
n_schools = 300
true_covariance = np.array([[0.36, 0.24, 0.27], [0.24, 0.25, 0.21], [0.27, 0.21, 0.30]])
true_effects = rng.multivariate_normal(np.zeros(3), true_covariance, size=n_schools)

rows = []
for school in range(n_schools):
    for subject, n_classes in enumerate(rng.integers([0, 1, 0], 5)):
        for number in range(n_classes):
            home, error = rng.normal(), rng.uniform(0.2, 1.5)
            mean = [5.5, 6.5, 6.0][subject] + 0.4 * home + true_effects[school, subject]
            mark = mean + error * rng.normal()
            rows.append((school, subjects[subject], number, home, mark, error))
columns = ["school", "subject", "class", "home", "mark", "error"]
file = Path(tempfile.mkdtemp()) / "marks.csv"
pd.DataFrame(rows, columns=columns).round(3).to_csv(file, index=False)

# %%
# Read it
# -------

data = pd.read_csv(file)
print(len(data), "marks of", data.school.nunique(), "schools")
data.head()

# %%
# The model is
#
# .. math:: y = a + \beta h + u + e.
#
# The mark y is the sum of the average a of its subject, of the index h of homes times a coefficient β, of the effect u of the
# school on the subject, and of the noise e. The noise has the standard error of the file. The three effects of a school have a covariance matrix C, which is
# unknown. Schools are independent. So each school is one normal vector, and all schools form a batch. Make a table with one row for each
# school and one column for each subject and class:

table = data.pivot(
    index="school", columns=["subject", "class"], values=["mark", "home", "error"]
).sort_index(axis=1)
print(table["mark"].head(3).round(1).to_string(na_rep="-"))

# %%
# The columns are the variables, and the subjects are the blocks. A class that does not exist gets noise of variance
# :math:`10^{12}` and the residual 0, so it has no influence:

p = bm.Partition.from_labels(table["mark"].columns.get_level_values("subject"))
observed = torch.tensor(table["mark"].notna().to_numpy())
mark, home, error = (
    torch.tensor(table[name].fillna(0).to_numpy()) for name in ("mark", "home", "error")
)
noise = torch.where(observed, error**2, 1e12)
block = torch.tensor(p.labels)
print(p.names, noise.shape)

# %%
# Learn the covariance
# --------------------
# ``LogCholesky`` maps six free parameters to a covariance matrix of three variables. ``BlockFactorMatrix`` is the covariance of
# all marks of a school: C between the subjects, plus noise. LBFGS maximizes the likelihood over the parameters of C, the
# averages and :math:`\beta`.

to_covariance = bmt.LogCholesky(bm.Partition.singletons(3))
parameters = torch.zeros(to_covariance.n_parameters, dtype=float, requires_grad=True)
averages = torch.zeros(3, dtype=float, requires_grad=True)
beta = torch.zeros((), dtype=float, requires_grad=True)


def residuals():
    """Return marks minus their expected values, and 0 for classes that do not exist."""
    return torch.where(observed, mark - averages[block] - beta * home, 0.0)


def covariance_of_marks():
    """Return a covariance matrix for each school."""
    C = to_covariance(parameters).to_dense()
    return bmt.BlockFactorMatrix(p, C, noise)


def loss():
    """Return the mean negative log-likelihood of a school."""
    zero = torch.zeros(p.n, dtype=float)
    normal = bmt.BlockMultivariateNormal(zero, covariance_of_marks())
    return -normal.log_prob(residuals()).mean()


optimizer = torch.optim.LBFGS(
    [parameters, averages, beta], max_iter=100, line_search_fn="strong_wolfe"
)


def loss_with_gradient():
    """Return the loss, and compute its gradient."""
    optimizer.zero_grad()
    value = loss()
    value.backward()
    return value


begin = time.perf_counter()
optimizer.step(loss_with_gradient)
seconds = time.perf_counter() - begin
with torch.no_grad():
    C = to_covariance(parameters).to_dense().numpy()
print(f"{seconds:.1f} s, largest gradient {parameters.grad.abs().max():.0e}")
print("averages", averages.detach().numpy().round(2), f"beta {beta.item():.2f}")
print("learned covariance:", C.round(2), "true covariance:", true_covariance, sep="\n")

# %%
# Effects of the schools
# ----------------------
# ``factor_scores`` returns the expected effects of a school given all its marks, and their covariance. The matrix of a batch is
# indexed like a tensor, and ``numpy`` converts one of its matrices.

with torch.no_grad():
    V, r = covariance_of_marks(), residuals().numpy()
found = [V[i].numpy().factor_scores(r[i]) for i in range(n_schools)]
effects = np.array([mean for mean, _ in found])
deviations = np.array([np.sqrt(np.diagonal(matrix)) for _, matrix in found])

# %%
# Compare them with two simpler estimates: the mean of the residuals of a school, weighted by accuracy, and effects that are computed
# from the marks of their own subject alone.

weights = np.where(observed, 1 / noise.numpy(), 0)
counts = np.array([weights[:, p.labels == b].sum(axis=1) for b in range(3)]).T
sums = np.array([(weights * r)[:, p.labels == b].sum(axis=1) for b in range(3)]).T
reported = counts > 0
means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=reported)
alone = sums / (counts + 1 / np.diagonal(C))

print("root mean square error, subjects that a school reports:")
for name, estimate in (("means", means), ("alone", alone), ("together", effects)):
    wrong = (estimate - true_effects)[reported]
    print(f"  {name:9s} {np.sqrt(np.mean(wrong**2)):.2f}")
print("other subjects:")
for name, estimate in (("alone", alone), ("together", effects)):
    wrong = (estimate - true_effects)[~reported]
    print(f"  {name:9s} {np.sqrt(np.mean(wrong**2)):.2f}")
inside = np.abs(effects - true_effects) < 1.96 * deviations
print(f"true effects inside their 95 % intervals: {inside.mean():.1%}")

# %%
# The intervals do not include the uncertainty of C, of the averages and of :math:`\beta`, which is small for 300 schools.
# The picture shows the effects on mathematics. Schools whose interval does not contain zero are coloured. The means of the schools are
# much further from zero, and far means are often those of schools with one or two inaccurate marks.

b, other = 0, 1  # mathematics and reading
order = np.argsort(effects[:, b])
low, high = effects - 1.96 * deviations, effects + 1.96 * deviations
kinds = [low[:, b] > 0, high[:, b] < 0]
light = np.select(kinds, ["#9ecae1", "#a1d99b"], "0.85")[order]
dark = np.select(kinds, ["tab:blue", "tab:green"], "0.45")[order]

figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
place = np.arange(n_schools)
ax.vlines(place, low[order, b], high[order, b], colors=light, lw=1.6)
ax.axhline(0, color="k", lw=0.8)
ax.plot(place, means[order, b], "x", color="tab:red", ms=4, alpha=0.7, label="mean")
ax.scatter(place, effects[order, b], c=dark, s=8, zorder=3)
ax.plot([], [], "o", color="0.45", ms=3, label="effect")
ax.vlines([], [], [], colors="0.85", lw=4, label="95 % interval")
ax.set(
    xlabel=f"{n_schools} schools, sorted by effect",
    ylabel="marks above or below the average school",
    xticks=[],
    xlim=(-3, n_schools + 2),
    title="Effects of schools on mathematics",
)
ax.legend(loc="lower right")
plt.show()

# %%
# The next picture shows how the means move to the effects. A line connects both. The ellipse contains 95 % of all schools according to the
# learned covariance. Means move along the ellipse too: an inaccurate mean in mathematics is corrected by the mean in reading.

both = np.flatnonzero(reported[:, b] & reported[:, other])
pair = [other, b]
figure, ax = plt.subplots(figsize=(5.6, 5.2), layout="constrained")
ends = np.stack([means[both][:, pair], effects[both][:, pair]])
ax.plot(*ends.transpose(2, 0, 1), color="0.85", lw=0.8, zorder=0)
ax.plot(*ends[0].T, "x", color="tab:red", ms=4, alpha=0.7, label="means")
ax.plot(*ends[1].T, "o", color="tab:blue", ms=3.5, label="effects")
values, vectors = np.linalg.eigh(C[np.ix_(pair, pair)])
width, height = 2 * np.sqrt(5.99 * values)
angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
ax.add_patch(Ellipse((0, 0), width, height, angle=angle, fill=False, lw=1.2))
ax.set(
    xlabel="reading",
    ylabel="mathematics",
    xlim=(-2.5, 2.5),
    ylim=(-2.5, 2.5),
    aspect="equal",
    title="From means to effects",
)
ax.legend(loc="upper left")
plt.show()

# %%
# Check
# -----
# The dense covariance of all marks gives the same effects and the same likelihood:

own = observed.numpy()
school, column = np.nonzero(own)
subject, y = p.labels[column], r[own]
same_school = school[:, None] == school
dense = same_school * C[np.ix_(subject, subject)] + np.diag(noise.numpy()[own])
solution = np.linalg.solve(dense, y)
expected = np.zeros((n_schools, 3))
np.add.at(expected, school, C[subject] * solution[:, None])
log_likelihood = -0.5 * (
    y @ solution + np.linalg.slogdet(dense)[1] + len(y) * np.log(2 * np.pi)
)
print(f"{len(y)} x {len(y)} matrix")
print(f"largest difference of the effects: {np.abs(expected - effects).max():.0e}")

missing = 0.5 * np.log(2 * np.pi * 1e12) * (~own).sum()  # of classes that do not exist
with torch.no_grad():
    ours = -n_schools * loss().item() + missing
print(f"log-likelihood {ours:.6f}, dense {log_likelihood:.6f}")

# %%
# The dense computation takes O(n³) time for n marks, and this one O(n). If each group has only one effect, no table is needed. Pass the
# group of each row as its label and a vector of variances: ``bmt.BlockFactorMatrix(data.school, variance.expand(n_schools), error**2)``
# is the covariance of all rows. :doc:`/performance` compares such a fit with that of statsmodels.
