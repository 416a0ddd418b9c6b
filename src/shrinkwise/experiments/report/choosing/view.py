"""What every picture and table of a choice shows: numbers as people read them, and each λ at its place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shrinkwise.experiments.records import Setting, Status, Variant
from shrinkwise.experiments.report.axis import StrengthAxis
from shrinkwise.experiments.report.formats import NOTHING
from shrinkwise.experiments.stats.metric import metric_of

if TYPE_CHECKING:
    from shrinkwise.experiments.selection.choice import Choice, CurvePoint, Seen

_GAP = 0.55
"""Distance of the place of no penalty from the least strength, in decades."""
_MOST_TICKS = 9
_SHOWN = 0.85
"""Share of the good runs that set the height of a chart; the few that lie far off are noted at its edge."""


@dataclass(frozen=True)
class Drawn:
    """A curve as it is drawn: places on the axis, expected values and the ends of their band, by rising λ."""

    x: tuple[float, ...]
    lams: tuple[float, ...]
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class ChoiceView:
    """A choice, made ready for drawing.

    Attributes:
        choice: The choice.
        axis: Where each λ stands.
        curve: The curve at the chosen other settings.
        runs: Runs at those settings.
        visible: Range of the values that is shown.
    """

    choice: Choice
    axis: StrengthAxis
    curve: Drawn
    runs: tuple[Seen, ...]
    visible: tuple[float, float]

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that were used, in order."""
        return tuple(sorted({run.seed for run in self.choice.runs}))

    @property
    def is_top_worse(self) -> bool:
        """Whether what is bad lies at the top of the chart."""
        return not self.choice.is_higher_better

    def is_off(self, run: Seen, value: float) -> bool:
        """Whether a run with this value is noted at the edge: it is no good, or far off."""
        low, high = self.visible
        return run.is_bad or not low <= value <= high

    def written(self, value: float) -> str:
        """Write a value with as many digits as the band of the best λ gives meaning to."""
        if not math.isfinite(value):
            return NOTHING
        widths = [high - low for low, high in zip(self.curve.low, self.curve.high, strict=True) if high > low]
        decimals = min(max(1 - math.floor(math.log10(min(widths))), 0), 8) if widths else 4
        unit = metric_of(self.choice.metric).unit
        return f"{value:.{decimals}f} {unit}".rstrip().replace("-", "−")

    def levelled(self) -> Mapping[int, float]:
        """Return by how much the good runs of each seed lie above the curve, on average: what its rows and its start add."""
        return {seed: float(np.mean(gaps)) for seed in self.seeds if (gaps := list(self._gaps(seed)))}

    def level(self, run: Seen, gaps: Mapping[int, float]) -> float:
        """Return the value of a run without what its seed adds."""
        value, gap = shown(self.choice, run.loss), gaps.get(run.seed, 0.0)
        return value / math.exp(gap) if self._is_ratio else value - gap

    def expected(self, lam: float) -> float:
        """Return the curve's value at a λ."""
        return float(np.interp(self.axis.place(lam), self.curve.x, self.curve.values))

    @property
    def _is_ratio(self) -> bool:
        good = [run.loss for run in self.runs if not run.is_bad]
        return min([*good, *self.curve.values]) > 0 and not self.choice.is_higher_better

    def _gaps(self, seed: int) -> Iterator[float]:
        for run in self.runs:
            if run.seed == seed and not run.is_bad:
                value, expected = shown(self.choice, run.loss), self.expected(lam_of(self.choice, run.variant))
                yield math.log(value / expected) if self._is_ratio else value - expected


def choice_view(choice: Choice) -> ChoiceView | None:
    """Return a choice ready for drawing, or None where there is no curve."""
    if not choice.curve:
        return None
    axis = lam_axis(choice)
    curve = drawn(choice, axis, choice.curve)
    runs = tuple(run for run in choice.runs if others_of(choice, run.variant) == others_of(choice, choice.variant))
    return ChoiceView(choice, axis, curve, runs, _visible(choice, curve, runs))


def drawn(choice: Choice, axis: StrengthAxis, points: Sequence[CurvePoint]) -> Drawn:
    """Return a curve as it is drawn, in the metric's own values."""
    ends = [sorted((shown(choice, point.low), shown(choice, point.high))) for point in points]
    return Drawn(
        x=tuple(axis.place(point.lam) for point in points),
        lams=tuple(point.lam for point in points),
        values=tuple(shown(choice, point.loss) for point in points),
        low=tuple(low for low, _ in ends),
        high=tuple(high for _, high in ends),
    )


def lam_axis(choice: Choice) -> StrengthAxis:
    """Return the axis of λ: logarithmic, with no penalty at a labelled place left of it where it was looked at."""
    lams = sorted({*(point.lam for point in choice.curve), *_others(choice)})
    positive = [lam for lam in lams if lam > 0] or [1.0]
    low, high = math.log10(positive[0]), math.log10(positive[-1])
    ticks = list(_ticks(low, high)) or [(low, f"{positive[0]:.3g}")]
    title = f"λ ({choice.name}, unit {choice.unit})" if choice.unit else f"λ ({choice.name})"
    if lams and lams[0] > 0:
        return StrengthAxis(choice.name, title, True, tuple(ticks), None)
    zero = low - _GAP
    return StrengthAxis(choice.name, title, True, ((zero, "0"), *ticks), (zero + low) / 2)


def axis_range(view: ChoiceView) -> tuple[float, float]:
    """Return where the axis begins and ends: at the curve's own ends, with some air."""
    places = [*view.curve.x, *(view.axis.place(lam_of(view.choice, run.variant)) for run in view.choice.runs)]
    low, high = min(places), max(places)
    air = 0.04 * (high - low) or 0.5
    return low - air, high + air


def lam_of(choice: Choice, variant: Variant) -> float:
    """Return the strength of a variant."""
    return float(variant[choice.name])


def others_of(choice: Choice, variant: Variant) -> dict[str, Setting]:
    """Return the settings of a variant beside λ."""
    return {name: value for name, value in variant.items() if name != choice.name}


def own_value(choice: Choice, loss: float) -> float:
    """Return a loss as the metric's own value."""
    return -loss if choice.is_higher_better else loss


def shown(choice: Choice, loss: float) -> float:
    """Return a loss as people read the metric: accuracy in per cent."""
    return metric_of(choice.metric).factor * own_value(choice, loss)


def metric_title(choice: Choice) -> str:
    """Return the metric with its unit, as an axis carries it."""
    unit = metric_of(choice.metric).unit
    return f"validation {choice.metric} ({unit})" if unit else f"validation {choice.metric}"


def counted_status(runs: Iterable[Seen]) -> dict[str, int]:
    """Return how many runs ended how: ``good``, ``collapsed``, ``diverged``, ``failed``; what did not occur is left out."""
    counts: dict[str, int] = {}
    for run in runs:
        name = fate(run)
        counts[name] = counts.get(name, 0) + 1
    return counts


def fate(run: Seen) -> str:
    """Say in a word how a run ended."""
    if run.status is not Status.DONE:
        return run.status.value
    return "collapsed" if run.is_collapsed else "good"


def _others(choice: Choice) -> Iterator[float]:
    yield from (lam_of(choice, run.variant) for run in choice.runs)
    yield from (point.lam for _, points in choice.curves for point in points)
    yield choice.lam
    if choice.default is not None:
        yield choice.default


def _ticks(low: float, high: float) -> Iterator[tuple[float, str]]:
    """Yield powers of ten, with their thirds where the axis is short, every k-th where it is long."""
    mantissas = (1, 3) if high - low < 2.5 else (1,)
    powers = range(math.floor(low) - 1, math.ceil(high) + 1)
    places = [math.log10(mantissa) + power for power in powers for mantissa in mantissas]
    inside = [place for place in places if low - 0.01 <= place <= high + 0.01]
    for place in inside[:: max(1, math.ceil(len(inside) / _MOST_TICKS))]:
        yield place, f"{10**place:.3g}"


def _visible(choice: Choice, curve: Drawn, runs: Sequence[Seen]) -> tuple[float, float]:
    """Return the range that shows the curve up to the choice, its best's band, and nearly all good runs; the rest is cut."""
    sign = -1 if choice.is_higher_better else 1
    good = sorted(sign * shown(choice, run.loss) for run in runs if not run.is_bad)
    reached = good[: max(1, math.ceil(_SHOWN * len(good)))]
    weaker = [
        sign * value for lam, value in zip(curve.lams, curve.values, strict=True) if lam <= max(choice.lam, choice.default or 0.0)
    ]
    best = min(range(len(curve.values)), key=lambda k: sign * curve.values[k])
    values = [*reached, *weaker, *(sign * end for end in (curve.low[best], curve.high[best]))]
    low, high = min(values), max(values)
    # What is worse is cut; the signs of what lies there need a strip.
    air = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    ends = sign * (low - air), sign * (high + 1.6 * air)
    return min(ends), max(ends)
