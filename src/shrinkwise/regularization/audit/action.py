"""What acts on a weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["l2", "decay", "l1", "norm", "other"]
"""L2 as a gradient, decay apart from the gradient, L1, a norm that is not squared, or something that is none of these."""

SHRINKS_ALIKE = ("l2", "decay")


@dataclass(frozen=True)
class Action:
    """One thing that regularises a parameter.

    Attributes:
        kind: What it is.
        by: Where it comes from: ``weight_decay``, ``decoupled_decay``, ``hook`` or ``loss``.
        lam: Its strength: of L2 and L1 in the package's unit, of decay as the optimiser writes it; None where it is not known.
    """

    kind: str
    by: str
    lam: float | None

    def __str__(self) -> str:
        return f"{self.kind} by {self.by}"
