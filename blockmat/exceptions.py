"""The exceptions of blockmat.

Each class derives from `BlockmatError` and from the built-in or NumPy class for the same kind of
error, so that ``except ValueError`` or ``except numpy.linalg.LinAlgError`` catches it.
"""

import numpy as np

__all__ = [
    "BlockmatError",
    "DtypeError",
    "FileFormatError",
    "IndefiniteMatrixError",
    "MissingExtraError",
    "NonFiniteError",
    "NotHermitianError",
    "PartitionError",
    "PartitionMismatchError",
    "ShapeError",
    "SingularMatrixError",
    "VariableIndexError",
]


class BlockmatError(Exception):
    """Base class of the exceptions of blockmat."""


class PartitionError(BlockmatError, ValueError):
    """Sizes or labels do not describe a partition into non-empty blocks."""


class PartitionMismatchError(BlockmatError, ValueError):
    """Two operands have different partitions."""


class ShapeError(BlockmatError, ValueError):
    """An array has the wrong shape or number of dimensions."""


class VariableIndexError(BlockmatError, IndexError, ValueError):
    """An index is empty, out of range, or has a variable more than once."""


class DtypeError(BlockmatError, TypeError):
    """An array has a dtype that is not supported."""


class NonFiniteError(BlockmatError, np.linalg.LinAlgError):
    """An input contains NaN or infinity."""


class SingularMatrixError(BlockmatError, np.linalg.LinAlgError):
    """An operation needs an invertible matrix, and the matrix is singular."""


class NotHermitianError(BlockmatError, np.linalg.LinAlgError):
    """An operation needs a Hermitian matrix, and the matrix is not Hermitian."""


class IndefiniteMatrixError(BlockmatError, np.linalg.LinAlgError):
    """The eigenvalues of a matrix are outside the domain of the function."""


class FileFormatError(BlockmatError, ValueError):
    """A file is not a matrix saved by blockmat, is damaged, or has a newer format."""


class MissingExtraError(BlockmatError, ImportError):
    """An optional dependency is not installed; the message names the extra."""
