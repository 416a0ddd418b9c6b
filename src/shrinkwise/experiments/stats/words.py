"""Numbers and names as a sentence says them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from shrinkwise.experiments.records import ALL_RUNS, Condition
from shrinkwise.experiments.stats.answer import Estimate
from shrinkwise.experiments.stats.metric import metric_of


def listed(names: Iterable[object], most: int = 3) -> str:
    """Join names as a sentence does, the first few by name and the rest by number.

    >>> listed(["a", "b", "c", "d"]), listed(["a", "b", "c", "d", "e"])
    ('a, b, c and d', 'a, b, c and 2 more')
    """
    words = [str(name) for name in names]
    if len(words) > most + 1:
        words = [*words[:most], f"{len(words) - most} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def place(condition: Condition, *, is_only: bool = False) -> str:
    """Say within which condition something holds, with a space after it; nothing where no condition was set and none is compared.

    >>> place(Condition(label_noise=0.2)), place(Condition(), is_only=True)
    ('with 20 % label noise ', '')
    """
    if is_only and condition in (Condition(), ALL_RUNS):
        return ""
    return f"for {condition.label} " if condition.label else f"with {condition.name} "


def amount(metric: str, value: float, width: float) -> str:
    """Say a difference with its unit: accuracy, f1 and auc in points, the others in their own unit.

    Args:
        metric: Name of the metric.
        value: The difference.
        width: Width of its interval, which says how many digits mean anything.

    >>> amount("accuracy", 0.061, 0.018), amount("loss", 0.02345, 0.006)
    ('6.1 points', '0.0234')
    """
    return f"{_number(metric, value, width)} {metric_of(metric).difference_unit}".rstrip()


def interval(metric: str, estimate: Estimate, sign: int = 1) -> str:
    """Say an interval, turned by ``sign`` so that it reads in the direction that the sentence has named, or why there is none.

    >>> interval("accuracy", Estimate(-0.061, -0.07, -0.052, 0.95, 10, ""), sign=-1)
    '95 % interval 5.2 to 7.0'
    """
    told = ends(metric, estimate, sign)
    return told if math.isnan(estimate.low) else f"{100 * estimate.level:g} % interval {told}"


def ends(metric: str, estimate: Estimate, sign: int = 1) -> str:
    """Say the two ends of an interval, as :func:`interval` does."""
    if math.isnan(estimate.low):
        return estimate.method
    low, high = sorted((sign * estimate.low, sign * estimate.high))
    return f"{_number(metric, low, high - low)} to {_number(metric, high, high - low)}"


def counted(n: int, noun: str) -> str:
    """Say a number of things.

    >>> counted(1, "seed"), counted(9, "seed")
    ('1 seed', '9 seeds')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _number(metric: str, value: float, width: float) -> str:
    """Write a number to two digits of its interval's width; points to one or two decimals, which is what people compare."""
    digits = 3 if not math.isfinite(width) or width <= 0 else 1 - math.floor(math.log10(width))
    known = metric_of(metric)
    if known.is_percentage:
        return _plain(known.factor * value, min(max(digits - 2, 1), 2))
    return _plain(value, min(max(digits, 0), 12))


def _plain(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")
