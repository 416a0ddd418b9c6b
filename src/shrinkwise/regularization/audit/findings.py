"""What an audit warns of: one function a finding, each of which reads what was seen and decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shrinkwise.regularization.audit.action import SHRINKS_ALIKE
from shrinkwise.regularization.audit.parameter import AuditedParameter
from shrinkwise.regularization.rules import Role
from shrinkwise.regularization.rules.fold import listed

_PLURALS = {
    Role.NORM: "norm parameters",
    Role.BIAS: "biases",
    Role.TOKEN: "tokens",
    Role.SCALE: "scale parameters",
    Role.DIRECTION: "direction parameters",
}


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know.

    Attributes:
        code: What it is, in one word that stays.
        message: What was found, with names, repeated layers folded.
        mend: What to do, if it is not meant.
        names: Every parameter that it is about.
        is_note: Whether it is worth knowing rather than a likely mistake.
    """

    code: str
    message: str
    mend: str
    names: tuple[str, ...] = ()
    is_note: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return its parts."""
        return {"code": self.code, "message": self.message, "mend": self.mend, "parameters": list(self.names)}


@dataclass(frozen=True)
class Seen:
    """All that the checks look at.

    Attributes:
        parameters: The model's parameters.
        sharing: Groups of names of distinct parameters whose values lie in one place.
        stale: Label of a group -> how many parameters it holds that are none of the model's.
        frozen_rows: Name -> which rows have no gradient.
        n_optimizers: How many optimisers there are.
    """

    parameters: tuple[AuditedParameter, ...]
    sharing: tuple[tuple[str, ...], ...] = ()
    stale: tuple[tuple[str, int], ...] = ()
    frozen_rows: tuple[tuple[str, str], ...] = ()
    n_optimizers: int = 0


def findings_in(seen: Seen) -> tuple[Finding, ...]:
    """Return every finding, warnings before notes."""
    found = [finding for check in CHECKS for finding in check(seen)]
    return tuple(sorted(found, key=lambda finding: finding.is_note))


def _decayed_roles(seen: Seen) -> Iterator[Finding]:
    for role, plural in _PLURALS.items():
        decayed = [p for p in seen.parameters if p.role == role and p.is_regularised]
        if decayed:
            decay = max(p.strength_by("weight_decay") for p in decayed)
            mend = f"sw.param_groups(model, weight_decay={decay:g}) puts them into a group with 0" if decay else "leave them out"
            yield _about(decayed, f"decayed_{role}", f"{plural} shrink", mend)


def _regularised_twice(seen: Seen) -> Iterator[Finding]:
    doubled = [p for p in seen.parameters if sum(action.kind in SHRINKS_ALIKE for action in p.actions) > 1 and not p.is_frozen]
    for penalty in dict.fromkeys(p.penalty for p in doubled):
        those = [p for p in doubled if p.penalty == penalty]
        message = f"regularised twice, {penalty}"
        yield _about(those, "regularised_twice", message, "keep one of the two, and set the other to 0")


def _decay_lost(seen: Seen) -> Iterator[Finding]:
    """FACTS call this the rounding trap: near w a number format knows no w·(1 − lr·λ), and the product is w again."""
    lost = [p for p in seen.parameters if p.is_lost and p.is_regularised]
    for dtype in dict.fromkeys(p.dtype for p in lost):
        those = [p for p in lost if p.dtype == dtype]
        shrink = max(p.unrounded_shrink or 0.0 for p in those)
        message = f"decay of {shrink:.2g} a step is lost to rounding in {dtype}"
        mend = "keep the weights that the optimiser steps in float32, as autocast does, or round stochastically"
        yield _about(those, "decay_lost_to_rounding", message, mend)


def _decay_without_effect(seen: Seen) -> Iterator[Finding]:
    idle = [p for p in seen.parameters if p.declared_shrink and p.unrounded_shrink == 0.0 and p.is_regularised]
    if idle:
        message = "weight_decay is declared and does not act"
        yield _about(idle, "decay_without_effect", message, "see whether this optimiser reads weight_decay from its groups")


def _undeclared_shrink(seen: Seen) -> Iterator[Finding]:
    hidden = [p for p in seen.parameters if p.shrinks and p.groups and not p.actions and not p.is_frozen]
    if hidden:
        message = "shrinks though nothing declares it"
        yield _about(hidden, "undeclared_shrink", message, "look into the optimiser: it decays by another name or by a constant")


def _l2_is_no_decay(seen: Seen) -> Iterator[Finding]:
    rescaled = [p for p in seen.parameters if p.is_proportional is False and p.strength_by("weight_decay") and not p.is_frozen]
    if rescaled:
        label = rescaled[0].groups[0].partition("[")[0]
        message = f"the L2 of {label} is not decay, what it removes is not in proportion to the weight"
        mend = "it divides the penalty's gradient by its own size; use a decoupled form, such as torch.optim.AdamW"
        yield _about(rescaled, "l2_is_not_decay", message, mend)


def _held_twice(seen: Seen) -> Iterator[Finding]:
    twice = [p for p in seen.parameters if len(p.groups) > 1]
    for groups in dict.fromkeys(p.groups for p in twice):
        those = [p for p in twice if p.groups == groups]
        message = f"held by {' and '.join(groups)}, each of which steps it"
        yield _about(those, "held_twice", message, "put each parameter into one group of one optimiser")


def _tied_apart(seen: Seen) -> Iterator[Finding]:
    for names in seen.sharing:
        message = f"{listed(names)} are two parameters with the same values, and the optimiser steps and shrinks both"
        mend = "tie them as one Parameter (module.weight = other.weight) after loading or moving the model"
        yield Finding("tied_apart", message, mend, names)


def _in_no_group(seen: Seen) -> Iterator[Finding]:
    free = [p for p in seen.parameters if not p.groups and not p.is_frozen]
    if seen.n_optimizers and free:
        yield _about(free, "in_no_group", "trained, in no group, and never stepped", "add them to a group")


def _stale(seen: Seen) -> Iterator[Finding]:
    for label, n in seen.stale:
        message = f"{label} holds {n} parameters that are none of the model's"
        mend = "make the optimiser after whatever replaces parameters: sharding, tying, a new head, loading with assign=True"
        yield Finding("stale_parameters", message, mend)


def _frozen_that_shrinks(seen: Seen) -> Iterator[Finding]:
    """A zero gradient does not stop decay; only no gradient does."""
    by_name = {p.name: p for p in seen.parameters}
    mend = "decay does not ask for a gradient: give them weight_decay 0, or put the values back after each step"
    for name, rows in seen.frozen_rows:
        if by_name[name].is_regularised:
            yield Finding("frozen_shrinks", f"{rows} of {name} has no gradient and shrinks all the same", mend, (name,))
    moving = [p for p in seen.parameters if p.is_frozen and p.shrinks]
    if moving:
        message = "frozen, and shrinks all the same since an old gradient is left"
        yield _about(moving, "frozen_shrinks", message, "set their grad to None: optimizer.zero_grad(set_to_none=True)")


def _scale_invariant(seen: Seen) -> Iterator[Finding]:
    invariant = [p for p in seen.parameters if p.is_scale_invariant and (p.is_regularised or not seen.n_optimizers)]
    if invariant:
        message = "scale-invariant, doubled it leaves the output as it is"
        mend = (
            "L2 and decay do not make the function simpler there: they only change the effective learning rate; tune both together"
        )
        yield _about(invariant, "scale_invariant", message, mend)


def _unknown_kind(seen: Seen) -> Iterator[Finding]:
    unknown = [p for p in seen.parameters if p.role == Role.UNKNOWN and not p.is_frozen]
    for is_decayed in (True, False):
        those = [p for p in unknown if p.is_regularised == is_decayed]
        if those:
            message = f"of unknown kind, and {'shrinks' if is_decayed else 'does not shrink'}"
            yield _about(those, "unknown_kind", message, "decide for each whether it should", is_note=not is_decayed)


def _decayed_embedding(seen: Seen) -> Iterator[Finding]:
    decayed = [p for p in seen.parameters if p.role == Role.EMBEDDING and p.is_regularised]
    if decayed:
        message = "embeddings shrink, also rows that no batch touches"
        yield _about(decayed, "decayed_embedding", message, "sw.param_groups leaves embeddings free", is_note=True)


def _lr_is_zero(seen: Seen) -> Iterator[Finding]:
    still = [p for p in seen.parameters if p.actions and p.lr == 0 and p.declared_shrink == 0 and not p.is_frozen]
    if still:
        message = "the learning rate is 0 at this step, so nothing shrinks now"
        yield _about(still, "lr_is_zero", message, "audit again after the warm-up's first step", is_note=True)


CHECKS: tuple[Callable[[Seen], Iterator[Finding]], ...] = (
    _in_no_group,
    _stale,
    _held_twice,
    _tied_apart,
    _regularised_twice,
    _decay_lost,
    _decay_without_effect,
    _undeclared_shrink,
    _l2_is_no_decay,
    _decayed_roles,
    _frozen_that_shrinks,
    _scale_invariant,
    _unknown_kind,
    _decayed_embedding,
    _lr_is_zero,
)


def _about(parameters: Sequence[AuditedParameter], code: str, message: str, mend: str, *, is_note: bool = False) -> Finding:
    names = tuple(p.name for p in parameters)
    return Finding(code, f"{message}: {listed(names)}", mend, names, is_note)
