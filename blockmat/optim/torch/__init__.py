"""The optimizer for PyTorch; it may import blocks, cores, the schedule of `blockmat.optim`, and torch.

Needs the ``torch`` extra.
"""

from blockmat._validation import missing_extra

try:
    import torch  # noqa: F401
except ImportError as error:
    raise missing_extra("torch", "torch", "blockmat.optim.torch") from error

from blockmat.optim.torch.adagrad import BlockAdaGrad

__all__ = ["BlockAdaGrad"]
