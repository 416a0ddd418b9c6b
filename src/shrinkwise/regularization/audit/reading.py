"""Puts together what was seen of one parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shrinkwise.regularization.audit.action import Action
from shrinkwise.regularization.audit.groups import DECOUPLED, Group
from shrinkwise.regularization.audit.parameter import AuditedParameter
from shrinkwise.regularization.audit.standins import Measured
from shrinkwise.regularization.rules import Placement


@dataclass
class Evidence:
    """What was measured and found, by the identity of the parameter.

    Attributes:
        has_optimizer: Whether there is an optimiser.
        standins: What each optimiser that could be rebuilt did to stand-ins.
        real: What real steps removed.
        real_by_hooks: What of it hooks removed, and whether in proportion to the weight.
        attached: What step hooks of ours say that they do.
        in_loss: Penalties in the loss.
        frozen_rows: Rows that have no gradient.
    """

    has_optimizer: bool = False
    standins: list[dict[int, Measured]] = field(default_factory=list)
    real: dict[int, float] = field(default_factory=dict)
    real_by_hooks: dict[int, tuple[float, bool]] = field(default_factory=dict)
    attached: dict[int, tuple[Action, ...]] = field(default_factory=dict)
    in_loss: dict[int, tuple[Action, ...]] = field(default_factory=dict)
    frozen_rows: dict[int, str] = field(default_factory=dict)


def read_parameter(placed: Placement, groups: Sequence[Group], evidence: Evidence) -> AuditedParameter:
    """Describe one parameter.

    Args:
        placed: What it is.
        groups: The groups that hold it, once for each time that they do.
        evidence: What was measured and found.
    """
    key, parameter = id(placed.parameter), placed.parameter
    measured = [found[key] for found in evidence.standins if key in found]
    is_stepped = parameter.requires_grad or parameter.grad is not None
    return AuditedParameter(
        name=placed.name,
        shape=tuple(parameter.shape),
        n=parameter.numel(),
        role=str(placed.role),
        why=placed.why,
        actions=_actions(key, groups, measured, evidence) if is_stepped else (),
        aliases=placed.aliases,
        declared_shrink=_together([group.declared_shrink for group in groups]) if evidence.has_optimizer else None,
        unrounded_shrink=_together([one.unrounded for one in measured]) if measured else None,
        is_lost=any(one.is_lost for one in measured),
        is_proportional=all(one.is_proportional for one in measured) if measured else None,
        is_frozen=placed.is_frozen,
        groups=tuple(group.label for group in groups),
        lr=groups[0].lr if groups else None,
        dtype=str(parameter.dtype).removeprefix("torch."),
        **_measured_shrink(key, groups, measured, evidence),
    )


def _measured_shrink(key: int, groups: Sequence[Group], measured: Sequence[Measured], evidence: Evidence) -> dict[str, Any]:
    if evidence.has_optimizer and not groups:
        return {"measured_shrink": 0.0, "measured_on": "no step"}
    if key in evidence.real and math.isfinite(evidence.real[key]):
        return {"measured_shrink": evidence.real[key], "measured_on": "real step"}
    shrink = _together([one.shrink for one in measured]) if measured else None
    return {"measured_shrink": shrink, "measured_on": "stand-in" if shrink is not None else ""}


def _together(fractions: Sequence[float | None]) -> float | None:
    """Return what is removed by steps one after another; None where one of them is not known."""
    known = [fraction for fraction in fractions if fraction is not None and math.isfinite(fraction)]
    if len(known) < len(fractions):
        return None
    if not known:
        return 0.0
    return known[0] if len(known) == 1 else 1 - math.prod(1 - fraction for fraction in known)


def _actions(key: int, groups: Sequence[Group], measured: Sequence[Measured], evidence: Evidence) -> tuple[Action, ...]:
    actions = []
    for group in groups:
        if decay := group.strength("weight_decay"):
            is_coupled = any(one.is_coupled for one in measured)
            actions.append(Action("l2" if is_coupled else "decay", "weight_decay", decay))
        if decay := group.strength(DECOUPLED):
            actions.append(Action("decay", DECOUPLED, decay))
    attached = evidence.attached.get(key, ())
    if groups and not attached and (hook := _by_hooks(key, groups[0], measured, evidence)):
        actions.append(hook)
    return (*actions, *attached, *evidence.in_loss.get(key, ()))


def _by_hooks(key: int, group: Group, measured: Sequence[Measured], evidence: Evidence) -> Action | None:
    """Return what somebody's step hooks do; what our ``decay_decoupled`` does is in the group."""
    if key in evidence.real_by_hooks:
        fraction, is_proportional = evidence.real_by_hooks[key]
    elif measured:
        fraction, is_proportional = measured[0].by_hooks, measured[0].is_hook_proportional
    else:
        return None
    rest = fraction - (group.lr or 0.0) * group.strength(DECOUPLED)
    if not math.isfinite(rest) or abs(rest) <= 0.1 * abs(fraction) or rest < 0:
        return None
    if not is_proportional:
        return Action("other", "hook", None)
    return Action("l2", "hook", rest / group.lr if group.lr else None)
