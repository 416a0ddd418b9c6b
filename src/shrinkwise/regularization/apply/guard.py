"""Nothing is penalised twice: who already penalises a parameter, and what is said then."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from shrinkwise.errors import SettingError
from shrinkwise.regularization.apply.batch import Term
from shrinkwise.regularization.apply.optimizers import counted, decay_of_each
from shrinkwise.regularization.apply.stephook import Owner, owners_at


class Claim(Protocol):
    """Something that penalises a parameter."""

    @property
    def kind(self) -> str:
        """The slot that the penalty fills."""
        ...

    @property
    def name(self) -> str:
        """Name of the parameter."""
        ...

    @property
    def key(self) -> int:
        """Identity of the parameter."""
        ...


@dataclass(frozen=True)
class _Asked:
    """A claim that keeps nothing alive."""

    kind: str
    name: str
    key: int
    parameter: weakref.ref[torch.Tensor]


@dataclass(eq=False)
class InLoss:
    """What a bound regularizer puts into losses.

    Attributes:
        is_asked: Whether ``penalty()`` was asked for since an optimiser last took a step; a compiled ``penalty()`` sets it too.
        waiting: Identities of the parameters that have the penalty's gradient and were stepped by nobody yet.
        is_orphan: Whether the bound regularizer is gone; what it put into a loss still counts at the next step.
    """

    claims: tuple[_Asked, ...]
    is_asked: bool = False
    waiting: set[int] = field(default_factory=set)
    is_orphan: bool = False

    def let_go(self) -> None:
        """Take notice that the bound regularizer is gone."""
        self.is_orphan = True


_in_losses: list[InLoss] = []
"""Only at a step do a penalty in a loss and a decay come together; this is what a step is held against."""

_IN_LOSS = ("in the loss", "let one of them act, and leave the other out; to log a penalty, use value()")

_ATTACHED = "a penalty of this kind is attached to the optimiser already"

_is_watching = False


def watch(bound: object, terms: Sequence[Term]) -> InLoss:
    """Check at each step of any optimiser that nothing else penalises what the loss penalised."""
    global _is_watching
    claims = (_Asked(term.kind, term.name, term.key, weakref.ref(term.placement.parameter)) for term in terms)
    in_loss = InLoss(tuple(claims))
    _in_losses.append(in_loss)
    weakref.finalize(bound, in_loss.let_go)
    if not _is_watching:
        # Never compiled: it compares objects, and the optimiser's wrapper breaks the graph around hooks anyway.
        register_optimizer_step_pre_hook(torch.compiler.disable(_look))
        _is_watching = True
    return in_loss


def check_single(claims: Iterable[Claim], optimizer: Optimizer, what: str, mend: str, *, but: Owner | None = None) -> None:
    """Check that an optimiser's own decay, or what is attached to it, does not act as ``claims`` do on the same parameters.

    Args:
        claims: What is about to act.
        optimizer: The optimiser, unwrapped.
        what: Where it acts, for the message.
        mend: What to do if only these should act.
        but: Whose claims these are, if that is attached already.

    Raises:
        SettingError: A parameter would be penalised twice by penalties of one kind.
    """
    claims = tuple(claims)
    decays = decay_of_each(optimizer) if any(claim.kind == "l2" for claim in claims) else {}
    taken = {(term.kind, term.key) for owner in owners_at(optimizer) if owner is not but for term in owner.terms}
    if not decays and not taken:
        return
    doubled: dict[tuple[str, str], list[str]] = {}
    for claim in claims:
        if (claim.kind, claim.key) in taken:
            doubled.setdefault((claim.kind, _ATTACHED), []).append(claim.name)
        elif claim.kind == "l2" and claim.key in decays:
            other = f"the optimiser has weight_decay={decays[claim.key]:g} there"
            doubled.setdefault((claim.kind, other), []).append(claim.name)
    _refuse(doubled, what, mend)


def _refuse(doubled: Mapping[tuple[str, str], Sequence[str]], what: str, mend: str) -> None:
    for (kind, other), names in doubled.items():
        if other == _ATTACHED:
            mend = "remove() what is attached, or make the optimiser anew; running a notebook's cell again attaches again"
        raise SettingError(f"{kind} acts twice on {counted(names)}", f"it acts {what}, and {other}", mend)


def _look(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    doubled: dict[str, list[str]] = {}
    seen: set[tuple[str, int]] = set()
    for claim in _stepped_now(optimizer):
        if (claim.kind, claim.key) in seen:
            doubled.setdefault(claim.kind, []).append(claim.name)
        seen.add((claim.kind, claim.key))
    _refuse({(kind, "penalty() of another bound regularizer is there too"): names for kind, names in doubled.items()}, *_IN_LOSS)


def _stepped_now(optimizer: Optimizer) -> list[_Asked]:
    """Return what acts in the loss on parameters that this step moves, after checking it against the optimiser."""
    found: list[_Asked] = []
    held: set[int] = set()
    for in_loss in list(_in_losses):
        if in_loss.is_asked:
            in_loss.is_asked = False
            in_loss.waiting.update(claim.key for claim in in_loss.claims)
        if in_loss.waiting:
            held = held or {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            stepped = in_loss.waiting & held
            in_loss.waiting -= held
            found += [claim for claim in in_loss.claims if claim.key in stepped and claim.parameter() is not None]
        if in_loss.is_orphan:
            _in_losses.remove(in_loss)
    if found:
        check_single(found, optimizer, *_IN_LOSS)
    return found
