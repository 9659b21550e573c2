"""The exceptions that blockmat raises on purpose.

Every class derives from `BlockmatError` and from the built-in (or NumPy)
class that a caller would expect, so ``except ValueError`` and
``except numpy.linalg.LinAlgError`` keep working.
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
]


class BlockmatError(Exception):
    """Base of every exception that blockmat raises on purpose."""


class PartitionError(BlockmatError, ValueError):
    """Sizes or labels that do not describe a partition into non-empty blocks."""


class PartitionMismatchError(BlockmatError, ValueError):
    """Two operands live on different partitions."""


class ShapeError(BlockmatError, ValueError):
    """An array has the wrong shape or number of dimensions."""


class DtypeError(BlockmatError, TypeError):
    """An array has a dtype that the package cannot compute with."""


class NonFiniteError(BlockmatError, np.linalg.LinAlgError):
    """An input contains NaN or infinity."""


class SingularMatrixError(BlockmatError, np.linalg.LinAlgError):
    """An operation needs an invertible matrix and did not get one."""


class NotHermitianError(BlockmatError, np.linalg.LinAlgError):
    """An operation needs a Hermitian matrix and did not get one."""


class IndefiniteMatrixError(BlockmatError, np.linalg.LinAlgError):
    """A spectrum lies outside the domain on which the function is defined."""


class FileFormatError(BlockmatError, ValueError):
    """A file is not a matrix saved by blockmat, is damaged, or is too new."""


class MissingExtraError(BlockmatError, ImportError):
    """An optional dependency is needed; the message names the extra to install."""
