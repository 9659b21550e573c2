"""Trees of clusters against SciPy's functions."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import cut_tree, linkage

from blockmat.finding.search.links import cut_links


@pytest.mark.parametrize("method", ["ward", "single", "complete"])
@pytest.mark.parametrize("m", [2, 3, 10, 41])
def test_a_cut_is_that_of_scipy(m, method):
    links = linkage(np.random.default_rng(m).standard_normal((m, 3)), method)
    for k in range(1, m + 1):
        labels = cut_links(links, k)
        assert labels.dtype == np.intp
        np.testing.assert_array_equal(labels, cut_tree(links, k)[:, 0])


def test_a_cut_of_equal_points_has_the_number_of_clusters_that_was_asked_for():
    links = linkage(np.zeros((9, 2)), "ward")
    for k in range(1, 10):
        assert np.unique(cut_links(links, k)).tolist() == list(range(k))
