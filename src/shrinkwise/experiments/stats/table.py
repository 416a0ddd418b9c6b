"""The table: each variant within each condition, its metrics as mean and spread over seeds."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from shrinkwise.experiments.records import Status
from shrinkwise.experiments.stats.answer import Row, Spread, clipped
from shrinkwise.experiments.stats.pairing import Cell, Grid
from shrinkwise.experiments.stats.question import Question


def table(question: Question, grid: Grid) -> tuple[Row, ...]:
    """Return one row for each variant, condition by condition, the variants in the order of the grid."""
    return tuple(
        _row(question, grid.cells[variant, condition], grid.metrics) for condition in grid.conditions for variant in grid.variants
    )


def _row(question: Question, cell: Cell, metrics: tuple[str, ...]) -> Row:
    norms = [run.weight_norm for run in cell.runs if not math.isnan(run.weight_norm)]
    return Row(
        variant=cell.variant,
        condition=cell.condition,
        n=sum(run.status is Status.DONE for run in cell.runs),
        status=Counter(run.status for run in cell.runs),
        collapsed=sum(run.collapsed for run in cell.runs),
        metrics={metric: _spread(question, cell, metric) for metric in metrics if cell.having(metric)},
        weight_norm=float(np.mean(norms)) if norms else math.nan,
    )


def _spread(question: Question, cell: Cell, metric: str) -> Spread:
    runs = list(cell.having(metric).values())
    values = [run.metrics[metric] for run in runs]
    std = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Spread(clipped(question.mean(runs, metric).interval(), metric, is_difference=False), std)
