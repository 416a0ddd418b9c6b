"""What is left of a gain where early stopping is used: part of what a penalty does, stopping does too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from shrinkwise.experiments.records import Condition, Variant
from shrinkwise.experiments.stats.answer import Comparison, Finding
from shrinkwise.experiments.stats.words import amount, interval, listed, place

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
        said += _others(helpers[1:], over)
        if said:
            yield f"{place(condition, is_only=len(conditions) == 1)}{'; '.join(said)}."


def _left(gain: Comparison, over: Comparison, both: Mapping[_Key, Comparison]) -> str:
    """Say of one variant what stopping alone would have done, with numbers."""
    metric = gain.metric
    sign = 1 if gain.difference.point > 0 else -1
    left = sign * over.difference.point
    width = over.difference.high - over.difference.low
    if _is_nothing(gain, over):
        done = f"early stopping would have done the same as {gain.variant.name}"
    elif left < sign * gain.difference.point:
        share = "part" if over.finding is Finding.HELPS else "part, if not all,"
        done = f"early stopping would have done {share} of what {gain.variant.name} does"
    else:
        done = f"early stopping would have done nothing of what {gain.variant.name} does"
    whole = amount(metric, abs(gain.difference.point), gain.difference.high - gain.difference.low)
    rest = amount(metric, left, width)
    compared = f"of its {whole}, {rest} are left" if left < sign * gain.difference.point else f"its gain is {rest}"
    told = interval(metric, over.difference, sign)
    text = f"{done}: {compared} ({told}) against a base that keeps its epoch of best validation loss"
    together = both.get((gain.variant, gain.condition))
    if together is None:
        return text
    rest = amount(metric, sign * together.difference.point, together.difference.high - together.difference.low)
    return f"{text}, and {rest} ({interval(metric, together.difference, sign)}) where both keep theirs"


def _others(helpers: Sequence[Comparison], over: Mapping[_Key, Comparison]) -> list[str]:
    """Say of the other helpers, by name, for which of them early stopping would have done."""
    same = [c.variant.name for c in helpers if _is_nothing(c, over[c.variant, c.condition])]
    more = [c.variant.name for c in helpers if over[c.variant, c.condition].finding is Finding.HELPS]
    open_ = [c.variant.name for c in helpers if c.variant.name not in (*same, *more)]
    said = [f"it would have done the same as {listed(same)}"] if same else []
    said += [f"{listed(more)} {'adds' if len(more) == 1 else 'add'} to it"] if more else []
    return said + ([f"whether {listed(open_)} {'adds' if len(open_) == 1 else 'add'} to it is open"] if open_ else [])


def _is_nothing(gain: Comparison, over: Comparison) -> bool:
    """Say whether nothing is left of a gain: equivalent to the stopped base, or no better than it."""
    sign = 1 if gain.difference.point > 0 else -1
    return over.finding is Finding.EQUIVALENT or sign * over.difference.point <= 0
