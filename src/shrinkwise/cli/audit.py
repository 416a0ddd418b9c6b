"""``shrinkwise audit``: what an optimiser really shrinks, in anybody's code."""

from __future__ import annotations

import importlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from torch import nn

from shrinkwise.errors import ModelError, SettingError, ShrinkwiseError, did_you_mean
from shrinkwise.regularization.audit import audit as look

_MEND = "name it as package.module:factory, where factory() returns a model and its optimiser"
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
    # What the user's own code prints is none of the answer.
    with redirect_stdout(sys.stderr):
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
    module_name, colon, name = path.removeprefix("./").partition(":")
    if not (module_name and colon and name):
        raise SettingError(f"{path!r} names no factory", "a module and a factory are parted by a colon", _MEND)
    with _importable_folder():
        module = _imported(module_name)
        factory, holder = module, module_name
        for part in name.split("."):
            if not hasattr(factory, part):
                known = _own_names(factory)
                raise SettingError(
                    f"{holder} has no {part!r}", "it defines no such name", did_you_mean(part, known) if known else _MEND
                )
            factory, holder = getattr(factory, part), part
        if not callable(factory) or isinstance(factory, nn.Module):
            raise SettingError(f"{path} is a {type(factory).__name__}", "it cannot be called to make what is audited", _MEND)
        try:
            return factory()
        except ShrinkwiseError:
            raise
        except (Exception, SystemExit) as error:
            cause = f"{type(error).__name__}: {error}".removesuffix(".")
            raise SettingError(
                f"{path} raised an error{_where(error)}", cause, "see that it runs by itself, without arguments"
            ) from error


def _own_names(holder: Any) -> list[str]:
    """Return what can be a factory in a module or a class, without what a module has imported."""
    names = [name for name in getattr(holder, "__dict__", ()) if not name.startswith("_")]
    if not inspect.ismodule(holder):
        return names
    own = [name for name in names if getattr(getattr(holder, name), "__module__", None) == holder.__name__]
    return [name for name in own if inspect.isfunction(getattr(holder, name)) or inspect.isclass(getattr(holder, name))]


def _where(error: BaseException) -> str:
    """Return file and line of the innermost frame that is in no library, such as `` at train.py:12``."""
    library = Path(sysconfig.get_path("stdlib"))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        is_library = file.is_relative_to(library) or {"site-packages", "dist-packages"} & set(file.parts)
        if file.is_file() and not is_library and frame.filename != __file__:
            here = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
            return f" at {here}:{frame.lineno}"
    return ""


def _imported(name: str) -> Any:
    fact = f"{name} cannot be imported"
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            here = [path.stem for path in Path.cwd().iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
            cause = f"there is no module {error.name!r} here or installed"
            raise SettingError(fact, cause, did_you_mean(name, here) if here else _MEND) from error
        cause = f"{type(error).__name__}: {error}".removesuffix(".")
        raise SettingError(fact, cause, f"see that it can be: python -c 'import {name}'") from error


@contextmanager
def _importable_folder() -> Iterator[None]:
    """Let modules of the current folder be imported, as ``python -m`` does."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
