"""What an audit warns of: one function a finding, each of which reads what was seen and decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from shrinkwise.regularization.audit import shrinking
from shrinkwise.regularization.audit.finding import Finding, Seen, about
from shrinkwise.regularization.rules import Role
from shrinkwise.regularization.rules.fold import listed

_PLURALS = {
    Role.NORM: "norm parameters",
    Role.BIAS: "biases",
    Role.TOKEN: "tokens",
    Role.SCALE: "scale parameters",
    Role.DIRECTION: "direction parameters",
}


def findings_in(seen: Seen) -> tuple[Finding, ...]:
    """Return every finding, warnings before notes."""
    found = [finding for check in CHECKS for finding in check(seen)]
    return tuple(sorted(found, key=lambda finding: finding.is_note))


def _decayed_roles(seen: Seen) -> Iterator[Finding]:
    for role, plural in _PLURALS.items():
        decayed = [p for p in seen.parameters if p.role == role and p.is_pulled_to_zero]
        if decayed:
            decay = max(p.strength_by("weight_decay") for p in decayed)
            mend = (
                f"sw.param_groups(model, weight_decay={decay:g}) puts them into a group with 0"
                if 0 < decay < math.inf
                else "leave them out"
            )
            yield about(decayed, f"decayed_{role}", f"{plural} shrink", mend)


def _held_twice(seen: Seen) -> Iterator[Finding]:
    twice = [p for p in seen.parameters if len(p.groups) > 1]
    for groups in dict.fromkeys(p.groups for p in twice):
        those = [p for p in twice if p.groups == groups]
        message = f"held by {' and '.join(groups)}, each of which steps it"
        yield about(those, "held_twice", message, "put each parameter into one group of one optimiser")


def _tied_apart(seen: Seen) -> Iterator[Finding]:
    for names in seen.sharing:
        message = f"{listed(names)} are two parameters with the same values, and the optimiser steps and shrinks both"
        mend = "tie them as one Parameter (module.weight = other.weight) after loading or moving the model"
        yield Finding("tied_apart", message, mend, names)


def _in_no_group(seen: Seen) -> Iterator[Finding]:
    free = [p for p in seen.parameters if not p.groups and not p.is_frozen]
    if seen.n_optimizers and free:
        yield about(free, "in_no_group", "trained, in no group, and never stepped", "add them to a group")


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
        yield about(moving, "frozen_shrinks", message, "set their grad to None: optimizer.zero_grad(set_to_none=True)")


def _scale_invariant(seen: Seen) -> Iterator[Finding]:
    invariant = [p for p in seen.parameters if p.is_scale_invariant and (p.is_regularised or not seen.n_optimizers)]
    if invariant:
        message = "scale-invariant, doubled it leaves the output as it is"
        mend = (
            "L2 and decay do not make the function simpler there: they only change the effective learning rate; tune both together"
        )
        yield about(invariant, "scale_invariant", message, mend)


def _unknown_kind(seen: Seen) -> Iterator[Finding]:
    unknown = [p for p in seen.parameters if p.role == Role.UNKNOWN and not p.is_frozen]
    for is_decayed in (True, False):
        those = [p for p in unknown if p.is_regularised == is_decayed]
        if those:
            message = f"of unknown kind, and {'shrinks' if is_decayed else 'does not shrink'}"
            yield about(those, "unknown_kind", message, "decide for each whether it should", is_note=not is_decayed)


def _decayed_embedding(seen: Seen) -> Iterator[Finding]:
    embeddings = [p for p in seen.parameters if p.role == Role.EMBEDDING and p.is_regularised]
    # Decay of the rows that a step touches is the mend.
    decayed = [p for p in embeddings if not p.actions or any(action.by != "touched_rows" for action in p.actions)]
    if decayed:
        message = "embeddings shrink, also rows that no batch touches"
        yield about(decayed, "decayed_embedding", message, "sw.param_groups leaves embeddings free", is_note=True)


def _lr_is_zero(seen: Seen) -> Iterator[Finding]:
    still = [p for p in seen.parameters if p.actions and p.lr == 0 and p.declared_shrink == 0 and not p.is_frozen]
    if still:
        message = "the learning rate is 0 at this step, so nothing shrinks now"
        yield about(still, "lr_is_zero", message, "audit again after the warm-up's first step", is_note=True)


CHECKS: tuple[Callable[[Seen], Iterator[Finding]], ...] = (
    _in_no_group,
    _stale,
    _held_twice,
    _tied_apart,
    *shrinking.CHECKS,
    _decayed_roles,
    _frozen_that_shrinks,
    _scale_invariant,
    _unknown_kind,
    _decayed_embedding,
    _lr_is_zero,
)
