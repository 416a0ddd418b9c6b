"""Anybody's training function as something that can be compared and tuned."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from torch import nn

from shrinkwise.errors import SettingError
from shrinkwise.experiments.execution import Plan
from shrinkwise.experiments.execution.launch import OneByOne, Train
from shrinkwise.experiments.functions.judged import Judged, check_read, direction_of, judge_by, plain_name
from shrinkwise.experiments.functions.training import FunctionTrainer, TrainFunction
from shrinkwise.experiments.identity import function_identity
from shrinkwise.experiments.own_code import name_of
from shrinkwise.experiments.records import ALL_RUNS, Record, RunKey, Setting, Status, Variant
from shrinkwise.experiments.selection import Choice, LayerStrength, Objective, Space
from shrinkwise.experiments.stats.margin import margin_of
from shrinkwise.experiments.study import Study
from shrinkwise.regularization.strength import find_unit

_THREADS = 1


class FunctionSubject:
    """A function ``train(trial) -> metrics``.

    Args:
        train: The function.
        metric: The metric that is chosen and judged by; found out from what the function returns if left out.
        maximize: Whether more of it is better; guessed for well-known names alone if left out.
        margin: What counts as the same, as everywhere: points of accuracy and its kin, per cent of anything else.
        unit: What the function's λ means.

    Raises:
        SettingError: It is no function of one argument, the metric's direction has to be said, or the unit is none of a strength.
    """

    looked_at: tuple[int, ...] = ()

    def __init__(
        self, train: TrainFunction, *, metric: str | None, maximize: bool | None, margin: float | None, unit: str = "half"
    ) -> None:
        _check_function(train)
        _check_words(metric, maximize)
        self.train, self.metric, self.maximize, self.margin = train, plain_name(metric), maximize, margin
        if self.metric is not None:
            self.maximize = direction_of(self.metric, maximize)
        margin_of(self.metric or "loss", margin)
        self.name = name_of(train)
        self.unit, self.condition = _unit(unit), ALL_RUNS
        self.fixed: Mapping[str, Setting] = {}
        self.judged: Judged | None = None
        self.objective = Objective(self.metric or "loss", bool(self.maximize))
        self._seen: dict[RunKey, Record] = {}

    def prepare(self, variants: Sequence[Variant], seeds: Sequence[int]) -> None:
        """Do nothing: what goes wrong in a function shows when it runs, and nothing is written until a run ends well."""

    def plan(self) -> Plan:
        """Return what makes it this function, without a list of runs."""
        means = {
            "engine": "function",
            "threads": _THREADS,
            "versions": {name: metadata.version(name) for name in ("torch", "numpy")},
        }
        return Plan((), (), (), {"train": function_identity(self.train)}, means, is_open=True)

    def trainer(self, kept: Plan) -> Train:
        """Return what trains runs by the means of a plan."""
        return OneByOne(FunctionTrainer(self.train, kept.means["threads"]))

    def means(self, keys: Sequence[RunKey], n_all: int, jobs: int | None) -> Mapping[str, Any]:
        """Return by what its runs are trained: there is nothing to choose."""
        return self.plan().means

    def fitted(self, means: Mapping[str, Any], jobs: int | None) -> Mapping[str, Any]:
        """Return the means of a plan with the number of processes, where it was asked for."""
        return {**means, "jobs": jobs}

    def check(self, record: Record) -> None:
        """Make sure that a run gave something that can be judged.

        Raises:
            TrainingError: No metric was measured on both validation and test rows.
            SettingError: Which metric, or which direction, has to be said.
        """
        judge_by([record], self.metric, self.maximize)

    def settle(self, records: Sequence[Record]) -> list[Record]:
        """Find out by the first runs what is judged, make sure of every further one, and name what came without a name.

        Raises:
            TrainingError: Runs gave different metrics.
            DataError: Runs write a rate in different ways.
            SettingError: A setting is read by nobody, or which metric, or which direction, has to be said.
        """
        self._seen |= {record.key: record for record in records}
        seen = list(self._seen.values())
        if not any(record.status is Status.DONE for record in seen):
            return list(records)
        self.judged = judge_by(seen, self.metric, self.maximize)
        self.maximize = self.judged.is_higher_better
        # Selection was handed the objective before any run could tell what it is, and reads it when it has records.
        object.__setattr__(self.objective, "metric", self.judged.metric)
        object.__setattr__(self.objective, "is_higher_better", self.judged.is_higher_better)
        check_read(seen)
        return [self.judged.told(record) for record in records]

    def refuse_none(self) -> None:
        """Make sure that a run ended well.

        Raises:
            TrainingError: None did.
        """
        judge_by(list(self._seen.values()), self.metric, self.maximize)

    def study(self, n_seeds: int) -> Study:
        """Return what is asked of runs on so many seeds.

        Raises:
            TrainingError: No run ended well, so that nothing is known to judge by.
        """
        judged = self.judged or judge_by(list(self._seen.values()), self.metric, self.maximize)
        width = margin_of(judged.metric, self.margin)
        return Study(
            data=name_of(self.train),
            task="a training function",
            classes=(),
            n_train=0,
            n_val=0,
            n_test=0,
            is_resampled=False,
            unit=None,
            decay=None,
            epochs=None,
            primary_metric=judged.metric,
            select="last",
            margin=width.value,
            is_margin_relative=width.is_relative,
            settings={
                "train": name_of(self.train),
                "direction": "more is better" if judged.is_higher_better else "less is better",
                "seeds": n_seeds,
                **({"read as": "rates in per cent, told as shares"} if judged.in_percent else {}),
            },
            version=metadata.version("shrinkwise"),
        )

    def layered(self, space: Space) -> Space:
        """Return the range as it is: a function shows no layers."""
        return space

    def finished(self, choice: Choice) -> Choice:
        """Return the choice as it is."""
        return choice

    def networks(self, variant: Variant) -> None:
        """Return nothing: a function shows no network."""

    def told(self, looked: Sequence[LayerStrength], choice: Choice) -> tuple[LayerStrength, ...]:
        """Return nothing: a function shows no layers."""
        return ()

    def prior(self, space: Space) -> Choice | None:
        """Return nothing: a function does not say its learning rate, rows and epochs."""
        return None


def _unit(name: str) -> str:
    """Return the name of a unit in which 0 is no penalty and more is stronger, as it is for whatever is searched."""
    unit = find_unit(name)
    if unit.is_inverse:
        raise SettingError(
            f"unit is {name!r}",
            f"a larger {unit.symbol} is a weaker penalty, so that {unit.symbol} = 0 is not none",
            f"search λ in the unit half, and hand on sw.convert(λ, 'half', {unit.name!r}, ...).value, or no penalty where λ is 0",
        )
    return unit.name


def _check_words(metric: object, maximize: object) -> None:
    if metric is not None and (not isinstance(metric, str) or not metric):
        raise SettingError(f"metric is {metric!r}", "it names a metric that train(trial) returns", "give such as metric='loss'")
    if maximize is not None and not isinstance(maximize, bool):
        raise SettingError(f"maximize is {maximize!r}", "more is better, or it is not", "give True or False, or leave it out")


def _check_function(train: object) -> None:
    if not callable(train) or isinstance(train, nn.Module):
        raise SettingError(
            f"train is a {type(train).__name__}",
            "it is called with a trial, and returns what it came to",
            "give a function, such as lambda trial: fit(weight_decay=trial['l2'], seed=trial.seed)",
        )
    try:
        inspect.signature(train).bind(None)
    except TypeError as error:
        raise SettingError(
            f"train cannot be called with a trial alone ({error})",
            "it is called as train(trial)",
            "give a function of one argument",
        ) from error
    except ValueError:
        pass
