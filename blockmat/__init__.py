"""Block-constant matrices: exact inverses and matrix functions in O(n + k^3)."""

from blockmat import optim
from blockmat.blocks.partition import Partition
from blockmat.blocks.threads import get_num_threads, set_num_threads
from blockmat.exceptions import BlockmatError
from blockmat.finding.coclusters import Coclusters, cocluster
from blockmat.finding.find_partition import find_partition
from blockmat.finding.partition_path import PartitionPath, partition_path
from blockmat.fitting.accumulator import BlockAccumulator
from blockmat.fitting.approximation import approximation_error
from blockmat.fitting.fit import fit
from blockmat.fitting.fit_samples import fit_samples
from blockmat.inference.shrinkage import optimal_shrinkage
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.eigenvectors import BlockEigh
from blockmat.matrices.load import load
from blockmat.matrices.low_rank import BlockPlusLowRank
from blockmat.matrices.rectangular import BlockRectangularMatrix
from blockmat.matrices.scaled import ScaledBlockMatrix

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
