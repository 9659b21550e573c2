"""Matrices as versioned .npz archives, without pickle."""

import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.files import write_atomically
from blockmat.blocks.partition import Partition
from blockmat.exceptions import FileFormatError

__all__ = ["Archive", "read_archive", "write_archive"]


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
