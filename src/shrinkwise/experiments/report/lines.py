"""The lines of the article's table as text: what Markdown, the terminal and the page each lay out in their own way."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shrinkwise.experiments.records import Condition, short
from shrinkwise.experiments.report.formats import (
    NOTHING,
    SYMBOLS,
    Scale,
    find_comparison,
    find_row,
    norm_text,
    p_text,
    percent,
    scale_of,
    trouble_text,
)
from shrinkwise.experiments.stats.answer import Answer, Comparison, Finding, Row


@dataclass(frozen=True)
class Cell:
    """One metric of one variant: ``97.16 ± 0.41``, and the difference from the base, ``+0.90`` (empty for the base itself)."""

    spread: str
    difference: str


@dataclass(frozen=True)
class Line:
    """One line of the table, as text.

    Attributes:
        variant: Name of the variant.
        chosen: Settings that were chosen for it before anything was compared, such as ``lr = 0.05``; empty where there are none.
        is_base: Whether the others are compared against it.
        cells: One a metric, in the order that was asked for.
        interval: Interval of the paired difference in the primary metric; ``p``, ``won`` and ``finding`` speak of the same.
        p: Holm-adjusted p.
        won: Share of the seeds won.
        norm: Mean weight norm.
        n: Number of seeds that are done.
        trouble: How many runs did not end well or learned nothing; empty where all is well.
        finding: What the comparison comes to; None for the base and where nothing could be compared.
        seeds_needed: Seeds that would probably decide, in words; empty where that is not the question.
    """

    variant: str
    chosen: str
    is_base: bool
    cells: tuple[Cell, ...]
    interval: str
    p: str
    won: str
    norm: str
    n: int
    trouble: str
    finding: Finding | None
    seeds_needed: str

    @property
    def runs(self) -> str:
        """How the runs ended, such as ``9 done, 1 diverged``."""
        return f"{self.n} done, {self.trouble}" if self.trouble else f"{self.n} done"

    @property
    def verdict(self) -> str:
        """The finding with its symbol; ``base`` or nothing where there is none."""
        if self.finding is None:
            return "(base)" if self.is_base else NOTHING
        return f"{SYMBOLS[self.finding]} {self.finding.value}"


def lines_of(answer: Answer, condition: Condition, metrics: tuple[str, ...]) -> tuple[Line, ...]:
    """Return the table of one condition, a line a variant in the order given.

    Args:
        answer: What the statistics say.
        condition: Whose table.
        metrics: Metrics to show, the primary one first.
    """
    scales = tuple(scale_of(answer, metric) for metric in metrics)
    rows = (find_row(answer, condition, variant) for variant in answer.variants)
    return tuple(_line(answer, row, scales) for row in rows if row is not None)


def level_of(answer: Answer) -> str:
    """Return the level of the intervals in words, such as ``95 %``."""
    levels = [each.difference.level for each in answer.comparisons] or [
        spread.estimate.level for row in answer.rows for spread in row.metrics.values()
    ]
    return percent(levels[0]) if levels else percent(0.95)


def _line(answer: Answer, row: Row, scales: tuple[Scale, ...]) -> Line:
    compared = tuple(find_comparison(answer.comparisons, row.condition, row.variant, scale.metric) for scale in scales)
    primary = compared[0]
    return Line(
        variant=row.variant.name,
        chosen=", ".join(f"{name} = {short(value)}" for name, value in row.chosen.items()),
        is_base=row.variant == answer.base,
        cells=tuple(_cell(row, scale, comparison) for scale, comparison in zip(scales, compared, strict=True)),
        interval=scales[0].interval(primary.difference.low, primary.difference.high) if primary else "",
        p=p_text(primary.p_adjusted) if primary else "",
        won=percent(round(primary.share_won, 2)) if primary and math.isfinite(primary.share_won) else "",
        norm=norm_text(row.weight_norm),
        n=row.n,
        trouble=trouble_text(row),
        finding=primary.finding if primary else None,
        seeds_needed=f"about {primary.seeds_needed:,} seeds would decide" if primary and primary.seeds_needed else "",
    )


def _cell(row: Row, scale: Scale, comparison: Comparison | None) -> Cell:
    spread = row.metrics.get(scale.metric)
    return Cell(
        scale.spread(spread.estimate.point, spread.std) if spread else NOTHING,
        scale.difference(comparison.difference.point) if comparison else "",
    )
