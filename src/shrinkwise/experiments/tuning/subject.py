"""What λ is chosen for: an experiment of ours, seen as a tuning needs it, or anybody's training function."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.experiments.engine import metric_names
from shrinkwise.experiments.execution import Plan
from shrinkwise.experiments.execution.launch import Train
from shrinkwise.experiments.experiment import Experiment
from shrinkwise.experiments.rates import rates_words
from shrinkwise.experiments.records import Condition, Record, RunKey, Setting, Variant
from shrinkwise.experiments.rehearsal import Rehearsal, rehearse
from shrinkwise.experiments.selection import Choice, LayerStrength, Objective, Space
from shrinkwise.experiments.selection.prior import prior
from shrinkwise.experiments.stats.margin import margin_of
from shrinkwise.experiments.stats.metric import METRICS
from shrinkwise.experiments.study import Study
from shrinkwise.experiments.tuning.networks import Networks
from shrinkwise.regularization.strength import to_lam


class Subject(Protocol):
    """What a tuning must know of what it tunes.

    Attributes:
        name: Name of its data, or of its function.
        unit: The user's unit of λ.
        condition: What the data are like.
        fixed: Settings that every variant has beside those that are searched.
        objective: What is minimised; of a function it is known once its first runs are there.
        maximize: Whether more of the judged metric is better; None where it is one of ours.
        looked_at: Seeds of the networks that are trained and looked into before λ is searched.
    """

    name: str
    unit: str
    condition: Condition
    fixed: Mapping[str, Setting]
    objective: Objective
    maximize: bool | None
    looked_at: tuple[int, ...]

    def layered(self, space: Space) -> Space:
        """Look into networks trained at the default, and return where a multiplier on what they ask for is searched."""
        ...

    def finished(self, choice: Choice) -> Choice:
        """Return a choice as it is told."""
        ...

    def networks(self, variant: Variant) -> Networks | None:
        """Return networks of a setting, to be looked into; None where they are not ours to train."""
        ...

    def told(self, looked: Sequence[LayerStrength], choice: Choice) -> tuple[LayerStrength, ...]:
        """Return what is told of the layers of a choice, given what its own networks say, if they were looked at."""
        ...

    def prepare(self, variants: Sequence[Variant], seeds: Sequence[int]) -> None:
        """Try everything that can be known to go wrong before a run is trained; the first variant is without any penalty."""
        ...

    def plan(self) -> Plan:
        """Return what makes it this subject, as an open plan."""
        ...

    def trainer(self, kept: Plan) -> Train:
        """Return what trains runs by the means of a plan."""
        ...

    def means(self, keys: Sequence[RunKey], n_all: int, jobs: int | None) -> Mapping[str, Any]:
        """Choose by what runs are trained that are asked for at once, of ``n_all`` in all."""
        ...

    def fitted(self, means: Mapping[str, Any], jobs: int | None) -> Mapping[str, Any]:
        """Return the means of a plan as a call in so many processes takes them."""
        ...

    def check(self, record: Record) -> None:
        """Look at the first run that ended well, before anything is kept, and refuse what cannot be judged."""
        ...

    def settle(self, records: Sequence[Record]) -> list[Record]:
        """Look at what runs gave, and return it in the words of the objective."""
        ...

    def study(self, n_seeds: int) -> Study:
        """Return what is asked of runs on so many seeds, as a comparison judges it."""
        ...

    def prior(self, space: Space) -> Choice | None:
        """Return what can be said of λ before anything is trained; None where nothing can."""
        ...


class ExperimentSubject:
    """An experiment: its data, network, optimiser and epochs, its base without l2, its only condition and learning rate.

    Args:
        experiment: What is tuned.
        metric: The validation metric to choose by, and the one that a confirmation is judged by; ``loss`` and the experiment's own
            if left out.

    Raises:
        SettingError: It has several conditions, or the metric is none of its task's.
    """

    maximize: bool | None = None
    looked_at: tuple[int, ...] = ()

    def __init__(self, experiment: Experiment, metric: str | None) -> None:
        if len(experiment.conditions) > 1:
            raise SettingError(
                f"the experiment has {len(experiment.conditions)} conditions",
                "λ is chosen for one, and another may want another",
                "give an experiment with one condition",
            )
        known = metric_names(experiment.dataset.task)
        if metric is not None and metric not in known:
            raise SettingError(
                f"metric is {metric!r}", f"metric is one of {', '.join(known)} here", did_you_mean(str(metric), known)
            )
        self.experiment, self.metric, self.name = experiment, metric, experiment.dataset.name
        self.unit, (self.condition,) = experiment.recipe.unit, experiment.conditions
        rate = {"lr": experiment.rates[0]} if len(experiment.rates) == 1 else {}
        self.fixed: Mapping[str, Setting] = {**{name: value for name, value in experiment.base.items() if name != "l2"}, **rate}
        chosen_by = metric or "loss"
        self.objective = Objective(chosen_by, bool(METRICS[chosen_by].is_higher_better), experiment.select)
        self._made: Rehearsal | None = None
        self._rates: Mapping[str, str] = {}

    def prepare(self, variants: Sequence[Variant], seeds: Sequence[int]) -> None:
        """Cut the rows of every seed, and make and try every network; raises as the rehearsal of an experiment does.

        Raises:
            SettingError: The model reads a setting that neither the base nor the search has.
        """
        experiment = self.experiment
        self._rates = rates_words(variants)
        metric = self.metric or experiment.metric
        try:
            self._made = rehearse(experiment.recipe, experiment.dataset, variants, experiment.conditions, seeds, metric)
        except KeyError as error:
            name = error.args[0] if error.args else ""
            if not isinstance(name, str) or name in variants[0]:
                raise
            raise SettingError(
                f"the model reads the setting {name!r}",
                "neither the base of the experiment nor the search has it",
                f"give the experiment a base with it, or search it too: also={{{name!r}: [...]}}",
            ) from error

    @property
    def made(self) -> Rehearsal:
        """What the rehearsal made."""
        if self._made is None:
            raise RuntimeError("an experiment was asked for before it was prepared")
        return self._made

    def plan(self) -> Plan:
        """Return the experiment without a list of runs: the same folder may be given another budget, method or range."""
        plain = replace(self.made, models=self.made.models[:1])
        return Plan((), (), (), self.experiment.identity(plain), self.experiment.means, is_open=True)

    def trainer(self, kept: Plan) -> Train:
        """Return what trains runs by the means of a plan."""
        return self.experiment.trainer(kept)

    def means(self, keys: Sequence[RunKey], n_all: int, jobs: int | None) -> Mapping[str, Any]:
        """Choose by what runs are trained that are asked for at once, of ``n_all`` in all."""
        return self.experiment.chosen_means(keys, n_all, jobs)

    def fitted(self, means: Mapping[str, Any], jobs: int | None) -> Mapping[str, Any]:
        """Return the means of a plan as a call in so many processes takes them."""
        return self.experiment.fitted(means, jobs)

    def check(self, record: Record) -> None:
        """Do nothing: the rehearsal has looked."""

    def settle(self, records: Sequence[Record]) -> list[Record]:
        """Return the records as they are."""
        return list(records)

    def study(self, n_seeds: int) -> Study:
        """Return what the experiment asks; a metric to choose by is the one to be judged by, too."""
        study = self.experiment.study_of(self.made, n_seeds, self._rates)
        return study if self.metric is None or self.metric == study.primary_metric else _judged_by(study, self.metric)

    def layered(self, space: Space) -> Space:
        """Return the range as it is: all layers have one strength."""
        return space

    def finished(self, choice: Choice) -> Choice:
        """Return the choice as it is."""
        return choice

    def networks(self, variant: Variant) -> Networks:
        """Return networks of a setting, to be looked into."""
        experiment = self.experiment
        # What looks into them keeps its rows on the CPU.
        recipe = replace(experiment.recipe, device="cpu")
        return Networks(recipe, variant, experiment.dataset, self.condition, experiment.select, self.one)

    def told(self, looked: Sequence[LayerStrength], choice: Choice) -> tuple[LayerStrength, ...]:
        """Return what the networks of the choice say."""
        return tuple(looked)

    @property
    def one(self) -> float:
        """What a strength of 1 in the unit of the experiment is in the package's one unit."""
        n = len(self.made.split.y_train)
        return to_lam(1.0, self.experiment.recipe.unit, n_samples=n, batch_size=self.experiment.recipe.batch_size)

    def prior(self, space: Space) -> Choice | None:
        """Return the timescale window of a decoupled decay, in the unit of the experiment; None under any other."""
        recipe, made = self.experiment.recipe, self.made
        rates = [float(group.get("lr", math.nan)) for group in made.optimizer.param_groups]
        if self.study(1).decay != "decoupled" or not max(rates) > 0:
            return None
        n = len(made.split.y_train)
        choice = prior(space, lr=max(rates), n_train=n, batch_size=recipe.batch_size, epochs=recipe.epochs)
        lam = choice.lam / self.one
        return replace(choice, lam=lam, variant=space.variant(lam), low=choice.low / self.one, high=choice.high / self.one)


def _judged_by(study: Study, metric: str) -> Study:
    width = margin_of(metric)
    return replace(study, primary_metric=metric, margin=width.value, is_margin_relative=width.is_relative)
