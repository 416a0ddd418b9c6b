"""Which of the metrics that a training function returns is judged, and in which direction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from shrinkwise.errors import SettingError, TrainingError, did_you_mean
from shrinkwise.experiments.records import Outcome, Record, Status
from shrinkwise.experiments.returned import NUMBER
from shrinkwise.experiments.stats.metric import METRICS, guess_direction
from shrinkwise.experiments.stats.words import listed


@dataclass(frozen=True)
class Judged:
    """The metric that is judged.

    Attributes:
        metric: Its name, without the part of the data that it was measured on.
        is_higher_better: Whether more of it is better.
    """

    metric: str
    is_higher_better: bool

    def renamed(self, record: Record) -> Record:
        """Give the number of a function that returns nothing but a number its name."""
        if record.last is None or set(record.last.val) != {NUMBER}:
            return record
        outcome = Outcome(record.last.epoch, {self.metric: record.last.val[NUMBER]}, {self.metric: record.last.test[NUMBER]})
        return replace(record, last=outcome)


def judge_by(records: Sequence[Record], metric: str | None, maximize: bool | None) -> Judged:
    """Find out what is judged, and make sure that every run gave it.

    Args:
        records: What runs left; those that did not end well say nothing.
        metric: The name that was asked for, with or without ``val_`` before it; if left out, the only one there is, or ``loss``.
        maximize: Whether more is better; guessed for well-known names alone. A number without a name is a loss unless this or
            ``metric`` says otherwise.

    Raises:
        TrainingError: Runs gave different metrics, or none ended well.
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
    return Judged(name, direction_of(name, maximize))


def plain_name(metric: str | None) -> str | None:
    """Return a metric's name without the part of the data before it.

    >>> plain_name("val_loss"), plain_name("accuracy"), plain_name(None)
    ('loss', 'accuracy', None)
    """
    for prefix in ("val_", "val/", "eval_", "eval/"):
        if metric and metric.startswith(prefix):
            return metric.removeprefix(prefix)
    return metric


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
