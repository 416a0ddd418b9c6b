"""The experiment: where execution, statistics and report meet."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.experiments.data import Dataset, as_dataset, cut
from shrinkwise.experiments.engine import NamedOptimizer, Recipe, build_model, decay_of, metric_names, predict
from shrinkwise.experiments.engine.recipe import ModelFactory, OptimizerFactory
from shrinkwise.experiments.execution import LocalLauncher, Plan, Store, Trainer, execute
from shrinkwise.experiments.execution.resume import Progress
from shrinkwise.experiments.grid import read_conditions, read_seeds, read_variants
from shrinkwise.experiments.models import outline
from shrinkwise.experiments.records import Condition, Setting
from shrinkwise.experiments.result import Result
from shrinkwise.experiments.stats.margin import margin_of
from shrinkwise.experiments.study import Study
from shrinkwise.regularization.apply import param_groups
from shrinkwise.regularization.rules import ApplyTo, penalised, place
from shrinkwise.regularization.strength import find_unit

SELECTIONS = ("last", "best-val")


class Experiment:
    """Variants of one network, compared on the same data, seeds and budget.

    Args:
        model: Makes a network from a variant: ``model(variant)``.
        data: A :class:`Dataset`, a pair ``(x, y)`` of tensors or arrays, a TensorDataset of two, or the name of a source.
        variants: Mappings from setting to value, as :func:`grid` makes them. ``l2`` is the strength of the penalty in ``unit``;
            every other setting is the model's own to read.
        conditions: Mappings with ``train_size`` and ``label_noise``; variants are compared within one.
        optimizer: Makes an optimiser from parameter groups, each of which states its ``weight_decay`` (as ``lam``).
        epochs: Passes over the training rows; the same for every variant.
        seeds: A number of seeds, or the seeds.
        batch_size: Rows of one optimiser step.
        unit: ``half`` (mean loss + λ/2·Σw²), ``sum`` (λ·Σw²) or ``per_sample`` (λ/(2N)·Σw²).
        apply_to: ``weights`` (matrices and filters) or ``all`` (biases and every other parameter too).
        metric: The metric that the verdict is about; accuracy for classification and rmse for regression if left out.
        margin: Half-width of what counts as equivalent: points of accuracy, f1, auc and r2 (0.5 by default), per cent of the
            base's value for loss and rmse (2 by default).
        select: Judge the weights after the ``last`` epoch, or those of the epoch of best validation loss, ``best-val``.
        threads: Threads of one run.
        settings: What else a page should list, by name.
        command: The command that reproduces the experiment.

    Raises:
        ShrinkwiseError: A setting is out of range, or the data cannot carry the experiment; nothing has been written then.
    """

    def __init__(  # noqa: PLR0913  the public face: every argument is one word of an experiment
        self,
        *,
        model: ModelFactory,
        data: Any,
        variants: Iterable[Mapping[str, Setting]],
        conditions: Iterable[Mapping[str, Any] | Condition] = (Condition(),),
        optimizer: OptimizerFactory | None = None,
        epochs: int = 30,
        seeds: int | Sequence[int] = 10,
        batch_size: int = 64,
        unit: str = "half",
        apply_to: ApplyTo = "weights",
        metric: str | None = None,
        margin: float | None = None,
        select: str = "last",
        threads: int = 1,
        settings: Mapping[str, Any] | None = None,
        command: str = "",
    ) -> None:
        self.dataset: Dataset = as_dataset(data)
        self.variants = read_variants(variants)
        self.conditions = read_conditions(conditions)
        self.seeds = read_seeds(seeds)
        _check_counts(epochs=epochs, batch_size=batch_size, threads=threads)
        _check_choice("select", select, SELECTIONS)
        self.metric = metric or metric_names(self.dataset.task)[0]
        _check_choice("metric", self.metric, metric_names(self.dataset.task))
        self.margin = margin_of(self.metric, margin)
        self.select, self.command, self.extra_settings = select, command, dict(settings or {})
        self.recipe = Recipe(
            model=model,
            task=self.dataset.task,
            n_outputs=self.dataset.n_outputs,
            optimizer=optimizer or NamedOptimizer("sgd", lr=0.05),
            epochs=epochs,
            batch_size=batch_size,
            unit=unit,
            apply_to=apply_to,
            threads=threads,
        )

    def run(self, out: str | Path | None = None, *, jobs: int | None = None, progress: Progress | None = None) -> Result:
        """Train what is missing, and return everything.

        Args:
            out: Folder that keeps the plan and the records; a second call with the same folder goes on where the first one
                stopped. None keeps nothing.
            jobs: Worker processes; None takes one a core. The records do not depend on it.
            progress: Called with the number of runs done and of all runs.

        Raises:
            StoreError: The folder is unwritable, or belongs to another experiment.
        """
        from loky import cpu_count

        study, plan = self.study, self.plan
        with Store(None if out is None else Path(out)) as store:
            records = execute(plan, Trainer(self.recipe, self.dataset), store, LocalLauncher(jobs or cpu_count()), progress)
        return Result(study=study, records=tuple(records))

    @cached_property
    def plan(self) -> Plan:
        """The runs, and everything that their records depend on."""
        recipe = self.recipe
        return Plan(
            variants=self.variants,
            conditions=self.conditions,
            seeds=self.seeds,
            settings={
                "data": self.dataset.fingerprint(),
                "model": _identity(recipe.model),
                "optimizer": _identity(recipe.optimizer),
                "epochs": recipe.epochs,
                "batch_size": recipe.batch_size,
                "unit": recipe.unit,
                "apply_to": recipe.apply_to,
                "engine": "single",
                "threads": recipe.threads,
                "torch": torch.__version__,
            },
        )

    @cached_property
    def study(self) -> Study:
        """What is asked, of which data and which network; building it checks the data of every condition and the model."""
        splits = [cut(self.dataset, condition, self.seeds[0]) for condition in self.conditions]
        largest = max(splits, key=lambda split: len(split.y_train))
        rows = torch.from_numpy(largest.x_train[:2])
        model = build_model(self.recipe, self.variants[0], self.seeds[0], rows)
        predict(self.recipe, model, rows)
        optimizer = self.recipe.optimizer(param_groups(model, 0.0, apply_to=self.recipe.apply_to))
        names = {placement.name for placement in penalised(place(model), self.recipe.apply_to)}
        group = optimizer.param_groups[0]
        return Study(
            data=self.dataset.name,
            task=self.dataset.task,
            classes=self.dataset.classes,
            n_train=len(largest.y_train),
            n_val=len(largest.y_val),
            n_test=len(largest.y_test),
            is_resampled=self.dataset.is_resampled,
            unit=self.recipe.unit,
            decay=getattr(self.recipe.optimizer, "decay", None) or decay_of(optimizer),
            epochs=self.recipe.epochs,
            primary_metric=self.metric,
            select=self.select,
            margin=self.margin.value,
            is_margin_relative=self.margin.is_relative,
            settings={
                "optimizer": type(optimizer).__name__,
                "lr": group["lr"],
                **({"momentum": group["momentum"]} if "momentum" in group else {}),
                "batch_size": self.recipe.batch_size,
                "apply_to": self.recipe.apply_to,
                "penalty": find_unit(self.recipe.unit).formula,
                **self.extra_settings,
                "threads": self.recipe.threads,
                "seeds": len(self.seeds),
            },
            command=self.command,
            layers=outline(model, names),
            version=metadata.version("shrinkwise"),
        )


def _identity(factory: object) -> str:
    """Name what a factory does: the values of ours, the source text of a user's function."""
    if is_dataclass(factory) and not isinstance(factory, type):
        return f"{type(factory).__name__} {asdict(factory)}"
    code = factory if inspect.isroutine(factory) or inspect.isclass(factory) else type(factory)
    try:
        source = inspect.getsource(code)
    except (OSError, TypeError):
        return code.__qualname__
    return f"{code.__qualname__} {hashlib.sha256(source.encode()).hexdigest()[:12]}"


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise SettingError(f"{name} is {count}", "it is a count", "give a whole number from 1")


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise SettingError(f"{name} is {value!r}", f"it is not one that {name} can be here", did_you_mean(value, choices))
