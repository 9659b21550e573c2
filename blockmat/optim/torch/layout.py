"""A whole parameter as a matrix (k, m), with one block per row.

The classes have the same two methods: `blocks` takes a tensor like the parameter to that matrix,
and `entries` takes it back.
"""

import numpy as np
import torch
from torch import Tensor

from blockmat.blocks.partition import Partition
from blockmat.optim.torch.blocks import COLUMNS, Kind, n_blocks


class RowLayout:
    """Each row of the parameter, flattened to (out, rest), is a block.

    Parameters
    ----------
    p : Tensor
        The parameter.
    """

    is_view = True  # `blocks` of a contiguous tensor shares its memory
    blocks_are_rows = True

    def __init__(self, p: Tensor) -> None:
        self.shape = p.shape
        self.n_blocks = len(p)
        self.sizes = p.numel() // max(self.n_blocks, 1)

    def blocks(self, x: Tensor) -> Tensor:
        """Return a tensor like the parameter as (k, m)."""
        return x.reshape(len(x), -1)

    def entries(self, blocks: Tensor) -> Tensor:
        """Return what `blocks` was made from."""
        return blocks.reshape(self.shape)


class ColumnLayout:
    """Each column of the parameter, flattened to (out, rest), is a block.

    Parameters
    ----------
    p : Tensor
        The parameter.
    """

    is_view = True
    blocks_are_rows = False

    def __init__(self, p: Tensor) -> None:
        self.shape = p.shape
        self.n_blocks = p.numel() // len(p)
        self.sizes = len(p)

    def blocks(self, x: Tensor) -> Tensor:
        """Return a tensor like the parameter as (k, m)."""
        return x.reshape(len(x), -1).T

    def entries(self, blocks: Tensor) -> Tensor:
        """Return what `blocks` was made from."""
        return blocks.T.reshape(self.shape)


class LabelLayout:
    """Entries with the same label are a block.

    Parameters
    ----------
    labels : Tensor of int, shape (n,)
        The block of each entry.
    p : Tensor
        The parameter.
    """

    is_view = False
    blocks_are_rows = False

    def __init__(self, labels: Tensor, p: Tensor) -> None:
        q = Partition.from_labels(labels.numpy(force=True))
        width = int(q.sizes.max())
        self.shape = p.shape
        self.n_blocks = n_blocks(labels, p)
        self.sizes: int | Tensor = p.numel() // max(self.n_blocks, 1)
        self._members = torch.full((q.n_blocks, width), q.n, device=p.device)
        places = q.labels.astype(np.int64) * width + q.positions
        self._places = torch.from_numpy(places).to(p.device)
        self._members.view(-1)[self._places] = torch.arange(q.n, device=p.device)
        if (q.sizes != width).any():
            dtype = torch.promote_types(p.dtype, torch.float32)
            self.sizes = torch.from_numpy(q.sizes.copy()).to(p.device, dtype)

    def blocks(self, x: Tensor) -> Tensor:
        """Return a tensor like the parameter as (k, m); smaller blocks end in zeros."""
        padded = torch.cat([x.reshape(-1), x.new_zeros(1)])
        return padded[self._members]

    def entries(self, blocks: Tensor) -> Tensor:
        """Return what `blocks` was made from."""
        return blocks.reshape(-1)[self._places].view(self.shape)


class BiasLayout:
    """Each entry of a bias is the only member that it adds to its block."""

    def blocks(self, x: Tensor) -> Tensor:
        """Return a bias as (k, 1)."""
        return x.unsqueeze(1)

    def entries(self, blocks: Tensor) -> Tensor:
        """Return what `blocks` was made from."""
        return blocks.squeeze(1)


Layout = RowLayout | ColumnLayout | LabelLayout


def layout_of(kind: Kind, p: Tensor) -> Layout:
    """Return the layout of a parameter whose blocks are rows, columns or labelled entries."""
    if isinstance(kind, Tensor):
        return LabelLayout(kind, p)
    return ColumnLayout(p) if kind == COLUMNS else RowLayout(p)
