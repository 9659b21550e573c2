"""Parts of the matrix: single entries, submatrices, and what is left after conditioning."""

import numpy as np
import pytest
import scipy.sparse.linalg as sla
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import blockmat as bm
from blockmat.exceptions import (
    DtypeError,
    NonFiniteError,
    NotHermitianError,
    ShapeError,
    VariableIndexError,
)
from tests.cases import random_array
from tests.matrix_suite.base import (
    UNITS,
    MatrixType,
    close,
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


def is_aligned(A):
    A = getattr(A, "base", A)
    return getattr(getattr(A, "matrix", A), "is_aligned", False)


def choice(case):
    """Some of the variables in any order; of aligned blocks of one size, the same members."""
    rng, p = case.rng, case.A.partition
    if not is_aligned(case.A):
        return rng.permutation(p.n)[: rng.integers(1, p.n + 1)]
    chosen = []
    for size in np.unique(p.sizes):
        places = rng.permutation(size)[: rng.integers(0, size + 1)]
        blocks = rng.permutation(np.flatnonzero(p.sizes == size))
        chosen += [list(p)[b][place] for place in places for b in blocks]
    return np.array(chosen) if chosen else np.arange(p.n)


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

    @operation("submatrix", "partition", examples=40)
    def test_a_submatrix_is_of_the_same_type(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        rows = choice(case)
        part, expected = A.submatrix(rows), D[np.ix_(rows, rows)]
        self.structured(part, expected, dtype, case.size)
        assert part.partition == A.partition.subset(rows)
        assert not case.is_hermitian or part.is_hermitian
        if case.is_definite and np.dtype(dtype).kind == "f":
            part.whiten(np.ones(len(rows)))  # raises unless it is positive definite
        for columns in (rows, rows.tolist(), rows - len(D)):
            np.testing.assert_array_equal(A.submatrix(rows, columns).toarray(), part.toarray())
        mask = np.isin(np.arange(len(D)), rows)
        if not is_aligned(A):
            ascending = A.submatrix(mask).toarray()
            close(ascending, D[np.ix_(mask, mask)], case.size)
        close(A.submatrix(slice(None)).toarray(), D, case.size)
        again = case.rng.permutation(len(rows)) if not is_aligned(A) else np.arange(len(rows))
        close(part.submatrix(again).toarray(), expected[np.ix_(again, again)], case.size)

    @operation("submatrix", "partition", examples=20)
    def test_disjoint_rows_and_columns_make_a_rectangular_matrix(self, case):
        A, D, dtype = case.A, case.D, case.dtype
        rows = choice(case)
        columns = case.rng.permutation(np.setdiff1d(np.arange(len(D)), rows))
        if not len(columns):
            return
        part, expected = A.submatrix(rows, columns), D[np.ix_(rows, columns)]
        stores_values = self.type is bm.BlockConstantMatrix and not A.is_independent
        assert (type(part) is bm.BlockRectangularMatrix) is stores_values
        assert isinstance(part, sla.LinearOperator)
        assert part.dtype == part.toarray().dtype == dtype
        close(part.toarray(), expected, case.size)
        close(np.asarray(part), expected, case.size)
        for B, E in ((part, expected), (part.H, expected.conj().T), (part.T, expected.T)):
            x = random_array(case.rng, (E.shape[1], 2), dtype)
            size = case.size * np.linalg.norm(x)
            close(B @ x, E @ x, size)
            close(B @ x[:, 0], E @ x[:, 0], size)
            close(B.rmatvec(E[:, 0]).astype(dtype), E.conj().T @ E[:, 0], case.size**2)

    @operation("submatrix", "partition", examples=4)
    def test_choices_of_no_submatrix_are_refused(self, case):
        A, n = case.A, len(case.D)
        for name, f in (("rows", A.submatrix), ("columns", lambda index: A.submatrix([0], index))):
            for index, error, message in (
                ([], VariableIndexError, "is empty"),
                ([n], VariableIndexError, rf"has {n} at place 0; expected numbers from -{n} to"),
                ([0, -n], VariableIndexError, "has the variable 0 more than once"),
                ([0.0], DtypeError, "has dtype float64"),
                ([True] * (n + 1), ShapeError, f"is a mask of length {n + 1}"),
            ):
                with pytest.raises(error, match=f"{name} {message}"):
                    f(index)
        for rows, columns in (([0, 1], [1, 2]), ([0, 1], [1, 0]), (slice(None), [0])):
            with pytest.raises(ValueError, match=r"in common.*A\[np.ix_"):
                A.submatrix(rows, columns)

    @operation("condition", examples=40)
    def test_conditioning_gives_mean_and_covariance_of_the_others(self, case):
        A, D, n, dtype = case.A, case.D, len(case.D), case.dtype
        index = choice(case)
        if np.dtype(dtype).kind == "c":
            with pytest.raises(DtypeError, match="must be real"):
                A.condition([0], [1.0])
            return
        if not case.is_hermitian:
            with pytest.raises(NotHermitianError, match="the matrix is not symmetric"):
                A.condition([0], [1.0])
            return
        if len(index) == n or not case.is_definite:
            return
        rest = np.setdiff1d(np.arange(n), index)
        gain = D[np.ix_(rest, index)] @ np.linalg.inv(D[np.ix_(index, index)])
        expected = D[np.ix_(rest, rest)] - gain @ D[np.ix_(index, rest)]
        values = case.rng.standard_normal((3, len(index))).astype(dtype)
        prior = case.rng.standard_normal(n).astype(dtype)
        deviations = values - prior[index].astype(float)
        size = np.linalg.norm(values) + np.linalg.norm(prior)
        for given in (values, values[1], values[:0]):
            mean, covariance = A.condition(index, given, prior)
            means = prior[rest] + (given - prior[index].astype(float)) @ gain.T
            assert mean.dtype == dtype
            close(mean, means, size, case.condition)
            self.structured(covariance, expected, dtype, case.size, case.condition)
            assert covariance.partition == A.partition.subset(rest)
        close(A.condition(index, values)[0], values @ gain.T, size, case.condition)
        same = A.condition(index, dtype(2))[0]
        np.testing.assert_array_equal(same, A.condition(index, np.full(len(index), dtype(2)))[0])
        shifted = A.condition(index - n, (values - 2).tolist(), -2)[0]
        assert shifted.dtype == np.float64
        close(shifted.astype(dtype), values @ gain.T - 2, size + n, case.condition)
        close(
            (deviations @ gain.T).astype(dtype),
            A.condition(index, deviations)[0],
            size,
            case.condition,
        )
        again = slice(0, 1)
        if len(rest) > 1 and not is_aligned(A):
            everything = np.append(index, rest[again])
            values = np.column_stack([values, values[:, :1]])
            direct = A.condition(everything, values, prior)
            for row, first in zip(
                values, A.condition(index, values[:, :-1], prior)[0], strict=True
            ):
                second = covariance.condition(again, row[-1:], first)
                close(second[0], A.condition(everything, row, prior)[0], size, case.condition**2)
            close(second[1].toarray(), direct[1].toarray(), case.size, case.condition**2)

    @operation("condition", examples=4)
    def test_observations_that_do_not_fit_are_refused(self, case):
        A, n = case.A, len(case.D)
        if np.dtype(case.dtype).kind == "c" or not case.is_definite:
            return
        for arguments, error, message in (
            (
                (range(n), np.ones(n)),
                VariableIndexError,
                f"index has all {n} variables; expected at",
            ),
            (([], []), VariableIndexError, "index is empty"),
            (([0, n], [1, 1]), VariableIndexError, f"index has {n} at place 1"),
            (([0, -n], [1, 1]), VariableIndexError, "index has the variable 0 more than once"),
            (([0.0], [1]), DtypeError, "index has dtype float64"),
            (([0], [1, 2]), ShapeError, r"values has shape \(2,\); expected a number, \(1,\)"),
            (([0], np.ones((1, 1, 1))), ShapeError, "values is 3-d"),
            (([0], [np.nan]), NonFiniteError, "values contains nan"),
            (([0], [1j]), DtypeError, "values has dtype complex128; expected real"),
            (([0], [1.0], np.ones(n + 1)), ShapeError, rf"mean has shape .*; expected \({n},\)"),
            (([0], [1.0], np.inf), NonFiniteError, "mean contains inf"),
            (([0], [1.0], 1j), DtypeError, "mean has dtype complex128"),
        ):
            with pytest.raises(error, match=message):
                A.condition(*arguments)
