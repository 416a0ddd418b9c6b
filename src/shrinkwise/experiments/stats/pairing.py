"""From measurements to pairs: what must agree before anything is compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shrinkwise.errors import DataError, did_you_mean
from shrinkwise.experiments.records import Condition, Status, Variant
from shrinkwise.experiments.stats.answer import Measurement
from shrinkwise.experiments.stats.words import listed

Seed = int | str
"""What pairs runs: a number, or a name."""


@dataclass(frozen=True, eq=False)
class Cell:
    """The runs of one variant within one condition, in the order of their seeds."""

    variant: Variant
    condition: Condition
    runs: tuple[Measurement, ...]

    def having(self, metric: str) -> dict[Seed, Measurement]:
        """Return the runs that have a finite value of ``metric``, by seed."""
        return {run.seed: run for run in self.runs if math.isfinite(run.metrics.get(metric, math.nan))}


@dataclass(frozen=True, eq=False)
class Grid:
    """Measurements that can be compared: every variant of a condition has the same seeds, each once.

    Attributes:
        variants: In the order of first appearance; ``conditions`` likewise.
        cells: (variant, condition) -> its runs.
        metrics: Names of all metrics, the primary one first.
    """

    variants: tuple[Variant, ...]
    conditions: tuple[Condition, ...]
    cells: Mapping[tuple[Variant, Condition], Cell]
    metrics: tuple[str, ...]


def grid(measurements: Sequence[Measurement], primary_metric: str) -> Grid:
    """Sort measurements into cells, and refuse those that cannot be paired.

    Args:
        measurements: One a run, in any order.
        primary_metric: The metric that every run that is done must have.

    Raises:
        DataError: There is nothing; a seed stands twice, or is missing, in a cell; a run that is done lacks the primary metric.
    """
    if not measurements:
        raise DataError("there are no runs", "a verdict needs at least two variants", "give the runs of the base and of a variant")
    _check_metric(measurements, primary_metric)
    variants = tuple(dict.fromkeys(run.variant for run in measurements))
    conditions = tuple(dict.fromkeys(run.condition for run in measurements))
    cells = {
        (variant, condition): Cell(
            variant,
            condition,
            tuple(sorted((run for run in measurements if (run.variant, run.condition) == (variant, condition)), key=_place)),
        )
        for condition in conditions
        for variant in variants
    }
    for cell in cells.values():
        _check_single(cell)
    for condition in conditions:
        _check_paired([cells[variant, condition] for variant in variants])
    others = sorted({name for run in measurements for name in run.metrics} - {primary_metric})
    return Grid(variants, conditions, cells, (primary_metric, *others))


def _place(run: Measurement) -> tuple[bool, int, str]:
    """Numbers by size, then names by letter: the order of the seeds must not depend on the order of the runs."""
    return (True, 0, run.seed) if isinstance(run.seed, str) else (False, run.seed, "")


def _check_metric(measurements: Sequence[Measurement], metric: str) -> None:
    for run in measurements:
        if run.status is not Status.DONE:
            continue
        where = f"{run.variant.name}, seed {run.seed}"
        if metric not in run.metrics:
            raise DataError(
                f"the run {where} has no {metric!r}",
                f"the verdict is about {metric!r}, and every run that is done needs it",
                did_you_mean(metric, run.metrics) if run.metrics else "add the metric, or mark the run as diverged or failed",
            )
        if not math.isfinite(run.metrics[metric]):
            raise DataError(
                f"the run {where} has {metric} = {run.metrics[metric]}",
                "a mean over seeds needs finite numbers",
                "mark the run as diverged; its pair is then left out and counted",
            )


def _check_single(cell: Cell) -> None:
    for first, second in zip(cell.runs, cell.runs[1:], strict=False):
        if first.seed == second.seed:
            raise DataError(
                f"seed {first.seed} stands twice for {cell.variant.name} ({cell.condition.name})",
                "a pair needs one run of each variant",
                "keep one of the two, or name the column in which they differ, in vary or within",
            )


def _check_paired(cells: Sequence[Cell]) -> None:
    everywhere = dict.fromkeys(run.seed for cell in cells for run in cell.runs)
    for cell in cells:
        present = {run.seed for run in cell.runs}
        missing = [seed for seed in everywhere if seed not in present]
        if missing:
            seeds = "seed" if len(missing) == 1 else "seeds"
            raise DataError(
                f"{cell.variant.name} ({cell.condition.name}) lacks {seeds} {listed(missing)}",
                "variants are compared in pairs that share a seed",
                "run the missing seeds, or leave them out of every variant",
            )
