"""What step hooks of ours do: what they say of themselves, and how they are put onto stand-ins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from shrinkwise.regularization.apply.attach import Attached
from shrinkwise.regularization.apply.rows import RowDecay
from shrinkwise.regularization.apply.stephook import StepHook, Transferable, owners_at
from shrinkwise.regularization.audit.action import Action


def actions_of_hooks(optimizers: Sequence[Optimizer]) -> dict[int, tuple[Action, ...]]:
    """Return what is attached to each parameter, by its identity; strengths without what a schedule makes of them."""
    found: dict[int, list[Action]] = {}
    for optimizer in optimizers:
        for owner in owners_at(optimizer):
            for term in owner.terms:
                if isinstance(owner, Attached):
                    action = Action(term.penalty.kind, "attach", term.penalty.strength)
                else:
                    is_touched = isinstance(owner, RowDecay) and owner.mode == "touched"
                    action = Action("decay", "touched_rows" if is_touched else "decay_rows", term.penalty.strength)
                found.setdefault(id(term.placement.parameter), []).append(action)
    return {key: tuple(actions) for key, actions in found.items()}


def needs_whole_weights(optimizer: Optimizer) -> tuple[str, ...]:
    """Return the kinds of attached penalties that mean nothing on a few elements of a weight."""
    owners = [owner for owner in owners_at(optimizer) if isinstance(owner, Attached)]
    penalties = [batch.penalty for owner in owners for batch in owner.batches]
    return tuple(dict.fromkeys(penalty.kind for penalty in penalties if not penalty.is_elementwise))


def penalised_as_wholes(optimizers: Sequence[Optimizer]) -> frozenset[int]:
    """Return the identities of parameters with a penalty, attached or by rows, that means nothing on a few elements."""
    owners = [owner for optimizer in optimizers for owner in owners_at(optimizer)]
    return frozenset(
        term.key for owner in owners for term in owner.terms if not (isinstance(owner, Attached) and term.penalty.is_elementwise)
    )


def penalised_by_gradients(optimizers: Sequence[Optimizer]) -> frozenset[int]:
    """Return the identities of parameters with an attached L2, L1 or both that go through the optimiser as a gradient.

    LBFGS is left out: it minimises the sum of loss and penalty, whatever the length of its steps.
    """
    others = [optimizer for optimizer in optimizers if not isinstance(optimizer, torch.optim.LBFGS)]
    owners = [owner for optimizer in others for owner in owners_at(optimizer) if isinstance(owner, Attached)]
    coupled = [owner for owner in owners if owner.form == "coupled"]
    return frozenset(term.key for owner in coupled for term in owner.terms if term.penalty.is_elementwise)


def has_standin(hook: Any) -> bool:
    """Whether a step hook can be put onto stand-ins: those of ours that act on single elements, and any with ``on_standins``."""
    if isinstance(hook, StepHook):
        return not hook.owner.acts_on_weights or isinstance(hook.owner, Transferable)
    return callable(getattr(hook, "on_standins", None))


def on_standins(hook: Any, standins: Mapping[int, torch.Tensor]) -> Any:
    """Return the hook as it acts on stand-ins, given by the identity of the parameter that each stands for."""
    if isinstance(hook, StepHook) and not hook.owner.acts_on_weights:
        return lambda *_: None
    return hook.on_standins(standins)
