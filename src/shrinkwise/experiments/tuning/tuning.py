"""The right λ, or "keep your default": for an experiment of ours, or anybody's training function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from shrinkwise.errors import SettingError
from shrinkwise.experiments.describe import by_means
from shrinkwise.experiments.execution import Chooser, Growing, LocalLauncher, OnMeans
from shrinkwise.experiments.execution.resume import Progress
from shrinkwise.experiments.experiment import Experiment
from shrinkwise.experiments.functions.function import FunctionSubject
from shrinkwise.experiments.functions.training import TrainFunction
from shrinkwise.experiments.grid import read_seeds
from shrinkwise.experiments.progress import shown
from shrinkwise.experiments.records import Record, RunKey, Setting
from shrinkwise.experiments.selection import Choice, Space, Step, search, sweep
from shrinkwise.experiments.selection.search import n_seeds_of
from shrinkwise.experiments.stats.flips import floor_of_seeds
from shrinkwise.experiments.stats.margin import margin_of
from shrinkwise.experiments.stats.notes import stops
from shrinkwise.experiments.stats.words import counted
from shrinkwise.experiments.tuning.asked import LEAST_BUDGET, Range, check_method, read_budget, read_count, read_space
from shrinkwise.experiments.tuning.confirming import confirm_choice
from shrinkwise.experiments.tuning.looking import Look, afforded, look_at_choice, read_look
from shrinkwise.experiments.tuning.subject import ExperimentSubject, Subject
from shrinkwise.experiments.tuning.tuned import Tuned

N_SEEDS = 8

OnStep = Callable[[Step], None]
"""Called after each round of a search."""


def tune(  # noqa: PLR0913  the public face: every argument is one word of a tuning
    subject: Experiment | TrainFunction,
    *,
    around: float | None = None,
    budget: int | None = None,
    seeds: int | Sequence[int] | None = None,
    method: str = "search",
    low: float | None = None,
    high: float | None = None,
    also: Mapping[str, Iterable[Setting] | Setting] | None = None,
    rule: str = "minimum",
    margin: float | None = None,
    confirm: int = 0,
    layers: int | None = None,
    verify: bool = False,
    metric: str | None = None,
    maximize: bool | None = None,
    unit: str | None = None,
    name: str = "l2",
    out: str | Path | None = None,
    jobs: int | None = None,
    progress: Progress | bool = True,
) -> Tuned:
    """Choose λ on validation data by full-length runs, or find that nothing beyond noise is to be gained over the default.

    Args:
        subject: An :class:`Experiment` with one condition, whose base says every other setting (its other variants play no part);
            or ``train(trial)``, as :func:`compare` takes it.
        around: The default λ, none at all if left out: where the search starts, and what is kept where less than the margin is to
            be gained over it, or less than half of it and within noise.
        budget: Most trainings in all; four a seed if left out. A confirmation and a verification come on top.
        seeds: A number of seeds, or the seeds; if left out, those that an experiment was given, or else eight.
        method: ``search`` (λs one after another), ``sweep`` (a grid), ``evidence`` (per layer) or ``prior`` (nothing is trained).
        low: Least λ to look at; none at all is always looked at. The range is extended where the best lies at its end.
        high: Largest λ to look at.
        also: Other settings that are searched together with λ -> their values, such as ``{"lr": [0.01, 0.1]}``; the default has the
            base's, or else the first.
        rule: ``minimum``, or ``one-se``: the largest λ within one standard error of it.
        margin: What counts as no difference in the metric that is chosen by: points of accuracy and its kin (0.5), per cent of
            anything else (2). A function's confirmation takes it too; an experiment's keeps the experiment's own.
        confirm: Fresh seeds on which the choice is compared with the default afterwards. With 1, one run each, the interval is over
            the test rows, and holds for these two models only.
        layers: Seeds whose network is trained once more at the choice, out of the budget, and looked into layer by layer: effective
            number of parameters, and which layer wants more or less. Of an experiment two if left out, if eight trainings remain
            to choose by and nothing is trained for a ``prior``; 0 for none. Needs the extra ``evidence``.
        verify: Put clear advice on a layer to the test: twice or half its strength, trained on the same seeds, on top of the
            budget.
        metric: What is chosen by on validation rows, and then judged by on test rows. If left out, an experiment
            is chosen by ``loss`` and judged by its own metric; of a function it is the only metric there is, or ``loss``.
        maximize: For a function: whether more of the metric is better; guessed for well-known names alone.
        unit: For a function: what its λ means, ``half`` if left out. An experiment has its own.
        name: For a function: the setting that holds λ, as it reads it: ``trial[name]``.
        out: Folder that keeps the runs; a second call with the same folder goes on where the first one stopped, and may have
            another budget, method or range.
        jobs: Worker processes; None takes one a core. The choice does not depend on it.
        progress: True shows a bar on standard error where one can move, False nothing; a function is called with the number of runs
            done and of all runs.

    Raises:
        SettingError: Something asked for cannot be.
        TrainingError: A function returns nothing that can be judged, or no run ended well.
        StoreError: The folder is unwritable, or belongs to something else.
    """
    tuning = Tuning(
        subject,
        around=around,
        budget=budget,
        seeds=seeds,
        method=method,
        low=low,
        high=high,
        also=also,
        rule=rule,
        margin=margin,
        confirm=confirm,
        layers=layers,
        verify=verify,
        metric=metric,
        maximize=maximize,
        unit=unit,
        name=name,
    )
    with shown(progress, tuning.cost_words) as report:
        return tuning.run(out, jobs=jobs, progress=report or False)


class Tuning:
    """A tuning that was asked for and has not begun: everything that can be known to be wrong has been said.

    Its arguments are those of :func:`tune`.

    Attributes:
        subject: What is tuned.
        space: What may be chosen.
        seeds: Seeds of the search.
        fresh: Seeds of the confirmation, which the search never sees.
        budget: Most trainings of the choice and of looking into it.
        look: How the choice is looked into.
        prior: What could be said before anything is trained; None where nothing could.
    """

    def __init__(  # noqa: PLR0913  as tune
        self,
        subject: Experiment | TrainFunction,
        *,
        around: float | None = None,
        budget: int | None = None,
        seeds: int | Sequence[int] | None = None,
        method: str = "search",
        low: float | None = None,
        high: float | None = None,
        also: Mapping[str, Iterable[Setting] | Setting] | None = None,
        rule: str = "minimum",
        margin: float | None = None,
        confirm: int = 0,
        layers: int | None = None,
        verify: bool = False,
        metric: str | None = None,
        maximize: bool | None = None,
        unit: str | None = None,
        name: str = "l2",
    ) -> None:
        check_method(method, rule)
        self.method, self.rule = method, rule
        self.seeds = _seeds_of(subject) if seeds is None else read_seeds(seeds)
        self.budget = read_budget(budget, len(self.seeds))
        self.fresh = tuple(range(max(self.seeds) + 1, max(self.seeds) + 1 + read_count("confirm", confirm)))
        span = Range(around, low, high)
        wanted = read_look(0 if layers is None and method == "prior" and not verify else layers, self.seeds, is_verified=verify)
        self.subject: Subject
        if isinstance(subject, Experiment):
            _check_is_an_experiments_own(subject, maximize=maximize, unit=unit, name=name)
            _check_one_rate(subject, also)
            self.subject = self._of_experiment(subject, metric, span)
        else:
            if method == "evidence":
                raise SettingError(
                    "method is 'evidence'",
                    "it looks into networks, and a function shows none",
                    "take method search, or an Experiment",
                )
            if layers is None and not verify:
                wanted = Look()
            self.subject = FunctionSubject(subject, metric=metric, maximize=maximize, margin=margin, unit=unit or "half")
        self.space = read_space(span, also, self.subject.fixed, name=name, unit=self.subject.unit)
        self.margin = None if margin is None else margin_of(self.subject.objective.metric, margin).value
        self.subject.prepare(
            [self.space.variant(0.0, **others) for others in self.space.combinations()], [*self.seeds, *self.fresh]
        )
        self.prior = self.subject.prior(self.space)
        if self.prior is not None and low is None and high is None:
            self.space = _around_window(self.space, self.prior)
        if method == "prior" and self.prior is None:
            raise SettingError(
                "method is 'prior'",
                "it knows the window of a decoupled decay alone, from learning rate, rows and epochs: an Experiment with AdamW",
                "take method search, with around= the default that you know",
            )
        left = self.budget - len(self.subject.looked_at)
        self.look = afforded(wanted, self.subject, self.space, method, left, len(self.seeds))

    def _of_experiment(self, experiment: Experiment, metric: str | None, span: Range) -> Subject:
        if self.method != "evidence":
            return ExperimentSubject(experiment, metric)
        from shrinkwise.experiments.tuning.layered import LayeredSubject

        found = LayeredSubject(experiment, metric, span, self.seeds)
        if self.budget < LEAST_BUDGET + len(found.looked_at):
            raise SettingError(
                f"budget is {self.budget}",
                f"the evidence takes {len(found.looked_at)} trainings, and a curve at least {LEAST_BUDGET} more",
                f"give budget={LEAST_BUDGET + len(found.looked_at)} or more",
            )
        return found

    @property
    def n_runs(self) -> int:
        """The most runs that it may train and keep, those of a confirmation among them."""
        return self.n_searched + 2 * len(self.fresh)

    @property
    def n_searched(self) -> int:
        """The most runs from which λ is chosen."""
        return self.budget - len(self.subject.looked_at) - len(self.look.seeds)

    @property
    def data(self) -> str:
        """Name of what λ is chosen for: the data, or the function."""
        return self.subject.name

    @property
    def short_name(self) -> str:
        """Six characters that name it, whatever its budget, method and range."""
        return self.subject.plan().short_name

    @property
    def cost_words(self) -> str:
        """What it will cost, to be said before it starts.

        >>> Tuning(lambda trial: trial["l2"], confirm=6).cost_words
        'At most 32 trainings of 8 seeds, and then 12 more to confirm the choice on 6 fresh seeds.'
        """
        n_seeds = (
            len(self.seeds) if self.method == "sweep" else min(len(self.seeds), n_seeds_of(self.budget - len(self.look.seeds)))
        )
        words = f"At most {counted(self.budget, 'training')} of {counted(n_seeds, 'seed')}"
        if self.subject.looked_at:
            words += f", {len(self.subject.looked_at)} of them to take the evidence of"
        if self.look.seeds:
            words += f", {len(self.look.seeds)} of them to look at the layers of the choice"
        if self.fresh:
            seeds = counted(len(self.fresh), "fresh seed")
            words += f", and then {2 * len(self.fresh)} more to confirm the choice on {seeds}"
            if 1 < len(self.fresh) < (least := floor_of_seeds(1)):
                words += f" (fewer than {least} fresh seeds give an interval and no verdict)"
        if self.look.is_verified:
            words += ", and one more for each clear advice on a layer and seed, to verify it"
        return f"{words}."

    def run(
        self,
        out: str | Path | None = None,
        *,
        jobs: int | None = None,
        progress: Progress | bool = True,
        on_step: OnStep | None = None,
        on_means: OnMeans | None = None,
    ) -> Tuned:
        """Train what is missing, choose, confirm where that was asked for, and look at the layers of the choice.

        Args:
            out: Folder that keeps the runs. None keeps nothing.
            jobs: Worker processes; None takes one a core.
            progress: As :func:`tune` takes it.
            on_step: Called after each round of a search.
            on_means: As :meth:`Experiment.run` takes it.

        Raises:
            TrainingError: A function returns nothing that can be judged, or no run ended well.
            StoreError: The folder is unwritable, or belongs to something else.
            WorkerError: A process that trained died; what had ended is kept.
        """
        subject, launcher = self.subject, LocalLauncher(jobs)
        with (
            shown(progress) as report,
            Growing(
                subject.plan(),
                subject.trainer,
                None if out is None else Path(out),
                launcher,
                n_all=self.n_runs,
                check=subject.check,
                settle=subject.settle,
                progress=report,
                chooser=Chooser(partial(subject.means, jobs=launcher.jobs), partial(subject.fitted, jobs=launcher.jobs), on_means),
            ) as growing,
        ):
            space = subject.layered(self.space)
            found = self._choose(growing, space, on_step)
            is_default = found.choice.variant == space.default_variant
            growing.will_be(len(growing.records) + (0 if is_default else 2 * len(self.fresh)))
            if self.fresh:
                found = confirm_choice(found, subject, space, growing, self.fresh)
        return look_at_choice(found, subject, self.look)

    def _choose(self, growing: Growing, space: Space, on_step: OnStep | None) -> Tuned:
        subject, records = self.subject, dict[RunKey, Record]()

        def train_many(keys: Sequence[RunKey]) -> list[Record]:
            if len(records.keys() | set(keys)) > self.n_searched:
                raise RuntimeError(f"{self.method} asks for more than {self.n_searched} trainings")
            settled = growing(keys)
            records.update(zip(keys, settled, strict=True))
            return settled

        objective = subject.objective
        if self.method == "prior" and self.prior is not None:
            choice = self.prior
        else:
            choice = _METHODS[self.method](
                train_many,
                space,
                objective,
                seeds=self.seeds,
                budget=self.n_searched,
                condition=subject.condition,
                rule=self.rule,
                margin=self.margin,
                on_step=on_step,
            )
        choice = replace(
            choice,
            name=space.name,
            default=space.default,
            metric=objective.metric,
            is_higher_better=objective.is_higher_better,
        )
        runs = tuple(records.values())
        study = by_means(subject.study(choice.cost.seeds), growing.means)
        found = Tuned(subject.finished(choice), study, runs, objective, layers=subject.told((), choice))
        return found.noted(*stops(runs))


def _seeds_of(subject: Experiment | TrainFunction) -> tuple[int, ...]:
    return subject.seeds if isinstance(subject, Experiment) and subject.has_own_seeds else read_seeds(N_SEEDS)


def _check_one_rate(experiment: Experiment, also: object) -> None:
    """Make sure that the learning rate of the default is known.

    Raises:
        SettingError: The experiment has several, and none of them is said to be the default's.
    """
    if len(experiment.rates) > 1 and not (isinstance(also, Mapping) and "lr" in also):
        rates = ", ".join(f"{rate:g}" for rate in experiment.rates)
        raise SettingError(
            f"the experiment has the learning rates {rates}",
            "λ is searched together with them, and which of them the default has is not known",
            f"list them with the default's first: also={{'lr': [{rates}]}}",
        )


_METHODS: Mapping[str, Callable[..., Choice]] = {"search": search, "sweep": sweep, "evidence": search}
"""What chooses; of the evidence it is the multiplier that is searched."""


def _around_window(space: Space, window: Choice) -> Space:
    """Look for a decoupled decay where its timescale says that it may act: from a hundredth of the window's lower end on."""
    ends = [window.low / 100, window.high, *([space.default] if space.default else [])]
    return replace(space, low=min(ends), high=max(ends))


def _check_is_an_experiments_own(experiment: Experiment, *, maximize: bool | None, unit: str | None, name: str) -> None:
    for word, value, own in (("unit", unit, experiment.recipe.unit), ("name", name, "l2"), ("maximize", maximize, None)):
        if value is not None and value != own:
            raise SettingError(
                f"{word} is {value!r}", "that is for training functions: an experiment says itself what it is", f"leave {word} out"
            )
