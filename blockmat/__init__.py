"""Block-constant matrices: exact inverses and matrix functions in O(n + k^3)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from blockmat.blocks.partition import Partition
from blockmat.blocks.threads import get_num_threads, set_num_threads
from blockmat.exceptions import BlockmatError
from blockmat.fitting.accumulator import BlockAccumulator
from blockmat.fitting.approximation import approximation_error
from blockmat.fitting.factor_fit import FactorFit
from blockmat.fitting.fit import FitResult, fit
from blockmat.fitting.fit_factor import fit_factor
from blockmat.fitting.fit_samples import fit_samples
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.block_factor import BlockFactorMatrix
from blockmat.matrices.eigenvectors import BlockEigh
from blockmat.matrices.load import load
from blockmat.matrices.low_rank import BlockPlusLowRank
from blockmat.matrices.rectangular import BlockRectangularMatrix
from blockmat.matrices.scaled import ScaledBlockMatrix

if (
    TYPE_CHECKING
):  # these names are imported on first use, so that importing blockmat takes less time
    from blockmat import optim
    from blockmat.finding.find_partition import find_partition
    from blockmat.finding.partition_path import PartitionPath, partition_path
    from blockmat.finding.resampling.coassignment import Coassignment
    from blockmat.finding.search.coclusters import Coclusters, cocluster
    from blockmat.finding.search.tree import PartitionTree
    from blockmat.finding.stability import PartitionStability, partition_stability
    from blockmat.inference.shrinkage import optimal_shrinkage

__version__ = "0.1.0"

__all__ = [
    "BlockAccumulator",
    "BlockConstantMatrix",
    "BlockEigh",
    "BlockFactorMatrix",
    "BlockPlusLowRank",
    "BlockRectangularMatrix",
    "BlockmatError",
    "Coassignment",
    "Coclusters",
    "FactorFit",
    "FitResult",
    "Partition",
    "PartitionPath",
    "PartitionStability",
    "PartitionTree",
    "ScaledBlockMatrix",
    "approximation_error",
    "cocluster",
    "find_partition",
    "fit",
    "fit_factor",
    "fit_samples",
    "get_num_threads",
    "load",
    "optim",
    "optimal_shrinkage",
    "partition_path",
    "partition_stability",
    "set_num_threads",
]

_MODULES = {
    "Coassignment": "blockmat.finding.resampling.coassignment",
    "Coclusters": "blockmat.finding.search.coclusters",
    "PartitionPath": "blockmat.finding.partition_path",
    "PartitionStability": "blockmat.finding.stability",
    "PartitionTree": "blockmat.finding.search.tree",
    "cocluster": "blockmat.finding.search.coclusters",
    "find_partition": "blockmat.finding.find_partition",
    "optimal_shrinkage": "blockmat.inference.shrinkage",
    "partition_path": "blockmat.finding.partition_path",
    "partition_stability": "blockmat.finding.stability",
}

# Names of other modules, for the message of an error.
_ELSEWHERE = {
    "BlockAdaGrad": "blockmat.optim, or blockmat.optim.torch",
    "BlockAdamW": "blockmat.optim.torch",
    "BlockClustering": "blockmat.skfolio",
    "BlockCovariance": "blockmat.covariance",
    "BlockMultivariateNormal": "blockmat.torch",
    "confidence_intervals": "blockmat.inference",
    "kl_divergence": "blockmat.inference",
    "likelihood_ratio_test": "blockmat.inference",
    "log_likelihood": "blockmat.inference",
    "minimize": "blockmat.optim",
}

_SUBMODULES = ("covariance", "exceptions", "inference", "optim", "plot", "testing", "torch")


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _SUBMODULES:
        return import_module(f"blockmat.{name}")
    if name not in _MODULES:
        hint = f"; it is in {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
        raise AttributeError(f"module 'blockmat' has no attribute {name!r}{hint}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES, "__version__"})
