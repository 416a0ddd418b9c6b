"""λ from any unit to any other, and whether the two are really the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from shrinkwise.errors import SettingError, UnitError, did_you_mean
from shrinkwise.regularization.strength.units import Unit, carry, find_unit, needed, quantities, require

OptimizerKind = Literal["sgd", "momentum", "adam"]
"""Which optimiser takes the step: plain SGD, SGD with momentum, or Adam and its kin."""

_HALF, _TIMESCALE = find_unit("half"), find_unit("timescale")


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
    lr: float | None = None,
    n_samples: float | None = None,
    batch_size: float | None = None,
    epochs: float | None = None,
    optimizer: OptimizerKind = "sgd",
) -> Conversion:
    """Convert λ between units, the decoupled ones included.

    Under plain SGD a penalty and a decoupled decay are one: both remove lr·lam of the weight in a step (Loshchilov and Hutter,
    "Decoupled Weight Decay Regularization", ICLR 2019, proposition 1). Under Adam no decoupled decay equals a penalty
    (proposition 2), and under momentum the penalty's gradient goes through the velocity and the decay does not; what is given then
    is the one with equal lr·λ. The unit ``adam`` says the optimiser by itself.

    Args:
        value: λ in ``source``: 0 or above; C and τ above 0.
        source: Name of the unit to convert from, see :data:`UNITS`.
        target: Name of the unit to convert to.
        lr: Learning rate, the same on both sides. Where none is needed, the reason then says how much a step removes.
        n_samples: Number of training samples, a whole number.
        batch_size: Samples in a step, a whole number.
        epochs: Length of the run. The reason then says which part of it the decay remembers, and the λs that Wang and Aitchison
            (ICML 2025) would search; that takes ``lr``, ``n_samples`` and ``batch_size``.
        optimizer: The optimiser that takes the step: ``sgd`` without momentum, ``momentum`` for SGD with it, or ``adam``.

    Returns:
        The value in ``target``, whether it is exact, and why.

    Raises:
        SettingError: A number is negative, NaN or infinite, or the optimiser is unknown.
        UnitError: A unit is unknown; quantities that are needed were not given (what cancels is not needed); or λ = 0 is wanted as
            C or τ, which would be infinite.

    >>> convert(0.01, "keras", "torch")
    Conversion(value=0.02, unit='torch', exact=True, why='both are the penalty mean loss + (lam/2)·Σw² with lam = 0.02')
    >>> convert(0.01, "keras", "adamw", optimizer="adam").exact
    False
    >>> convert(4, "per_sample", "sklearn-logistic").value
    0.25
    >>> convert(0.1, "adamw", "timescale", lr=1e-3, n_samples=50_000, batch_size=100).value
    20.0
    """
    if optimizer not in get_args(OptimizerKind):
        mend = did_you_mean(str(optimizer), get_args(OptimizerKind))
        raise SettingError(f"optimizer is {optimizer!r}", "no conversion is known for it", mend)
    old, new = find_unit(source), find_unit(target)
    value = old.check(value)
    known = quantities(lr=lr, n_samples=n_samples, batch_size=batch_size, epochs=epochs)
    require(needed(old, new), known, old, new)
    converted = carry(value, old, new, known)
    # Adam's own unit leaves no choice of optimiser.
    under = "adam" if "adam" in (old.name, new.name) else optimizer
    exact, why = _relation(old, new, under)
    lam = carry(value, old, _HALF, known) if needed(old, _HALF).keys() <= known.keys() else None
    if exact and lam is not None and not (old.is_decoupled or new.is_decoupled):
        why += f" with lam = {lam:g}"
    if "independent" in (old.name, new.name) and "lr" in needed(old, new):
        why += f"; this holds while lr stays {known['lr']:g}, since an independent decay does not follow it"
    is_decay = new.is_decoupled or under == "sgd"
    if is_decay and lam is not None and "lr" in known:
        why += f"; a step at lr = {known['lr']:g} shrinks a weight by lr·λ = {known['lr'] * lam:.4g} of itself"
    if "epochs" in known:
        why += _memory(value, old, new, known) if is_decay else "; a penalty that is no decay has no memory in epochs"
    return Conversion(converted, target, exact, why)


def to_lam(value: float, unit: str, n_samples: int | None = None, batch_size: int | None = None) -> float:
    """Convert λ from a unit to ``lam``: mean loss + (lam/2)·Σw².

    Args:
        value: λ in ``unit``, 0 or above.
        unit: Name of a unit of :data:`UNITS`, a penalty's and not a decoupled one.
        n_samples: Number of training samples; ``per_sample``, ``sklearn-ridge`` and ``sklearn-logistic`` need it.
        batch_size: Samples in a step; ``sklearn-mlp`` needs it.

    Returns:
        ``lam``.

    Raises:
        SettingError: ``value`` is negative, NaN or infinite, or a count is no whole number of 1 or above.
        UnitError: The unit is unknown or decoupled, or needs a quantity that was not given.

    >>> to_lam(0.01, "half"), to_lam(0.01, "sum"), to_lam(20, "per_sample", n_samples=2000)
    (0.01, 0.02, 0.01)
    """
    return _between(value, _coupled(unit), _HALF, n_samples=n_samples, batch_size=batch_size)


def from_lam(lam: float, unit: str, n_samples: int | None = None, batch_size: int | None = None) -> float:
    """Convert ``lam`` to λ in a unit: the inverse of :func:`to_lam`.

    Args:
        lam: Strength in the package's one unit, 0 or above.
        unit: Name of a unit of :data:`UNITS`, a penalty's and not a decoupled one.
        n_samples: Number of training samples; ``per_sample``, ``sklearn-ridge`` and ``sklearn-logistic`` need it.
        batch_size: Samples in a step; ``sklearn-mlp`` needs it.

    Returns:
        λ in ``unit``.

    Raises:
        SettingError: ``lam`` is negative, NaN or infinite, or a count is no whole number of 1 or above.
        UnitError: The unit is unknown or decoupled, or needs a quantity that was not given.

    >>> from_lam(0.02, "keras")
    0.01
    """
    return _between(lam, _HALF, _coupled(unit), n_samples=n_samples, batch_size=batch_size)


def _between(value: float, old: Unit, new: Unit, **given: int | None) -> float:
    value, known = old.check(value), quantities(**given)
    require(needed(old, new), known, old, new)
    return carry(value, old, new, known)


def _coupled(unit: str) -> Unit:
    found = find_unit(unit)
    if found.is_decoupled:
        cause = f"it means {found.formula}, which is a penalty only under plain SGD"
        raise UnitError(f"unit {unit!r} is decoupled", cause, "use convert, which says when that is exact")
    return found


def _relation(old: Unit, new: Unit, under: OptimizerKind) -> tuple[bool, str]:
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
            "momentum gathers a penalty's gradient in the velocity, where it acts 1/(1 − momentum) times in the long run, "
            "and a decoupled decay acts once; this one has equal lr·λ"
        )
    return False, (
        "Adam divides a penalty's gradient by each weight's own gradient scale, so no decoupled decay equals it; "
        "this one has equal lr·λ"
    )


def _memory(value: float, old: Unit, new: Unit, known: Mapping[str, float]) -> str:
    """Say over how many epochs the decay averages, against the length of the run."""
    require(needed(old, _TIMESCALE) | needed(_TIMESCALE, new), known, old, new, _TIMESCALE)
    if value == 0:
        return "; without decay nothing is forgotten"
    epochs, tau = known["epochs"], carry(value, old, _TIMESCALE, known)
    low, high = sorted(carry(end, _TIMESCALE, new, known) for end in (1.0, epochs))
    return (
        f"; the decay remembers τ = {tau:.4g} epochs, {tau / epochs:.3g} of the run's {epochs:g}; τ from 1 epoch to the whole run, "
        f"where Wang and Aitchison search, is {new.symbol} from {low:.4g} to {high:.4g}"
    )
