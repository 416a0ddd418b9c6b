"""What step hooks of ours do: what they say of themselves, and how they are put onto stand-ins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from shrinkwise.regularization.apply.attach import AfterStepHook, Attached, StepHook, acting_on
from shrinkwise.regularization.apply.hooks import _Counter, _shrink
from shrinkwise.regularization.audit.action import Action


def actions_of_hooks(optimizers: Sequence[Optimizer]) -> dict[int, tuple[Action, ...]]:
    """Return what is attached to each parameter, by its identity; strengths without what a schedule makes of them."""
    found: dict[int, list[Action]] = {}
    for optimizer in optimizers:
        for owner in acting_on(optimizer):
            by = "attach" if isinstance(owner, Attached) else "decay_rows"
            for term in owner.terms:
                action = Action(term.penalty.kind, by, term.penalty.strength)
                found.setdefault(id(term.placement.parameter), []).append(action)
    return {key: tuple(actions) for key, actions in found.items()}


def needs_whole_weights(optimizer: Optimizer) -> tuple[str, ...]:
    """Return the kinds of attached penalties that mean nothing on a few elements of a weight."""
    owners = [owner for owner in acting_on(optimizer) if isinstance(owner, Attached)]
    penalties = [batch.penalty for owner in owners for batch in owner.batches]
    return tuple(dict.fromkeys(penalty.kind for penalty in penalties if not penalty.is_elementwise))


def has_standin(hook: Any) -> bool:
    """Whether a step hook can be put onto stand-ins: ours, and any that has a method ``on_standins``."""
    if isinstance(hook, StepHook | AfterStepHook):
        return isinstance(hook.owner, Attached)
    return hook is _shrink or isinstance(hook, _Counter) or callable(getattr(hook, "on_standins", None))


def on_standins(hook: Any, standins: Mapping[int, torch.Tensor]) -> Any:
    """Return the hook as it acts on stand-ins, given by the identity of the parameter that each stands for."""
    if hook is _shrink:
        # It reads nothing but the groups of the optimiser that it is given.
        return hook
    if isinstance(hook, _Counter):
        return lambda *_: None
    if isinstance(hook, StepHook | AfterStepHook) and isinstance(hook.owner, Attached):
        owner = hook.owner.on_standins(standins)
        return type(hook)(owner, getattr(owner, hook.act.__name__))
    return hook.on_standins(standins)
