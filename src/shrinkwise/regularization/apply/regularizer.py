"""Which penalties act, how strongly, and on what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import nn
from torch.nn.parameter import UninitializedParameter

from shrinkwise.errors import ModelError, SettingError, did_you_mean
from shrinkwise.regularization.apply.batch import Term
from shrinkwise.regularization.apply.bound import Bound
from shrinkwise.regularization.apply.unknown import say_unknown
from shrinkwise.regularization.penalties import L1, L2, L2SP, ElasticNet, GroupLasso, MaxNorm, Penalty, check_strength
from shrinkwise.regularization.rules import ApplyTo, Key, Placement, assign, place
from shrinkwise.regularization.strength.schedules import Schedule

Entry = float | Penalty | None
"""A strength, or a penalty where there is more to say, such as its groups; None for nothing."""

Slot = Entry | Mapping[Key, Entry]
"""One entry for the weights, or several by key."""

_KINDS: dict[str, type[Penalty]] = {kind.kind: kind for kind in (L2, L1, ElasticNet, GroupLasso, L2SP, MaxNorm)}


@dataclass(frozen=True)
class Regularizer:
    """Which penalties act, how strongly, and on what: one slot for each kind of penalty, and kinds add up.

    A slot takes a strength, ``lam`` in the package's one unit, or a penalty object where there is more to say; or a mapping from
    keys to these, in which the more specific key decides (see ``assign``); 0 or None exempts (from ``max_norm`` only None does).

    Args:
        l2: (lam/2)·Σw².
        l1: lam·Σ|w|.
        elastic_net: lam·(ratio·Σ|w| + (1−ratio)/2·Σw²); a number has ratio ½.
        group_lasso: lam·Σ_g √size_g·‖w_g‖; a number groups by rows.
        l2_sp: (lam/2)·Σ(w−w⁰)²; a number pulls toward the weights as they are when the regularizer is bound. Where
            training is resumed these are others: give ``L2SP(lam, reference=pretrained.state_dict())`` then.
        max_norm: A constraint: the norm of each row is at most this limit.
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

    def __post_init__(self) -> None:
        for kind in _KINDS:
            _each(getattr(self, kind), lambda entry, kind=kind: _penalty(kind, entry))
        for kind in self._schedules():
            if kind not in _KINDS:
                raise SettingError(f"schedule has the key {kind!r}", "it names no kind of penalty", did_you_mean(kind, _KINDS))

    def bind(self, model: nn.Module, *, inputs: Any = None) -> Bound:
        """Place every parameter of a model once for each kind of penalty.

        Args:
            model: Any module. Parameters that are replaced later are not seen: bind after sharding or loading with ``assign``.
            inputs: What the model's forward takes; then parameters of unknown kind are judged by how they are used.

        Returns:
            The penalties on this model.

        Raises:
            SettingError: A key names nothing in this model, ``apply_to`` is unknown, or reference weights are missing or of another
                shape.
            ModelError: ``model`` is not a module; the parameter of a lazy module has no shape yet; or, where ``strict``, a
                parameter is of unknown kind.

        Warns:
            UnplacedParameterWarning: Parameters of unknown kind stay free.
        """
        placements = place(model, inputs)
        terms = []
        decided: set[int] = set()
        for kind in _KINDS:
            slot = _each(getattr(self, kind), lambda entry, kind=kind: _penalty(kind, entry))
            if slot is not None:
                for placement, penalty in assign(placements, slot, slot=kind, apply_to=self.apply_to):
                    decided.add(id(placement.parameter))
                    if penalty is not None:
                        terms.append(Term(placement, _at(penalty, placement)))
        if self.apply_to == "weights":
            say_unknown(placements, decided, strict=self.strict)
        return Bound(tuple(terms), self._schedules(), placements, self.apply_to)

    def _schedules(self) -> dict[str, Schedule]:
        if self.schedule is None:
            return {}
        if isinstance(self.schedule, Mapping):
            return dict(self.schedule)
        return dict.fromkeys(_KINDS, self.schedule)


def _each(slot: Slot, make: Any) -> Any:
    """Replace each entry of a slot by its penalty."""
    if isinstance(slot, Mapping):
        return {key: make(entry) for key, entry in slot.items()}
    return make(slot)


def _at(penalty: Penalty, placement: Placement) -> Penalty:
    """Return the penalty as it acts on one parameter, which has to exist by now."""
    if isinstance(placement.parameter, UninitializedParameter):
        cause = "the weights of a lazy module exist only after its first input"
        raise ModelError(f"{placement.name} has no shape yet", cause, "run the model once, then bind the regularizer")
    return penalty.at(placement.name, placement.parameter.detach())


def _penalty(kind: str, entry: Entry) -> Penalty | None:
    """Return the penalty that an entry means; None where it means nothing."""
    if isinstance(entry, Penalty):
        if entry.kind != kind:
            raise SettingError(f"{kind} is {entry!r}", f"that penalty is of the kind {entry.kind}", f"give it as {entry.kind}=")
        return entry if entry.is_constraint or entry.strength else None
    if entry is None:
        return None
    strength = check_strength(entry, kind)
    make = cast("Any", _KINDS[kind])
    return cast("Penalty", make(strength)) if strength or _KINDS[kind].is_constraint else None
