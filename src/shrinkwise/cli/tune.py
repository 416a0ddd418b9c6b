"""``shrinkwise tune``: which λ, for anybody's data or anybody's training function, or that the default is as good."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from shrinkwise.cli.command import FunctionCommand, Output, TuneCommand
from shrinkwise.cli.flags import flags_of
from shrinkwise.cli.loading import Wanted, named, somebodys_code
from shrinkwise.cli.output import note, print_document, say_means, say_reasons, shown_progress
from shrinkwise.errors import SettingError
from shrinkwise.experiments.report.choosing.words import interval_text, lam_text
from shrinkwise.experiments.result import check_free
from shrinkwise.experiments.selection import Step
from shrinkwise.experiments.spec_messages import read_toml
from shrinkwise.experiments.tuning.tuned import Tuned
from shrinkwise.experiments.tuning.tuning import Tuning

_MEND = "name it as package.module:train, where train(trial) returns a number or a dict of numbers"
_FUNCTION = Wanted("training function", "with a trial", _MEND)


@flags_of(TuneCommand, FunctionCommand)
def tune(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONFIG.toml | package.module:train]",
            help="A TOML file with these flags as keys; or a function train(trial), from this folder or installed.",
            show_default=False,
        ),
    ] = None,
    **flags: Any,
) -> None:
    """Choose λ on validation data by full-length runs, or find that nothing beyond noise is to be gained over the default.

    A function is called with a trial: trial["l2"] is the strength, trial.seed what everything random hangs on. It returns what λ is
    chosen by. Its module is imported, so what a script does at import time is done.

    Example: shrinkwise tune --data digits --classes 0-4 --label-noise 0.2 --around 0.001
    """
    with ExitStack() as around_training:
        if subject is not None and _is_function(subject):
            command: FunctionCommand | TuneCommand = FunctionCommand.read(flags)
            around_training.enter_context(somebodys_code())
            tuning = Tuning(named(subject, _FUNCTION), **command.tuning())
            name = subject.partition(":")[2]
        else:
            ours = TuneCommand.read(({} if subject is None else read_toml(Path(subject))) | flags)
            command, tuning, name = ours, _of_data(ours), Path(ours.data).stem
        folder = Path(command.out).expanduser() if command.out else Path("runs") / f"{name}-tune-{tuning.short_name}"
        check_free(folder, tuning.data)
        tuned = _run(tuning, folder, command)
        page = tuned.save(folder)
    _print(tuned, page, command)


def _is_function(subject: str) -> bool:
    """Say whether what was named is a function, not a TOML file.

    Raises:
        SettingError: It is neither.
    """
    suffix = Path(subject).suffix
    if ":" in subject and suffix != ".toml":
        return True
    if suffix == ".py" or (suffix != ".toml" and not Path(subject).exists()):
        raise SettingError(
            f"{subject!r} is neither a TOML file nor a training function", "both are read by how they are named", _MEND
        )
    return False


def _of_data(command: TuneCommand) -> Tuning:
    dataset = command.load()
    if dataset.task_note:
        note(f"{dataset.task_note} --task says otherwise.")
    return Tuning(command.experiment(dataset), **command.tuning(), metric=command.metric, margin=command.margin)


def _run(tuning: Tuning, folder: Path, command: Output) -> Tuned:
    note(tuning.cost_words)
    with shown_progress(folder, is_most=True) as progress:
        on_means = say_means if command.verbose else None
        return tuning.run(folder, jobs=command.jobs, progress=progress, on_step=_rounds(), on_means=on_means)


def _rounds() -> Callable[[Step], None]:
    """Return what says after each round what is believed."""
    n_runs, n_rounds = 0, 0

    def say(step: Step) -> None:
        nonlocal n_runs, n_rounds
        n_runs, n_rounds = n_runs + len(step.runs), n_rounds + 1
        note(f"Round {n_rounds}: {n_runs} runs; best {lam_text(step.best)}, interval {interval_text(step.low, step.high)}.")

    return say


def _print(tuned: Tuned, page: Path, command: Output) -> None:
    if command.as_json:
        print_document(tuned.document())
    else:
        from rich.console import Console

        tuned.show(Console(highlight=False))
    note(f"Report: {page}")
    say_reasons(tuned.trained)
