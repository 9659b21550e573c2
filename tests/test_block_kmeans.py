"""The losses that moving variables between blocks lowers."""

from types import SimpleNamespace

import numpy as np
import pytest

from blockmat.finding.search.objectives import GaussianLoss


@pytest.mark.parametrize("within", [0.5, 1e-3, 1e-5, 1e-8])
def test_the_gaussian_loss_is_that_of_the_dense_correlations(within):
    """Also of blocks whose variables are nearly the same."""
    sizes = np.array([3, 2])
    values = np.array([[1 - within, 0.2], [0.2, 0.4]])
    blocks = SimpleNamespace(sizes=sizes, values=values, diagonal_values=np.ones(2))
    labels = np.repeat([0, 1], sizes)
    dense = values[np.ix_(labels, labels)]
    np.fill_diagonal(dense, 1.0)
    # The determinant of the dense matrix loses eps / within
    expected = np.linalg.slogdet(dense)[1]
    loss = GaussianLoss(100).loss(blocks)
    assert loss == pytest.approx(expected, rel=1e-12 + 100 * np.finfo(float).eps / within)
