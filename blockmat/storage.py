"""Files: matrices as versioned .npz archives, without pickle, written atomically."""

import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from blockmat._validation import Array
from blockmat.exceptions import BlockmatError, FileFormatError
from blockmat.partition import Partition

__all__ = ["Archive", "read_archive", "write_archive", "write_atomically"]

_FORMAT = "blockmat"
_VERSION = 1


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
            with np.load(file, allow_pickle=False) as stored:
                if not isinstance(stored, np.lib.npyio.NpzFile):
                    raise KeyError("header")
                content = {name: stored[name] for name in stored.files}
            return build(_archive(content, path))
        except FileFormatError:
            raise
        except (BlockmatError, ValueError, KeyError, TypeError, AttributeError, EOFError,
                OSError, zipfile.BadZipFile) as error:  # fmt: skip
            raise FileFormatError(
                f"{os.fspath(path)} is not a complete file saved by blockmat ({error})"
            ) from error


def _archive(content: dict[str, Array], path: Any) -> Archive:
    header = json.loads(content.pop("header").item())
    if header["format"] != _FORMAT:
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

    Parameters
    ----------
    path : path-like
        The file.
    write : callable
        Writes the content to the binary file that it is given.

    Raises
    ------
    OSError
        If the file cannot be written; what had its name is then untouched.
    """
    target = os.path.realpath(os.fspath(path))
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        _copy_mode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _copy_mode(target: str, temporary: str) -> None:
    """Give the new file the mode of the one it replaces, or what open() would give."""
    if os.path.exists(target):
        mode = os.stat(target).st_mode & 0o777
    else:
        umask = os.umask(0)
        os.umask(umask)
        mode = 0o666 & ~umask
    os.chmod(temporary, mode)
