"""
Classify with few samples
=========================

Linear discriminant analysis needs a covariance matrix, and with hardly more samples than variables the sample covariance
is of no use. scikit-learn takes any covariance estimator, so also one with blocks.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_breast_cancer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score

from blockmat.covariance import BlockCovariance

data = load_breast_cancer()
X, y = np.log(data.data + 0.01), data.target
X = (X - X.mean(axis=0)) / X.std(axis=0)

estimators = {
    "sample covariance": None,
    "BlockCovariance": BlockCovariance(),
    "BlockCovariance, shrinkage cv": BlockCovariance(shrinkage="cv"),
    "LedoitWolf": LedoitWolf(),
}
numbers = (20, 40, 80, 160)
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for name, estimator in estimators.items():
    accuracies = []
    for n in numbers:
        model = LinearDiscriminantAnalysis(
            solver="lsqr", covariance_estimator=estimator
        )
        folds = StratifiedShuffleSplit(20, train_size=n, random_state=0)
        accuracies.append(cross_val_score(model, X, y, cv=folds).mean())
    ax.plot(numbers, accuracies, "o-", label=name)
    print(f"{name:30s}", np.round(accuracies, 3))
ax.set(
    xscale="log",
    xticks=numbers,
    xticklabels=numbers,
    xlabel="training samples",
    ylabel="accuracy",
)
ax.legend()
plt.show()

# %%
# Blocks make up for most of what is missing. Shrinkage toward a multiple of the identity does a little better here:
# these 30 measures are not exchangeable inside any blocks, as :doc:`/limits` says of this data.
