"""One parameter as an audit sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from shrinkwise.regularization.audit.action import PULLS_ELSEWHERE, PULLS_TO_ZERO_ALIKE, Action


@dataclass(frozen=True)
class AuditedParameter:
    """What a parameter is, what is declared for it, and what was measured.

    Attributes:
        name: Dotted name in the model; of a tied parameter the first one.
        shape: Its shape.
        n: Number of elements.
        role: What it does, such as ``weight`` or ``norm``.
        why: Why it has this role.
        actions: What regularises it; empty where nothing does.
        aliases: Its other names.
        declared_shrink: Fraction of the weight that lr·weight_decay would remove at one step; None without an optimiser, or where a
            group has no lr.
        measured_shrink: Fraction that one step with zero data gradient removes; None where it was not measured.
        measured_on: ``stand-in``, ``real step``, or ``no step`` where no optimiser holds it; empty where it was not measured.
        unrounded_shrink: The same on a stand-in in float64; None where it was not measured.
        lost_shrink: What it should lose at the highest learning rate of its schedule, where rounding swallows that; else 0.
        is_proportional: Whether a weight twice the size loses the same fraction; None where it was not measured.
        is_rescaled: Whether the gradient of an attached penalty is divided by its own size, as Adam does.
        is_idle: Whether a declared decay was seen to do nothing, along with a gradient and over many steps either.
        is_unlike_standin: Whether the real step removed something else than that of a stand-in.
        is_scale_invariant: Whether the output stays when it is doubled; None where it was not tried.
        is_frozen: Whether it is not trained.
        groups: Labels of the groups that hold it, once for each time that they do.
        lr: Learning rate of the first of them; None without one.
        dtype: Its type, such as ``float32``.
    """

    name: str
    shape: tuple[int, ...]
    n: int
    role: str
    why: str
    actions: tuple[Action, ...] = ()
    aliases: tuple[str, ...] = ()
    declared_shrink: float | None = None
    measured_shrink: float | None = None
    measured_on: str = ""
    unrounded_shrink: float | None = None
    lost_shrink: float = 0.0
    is_proportional: bool | None = None
    is_rescaled: bool = False
    is_idle: bool = False
    is_unlike_standin: bool = False
    is_scale_invariant: bool | None = None
    is_frozen: bool = False
    groups: tuple[str, ...] = ()
    lr: float | None = None
    dtype: str = "float32"

    @property
    def penalty(self) -> str | None:
        """What acts on it, in words; None where nothing does."""
        return " + ".join(map(str, self.actions)) or None

    @property
    def lam(self) -> float | None:
        """The strength of all that pulls it to zero in proportion to its size; that of what acts, where only one thing does."""
        alike = [action.lam for action in self.actions if action.kind in PULLS_TO_ZERO_ALIKE and action.lam is not None]
        if alike:
            return sum(alike)
        return self.actions[0].lam if len(self.actions) == 1 else None

    @property
    def shrinks(self) -> bool:
        """Whether a step was seen to remove something: on a stand-in, free of rounding, unless the real step differs."""
        if self.unrounded_shrink is None or self.is_unlike_standin:
            return bool(self.measured_shrink)
        return bool(self.unrounded_shrink)

    @property
    def is_regularised(self) -> bool:
        """Whether something pulls on it, at this step or at another learning rate."""
        return not self.is_frozen and (bool(self.actions) or self.shrinks)

    @property
    def is_pulled_to_zero(self) -> bool:
        """Whether it is regularised, and by what makes it smaller."""
        if self.is_idle or not self.is_regularised:
            return False
        return not self.actions or any(action.kind not in PULLS_ELSEWHERE for action in self.actions)

    @property
    def is_lost(self) -> bool:
        """Whether rounding swallows the decay."""
        return bool(self.lost_shrink)

    @property
    def is_sampled(self) -> bool:
        """Whether the measured shrink is that of a sample of its values, and not a fraction that all of them lose."""
        return self.measured_on == "stand-in" and self.is_proportional is False

    def strength_by(self, by: str) -> float:
        """Return the strength of what comes from one source, 0 where nothing does."""
        return sum(action.lam or 0.0 for action in self.actions if action.by == by)

    def to_dict(self) -> dict[str, Any]:
        """Return what others may rely on first, the rest beside it."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "n": self.n,
            "role": self.role,
            "penalty": self.penalty,
            "lam": _finite(self.lam),
            "why": self.why,
            "aliases": list(self.aliases),
            "declared_shrink": _finite(self.declared_shrink),
            "measured_shrink": _finite(self.measured_shrink),
            "measured_on": self.measured_on or None,
            "scale_invariant": self.is_scale_invariant,
            "frozen": self.is_frozen,
            "group": " + ".join(self.groups) or None,
            "lr": _finite(self.lr),
            "dtype": self.dtype,
            "actions": [{"kind": action.kind, "by": action.by, "lam": _finite(action.lam)} for action in self.actions],
        }


def _finite(value: float | None) -> float | None:
    """Return None for what JSON has no number for."""
    return value if value is not None and math.isfinite(value) else None
