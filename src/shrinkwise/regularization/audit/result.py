"""What an audit found, in every form that people read."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.regularization.audit.findings import Finding
from shrinkwise.regularization.audit.notebook import html_of
from shrinkwise.regularization.audit.parameter import AuditedParameter
from shrinkwise.regularization.audit.table import Line, headline, lines_of
from shrinkwise.regularization.audit.text import text_of
from shrinkwise.regularization.audit.view import frame_of, rich_of

if TYPE_CHECKING:
    from shrinkwise.regularization.audit.view import DataFrame, RenderableType


@dataclass(frozen=True, repr=False)
class Audit:
    """What shrinks, by how much a step, and why; what is likely wrong with that; and what could not be seen.

    Prints as a table, in colour through rich, as HTML in a notebook.

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

    def __getitem__(self, name: str) -> AuditedParameter:
        """Return a parameter by any of its names.

        Raises:
            SettingError: There is none of that name.
        """
        for parameter in self.parameters:
            if name in (parameter.name, *parameter.aliases):
                return parameter
        names = [other for parameter in self.parameters for other in (parameter.name, *parameter.aliases)]
        mend = did_you_mean(name, get_close_matches(name, names, n=1) or ["the names that the listing shows"])
        raise SettingError(f"{name!r} is no parameter of this {self.model}", "the audit saw none of that name", mend)

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

    def to_json(self) -> str:
        """Return :meth:`to_dict` as a JSON document."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def to_frame(self) -> DataFrame:
        """Return a DataFrame, one row a parameter.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return frame_of(self)

    def to_text(self, width: int | None = None) -> str:
        """Return plain text.

        Args:
            width: Columns to fill; those of the terminal, or 100 where there is none, if left out.
        """
        return text_of(self, width or shutil.get_terminal_size((100, 24)).columns)

    def __str__(self) -> str:
        return self.to_text()

    __repr__ = __str__

    def __rich__(self) -> RenderableType:
        return rich_of(self)

    def _repr_html_(self) -> str:
        return html_of(self)
