"""λ from any unit to any other, and whether the two are really the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shrinkwise.errors import UnitError
from shrinkwise.regularization.strength.relation import OptimizerKind, optimizer_between, relation, velocity_power
from shrinkwise.regularization.strength.units import Unit, carry, find_unit, needed, quantities, require

_HALF, _TIMESCALE = find_unit("half"), find_unit("timescale")


@dataclass(frozen=True)
class Conversion:
    """λ in another unit.

    Attributes:
        value: λ in ``unit``.
        unit: The unit that was asked for.
        exact: Whether training with either is the same training.
        why: The reason, as a sentence.

    ``float()`` of it is its value.
    """

    value: float
    unit: str
    exact: bool
    why: str

    def __float__(self) -> float:
        return self.value


def convert(  # noqa: PLR0913  each is a quantity that some conversion needs
    value: float,
    source: str,
    target: str,
    *,
    lr: float | None = None,
    n_samples: float | None = None,
    batch_size: float | None = None,
    epochs: float | None = None,
    optimizer: OptimizerKind | None = None,
    momentum: float | None = None,
) -> Conversion:
    """Convert λ between units, the decoupled ones included.

    Under plain SGD a penalty and a decoupled decay are one: both remove lr·lam of the weight in a step (Loshchilov and Hutter,
    "Decoupled Weight Decay Regularization", ICLR 2019, proposition 1). Under Adam no decoupled decay equals a penalty
    (proposition 2); what is given then is the one with equal lr·λ.

    Under momentum m no decay equals a penalty either. The velocity v ← m·v + g adds up a steady gradient g to g/(1 − m), so SGD
    with lr goes as far as plain SGD with lr/(1 − m) (Yuan, Ying and Sayed, "On the Influence of Momentum Acceleration on Online
    Learning", JMLR 17, 2016). A penalty goes through the velocity and takes lr·lam/(1 − m) of the weight in a step; a decay does
    not. The nearest decay is then the one with λ = lam/(1 − m): the two rest at the same weights, where the gradient is −lam·w.
    On the way there they differ, most over the first few times 1/(1 − m) steps. All this is so for Nesterov's momentum too, and
    without dampening.

    Args:
        value: λ in ``source``: 0 or above; C and τ above 0.
        source: Name of the unit to convert from, see :data:`UNITS`.
        target: Name of the unit to convert to.
        lr: Learning rate, the same on both sides. Where none is needed, the reason then says how much a step removes.
        n_samples: Number of training samples, a whole number.
        batch_size: Samples in a step, a whole number.
        epochs: Length of the run. The reason then says which part of it the decay remembers, and the λs that Wang and Aitchison
            (ICML 2025) would search; that takes ``lr``, ``n_samples`` and ``batch_size``.
        optimizer: The optimiser that takes the step: ``sgd`` without momentum, ``momentum`` for SGD with it, or ``adam``. Left out,
            it is Adam between a penalty and ``adamw`` or ``timescale``, which name it; else plain SGD. The unit ``adam`` leaves no
            choice.
        momentum: Momentum of SGD, 0 or above and below 1; 0 is plain SGD. Where it is given, ``optimizer`` may be left out. Between
            a penalty and a decay ``optimizer="momentum"`` needs it.

    Returns:
        The value in ``target``, whether it is exact, and why.

    Raises:
        SettingError: A number is out of its range, NaN or infinite; the optimiser is unknown, or has no momentum and is given one.
        UnitError: A unit is unknown; quantities that are needed were not given (what cancels is not needed); or λ = 0 is wanted as
            C or τ, which would be infinite.

    >>> convert(0.01, "keras", "torch")
    Conversion(value=0.02, unit='torch', exact=True, why='both are the penalty mean loss + (lam/2)·Σw² with lam = 0.02')
    >>> convert(0.01, "keras", "adamw").exact, convert(0.01, "keras", "adamw", optimizer="sgd").exact
    (False, True)
    >>> convert(0.01, "torch", "adamw", optimizer="momentum", momentum=0.75).value
    0.04
    >>> convert(4, "per_sample", "sklearn-logistic").value
    0.25
    >>> convert(0.1, "adamw", "timescale", lr=1e-3, n_samples=50_000, batch_size=100).value
    20.0
    """
    old, new = find_unit(source), find_unit(target)
    value = old.check(value)
    known = quantities(lr=lr, n_samples=n_samples, batch_size=batch_size, epochs=epochs, momentum=momentum)
    under = optimizer_between(old, new, optimizer, known.get("momentum"))
    power = velocity_power(old, new, under)
    require(needed(old, new) | ({"momentum": power} if power else {}), known, old, new)
    gain = (1 - known["momentum"]) ** power if power else 1.0
    converted = carry(value, old, new, known, gain)
    exact, why = relation(old, new, under)
    if under == "adam" and optimizer is None and "adam" not in (old.name, new.name):
        why += f"; {(old if old.is_decoupled else new).name} names Adam, and under plain SGD (optimizer sgd) it would be exact"
    lam = carry(value, old, _HALF, known, gain) if needed(old, _HALF).keys() <= known.keys() else None
    if exact and lam is not None and not (old.is_decoupled or new.is_decoupled):
        why += f" with lam = {lam:g}"
    if "independent" in (old.name, new.name) and "lr" in needed(old, new):
        why += f"; this holds while lr stays {known['lr']:g}, since an independent decay does not follow it"
    is_decay = new.is_decoupled or under == "sgd"
    if is_decay and lam is not None and "lr" in known:
        where = "" if new.is_decoupled else "under plain SGD "
        why += f"; {where}a step at lr = {known['lr']:g} shrinks a weight by lr·λ = {known['lr'] * lam:.4g} of itself"
    if "epochs" in known:
        why += _memory(converted, new, known) if is_decay else "; a penalty that is no decay has no memory in epochs"
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


def _memory(value: float, unit: Unit, known: Mapping[str, float]) -> str:
    """Say over how many epochs the decay averages, against the length of the run."""
    require(needed(unit, _TIMESCALE), known, unit, _TIMESCALE)
    if value == 0:
        return "; without decay nothing is forgotten"
    epochs, tau = known["epochs"], carry(value, unit, _TIMESCALE, known)
    low, high = sorted(carry(end, _TIMESCALE, unit, known) for end in (1.0, epochs))
    return (
        f"; the decay remembers τ = {tau:.4g} epochs, {tau / epochs:.3g} of the run's {epochs:g}; τ from 1 epoch to the whole run, "
        f"where Wang and Aitchison search, is {unit.symbol} from {low:.4g} to {high:.4g}"
    )
