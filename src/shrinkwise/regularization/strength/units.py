"""The ways of writing λ, as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from shrinkwise.errors import SettingError, UnitError, did_you_mean
from shrinkwise.regularization.penalties import check_strength

Quantities = Mapping[str, float]
"""Name -> value of what a unit may need beside λ, such as ``n_samples``."""


@dataclass(frozen=True)
class Unit:
    """One way of writing λ.

    Attributes:
        name: Its name in code and on the command line.
        formula: What is minimised, or done in a step, as a line of text.
        source: Who writes it so.
        to_lam: λ in this unit, and the quantities needed -> ``lam``. ``from_lam`` is its inverse.
        from_lam: ``lam``, and the quantities needed -> λ in this unit.
        aliases: Other names.
        needs: Names of the quantities that the conversion needs.
        is_decoupled: Whether the weight is shrunk beside the gradient step; such a unit equals a penalty only under plain SGD.
    """

    name: str
    formula: str
    source: str
    to_lam: Callable[[float, Quantities], float]
    from_lam: Callable[[float, Quantities], float]
    aliases: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    is_decoupled: bool = False


_ALL = (
    Unit(
        "half",
        "mean loss + (λ/2)·Σw²",
        "weight_decay of torch.optim.SGD; the package's own unit",
        to_lam=lambda value, known: value,
        from_lam=lambda lam, known: lam,
        aliases=("torch",),
    ),
    Unit(
        "sum",
        "mean loss + λ·Σw²",
        "Keras regularizers.L2, Lasagne",
        to_lam=lambda value, known: 2 * value,
        from_lam=lambda lam, known: lam / 2,
        aliases=("keras",),
    ),
    Unit(
        "per_sample",
        "mean loss + λ/(2N)·Σw², N training samples",
        "textbooks; the prior precision of a Laplace approximation",
        to_lam=lambda value, known: value / known["n_samples"],
        from_lam=lambda lam, known: lam * known["n_samples"],
        needs=("n_samples",),
    ),
    Unit(
        "adamw",
        "w ← w − lr·λ·w in each step, beside the gradient step",
        "weight_decay of AdamW in torch, Optax and Keras (Loshchilov and Hutter, ICLR 2019)",
        to_lam=lambda value, known: value,
        from_lam=lambda lam, known: lam,
        is_decoupled=True,
    ),
)

UNITS: Mapping[str, Unit] = MappingProxyType({unit.name: unit for unit in _ALL})
"""Name -> unit; aliases are looked up by :func:`find_unit`."""

_BY_ANY_NAME = {name: unit for unit in _ALL for name in (unit.name, *unit.aliases)}


def find_unit(name: str) -> Unit:
    """Return the unit with that name or alias.

    Raises:
        UnitError: There is none.

    >>> find_unit("keras").formula
    'mean loss + λ·Σw²'
    """
    if name not in _BY_ANY_NAME:
        raise UnitError(f"unit {name!r}", "there is no such unit of λ", did_you_mean(str(name), _BY_ANY_NAME))
    return _BY_ANY_NAME[name]


def to_lam(value: float, unit: str, n_samples: int | None = None) -> float:
    """Convert λ from a unit to ``lam``: mean loss + (lam/2)·Σw².

    Args:
        value: λ in ``unit``, 0 or above.
        unit: Name of a unit of :data:`UNITS`, a penalty's and not a decoupled one.
        n_samples: Number of training samples; ``per_sample`` needs it.

    Returns:
        ``lam``.

    Raises:
        SettingError: ``value`` is negative, NaN or infinite, or ``n_samples`` is not positive.
        UnitError: The unit is unknown or decoupled, or needs a quantity that was not given.

    >>> to_lam(0.01, "half"), to_lam(0.01, "sum"), to_lam(20, "per_sample", n_samples=2000)
    (0.01, 0.02, 0.01)
    """
    found = _coupled(unit)
    return found.to_lam(check_strength(value, "λ"), quantities(found, n_samples))


def from_lam(lam: float, unit: str, n_samples: int | None = None) -> float:
    """Convert ``lam`` to λ in a unit: the inverse of :func:`to_lam`.

    Args:
        lam: Strength in the package's one unit, 0 or above.
        unit: Name of a unit of :data:`UNITS`, a penalty's and not a decoupled one.
        n_samples: Number of training samples; ``per_sample`` needs it.

    Returns:
        λ in ``unit``.

    Raises:
        SettingError: ``lam`` is negative, NaN or infinite, or ``n_samples`` is not positive.
        UnitError: The unit is unknown or decoupled, or needs a quantity that was not given.

    >>> from_lam(0.02, "keras")
    0.01
    """
    found = _coupled(unit)
    return found.from_lam(check_strength(lam, "lam"), quantities(found, n_samples))


def quantities(unit: Unit, n_samples: int | None) -> Quantities:
    """Return what ``unit`` needs beside λ, by name.

    Raises:
        SettingError: A quantity that was given is not positive.
        UnitError: A quantity that is needed was not given.
    """
    given = {name: check_positive(value, name) for name, value in {"n_samples": n_samples}.items() if value is not None}
    for name in unit.needs:
        if name not in given:
            raise UnitError(f"unit {unit.name!r} without {name}", f"it means {unit.formula}", f"give {name}")
    return given


def check_positive(value: float, name: str) -> float:
    """Return ``value``, if it is a positive, finite number.

    Raises:
        SettingError: It is not.
    """
    if not (math.isfinite(value) and value > 0):
        raise SettingError(f"{name} is {value!r}", "it has to be positive and finite", "give a positive number")
    return value


def _coupled(unit: str) -> Unit:
    found = find_unit(unit)
    if found.is_decoupled:
        cause = f"it means {found.formula}, which is a penalty only under plain SGD"
        raise UnitError(f"unit {unit!r} is decoupled", cause, "use convert, which says when that is exact")
    return found
