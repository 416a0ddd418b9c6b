"""Inputs that are zero in every training row, such as the corners of images and rare columns of a table.

Nothing but its penalty ever moves the weight of such an input, so no product has to touch it while the network trains; validation
and test rows may have something there, and see it. Exact, and on handwritten digits a tenth to a quarter of all arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shrinkwise.experiments.engine.fleet.groups import Group
from shrinkwise.experiments.engine.fleet.stack import REST

_LEAST_SHARE = 0.05
"""Share of silent inputs below which it is not worth keeping their weights apart."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The inputs of a chain, told apart by whether any training row has something there.

    Attributes:
        weight: Name of the first layer's weight, ``(run, unit, input)``. The part for inputs that are seen keeps it, the other has
            ``REST`` behind it.
        seen: Which inputs are seen.
        silent: Which are not; those that have something in a validation or test row come first.
        n_met: How many of both any row has something at.
    """

    weight: str
    seen: Tensor
    silent: Tensor
    n_met: int

    def split(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return stacked tensors with the first weight as two."""
        whole = state[self.weight]
        parts = {self.weight: whole.index_select(2, self.seen), self.weight + REST: whole.index_select(2, self.silent)}
        return {**state, **parts}

    def join(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return stacked tensors with the first weight as one; a part that has one number a run has it everywhere."""
        found = dict(state)
        seen, silent = found[self.weight], found.pop(self.weight + REST)
        parts = torch.cat([seen, silent.expand(*seen.shape[:2], len(self.silent))], dim=2)
        found[self.weight] = torch.empty_like(parts).index_copy_(2, torch.cat([self.seen, self.silent]), parts)
        return found

    @property
    def met(self) -> Tensor:
        """Inputs that any row has something at, those that are seen first."""
        return torch.cat([self.seen, self.silent])[: self.n_met]


def told_apart(weight: str, groups: Sequence[Group]) -> Inputs | None:
    """Return which inputs are silent in all training rows of a fleet; None where too few are for it to matter."""
    is_seen = _is_anywhere([group.x for group in groups])
    is_met = is_seen | _is_anywhere([x for group in groups for x in (group.x_val, group.x_test)])
    silent = torch.cat([(is_met & ~is_seen).nonzero().flatten(), (~is_met).nonzero().flatten()])
    if len(silent) < _LEAST_SHARE * len(is_seen) or len(silent) == len(is_seen):
        return None
    return Inputs(weight, is_seen.nonzero().flatten(), silent, int(is_met.sum()))


def _is_anywhere(rows: Sequence[Tensor]) -> Tensor:
    """Return whether an input has something in any row, shape ``(input,)``."""
    # A third of the time of looking at each for itself.
    return torch.stack([((x.amax(0) != 0) | (x.amin(0) != 0)).flatten() for x in rows]).any(0)
