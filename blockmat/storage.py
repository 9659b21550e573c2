"""Saving matrices to .npz files and loading them, without pickle."""

import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np

from blockmat._validation import Array
from blockmat.exceptions import BlockmatError, FileFormatError
from blockmat.matrix import BlockConstantMatrix
from blockmat.partition import Partition
from blockmat.rectangular import BlockRectangularMatrix

__all__ = ["load", "save", "write_atomically"]

_FORMAT = "blockmat"
_VERSION = 1


def save(A: BlockConstantMatrix | BlockRectangularMatrix, path: str | PathLike[str]) -> None:
    """Save a matrix (see `BlockConstantMatrix.save`).

    Parameters
    ----------
    A : BlockConstantMatrix or BlockRectangularMatrix
        The matrix.
    path : path-like
        The file.

    Raises
    ------
    TypeError
        If block names are neither numbers, strings nor tuples of them.
    OSError
        If the file cannot be written.
    """
    if isinstance(A, BlockConstantMatrix):
        kind, partitions = "square", {"": A.partition}
        arrays = {"between": A.between, "within": A.within}
    else:
        kind, partitions = "rectangular", {"row_": A.row_partition, "col_": A.col_partition}
        arrays = {"between": A.between}
    for prefix, partition in partitions.items():
        arrays[f"{prefix}sizes"] = partition.sizes
        if not partition.is_contiguous:
            arrays[f"{prefix}labels"] = partition.labels
        if partition.names != tuple(range(partition.n_blocks)):
            arrays[f"{prefix}names"] = np.array(_names_to_json(partition))
    header = {"format": _FORMAT, "version": _VERSION, "kind": kind}
    arrays["header"] = np.array(json.dumps(header))
    write_atomically(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def load(path: str | PathLike[str]) -> BlockConstantMatrix | BlockRectangularMatrix:
    """Load a matrix that was saved with its ``save`` method.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    BlockConstantMatrix or BlockRectangularMatrix
        Equal to the saved one, bit by bit.

    Raises
    ------
    OSError
        If there is no such file or it cannot be read.
    FileFormatError
        If it is not such a file, is damaged, or was saved by a newer version.

    Examples
    --------
    >>> import os, tempfile
    >>> import blockmat as bm
    >>> path = os.path.join(tempfile.mkdtemp(), "fit.npz")
    >>> bm.BlockConstantMatrix(["x", "y"], [[2, 1], [1, 2]]).save(path)
    >>> bm.load(path).partition.names
    ('x', 'y')
    """
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                if not isinstance(archive, np.lib.npyio.NpzFile):
                    raise KeyError("header")
                arrays = {name: archive[name] for name in archive.files}
            return _from_arrays(arrays, path)
        except FileFormatError:
            raise
        except (BlockmatError, ValueError, KeyError, TypeError, AttributeError, EOFError,
                OSError, zipfile.BadZipFile) as error:  # fmt: skip
            raise FileFormatError(
                f"{os.fspath(path)} is not a complete file saved by blockmat ({error})"
            ) from error


def _from_arrays(
    arrays: dict[str, Array], path: Any
) -> BlockConstantMatrix | BlockRectangularMatrix:
    header = json.loads(arrays["header"].item())
    if header["format"] != _FORMAT:
        raise KeyError("format")
    if header["version"] > _VERSION:
        raise FileFormatError(
            f"{os.fspath(path)} has format version {header['version']}; this version of blockmat "
            f"reads up to {_VERSION}"
        )
    if header["kind"] == "square":
        partition = _partition(arrays, "")
        return BlockConstantMatrix(
            partition, arrays["between"], arrays["within"], check_finite=False
        )
    rows, cols = _partition(arrays, "row_"), _partition(arrays, "col_")
    return BlockRectangularMatrix(rows, cols, arrays["between"], check_finite=False)


def _partition(arrays: dict[str, Array], prefix: str) -> Partition:
    names = arrays.get(f"{prefix}names")
    return Partition(
        arrays[f"{prefix}sizes"],
        arrays.get(f"{prefix}labels"),
        None if names is None else [_as_name(name) for name in json.loads(names.item())],
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
