"""Nothing is penalised twice: who already penalises a parameter, and what is said then."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from shrinkwise.errors import SettingError
from shrinkwise.regularization.apply.attach import Acting, acting_on
from shrinkwise.regularization.apply.batch import Term
from shrinkwise.regularization.apply.optimizers import counted, decay_of_each


class InLoss(Protocol):
    """Penalties that may stand in a loss.

    Attributes:
        terms: The penalties.
        is_in_loss: Whether they were asked for since an optimiser last took a step.
    """

    terms: tuple[Term, ...]
    is_in_loss: bool


_in_losses: weakref.WeakKeyDictionary[Any, set[int]] = weakref.WeakKeyDictionary()
"""What may stand in a loss -> identities of the parameters that have its gradient and were not stepped yet.

Only at a step do a penalty in a loss and a decay come together.
"""

_IN_LOSS = ("in the loss", "let one of them act, and leave the other out; to log a penalty, use value()")

_is_watching = False


def watch(bound: InLoss) -> None:
    """Check at each step of any optimiser that nothing else penalises what the loss penalised."""
    global _is_watching
    _in_losses[bound] = set()
    if not _is_watching:
        # Never compiled: it compares objects, and the optimiser's wrapper breaks the graph around hooks anyway.
        register_optimizer_step_pre_hook(torch.compiler.disable(_look))
        _is_watching = True


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
    _refuse(doubled, what, mend)


def _refuse(doubled: Mapping[tuple[str, str], Sequence[str]], what: str, mend: str) -> None:
    for (kind, other), names in doubled.items():
        raise SettingError(f"{kind} acts twice on {counted(names)}", f"it acts {what}, and {other}", mend)


def recheck_after_load(acting: Acting, optimizer: Optimizer, what: str, mend: str) -> RemovableHandle:
    """Look again for a second decay whenever a checkpoint has replaced the optimiser's groups; arguments as ``check_single``'s."""
    return optimizer.register_load_state_dict_post_hook(lambda loaded: check_single(acting.terms, loaded, what, mend, but=acting))


def _look(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    doubled: dict[str, list[str]] = {}
    seen: set[tuple[str, int]] = set()
    for term in _stepped_now(optimizer):
        key = (term.kind, id(term.placement.parameter))
        if key in seen:
            doubled.setdefault(term.kind, []).append(term.placement.name)
        seen.add(key)
    _refuse({(kind, "penalty() of another bound regularizer is there too"): names for kind, names in doubled.items()}, *_IN_LOSS)


def _stepped_now(optimizer: Optimizer) -> list[Term]:
    """Return what acts in the loss on parameters that this step moves, after checking it against the optimiser."""
    found: list[Term] = []
    held: set[int] = set()
    for bound, waiting in list(_in_losses.items()):
        if bound.is_in_loss:
            bound.is_in_loss = False
            waiting.update(id(term.placement.parameter) for term in bound.terms)
        if waiting:
            held = held or {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            stepped = waiting & held
            waiting -= held
            found += [term for term in bound.terms if id(term.placement.parameter) in stepped]
    if found:
        check_single(found, optimizer, *_IN_LOSS)
    return found
