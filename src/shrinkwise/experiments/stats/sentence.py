"""The verdict in one sentence of plain words, on the primary metric, condition by condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shrinkwise.experiments.records import Variant
from shrinkwise.experiments.stats.answer import Comparison, Finding, Row
from shrinkwise.experiments.stats.flips import floor_of_seeds
from shrinkwise.experiments.stats.words import amount, counted, interval, listed, place


def sentence(comparisons: Sequence[Comparison], rows: Sequence[Row], base: Variant) -> str:
    """Say what the comparisons come to.

    The variant that helps most comes with its numbers, the others by name; where none is shown to help, the advice is to keep the
    base. A single variant always comes with its numbers.

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
    return text[0].upper() + text[1:] if text.startswith(("with ", "for ", "no ")) else text


def _is_collapsed(row: Row) -> bool:
    """Say whether a variant as such collapses: at least half of its runs that are done learned nothing."""
    return row.n > 0 and 2 * row.collapsed >= row.n


def _clause(comparisons: Sequence[Comparison], rows: Sequence[Row], base: Variant) -> str:
    """Say what one condition comes to."""
    if not comparisons:
        return _nothing(rows, base)
    found: dict[Finding, list[Comparison]] = {finding: [] for finding in Finding}
    for comparison in comparisons:
        found[comparison.finding].append(comparison)
    collapsed = {row.variant for row in rows if _is_collapsed(row)}
    if len(comparisons) == 1:
        said = [_single(comparisons[0], collapsed)]
    else:
        said = [
            _helpers(found[Finding.HELPS])
            if found[Finding.HELPS]
            else f"no variant {_unshown(comparisons)}, so keep {_called(base)}"
        ]
        said += [*_harm(found[Finding.HURTS], collapsed), *_quiet(found, collapsed)]
    if base in collapsed:
        said.append(f"{_called(base)} itself collapses: it learned nothing, so first train longer or change the learning rate")
    if lost := [row.variant.name for row in rows if row.n == 0 and row.variant != base]:
        said.append(f"{listed(lost)} {_verb(lost, 'leave')} no run to compare")
    link = ", while " if found[Finding.HELPS] else ": "
    return link.join([said[0], ", ".join(said[1:])] if said[1:] else said)


def _called(base: Variant) -> str:
    """Say which one the base is, where its name does not."""
    return "the base" if base.is_base else f"the base, {base.name}"


def _nothing(rows: Sequence[Row], base: Variant) -> str:
    """Say why there is nothing to compare: which variants diverged, failed or were stopped."""
    ends: dict[str, list[str]] = {}
    for row in rows:
        for status, n in row.status.items():
            if n and row.n == 0:
                ends.setdefault(status.value, []).append(_called(base) if row.variant == base else row.variant.name)
    told = [f"{listed(dict.fromkeys(names))} {status}" for status, names in ends.items()]
    if "diverged" in ends:
        told.append("a lower learning rate may help")
    return f"no comparison is possible: {', '.join(told) or 'no pair of runs is done'}"


def _single(comparison: Comparison, collapsed: set[Variant]) -> str:
    """Say what the only variant comes to."""
    name = comparison.variant.name
    said = {
        Finding.HELPS: "helps",
        Finding.HURTS: "hurts and collapses" if comparison.variant in collapsed else "hurts",
        Finding.EQUIVALENT: f"is equivalent to {_called(comparison.against)}",
        Finding.INCONCLUSIVE: _unshown([comparison], negated=True),
    }[comparison.finding]
    advice = "" if comparison.finding is Finding.HELPS else f", so keep {_called(comparison.against)}"
    return f"{name} {said}: {_change(comparison)}{advice}"


def _helpers(helpers: Sequence[Comparison]) -> str:
    best = max(helpers, key=lambda c: abs(c.difference.point))
    text = f"{best.variant.name} helps: {_change(best)}"
    others = [c.variant.name for c in sorted(helpers, key=lambda c: -abs(c.difference.point)) if c is not best]
    return f"{text}; {listed(others)} {_verb(others, 'help')} too" if others else text


def _change(comparison: Comparison) -> str:
    """Say how the metric moves: ``accuracy rises by 6.1 points (95 % interval 5.2 to 7.0)``."""
    difference, metric = comparison.difference, comparison.metric
    if difference.point == 0:
        return f"{metric} does not move ({interval(metric, difference)})"
    if difference.low < 0 < difference.high:
        # Turned to fit "falls by", the ends of an interval on both sides of zero would read as the opposite of the table's.
        by = amount(metric, difference.point, difference.high - difference.low)
        return f"{metric} changes by {by} ({interval(metric, difference)})"
    sign = 1 if difference.point > 0 else -1
    by = amount(metric, abs(difference.point), difference.high - difference.low)
    return f"{metric} {'rises' if sign > 0 else 'falls'} by {by} ({interval(metric, difference, sign)})"


def _unshown(comparisons: Sequence[Comparison], *, negated: bool = False) -> str:
    """Say that nothing is shown to help, or, where there are too few seeds for any p, that nothing could have been."""
    if any(comparison.p is not None for comparison in comparisons):
        return "is not shown to help" if negated else "is shown to help"
    n, least = max(comparison.difference.n for comparison in comparisons), floor_of_seeds(len(comparisons))
    return f"{'cannot' if negated else 'can'} be shown to help with {counted(n, 'seed')} (it takes {least})"


def _quiet(found: Mapping[Finding, Sequence[Comparison]], collapsed: set[Variant]) -> list[str]:
    """Say which variants make no difference; that others stay undecided is worth a word only beside one that helps."""
    said = []
    same = [c.variant.name for c in found[Finding.EQUIVALENT]]
    undecided = [c.variant.name for c in found[Finding.INCONCLUSIVE] if c.variant not in collapsed]
    silent = [c.variant.name for c in found[Finding.INCONCLUSIVE] if c.variant in collapsed]
    if silent:
        said.append(f"{listed(silent)} {_verb(silent, 'collapse')}")
    if same:
        said.append(f"{listed(same)} {_verb(same, 'be')} equivalent to {'the base' if found[Finding.HELPS] else 'it'}")
    if undecided and found[Finding.HELPS]:
        said.append(f"{listed(undecided)} {_verb(undecided, 'stay')} undecided")
    return said


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
