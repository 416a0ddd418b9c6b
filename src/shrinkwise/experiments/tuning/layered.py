"""One strength a layer, by the evidence, times one multiplier that is searched as λ is, and beside it one λ for all layers."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shrinkwise.errors import SettingError, TrainingError
from shrinkwise.experiments.execution import Plan, Trainer
from shrinkwise.experiments.execution.launch import Train
from shrinkwise.experiments.experiment import Experiment
from shrinkwise.experiments.records import Record, RunKey, Variant
from shrinkwise.experiments.selection import Choice, Cost, LayerStrength, Space
from shrinkwise.experiments.selection.choosing import cost_of
from shrinkwise.experiments.selection.curvature import profile_of
from shrinkwise.experiments.selection.curvature.multiplier import HIGH, LOW
from shrinkwise.experiments.selection.curvature.network import curvlinops
from shrinkwise.experiments.tuning.asked import Range
from shrinkwise.experiments.tuning.networks import Networks
from shrinkwise.experiments.tuning.subject import ExperimentSubject

STRENGTHS, ONE, BY_LAYER = "strengths", "one for all", "by layer"
"""The setting that says whether a variant's λ is that of all layers, or the geometric mean of the evidence's; and its values."""

N_LOOKED_AT = 2
"""Networks from which the evidence is taken, one a seed."""
START = 1e-3
"""Strength of those networks, in the package's one unit, where the default is none: without any, a network that fits every row
has next to no curvature left to read."""


class LayeredSubject(ExperimentSubject):
    """An experiment whose strengths by layer are the evidence's.

    λ of a variant is the geometric mean of its layers' strengths: the multiplier c times that of the evidence's. So it is a
    strength like any other, in the user's unit, and stands on one axis with the default, which is one λ for all layers.

    Args:
        experiment: What is tuned.
        metric: As :class:`ExperimentSubject` takes it.
        span: The default λ, at which the networks are trained that the evidence is taken of, and ends of the range, if given.
        seeds: Seeds of the search; the first of them are looked at.

    Raises:
        MissingExtraError: What the evidence takes is not installed.
    """

    def __init__(self, experiment: Experiment, metric: str | None, span: Range, seeds: Sequence[int]) -> None:
        # Asked for here, so that what is not installed is said before anything is trained.
        curvlinops()
        super().__init__(experiment, metric)
        self.span, self.looked_at = span, tuple(seeds[:N_LOOKED_AT])
        self._layers: tuple[LayerStrength, ...] = ()
        self._cost = Cost(0, 0, 0, 0.0)
        self._mean = math.nan
        self._profile: Mapping[str, float] = {}

    def prepare(self, variants: Sequence[Variant], seeds: Sequence[int]) -> None:
        """Try everything that can be known to go wrong before a run is trained.

        Raises:
            SettingError: The experiment has a setting of the name that is needed here.
        """
        if STRENGTHS in variants[0]:
            raise SettingError(
                f"the experiment has a setting {STRENGTHS!r}", "method evidence has one of that name", "give yours another name"
            )
        super().prepare(variants, seeds)

    @property
    def start(self) -> float:
        """λ of the networks that the evidence is taken of, in the user's unit.

        The default; where that is none, the middle of a decoupled decay's window, or 0.001.
        """
        if self.span.around:
            return float(self.span.around)
        window = self.prior(Space())
        return window.lam if window else float(f"{START / self.one:.3g}")

    @property
    def _is_relative(self) -> bool:
        # λ of a decoupled decay is no λ of an objective: there the evidence says how layers stand to each other, and no more.
        return self.study(1).decay == "decoupled"

    def layered(self, space: Space) -> Space:
        """Train the networks, take the evidence, and return where the multiplier is searched.

        Raises:
            TrainingError: The evidence gives no layer a strength.
            ModelError: The network cannot be differentiated as this needs it.
        """
        records: list[Record] = []
        started = time.perf_counter()
        networks = super().networks(space.variant(self.start))
        self._layers, _ = networks.look(self.looked_at, records.append)
        cost = cost_of([self.objective.see(record) for record in records])
        self._cost = replace(cost, seconds=time.perf_counter() - started)
        strengths = profile_of(self._layers)
        if not strengths:
            raise TrainingError(
                "the evidence gives no layer a strength",
                "; ".join(f"{layer.name}: {layer.why_left_out}" for layer in self._layers) or "no network ended well",
                "take method search: one strength for all layers",
            )
        self._profile = profile_of(self._layers, is_relative=True)
        self._mean = math.exp(sum(map(math.log, strengths.values())) / len(strengths))
        low, high = (space.low, space.high) if self._is_relative else self._ends()
        if not space.default:
            # Without a penalty the two are the same: the default lies on the one curve.
            return replace(space, low=low, high=high, fixed={**space.fixed, STRENGTHS: BY_LAYER})
        return replace(space, low=low, high=high, others={STRENGTHS: (ONE, BY_LAYER), **space.others})

    def _ends(self) -> tuple[float, float]:
        """Return the ends as given, else a thirtieth and three times the evidence, the default among them and a decade apart."""
        span, default = self.span, [self.span.around] if self.span.around else []
        low = span.low or min([self._mean * LOW, *default, *([span.high / 10] if span.high else [])])
        high = span.high or max([self._mean * HIGH, *default, low * 10])
        return float(f"{low:.3g}"), float(f"{high:.3g}")

    def plan(self) -> Plan:
        """Return the experiment, and all that its strengths by layer hang on: they are the same where this is."""
        plan = super().plan()
        seeds = ", ".join(map(str, self.looked_at))
        taken = f"evidence at {self.start:g}, seeds {seeds}, {self.experiment.select} weights"
        return replace(plan, settings={**plan.settings, STRENGTHS: taken})

    def trainer(self, kept: Plan) -> Train:
        """Return what trains runs by the means of a plan."""
        plain = self.experiment.trainer(kept)
        return _LayeredTrainer(plain, replace(plain, recipe=replace(plain.recipe, profile=self._profile)))

    def means(self, keys: Sequence[RunKey], n_all: int, jobs: int | None) -> Mapping[str, Any]:
        """Choose by what runs are trained: those by layer, which are most of them, in fleets of their own."""
        by_layer = [(_plain(key.variant)[0], key) for key in keys if _plain(key.variant)[1]]
        asked = [replace(key, variant=variant) for variant, key in by_layer] or keys
        return super().means(asked, n_all, jobs)

    def networks(self, variant: Variant) -> Networks:
        """Return networks of a variant."""
        plain, is_by_layer = _plain(variant)
        networks = super().networks(plain)
        return replace(networks, recipe=replace(networks.recipe, profile=self._profile)) if is_by_layer else networks

    def told(self, looked: Sequence[LayerStrength], choice: Choice) -> tuple[LayerStrength, ...]:
        """Return the evidence that was taken, what the choice makes of it, and the effective numbers at the choice, if known."""
        effective = {layer.name: layer.effective for layer in looked}
        is_by_layer = _plain(choice.variant)[1]
        return tuple(
            replace(
                layer,
                effective=effective.get(layer.name, layer.effective),
                chosen=choice.lam * self._profile.get(layer.name, 0.0) if is_by_layer else None,
            )
            for layer in self._layers
        )

    def finished(self, choice: Choice) -> Choice:
        """Return a choice as it is told: with the networks looked at in its cost, and what its λ is."""
        cost, own = choice.cost, self._cost
        total = Cost(
            seeds=len({run.seed for run in choice.runs} | set(self.looked_at)),
            trainings=cost.trainings + own.trainings,
            sample_gradients=cost.sample_gradients + own.sample_gradients,
            seconds=cost.seconds + own.seconds,
        )
        return replace(choice, method="evidence", cost=total, notes=(*choice.notes, *self._notes(choice)))

    def _notes(self, choice: Choice) -> tuple[str, str]:
        name, mean = choice.name, "is the geometric mean over layers"
        if not choice.lam:
            of_choice = "The choice is no penalty at all; strengths by layer, by the evidence, were searched beside it."
        elif not _plain(choice.variant)[1]:
            of_choice = f"The choice is one {name} for all layers; strengths by layer, by the evidence, were searched beside it."
        elif self._is_relative:
            of_choice = f"λ by layer = {name} × its ratio by the evidence, of which a decoupled decay needs no more; {name} {mean}."
        else:
            factor = f"{choice.lam / self._mean:.2g}"
            of_choice = f"λ by layer = c × evidence, and c = {factor}, which is all that was searched; {name} {mean}."
        seeds = " and ".join(map(str, self.looked_at))
        why = "" if choice.default else ", since without a penalty there would be next to no curvature to read"
        return of_choice, f"The evidence is that of networks of seeds {seeds}, trained with {name} = {self.start:g}{why}."


@dataclass
class _LayeredTrainer:
    """Trains variants with strengths by layer, and any others as ever."""

    plain: Trainer
    layered: Trainer

    @property
    def jobs(self) -> int | None:
        """In how many processes it is best done."""
        return self.plain.jobs

    def parts(self, keys: Sequence[RunKey], jobs: int) -> list[list[RunKey]]:
        """Cut runs into parts, those with strengths by layer apart from the others."""
        parts: list[list[RunKey]] = []
        for kind in (False, True):
            mine = [key for key in keys if _plain(key.variant)[1] is kind]
            parts += self.plain.parts(mine, jobs) if mine else []
        return parts

    def __call__(self, part: Sequence[RunKey]) -> Iterator[list[Record]]:
        """Yield the records of a part's runs as they end, each under its own name."""
        _, is_by_layer = _plain(part[0].variant)
        train = self.layered if is_by_layer else self.plain
        own = {replace(key, variant=_plain(key.variant)[0]): key for key in part}
        return ([replace(record, key=own[record.key]) for record in ended] for ended in train(list(own)))


def _plain(variant: Variant) -> tuple[Variant, bool]:
    """Return a variant as a recipe reads it, and whether its strengths are by layer."""
    settings = {name: value for name, value in variant.items() if name != STRENGTHS}
    return Variant(**settings), variant.get(STRENGTHS) == BY_LAYER
