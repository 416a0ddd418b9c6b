"""What a report needs of a confirmation: the comparison of the choice with the default on fresh seeds."""

from __future__ import annotations

from typing import Protocol

from shrinkwise.experiments.report.formats import count
from shrinkwise.experiments.stats.answer import Answer, Comparison
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


def confirmed_text(comparison: Comparison) -> str:
    """Say what a confirmation came to, such as ``helps on 8 fresh seeds``."""
    return f"{comparison.finding.value} on {count(comparison.difference.n, 'fresh seed')}"
