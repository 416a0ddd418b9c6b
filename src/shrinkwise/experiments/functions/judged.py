"""Which of the metrics that a training function returns is judged, and in which direction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shrinkwise.errors import DataError, SettingError, TrainingError, did_you_mean
from shrinkwise.experiments.functions.returned import NUMBER, part_of
from shrinkwise.experiments.records import Outcome, Record, Status
from shrinkwise.experiments.stats.metric import METRICS, guess_direction, is_in_percent
from shrinkwise.experiments.stats.words import listed


@dataclass(frozen=True)
class Judged:
    """The metric that is judged.

    Attributes:
        metric: Its name, without the part of the data that it was measured on.
        is_higher_better: Whether more of it is better.
        in_percent: ``(part, name)`` of the rates that the function writes in per cent; part is ``val`` or ``test``.
    """

    metric: str
    is_higher_better: bool
    in_percent: frozenset[tuple[str, str]] = frozenset()

    def told(self, record: Record) -> Record:
        """Give the number of a function that returns nothing but a number its name, and tell rates as shares."""
        if record.last is None:
            return record
        outcome = self._renamed(record.last)
        shares = replace(
            outcome,
            val={name: self._share("val", name, value) for name, value in outcome.val.items()},
            test={name: self._share("test", name, value) for name, value in outcome.test.items()},
            examples={name: self._share("test", name, rows) for name, rows in outcome.examples.items()},
        )
        return replace(record, last=shares)

    def _renamed(self, outcome: Outcome) -> Outcome:
        if set(outcome.val) != {NUMBER}:
            return outcome
        return Outcome(outcome.epoch, {self.metric: outcome.val[NUMBER]}, {self.metric: outcome.test[NUMBER]})

    def _share(self, part: str, name: str, value: Any) -> Any:
        return value / 100 if (part, name) in self.in_percent else value


def judge_by(records: Sequence[Record], metric: str | None, maximize: bool | None) -> Judged:
    """Find out what is judged, and make sure that every run gave it.

    Args:
        records: What runs left; those that did not end well say nothing.
        metric: The name that was asked for, with or without ``val_`` before it; if left out, the only one there is, or ``loss``.
        maximize: Whether more is better; guessed for well-known names alone. A number without a name is a loss unless this or
            ``metric`` says otherwise.

    Raises:
        TrainingError: Runs gave different metrics, or none ended well.
        DataError: The metric is a rate, and runs write it as none, or some in per cent and some as a share.
        SettingError: Which metric, or which direction, has to be said.
    """
    done = [record for record in records if record.status is Status.DONE and record.last is not None]
    if not done:
        message, _ = Counter(record.message for record in records).most_common(1)[0]
        raise TrainingError(
            f"none of {len(records)} runs ended well",
            message,
            "where training diverges, a lower learning rate may help",
        )
    _check_alike(done)
    first = done[0].last
    names = [name for name in first.val if name in first.test] if first else []
    asked = plain_name(metric)
    name = asked or ("score" if maximize else "loss") if names == [NUMBER] else _chosen(names, asked)
    judged = Judged(name, direction_of(name, maximize))
    return replace(judged, in_percent=frozenset(_in_percent(judged, [record.last for record in done if record.last])))


def _in_percent(judged: Judged, outcomes: Sequence[Outcome]) -> Iterator[tuple[str, str]]:
    """Yield which rates are in per cent; only of the one that is judged is it a mistake not to write it alike in all runs."""
    for part in ("val", "test"):
        values: dict[str, list[float]] = {}
        for outcome in map(judged._renamed, outcomes):
            for name, value in getattr(outcome, part).items():
                values.setdefault(name, []).append(value)
        for name, each in values.items():
            try:
                if is_in_percent(name, each):
                    yield part, name
            except DataError:
                if name == judged.metric:
                    raise


def plain_name(metric: str | None) -> str | None:
    """Return a metric's name without the part of the data before it.

    >>> plain_name("val_loss"), plain_name("validation/loss"), plain_name("accuracy"), plain_name(None)
    ('loss', 'loss', 'accuracy', None)
    """
    if metric is None:
        return None
    part, name = part_of(metric)
    return name if part == "val" else metric


def direction_of(metric: str, maximize: bool | None) -> bool:
    """Return whether more of a metric is better, as it was said, or as its name tells.

    Raises:
        SettingError: Neither does.
    """
    if maximize is not None:
        return maximize
    known = METRICS[metric].is_higher_better if metric in METRICS else None
    return guess_direction(metric) if known is None else known


def check_read(records: Iterable[Record]) -> None:
    """Make sure that the function reads the settings that it is compared by.

    Raises:
        SettingError: A setting was read in none of the runs that ended well.
    """
    unread = [set(record.unread) for record in records if record.status is Status.DONE]
    never = sorted(set.intersection(*unread)) if unread else []
    if never:
        raise SettingError(
            f"the setting {never[0]!r} is read by nobody",
            f"train(trial) never asks for it in {len(unread)} runs: it could have no effect",
            f"use trial[{never[0]!r}] in it, or leave the setting out",
        )


def _chosen(names: Sequence[str], metric: str | None) -> str:
    if metric is not None:
        if metric in names:
            return metric
        raise SettingError(f"the metric is {metric!r}", f"train(trial) gives {listed(names, most=6)}", did_you_mean(metric, names))
    if len(names) == 1 or "loss" in names:
        return "loss" if "loss" in names else names[0]
    if not names:
        raise TrainingError(
            "train(trial) gives no metric on both validation and test rows",
            "one is chosen by, the other judged by",
            "return the same metrics for both, such as val_loss and test_loss",
        )
    raise SettingError(
        f"train(trial) gives {listed(names, most=6)}", "which of them is judged is not known", "name it: metric=... (--metric)"
    )


def _check_alike(done: Sequence[Record]) -> None:
    first = done[0]
    for record in done[1:]:
        if _names(record) != _names(first):
            raise TrainingError(
                "train(trial) gives other metrics from run to run",
                f"{_where(first)} gave {_told(first)}, and {_where(record)} gave {_told(record)}",
                "return the same metrics in every run; what could not be measured is float('nan')",
            )


def _names(record: Record) -> tuple[set[str], set[str]]:
    return (set(record.last.val), set(record.last.test)) if record.last else (set(), set())


def _told(record: Record) -> str:
    val, test = _names(record)
    names = sorted(val) + ([] if val == test else [f"test_{name}" for name in sorted(test)])
    return listed(["a number" if name == NUMBER else name for name in names], most=6)


def _where(record: Record) -> str:
    return f"{record.key.variant.name} with seed {record.key.seed}"
