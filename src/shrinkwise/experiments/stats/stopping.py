"""What is left of a gain where early stopping is used: part of what a penalty does, stopping does too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from shrinkwise.experiments.records import Condition, Variant
from shrinkwise.experiments.stats.answer import Comparison, Finding
from shrinkwise.experiments.stats.words import amount, ends, interval, listed, place

_Key = tuple[Variant, Condition]


def early_stopping(
    judged: Sequence[Comparison],
    early_stopped: Sequence[Comparison],
    over_stopped_base: Sequence[Comparison],
    conditions: Sequence[Condition],
) -> Iterator[str]:
    """Say of each variant that helps what it adds to a base that is stopped early, condition by condition.

    Args:
        judged: The comparisons that the verdict is about, on the primary metric.
        early_stopped: The same, every run at its epoch of best validation loss.
        over_stopped_base: The same, the variants at their last epoch, the base at its epoch of best validation loss.
        conditions: In the order in which they are told.
    """
    over = {(c.variant, c.condition): c for c in over_stopped_base}
    both = {(c.variant, c.condition): c for c in early_stopped}
    for condition in conditions:
        helpers = [c for c in judged if c.condition == condition and c.finding is Finding.HELPS and (c.variant, condition) in over]
        helpers.sort(key=lambda c: -abs(c.difference.point))
        said = [_left(c, over[c.variant, condition], both) for c in helpers[:1]]
        if rest := [_briefly(c, over[c.variant, condition]) for c in helpers[1:]]:
            said.append(f"left of the other gains, against that base: {listed(rest, most=len(rest))}")
        if said:
            yield f"{place(condition, is_only=len(conditions) == 1)}{'; '.join(said)}."


def _left(gain: Comparison, over: Comparison, both: Mapping[_Key, Comparison]) -> str:
    """Say of one variant what stopping alone would have done, with numbers."""
    metric = gain.metric
    sign = 1 if gain.difference.point > 0 else -1
    left = sign * over.difference.point
    if _is_nothing(gain, over):
        done = f"early stopping would have done the same as {gain.variant.name}"
    elif left < sign * gain.difference.point:
        share = "part" if over.finding is Finding.HELPS else "part, if not all,"
        done = f"early stopping would have done {share} of what {gain.variant.name} does"
    else:
        done = f"early stopping would have done nothing of what {gain.variant.name} does"
    whole = amount(metric, abs(gain.difference.point), _width(gain))
    rest = amount(metric, left, _width(over))
    compared = f"of its {whole}, {rest} are left" if left < sign * gain.difference.point else f"its gain is {rest}"
    told = interval(metric, over.difference, sign)
    text = f"{done}: {compared} ({told}) against a base that keeps its epoch of best validation loss"
    together = both.get((gain.variant, gain.condition))
    if together is None:
        return text
    rest = amount(metric, sign * together.difference.point, _width(together))
    return f"{text}, and {rest} ({interval(metric, together.difference, sign)}) where both keep theirs"


def _briefly(gain: Comparison, over: Comparison) -> str:
    """Say what is left of one gain: ``1.2 points for l2=0.1 (0.1 to 2.0)``."""
    sign = 1 if gain.difference.point > 0 else -1
    left = amount(gain.metric, sign * over.difference.point, _width(over))
    return f"{left} for {gain.variant.name} ({ends(gain.metric, over.difference, sign)})"


def _width(comparison: Comparison) -> float:
    return comparison.difference.high - comparison.difference.low


def _is_nothing(gain: Comparison, over: Comparison) -> bool:
    """Say whether nothing is left of a gain: equivalent to the stopped base, or no better than it."""
    sign = 1 if gain.difference.point > 0 else -1
    return over.finding is Finding.EQUIVALENT or sign * over.difference.point <= 0
