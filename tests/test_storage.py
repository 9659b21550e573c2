"""Files that matrices are saved to, and how matrices are shown."""

import io
import json
import os
import re
import socket
import stat
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import blockmat as bm
from blockmat.exceptions import FileFormatError
from tests.cases import PARTITIONS, make

A = make(PARTITIONS["contiguous"], np.float32, aligned=False, hermitian=True)


def assert_same(first, second):
    assert type(first) is type(second)
    assert first.partition == second.partition
    assert first.partition.names == second.partition.names
    assert first.dtype == second.dtype
    np.testing.assert_array_equal(first.between, second.between)
    np.testing.assert_array_equal(first.within, second.within)


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path, through_a_link):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = tmp_path / "link" if through_a_link else pipe
    if through_a_link:
        path.symlink_to(pipe)
    with ThreadPoolExecutor(1) as pool:
        content = pool.submit(pipe.read_bytes)
        A.save(path)
        (tmp_path / "f").write_bytes(content.result(timeout=60))
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == sorted({"f", "pipe", path.name})
    assert_same(bm.load(tmp_path / "f"), A)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs its devices")
def test_a_device_is_written_to(tmp_path):
    before = os.stat("/dev/null")
    A.save("/dev/null")
    after = os.stat("/dev/null")
    assert stat.S_ISCHR(after.st_mode)
    assert (after.st_ino, after.st_rdev) == (before.st_ino, before.st_rdev)
    (tmp_path / "link").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        A.save(tmp_path / "link")
    assert os.listdir(tmp_path) == ["link"]
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_socket_and_a_folder_are_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="socket"):
            A.save(tmp_path / "socket")
        assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)
    with pytest.raises(IsADirectoryError):
        A.save(tmp_path)


def test_a_link_to_nothing_makes_its_target(tmp_path):
    (tmp_path / "link").symlink_to("target")
    A.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert_same(bm.load(tmp_path / "target"), A)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o4755])
def test_a_file_that_is_replaced_keeps_its_mode_and_its_owner(tmp_path, mode):
    path = tmp_path / "f"
    path.touch()
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    path.chmod(mode)
    before = path.stat()
    A.save(path)
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == mode
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


def test_a_file_whose_owner_cannot_be_kept_is_written_to(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"x" * 9999)
    before = path.stat()

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    monkeypatch.setattr(os, "stat", own_by_another(os.stat, path))
    A.save(path)
    monkeypatch.undo()
    assert path.stat().st_ino == before.st_ino
    assert os.listdir(tmp_path) == ["f"]
    assert_same(bm.load(path), A)


def own_by_another(function, path):
    """Let a file seem to belong to another user."""

    def result(asked, **options):
        found = function(asked, **options)
        fields = list(found)
        fields[4] += os.fspath(asked) == os.fspath(path)
        return os.stat_result(fields)

    return result


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything is allowed to root"
)
def test_what_must_not_be_written_is_not_replaced(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"precious")
    path.chmod(0o444)
    with pytest.raises(PermissionError, match="f'"):
        A.save(path)
    path.chmod(0o644)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(PermissionError, match="f'"):
            A.save(path)
    finally:
        tmp_path.chmod(0o755)
    assert path.read_bytes() == b"precious"


def saved_matrices():
    """One of each kind that files differ in, small."""
    p = bm.Partition.from_labels([1, 0, 1])
    yield bm.BlockConstantMatrix([0, 1, 1], np.float32([[1, 2], [3, 4]]), [0, 5])
    yield bm.BlockConstantMatrix(["x", "y", "x"], np.eye(2))
    yield bm.BlockConstantMatrix(bm.Partition.uniform(2, 2), np.eye(2) * 1j, np.ones((2, 2)))
    yield bm.BlockRectangularMatrix(p, [("a", 1), ("b", 2)], [[1.0, 2.0], [3.0, 4.0]])


def equal_files(first, second):
    if type(first) is not type(second) or first.dtype != second.dtype:
        return False
    if isinstance(first, bm.BlockRectangularMatrix):
        parts = [
            (first.row_partition, second.row_partition),
            (first.col_partition, second.col_partition),
        ]
    else:
        parts = [(first.partition, second.partition)]
    return all(p == q for p, q in parts) and np.array_equal(first.toarray(), second.toarray())


@pytest.mark.parametrize(
    "matrix", list(saved_matrices()), ids=["intervals", "names", "aligned", "rectangular"]
)
def test_a_damaged_byte_changes_nothing_or_is_an_error(matrix, tmp_path):
    path = tmp_path / "f"
    matrix.save(path)
    complete = path.read_bytes()
    rng = np.random.default_rng(0)
    wrong = []
    for i in rng.choice(len(complete), 250, replace=False).tolist():
        for flip in (0xFF, 1 << int(rng.integers(8))):
            damaged = bytearray(complete)
            damaged[i] ^= flip
            path.write_bytes(damaged)
            try:
                if not equal_files(bm.load(path), matrix):
                    wrong.append((i, flip))
            except FileFormatError:
                pass
    assert wrong == []


@pytest.mark.parametrize("step", [1, 7])
def test_a_file_that_is_cut_off_is_an_error(tmp_path, step):
    path = tmp_path / "f"
    A.save(path)
    complete = path.read_bytes()
    for length in range(0, len(complete) - 30, 13 * step):
        path.write_bytes(complete[:length])
        with pytest.raises(FileFormatError):
            bm.load(path)


def crafted(path, compression=zipfile.ZIP_STORED, **changed):
    """Write a file with other members, as bytes or as arrays."""
    header = {"format": "blockmat", "version": 1, "kind": "square", "partitions": ["partition"]}
    members = {
        "header": np.array(json.dumps(header)),
        "partition.sizes": np.array([2, 1]),
        "between": np.eye(2),
        "within": np.ones(2) * [1, 0],
        **changed,
    }
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            if not isinstance(content, bytes):
                file = io.BytesIO()
                np.save(file, content)
                content = file.getvalue()
            archive.writestr(f"{name}.npy", content)


def npy(header, content=b""):
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


CRAFTED = {
    "sizes that overflow": {"partition.sizes": np.array([2**62] * 4)},
    "sizes that overflow to one": {"partition.sizes": np.array([2**63, 2**63, 1], dtype=np.uint64)},
    "sizes that are negative": {"partition.sizes": np.array([-1, 4])},
    "labels beyond the blocks": {"partition.labels": np.array([0, 1, 2**40])},
    "a huge array": {"between": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000)}")},
    "a huge empty array": {"between": npy("{'descr': '<U0', 'fortran_order': False, 'shape': (99999999999999,)}")},
    "negative lengths": {"between": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-2, -2)}", bytes(32))},
    "another length": {"between": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2)}", bytes(31))},
    "objects": {"between": npy("{'descr': '|O', 'fortran_order': False, 'shape': (2, 2)}", bytes(32))},
    "no dtype": {"between": npy("{'descr': 'nonsense', 'fortran_order': False, 'shape': (2, 2)}", bytes(32))},
    "a deep header": {"between": npy("(" * 5000)},
    "no array": {"between": b"text"},
    "another version of arrays": {"between": b"\x93NUMPY\x09\x00"},
    "a deep JSON": {"header": np.array("[" * 100_000)},
    "deep names": {"partition.names": np.array("[" * 5000 + "1" + "]" * 5000)},
    "names that are no names": {"partition.names": np.array('[{}, {}]')},
    "a header that is a list": {"header": np.array("[1]")},
    "a header that is a number": {"header": np.array(7.0)},
    "a header that is no text": {"header": np.frombuffer(b"\xff" * 8, "<U2")},
    "a version that is no number": {"header": np.array('{"format": "blockmat", "version": "1"}')},
    "a version that is infinite": {"header": np.array('{"format": "blockmat", "version": 1e999}')},
    "another kind": {"header": np.array('{"format": "blockmat", "version": 1, "kind": [], "partitions": []}')},
    "words for numbers": {"between": np.array([["a", "b"], ["c", "d"]])},
}  # fmt: skip


@pytest.mark.parametrize("changed", CRAFTED.values(), ids=CRAFTED)
def test_a_crafted_file_is_an_error_and_takes_no_memory(changed, tmp_path):
    crafted(tmp_path / "good")
    assert bm.load(tmp_path / "good").shape == (3, 3)
    crafted(tmp_path / "f", **changed)
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match="f is not a complete file saved by blockmat"):
            bm.load(tmp_path / "f")
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


def test_a_member_that_is_said_to_be_huge_takes_no_memory(tmp_path):
    crafted(tmp_path / "f")
    content = bytearray((tmp_path / "f").read_bytes())
    place = content.index(b"PK\x01\x02")  # the first entry of the directory
    for length in (2**31, 2**32 - 2):
        content[place + 20 : place + 28] = length.to_bytes(4, "little") * 2
        (tmp_path / "f").write_bytes(content)
        tracemalloc.start()
        try:
            with pytest.raises(FileFormatError):
                bm.load(tmp_path / "f")
            assert tracemalloc.get_traced_memory()[1] < 2**25
        finally:
            tracemalloc.stop()


def test_compressed_files_are_read(tmp_path):
    crafted(tmp_path / "f", zipfile.ZIP_DEFLATED)
    assert bm.load(tmp_path / "f").shape == (3, 3)
    for compression in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        crafted(tmp_path / "f", compression)
        with pytest.raises(FileFormatError):
            bm.load(tmp_path / "f")


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


def test_html_of_a_scaled_matrix_is_that_of_its_blocks():
    inside = bm.BlockConstantMatrix.from_values([0, 0, 1], [[1, 0.5], [0.5, 1]], [2, 2])
    html = bm.ScaledBlockMatrix(inside, [1.0, 2.0, 3.0])._repr_html_()
    assert "ScaledBlockMatrix" in html
    assert re.findall("<title>(.*?)</title>", html) == ["1", "0.5", "0.5", "2"]


@pytest.mark.parametrize("is_scaled", [False, True])
def test_html_with_a_part_of_low_rank_shows_the_means_of_the_blocks(is_scaled):
    rng = np.random.default_rng(0)
    labels = np.array([0, 1, 0, 1, 1, 2])
    base = bm.BlockConstantMatrix(labels, np.eye(3) + 1, [1.0, 2.0, 3.0])
    factor, core = rng.standard_normal((6, 2)), np.array([[2.0, 1.0], [1.0, 3.0]])
    inside = bm.BlockPlusLowRank(base, factor, core)
    scale = np.arange(1.0, 7.0)
    matrix = (
        bm.BlockPlusLowRank(bm.ScaledBlockMatrix(base, scale), scale[:, None] * factor, core)
        if is_scaled
        else inside
    )
    shown = np.array(re.findall("<title>(.*?)</title>", matrix._repr_html_()), dtype=float)
    expected = bm.fit(inside.toarray(), labels).values
    expected[2, 2] = base.values[2, 2]  # a block of one variable has no entry off the diagonal
    np.testing.assert_allclose(shown.reshape(3, 3), expected, rtol=1e-3)


def test_html_of_many_independent_blocks_with_a_part_of_low_rank_is_coarse():
    identity = bm.BlockConstantMatrix.identity(bm.Partition.uniform(48, 2))
    html = bm.BlockPlusLowRank(identity, np.repeat([[1.0], [2.0]], 48, axis=0))._repr_html_()
    shown = np.array(re.findall("<title>(.*?)</title>", html), dtype=float).reshape(24, 24)
    means = np.repeat([1.0, 2.0], 12)
    np.testing.assert_allclose(shown, np.outer(means, means))


def test_html_of_few_independent_blocks_with_a_part_of_low_rank():
    identity = bm.BlockConstantMatrix.identity(bm.Partition.uniform(3, 2))
    html = bm.BlockPlusLowRank(identity, [[1.0], [1.0], [2.0], [2.0], [0.0], [0.0]])._repr_html_()
    shown = np.array(re.findall("<title>(.*?)</title>", html), dtype=float).reshape(3, 3)
    np.testing.assert_allclose(shown, np.outer([1, 2, 0], [1, 2, 0]))


def test_html_of_entries_that_overflow_is_grey():
    identity = bm.BlockConstantMatrix.identity(bm.Partition.uniform(2, 2))
    html = bm.BlockPlusLowRank(identity, np.full((4, 1), 1e160))._repr_html_()  # without a warning
    assert html.count("#999999") == 4


def test_nbytes():
    matrix = bm.BlockConstantMatrix.identity(bm.Partition.uniform(3, 10**6))
    assert matrix.nbytes == 8 * (3 + 3) + 8 * 3
    with_core = bm.BlockConstantMatrix(matrix.partition, np.eye(3))
    assert with_core.nbytes == 8 * (9 + 3) + 8 * 3
