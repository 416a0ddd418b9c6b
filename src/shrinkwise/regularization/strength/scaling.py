"""λ carried to another batch size, learning rate, data size, width or number of epochs, with the source of each rule.

The unit says what is kept. A penalty is part of an objective, and the rules keep that objective: the prior on the weights is the
same one. A decoupled decay is an average over past updates, and all its rules but that of epochs keep its length in epochs. None of
them is an optimum; each is where to start a search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shrinkwise.errors import SettingError, UnitError
from shrinkwise.regularization.strength.checks import check_count, check_positive
from shrinkwise.regularization.strength.units import Unit, find_unit


@dataclass(frozen=True)
class ScalingStep:
    """What one quantity did to λ.

    Attributes:
        what: The quantity.
        before: Its value where λ was good.
        after: Its value where λ goes.
        factor: λ in its unit was multiplied by this.
        why: The reason, as a sentence.
        source: Paper, and section where one is meant.
    """

    what: str
    before: float
    after: float
    factor: float
    why: str
    source: str


@dataclass(frozen=True)
class Rescaled:
    """λ at another scale.

    Attributes:
        value: λ in ``unit``.
        unit: The unit that was asked for.
        steps: What each quantity did, in the order of the arguments.
    """

    value: float
    unit: str
    steps: tuple[ScalingStep, ...]


@dataclass(frozen=True)
class _Rule:
    """lam grows as the quantity to the ``power``."""

    power: float
    why: str
    source: str


_KEEP_THE_PRIOR = _Rule(
    -1,
    "the summed loss grows with N and a prior on the weights does not, so its share in the mean loss falls as 1/N",
    "MacKay, Neural Computation 4(3), 1992, where M(w) = β·E_D + α·E_W with summed E_D",
)

_PENALTY_UNDER_SGD: Mapping[str, _Rule] = {
    "batch_size": _Rule(
        0,
        "the objective has no batch size in it; large batches were trained with lr scaled by the batch and weight_decay as it was",
        "Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2.1",
    ),
    "lr": _Rule(
        0,
        "the objective has no learning rate in it; before a normalisation layer only lr·λ counts, and λ as 1/lr would keep that",
        "van Laarhoven, L2 Regularization versus Batch and Weight Normalization, 2017",
    ),
    "n_samples": _KEEP_THE_PRIOR,
    "width": _Rule(
        0,
        "muP leaves lr and weight_decay of hidden matrices alone under SGD as width grows",
        "Yang et al., Tensor Programs V, 2022, and MuSGD in its package mup",
    ),
}

_PENALTY_UNDER_ADAM: Mapping[str, _Rule] = {"n_samples": _KEEP_THE_PRIOR}

_DECAY: Mapping[str, _Rule] = {
    "batch_size": _Rule(
        1,
        "an epoch has fewer steps, and τ = batch/(lr·λ·N) epochs is kept",
        "Wang and Aitchison, ICML 2025; seen in language models by Bergsma et al., Power Lines, NeurIPS 2025",
    ),
    "lr": _Rule(-1, "τ = batch/(lr·λ·N) epochs is kept", "Wang and Aitchison, ICML 2025"),
    "n_samples": _Rule(-1, "an epoch has more steps, and τ = batch/(lr·λ·N) epochs is kept", "Wang and Aitchison, ICML 2025"),
    "width": _Rule(
        1,
        "muP divides the lr of hidden matrices by the width under Adam, and lr·λ is kept",
        "Wang and Aitchison, ICML 2025; Yang et al., Tensor Programs V, 2022, and MuAdamW in its package mup",
    ),
    "epochs": _Rule(
        -0.5,
        "a longer run wants a weaker decay, as one over the square root of its steps",
        "Loshchilov and Hutter, ICLR 2019, appendix B.1",
    ),
}


def rescale(
    value: float,
    unit: str,
    *,
    batch_size: tuple[int, int] | None = None,
    lr: tuple[float, float] | None = None,
    n_samples: tuple[int, int] | None = None,
    width: tuple[int, int] | None = None,
    epochs: tuple[float, float] | None = None,
) -> Rescaled:
    """Carry λ from a setting where it was good to another one, as a start for the search there.

    Each quantity is a pair (before, after); the rules multiply, so name everything that changes. A penalty's unit (SGD) keeps its
    objective: lam goes as 1/N. A decoupled unit keeps its timescale in epochs, where λ of AdamW goes as batch·width/(lr·N); only
    the rule of epochs moves it: λ goes as 1/√epochs, the timescale as √epochs. The unit itself may count a quantity too: C of
    LogisticRegression is on the summed loss, so N leaves it as it is.

    Args:
        value: λ in ``unit``.
        unit: Name of a unit of :data:`UNITS`.
        batch_size: Samples in a step.
        lr: Peak learning rate; under muP the base one, before muP's own factor for the width.
        n_samples: Number of training samples, or tokens.
        width: Width of the hidden layers of a network in muP; λ is that of its hidden matrices.
        epochs: Length of the run.

    Returns:
        λ in ``unit``, and what each quantity did, with its source.

    Raises:
        SettingError: ``value`` or a quantity is not a number that it can be, or is no pair.
        UnitError: The unit is unknown, no sound rule is known for a quantity in it, or the number leaves what a float holds.

    >>> rescale(0.1, "adamw", batch_size=(64, 512), lr=(1e-3, 2e-3)).value
    0.4
    >>> rescale(0.1, "half", batch_size=(64, 512), n_samples=(1000, 2000)).value
    0.05
    >>> rescale(20, "timescale", batch_size=(64, 512), lr=(1e-3, 2e-3), n_samples=(1000, 2000), width=(64, 256)).value
    20.0
    >>> rescale(20, "timescale", epochs=(10, 40)).value
    40.0
    """
    found = find_unit(unit)
    scaled = found.check(value)
    pairs = {"batch_size": batch_size, "lr": lr, "n_samples": n_samples, "width": width, "epochs": epochs}
    rules, steps = _rules(found), []
    for what, given in pairs.items():
        if given is None:
            continue
        before, after = _pair(what, given)
        if what not in rules:
            raise UnitError(f"{what} in unit {found.name}", *_NO_RULE["epochs" if what == "epochs" else "adam"])
        step = _step(found, rules[what], what, before, after)
        scaled *= step.factor
        steps.append(step)
    if value != 0 and not 0 < scaled < float("inf"):
        raise UnitError(f"{value:g} of {found.name} at that scale", "the number is beyond what a float holds", "check the numbers")
    return Rescaled(scaled, unit, tuple(steps))


_NO_RULE = {
    "epochs": (
        "no rule is known for a penalty, since early stopping does part of its work (Goodfellow, Bengio and Courville, "
        "Deep Learning, 2016, section 7.8), and how much is not known beforehand",
        "search λ anew for the longer run",
    ),
    "adam": (
        "Adam rescales a penalty's gradient by the data's gradients, and how those change with it is not known beforehand",
        "search λ anew, or use the decoupled unit adamw",
    ),
}


def _rules(unit: Unit) -> Mapping[str, _Rule]:
    if unit.is_decoupled:
        return _DECAY
    return _PENALTY_UNDER_ADAM if unit.name == "adam" else _PENALTY_UNDER_SGD


def _step(unit: Unit, rule: _Rule, what: str, before: float, after: float) -> ScalingStep:
    # A unit that has lr in it has the lr of the hidden matrices in it, which muP divides by the width.
    own = -unit.powers.get("lr", 0) if what == "width" else unit.powers.get(what, 0)
    power = (own - rule.power) if unit.is_inverse else (rule.power - own)
    why = rule.why + (f"; {unit.name} itself has {'the lr, and so the width' if what == 'width' else what} in it" if own else "")
    return ScalingStep(what, before, after, (after / before) ** power, why, rule.source)


def _pair(what: str, given: object) -> tuple[float, float]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise SettingError(f"{what} is {given!r}", "λ goes from one value to another", f"give a pair: {what}=(before, after)")
    check = check_positive if what in ("lr", "epochs") else check_count
    return check(given[0], what), check(given[1], what)
