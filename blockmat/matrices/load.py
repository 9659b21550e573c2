"""load: a saved matrix of any class."""

from collections.abc import Callable
from os import PathLike
from typing import Any

from blockmat.matrices.archive import Archive, read_archive
from blockmat.matrices.block_constant import BlockConstantMatrix, matrix_from_archive
from blockmat.matrices.block_factor import BlockFactorMatrix, factor_from_archive
from blockmat.matrices.rectangular import BlockRectangularMatrix, rectangular_from_archive

__all__ = ["load"]

_KINDS: dict[str, Callable[[Archive], Any]] = {
    "square": matrix_from_archive,
    "rectangular": rectangular_from_archive,
    "factor": factor_from_archive,
}


def load(
    path: str | PathLike[str],
) -> BlockConstantMatrix | BlockRectangularMatrix | BlockFactorMatrix:
    """Load a matrix that was saved with its ``save`` method.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    BlockConstantMatrix, BlockRectangularMatrix or BlockFactorMatrix
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
    result: BlockConstantMatrix | BlockRectangularMatrix | BlockFactorMatrix
    result = read_archive(path, _build)
    return result


def _build(archive: Archive) -> Any:
    return _KINDS[archive.kind](archive)
