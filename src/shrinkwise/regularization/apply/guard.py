"""Nothing is penalised twice: who already penalises a parameter, and what is said then."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from shrinkwise.errors import SettingError
from shrinkwise.regularization.apply.attach import Acting, acting_on
from shrinkwise.regularization.apply.batch import Term
from shrinkwise.regularization.apply.optimizers import decay_of_each, listed


class InLoss(Protocol):
    """Penalties that may stand in a loss."""

    terms: tuple[Term, ...]
    is_in_loss: bool


_in_losses: weakref.WeakSet[Any] = weakref.WeakSet()
"""What to look for at the next step of any optimiser: only there do a penalty in a loss and a decay come together."""

_is_watching = False


def watch(bound: InLoss) -> None:
    """Check, when an optimiser first steps a parameter of ``bound``, that nothing else penalises what its loss penalises."""
    global _is_watching
    _in_losses.add(bound)
    if not _is_watching:
        # Never compiled: it compares objects, and the optimiser's wrapper breaks the graph around hooks anyway.
        register_optimizer_step_pre_hook(torch.compiler.disable(_look))
        _is_watching = True


def unwatch(bound: InLoss) -> None:
    """Stop looking."""
    _in_losses.discard(bound)


def check_single(terms: Iterable[Term], optimizer: Optimizer, what: str, mend: str, *, but: Acting | None = None) -> None:
    """Check that an optimiser's own decay, or what is attached to it, does not act as ``terms`` do on the same parameters.

    Args:
        terms: What is about to act.
        optimizer: The optimiser, unwrapped.
        what: Where ``terms`` act, for the message.
        mend: What to do if only these should act.
        but: Attached penalties that are ``terms`` themselves.

    Raises:
        SettingError: A parameter would be penalised twice by penalties of one kind.
    """
    decays = decay_of_each(optimizer)
    others = (acting for acting in acting_on(optimizer) if acting is not but)
    taken = {(term.kind, id(term.placement.parameter)) for other in others for term in other.terms}
    doubled: dict[tuple[str, str], list[str]] = {}
    for term in terms:
        key = id(term.placement.parameter)
        if (term.kind, key) in taken:
            doubled.setdefault((term.kind, "a penalty of this kind is attached to the optimiser"), []).append(term.placement.name)
        elif term.kind == "l2" and key in decays:
            other = f"the optimiser has weight_decay={decays[key]:g} there"
            doubled.setdefault((term.kind, other), []).append(term.placement.name)
    for (kind, other), names in doubled.items():
        fact = f"{kind} acts twice on {len(names)} parameter{'s' if len(names) > 1 else ''} ({listed(names)})"
        raise SettingError(fact, f"it acts {what}, and {other}", mend)


def _look(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    for bound in list(_in_losses):
        if bound.is_in_loss:
            check_single(bound.terms, optimizer, "in the loss", "give that optimiser weight_decay=0, or leave penalty() out")
            if _holds_any(optimizer, bound.terms):
                unwatch(bound)


def _holds_any(optimizer: Optimizer, terms: Sequence[Term]) -> bool:
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return any(id(term.placement.parameter) in held for term in terms)
