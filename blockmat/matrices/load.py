"""load: a saved matrix of any class."""

from collections.abc import Callable
from os import PathLike
from typing import Any

from blockmat.matrices.archive import Archive, read_archive
from blockmat.matrices.block_constant import BlockConstantMatrix, matrix_from_archive
from blockmat.matrices.block_factor import BlockFactorMatrix, factor_from_archive
from blockmat.matrices.low_rank import BlockPlusLowRank, low_rank_from_archive
from blockmat.matrices.rectangular import BlockRectangularMatrix, rectangular_from_archive
from blockmat.matrices.scaled import ScaledBlockMatrix, scaled_from_archive

__all__ = ["load"]

_KINDS: dict[str, Callable[[Archive], Any]] = {
    "square": matrix_from_archive,
    "rectangular": rectangular_from_archive,
    "factor": factor_from_archive,
    "scaled": scaled_from_archive,
}
_WITH_BASE: dict[str, Callable[[Archive, Any], Any]] = {"low rank": low_rank_from_archive}

Matrix = (
    BlockConstantMatrix
    | BlockRectangularMatrix
    | ScaledBlockMatrix
    | BlockFactorMatrix
    | BlockPlusLowRank
)


def load(path: str | PathLike[str]) -> Matrix:
    """Load a matrix that was saved with its ``save`` method.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    BlockConstantMatrix, BlockRectangularMatrix, or another matrix type
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
    result: Matrix = read_archive(path, _build)
    return result


def _build(archive: Archive) -> Any:
    outer, _, inner = archive.kind.partition(" + ")
    if not inner:
        return _KINDS[outer](archive)
    base = _build(archive._replace(kind=inner))
    return _WITH_BASE[outer](archive, base)
