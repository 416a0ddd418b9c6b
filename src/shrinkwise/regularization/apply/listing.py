"""What a bound regularizer does to a model, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from shrinkwise.regularization.apply.batch import Term
from shrinkwise.regularization.rules import ApplyTo, Placement, Role, disagreements
from shrinkwise.regularization.rules.fold import listed

_OTHERS: tuple[ApplyTo, ...] = ("huggingface", "timm")


def listing(terms: Sequence[Term], placements: Sequence[Placement], apply_to: ApplyTo) -> str:
    """Return a line for each penalty, for each kind of parameter that is free, and for what other packages would do.

    Args:
        terms: What acts.
        placements: Every parameter of the model.
        apply_to: The choice of parameters, which is held against that of others.
    """
    terms = [term for term in terms if not term.placement.is_frozen]
    acted_on = {term.key for term in terms}
    free = [placement for placement in placements if id(placement.parameter) not in acted_on]
    return "\n".join([*_penalties(terms), *_free(free), *_others(placements, apply_to)])


def _penalties(terms: Sequence[Term]) -> Iterator[str]:
    gathered: dict[tuple[str, float], list[Placement]] = {}
    for term in terms:
        gathered.setdefault((term.kind, term.penalty.strength), []).append(term.placement)
    for (kind, strength), placements in gathered.items():
        yield f"{kind} {strength:g}: {_named(placements)}"


def _free(placements: Sequence[Placement]) -> Iterator[str]:
    """Say what is free, role by role; of a tied embedding, what else it is."""
    trained = [placement for placement in placements if not placement.is_frozen]
    for role in dict.fromkeys(placement.role for placement in trained):
        those = [placement for placement in trained if placement.role is role]
        tied = "; ".join(f"{p.name} is also {', '.join(p.aliases)}" for p in those if p.aliases and role is Role.EMBEDDING)
        yield f"free, {role}: {_named(those)}{f' ({tied})' if tied else ''}"
    frozen = [placement for placement in placements if placement.is_frozen]
    if frozen:
        yield f"frozen: {_named(frozen)}"


def _others(placements: Sequence[Placement], apply_to: ApplyTo) -> Iterator[str]:
    for other in (name for name in _OTHERS if name != apply_to):
        found = disagreements(placements, apply_to, other)
        if more := [one.placement for one in found if one.penalised_by == other]:
            yield f"{other} would also penalise: {_named(more)}"
        if less := [one.placement for one in found if one.penalised_by != other]:
            yield f"{other} would leave free: {_named(less)}"


def _named(placements: Iterable[Placement]) -> str:
    return listed([placement.name for placement in placements])
