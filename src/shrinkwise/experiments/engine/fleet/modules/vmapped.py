"""Gradients and outputs of any module that :mod:`torch.func` can map over the runs of a fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shrinkwise.experiments.engine.build import fitting
from shrinkwise.experiments.engine.fleet.groups import Chunk, Group
from shrinkwise.experiments.engine.fleet.modules.functional import Batch, Functional, Together
from shrinkwise.experiments.engine.fleet.modules.masks import Draw, layers_of
from shrinkwise.experiments.engine.fleet.stack import Stack, State
from shrinkwise.experiments.engine.fleet.updates import Blocking, Update
from shrinkwise.experiments.engine.live import LiveRun
from shrinkwise.experiments.engine.recipe import Recipe

At = slice | int
"""Consecutive runs, or one run without its axis."""


@dataclass(frozen=True)
class Part:
    """Consecutive runs that one pass is for.

    Attributes:
        at: Where they are in the stack.
        group: The group that they all belong to; None where they are of several.
    """

    at: At
    group: int | None

    @property
    def together(self) -> Together:
        """How they are together."""
        if isinstance(self.at, int):
            return Together.ALONE
        return Together.OWN if self.group is None else Together.SHARED


class VmappedPasses:
    """Gradients and outputs of a fleet of networks of any one structure.

    A pass is for as many runs as fill the cache of a core, and no more: of large networks for one run at a time, which still saves
    what surrounds its operators.

    Args:
        recipe: How the runs are trained.
        lives: The runs, in the order of the stack.
        stack: Their weights.
        groups: Which of them share a batch.
    """

    def __init__(self, recipe: Recipe, lives: Sequence[LiveRun], stack: Stack, groups: Sequence[Group]) -> None:
        self.recipe, self.stack = recipe, stack
        self._functional = Functional(lives[0].model, recipe.task)
        self._probe = self._functional.probe({name: tensor[0] for name, tensor in stack.state.items()}, groups[0].x)
        self._layers = layers_of([live.model for live in lives], groups[0].x.device)
        self._take(groups)

    @property
    def blocking(self) -> Blocking:
        """All gradients are there before the first weight moves: blocks are cut for the cache alone."""
        return Blocking()

    def begin(self, chunk: Chunk, first_step: int) -> None:
        """Take the batches of the steps that come next; the first of them has the number ``first_step``, from 1."""
        self._chunk = chunk
        by_layer = [layer.draws(first_step, chunk.n_steps) for layer in self._layers]
        self._draws = list(zip(*by_layer, strict=True)) if by_layer else [()] * chunk.n_steps

    def add_gradients(self, i: int, update: Update) -> None:
        """Take a step by the gradients of the mean loss on the chunk's ``i``-th batch, for all runs."""
        for part in self._parts(self._chunk.x.shape[2]):
            parameters, buffers = _at(part.at, self.stack.parameters), _at(part.at, self.stack.buffers)
            gradients, changed = self._functional.gradients(parameters, buffers, self._batch(i, part))
            for name, tensor in zip(self._probe.changed, changed, strict=True):
                buffers[name].copy_(tensor)
            update.put(gradients, part.at)
        update.move_all()

    def outputs(self, state: State, parts: Sequence[tuple[Tensor, int]]) -> Tensor:
        """Return outputs in eval mode, shape ``(run, row, n_outputs)``.

        Raises:
            ModelError: The networks give another shape.
        """
        found, begin, most = [], 0, self._probe.rows_at_once()
        for rows, n_runs in parts:
            n_rows = min(len(rows), most)
            for part in parts_of([0] * n_runs, max(1, most // n_rows)):
                mine = _at(part.at, {name: tensor[begin : begin + n_runs] for name, tensor in state.items()})
                some = [self._outputs(mine, each, part.together) for each in rows.split(n_rows)]
                found.append(torch.cat(some, dim=1))
            begin += n_runs
        return torch.cat(found)

    def keep(self, groups: Sequence[Group], runs: Sequence[int]) -> None:
        """Let all but some runs leave; the stack has closed up already, and the groups that stay are given."""
        self._layers = [layer.keep(runs) for layer in self._layers]
        self._take(groups)

    def _take(self, groups: Sequence[Group]) -> None:
        self.groups = list(groups)
        self._group_of_run = [i for i, group in enumerate(groups) for _ in range(group.n_runs)]
        self._of_rows: dict[int, list[Part]] = {}

    def _parts(self, n_rows: int) -> list[Part]:
        """Return the parts that a batch of so many rows is taken in."""
        if n_rows not in self._of_rows:
            self._of_rows[n_rows] = parts_of(self._group_of_run, self._probe.runs_at_once(n_rows))
        return self._of_rows[n_rows]

    def _batch(self, i: int, part: Part) -> Batch:
        x, y = self._chunk.x[:, i], self._chunk.y[i][part.at]
        draws = tuple(None if draw is None else _drawn(draw, part) for draw in self._draws[i])
        if part.group is not None:
            return Batch(x[part.group], y, draws, part.together)
        own = torch.tensor(self._group_of_run[part.at], device=x.device)
        return Batch(x.index_select(0, own), y, draws, part.together)

    def _outputs(self, state: State, rows: Tensor, together: Together) -> Tensor:
        outputs: Any = self._functional.outputs(state, rows, together)
        is_alone = together is Together.ALONE or not isinstance(outputs, Tensor)
        first = fitting(self.recipe, self._functional.name, outputs if is_alone else outputs[0], len(rows))
        found: Tensor = first.unsqueeze(0) if is_alone else outputs
        return found.unsqueeze(2) if found.ndim == 2 else found


def parts_of(group_of_run: Sequence[int], size: int) -> list[Part]:
    """Cut runs into parts of about a size, nearly equal, and within groups where these are not smaller.

    Args:
        group_of_run: Number of each run's group, ascending.
        size: The most runs of a part.

    >>> [part.at for part in parts_of([0, 0, 0, 0, 1], 3)]
    [slice(0, 2, None), slice(2, 4, None), 4]
    """
    n_runs = len(group_of_run)
    sizes = [group_of_run.count(group) for group in dict.fromkeys(group_of_run)]
    whole = sizes if size <= max(sizes) else [n_runs]
    parts, begin = [], 0
    for n in whole:
        n_parts = -(-n // size)
        for k in range(n_parts):
            first, last = begin + n * k // n_parts, begin + n * (k + 1) // n_parts
            groups = set(group_of_run[first:last])
            at = first if last - first == 1 else slice(first, last)
            parts.append(Part(at, groups.pop() if len(groups) == 1 else None))
        begin += n
    return parts


def _at(at: At, state: State) -> dict[str, Tensor]:
    return {name: tensor[at] for name, tensor in state.items()}


def _drawn(draw: Draw, part: Part) -> Draw:
    key, threshold, share = (each[part.at] for each in draw)
    return Draw(key[0] if part.together is Together.SHARED else key, threshold, share)
