"""Puts together what was seen of one parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from shrinkwise.regularization.audit.action import Action
from shrinkwise.regularization.audit.groups import Group
from shrinkwise.regularization.audit.measuring.laws import Laws
from shrinkwise.regularization.audit.measuring.standins import Measured
from shrinkwise.regularization.audit.parameter import AuditedParameter
from shrinkwise.regularization.rules import Placement


@dataclass
class Evidence:
    """What was measured and found, by the identity of the parameter.

    Attributes:
        has_optimizer: Whether there is an optimiser.
        standins: What each optimiser that could be rebuilt did to stand-ins, by the identity of the optimiser.
        real: What real steps removed.
        real_by_hooks: What of it step hooks removed that are not ours, and whether in proportion to the weight.
        needs_whole: Identities of parameters with a penalty, attached or by rows, that stand-ins do not feel.
        by_gradient: Identities of parameters with an attached penalty that goes through the optimiser as a gradient.
        attached: What step hooks of ours say that they do.
        in_loss: Penalties in the loss.
        frozen_rows: Rows that have no gradient.
    """

    has_optimizer: bool = False
    standins: dict[int, dict[int, Measured]] = field(default_factory=dict)
    real: dict[int, float] = field(default_factory=dict)
    real_by_hooks: dict[int, tuple[float, bool]] = field(default_factory=dict)
    needs_whole: frozenset[int] = frozenset()
    by_gradient: frozenset[int] = frozenset()
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
    measured = [found[key] for found in evidence.standins.values() if key in found]
    is_stepped = parameter.requires_grad or parameter.grad is not None
    is_rescaled = is_stepped and key in evidence.by_gradient and any(one.laws.is_rescaling for one in measured)
    return AuditedParameter(
        name=placed.name,
        shape=tuple(parameter.shape),
        n=parameter.numel(),
        role=str(placed.role),
        why=placed.why,
        actions=_actions(key, groups, evidence) if is_stepped else (),
        aliases=placed.aliases,
        declared_shrink=_together([group.declared_shrink for group in groups]) if evidence.has_optimizer else None,
        unrounded_shrink=_together([one.laws.unrounded for one in measured]) if measured else None,
        lost_shrink=max((one.lost for one in measured), default=0.0, key=abs),
        is_proportional=all(one.laws.is_proportional for one in measured) and not is_rescaled if measured else None,
        is_rescaled=is_rescaled,
        is_idle=bool(measured) and all(one.laws.is_idle for one in measured),
        is_unlike_standin=_is_unlike_standin(placed, measured, evidence),
        is_frozen=placed.is_frozen,
        groups=tuple(group.label for group in groups),
        lr=groups[0].lr if groups else None,
        dtype=str(parameter.dtype).removeprefix("torch."),
        **_measured_shrink(key, groups, measured, evidence, is_stepped=is_stepped),
    )


def _measured_shrink(
    key: int, groups: Sequence[Group], measured: Sequence[Measured], evidence: Evidence, *, is_stepped: bool
) -> dict[str, Any]:
    if evidence.has_optimizer and not groups:
        return {"measured_shrink": 0.0, "measured_on": "no step"}
    if key in evidence.real and math.isfinite(evidence.real[key]):
        return {"measured_shrink": evidence.real[key], "measured_on": "real step"}
    # A stand-in is stepped without such a penalty, and what is left is not what a step removes.
    is_seen = bool(measured) and not (is_stepped and key in evidence.needs_whole)
    shrink = _together([one.shrink for one in measured]) if is_seen else None
    return {"measured_shrink": shrink, "measured_on": "stand-in" if shrink is not None else ""}


def _together(fractions: Sequence[float | None]) -> float | None:
    """Return what is removed by steps one after another; None where one of them is not known."""
    known = [fraction for fraction in fractions if fraction is not None and math.isfinite(fraction)]
    if len(known) < len(fractions):
        return None
    if not known:
        return 0.0
    return known[0] if len(known) == 1 else 1 - math.prod(1 - fraction for fraction in known)


def _is_unlike_standin(placed: Placement, measured: Sequence[Measured], evidence: Evidence) -> bool:
    """Whether the real step, step hooks of others aside, removed what the stand-in did not; asked only where both mean the same."""
    key = id(placed.parameter)
    real, by_hooks = evidence.real.get(key, math.nan), evidence.real_by_hooks.get(key, (0.0, True))[0]
    unrounded = [one.laws.unrounded - one.laws.by_hooks for one in measured]
    is_rescaled = key in evidence.by_gradient and any(one.laws.is_rescaling for one in measured)
    is_comparable = (all(one.laws.is_proportional for one in measured) and not is_rescaled) or real - by_hooks == 0
    if not measured or key in evidence.needs_whole or not is_comparable:
        return False
    difference = abs(real - by_hooks - (_together(unrounded) or 0.0))
    return difference > max(0.2 * abs(real - by_hooks), 4 * torch.finfo(placed.parameter.dtype).eps)


def _actions(key: int, groups: Sequence[Group], evidence: Evidence) -> tuple[Action, ...]:
    actions = []
    for group in groups:
        laws = _laws(key, group, evidence)
        for entry in group.entries:
            if decay := group.strength(entry):
                kind = _kind(laws) if entry == "weight_decay" else "decay"
                actions.append(Action(kind, entry, decay))
    if groups and (hook := _by_hooks(key, groups[0], evidence)):
        actions.append(hook)
    return (*actions, *evidence.attached.get(key, ()), *evidence.in_loss.get(key, ()))


def _laws(key: int, group: Group, evidence: Evidence) -> Laws | None:
    measured = evidence.standins.get(id(group.optimizer), {}).get(key)
    return None if measured is None else measured.laws


def _kind(laws: Laws | None) -> str:
    if laws is None or laws.is_coupled is None:
        return "l2 or decay"
    return "l2" if laws.is_coupled else "decay"


def _by_hooks(key: int, group: Group, evidence: Evidence) -> Action | None:
    """Return what step hooks do that are not ours."""
    laws = _laws(key, group, evidence)
    if key in evidence.real_by_hooks:
        fraction, is_proportional = evidence.real_by_hooks[key]
    elif laws is not None:
        fraction, is_proportional = laws.by_hooks, laws.is_hook_proportional
    else:
        return None
    # What a subtraction of two measured steps leaves is no hook's doing.
    if not math.isfinite(fraction) or fraction <= 1e-9:
        return None
    if not is_proportional:
        return Action("other", "hook", None)
    return Action(
        "l2" if laws is not None and not laws.is_rescaling else "decay", "hook", fraction / group.lr if group.lr else None
    )
