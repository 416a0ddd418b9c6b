"""How close counts as the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shrinkwise.errors import SettingError
from shrinkwise.experiments.scalars import scalar
from shrinkwise.experiments.stats.metric import metric_of

_DEFAULT_HUNDREDTHS = 0.5
_DEFAULT_PER_CENT = 2.0


@dataclass(frozen=True)
class Margin:
    """Half-width of what counts as equivalent.

    Attributes:
        value: In the metric's own unit, or as a share of the base's value.
        is_relative: Which of the two.
    """

    value: float
    is_relative: bool

    def width(self, base: float) -> float:
        """Return the half-width in the metric's own unit, given the mean of the base."""
        return self.value * abs(base) if self.is_relative else self.value


def margin_of(metric: str, given: float | None = None) -> Margin:
    """Return the margin of a metric.

    Args:
        metric: Name of the metric.
        given: Points of accuracy, f1 and auc, hundredths of r2 (0.5 by default); per cent of the base's value for every other (2 by
            default).

    Raises:
        SettingError: It is negative or no number.

    >>> margin_of("accuracy"), margin_of("loss", 5)
    (Margin(value=0.005, is_relative=False), Margin(value=0.05, is_relative=True))
    """
    is_relative = metric_of(metric).has_relative_margin
    value = scalar(given) if given is not None else _DEFAULT_PER_CENT if is_relative else _DEFAULT_HUNDREDTHS
    if value is None or not (math.isfinite(value) and value >= 0):
        raise SettingError(f"margin is {given!r}", "it is the half-width of an interval", "give 0 or a positive number")
    return Margin(value / 100, is_relative)
