"""An audit in every form that people read."""

from __future__ import annotations

import json
import re
import shutil
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.regularization.audit.found import Found
from shrinkwise.regularization.audit.parameter import AuditedParameter
from shrinkwise.regularization.audit.showing.notebook import html_of
from shrinkwise.regularization.audit.showing.text import text_of
from shrinkwise.regularization.audit.showing.view import frame_of, rich_of

if TYPE_CHECKING:
    from shrinkwise.regularization.audit.showing.view import DataFrame, RenderableType

_FOLD = re.compile(r"\\\[[0-9,\\-]+\\\]")
"""The numbers of folded layers, in a name whose signs are escaped."""


class Audit(Found):
    """What shrinks, by how much a step, and why; what is likely wrong with that; and what could not be seen.

    Prints as a table, in colour through rich, as HTML in a notebook.
    """

    def __getitem__(self, name: Any) -> AuditedParameter:
        """Return a parameter by any of its names.

        Raises:
            SettingError: There is none of that name, or it is no name.
        """
        if not isinstance(name, str):  # a loop over an audit asks for 0 too
            cause = "the keys of an audit are names of parameters"
            raise SettingError(f"the key is {name!r}", cause, "give a name, or go through audit.parameters")
        for parameter in self.parameters:
            if name in (parameter.name, *parameter.aliases):
                return parameter
        names = [other for parameter in self.parameters for other in (parameter.name, *parameter.aliases)]
        numbered = _FOLD.sub("[0-9]+", re.escape(name))
        if those := [other for other in names if "[" in name and re.fullmatch(numbered, other)]:
            mend = f"write one of the {len(those)} names that are folded there, such as {those[0]!r}"
            raise SettingError(f"{name!r} stands for several parameters", "the listing folds repeated layers", mend)
        mend = did_you_mean(name, get_close_matches(name, names, n=1) or ["the names that the listing shows"])
        raise SettingError(f"{name!r} is no parameter of this {self.model}", "the audit saw none of that name", mend)

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
