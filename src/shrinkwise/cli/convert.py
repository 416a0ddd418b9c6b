"""``shrinkwise convert``: λ from one unit to another."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated, cast

import typer
from rich.console import Console

from shrinkwise.errors import SettingError
from shrinkwise.regularization.strength import UNITS, OptimizerKind, find_unit
from shrinkwise.regularization.strength import convert as convert_strength

_NAMES = ", ".join("/".join((unit.name, *unit.aliases)) for unit in UNITS.values())


def convert(  # noqa: PLR0913  each parameter is a flag
    value: Annotated[float, typer.Argument(help="λ in the unit --from; C or τ in units that have them.", show_default=False)],
    *,
    source: Annotated[str, typer.Option("--from", help=f"Unit to convert from: {_NAMES}.", show_default=False)] = "",
    target: Annotated[str, typer.Option("--to", help="Unit to convert to, one of the same.", show_default=False)] = "",
    lr: Annotated[float | None, typer.Option(help="Learning rate.", show_default=False)] = None,
    n_samples: Annotated[float | None, typer.Option(help="Number of training samples.", show_default=False)] = None,
    batch_size: Annotated[float | None, typer.Option(help="Samples in a step.", show_default=False)] = None,
    epochs: Annotated[
        float | None,
        typer.Option(
            help="Length of the run: says which part of it the decay remembers; takes --lr, --n-samples and --batch-size.",
            show_default=False,
        ),
    ] = None,
    optimizer: Annotated[str, typer.Option(help="sgd (without momentum), momentum (SGD with it) or adam.")] = "sgd",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
    ] = False,
) -> None:
    """Convert λ between the units of frameworks and papers, and say whether both are the same training.

    Example: shrinkwise convert 0.01 --from keras --to adamw --lr 1e-3
    """
    for flag, given in (("--from", source), ("--to", target)):
        if not given:
            raise SettingError(f"{flag} is missing", "a number alone does not tell its unit", f"name one with {flag}: {_NAMES}")
    converted = convert_strength(
        value,
        source,
        target,
        lr=lr,
        n_samples=n_samples,
        batch_size=batch_size,
        epochs=epochs,
        optimizer=cast("OptimizerKind", optimizer),
    )
    if as_json:
        json.dump(asdict(converted), sys.stdout, indent=2, allow_nan=False)
        sys.stdout.write("\n")
        return
    unit = find_unit(target)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{unit.symbol} = {converted.value:.6g} in {target}: {unit.formula}", markup=False)
    console.print(f"{'Exact' if converted.exact else 'Not exact'}: {converted.why}.", markup=False)
