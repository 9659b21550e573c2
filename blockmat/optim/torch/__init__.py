"""The optimizer for PyTorch, which needs the ``torch`` extra.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.optim.schedule`.
"""

from blockmat.blocks.extras import missing_extra

try:
    import torch  # noqa: F401
except ImportError as error:
    raise missing_extra("torch", "torch", "blockmat.optim.torch") from error

from blockmat.optim.torch.adagrad import BlockAdaGrad
from blockmat.optim.torch.adamw import BlockAdamW

__all__ = ["BlockAdaGrad", "BlockAdamW"]
