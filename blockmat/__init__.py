"""Block-constant matrices: exact inverses and matrix functions at O(n + k^3)."""

from blockmat import optim
from blockmat._threads import get_num_threads, set_num_threads
from blockmat.accumulator import BlockAccumulator
from blockmat.approximation import approximation_error
from blockmat.coclustering import Coclusters, cocluster
from blockmat.discovery import PartitionPath, find_partition, partition_path
from blockmat.eigen import BlockEigh
from blockmat.exceptions import BlockmatError
from blockmat.fitting import fit, fit_samples
from blockmat.loading import load
from blockmat.low_rank import BlockPlusLowRank
from blockmat.matrix import BlockConstantMatrix
from blockmat.partition import Partition
from blockmat.rectangular import BlockRectangularMatrix
from blockmat.scaled import ScaledBlockMatrix
from blockmat.shrinkage import optimal_shrinkage

__version__ = "0.1.0"

__all__ = [
    "BlockAccumulator",
    "BlockConstantMatrix",
    "BlockEigh",
    "BlockPlusLowRank",
    "BlockRectangularMatrix",
    "BlockmatError",
    "Coclusters",
    "Partition",
    "PartitionPath",
    "ScaledBlockMatrix",
    "approximation_error",
    "cocluster",
    "find_partition",
    "fit",
    "fit_samples",
    "get_num_threads",
    "load",
    "optim",
    "optimal_shrinkage",
    "partition_path",
    "set_num_threads",
]
