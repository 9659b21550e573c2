"""BlockFactorMatrix.from_effects: sums of random intercepts, compared with dense arrays."""

import numpy as np
import pytest

import blockmat as bm
from blockmat.exceptions import (
    DtypeError,
    IndefiniteMatrixError,
    NonFiniteError,
    NotHermitianError,
    PartitionError,
    ShapeError,
)
from blockmat.matrices import effects as effects_module

EPS = np.finfo(np.float64).eps
RNG = np.random.default_rng(0)
SCHOOLS, YEARS, SEX = (np.array(list(x)) for x in ("aabbbccaab", "0101101101", "fmfmmffmfm"))
ROOT = RNG.standard_normal((3, 3))
KINDS = {
    "one": [(SCHOOLS, 2.0)],
    "one, a variance for each group": [(SCHOOLS, [1.0, 2.0, 0.0])],
    "one, correlated groups": [(SCHOOLS, ROOT @ ROOT.T)],
    "crossed": [(SCHOOLS, 2.0), (YEARS, [0.5, 0.1])],
    "three": [(SCHOOLS, ROOT @ ROOT.T), (YEARS, 1), (SEX, [0.0, 2.0])],
    "nested": [(SCHOOLS, 2.0), (np.char.add(SCHOOLS, YEARS), 0.5)],
    "twice": [(SCHOOLS, 2.0), (SCHOOLS, [1.0, 2.0, 3.0])],
}


def dense(effects, noise):
    total = np.diag(noise * np.ones(len(SCHOOLS)))
    for labels, variance in effects:
        _, codes = np.unique(labels, return_inverse=True)
        variance = np.asarray(variance)
        if variance.ndim < 2:
            variance = np.diag(variance * np.ones(codes.max() + 1))
        total += variance[np.ix_(codes, codes)]
    return total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("noise", [0.5, np.linspace(0.1, 1, 10)])
def test_is_the_sum_of_the_effects(kind, noise):
    A = bm.BlockFactorMatrix.from_effects(KINDS[kind], noise)
    expected = dense(KINDS[kind], noise)
    # a few additions of numbers up to the largest entry
    np.testing.assert_allclose(A.toarray(), expected, atol=8 * EPS * expected.max())
    assert A.is_positive_definite()
    assert A.logdet() == pytest.approx(np.linalg.slogdet(expected)[1], rel=1e-12)


def test_names_of_the_blocks_are_the_labels():
    one = bm.BlockFactorMatrix.from_effects(KINDS["one"], 1.0)
    assert one.partition.names == ("a", "b", "c")
    three = bm.BlockFactorMatrix.from_effects(KINDS["three"], 1.0).partition
    cells = sorted(set(zip(SCHOOLS, YEARS, SEX, strict=True)))
    assert list(three.names) == cells
    assert three.names[three.labels[1]] == (SCHOOLS[1], YEARS[1], SEX[1])


def test_groups_of_their_own_need_no_square_array():
    assert bm.BlockFactorMatrix.from_effects(KINDS["one"], 1.0).covariance.ndim == 1
    assert bm.BlockFactorMatrix.from_effects(KINDS["twice"], 1.0).covariance.ndim == 1
    assert bm.BlockFactorMatrix.from_effects(KINDS["crossed"], 1.0).covariance.ndim == 2
    k = 125_066
    A = bm.BlockFactorMatrix.from_effects([(np.repeat(np.arange(k), 2), 0.5)], 1.0)
    assert A.nbytes < 100 * k
    assert A.logdet() == pytest.approx(k * np.log(2), rel=1e-12)  # eigenvalues 1 and 2


def test_single_precision_stays():
    C = np.float32([1.0, 2.0, 3.0])
    for effects, noise in (
        ([(SCHOOLS, C)], 1.0),
        ([(SCHOOLS, 1.0)], np.ones(10, np.float32)),
        ([(SCHOOLS, C), (YEARS, 1.0)], 0.5),
    ):
        assert bm.BlockFactorMatrix.from_effects(effects, noise).dtype == np.float32
    assert bm.BlockFactorMatrix.from_effects([(SCHOOLS, C)], np.ones(10)).dtype == np.float64
    assert bm.BlockFactorMatrix.from_effects([(SCHOOLS, 1.0)], 1.0).dtype == np.float64


def test_too_many_cells_are_refused(monkeypatch):
    monkeypatch.setattr(effects_module, "MAX_CELLS", 5)
    bm.BlockFactorMatrix.from_effects([(np.arange(10), 1.0)], 1.0)
    bm.BlockFactorMatrix.from_effects([(np.arange(5), 1.0), ([0] * 5, 1.0)], 1.0)
    with pytest.raises(ValueError, match=r"have 6 common groups; expected at most 5"):
        bm.BlockFactorMatrix.from_effects([(np.arange(6), 1.0), ([0] * 6, 1.0)], 1.0)


@pytest.mark.parametrize(
    ("effects", "error", "message"),
    [
        ([], ValueError, "effects is empty; expected"),
        (3, TypeError, "effects is 3; expected a list of pairs"),
        ([(SCHOOLS, 1.0, 2.0)], TypeError, r"effects\[0\] is .*; expected a pair"),
        ([SCHOOLS], TypeError, r"effects\[0\] is .*; expected a pair"),
        ([(SCHOOLS, 1.0), (SCHOOLS[:3], 1.0)], ShapeError, r"labels of effects\[1\] has 3 labels"),
        ([([None, 1], 1.0)], PartitionError, "missing"),
        ([(SCHOOLS, [1.0, 2.0])], ShapeError, r"variance of effects\[0\] has shape \(2,\)"),
        ([(SCHOOLS, [[1.0]])], ShapeError, r"variance of effects\[0\] has shape \(1, 1\)"),
        ([(SCHOOLS, 1j)], DtypeError, r"variance of effects\[0\] has dtype complex128"),
        ([(SCHOOLS, np.nan)], NonFiniteError, r"variance of effects\[0\] contains nan"),
        ([(SCHOOLS, -1.0)], ValueError, r"variance of effects\[0\] is -1.0; expected 0 or more"),
        ([(SCHOOLS, [1, -2.0, 1])], ValueError, r"is -2.0 for group 'b'; expected 0 or more"),
        ([(YEARS, [[1, 2], [0, 1]])], NotHermitianError, r"effects\[0\] is not symmetric"),
        ([(YEARS, [[1, 2], [2, 1]])], IndefiniteMatrixError, r"effects\[0\] has negative eigenv"),
    ],
)
def test_effects_that_do_not_fit_are_refused(effects, error, message):
    with pytest.raises(error, match=message):
        bm.BlockFactorMatrix.from_effects(effects, 1.0)
