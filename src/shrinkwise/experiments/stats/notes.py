"""What a reader must know beside the verdict, a sentence each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from shrinkwise.experiments.records import STOPPED, Condition, Record, Status, Variant
from shrinkwise.experiments.stats.answer import Comparison, Finding, Row
from shrinkwise.experiments.stats.finding import MOST_SEEDS
from shrinkwise.experiments.stats.flips import ALPHA, floor_of_seeds
from shrinkwise.experiments.stats.words import counted, listed, place
from shrinkwise.experiments.study import Study

_NAMES_OF_RATES = ("lr", "learning_rate")
_NAMES_OF_BATCHES = ("batch_size",)


def scope(study: Study, variants: Sequence[Variant]) -> Iterator[str]:
    """Say for which training the verdict holds, and whom equal epochs handicap."""
    names = ("optimizer", *_NAMES_OF_RATES, *_NAMES_OF_BATCHES)
    setting = {name: study.settings[name] for name in names if name in study.settings}
    parts = [str(setting["optimizer"])] if "optimizer" in setting else []
    parts += [f"learning rate {setting[name]}" for name in _NAMES_OF_RATES if name in setting]
    parts += [f"batches of {setting[name]}" for name in _NAMES_OF_BATCHES if name in setting]
    at_most = "at most " if "patience" in study.settings else ""
    parts += [] if study.epochs is None else [f"{at_most}{counted(study.epochs, 'epoch')}"]
    if parts:
        yield f"This holds for {listed(parts, most=4)}; at another learning rate or length of training the order may be another."
    has_dropout = any(value for variant in variants for name, value in variant.items() if "dropout" in name)
    if study.epochs is not None and has_dropout and not at_most:
        yield "All variants train for the same number of epochs, which handicaps dropout: it learns more slowly and wants more."
    if study.unit is not None and not study.is_resampled:
        yield "Test rows are as given and the same for every seed; the training rows of each seed are drawn from the given ones."


def method(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Say how the intervals were made."""
    methods = dict.fromkeys(comparison.difference.method for comparison in comparisons if math.isfinite(comparison.difference.low))
    if methods:
        yield f"Intervals: {listed(methods)}."


def floor(comparisons: Sequence[Comparison], conditions: Sequence[Condition]) -> Iterator[str]:
    """Say why no p is printed, where none is."""
    for condition in conditions:
        family = [c for c in comparisons if c.condition == condition]
        untested = [c for c in family if c.p is None]
        if untested:
            k, least = len(family), floor_of_seeds(len(family))
            n = max(c.difference.n for c in untested)
            who = "" if len(untested) == k else f" for {listed(c.variant.name for c in untested)}"
            least_p = f"{k}·2/2^{n} = {min(1.0, k * 2 / 2**n):.2g}"
            yield (
                f"{_where(condition, conditions)}no p is given{who}: with {counted(n, 'pair')} of runs and "
                f"{counted(k, 'comparison')} none can be under {ALPHA}, as the least is {least_p}; it takes {least} seeds."
            )


def undecided(comparisons: Sequence[Comparison], conditions: Sequence[Condition]) -> Iterator[str]:
    """Say how many seeds would probably decide."""
    for condition in conditions:
        open_ = [c for c in comparisons if c.condition == condition and c.finding is Finding.INCONCLUSIVE and c.difference.n > 1]
        if open_:
            # No number means more than any that is given.
            needs = [f"{c.variant.name} {f'about {n}' if (n := c.seeds_needed) else f'over {MOST_SEEDS:,}'}" for c in open_]
            yield f"{_where(condition, conditions)}the seeds that would probably decide: {listed(needs, most=len(needs))}."


def losses(rows: Sequence[Row], conditions: Sequence[Condition], base: Variant) -> Iterator[str]:
    """Say which runs did not end, and what that does to the pairs."""
    for row in rows:
        lost = {status.value: n for status, n in row.status.items() if status is not Status.DONE and n}
        if not lost:
            continue
        total = sum(row.status.values())
        how = listed(f"{n} {'has ' if n == 1 and status == 'failed' else ''}{status}" for status, n in sorted(lost.items()))
        rest = "there is nothing to compare" if row.n == 0 else f"{counted(total - row.n, 'pair')} of runs left out"
        who = "the base" if row.variant == base else row.variant.name
        yield f"{_where(row.condition, conditions)}of the {counted(total, 'run')} of {who}, {how}; {rest}."


def stops(records: Sequence[Record]) -> Iterator[str]:
    """Say how many runs ended before their last epoch and are judged where they ended, and why."""
    stopped = [record.message for record in records if record.status is Status.DONE and record.message.startswith(STOPPED)]
    reasons = Counter(message.partition(": ")[2] for message in stopped)
    if stopped:
        why = "; ".join(f"{reason} ({n})" for reason, n in reasons.most_common())
        yield f"Of the {counted(len(records), 'run')}, {len(stopped)} stopped before the last epoch: {why}."


def collapses(rows: Sequence[Row], conditions: Sequence[Condition]) -> Iterator[str]:
    """Say which runs learned nothing, where it is some of a variant's runs and not all."""
    for row in rows:
        if 0 < row.collapsed < row.n:
            yield f"{_where(row.condition, conditions)}{row.collapsed} of the {row.n} runs of {row.variant.name} collapsed."


def _where(condition: Condition, conditions: Sequence[Condition]) -> str:
    return place(condition, is_only=len(conditions) == 1)
