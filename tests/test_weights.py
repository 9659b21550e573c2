"""Weights of samples, compared with repeated rows and with `numpy.cov`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockmat.exceptions import DtypeError, NonFiniteError, ShapeError
from blockmat.sources.weights import as_weights

EPS = np.finfo(np.float64).eps


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any), st.integers(0, 3))
def test_frequency_weights_count_rows(counts, ddof):
    weights = as_weights(counts, len(counts))
    assert weights.values.dtype == np.float64
    assert not weights.values.flags.writeable
    assert weights.total == weights.n_effective == sum(counts)
    if ddof < sum(counts):
        assert weights.divisor(ddof) == sum(counts) - ddof
    else:
        with pytest.raises(ValueError, match=f"ddof is {ddof}; expected less than the number"):
            weights.divisor(ddof)


@given(st.lists(st.floats(0.01, 9), min_size=3, max_size=9), st.floats(1e-200, 1e200))
def test_reliability_weights_have_the_divisor_of_numpy(w, factor):
    """Their unit does not matter, and the divisor is that of ``aweights``."""
    w, x = np.array(w), np.arange(len(w)) ** 2.0
    weights = as_weights(w * factor, len(w), "reliability")
    n = w.sum() ** 2 / (w**2).sum()
    assert weights.n_effective == pytest.approx(n, rel=32 * EPS)
    products = (weights.values * (x - np.average(x, weights=w)) ** 2).sum()
    expected = np.cov(x, aweights=w, ddof=1)
    assert products / weights.divisor(1) == pytest.approx(expected, rel=64 * EPS * n / (n - 1))


def test_no_weights_are_ones():
    for kind in ("frequency", "reliability"):
        weights = as_weights(None, 4, kind)
        assert weights.values.tolist() == [1, 1, 1, 1]
        assert (weights.total, weights.n_effective, weights.divisor(1)) == (4, 4, 3)


@pytest.mark.parametrize(
    ("w", "error", "message"),
    [
        ([1, 2], ShapeError, "w has length 2; expected 3, one per sample"),
        ([[1, 2, 3]], ShapeError, "w is 2-d"),
        ([1, -2, 3], ValueError, "w is -2.0 at index 1; expected at least 0"),
        ([0, 0, 0], ValueError, "w has only zeros; expected a positive sum"),
        ([1, np.nan, 1], NonFiniteError, "w contains nan at index 1"),
        ([1, 1j, 1], DtypeError, "w has dtype complex128; expected real numbers"),
        (["a", "b", "c"], DtypeError, "w has dtype"),
    ],
)
def test_bad_weights_are_refused(w, error, message):
    with pytest.raises(error, match=message):
        as_weights(w, 3, name="w")


def test_unknown_types_of_weights_are_refused():
    with pytest.raises(ValueError, match="weight_type is 'count'; expected 'frequency' or"):
        as_weights([1], 1, "count")
