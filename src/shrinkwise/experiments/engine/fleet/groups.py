"""Runs that share a batch: those of one seed on the same rows, side by side in a fleet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine.live import LiveRun
from shrinkwise.experiments.engine.order import batches, order

_CHUNK_ELEMENTS = 2**20
"""Inputs that are gathered at once, unless one step has more: four mebibytes in float32, still in a cache when they are used."""
_MOST_STEPS = 64


@dataclass(frozen=True, eq=False)
class Group:
    """Consecutive runs of a fleet with one seed and the same rows; their targets may differ.

    Attributes:
        seed: Their seed.
        x: Training rows, shape ``(n_train, ...)``; ``x_val`` and ``x_test`` likewise.
        n_runs: How many runs they are.
    """

    seed: int
    x: Tensor
    x_val: Tensor
    x_test: Tensor
    n_runs: int


@dataclass(frozen=True, eq=False)
class Chunk:
    """The rows of a few steps that have batches of one size.

    Attributes:
        x: Inputs, shape ``(group, step, batch, ...)``.
        y: Targets, shape ``(step, run, batch)``.
        n_left: Steps with batches of this size that are left in the epoch, these included.
    """

    x: Tensor
    y: Tensor
    n_left: int

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return self.x.shape[1]


def left(groups: Sequence[Group], runs: Sequence[int]) -> list[Group]:
    """Return the groups of some of a fleet's runs, which are given by their places in it, in order."""
    found, begin = [], 0
    for group in groups:
        n_runs = sum(begin <= run < begin + group.n_runs for run in runs)
        begin += group.n_runs
        if n_runs:
            found.append(replace(group, n_runs=n_runs))
    return found


def grouped(lives: Sequence[LiveRun]) -> list[list[LiveRun]]:
    """Put runs that can share a batch together, in the order in which the first of each came."""
    groups: list[list[LiveRun]] = []
    for live in lives:
        mine = next((group for group in groups if shares_rows(group[0], live)), None)
        if mine is None:
            groups.append([live])
        else:
            mine.append(live)
    return groups


def shares_rows(one: LiveRun, other: LiveRun) -> bool:
    """Whether two runs see the same inputs in the same order."""
    return one.key.seed == other.key.seed and (one.split is other.split or _is_alike(one.split, other.split))


def _is_alike(one: Split, other: Split) -> bool:
    pairs = ((one.x_train, other.x_train), (one.x_val, other.x_val), (one.x_test, other.x_test))
    return all(a is b or np.array_equal(a, b) for a, b in pairs)


class Feed:
    """Hands out the batches of an epoch, a few steps at a time, gathered into places that are used again and again.

    Args:
        groups: The groups of a fleet.
        y: Training targets of each run, shape ``(run, n_train)``.
        y_val: Validation targets, likewise.
        batch_size: Rows of one step.
    """

    def __init__(self, groups: Sequence[Group], y: Tensor, y_val: Tensor, batch_size: int) -> None:
        self.batch_size = batch_size
        self._places: dict[tuple[int, ...], Tensor] = {}
        self._take(groups, y, y_val)

    def epoch(self, number: int) -> Iterator[Chunk]:
        """Yield the batches of an epoch, which counts from 1; what was yielded before is overwritten."""
        n_rows = self.y.shape[1]
        orders = torch.stack([order(group.seed, number, n_rows) for group in self.groups])
        steps = batches(orders, self.batch_size)
        for _, these in groupby(steps, key=lambda step: step.shape[-1]):
            alike = torch.stack(list(these))
            n_at_once = self._n_at_once(alike.shape[-1])
            for begin in range(0, len(alike), n_at_once):
                yield self._gathered(alike[begin : begin + n_at_once], len(alike) - begin)

    def keep(self, groups: Sequence[Group], runs: Sequence[int]) -> None:
        """Let all but some runs leave; the groups that they leave behind are given."""
        self._places.clear()
        self._take(groups, self.y[list(runs)], self.y_val[list(runs)])

    def _take(self, groups: Sequence[Group], y: Tensor, y_val: Tensor) -> None:
        self.groups, self.y, self.y_val = list(groups), y, y_val
        of_run = [number for number, group in enumerate(groups) for _ in range(group.n_runs)]
        self._group_of_run = torch.tensor(of_run, device=y.device)

    def _n_at_once(self, n_rows: int) -> int:
        """Return for how many steps batches of so many rows are gathered at once."""
        return max(1, min(_MOST_STEPS, _CHUNK_ELEMENTS // (n_rows * self.groups[0].x[0].numel() * len(self.groups))))

    def _gathered(self, rows: Tensor, n_left: int) -> Chunk:
        """Gather rows given as indices, shape ``(step, group, batch)``."""
        n_steps, n_groups, n_rows = rows.shape
        rows = rows.to(self.y.device)
        inner = self.groups[0].x.shape[1:]
        x = self._place((n_groups, n_steps, n_rows, *inner), self.groups[0].x)
        for i, group in enumerate(self.groups):
            torch.index_select(group.x, 0, rows[:, i].flatten(), out=x[i].view(-1, *inner))
        y = self.y.unsqueeze(0).expand(n_steps, *self.y.shape).gather(2, rows.index_select(1, self._group_of_run))
        return Chunk(x, y, n_left)

    def _place(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        if shape not in self._places:
            self._places[shape] = torch.empty(shape, dtype=like.dtype, device=like.device)
        return self._places[shape]
