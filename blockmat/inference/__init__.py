"""Likelihoods, divergences, tests, intervals, shrinkage and parameters of covariance matrices.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`,
`blockmat.matrices`, `blockmat.fitting`, `blockmat.finding`.
"""

from blockmat.inference.intervals import ConfidenceIntervals, confidence_intervals
from blockmat.inference.likelihood import kl_divergence, log_likelihood
from blockmat.inference.likelihood_ratio import LikelihoodRatioResult, likelihood_ratio_test
from blockmat.inference.parameters import (
    from_log_cholesky,
    from_log_correlation,
    log_cholesky,
    log_correlation,
)

__all__ = [
    "ConfidenceIntervals",
    "LikelihoodRatioResult",
    "confidence_intervals",
    "from_log_cholesky",
    "from_log_correlation",
    "kl_divergence",
    "likelihood_ratio_test",
    "log_cholesky",
    "log_correlation",
    "log_likelihood",
]
