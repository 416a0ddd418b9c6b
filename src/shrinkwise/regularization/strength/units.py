"""The ways of writing λ, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from shrinkwise.errors import UnitError, did_you_mean
from shrinkwise.regularization.penalties import check_strength
from shrinkwise.regularization.strength.checks import check_count, check_momentum, check_positive


@dataclass(frozen=True)
class Unit:
    """One way of writing λ: ``lam = factor · value · Π quantity^power``, or that with 1/value where the unit is inverse.

    ``lam`` is the strength in the package's own unit, mean loss + (lam/2)·Σw²; for a decoupled unit it is the λ of AdamW, which
    shrinks a weight by lr·lam of itself in a step.

    Attributes:
        name: Its name in code and on the command line.
        formula: What is minimised, or done in a step, as a line of text.
        source: Who writes it so.
        factor: See above.
        powers: Quantity -> power, see above; what is not named has power 0.
        symbol: What its number is called.
        loss: The loss that it belongs to, where it is of one estimator.
        aliases: Other names.
        is_inverse: Whether a larger number means a weaker penalty.
        is_decoupled: Whether the weight is shrunk beside the gradient step; such a unit equals a penalty only under plain SGD.
    """

    name: str
    formula: str
    source: str
    factor: float = 1.0
    powers: Mapping[str, int] = field(default_factory=dict)
    symbol: str = "λ"
    loss: str = ""
    aliases: tuple[str, ...] = ()
    is_inverse: bool = False
    is_decoupled: bool = False

    def check(self, value: object) -> float:
        """Return ``value`` as a float, if it can be a number of this unit.

        Raises:
            SettingError: It is negative, NaN or infinite, or 0 in an inverse unit.
        """
        return check_positive(value, self.symbol) if self.is_inverse else check_strength(value, self.symbol)


_ALL = (
    Unit(
        "half",
        "mean loss + (λ/2)·Σw²",
        "weight_decay of torch.optim.SGD; the package's own unit",
        aliases=("torch",),
    ),
    Unit("sum", "mean loss + λ·Σw²", "Keras regularizers.L2, Lasagne", factor=2, aliases=("keras",)),
    Unit(
        "per_sample",
        "mean loss + λ/(2N)·Σw², N training samples",
        "textbooks; the prior precision of a Laplace approximation",
        powers={"n_samples": -1},
    ),
    Unit("adam", "mean loss + (λ/2)·Σw², which Adam then rescales", "weight_decay of Adam in torch: a penalty, not a decay"),
    Unit(
        "adamw",
        "w ← w − lr·λ·w in each step, beside the gradient step",
        "weight_decay of AdamW in torch, Optax and Keras (Loshchilov and Hutter, ICLR 2019), and of every optimiser of Keras",
        is_decoupled=True,
    ),
    Unit(
        "independent",
        "w ← w − λ·w in each step, beside the gradient step, whatever lr is",
        "the decay that Loshchilov and Hutter (ICLR 2019, algorithm 2) wrote, with no schedule",
        powers={"lr": -1},
        is_decoupled=True,
    ),
    Unit(
        "sklearn-mlp",
        "mean loss + λ/(2·batch)·Σw², batch samples in each step",
        "alpha of scikit-learn's MLPClassifier",
        powers={"batch_size": -1},
        loss="cross-entropy",
    ),
    Unit(
        "sklearn-ridge",
        "summed squared error + λ·Σw², against torch's mean of squares over N samples of one output",
        "alpha of scikit-learn's Ridge",
        factor=2,
        powers={"n_samples": -1},
        loss="squared error",
    ),
    Unit(
        "sklearn-logistic",
        "C·summed loss + (1/2)·Σw², over N training samples",
        "C of scikit-learn's LogisticRegression",
        powers={"n_samples": -1},
        symbol="C",
        loss="cross-entropy",
        is_inverse=True,
    ),
    Unit(
        "timescale",
        "AdamW with lr·λ = batch/(τ·N): the weights are an average over the updates of the last τ epochs",
        "Wang and Aitchison, ICML 2025",
        powers={"batch_size": 1, "lr": -1, "n_samples": -1},
        symbol="τ",
        is_inverse=True,
        is_decoupled=True,
    ),
)

UNITS: Mapping[str, Unit] = MappingProxyType({unit.name: unit for unit in _ALL})
"""Name -> unit; aliases are looked up by :func:`find_unit`."""

_BY_ANY_NAME = {name: unit for unit in _ALL for name in (unit.name, *unit.aliases)}


def find_unit(name: str) -> Unit:
    """Return the unit with that name or alias, in capitals or not.

    Raises:
        UnitError: There is none.

    >>> find_unit("keras").formula
    'mean loss + λ·Σw²'
    >>> find_unit("AdamW").name
    'adamw'
    """
    unit = _BY_ANY_NAME.get(name.lower()) if isinstance(name, str) else None
    if unit is None:
        raise UnitError(f"unit {name!r}", "there is no such unit of λ", did_you_mean(str(name), _BY_ANY_NAME))
    return unit


def needed(old: Unit, new: Unit) -> dict[str, int]:
    """Return what a conversion needs beside λ: quantity -> its power in it. What cancels is not there.

    >>> needed(find_unit("per_sample"), find_unit("sklearn-logistic"))
    {}
    >>> needed(find_unit("independent"), find_unit("timescale"))
    {'batch_size': -1, 'n_samples': 1}
    """
    powers = {name: old.powers.get(name, 0) - new.powers.get(name, 0) for name in (*old.powers, *new.powers)}
    return {name: power for name, power in powers.items() if power}


def carry(value: float, old: Unit, new: Unit, known: Mapping[str, float], gain: float = 1.0) -> float:
    """Return λ in the unit ``new``.

    Args:
        value: λ in the unit ``old``, checked.
        old: The unit to convert from.
        new: The unit to convert to.
        known: Quantity -> value, positive; holds what is :func:`needed`.
        gain: What ``lam`` is multiplied by on the way, positive.

    Raises:
        UnitError: There is no penalty and ``new`` has no finite number for that, or the number is beyond what a float holds.
    """
    if value == 0:
        if new.is_inverse:
            raise UnitError(
                f"λ is 0 and wanted in {new.name}", f"{new.symbol} would be infinite", "train without a penalty or decay instead"
            )
        return 0.0
    size = gain * old.factor / new.factor * (1 / value if old.is_inverse else value)
    for name, power in needed(old, new).items():
        size = size * known[name] ** power if power > 0 else size / known[name] ** -power
    converted = (1 / size if size else float("inf")) if new.is_inverse else size
    if not 0 < converted < float("inf"):
        raise UnitError(
            f"{old.symbol} = {value:g} of {old.name} in {new.name}", "the number is beyond what a float holds", "check the numbers"
        )
    return converted


def quantities(**given: object) -> dict[str, float]:
    """Return the quantities that were given, checked: name -> number. None stands for one that was not.

    Raises:
        SettingError: One is not positive and finite, is a count and not whole, or is a momentum and not in [0, 1).
    """
    checks = {"n_samples": check_count, "batch_size": check_count, "momentum": check_momentum}
    return {name: checks.get(name, check_positive)(value, name) for name, value in given.items() if value is not None}


def require(names: Mapping[str, int], known: Mapping[str, float], *units: Unit) -> None:
    """Ask by name for every quantity that is needed and not known, all in one message.

    Args:
        names: Quantities that are needed.
        known: Quantities that were given.
        units: Between which units; those that speak of what is missing are explained.

    Raises:
        UnitError: One or more are missing.
    """
    missing = sorted(name for name in names if name not in known)
    if missing:
        listed = " and ".join(filter(None, [", ".join(missing[:-1]), missing[-1]]))
        speaking = {unit.name: unit for unit in units if not unit.powers.keys().isdisjoint(missing)}
        causes = [f"{unit.name} means {unit.formula}" for unit in speaking.values()]
        if "momentum" in missing:
            causes.append("momentum carries a penalty 1/(1 − momentum) times as far as a decay")
        cause = "; ".join(causes)
        raise UnitError(f"{' to '.join(unit.name for unit in units)} without {listed}", cause, f"give {listed}")
