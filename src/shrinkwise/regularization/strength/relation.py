"""Which optimiser stands between two units of λ, and what it makes of a penalty and a decay."""

from __future__ import annotations

from typing import Literal, get_args

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.regularization.strength.units import Unit

OptimizerKind = Literal["sgd", "momentum", "adam"]
"""Which optimiser takes the step: plain SGD, SGD with momentum, or Adam and its kin."""


def optimizer_between(old: Unit, new: Unit, said: OptimizerKind | None, momentum: float | None) -> OptimizerKind:
    """Return which optimiser takes the step: the one that is said, else the one that the units name, else plain SGD.

    Args:
        old: The unit to convert from.
        new: The unit to convert to.
        said: The optimiser, where the user names one.
        momentum: Momentum of SGD, where it is given; it says ``momentum`` by itself, and 0 is plain SGD. The unit ``adam``
            leaves no choice and overrules both.

    Raises:
        SettingError: The optimiser is unknown, or has no momentum and is given one.
    """
    names = {old.name, new.name}
    if said is not None and said not in get_args(OptimizerKind):
        mend = did_you_mean(str(said), get_args(OptimizerKind))
        raise SettingError(f"optimizer is {said!r}", "no conversion is known for it", mend)
    if "adam" in names:
        return "adam"
    under = said
    if under is None and momentum is not None:
        under = "momentum"
    elif under is None:
        under = "adam" if old.is_decoupled != new.is_decoupled and names & {"adamw", "timescale"} else "sgd"
    if momentum and under != "momentum":
        cause = "plain SGD has none" if under == "sgd" else "Adam has betas instead, which no conversion needs"
        raise SettingError(f"momentum is {momentum:g} under {under}", cause, "leave it out, or let the optimizer be momentum")
    return "sgd" if under == "momentum" and momentum == 0 else under


def velocity_power(old: Unit, new: Unit, under: OptimizerKind) -> int:
    """Return to which power of 1 − momentum ``lam`` grows from one unit to the other.

    A penalty goes through the velocity and a decay does not, see :func:`~shrinkwise.regularization.strength.convert`.
    """
    return 0 if under != "momentum" else int(old.is_decoupled) - int(new.is_decoupled)


def relation(old: Unit, new: Unit, under: OptimizerKind) -> tuple[bool, str]:
    """Return whether two units can stand for the same training, and why."""
    if old.is_decoupled and new.is_decoupled:
        return True, "both are the same decoupled decay"
    if old.loss and new.loss and old.loss != new.loss:
        return (
            False,
            f"{old.name} penalises {old.loss} and {new.name} {new.loss}, which no one training has; this one has equal lam",
        )
    if not (old.is_decoupled or new.is_decoupled):
        return True, "both are the penalty mean loss + (lam/2)·Σw²"
    if under == "sgd":
        return True, (
            "under plain SGD, without momentum, penalty and decoupled decay both remove lr·lam of the weight in a step; "
            "under momentum or Adam they differ"
        )
    if under == "momentum":
        return False, (
            "momentum carries a penalty's gradient 1/(1 − momentum) times as far, through the velocity, and not a decoupled decay; "
            "the nearest has decay = lam/(1 − momentum): both rest at the same weights, and differ on the way there"
        )
    return False, (
        "Adam divides a penalty's gradient by each weight's own gradient scale, so no decoupled decay equals it; "
        "this one has equal lr·λ"
    )
