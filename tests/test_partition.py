import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import blockmat as bm
from blockmat import Partition
from blockmat.exceptions import DtypeError, PartitionError, ShapeError, VariableIndexError
from blockmat.testing import partitions
from tests.cases import DTYPES, random_array


@given(partitions())
def test_labels_sizes_and_blocks_agree(p):
    assert p.n == p.sizes.sum() == len(p.labels)
    assert p.n_blocks == len(p) == len(p.sizes) == len(p.names)
    assert sorted(set(p.labels)) == list(range(p.n_blocks))
    blocks = list(p)
    assert len(blocks) == p.n_blocks
    for b, indices in enumerate(blocks):
        np.testing.assert_array_equal(indices, np.flatnonzero(p.labels == b))
        np.testing.assert_array_equal(p.positions[indices], np.arange(len(indices)))
    np.testing.assert_array_equal(np.concatenate(blocks), p.order)
    assert p.is_contiguous == (sorted(p.labels) == list(p.labels))


@given(partitions(), st.integers(1, 3), st.sampled_from(DTYPES), st.integers(0, 99))
def test_sums_means_expand_match_the_indicator(p, m, dtype, seed):
    rng = np.random.default_rng(seed)
    indicator = p.indicator()
    dense = indicator.toarray()
    np.testing.assert_array_equal(dense, p.labels[:, None] == np.arange(p.n_blocks))
    normalized = p.indicator(normalized=True)
    np.testing.assert_allclose((normalized.T @ normalized).toarray(), np.eye(p.n_blocks))
    tol = {"rtol": 1e-5, "atol": 1e-5}
    for x in (random_array(rng, p.n, dtype), random_array(rng, (p.n, m), dtype)):
        sums, means = p.block_sums(x), p.block_means(x)
        assert sums.dtype == means.dtype == dtype
        np.testing.assert_allclose(sums, dense.T @ x, **tol)
        np.testing.assert_allclose((means.T * p.sizes).T, dense.T @ x, **tol)
        expanded = p.expand(means)
        assert expanded.dtype == dtype
        np.testing.assert_allclose(expanded, dense @ means, **tol)
        np.testing.assert_allclose(p.block_means(expanded), means, **tol)
    wide = random_array(rng, (m, p.n), dtype)
    np.testing.assert_allclose(p.block_sums(wide, axis=1), wide @ dense, **tol)
    np.testing.assert_allclose(p.block_sums(wide, axis=-1), wide @ dense, **tol)
    np.testing.assert_allclose(p.block_means(wide, axis=1), wide @ dense / p.sizes, **tol)
    short = random_array(rng, (m, p.n_blocks), dtype)
    np.testing.assert_allclose(p.expand(short, axis=1), short @ dense.T, **tol)


@given(partitions(max_n=10), st.randoms())
def test_shuffling_the_variables_permutes_everything(p, random):
    permutation = list(range(p.n))
    random.shuffle(permutation)
    q = Partition.from_labels(p.labels[permutation])
    x = np.arange(p.n, dtype=float)
    np.testing.assert_allclose(q.block_sums(x[permutation]), p.block_sums(x))
    np.testing.assert_allclose(q.expand(p.sizes), p.expand(p.sizes)[permutation])


@given(partitions(), st.sampled_from([pickle.loads, None]))
def test_equality_hash_and_copies(p, loads):
    again = loads(pickle.dumps(p)) if loads else copy.deepcopy(p)
    assert again == p
    assert hash(again) == hash(p)
    assert again.names == p.names
    assert p == Partition.from_labels(p.labels)
    assert len({p, again}) == 1
    assert p != Partition.singletons(p.n + 1)
    assert p != "p"


def test_names_take_part_in_equality_but_not_in_same_blocks():
    p, q = Partition.from_labels(["a", "b"]), Partition.from_labels(["a", "c"])
    assert p != q
    assert p.same_blocks(q)
    assert not p.same_blocks(Partition.from_labels([1, 0]))
    assert not p.same_blocks(Partition.trivial(2))
    assert not Partition.from_labels([1, 0, 0]).same_blocks(Partition.from_labels([0, 1, 0]))


@pytest.mark.parametrize(
    ("labels", "names", "codes"),
    [
        ([1, 0, 1], (0, 1), [1, 0, 1]),
        ([7, 3, 7], (3, 7), [1, 0, 1]),
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        (np.array(["b", "a", "b"]), ("a", "b"), [1, 0, 1]),
        (np.array([2.5, 1.0, 2.5]), (1.0, 2.5), [1, 0, 1]),
        (np.array([True, False, True]), (False, True), [1, 0, 1]),
        (pd.Series(["b", "a", "b"]), ("a", "b"), [1, 0, 1]),
        (pd.Series([7, 3, 7], index=[5, 6, 7]), (3, 7), [1, 0, 1]),
        (pd.Series(["b", "a", "b"], dtype="category"), ("a", "b"), [1, 0, 1]),
        (pd.Index(["x", "x"]), ("x",), [0, 0]),
        ([("x", 2), ("x", 1)], (("x", 1), ("x", 2)), [1, 0]),
        (["z", 1, "z"], ("z", 1), [0, 1, 0]),  # these do not compare: first appearance
        ((label for label in "ba"), ("a", "b"), [1, 0]),
        (range(2), (0, 1), [0, 1]),
    ],
)
def test_labels_of_any_kind(labels, names, codes):
    p = Partition.from_labels(labels)
    assert p.names == names
    assert [type(name) for name in p.names] == [type(name) for name in names]
    assert p.labels.tolist() == codes


def test_constructors():
    assert Partition.from_sizes([3, 4, 2]).labels.tolist() == [0] * 3 + [1] * 4 + [2] * 2
    assert Partition.from_sizes(np.array([2, 1], dtype=np.uint8), names="xy").names == ("x", "y")
    assert Partition.uniform(3, 2).sizes.tolist() == [2, 2, 2]
    assert Partition.trivial(4).sizes.tolist() == [4]
    assert Partition.singletons(3).sizes.tolist() == [1, 1, 1]
    assert Partition.from_labels([0, 0, 1]).is_contiguous
    assert not Partition.from_labels([1, 0]).is_contiguous
    assert "4 variables into 2 labelled blocks of sizes 1 to 3" in repr(
        Partition.from_labels([1, 0, 1, 1])
    )
    assert "105 variables into 1 contiguous block of size 105>" in repr(Partition.trivial(105))
    assert "1 variable into 1 contiguous block of size 1>" in repr(Partition.trivial(1))


def test_arrays_are_read_only():
    p = Partition.from_labels([1, 0, 1])
    for array in (p.labels, p.sizes, p.offsets, p.order, p.positions):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5


def test_the_caller_keeps_its_arrays():
    labels = np.array([1, 0, 1])
    p = Partition.from_labels(labels)
    labels[0] = 0
    assert p.labels.tolist() == [1, 0, 1]
    assert labels.flags.writeable


@given(st.data())
def test_meet_is_the_coarsest_common_refinement(data):
    p = data.draw(partitions(max_n=8))
    q = data.draw(partitions(min_n=p.n, max_n=p.n))
    meet = p.meet(q)
    assert meet.is_refinement_of(p)
    assert meet.is_refinement_of(q)
    together = (p.labels[:, None] == p.labels) & (q.labels[:, None] == q.labels)
    np.testing.assert_array_equal(meet.labels[:, None] == meet.labels, together)
    assert meet.names == tuple(sorted(set(zip(p.labels.tolist(), q.labels.tolist(), strict=True))))
    assert p.refine(q) == meet
    assert p.refine(q.labels).same_blocks(meet)
    assert p.is_refinement_of(q) == (meet.n_blocks == p.n_blocks)


def test_merge_joins_blocks():
    p = Partition.from_labels(list("abcab"))
    merged = p.merge(["x", "y", "x"])
    assert merged.names == ("x", "y")
    assert merged.labels.tolist() == [0, 1, 0, 0, 1]
    assert p.is_refinement_of(merged)
    assert not merged.is_refinement_of(p)
    assert not p.is_refinement_of(Partition.trivial(9))


def test_nbytes_counts_what_describes_it():
    assert Partition.uniform(2, 500).nbytes == 16
    assert Partition.from_labels([1, 0] * 500).nbytes == 16 + 4 * 1000


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Partition.from_sizes([]), PartitionError, "sizes is empty"),
        (lambda: Partition.from_sizes([3, 0, 2]), PartitionError, r"sizes\[1\] is 0"),
        (lambda: Partition.from_sizes([3, -1]), PartitionError, r"sizes\[1\] is -1"),
        (lambda: Partition.from_sizes([1.5]), TypeError, "sizes has dtype float64"),
        (lambda: Partition.from_sizes(np.ones((2, 2), int)), ShapeError, "one dimension"),
        (lambda: Partition.from_labels([]), PartitionError, "labels is empty"),
        (lambda: Partition.from_labels([0.0, np.nan]), PartitionError, "missing .* at index 1"),
        (lambda: Partition.from_labels(np.array([np.nan, 1])), PartitionError, "at index 0"),
        (lambda: Partition.from_labels(["a", None]), PartitionError, "at index 1"),
        (lambda: Partition.from_labels(pd.Series(["a", None])), PartitionError, "at index 1"),
        (lambda: Partition.from_labels([pd.NA, "a"]), PartitionError, "at index 0"),
        (lambda: Partition.from_labels(pd.to_datetime(["2020-01-01", None])), PartitionError, "at index 1"),
        (lambda: Partition.from_labels("abc"), TypeError, "'abc'; expected a sequence"),
        (lambda: Partition.from_labels(5), TypeError, "expected a sequence"),
        (lambda: Partition.from_labels([[0], [1]]), TypeError, "hashable"),
        (lambda: Partition.from_labels(np.zeros((2, 2))), ShapeError, "labels is 2-d"),
        (lambda: Partition.uniform(0, 3), ValueError, "n_blocks is 0"),
        (lambda: Partition.uniform(3, 0), ValueError, "block_size is 0"),
        (lambda: Partition.uniform(1.5, 2), TypeError, "n_blocks is 1.5"),
        (lambda: Partition.trivial(0), ValueError, "n is 0"),
        (lambda: Partition.singletons(-1), ValueError, "n is -1"),
        (lambda: Partition([1, 1], [0, 2]), PartitionError, "block numbers 0..1"),
        (lambda: Partition([1, 1], [0, 0]), PartitionError, r"2 variables in block 0; expected sizes\[0\] = 1"),
        (lambda: Partition([1, 1], [0.0, 1.0]), TypeError, "labels has dtype float64"),
        (lambda: Partition([1, 1], names=["a"]), PartitionError, "names has length 1"),
        (lambda: Partition([1, 1], names=["a", "a"]), PartitionError, "duplicates"),
        (lambda: Partition.trivial(3).block_sums([1, 2]), ShapeError, "x has length 2 along axis 0; expected 3"),
        (lambda: Partition.trivial(3).block_sums(1.0), ShapeError, "x is 0-d"),
        (lambda: Partition.trivial(3).block_sums(np.ones((3, 3)), axis=2), ValueError, "axis is 2"),
        (lambda: Partition.trivial(3).expand(np.ones((1, 1, 1))), ShapeError, "values is 3-d"),
        (lambda: Partition.trivial(2).block_sums(["a", "b"]), bm.BlockmatError, "x has dtype <U1"),
        (lambda: Partition.trivial(2).meet([0, 1]), TypeError, "other is a list"),
        (lambda: Partition.trivial(2).meet(Partition.trivial(3)), ShapeError, "divides 3 variables; expected 2"),
        (lambda: Partition.trivial(2).refine([0]), ShapeError, "labels has 1 labels; expected 2, one for each variable"),
        (lambda: Partition.trivial(2).merge([0, 1]), ShapeError, "labels has length 2"),
    ],
)  # fmt: skip
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message) as caught:
        make()
    assert isinstance(caught.value, (bm.BlockmatError, TypeError, ValueError))


@given(partitions(), st.data())
def test_a_subset_keeps_order_blocks_and_names(p, data):
    chosen = data.draw(st.lists(st.integers(0, p.n - 1), min_size=1, unique=True))
    names = [p.names[label] for label in p.labels[chosen]]
    q = p.subset(chosen)
    assert [q.names[label] for label in q.labels] == names
    assert q.names == tuple(name for name in p.names if name in names)
    assert q.subset(slice(None, None, -1)).labels.tolist() == q.labels[::-1].tolist()
    mask = np.isin(np.arange(p.n), chosen)
    for index in (mask, mask.tolist(), np.sort(chosen), sorted(i - p.n for i in chosen)):
        assert p.subset(index) == p.subset(sorted(chosen))
    assert (
        p.subset(slice(None)) == p == p.subset(range(p.n)) == p.subset(np.arange(p.n, dtype="u1"))
    )


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        ([], VariableIndexError, "index is empty; expected at least one"),
        (slice(3, 3), VariableIndexError, "index is empty"),
        ([False] * 3, VariableIndexError, "index is empty"),
        ([0, 3], VariableIndexError, "index has 3 at place 1; expected numbers from -3 to 2"),
        ([0, -4], VariableIndexError, "index has -4 at place 1"),
        (np.array([2**64 - 1], "u8"), VariableIndexError, f"index has {2**64 - 1} at place 0"),
        ([0, 2, -1], VariableIndexError, "index has the variable 2 more than once"),
        ([True, False], ShapeError, "index is a mask of length 2; expected length 3"),
        ([0.0], DtypeError, "index has dtype float64; expected integers or booleans"),
        (["x"], DtypeError, r"index has a name, 'x', at place 0; .* columns.get_indexer\(names\)"),
        ([1, "x"], DtypeError, "index has a name, '1'"),
        (np.array([0, "x"], object), DtypeError, "index has a name, 'x', at place 1"),
        (np.array([0, 1], object), DtypeError, "index has dtype object"),
        (np.array([b"x"]), DtypeError, "index has dtype |S1"),
        ({0, 1}, ShapeError, "index is .*; expected a list"),
        (1, ShapeError, "index is .*; expected a list"),
        ([[0, 1]], ShapeError, "index is 2-d"),
        (np.ma.array([0, 1]), DtypeError, "masked array"),
    ],
)
def test_an_index_that_chooses_nothing_sensible_is_refused(index, error, message):
    with pytest.raises(error, match=message):
        Partition.from_sizes([2, 1]).subset(index)
    assert issubclass(VariableIndexError, IndexError)
    assert issubclass(VariableIndexError, ValueError)


@pytest.mark.parametrize("names", [np.array(["x", "y", "z"]), np.array([3, 1, 2])])
def test_groups_of_an_array_of_names_are_plain_objects(names):
    groups = bm.Partition.from_labels(["b", "a", "b"]).groups(names)
    assert groups == {"a": [names[1]], "b": [names[0], names[2]]}
    assert {type(x) for members in groups.values() for x in members} == {type(names[0].item())}
