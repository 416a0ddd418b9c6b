"""``shrinkwise compare``: base against L2 against dropout, on anybody's data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shrinkwise.cli.flags import flags_of
from shrinkwise.cli.output import note, print_answer, progress_bar
from shrinkwise.experiments.spec import Spec, read_toml


@flags_of(Spec)
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

    ``out``, ``jobs`` and ``as_json`` (``json`` in a TOML file) say where and how; everything else is the experiment's.

    Raises:
        ShrinkwiseError: A setting is wrong, or the data cannot carry the experiment; nothing has been written then.
    """
    out, jobs = settings.pop("out", None), settings.pop("jobs", None)
    as_json = bool(settings.pop("as_json", settings.pop("json", False)))
    spec = Spec.read(settings)
    dataset = spec.load()
    if dataset.task_note:
        note(dataset.task_note)
    experiment = spec.experiment(dataset)
    folder = Path(out) if out else Path("runs") / (name or f"{Path(spec.data).stem}-{experiment.plan.short_name}")
    with progress_bar(folder) as progress:
        result = experiment.run(folder, jobs=jobs and int(jobs), progress=progress)
    print_answer(result, result.save(folder), as_json=as_json)
