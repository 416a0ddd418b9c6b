"""Products of runs' weights with the rows that they share: as few and as wide as keeps every thread busy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from torch import Tensor

from shrinkwise.experiments.engine.fleet.groups import Group


@dataclass(frozen=True, eq=False, slots=True)
class Shared:
    """Consecutive runs whose first layers are multiplied with their rows in one batched product.

    Where as many neighbouring groups as there are threads have equally many runs, the layers of a group stand below one another:
    one wide factor, which meets the group's rows once. Elsewhere each run is a factor by itself, so that there is enough for all
    threads.

    Each is known by its identity alone: whoever keeps views for it need not compare places.

    Attributes:
        runs: Places of the runs: first and one past the last.
        groups: Numbers of their groups, likewise.
        is_wide: Whether the layers of a group are one factor; else there is one group.
    """

    runs: tuple[int, int]
    groups: tuple[int, int]
    is_wide: bool

    def factors(self, stacked: Tensor, first: int = 0) -> Tensor:
        """Return what the runs have of a stack, ``(run, unit, n)``, as factors ``(group, run·unit, n)`` or ``(run, unit, n)``.

        Args:
            stacked: Contiguous, of all runs, or of those from ``first`` on.
            first: Place of the run with which it begins.
        """
        begin, end = (place - first for place in self.runs)
        own = stacked[begin:end]
        return own.view(self.groups[1] - self.groups[0], -1, own.shape[2]) if self.is_wide else own

    def rows(self, x: Tensor) -> Tensor:
        """Return the other factors, ``(group, row, feature)`` or ``(run, row, feature)``, out of the rows of all groups."""
        begin, end = self.groups
        return x[begin:end] if self.is_wide else x[begin].expand(self.runs[1] - self.runs[0], -1, -1)


def shared(groups: Sequence[Group], runs: tuple[int, int], threads: int) -> list[Shared]:
    """Cut consecutive runs into those that are multiplied at once.

    Args:
        groups: All groups of the fleet.
        runs: Places of the runs: first and one past the last.
        threads: Threads that share a product.
    """
    parts, begin = [], 0
    for number, group in enumerate(groups):
        first, last = max(begin, runs[0]), min(begin + group.n_runs, runs[1])
        begin += group.n_runs
        if first < last:
            parts.append((number, first, last))
    found = []
    for _, alike in groupby(parts, key=lambda part: part[2] - part[1]):
        these = list(alike)
        if len(these) >= threads:
            found.append(Shared((these[0][1], these[-1][2]), (these[0][0], these[-1][0] + 1), is_wide=True))
        else:
            found += [Shared((first, last), (number, number + 1), is_wide=False) for number, first, last in these]
    return found


def abreast(groups: Sequence[Group], threads: int) -> int:
    """Return of how many runs a block should be a multiple, so that each thread has a whole group, or else a run, of it."""
    sizes = {group.n_runs for group in groups}
    return threads * sizes.pop() if len(sizes) == 1 and len(groups) >= threads else threads
