"""In which order a run sees its rows, and how they are cut into batches: the same for every variant of a seed, in every loop."""

from __future__ import annotations

import torch
from torch import Tensor

from shrinkwise.seeding import torch_generator


def order(seed: int, epoch: int, n_rows: int) -> Tensor:
    """Return the order of an epoch's rows, a permutation of shape ``(n_rows,)``; epochs count from 1."""
    return torch.randperm(n_rows, generator=torch_generator("order", seed, epoch))


def batches(rows: Tensor, size: int) -> list[Tensor]:
    """Cut rows into batches along the last dimension; a last row that would stand alone joins the batch before.

    A batch norm needs two rows.

    >>> [batch.tolist() for batch in batches(torch.arange(5), 2)]
    [[0, 1], [2, 3, 4]]
    """
    parts = list(rows.split(size, dim=-1))
    if len(parts) > 1 and parts[-1].shape[-1] == 1:
        parts[-2:] = [torch.cat(parts[-2:], dim=-1)]
    return parts
