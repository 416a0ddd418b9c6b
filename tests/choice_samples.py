"""Choices made by hand for the tests of their report: plausible numbers, seeded, nothing trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

import report_samples
from shrinkwise.experiments.records import Condition, Status, Variant
from shrinkwise.experiments.selection.choice import Choice, Cost, CurvePoint, Seen, Step
from shrinkwise.experiments.selection.layers import LayerSensitivity, LayerStrength
from shrinkwise.experiments.study import Study

EVIL = report_samples.EVIL
NAN = math.nan
LAMS = (0.0, *(float(f"{lam:.3g}") for lam in np.geomspace(1e-6, 1, 49)))
STUDY = replace(
    report_samples.STUDY, command="shrinkwise tune --data digits --classes 0-4 --around 0.01", primary_metric="accuracy"
)


@dataclass(frozen=True)
class Sample:
    """One case of the report, with what else is handed to it."""

    choice: Choice
    study: Study
    beside: dict = field(default_factory=dict)


def truth(lam: float, lr: float = 0.05) -> float:
    """Return a loss that falls to its least at λ = 0.02 · 0.05 / lr and rises steeply beyond."""
    x = math.log10(max(lam, 1e-7)) - math.log10(0.02 * 0.05 / lr)
    return (0.24 - 0.1 * math.exp(-((x / 1.3) ** 2)) + 0.9 / (1 + math.exp(-6 * (x - 1.2)))) * (
        1 + 0.1 * abs(math.log10(lr / 0.05))
    )


def searched(seeds: int = 8, rounds: int = 4, first: float = 1e-6) -> Choice:
    """Four runs a seed, closing in on 0.02; strong penalties collapse; one run diverges and one fails."""
    rng = np.random.default_rng(3)
    luck = rng.normal(0, 0.12, seeds)
    lams = np.array(LAMS[1:])
    runs, path = [], []
    for number in range(rounds):
        wide = 10.0 ** (-1.1 * number)
        low, high = max(first, 0.02 * 1e-4 / wide * 10 ** (number / 2) if number == 0 else 0.02 * wide), min(1.0, 0.02 / wide)
        low, high = (first, 1.0) if number == 0 else (0.02 * 10 ** (-1.5 / number), 0.02 * 10 ** (1.2 / number))
        picked = 10 ** rng.uniform(math.log10(low), math.log10(high), seeds)
        wanted = []
        for seed in range(seeds):
            lam = 0.0 if number == 0 and seed == 0 else float(lams[np.abs(np.log(lams / picked[seed])).argmin()])
            wanted.append((Variant(l2=lam, dropout=0), seed))
            loss = truth(lam) * math.exp(luck[seed] + rng.normal(0, 0.02))
            status = {(0, 3): Status.DIVERGED, (1, 2): Status.FAILED}.get((number, seed), Status.DONE)
            is_collapsed = status is Status.DONE and lam > 0.4
            value = NAN if status is not Status.DONE else 1.61 if is_collapsed else loss
            runs.append(Seen(wanted[-1][0], seed, value, status, is_collapsed, 540 * 30, 0.4))
        width = 10 ** (1.4 / (number + 1))
        path.append(
            Step(tuple(wanted), 0.02 * (1 + 0.5 / (number + 1)), 0.0 if number == 0 else 0.02 / width, 0.02 * width, _why(number))
        )
    return Choice(
        method="search",
        variant=Variant(l2=0.0178, dropout=0),
        lam=0.0178,
        unit="half",
        low=0.0056,
        high=0.056,
        reason="The expected loss is least at 0.0178, 18 % (90 % interval 12 to 24 %) below that of the default.",
        at_boundary=False,
        keeps_default=False,
        curve=curve(),
        cost=Cost(seeds, len(runs), 540 * 30 * len(runs), 0.4 * len(runs)),
        runs=tuple(runs),
        path=tuple(path),
        notes=("One run failed and says nothing: ValueError: no such file.",),
        default=0.001,
    )


def curve(lr: float = 0.05) -> tuple[CurvePoint, ...]:
    def width(lam: float) -> float:
        return 0.03 + 0.03 * abs(math.log10(max(lam, 1e-7) / 0.02))

    return tuple(
        CurvePoint(lam, truth(lam, lr), truth(lam, lr) * (1 - width(lam)), truth(lam, lr) * (1 + width(lam))) for lam in LAMS
    )


def _why(number: int) -> str:
    return "a first look: strengths spread over the seeds" if number == 0 else "where the least loss may lie"


def search() -> Sample:
    """The whole page: confirmation, layers and sensitivities too."""
    return Sample(searched(), STUDY, {"confirmation": confirmation(), "layers": LAYERS, "sensitivities": SENSITIVITIES})


def kept() -> Sample:
    """Nothing to gain: the default is kept, and it is no penalty at all."""
    choice = searched()
    flat = tuple(replace(point, loss=0.2, low=0.19, high=0.21) for point in choice.curve)
    runs = tuple(replace(run, loss=0.2 + 0.01 * math.sin(k)) for k, run in enumerate(choice.runs) if not run.is_bad)
    return Sample(
        replace(
            choice,
            keeps_default=True,
            lam=0.0,
            low=0.0,
            high=0.1,
            variant=Variant(l2=0, dropout=0),
            default=0.0,
            curve=flat,
            runs=runs,
            reason="No λ is better than 0 beyond noise.",
        ),
        STUDY,
    )


def one_seed() -> Sample:
    choice = searched(seeds=1, rounds=3)
    return Sample(replace(choice, at_boundary=True, lam=1.0, variant=Variant(l2=1.0, dropout=0)), STUDY)


def joint() -> Sample:
    """λ and learning rate together: three curves, whose best λ falls as the rate rises."""
    choice = searched()
    rates = (0.05, 0.15, 0.5)
    runs = tuple(replace(run, variant=Variant(**run.variant, lr=rates[k % 3])) for k, run in enumerate(choice.runs))
    path = tuple(
        replace(
            step, runs=tuple((Variant(**variant, lr=rates[(k + seed) % 3]), seed) for k, (variant, seed) in enumerate(step.runs))
        )
        for step in choice.path
    )
    curves = tuple((Variant(lr=rate), curve(rate)) for rate in rates)
    return Sample(replace(choice, variant=Variant(**choice.variant, lr=0.05), runs=runs, path=path, curves=curves), STUDY)


def accuracy() -> Sample:
    """A metric of which more is better: losses are its values with the sign changed."""
    choice = searched()
    points = tuple(CurvePoint(p.lam, -(1 - p.loss / 4), -(1 - p.low / 4), -(1 - p.high / 4)) for p in choice.curve)
    runs = tuple(replace(run, loss=-(1 - run.loss / 4)) for run in choice.runs)
    return Sample(replace(choice, curve=points, runs=runs, metric="accuracy", is_higher_better=True), STUDY)


def function() -> Sample:
    """Somebody's own function with hostile names: no network, no rows, no path in words of ours."""
    choice = searched()
    study = replace(
        STUDY,
        data=f"train {EVIL}",
        task="",
        classes=(),
        n_train=0,
        n_val=0,
        n_test=0,
        decay=None,
        epochs=None,
        settings={},
        layers=(),
        command="",
        unit=None,
    )
    runs = tuple(replace(run, variant=Variant(wd=run.variant["l2"], kind=EVIL), n_gradients=0) for run in choice.runs)
    path = tuple(
        replace(step, runs=tuple((Variant(wd=variant["l2"], kind=EVIL), seed) for variant, seed in step.runs), why=EVIL)
        for step in choice.path
    )
    cost = replace(choice.cost, sample_gradients=0)
    hostile = replace(
        choice,
        variant=Variant(wd=0.0178, kind=EVIL),
        unit="",
        name="wd",
        runs=runs,
        path=path,
        cost=cost,
        reason=EVIL,
        notes=(EVIL,),
        metric=f"val{EVIL}",
    )
    return Sample(hostile, study, {"layers": (LayerStrength(EVIL, 3, NAN, None, EVIL),)})


def prior() -> Sample:
    """No training at all: no curve, no runs."""
    choice = searched()
    return Sample(
        replace(
            choice,
            method="prior",
            curve=(),
            runs=(),
            path=(),
            cost=Cost(0, 0, 0, 0.0),
            reason="The timescale of one run of 30 epochs.",
            notes=(),
        ),
        STUDY,
    )


def confirmation() -> report_samples.Sample:
    """A comparison as an experiment's result has it: an answer and a study."""
    return report_samples.single_condition()


LAYERS = (
    LayerStrength("layers.0.weight", 8192, 311.4, 0.021),
    LayerStrength("layers.1.weight", 640, 88.2, 0.0043),
    LayerStrength("norm.weight", 128, NAN, None, "scale-invariant"),
)
SENSITIVITIES = (
    LayerSensitivity("layers.0.weight", -0.0123, 0.0031, 8, "wants more"),
    LayerSensitivity("layers.1.weight", 0.004, NAN, 1, "no clear direction"),
)
SAMPLES = {
    "search": search,
    "kept": kept,
    "one seed": one_seed,
    "joint": joint,
    "accuracy": accuracy,
    "function": function,
    "prior": prior,
}
"""Name of a case -> what makes it."""
CONDITION = Condition()
