"""Which runs did not end well, and why: what the page lists beneath the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shrinkwise.experiments.records import Record, Status

_MOST_LINES = 10
_MOST_LETTERS = 300


@dataclass(frozen=True)
class Failures:
    """The runs that failed or diverged.

    Attributes:
        lines: ``(variant, condition, seed, status, message)`` of the first of them, in the order of the records.
        n_more: Number of those that are not listed.
    """

    lines: tuple[tuple[str, str, str, str, str], ...]
    n_more: int


def failures(records: Sequence[Record]) -> Failures | None:
    """Return the runs that failed or diverged, ten at most one by one; None where there is none."""
    found = [record for record in records if record.status in (Status.FAILED, Status.DIVERGED)]
    lines = tuple(_line(record) for record in found[:_MOST_LINES])
    return Failures(lines, len(found) - len(lines)) if lines else None


def _line(record: Record) -> tuple[str, str, str, str, str]:
    key, message = record.key, " ".join(record.message.split())
    if len(message) > _MOST_LETTERS:
        message = message[:_MOST_LETTERS].rstrip() + " …"
    return key.variant.name, key.condition.name, str(key.seed), record.status.value, message
