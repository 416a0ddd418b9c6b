"""What a report needs of a confirmation: the comparison of the choice with the default on fresh seeds."""

from __future__ import annotations

from typing import Protocol

from shrinkwise.experiments.report.formats import count
from shrinkwise.experiments.stats.answer import Answer, Comparison, Finding
from shrinkwise.experiments.study import Study


class Confirmed(Protocol):
    """A comparison that was made after the choice; the result of an experiment is one."""

    @property
    def answer(self) -> Answer:
        """Estimates, comparisons and the verdict."""
        ...

    @property
    def study(self) -> Study:
        """What was asked."""
        ...


def comparison_of(confirmation: Confirmed) -> Comparison | None:
    """Return the comparison that a confirmation is about; None where no pair of runs could be compared."""
    metric = confirmation.study.primary_metric
    return next((each for each in confirmation.answer.comparisons if each.metric == metric), None)


def unconfirmed_text(confirmation: Confirmed | None) -> str:
    """Say in how far a choice was not confirmed; nothing where it was, or where that was not asked."""
    if confirmation is None:
        return ""
    found = comparison_of(confirmation)
    if found is None:
        return "could not be compared with the default on fresh seeds"
    where = f"on {count(found.difference.n, 'fresh seed')}"
    return {
        Finding.HELPS: "",
        Finding.HURTS: f"hurts {where}",
        Finding.EQUIVALENT: f"is equivalent to the default {where}",
        Finding.INCONCLUSIVE: f"is not confirmed {where}",
    }[found.finding]


def confirmed_text(comparison: Comparison) -> str:
    """Say what a confirmation came to, such as ``helps on 8 fresh seeds``."""
    return f"{comparison.finding.value} on {count(comparison.difference.n, 'fresh seed')}"
