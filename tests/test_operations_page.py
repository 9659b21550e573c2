"""docs/operations.md says which type each result has: the tables are compared with the results."""

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as sla

import blockmat as bm
from blockmat.exceptions import PartitionMismatchError
from blockmat.matrices.operator import BlockOperator

PAGE = (Path(__file__).parents[1] / "docs/operations.md").read_text(encoding="utf-8")
TYPES = [
    "BlockConstantMatrix", "BlockRectangularMatrix", "ScaledBlockMatrix", "BlockFactorMatrix",
    "BlockPlusLowRank",
]  # fmt: skip
WORDS = {re.sub("Block|Matrix", "", name): name for name in TYPES} | {"lazy": "LinearOperator"}
RNG = np.random.default_rng(0)
P, OTHER = bm.Partition.from_sizes([3, 1, 4]), bm.Partition.from_sizes([4, 4])
N = P.n


def matrices(p, loadings, on="BlockConstantMatrix"):
    """One matrix of each type on the blocks; a BlockPlusLowRank with a base of the type `on`."""
    k = p.n_blocks
    B = bm.BlockConstantMatrix(p, 3 * np.eye(k) + 1, np.arange(1.0, k + 1))
    made = [
        B, bm.BlockRectangularMatrix(p, p, np.ones((k, k))), bm.ScaledBlockMatrix(B, 1 + loadings),
        bm.BlockFactorMatrix(p, np.eye(k) + 1, np.arange(1.0, N + 1), loadings),
    ]  # fmt: skip
    found = dict(zip(TYPES, made, strict=False))
    found["BlockPlusLowRank"] = found[on].add_low_rank(RNG.standard_normal((N, 2)))
    return found


ONES = np.ones(N)
NAMES = {
    "np": np, "x": ONES, "X": np.ones((N, 2)), "V": np.ones((N, 2)), "p": P.meet(OTHER),
    "S": sp.csr_array(RNG.standard_normal((N, N))), "R": sp.csr_array(np.eye(N, 2)),
    "constant": sp.diags_array(P.labels + 1.0), "diagonal": sp.diags_array(np.arange(1.0, N + 1)),
}  # fmt: skip


def tables():
    """Return the rows of each table, as lists of cells."""
    found = re.findall(r"(?:^\|.*\n)+", PAGE, flags=re.M)
    return [
        [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
        for table in found
    ]


def in_full(cell):
    """Return a cell with the full name of a type."""
    word, space, note = cell.partition(" ")
    return WORDS.get(word, word) + space + note


ONE, SUMS, PRODUCTS = ([list(map(in_full, row)) for row in table] for table in tables())


def type_of(f):
    """Return the cell of the result of a call."""
    try:
        result = f()
    except (AttributeError, TypeError, ValueError) as error:
        return "none" if isinstance(error, AttributeError) else type(error).__name__
    if isinstance(result, np.ndarray):
        return "dense" if result.shape == (N, N) else "array"
    if isinstance(result, sla.LinearOperator) and not isinstance(result, BlockOperator):
        return "LinearOperator"
    return type(result).__name__


def without_note(cell):
    return re.sub(r" \(\d\)$", "", cell)


@pytest.mark.parametrize("table", [ONE, SUMS, PRODUCTS])
def test_the_columns_are_the_types(table):
    assert table[0] == ["", *TYPES]
    assert all(len(row) == 6 for row in table)


@pytest.mark.parametrize("row", ONE[2:], ids=[row[0] for row in ONE[2:]])
def test_operations_of_one_matrix(row):
    made = matrices(P, np.linspace(1, 2, N))
    for name, cell in zip(TYPES, row[1:], strict=True):
        for code in re.findall(r"`([^`]+)`", row[0]):
            expected = name if without_note(cell) == "same type" else without_note(cell)
            names = {**NAMES, "A": made[name]}
            found = type_of(lambda code=code, names=names: eval(code, names))
            assert found == expected, f"{code} of a {name}"


@pytest.mark.parametrize("a", TYPES)
@pytest.mark.parametrize("b", TYPES)
def test_sums_and_products_of_two_types(a, b):
    row, column = 2 + TYPES.index(a), 1 + TYPES.index(b)
    total, product = SUMS[row][column], PRODUCTS[row][column]
    base = {a, b} - {"BlockPlusLowRank", "BlockRectangularMatrix"}
    on = base.pop() if len(base) == 1 else "BlockConstantMatrix"
    same = matrices(P, ONES, on)
    assert type_of(lambda: same[a] + same[b]) == without_note(total)
    assert type_of(lambda: same[a] @ same[b]) == product
    if "(4)" in total:
        made = matrices(P, np.linspace(1, 2, N), on)
        left, right = (made, same) if b == "BlockConstantMatrix" else (same, made)
        assert type_of(lambda: left[a] + right[b]) == "LinearOperator"
    other = matrices(OTHER, ONES, on)
    for f, cell in (
        (lambda: same[a] + other[b], total), (lambda: same[a] @ other[b], product)
    ):  # fmt: skip
        if cell in TYPES:  # without a note
            with pytest.raises(PartitionMismatchError):
                f()


def test_notes_are_explained():
    for number in set(re.findall(r"\((\d)\)", PAGE)):
        assert f"\n{number}. If " in PAGE


def test_sums_with_a_structure_that_the_base_does_not_allow_are_lazy():
    made = matrices(P, np.linspace(1, 2, N))
    low_rank = made["BlockPlusLowRank"]
    assert type_of(lambda: made["ScaledBlockMatrix"] + low_rank) == "LinearOperator"
    on_factor = matrices(P, ONES, "BlockFactorMatrix")["BlockPlusLowRank"]
    assert type_of(lambda: -on_factor) == "LinearOperator"
    aligned = bm.BlockConstantMatrix(P, np.eye(3), np.eye(3))
    diagonal = NAMES["diagonal"]
    for A in (aligned, 1j * made["BlockConstantMatrix"], -made["BlockConstantMatrix"]):
        assert type_of(lambda A=A: A + diagonal) == "LinearOperator"
    assert type_of(lambda: aligned.add_low_rank(ONES[:, None]) + diagonal) == "LinearOperator"
