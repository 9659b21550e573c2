"""Likelihoods, divergences, tests, confidence intervals and shrinkage of covariance matrices.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`,
`blockmat.matrices`, `blockmat.fitting`, `blockmat.finding`.
"""

from blockmat.inference.intervals import ConfidenceIntervals, confidence_intervals
from blockmat.inference.likelihood import (
    LikelihoodRatioResult,
    kl_divergence,
    likelihood_ratio_test,
    log_likelihood,
)

__all__ = [
    "ConfidenceIntervals",
    "LikelihoodRatioResult",
    "confidence_intervals",
    "kl_divergence",
    "likelihood_ratio_test",
    "log_likelihood",
]
