"""The verdict in one sentence of plain words, on the primary metric, condition by condition."""

from __future__ import annotations

from collections.abc import Sequence

from shrinkwise.experiments.records import Condition, Variant
from shrinkwise.experiments.stats.answer import Comparison, Finding, Row
from shrinkwise.experiments.stats.words import amount, interval, listed, place


def sentence(comparisons: Sequence[Comparison], rows: Sequence[Row], base: Variant) -> str:
    """Say what the comparisons come to.

    The variant that helps most comes with its numbers, the others by name; where none is shown to help, the advice is to keep the base.

    Args:
        comparisons: On the primary metric, every condition.
        rows: The table, for what collapsed or left no run.
        base: What the variants are compared against.
    """
    conditions = tuple(dict.fromkeys(row.condition for row in rows))
    clauses = [
        place(condition, is_only=len(conditions) == 1)
        + _clause(
            [comparison for comparison in comparisons if comparison.condition == condition],
            [row for row in rows if row.condition == condition],
            base,
        )
        for condition in conditions
    ]
    text = "; ".join(clauses) + "."
    # A setting's name is code and keeps its case; the words of our own start a sentence.
    return text[0].upper() + text[1:] if text.startswith(("with ", "no ")) else text


def is_collapsed(row: Row) -> bool:
    """Say whether a variant as such collapses: at least half of its runs that are done learned nothing."""
    return row.n > 0 and 2 * row.collapsed >= row.n


def condition_rows(rows: Sequence[Row], condition: Condition) -> list[Row]:
    """Return the rows of one condition."""
    return [row for row in rows if row.condition == condition]


def _clause(comparisons: Sequence[Comparison], rows: Sequence[Row], base: Variant) -> str:
    """Say what one condition comes to."""
    if not comparisons:
        return "no comparison is possible, for want of pairs of runs that are done"
    found: dict[Finding, list[Comparison]] = {finding: [] for finding in Finding}
    for comparison in comparisons:
        found[comparison.finding].append(comparison)
    collapsed = {row.variant for row in rows if is_collapsed(row)}
    said = [_helpers(found[Finding.HELPS])] if found[Finding.HELPS] else [_nobody(comparisons)]
    said += _harm(found[Finding.HURTS], collapsed)
    quiet = [*found[Finding.EQUIVALENT], *found[Finding.INCONCLUSIVE]]
    if silent := [c.variant.name for c in quiet if c.variant in collapsed]:
        said.append(f"{listed(silent)} {_verb(silent, 'collapse')}")
    if base in collapsed:
        said.append("the base itself collapses")
    if same := [c.variant.name for c in found[Finding.EQUIVALENT]]:
        said.append(f"{listed(same)} {_verb(same, 'be')} equivalent to the base")
    if found[Finding.HELPS] and (open_ := [c.variant.name for c in found[Finding.INCONCLUSIVE]]):
        said.append(f"{listed(open_)} {_verb(open_, 'stay')} undecided")
    if lost := [row.variant.name for row in rows if row.n == 0 and row.variant != base]:
        said.append(f"{listed(lost)} {_verb(lost, 'leave')} no run to compare")
    return said[0] if len(said) == 1 else f"{said[0]}, while {listed(said[1:], most=len(said))}"


def _helpers(helpers: Sequence[Comparison]) -> str:
    best = max(helpers, key=lambda c: abs(c.difference.point))
    text = f"{best.variant.name} helps: {change(best)}"
    others = [c.variant.name for c in sorted(helpers, key=lambda c: -abs(c.difference.point)) if c is not best]
    return f"{text}; {listed(others)} {_verb(others, 'help')} too" if others else text


def change(comparison: Comparison) -> str:
    """Say how the metric moves: ``accuracy rises by 6.1 points (95 % interval 5.2 to 7.0)``."""
    difference, metric = comparison.difference, comparison.metric
    sign = 1 if difference.point > 0 else -1
    by = amount(metric, abs(difference.point), difference.high - difference.low)
    return f"{metric} {'rises' if sign > 0 else 'falls'} by {by} ({interval(metric, difference, sign)})"


def _nobody(comparisons: Sequence[Comparison]) -> str:
    who = "no variant" if len(comparisons) > 1 else comparisons[0].variant.name
    return f"{who} is {'' if len(comparisons) > 1 else 'not '}shown to help, so keep the base"


def _harm(hurting: Sequence[Comparison], collapsed: set[Variant]) -> list[str]:
    fallen = [c.variant.name for c in hurting if c.variant in collapsed]
    others = [c.variant.name for c in hurting if c.variant not in collapsed]
    said = [f"{listed(others)} {_verb(others, 'hurt')}"] if others else []
    if fallen:
        said.append(f"{listed(fallen)} {_verb(fallen, 'hurt')} and {_verb(fallen, 'collapse')}")
    return said


def _verb(subjects: Sequence[str], verb: str) -> str:
    is_one = len(subjects) == 1
    if verb == "be":
        return "is" if is_one else "are"
    return f"{verb}s" if is_one else verb
