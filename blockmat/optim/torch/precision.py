"""Matrix products in single precision, whatever the program allows elsewhere.

A core has a condition number of up to a million, and its root needs products that are rounded to
single precision: with TF32 or bfloat16 it can become infinite.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def single_precision(device: torch.device) -> Iterator[None]:
    """Switch off TF32 and bfloat16 for products of float32 numbers, except in compiled code."""
    if torch.compiler.is_compiling():
        yield
        return
    backend: Any = torch.backends.mkldnn if device.type == "cpu" else torch.backends.cuda
    settings = getattr(backend, "matmul", None)
    has_name = hasattr(settings, "fp32_precision")  # since PyTorch 2.9
    name, value = ("fp32_precision", "ieee") if has_name else ("allow_tf32", False)
    before = getattr(settings, name, value)
    if before in (value, "none"):
        yield
        return
    setattr(settings, name, value)
    try:
        yield
    finally:
        setattr(settings, name, before)
