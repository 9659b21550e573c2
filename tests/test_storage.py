"""Saving, loading, pickling, copying and showing."""

import copy
import json
import os
import pickle
import re
import stat

import numpy as np
import pytest
from hypothesis import given

import blockmat as bm
from blockmat.exceptions import FileFormatError
from blockmat.testing import block_matrices
from tests.cases import CASES, over_cases

A = CASES[0].A


def assert_same(first, second):
    assert type(first) is type(second)
    assert first.partition == second.partition
    assert first.partition.names == second.partition.names
    assert first.dtype == second.dtype
    np.testing.assert_array_equal(first.between, second.between)
    np.testing.assert_array_equal(first.within, second.within)


@over_cases
def test_save_and_load(case, tmp_path):
    path = tmp_path / "any name"
    case.A.save(path)
    assert os.listdir(tmp_path) == ["any name"]
    assert_same(bm.load(path), case.A)
    assert_same(bm.load(str(path)), case.A)


@given(block_matrices())
def test_pickle_and_copies(matrix):
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert_same(pickle.loads(pickle.dumps(matrix, protocol)), matrix)
    assert_same(copy.deepcopy(matrix), matrix)
    assert_same(copy.copy(matrix), matrix)
    assert not copy.deepcopy(matrix).between.flags.writeable


@pytest.mark.parametrize("names", [("x", "y"), (1.5, 2.5), (("a", 1), ("b", 2)), (True, "z")])
def test_names_survive(tmp_path, names):
    p = bm.Partition.from_sizes([1, 2], names=names)
    bm.BlockConstantMatrix(p, np.eye(2)).save(tmp_path / "f")
    again = bm.load(tmp_path / "f").partition.names
    assert again == names
    assert [type(name) for name in again] == [type(name) for name in names]


def test_names_that_cannot_be_saved_change_nothing(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"precious")
    p = bm.Partition.from_sizes([1], names=[frozenset()])
    with pytest.raises(TypeError, match="frozenset"):
        bm.BlockConstantMatrix(p, [[1]]).save(path)
    assert path.read_bytes() == b"precious"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "f"
    A.save(path)
    before = path.read_bytes()

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        (2 * A).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["f"]


def test_file_mode_and_links(tmp_path):
    path = tmp_path / "f"
    A.save(path)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    path.chmod(0o640)
    (tmp_path / "link").symlink_to(path)
    (2 * A).save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert_same(bm.load(path), 2 * A)


def test_loading_what_is_no_saved_matrix(tmp_path):
    path = tmp_path / "f"
    with pytest.raises(FileNotFoundError, match="f"):
        bm.load(path)
    with pytest.raises(FileNotFoundError):
        A.save(tmp_path / "missing" / "f")
    A.save(path)
    complete = path.read_bytes()
    for content in (b"", b"text", complete[: len(complete) // 2], complete[:-10]):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="not a complete file saved by blockmat"):
            bm.load(path)
    np.savez(tmp_path / "foreign.npz", a=np.ones(3))
    np.save(tmp_path / "array.npy", np.ones(3))
    np.savez(tmp_path / "objects.npz", header=np.array([None]))
    np.savez(tmp_path / "other.npz", header=np.array(json.dumps({"format": "x"})))
    for name in ("foreign.npz", "array.npy", "objects.npz", "other.npz"):
        with pytest.raises(FileFormatError, match="not a complete file saved by blockmat"):
            bm.load(tmp_path / name)


def test_loading_damaged_content_and_newer_versions(tmp_path):
    path = tmp_path / "f.npz"
    A.save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(arrays["header"].item())
    assert header == {
        "format": "blockmat",
        "version": 1,
        "kind": "square",
        "partitions": ["partition"],
    }
    np.savez(path, **{**arrays, "between": arrays["between"][:1]})
    with pytest.raises(FileFormatError, match="between has shape"):
        bm.load(path)
    np.savez(path, **{**arrays, "header": json.dumps({**header, "version": 2})})
    with pytest.raises(FileFormatError, match=r"format version 2; .* reads up to 1"):
        bm.load(path)


def test_repr_is_one_line():
    assert repr(A) == "<11x11 BlockConstantMatrix of 4 blocks, dtype=float32>"
    aligned = bm.BlockConstantMatrix([0, 1], np.eye(2), np.zeros((2, 2)))
    assert repr(aligned) == "<2x2 BlockConstantMatrix of 2 aligned blocks, dtype=float64>"


def test_html_shows_every_number():
    matrix = bm.BlockConstantMatrix.from_values([0, 0, 1], [[1, -2], [-2, 0]])
    html = matrix._repr_html_()
    assert html.startswith("<div")
    assert "&lt;3x3 BlockConstantMatrix of 2 blocks, dtype=float64&gt;" in html
    assert re.findall("<title>(.*?)</title>", html) == ["1", "-2", "-2", "0"]
    assert re.findall('fill="(.*?)"', html) == ["#d88c95", "#2166ac", "#2166ac", "#ffffff"]
    assert re.search(r'width="160.0" height="80.0"', html)


def test_html_of_many_blocks_is_coarse_and_of_nan_is_grey():
    many = bm.BlockConstantMatrix.identity(bm.Partition.singletons(100))
    assert many._repr_html_().count("<rect") == 24 * 24
    nan = bm.BlockConstantMatrix([0], [[np.nan]], check_finite=False)
    assert "#999999" in nan._repr_html_()
    assert "real part" in (1j * A)._repr_html_()


def test_html_of_a_partition_names_its_blocks():
    html = bm.Partition.from_labels(["a<b", "c", "c", "c"])._repr_html_()
    assert "&lt;Partition of 4 variables into 2 contiguous blocks" in html
    assert re.findall("<td [^>]*>([^<]+)</td>", html) == ["a&lt;b", "1", "c", "3"]
    assert re.findall(r"width:(\d+)px", html) == ["53", "160"]
    many = bm.Partition.from_sizes([1] * 11 + [2, 7])._repr_html_()
    assert many.count("<tr>") == 1 + 11 + 1
    assert "and 2 more blocks" in many
    assert "more blocks" not in bm.Partition.from_sizes([1] * 12)._repr_html_()
    long = bm.Partition.from_labels(["x" * 100])._repr_html_()
    assert "x" * 39 + "…" in long
    assert "x" * 40 not in long


def test_html_of_matrices_near_block_constant_ones_is_that_of_their_blocks():
    inside = bm.BlockConstantMatrix.from_values([0, 0, 1], [[1, 0.5], [0.5, 1]], [2, 2])
    scaled = bm.ScaledBlockMatrix(inside, [1.0, 2.0, 3.0])
    for near in (scaled, bm.BlockPlusLowRank(scaled, np.ones((3, 1)), [[1.0]])):
        html = near._repr_html_()
        assert type(near).__name__ in html
        assert re.findall("<title>(.*?)</title>", html) == ["1", "0.5", "0.5", "2"]


def test_nbytes():
    matrix = bm.BlockConstantMatrix.identity(bm.Partition.uniform(3, 10**6))
    assert matrix.nbytes == 8 * (9 + 3) + 8 * 3


def test_the_stored_arrays_are_read_only_copies():
    between, within = np.eye(2), np.ones(2)
    matrix = bm.BlockConstantMatrix([0, 0, 1, 1], between, within)
    between[:] = within[:] = 7
    np.testing.assert_array_equal(matrix.between, np.eye(2))
    np.testing.assert_array_equal(matrix.within, np.ones(2))
    for array in (matrix.between, matrix.within, matrix.T.between, (2 * matrix).within):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
