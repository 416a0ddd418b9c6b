"""``shrinkwise verdict``: judge runs that were made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shrinkwise.cli.output import print_answer
from shrinkwise.errors import SettingError
from shrinkwise.experiments.verdict import verdict as judge


def verdict(  # noqa: PLR0913  each parameter is a flag
    runs: Annotated[Path, typer.Argument(help="CSV or JSON lines (.jsonl), one row for each run.", show_default=False)],
    *,
    vary: Annotated[str, typer.Option(help="Column that tells variants apart, such as weight_decay; several with commas.")] = "",
    metric: Annotated[str, typer.Option(help="Column that is judged, such as eval_loss.")] = "",
    seed: Annotated[str, typer.Option(help="Column that pairs runs of different variants.")] = "seed",
    within: Annotated[str, typer.Option(help="Column that tells conditions apart; variants are compared within one.")] = "",
    minimize: Annotated[bool, typer.Option("--minimize", help="Less of the metric is better.")] = False,
    maximize: Annotated[bool, typer.Option("--maximize", help="More of the metric is better.")] = False,
    base: Annotated[
        str | None, typer.Option(help="Value of --vary to compare against; the one that is zero or none if left out.")
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(help="What counts as the same: points of accuracy and its kin (0.5), per cent of anything else (2)."),
    ] = None,
    n_train: Annotated[str | None, typer.Option(help="Column with the number of training rows, for resampled splits.")] = None,
    n_test: Annotated[str | None, typer.Option(help="Column with the number of test rows, for resampled splits.")] = None,
    examples: Annotated[
        str | None, typer.Option(help="Column with the metric on each test row: 0110... or numbers with spaces.")
    ] = None,
    test_rows: Annotated[
        str | None,
        typer.Option(help="Column with the row numbers of the test rows, where each seed cut its own out of one data set."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the report; none is written if left out.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
    ] = False,
) -> None:
    """Judge runs that you already have, from any tool: paired by seed, with intervals, and a verdict in plain words.

    Example: shrinkwise verdict runs.csv --vary weight_decay --seed seed --metric eval_loss
    """
    for name, value in (("vary", vary), ("metric", metric)):
        if not value:
            raise SettingError(
                f"--{name} is missing", "a table of runs does not tell it by itself", f"name the column with --{name}"
            )
    if minimize and maximize:
        raise SettingError("--minimize and --maximize are both given", "one contradicts the other", "give one of them")
    result = judge(
        runs,
        vary=vary,
        seed=seed,
        metric=metric,
        within=within or (),
        maximize=maximize if minimize or maximize else None,
        base=base,
        margin=margin,
        n_train=n_train,
        n_test=n_test,
        examples=examples,
        test_rows=test_rows,
    )
    _ = result.answer
    print_answer(result, result.save(out.expanduser()) if out else None, as_json=as_json)
