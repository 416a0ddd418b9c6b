"""λ from any unit to any other, and whether the two are really the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.regularization.penalties import check_strength
from shrinkwise.regularization.strength.units import Unit, check_positive, find_unit, quantities

OptimizerKind = Literal["sgd", "adam"]
"""Which optimiser takes the step on the coupled side of a conversion; ``sgd`` is without momentum."""


@dataclass(frozen=True)
class Conversion:
    """λ in another unit.

    Attributes:
        value: λ in ``unit``.
        unit: The unit that was asked for.
        exact: Whether training with either is the same training.
        why: The reason, as a sentence.
    """

    value: float
    unit: str
    exact: bool
    why: str


def convert(
    value: float,
    source: str,
    target: str,
    *,
    n_samples: int | None = None,
    lr: float | None = None,
    optimizer: OptimizerKind = "sgd",
) -> Conversion:
    """Convert λ between units, the decoupled one included.

    Under plain SGD a penalty and a decoupled decay are one: both remove lr·lam of the weight in a step (Loshchilov and Hutter,
    "Decoupled Weight Decay Regularization", ICLR 2019, proposition 1). Under Adam no decoupled decay equals a penalty
    (proposition 2); what is given then is the one with equal lr·λ.

    Args:
        value: λ in ``source``, 0 or above.
        source: Name of the unit to convert from, see :data:`UNITS`.
        target: Name of the unit to convert to.
        n_samples: Number of training samples; ``per_sample`` needs it.
        lr: Learning rate, the same on both sides. The value does not depend on it; the reason then says how much a step removes.
        optimizer: The optimiser that takes the step where one unit is coupled and the other decoupled.

    Returns:
        The value in ``target``, whether it is exact, and why.

    Raises:
        SettingError: A number is negative, NaN or infinite, or the optimiser is unknown.
        UnitError: A unit is unknown, or needs a quantity that was not given.

    >>> convert(0.01, "keras", "torch")
    Conversion(value=0.02, unit='torch', exact=True, why='both are the penalty mean loss + (lam/2)·Σw² with lam = 0.02')
    >>> convert(0.01, "keras", "adamw", optimizer="adam").exact
    False
    """
    if optimizer not in get_args(OptimizerKind):
        mend = did_you_mean(str(optimizer), get_args(OptimizerKind))
        raise SettingError(f"optimizer is {optimizer!r}", "no conversion is known for it", mend)
    if lr is not None:
        check_positive(lr, "lr")
    old, new = find_unit(source), find_unit(target)
    lam = old.to_lam(check_strength(value, "λ"), quantities(old, n_samples))
    converted = new.from_lam(lam, quantities(new, n_samples))
    exact, why = _reason(old, new, lam, optimizer)
    if lr is not None and (optimizer == "sgd" or new.is_decoupled):
        why += f"; a step at lr = {lr:g} shrinks a weight by lr·λ = {lr * lam:.4g} of itself"
    return Conversion(converted, target, exact, why)


def _reason(old: Unit, new: Unit, lam: float, optimizer: OptimizerKind) -> tuple[bool, str]:
    if old.is_decoupled and new.is_decoupled:
        return True, "both are the same decoupled decay"
    if not (old.is_decoupled or new.is_decoupled):
        return True, f"both are the penalty mean loss + (lam/2)·Σw² with lam = {lam:g}"
    if optimizer == "sgd":
        return True, "under plain SGD, without momentum, penalty and decoupled decay both remove lr·lam of the weight in a step"
    return False, (
        "Adam divides a penalty's gradient by each weight's own gradient scale, so no decoupled decay equals it; "
        "this one has equal lr·λ"
    )
