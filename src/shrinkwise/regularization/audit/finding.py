"""What a check of an audit looks at, and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shrinkwise.regularization.audit.parameter import AuditedParameter
from shrinkwise.regularization.rules.fold import listed


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know.

    Attributes:
        code: What it is, in one word that stays.
        message: What was found, with names, repeated layers folded.
        mend: What to do, if it is not meant.
        names: Every parameter that it is about.
        is_note: Whether it is worth knowing rather than a likely mistake.
    """

    code: str
    message: str
    mend: str
    names: tuple[str, ...] = ()
    is_note: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return its parts."""
        return {"code": self.code, "message": self.message, "mend": self.mend, "parameters": list(self.names)}


@dataclass(frozen=True)
class Seen:
    """All that the checks look at.

    Attributes:
        parameters: The model's parameters.
        sharing: Groups of names of distinct parameters whose values lie in one place.
        stale: Label of a group -> how many parameters it holds that are none of the model's.
        frozen_rows: Name -> which rows have no gradient.
        n_optimizers: How many optimisers there are.
    """

    parameters: tuple[AuditedParameter, ...]
    sharing: tuple[tuple[str, ...], ...] = ()
    stale: tuple[tuple[str, int], ...] = ()
    frozen_rows: tuple[tuple[str, str], ...] = ()
    n_optimizers: int = 0


def about(parameters: Sequence[AuditedParameter], code: str, message: str, mend: str, *, is_note: bool = False) -> Finding:
    """Return a finding about some parameters, whose names end its message."""
    names = tuple(p.name for p in parameters)
    return Finding(code, f"{message}: {listed(names)}", mend, names, is_note)
