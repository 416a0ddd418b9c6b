"""What an audit found, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shrinkwise.regularization.audit.finding import Finding
from shrinkwise.regularization.audit.parameter import AuditedParameter
from shrinkwise.regularization.audit.showing.table import Line, headline, lines_of


@dataclass(frozen=True, repr=False)
class Found:
    """What shrinks, by how much a step, and why; what is likely wrong with that; and what could not be seen.

    Attributes:
        model: Class name of the model.
        optimizers: Class names of its optimisers.
        parameters: Every parameter, in the model's order, none folded.
        findings: What a user should know, warnings before notes.
        not_checked: What was not looked at, and what would be needed for it.
        depth: How many levels of repeated layers the views write out.
    """

    model: str
    optimizers: tuple[str, ...]
    parameters: tuple[AuditedParameter, ...]
    findings: tuple[Finding, ...]
    not_checked: tuple[str, ...]
    depth: int = 0

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that are likely mistakes."""
        return tuple(finding for finding in self.findings if not finding.is_note)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Findings that are worth knowing."""
        return tuple(finding for finding in self.findings if finding.is_note)

    @property
    def headline(self) -> str:
        """What was audited and how much of it shrinks, in one sentence."""
        return headline(self.model, self.optimizers, self.parameters)

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines of the table, repeated layers folded."""
        return lines_of(self.parameters, self.depth)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``shrinkwise audit --json`` prints: parameters, warnings, what was not checked, and notes."""
        return {
            "model": self.model,
            "optimizers": list(self.optimizers),
            "parameters": [parameter.to_dict() for parameter in self.parameters],
            "warnings": [finding.to_dict() for finding in self.warnings],
            "notes": [finding.to_dict() for finding in self.notes],
            "not_checked": list(self.not_checked),
        }
