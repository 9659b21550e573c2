"""Files: matrices as versioned .npz archives, without pickle, written atomically."""

import io
import json
import math
import os
import secrets
import shutil
import stat
import zipfile
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from blockmat._validation import Array
from blockmat.exceptions import FileFormatError
from blockmat.partition import Partition

__all__ = ["Archive", "read_archive", "write_archive", "write_atomically"]

_FORMAT = "blockmat"
_VERSION = 1
_GROWTH = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}  # at most, from a file to memory


class Archive(NamedTuple):
    """What an archive holds.

    Parameters
    ----------
    kind : str
        Which class it is of.
    partitions : dict of Partition
        Its partitions, by name.
    arrays : dict of ndarray
        Its arrays, by name.
    """

    kind: str
    partitions: Mapping[str, Partition]
    arrays: Mapping[str, Array]


def write_archive(archive: Archive, path: str | PathLike[str]) -> None:
    """Write a file that appears complete or not at all.

    Parameters
    ----------
    archive : Archive
        The content.
    path : path-like
        The file.

    Raises
    ------
    TypeError
        If block names are neither numbers, strings nor tuples of them.
    OSError
        If the file cannot be written.
    """
    content = dict(archive.arrays)
    for name, partition in archive.partitions.items():
        content[f"{name}.sizes"] = partition.sizes
        if not partition.is_contiguous:
            content[f"{name}.labels"] = partition.labels
        if partition.names != tuple(range(partition.n_blocks)):
            content[f"{name}.names"] = np.array(_names_to_json(partition))
    header = {"format": _FORMAT, "version": _VERSION, "kind": archive.kind,
              "partitions": list(archive.partitions)}  # fmt: skip
    content["header"] = np.array(json.dumps(header))
    write_atomically(path, lambda file: np.savez(file, **content))  # type: ignore[arg-type]


def read_archive(path: str | PathLike[str], build: Callable[[Archive], Any]) -> Any:
    """Read a file and build a matrix from it.

    Parameters
    ----------
    path : path-like
        The file.
    build : callable
        Makes the matrix from the `Archive`; its complaints count as damage.

    Returns
    -------
    object
        What `build` returns.

    Raises
    ------
    OSError
        If there is no such file or it cannot be read.
    FileFormatError
        If it was not written by `write_archive`, is damaged, or is too new.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as stored:
                n_bytes = os.fstat(file.fileno()).st_size
                content = dict(_read_array(stored, member, n_bytes) for member in stored.infolist())
            return build(_archive(content, path))
        except FileFormatError:
            raise
        except (
            Exception
        ) as error:  # damage has many faces, and none of them is a fault of the caller
            raise FileFormatError(
                f"{os.fspath(path)} is not a complete file saved by blockmat ({error})"
            ) from error


def _read_array(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, n_bytes: int
) -> tuple[str, Array]:
    """Read an array of an archive of so many bytes; nothing larger than these allow is allocated."""
    growth = _GROWTH.get(member.compress_type)
    if growth is None or member.file_size > growth * member.compress_size + growth:
        raise KeyError(f"the size of {member.filename}")
    if member.compress_size > n_bytes:
        raise KeyError(f"the end of {member.filename}")
    content = archive.read(member)  # and check its checksum
    header = io.BytesIO(content)
    version = np.lib.format.read_magic(header)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, is_fortran, dtype = read_header(header)
    count, start = math.prod(shape), header.tell()
    if (
        dtype.hasobject
        or min(shape, default=0) < 0
        or count * dtype.itemsize != len(content) - start
    ):
        raise KeyError(f"the numbers of {member.filename}")
    numbers = np.frombuffer(content, dtype, count, start)
    array = numbers.reshape(shape, order="F" if is_fortran else "C")
    return member.filename.removesuffix(".npy"), array


def _archive(content: dict[str, Array], path: Any) -> Archive:
    header = json.loads(content.pop("header").item())
    if header["format"] != _FORMAT or type(header["version"]) is not int:
        raise KeyError("format")
    if header["version"] > _VERSION:
        raise FileFormatError(
            f"{os.fspath(path)} has format version {header['version']}; this version of blockmat "
            f"reads up to {_VERSION}"
        )
    partitions = {name: _partition(content, name) for name in header["partitions"]}
    return Archive(header["kind"], partitions, content)


def _partition(content: dict[str, Array], name: str) -> Partition:
    names = content.get(f"{name}.names")
    return Partition(
        content[f"{name}.sizes"],
        content.get(f"{name}.labels"),
        None if names is None else [_as_name(part) for part in json.loads(names.item())],
    )


def _names_to_json(partition: Partition) -> str:
    for name in partition.names:
        _require_plain(name)
    return json.dumps(partition.names)


def _require_plain(name: Any) -> None:
    if isinstance(name, tuple):
        for part in name:
            _require_plain(part)
    elif not isinstance(name, str | int | float | bool):
        raise TypeError(
            f"the block name {name!r} cannot be saved; expected numbers, strings or tuples of them"
        )


def _as_name(name: Any) -> Any:
    return tuple(_as_name(part) for part in name) if isinstance(name, list) else name


def write_atomically(path: str | PathLike[str], write: Callable[[Any], Any]) -> None:
    """Write beside the target and rename, so that no half-written file has its name.

    The target of a link is replaced, and the link kept. What is no regular file, such as a pipe or
    a device, is written to, and so is the file of another user, which would change its owner.

    Parameters
    ----------
    path : path-like
        The file.
    write : callable
        Writes the content to the binary file that it is given.

    Raises
    ------
    OSError
        If the file cannot be written; a regular file that had its name is then untouched.
    """
    target = os.path.realpath(os.fspath(path))
    try:
        old = os.stat(path)
    except FileNotFoundError:
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode):
        content = io.BytesIO()  # np.save asks files for their position, which pipes have not
        write(content)
        with open(path, "wb") as file:
            file.write(content.getbuffer())
        return
    if old is not None:
        with open(target, "ab"):  # an error where the file must not be written to
            pass
    temporary = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}.tmp")
    try:
        file = open(temporary, "xb")  # noqa: SIM115
    except OSError as error:
        error.filename = os.fspath(path)
        raise
    try:
        with file:
            if old is not None:
                os.chmod(temporary, 0o600)  # until it has the owner of the old file
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if old is None or _has_access_of(old, temporary):
            os.replace(temporary, target)
        else:
            shutil.copyfile(temporary, target)
            os.unlink(temporary)
    except BaseException:
        os.unlink(temporary)
        raise


def _has_access_of(old: os.stat_result, temporary: str) -> bool:
    """Give a file the owner, group and mode of the one that it is to replace, if that is allowed."""
    new = os.stat(temporary)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.chown(temporary, old.st_uid, old.st_gid)
        except PermissionError:
            return False
    os.chmod(temporary, stat.S_IMODE(old.st_mode))
    return True
