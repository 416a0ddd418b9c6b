"""``shrinkwise audit``: what an optimiser really shrinks, in anybody's code."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from shrinkwise.cli.loading import Wanted, named, somebodys_code, where
from shrinkwise.errors import ModelError, SettingError, ShrinkwiseError, did_you_mean
from shrinkwise.regularization.audit import audit as look

_MEND = "name it as package.module:factory, where factory() returns a model and its optimiser"
_FACTORY = Wanted("factory", "to make what is audited", _MEND)
_KEYS = ("model", "optimizer", "inputs", "loss")


def audit(
    factory: Annotated[str, typer.Argument(help="package.module:factory, from this folder or installed.", show_default=False)],
    *,
    exact: Annotated[bool, typer.Option("--exact", help="Step the real optimiser, hooks included, and undo it.")] = False,
    depth: Annotated[int, typer.Option(help="Levels of repeated layers to write out, the outermost first; 0 folds all.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
    ] = False,
) -> None:
    """Say which weights an optimiser really shrinks, by how much a step, and what is likely wrong with that.

    The factory is called without arguments. It returns a model, a tuple of a model and its optimisers, a LightningModule or a
    Hugging Face Trainer; or a dict with one of these under "model" and, as sw.audit takes them, "optimizer", "inputs" and "loss".
    The module is imported, so what a script does at import time is done: put training under if __name__ == "__main__":.
    Example: shrinkwise audit train:make --exact
    """
    with somebodys_code():
        subject = _made(factory)
        try:
            seen = look(**_arguments(factory, subject), exact=exact, depth=depth)
        except ModelError as error:
            raise ModelError(f"{factory} returned what cannot be audited, {error.fact}", error.cause, error.mend) from error
    if as_json:
        typer.echo(seen.to_json())
    elif sys.stdout.isatty():
        Console(highlight=False).print(seen)
    else:
        typer.echo(seen.to_text())


def _arguments(path: str, made: Any) -> dict[str, Any]:
    """Return what a factory gave as arguments of the audit.

    Raises:
        SettingError: It is a dict without a model, or with something that the audit does not take.
    """
    if not isinstance(made, dict):
        return {"model": made}
    unknown = [key for key in made if key not in _KEYS]
    if unknown or "model" not in made:
        fact = f"{path} returned a dict with {unknown[0]!r}" if unknown else f"{path} returned a dict without 'model'"
        raise SettingError(
            fact, f"a factory's dict may hold {', '.join(_KEYS)}", did_you_mean(str(unknown[0]), _KEYS) if unknown else _MEND
        )
    return made


def _made(path: str) -> Any:
    """Import a factory and call it.

    Raises:
        SettingError: It cannot be imported, is no factory, or raised an error.
    """
    factory = named(path, _FACTORY)
    try:
        return factory()
    except ShrinkwiseError:
        raise
    except (Exception, SystemExit) as error:
        cause = f"{type(error).__name__}: {error}".removesuffix(".")
        raise SettingError(
            f"{path} raised an error{where(error)}", cause, "see that it runs by itself, without arguments"
        ) from error
