"""Rows of several groups side by side in one tensor, so that one product can meet them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from shrinkwise.experiments.engine.fleet.dense.inputs import Inputs
from shrinkwise.experiments.engine.fleet.groups import Group


def side_by_side(groups: Sequence[Group], inputs: Inputs | None) -> list[Group]:
    """Return groups whose rows are parts of one tensor, ``(group, row, input)``, so that one product can meet them all.

    It is given back as a whole: a group that leaves frees nothing before the last one does.

    Args:
        groups: The groups of a fleet, with as many rows in each.
        inputs: Training rows keep what is seen of them, other rows what is met; all where None.
    """
    met = inputs.met if inputs else None
    x, x_val, x_test = (
        _stacked([getattr(group, name) for group in groups], which)
        for name, which in (("x", inputs.seen if inputs else None), ("x_val", met), ("x_test", met))
    )
    return [replace(group, x=x[i], x_val=x_val[i], x_test=x_test[i]) for i, group in enumerate(groups)]


def _stacked(rows: Sequence[Tensor], which: Tensor | None) -> Tensor:
    if which is None:
        return torch.stack([x.flatten(1) for x in rows]) if len(rows) > 1 else rows[0].flatten(1).unsqueeze(0)
    stacked = rows[0].new_empty(len(rows), len(rows[0]), len(which))
    for x, place in zip(rows, stacked, strict=True):
        torch.index_select(x.flatten(1), 1, which, out=place)
    return stacked


def joined(parts: Sequence[tuple[Tensor, int]]) -> list[tuple[Tensor, int]]:
    """Put rows together that follow one another in one tensor and are seen by as many runs each.

    Args:
        parts: Rows, ``(row, input)``, and the number of runs that see them.

    Returns:
        Rows of one group or several, ``(group, row, input)``, and the number of runs of each group.
    """
    found: list[tuple[Tensor, int]] = []
    for x, n_runs in parts:
        if found and found[-1][1] == n_runs and _follows(x, found[-1][0]):
            before = found[-1][0]
            found[-1] = before.as_strided((len(before) + 1, *x.shape), before.stride()), n_runs
        else:
            found.append((x.unsqueeze(0), n_runs))
    return found


def _follows(x: Tensor, before: Tensor) -> bool:
    """Whether rows begin where those of groups before them end, in the same memory."""
    return (
        x.untyped_storage().data_ptr() == before.untyped_storage().data_ptr()
        and x.shape == before.shape[1:]
        and x.storage_offset() == before.storage_offset() + before.numel()
        and x.is_contiguous()
    )
