"""``shrinkwise compare``: base against L2 against dropout, on anybody's data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shrinkwise.cli.command import Command
from shrinkwise.cli.flags import flags_of
from shrinkwise.cli.output import note, print_answer, say_means, say_reasons, shown_progress
from shrinkwise.experiments.result import check_free
from shrinkwise.experiments.spec_messages import read_toml


@flags_of(Command)
def compare(
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file with these flags as keys; a flag that is given wins.", show_default=False)
    ] = None,
    **flags: Any,
) -> None:
    """Compare variants of one network on the same data, seeds and budget, and say what helps.

    Example: shrinkwise compare --data digits --classes 0-4 --l2 0,0.01,0.1 --label-noise 0,0.2
    """
    run(({} if config is None else read_toml(config)) | flags)


def run(settings: dict[str, Any], *, name: str = "") -> None:
    """Run the experiment that flags and TOML describe, keep it, and print its answer.

    Args:
        settings: The fields of a :class:`Command`, as they were given.
        name: Folder below ``runs`` if ``out`` is not given; one that names the experiment if left out.

    Raises:
        ShrinkwiseError: A setting is wrong, or the data cannot carry the experiment; nothing has been written then.
    """
    command = Command.read(settings)
    dataset = command.load()
    if dataset.task_note:
        note(f"{dataset.task_note} --task says otherwise.")
    experiment = command.experiment(dataset)
    name = name or f"{Path(command.data).stem}-{experiment.plan.short_name}"
    folder = Path(command.out).expanduser() if command.out else Path("runs") / name
    check_free(folder, experiment.dataset.name)
    with shown_progress(folder) as progress:
        result = experiment.run(folder, jobs=command.jobs, progress=progress, on_means=say_means if command.verbose else None)
    print_answer(result, result.save(folder), as_json=command.as_json)
    say_reasons(result.records)
