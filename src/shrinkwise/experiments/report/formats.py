"""How numbers are written for people: the scale and the decimals of each metric, intervals, p values."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from shrinkwise.experiments.records import Condition, Status, Variant
from shrinkwise.experiments.stats.answer import Answer, Comparison, Finding, Row
from shrinkwise.experiments.stats.metric import metric_of

NOTHING = "–"
"""What stands where there is no number."""

SYMBOLS = {Finding.HELPS: "▲", Finding.HURTS: "▼", Finding.EQUIVALENT: "=", Finding.INCONCLUSIVE: "?"}
"""A sign beside every finding, so that colour is never the only carrier."""


@dataclass(frozen=True)
class Scale:
    """How one metric is written.

    Attributes:
        metric: Name of the metric.
        decimals: Digits after the point.

    >>> scale = Scale("accuracy", 2)
    >>> scale.value(0.9716), scale.difference(-0.0012), scale.interval(0.004, 0.0139)
    ('97.16', '−0.12', '[+0.40, +1.39]')
    """

    metric: str
    decimals: int

    @property
    def factor(self) -> float:
        """What a raw value is multiplied by before it is written."""
        return metric_of(self.metric).factor

    @property
    def unit(self) -> str:
        """Unit of a value, such as ``%``; empty where there is none."""
        return metric_of(self.metric).unit

    @property
    def difference_unit(self) -> str:
        """Unit of a difference, such as ``points``; empty where there is none."""
        return metric_of(self.metric).difference_unit

    @property
    def title(self) -> str:
        """The metric with its unit, as an axis or a column carries it."""
        return f"{self.metric} ({self.unit})" if self.unit else self.metric

    @property
    def difference_title(self) -> str:
        """The difference with its unit, as an axis or a column carries it."""
        unit = f" ({self.difference_unit})" if self.difference_unit else ""
        return f"difference in {self.metric}{unit}"

    def value(self, value: float) -> str:
        """Write a value of the metric."""
        return _minus(f"{self.factor * value:.{self.decimals}f}") if math.isfinite(value) else NOTHING

    def spread(self, mean: float, std: float) -> str:
        """Write mean ± standard deviation; the mean alone where one seed gives no deviation."""
        return f"{self.value(mean)} ± {self.value(std)}" if math.isfinite(std) else self.value(mean)

    def difference(self, value: float) -> str:
        """Write a difference with its sign."""
        return _minus(f"{self.factor * value:+.{self.decimals}f}") if math.isfinite(value) else NOTHING

    def interval(self, low: float, high: float) -> str:
        """Write the interval of a difference."""
        return f"[{self.difference(low)}, {self.difference(high)}]" if math.isfinite(low) and math.isfinite(high) else NOTHING


def scale_of(answer: Answer, metric: str) -> Scale:
    """Return the scale of a metric.

    Percentages are written to hundredths of a point; any other metric with two significant digits of its typical spread over seeds,
    or four of its values where no spread is known.
    """
    if metric_of(metric).is_percentage:
        return Scale(metric, 2)
    spreads = [row.metrics[metric] for row in answer.rows if metric in row.metrics]
    stds = [spread.std for spread in spreads if math.isfinite(spread.std) and spread.std > 0]
    points = [abs(spread.estimate.point) for spread in spreads if math.isfinite(spread.estimate.point) and spread.estimate.point]
    decimals = 4
    if stds:
        decimals = 1 - math.floor(math.log10(statistics.median(stds)))
    elif points:
        decimals = 3 - math.floor(math.log10(statistics.median(points)))
    return Scale(metric, min(max(decimals, 0), 6))


def p_text(p: float | None) -> str:
    """Write a p value.

    >>> p_text(0.0137), p_text(0.0002), p_text(None)
    ('0.014', '< 0.001', '–')
    """
    if p is None or not math.isfinite(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def percent(share: float) -> str:
    """Write a share as a percentage.

    >>> percent(0.95), percent(1 / 3)
    ('95 %', '33.3 %')
    """
    return f"{round(100 * share, 1):g} %"


def count(n: int, noun: str) -> str:
    """Write a number of things.

    >>> count(1, "seed"), count(12000, "row")
    ('1 seed', '12,000 rows')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def trouble_text(row: Row) -> str:
    """Say how many runs did not end well or learned nothing; empty where all is well."""
    ended = [f"{n} {status.value}" for status, n in row.status.items() if n and status is not Status.DONE]
    return ", ".join([*ended, *([f"{row.collapsed} collapsed"] if row.collapsed else [])])


def norm_text(norm: float) -> str:
    """Write a weight norm with three significant digits.

    >>> norm_text(16.0), norm_text(0.0291), norm_text(float("nan"))
    ('16.0', '0.0291', '–')
    """
    return f"{norm:#.3g}".rstrip(".") if math.isfinite(norm) else NOTHING


def metrics_of(answer: Answer, primary: str) -> tuple[str, ...]:
    """Return the names of all metrics: the primary one, then accuracy and loss as the article has them, then the others."""
    names = dict.fromkeys(name for row in answer.rows for name in row.metrics)
    first = [primary, *(name for name in ("accuracy", "loss") if name in names)]
    return tuple(dict.fromkeys([*first, *names]))


def headline_metrics(answer: Answer, primary: str) -> tuple[str, ...]:
    """Return the one or two metrics that a table for people shows, as the article's does; the frame and the CSV hold them all."""
    return metrics_of(answer, primary)[:2]


def find_row(answer: Answer, condition: Condition, variant: Variant) -> Row | None:
    """Return the row of a variant within a condition, or None."""
    return next((row for row in answer.rows if row.condition == condition and row.variant == variant), None)


def find_comparison(comparisons: tuple[Comparison, ...], condition: Condition, variant: Variant, metric: str) -> Comparison | None:
    """Return the comparison of a variant with the base on a metric within a condition, or None."""
    wanted = (condition, variant, metric)
    return next((each for each in comparisons if (each.condition, each.variant, each.metric) == wanted), None)


def is_mostly_collapsed(row: Row) -> bool:
    """Whether at least half of the runs that are done learned nothing: such a row would squash a chart's axis."""
    return row.collapsed > 0 and 2 * row.collapsed >= row.n


def _minus(text: str) -> str:
    """Write the minus sign as one, and zero without a sign."""
    return text.replace("-", "−") if text.strip("+-0.") else text.lstrip("+-")
