"""What makes the forward and backward passes of a fleet: any module by torch.func, or a chain of dense layers by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from shrinkwise.experiments.engine.fleet.groups import Chunk, Group
from shrinkwise.experiments.engine.fleet.stack import State
from shrinkwise.experiments.engine.fleet.updates import Blocking, Update


class Passes(Protocol):
    """Gradients and outputs of all runs of a fleet; what a step means beside them is the update's."""

    @property
    def blocking(self) -> Blocking:
        """How the weights are to be cut for the update."""
        ...

    def begin(self, chunk: Chunk, first_step: int) -> None:
        """Take the batches of the steps that come next; the first of them has the number ``first_step``, from 1."""
        ...

    def add_gradients(self, i: int, update: Update) -> None:
        """Take a step by the gradients of the mean loss on the chunk's ``i``-th batch, for all runs.

        They go to the update's sink, and each weight is moved as soon as nothing needs it as it was.
        """
        ...

    def outputs(self, state: State, parts: Sequence[tuple[Tensor, int]]) -> Tensor:
        """Return what networks give in eval mode.

        Args:
            state: Weights of some runs.
            parts: Rows, ``(row, ...)``, and how many consecutive runs see them; as many rows in each.

        Returns:
            Outputs, shape ``(run, row, n_outputs)``.
        """
        ...

    def keep(self, groups: Sequence[Group], runs: Sequence[int]) -> None:
        """Let all but some runs leave; the stack has closed up already, and the groups that stay are given."""
        ...
