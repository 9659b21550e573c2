"""Atomic writes of files."""

import io
import os
import secrets
import shutil
import stat
from collections.abc import Callable
from os import PathLike
from typing import Any

__all__ = ["write_atomically"]


def write_atomically(path: str | PathLike[str], write: Callable[[Any], Any]) -> None:
    """Write a temporary file in the same folder and rename it, so that the file is never incomplete.

    A symbolic link is kept and its target is replaced. Some files are written in place: pipes and
    devices, and a file of another user if a new file would change its owner.

    Parameters
    ----------
    path : path-like
        The file to write.
    write : callable
        Writes the content to a binary file that is passed to it.

    Raises
    ------
    OSError
        If the file cannot be written. An existing regular file is unchanged then.
    """
    target = os.path.realpath(os.fspath(path))
    try:
        old = os.stat(path)
    except FileNotFoundError:
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode):
        content = io.BytesIO()  # np.save needs the position in the file, which pipes do not have
        write(content)
        with open(path, "wb") as file:
            file.write(content.getbuffer())
        return
    if old is not None:
        with open(target, "ab"):  # raises an error for a read-only file
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
                os.chmod(temporary, 0o600)  # private until it has the owner of the old file
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
    """Give a file the owner, group and mode of the one that it replaces; False if not allowed."""
    new = os.stat(temporary)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.chown(temporary, old.st_uid, old.st_gid)
        except PermissionError:
            return False
    os.chmod(temporary, stat.S_IMODE(old.st_mode))
    return True
