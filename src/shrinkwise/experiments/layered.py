"""One strength a layer, by the evidence, and a multiplier on all of them that is searched as λ is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shrinkwise.errors import TrainingError
from shrinkwise.experiments.data import Split, cut
from shrinkwise.experiments.execution import Plan, Trainer
from shrinkwise.experiments.execution.launch import Train
from shrinkwise.experiments.experiment import Experiment
from shrinkwise.experiments.records import Record, RunKey, Variant
from shrinkwise.experiments.selection import Choice, LayerStrength, Space
from shrinkwise.experiments.selection.curvature import look_at_layers, multiplier_space, profile_of
from shrinkwise.experiments.selection.curvature.network import curvlinops
from shrinkwise.experiments.subject import ExperimentSubject

MULTIPLIER = "evidence"
"""The setting that holds the multiplier; a variant without it is trained at one strength for all layers."""

N_LOOKED_AT = 2
"""Networks from which the evidence is taken, one a seed."""


class LayeredSubject(ExperimentSubject):
    """An experiment whose strengths by layer are the evidence's, taken of networks at its default.

    Args:
        experiment: What is tuned.
        metric: As :class:`ExperimentSubject` takes it.
        around: The default λ, at which the networks are trained that the evidence is taken of.
        seeds: Seeds of the search; the first of them are looked at.

    Raises:
        MissingExtraError: What the evidence takes is not installed.
    """

    def __init__(self, experiment: Experiment, metric: str | None, around: float, seeds: Sequence[int]) -> None:
        curvlinops()
        super().__init__(experiment, metric)
        self.around, self.looked_at = around, tuple(seeds[:N_LOOKED_AT])
        self.layers: tuple[LayerStrength, ...] = ()
        self.seconds = 0.0
        self._profile: Mapping[str, float] = {}

    @property
    def _is_relative(self) -> bool:
        # λ of a decoupled decay is no λ of an objective: there the evidence says how layers stand to each other, and no more.
        return self.study(1).decay == "decoupled"

    def layered(self, space: Space) -> Space:
        """Train the default, take the evidence, and return where the multiplier is searched.

        Under a decoupled decay the multiplier is itself a strength, and is searched where any strength would be.

        Raises:
            TrainingError: The evidence gives no layer a strength.
        """
        experiment, started = self.experiment, time.perf_counter()

        def split_of(seed: int) -> Split:
            return cut(experiment.dataset, self.condition, seed)

        self.layers, _ = look_at_layers(
            experiment.recipe, split_of, space.default_variant, self.looked_at, condition=self.condition, select=experiment.select
        )
        self._profile = profile_of(self.layers, is_relative=self._is_relative)
        self.seconds = time.perf_counter() - started
        if not self._profile:
            raise TrainingError(
                "the evidence gives no layer a strength",
                "; ".join(f"{layer.name}: {layer.why_left_out}" for layer in self.layers) or "every run diverged",
                "take method search: one strength for all layers",
            )
        if self._is_relative:
            return replace(space, name=MULTIPLIER)
        return replace(multiplier_space(space.fixed), name=MULTIPLIER, others=space.others)

    def plan(self) -> Plan:
        """Return the experiment, and what its strengths by layer hang on."""
        plan = super().plan()
        taken = f"evidence at {self.around:g}, seeds {', '.join(map(str, self.looked_at))}"
        return replace(plan, settings={**plan.settings, "strengths": taken})

    def trainer(self, kept: Plan) -> Train:
        """Return what trains a run by the means of a plan."""
        plain = self.experiment.trainer(kept)
        layered = replace(plain, recipe=replace(plain.recipe, profile=self._profile, unit="half"))
        return _LayeredTrainer(plain, layered)

    def finished(self, choice: Choice) -> Choice:
        """Return a choice of the multiplier as it is told: with the networks looked at in its cost; 1 is no default."""
        cost, n = choice.cost, len(self.looked_at)
        gradients = n * self.experiment.recipe.epochs * len(self.made.split.y_train)
        total = replace(
            cost,
            trainings=cost.trainings + n,
            sample_gradients=cost.sample_gradients + gradients,
            seconds=cost.seconds + self.seconds,
        )
        note = "λ is a multiplier here: each layer has it times its strength by the evidence"
        return replace(choice, method="evidence", cost=total, keeps_default=False, default=None, notes=(*choice.notes, note))


@dataclass
class _LayeredTrainer:
    """Trains a variant with a multiplier by layer, and any other as ever."""

    plain: Trainer
    layered: Trainer

    def __call__(self, key: RunKey) -> Record:
        """Train one run."""
        settings = dict(key.variant)
        if MULTIPLIER not in settings:
            return self.plain(key)
        multiplier = settings.pop(MULTIPLIER)
        record = self.layered(RunKey(Variant(l2=multiplier, **settings), key.condition, key.seed))
        return replace(record, key=key)
