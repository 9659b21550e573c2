"""Blocks of rows and columns together."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import blockmat as bm
from blockmat.finding.correlations import similarity
from blockmat.finding.search import coclusters
from tests.test_discovery import same


def planted(rows=(12, 20, 9), cols=(15, 7), seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    a = rng.permutation(np.repeat(np.arange(len(rows)), rows))
    b = rng.permutation(np.repeat(np.arange(len(cols)), cols))
    values = 3 * rng.standard_normal((len(rows), len(cols)))
    return values[a][:, b] + noise * rng.standard_normal((len(a), len(b))), a, b


@pytest.mark.parametrize("make", [np.array, np.float32, sp.csr_array, sp.coo_matrix])
def test_planted_blocks_are_found(make):
    A, a, b = planted()
    result = bm.cocluster(make(A), 3, 2)
    assert type(result) is bm.Coclusters
    rows, cols, loss = result
    assert same(rows.labels, a)
    assert same(cols.labels, b)
    assert rows.labels[0] == cols.labels[0] == 0
    fit = bm.BlockRectangularMatrix.fit(A, rows, cols).toarray()
    assert loss == pytest.approx(np.linalg.norm(A - fit) ** 2, rel=1e-5)


@given(st.integers(0, 999), st.integers(1, 5), st.integers(1, 4))
def test_the_loss_is_the_distance_to_the_fit_and_no_move_of_one_lowers_it(seed, k, m):
    A = np.random.default_rng(seed).standard_normal((7, 6))
    rows, cols, loss = bm.cocluster(A, k, m)
    assert (rows.n_blocks, cols.n_blocks) == (k, m)
    fit = bm.BlockRectangularMatrix.fit(A, rows, cols)
    np.testing.assert_allclose(loss, np.linalg.norm(A - fit.toarray()) ** 2)
    values = fit.values
    for i, a in itertools.product(range(7), range(k)):
        if rows.sizes[rows.labels[i]] > 1:
            own = ((A[i] - values[rows.labels[i]][cols.labels]) ** 2).sum()
            other = ((A[i] - values[a][cols.labels]) ** 2).sum()
            assert own <= other + 1e-9


def test_no_move_of_one_column_lowers_the_loss_either():
    for seed in range(20):
        A = np.random.default_rng(seed).standard_normal((9, 12))
        rows, cols, _ = bm.cocluster(A, 3, 4)
        values = bm.BlockRectangularMatrix.fit(A, rows, cols).values[rows.labels]
        costs = ((A[:, :, None] - values[:, None]) ** 2).sum(axis=0)
        several = cols.sizes[cols.labels] > 1
        own = costs[np.arange(12), cols.labels]
        assert (own <= costs.min(axis=1) + 1e-9)[several].all()


def test_moves_mend_what_the_clustering_got_wrong():
    A, _, _ = planted(noise=6.0)
    start = coclusters.ward_blocks(A, 3, None), coclusters.ward_blocks(A.T, 2, None)
    before = np.linalg.norm(A - bm.BlockRectangularMatrix.fit(A, *start).toarray()) ** 2
    assert bm.cocluster(A, 3, 2).loss < before - 1


def test_the_order_and_the_sides_do_not_matter():
    A, _, _ = planted(noise=1.5)
    rows, cols, loss = bm.cocluster(A, 3, 2)
    order = np.random.default_rng(1).permutation(len(A))
    shuffled = bm.cocluster(A[order], 3, 2)
    assert same(shuffled.row_partition.labels, rows.labels[order])
    assert same(shuffled.col_partition.labels, cols.labels)
    assert shuffled.loss == pytest.approx(loss)


def test_long_rows_are_projected_and_the_seed_decides():
    A, a, b = planted((300, 260), (320, 240))
    assert A.shape[1] > similarity._EXACT_UP_TO
    rows, cols, _ = bm.cocluster(A, 2, 2, random_state=0)
    assert same(rows.labels, a)
    assert same(cols.labels, b)
    noise = np.random.default_rng(0).standard_normal((510, 510))
    results = [bm.cocluster(noise, 4, 4, random_state=seed) for seed in (1, 1, 2)]
    assert results[0] == results[1] != results[2]


BAD = [
    ((np.ones(3), 1, 1), ValueError, "1-d"),
    ((np.eye(3) * 1j, 1, 1), TypeError, "complex128; expected real"),
    (([["a"]], 1, 1), TypeError, "dtype"),
    (([[np.nan]], 1, 1), np.linalg.LinAlgError, "source contains nan"),
    ((sp.csr_array([[np.inf]]), 1, 1), np.linalg.LinAlgError, "source contains inf"),
    (
        (np.ones((2, 3)), 3, 1),
        ValueError,
        "n_row_blocks is 3; expected at most 2, the number of rows",
    ),
    ((np.ones((2, 3)), 1, 4), ValueError, "n_col_blocks is 4; expected at most 3"),
    ((np.ones((2, 3)), 0, 1), ValueError, "n_row_blocks is 0; expected at least 1"),
    ((np.ones((2, 3)), 1, 1.5), TypeError, "n_col_blocks is 1.5; expected an integer"),
    ((np.ones((0, 3)), 1, 1), ValueError, "n_row_blocks is 1; expected at most 0"),
    ((bm.BlockConstantMatrix.identity([0]), 1, 1), TypeError, "LinearOperator; expected an array"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
def test_bad_input_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        bm.cocluster(*arguments)
