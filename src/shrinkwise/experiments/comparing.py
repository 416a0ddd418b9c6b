"""Variants of anybody's training, compared with the statistics and the report of an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from shrinkwise.experiments.execution import Growing, LocalLauncher
from shrinkwise.experiments.execution.resume import Progress
from shrinkwise.experiments.functions.function import FunctionSubject
from shrinkwise.experiments.functions.training import TrainFunction
from shrinkwise.experiments.grid import check_comparable, read_base, read_seeds, read_variants
from shrinkwise.experiments.progress import shown
from shrinkwise.experiments.records import Setting
from shrinkwise.experiments.result import Result


def compare(  # noqa: PLR0913  the public face: every argument is one word of a comparison
    train: TrainFunction,
    variants: Iterable[Mapping[str, Setting]],
    seeds: int | Sequence[int] = 10,
    *,
    base: Mapping[str, Setting] | None = None,
    metric: str | None = None,
    maximize: bool | None = None,
    margin: float | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
    progress: Progress | bool = True,
) -> Result:
    """Compare variants of a training function, paired by seed.

    Args:
        train: ``train(trial)`` trains once and returns a number, or a mapping of numbers. ``trial["l2"]`` is a setting of the
            variant, ``trial.seed`` is what everything random should hang on. ``val_x`` or plain ``x`` is the metric x on validation
            rows, ``test_x`` on test rows, by which variants are compared; without any of those the validation rows stand for them.
            An array under ``test_x`` is the metric on each test row, the same rows in every run.
        variants: Mappings from setting to value, as :func:`grid` makes them; the function has to read every setting.
        seeds: A number of seeds, or the seeds.
        base: What the others are compared against; if left out, the variant in which nothing is switched on, or else the first.
        metric: What is judged; the only metric there is, or ``loss``, if left out.
        maximize: Whether more of it is better; guessed for well-known names alone.
        margin: What counts as the same: points of accuracy and its kin (0.5), per cent of anything else (2).
        out: Folder that keeps the runs; a second call with the same folder goes on where the first one stopped.
        jobs: Worker processes; None takes one a core. The records do not depend on it.
        progress: True shows a bar on standard error where one can move, False nothing; a function is called with the number of runs
            done and of all runs.

    Raises:
        SettingError: A setting is out of range, or read by nobody; the metric or its direction has to be said.
        TrainingError: The function returns nothing that can be judged, other metrics from run to run, or every run failed.
        StoreError: The folder is unwritable, or belongs to something else.

    >>> from shrinkwise.experiments.grid import grid
    >>> result = compare(lambda trial: (trial["l2"] - 0.1) ** 2 + 1.0, grid(l2=[0, 0.1]), seeds=6, jobs=1, progress=False)
    >>> result.answer.rows[1].metrics["loss"].estimate.point
    1.0
    """
    subject = FunctionSubject(train, metric=metric, maximize=maximize, margin=margin)
    read = read_variants(variants)
    check_comparable(read)
    chosen_base, chosen_seeds = read_base(base, read), read_seeds(seeds)
    plan = replace(subject.plan(), variants=read, conditions=(subject.condition,), seeds=chosen_seeds, is_open=False)
    keys = plan.runs()
    folder = None if out is None else Path(out)
    with (
        shown(progress) as report,
        Growing(
            plan,
            subject.trainer,
            folder,
            LocalLauncher(jobs),
            n_all=len(keys),
            check=subject.check,
            settle=subject.settle,
            progress=report,
        ) as growing,
    ):
        # The first seed is the rehearsal: what a function gives is known only once it has run, and is looked at before the rest.
        growing([key for key in keys if key.seed == chosen_seeds[0]])
        subject.refuse_none()
        records = growing(keys)
    study = subject.study(len(chosen_seeds))
    return Result(study=study, records=tuple(records), base=chosen_base, maximize=subject.maximize)
