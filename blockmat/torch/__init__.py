"""Block-constant and factor matrices for PyTorch: batched and differentiable. Needs the ``torch`` extra.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.matrices`.
"""

from blockmat.blocks.extras import missing_extra

try:
    import torch  # noqa: F401
except ImportError as error:
    raise missing_extra("torch", "torch", "blockmat.torch") from error

from blockmat.torch.block_constant import BlockConstantMatrix
from blockmat.torch.block_factor import BlockFactorMatrix
from blockmat.torch.distributions import BlockMultivariateNormal
from blockmat.torch.parameters import LogCholesky, LogCorrelation

__all__ = [
    "BlockConstantMatrix",
    "BlockFactorMatrix",
    "BlockMultivariateNormal",
    "LogCholesky",
    "LogCorrelation",
]
