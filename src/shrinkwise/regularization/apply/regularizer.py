"""Which penalties act, how strongly, and on what."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from torch import nn
from torch.nn.parameter import UninitializedParameter

from shrinkwise.errors import ModelError, SettingError, UnplacedParameterWarning, did_you_mean
from shrinkwise.regularization.apply.batch import Term
from shrinkwise.regularization.apply.bound import Bound
from shrinkwise.regularization.apply.schedule import check_schedule
from shrinkwise.regularization.apply.unknown import say_unknown
from shrinkwise.regularization.penalties import L1, L2, L2SP, ElasticNet, GroupLasso, MaxNorm, Penalty, check_strength
from shrinkwise.regularization.rules import ApplyTo, Key, Placement, Role, assign, place
from shrinkwise.regularization.strength.schedules import Schedule

Entry = float | Penalty | None
"""A strength, or a penalty where there is more to say, such as its groups; None for nothing."""

Slot = Entry | Mapping[Key, Entry]
"""One entry for the weights, or several by key."""

_KINDS: dict[str, type[Penalty]] = {kind.kind: kind for kind in (L2, L1, ElasticNet, GroupLasso, L2SP, MaxNorm)}


@dataclass(frozen=True, repr=False)
class Regularizer:
    """Which penalties act, how strongly, and on what: one slot for each kind of penalty, and kinds add up.

    A slot takes a strength, ``lam`` in the package's one unit, or a penalty object where there is more to say; or a mapping from
    keys to these, in which the more specific key decides (see ``assign``); 0 or None exempts (from ``max_norm`` only None does).

    Args:
        l2: (lam/2)·Σw².
        l1: lam·Σ|w|.
        elastic_net: lam·(ratio·Σ|w| + (1−ratio)/2·Σw²); a number has ratio ½.
        group_lasso: lam·Σ_g √size_g·‖w_g‖; a number groups by units.
        l2_sp: (lam/2)·Σ(w−w⁰)²; a number pulls toward the weights as they are when the regularizer is bound. Where
            training is resumed these are others: give ``L2SP(lam, reference=pretrained.state_dict())`` then.
        max_norm: A constraint: the norm of each unit's incoming weights is at most this limit.
        apply_to: What a bare strength and a key that names modules mean: ``weights``, ``all``, or a preset's name.
        schedule: A factor on every strength over the steps, or one for each kind: see ``shrinkwise.schedules``.
        strict: Whether a parameter of unknown kind is an error, and not a warning.

    Raises:
        SettingError: A strength is negative, NaN or infinite; a penalty is in a slot of another kind; a schedule names no slot.

    >>> model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    >>> bound = Regularizer(l2=0.1, l1={"1": 0.01}).bind(model)
    >>> [(term.kind, term.placement.name, term.penalty.strength) for term in bound.terms]
    [('l2', '0.weight', 0.1), ('l2', '1.weight', 0.1), ('l1', '1.weight', 0.01)]
    """

    l2: Slot = None
    l1: Slot = None
    elastic_net: Slot = None
    group_lasso: Slot = None
    l2_sp: Slot = None
    max_norm: Slot = None
    apply_to: ApplyTo = "weights"
    schedule: Schedule | Mapping[str, Schedule] | None = None
    strict: bool = False

    def __repr__(self) -> str:
        given = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if getattr(self, each.name) != each.default)
        return f"Regularizer({', '.join(given)})"

    def __post_init__(self) -> None:
        for kind in _KINDS:
            self._entries(kind)
        if isinstance(self.schedule, Mapping):
            for kind, schedule in self.schedule.items():
                self._check_scheduled(kind)
                check_schedule(schedule, f"schedule[{kind!r}]")
        elif self.schedule is not None:
            check_schedule(self.schedule, "schedule")

    def bind(self, model: nn.Module, *, inputs: Any = None) -> Bound:
        """Place every parameter of a model once for each kind of penalty.

        Args:
            model: Any module. Parameters that are replaced later are not seen: bind after sharding or loading with ``assign``.
                Frozen ones are penalised from the step on at which they are trained.
            inputs: What the model's forward takes; then parameters of unknown kind are judged by how they are used.

        Returns:
            The penalties on this model.

        Raises:
            SettingError: A key names nothing in this model, ``apply_to`` is unknown, reference weights are missing or of another
                shape, or a penalty would act on a part of a parametrised weight as if it were the weight.
            ModelError: ``model`` is not a module, or was not run yet and has lazy layers; or, where ``strict``, a parameter is of
                unknown kind.

        Warns:
            UnplacedParameterWarning: Parameters of unknown kind stay free, or a penalty acts on nothing.
        """
        placements = place(model, inputs)
        terms: list[Term] = []
        decided: set[int] = set()
        for kind in _KINDS:
            entries = self._entries(kind)
            if entries is not None:
                assigned = assign(placements, entries, slot=kind, apply_to=self.apply_to, frozen=True)
                decided |= {id(placement.parameter) for placement, _ in assigned}
                terms += [_term(placement, penalty) for placement, penalty in assigned if penalty is not None]
        slots = [getattr(self, kind) for kind in _KINDS]
        is_said = say_unknown(placements, decided, slots, apply_to=self.apply_to, strict=self.strict)
        for kind in _KINDS:
            if _acts(self._entries(kind)) and not any(term.kind == kind for term in terms) and not is_said:
                said = (
                    f"{kind} acts on nothing in this {type(model).__name__}: it has no parameter of the kind. See sw.place(model)."
                )
                warnings.warn(said, UnplacedParameterWarning, stacklevel=2)
        return Bound(model, placements, tuple(terms), self._schedules(), self.apply_to)

    def _entries(self, kind: str) -> Any:
        """Return a slot with each entry replaced by its penalty; None where it is empty."""
        slot = getattr(self, kind)
        if isinstance(slot, Mapping):
            return {key: _penalty(kind, entry, f"{kind}[{key!r}]") for key, entry in slot.items()}
        return _penalty(kind, slot, kind)

    def _schedules(self) -> dict[str, Schedule]:
        if self.schedule is None or isinstance(self.schedule, Mapping):
            return dict(self.schedule or {})
        return {kind: self.schedule for kind, penalty in _KINDS.items() if not penalty.is_constraint}

    def _check_scheduled(self, kind: str) -> None:
        if kind not in _KINDS:
            raise SettingError(f"schedule has the key {kind!r}", "it names no kind of penalty", did_you_mean(kind, _KINDS))
        if _KINDS[kind].is_constraint:
            raise SettingError(f"schedule has the key {kind!r}", "a limit is no strength to be multiplied", "leave it out")
        if getattr(self, kind) is None:
            raise SettingError(
                f"schedule has the key {kind!r}", "this regularizer has no penalty of that kind", f"give {kind}= too"
            )


def _acts(entries: Any) -> bool:
    return any(entries.values()) if isinstance(entries, Mapping) else entries is not None


def _term(placement: Placement, penalty: Penalty) -> Term:
    """Return a penalty on one parameter, told what it has to know of it."""
    if placement.parametrised_by and placement.role is Role.WEIGHT and not penalty.is_of_norms:
        cause = f"{placement.parametrised_by} makes the weight from it, and {penalty.kind} of the one is not that of the other"
        mend = f"use l2 there, or leave it out: {{'weights': ..., {placement.tensors[0]!r}: 0}}"
        raise SettingError(f"{penalty.kind} on {placement.tensors[0]}", cause, mend)
    if isinstance(placement.parameter, UninitializedParameter):
        cause = "the weights of a lazy module exist only after its first input"
        raise ModelError(f"{placement.name} has no shape yet", cause, "run the model once, then bind the regularizer")
    return Term(placement, penalty.at(placement.name, placement.parameter.detach(), placement.unit_dims))


def _penalty(kind: str, entry: Entry, name: str) -> Penalty | None:
    """Return the penalty that an entry means; None where it means nothing."""
    if isinstance(entry, Penalty):
        if entry.kind != kind:
            raise SettingError(f"{name} is {entry!r}", f"that penalty is of the kind {entry.kind}", f"give it as {entry.kind}=")
        return entry if entry.is_constraint or entry.strength else None
    if entry is None:
        return None
    strength = check_strength(entry, name)
    make = cast("Any", _KINDS[kind])
    return cast("Penalty", make(strength)) if strength or _KINDS[kind].is_constraint else None
