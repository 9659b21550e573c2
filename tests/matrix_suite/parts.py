"""Parts of the matrix: single entries, submatrices, and what is left after conditioning."""

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.matrix_suite.base import (
    UNITS,
    MatrixType,
    operation,
)


def keys(shape):
    """Keys for NumPy arrays of a shape: of every kind, alone and together."""
    m, n = shape
    rows, columns = (st.lists(st.integers(-x, x - 1), min_size=1, max_size=5) for x in shape)
    masks = tuple(hnp.arrays(bool, x) for x in shape)
    return st.one_of(
        hnp.basic_indices(shape, allow_newaxis=True, max_dims=4),
        hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=3, max_side=4)),
        hnp.arrays(bool, shape),
        masks[0],
        rows,
        st.tuples(st.one_of(rows, masks[0]), st.slices(n)),
        st.tuples(st.slices(m), st.one_of(columns, masks[1])),
        st.tuples(st.integers(-m, m - 1), columns),
        st.tuples(rows, st.integers(-n, n - 1)),
        st.tuples(st.just(...), columns),
        st.tuples(rows, st.none(), st.slices(n)),
        st.tuples(rows, columns).map(lambda key: np.ix_(*key)),
    )


class Parts(MatrixType):
    @operation("__getitem__", examples=50)
    def test_entries_are_those_of_the_dense_array(self, case):
        A, dense = case.A, case.A.toarray()
        key = case.draw(keys(A.shape))
        result, expected = A[key], dense[key]
        assert type(result) is type(expected)
        assert result.shape == expected.shape
        assert result.dtype == expected.dtype
        error = np.abs(result - expected).max(initial=0)
        assert error <= UNITS * np.finfo(case.dtype).eps * case.size
        if isinstance(result, np.ndarray):
            assert result.flags.writeable

    @operation("__getitem__", "__setitem__", "__iter__", "__contains__", examples=3)
    def test_what_is_no_key_is_refused_as_numpy_does(self, case):
        A, dense, (m, n) = case.A, case.D, case.A.shape
        for key in (
            m, -m - 1, (0, n), (slice(None), n), (0, 0, 0), ([0, m],), ([0, 0], [0, n]), 0.5, "a",
            [0.0], np.ones(m + 1, bool), (0, np.ones(n + 1, bool)), ([0, 0], [0, 0, 0]),
            np.ones((m + 1, n), bool), (..., ...), (0, "a"),
        ):  # fmt: skip
            with pytest.raises(IndexError) as ours:
                A[key]
            with pytest.raises(IndexError) as numpys:
                dense[key]
            assert str(ours.value) == str(numpys.value)
        for key in (0, (0, 0), slice(None)):
            with pytest.raises(TypeError, match="immutable"):
                A[key] = 1.0

    @operation("__array__", "__iter__", "__contains__", examples=3)
    def test_a_matrix_is_not_taken_for_a_sequence(self, case):
        A, dense = case.A, case.A.toarray()
        for f in (iter, list, len, reversed, lambda A: 0 in A, lambda A: A.index(0)):
            with pytest.raises((TypeError, AttributeError)):
                f(A)
        np.testing.assert_array_equal(np.array([A, A]), [dense, dense])
        np.testing.assert_array_equal(np.asarray(A), dense)
        assert (A == A) is True
        assert (A == 0) is False
        assert (dense.tolist() != A) is True
        assert np.isscalar(A) is False
