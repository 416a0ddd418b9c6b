"""What acts on a weight."""

from __future__ import annotations

from dataclasses import dataclass

PULLS_TO_ZERO_ALIKE = ("l2", "decay", "l2 or decay")
"""Kinds that take away the same fraction of every weight, or would under plain SGD: two of them on one weight add up."""

PULLS_ELSEWHERE = ("l2_sp", "max_norm")
"""Kinds that do not pull a weight to zero."""


@dataclass(frozen=True)
class Action:
    """One thing that regularises a parameter.

    Attributes:
        kind: ``l2`` is L2 as a gradient, ``decay`` acts apart from the gradient, ``l2 or decay`` is one of them where that was not
            measured; ``l1``; ``norm`` is a norm that is not squared; ``l2_sp`` is L2 around fixed weights; ``other`` is none of
            these. What is attached has the kind of its penalty.
        by: Where it comes from: ``weight_decay``, ``decoupled_decay``, ``lambd``, ``attach``, ``decay_rows``,
            ``touched_rows`` (decay by rows, of those that a step touches), ``hook`` or ``loss``.
        lam: Its strength: of L2 and L1 in the package's unit, of decay as the optimiser writes it; None where it is not known.
    """

    kind: str
    by: str
    lam: float | None

    def __str__(self) -> str:
        return f"{self.kind} by {self.by}"
