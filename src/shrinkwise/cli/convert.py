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


def _number(help_text: str) -> typer.models.OptionInfo:
    # Taken as it is typed: what is no number is then said in our words, with what was typed.
    option: typer.models.OptionInfo = typer.Option(help=help_text, metavar="<float>", show_default=False)
    return option


def convert(  # noqa: PLR0913  each parameter is a flag
    value: Annotated[str, typer.Argument(help="λ in the unit --from; C or τ in units that have them.", show_default=False)],
    *,
    source: Annotated[str, typer.Option("--from", help=f"Unit to convert from: {_NAMES}.", show_default=False)] = "",
    target: Annotated[str, typer.Option("--to", help="Unit to convert to, one of the same.", show_default=False)] = "",
    lr: Annotated[str | None, _number("Learning rate.")] = None,
    n_samples: Annotated[str | None, _number("Number of training samples.")] = None,
    batch_size: Annotated[str | None, _number("Samples in a step.")] = None,
    epochs: Annotated[
        str | None,
        _number("Length of the run: says which part of it the decay remembers; takes --lr, --n-samples and --batch-size."),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="sgd (without momentum), momentum (SGD with it) or adam. Left out: Adam between a penalty and adamw or timescale, "
            "else plain SGD.",
            show_default=False,
        ),
    ] = None,
    momentum: Annotated[str | None, _number("Momentum of SGD; --optimizer may then be left out.")] = None,
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
    typed = {"lr": lr, "n_samples": n_samples, "batch_size": batch_size, "epochs": epochs, "momentum": momentum}
    converted = convert_strength(
        _read("the value", value),
        source,
        target,
        optimizer=cast("OptimizerKind | None", optimizer),
        **{name: _read(f"--{name.replace('_', '-')}", text) for name, text in typed.items() if text is not None},
    )
    if as_json:
        json.dump(asdict(converted), sys.stdout, indent=2, allow_nan=False)
        sys.stdout.write("\n")
        return
    unit = find_unit(target)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{unit.symbol} = {converted.value:.6g} in {target}: {unit.formula}", markup=False)
    console.print(f"{'Exact' if converted.exact else 'Not exact'}: {converted.why}.", markup=False)


def _read(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingError(f"{name} is {text!r}", "it has to be a number", "write it as 0.01 or 1e-2") from None
