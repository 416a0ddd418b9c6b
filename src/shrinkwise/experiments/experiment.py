"""The experiment: where execution, statistics and report meet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path
from typing import Any

from torch import nn

from shrinkwise.errors import SettingError
from shrinkwise.experiments.data import Dataset, as_dataset
from shrinkwise.experiments.describe import by_means, describe
from shrinkwise.experiments.engine import NamedOptimizer, Recipe, metric_names
from shrinkwise.experiments.engine.recipe import ModelFactory, OptimizerFactory
from shrinkwise.experiments.execution import (
    Chooser,
    LocalLauncher,
    OnMeans,
    Plan,
    Store,
    Trainer,
    choose_means,
    execute,
    fitted,
    trainer_by,
)
from shrinkwise.experiments.execution.resume import Progress
from shrinkwise.experiments.grid import check_comparable, read_base, read_conditions, read_rates, read_seeds, read_variants
from shrinkwise.experiments.identity import models_identity, optimizer_identity, schedule_identity
from shrinkwise.experiments.progress import shown
from shrinkwise.experiments.rates import own_rates, rates_words, with_rates
from shrinkwise.experiments.records import Condition, RunKey, Setting, Variant
from shrinkwise.experiments.rehearsal import Rehearsal, rehearse
from shrinkwise.experiments.result import Result
from shrinkwise.experiments.running import ENGINES, check_choice, check_schedules, read_device, read_memory, read_patience
from shrinkwise.experiments.stats.margin import margin_of
from shrinkwise.experiments.study import Study
from shrinkwise.regularization.rules import ApplyTo
from shrinkwise.regularization.strength import find_unit, to_lam
from shrinkwise.regularization.strength.schedules import Schedule

SELECTIONS = ("last", "best-val")


class Experiment:
    """Variants of one network, compared on the same data, seeds and budget.

    Args:
        model: Makes a network from a variant: ``model(variant)``.
        data: A :class:`Dataset`, a pair ``(x, y)`` of tensors or arrays, a TensorDataset of two, or the name of a source.
        variants: Mappings from setting to value, as :func:`grid` makes them. ``l2`` is the strength of the penalty in ``unit``;
            ``l1``, ``elastic_net``, ``group_lasso``, ``l2_sp`` and ``max_norm`` are read as :class:`Regularizer` reads a number
            (0 for none) and act on the gradients; every other setting is the model's own to read. An experiment without variants
            cannot be run, but tuned.
        conditions: Mappings with ``train_size`` and ``label_noise``; variants are compared within one.
        base: What the others are compared against, and what a tuning starts from; if left out, the variant in which nothing is
            switched on, or else the first.
        optimizer: Makes an optimiser from parameter groups, each of which states its ``weight_decay`` (as ``lam``). A variant's
            ``lr`` takes the place of its learning rate.
        lr: Learning rates among which each variant, within each condition, is given its own best on validation loss before variants
            are compared; None leaves the optimiser's.
        epochs: Passes over the training rows; the same for every variant.
        seeds: A number of seeds, or the seeds; ten if left out. A tuning takes those that are given, too.
        batch_size: Rows of one optimiser step.
        unit: ``half`` (mean loss + λ/2·Σw²), ``sum`` (λ·Σw²) or ``per_sample`` (λ/(2N)·Σw²).
        apply_to: ``weights`` (matrices and filters) or ``all`` (biases and every other parameter too).
        task: ``classification`` or ``regression``; guessed, and said on the page, if left out and not known.
        metric: The metric that the verdict is about; accuracy for classification and rmse for regression if left out.
        margin: Half-width of what counts as equivalent: points of accuracy, f1 and auc and hundredths of r2 (0.5 by default), per
            cent of the base's value for loss and rmse (2 by default).
        select: Judge the weights after the ``last`` epoch, or those of the epoch of best validation loss, ``best-val``.
        schedule: A factor on every strength over the optimiser's steps, of ``shrinkwise.schedules``; ``InEpochs(Cosine(30))``
            counts epochs, where runs have other numbers of rows. A limit, as of ``max_norm``, follows none.
        lr_schedule: A factor on the learning rate, likewise.
        patience: Epochs without a better validation loss after which a run ends, as does one that has learned nothing; None
            trains every run to its last epoch.
        engine: ``single`` trains runs one by one, ``fleet`` many together; ``auto`` takes what a short measurement finds faster.
            The records agree to rounding.
        device: ``cpu`` or ``cuda``; ``auto`` takes a GPU where there is one.
        memory: What the runs that are trained at once may take: bytes, or such as ``"4GB"``; half of what is free if left out.
        threads: Threads of one run, or of one fleet; one for a run, and measured for a fleet, if left out.
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
        variants: Iterable[Mapping[str, Setting]] = (),
        conditions: Iterable[Mapping[str, Any] | Condition] = (Condition(),),
        base: Mapping[str, Setting] | None = None,
        optimizer: OptimizerFactory | None = None,
        lr: float | Sequence[float] | None = None,
        epochs: int = 30,
        seeds: int | Sequence[int] | None = None,
        batch_size: int = 64,
        unit: str = "half",
        apply_to: ApplyTo = "weights",
        task: str | None = None,
        metric: str | None = None,
        margin: float | None = None,
        select: str = "last",
        schedule: Schedule | None = None,
        lr_schedule: Schedule | None = None,
        patience: int | None = None,
        engine: str = "auto",
        device: str = "auto",
        memory: int | str | None = None,
        threads: int | None = None,
        settings: Mapping[str, Any] | None = None,
        command: str = "",
    ) -> None:
        _check_factories(model=model, optimizer=optimizer)
        self.dataset: Dataset = as_dataset(data, task)
        self.variants = read_variants(variants)
        self.base = read_base(base, self.variants)
        self.rates = read_rates(lr, self.variants)
        self.conditions = read_conditions(conditions)
        self.seeds, self.has_own_seeds = read_seeds(10 if seeds is None else seeds), seeds is not None
        _check_counts(epochs=epochs, batch_size=batch_size, threads=1 if threads is None else threads)
        check_choice("select", select, SELECTIONS)
        check_choice("engine", engine, ENGINES)
        check_schedules(schedule, lr_schedule)
        self.engine, self.memory_bytes, self.threads = engine, read_memory(memory), threads
        self.metric = metric or metric_names(self.dataset.task)[0]
        check_choice("metric", self.metric, metric_names(self.dataset.task))
        self.margin = margin_of(self.metric, margin)
        self.select, self.command, self.extra_settings = select, command, dict(settings or {})
        self.recipe = Recipe(
            model=model,
            task=self.dataset.task,
            n_outputs=self.dataset.n_outputs,
            optimizer=optimizer or NamedOptimizer("sgd", lr=0.05),
            epochs=epochs,
            batch_size=batch_size,
            unit=_penalty_unit(unit),
            apply_to=apply_to,
            threads=threads or 1,
            schedule=schedule,
            lr_schedule=lr_schedule,
            patience=read_patience(patience),
            device=read_device(device),
        )

    def run(
        self,
        out: str | Path | None = None,
        *,
        jobs: int | None = None,
        progress: Progress | bool = True,
        on_means: OnMeans | None = None,
    ) -> Result:
        """Train what is missing, and return everything.

        Args:
            out: Folder that keeps the plan and the records; a second call with the same folder goes on where the first one
                stopped. None keeps nothing.
            jobs: Worker processes of this call; None takes what was measured to be best, or one a core. The records do not depend
                on it, but for rounding where runs are trained together.
            progress: True shows a bar on standard error where one can move (a terminal, a notebook), False nothing; a function is
                called with the number of runs done and of all runs.
            on_means: Called before training with what the runs are trained by, by name: engine, fleet_size, threads, jobs, why, ...

        Raises:
            SettingError: There are fewer than two variants.
            StoreError: The folder is unwritable, or belongs to another experiment.
            WorkerError: A process that trained died; what had ended is kept.
        """
        check_comparable(self.variants)
        launcher = LocalLauncher(jobs)
        study, plan = self.study, self.plan

        with Store(None if out is None else Path(out)) as store, shown(progress) as report:
            chooser = Chooser(partial(self.chosen_means, jobs=launcher.jobs), partial(self.fitted, jobs=launcher.jobs), on_means)
            records = execute(plan, self.trainer, store, launcher, report, chooser)
            kept = store.plan() or plan
        rates = own_rates(records, self.select) if self.rates else None
        return Result(study=by_means(study, kept.means), records=tuple(records), base=self.base, rates=rates)

    def trainer(self, kept: Plan) -> Trainer:
        """Return what trains runs by the means of a plan."""
        return trainer_by(kept.means, self.recipe, self.dataset)

    @property
    def trained(self) -> tuple[Variant, ...]:
        """What is trained: every variant at every learning rate."""
        return with_rates(self.variants, self.rates)

    @cached_property
    def rehearsal(self) -> Rehearsal:
        """What was made when everything that can be known to go wrong was tried."""
        return rehearse(self.recipe, self.dataset, self.trained, self.conditions, self.seeds, self.metric)

    @cached_property
    def plan(self) -> Plan:
        """The runs, and everything that their records depend on."""
        settings, means = self.identity(self.rehearsal), self.means
        return Plan(variants=self.trained, conditions=self.conditions, seeds=self.seeds, settings=settings, means=means)

    def identity(self, made: Rehearsal) -> dict[str, Any]:
        """Return what makes it this experiment, by name; ``made`` is what its factories gave."""
        recipe = self.recipe
        return {
            "data": self.dataset.fingerprint()[:16],
            "model": models_identity(recipe.model, made.models),
            "optimizer": optimizer_identity(recipe.optimizer, made.optimizer),
            "epochs": recipe.epochs,
            "batch_size": recipe.batch_size,
            "unit": recipe.unit,
            "apply_to": recipe.apply_to,
            # Named only where given, so that what was kept before there were any is still the same experiment.
            **({"schedule": schedule_identity(recipe.schedule)} if recipe.schedule else {}),
            **({"lr_schedule": schedule_identity(recipe.lr_schedule)} if recipe.lr_schedule else {}),
            **({"patience": recipe.patience} if recipe.patience else {}),
        }

    @property
    def means(self) -> dict[str, Any]:
        """By what it is trained where nothing is chosen, by name."""
        versions = {name: metadata.version(name) for name in ("torch", "numpy", "scikit-learn")}
        return {"engine": "single", "threads": self.recipe.threads, "device": self.recipe.device, "versions": versions}

    def chosen_means(self, keys: Sequence[RunKey], n_all: int, jobs: int | None) -> Mapping[str, Any]:
        """Choose engine, size of a fleet, threads and processes for runs that are asked for at once, of ``n_all`` in all."""
        return choose_means(
            self.recipe,
            self.dataset,
            keys,
            n_all,
            engine=self.engine,
            threads=self.threads,
            jobs=jobs,
            memory_bytes=self.memory_bytes,
        )

    def fitted(self, means: Mapping[str, Any], jobs: int | None) -> Mapping[str, Any]:
        """Return the means of a plan as a call in so many processes takes them, within the memory that the experiment may have."""
        return fitted(means, jobs=jobs, memory_bytes=self.memory_bytes)

    @cached_property
    def study(self) -> Study:
        """What is asked, of which data and which network."""
        return self.study_of(self.rehearsal, len(self.seeds), rates_words(self.trained))

    def study_of(self, made: Rehearsal, n_seeds: int, further: Mapping[str, Any]) -> Study:
        """Return the study of runs on so many seeds; ``further`` settings are listed too."""
        settings = {**further, **self.extra_settings}
        return replace(
            describe(self.recipe, self.dataset, made, n_seeds, settings),
            primary_metric=self.metric,
            select=self.select,
            margin=self.margin.value,
            is_margin_relative=self.margin.is_relative,
            command=self.command,
        )


def _check_factories(**factories: object) -> None:
    for name, factory in factories.items():
        if factory is not None and (not callable(factory) or isinstance(factory, nn.Module)):
            example = "lambda variant: MyNetwork()" if name == "model" else "lambda groups: torch.optim.SGD(groups, lr=0.05)"
            raise SettingError(
                f"{name} is a {type(factory).__name__}", "every run makes its own afresh", f"give a function, such as {example}"
            )


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise SettingError(f"{name} is {count}", "it is a count", "give a whole number from 1")


def _penalty_unit(name: str) -> str:
    """Return a unit's name; that of a decay, which is no penalty, is refused before anything runs."""
    to_lam(1.0, name, n_samples=1, batch_size=1)
    return find_unit(name).name
