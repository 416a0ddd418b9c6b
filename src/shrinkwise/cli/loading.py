"""Somebody's own code, named on the command line: what to import, and what is said where that fails."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

import shrinkwise
from shrinkwise.errors import SettingError, did_you_mean


@dataclass(frozen=True)
class Wanted:
    """What is to be named.

    Attributes:
        kind: What it is, such as ``factory``.
        purpose: What it is called for, such as ``to make what is audited``.
        mend: How to name one.
    """

    kind: str
    purpose: str
    mend: str


def named(path: str, wanted: Wanted) -> Any:
    """Import what ``package.module:name``, or ``package/module.py:name``, names.

    Raises:
        SettingError: It cannot be imported, or cannot be called.
    """
    module_name, colon, name = path.removeprefix("./").partition(":")
    # A file of this folder is named as people see it, too.
    if module_name.endswith(".py"):
        module_name = ".".join(Path(module_name.removesuffix(".py")).parts)
    if not (module_name and colon and name):
        raise SettingError(f"{path!r} names no {wanted.kind}", f"a module and a {wanted.kind} are parted by a colon", wanted.mend)
    found, holder = _imported(module_name, wanted), module_name
    for part in name.split("."):
        if not hasattr(found, part):
            known = _own_names(found)
            mend = did_you_mean(part, known) if known else wanted.mend
            raise SettingError(f"{holder} has no {part!r}", "it defines no such name", mend)
        found, holder = getattr(found, part), part
    if not callable(found) or isinstance(found, nn.Module):
        raise SettingError(f"{path} is a {type(found).__name__}", f"it cannot be called {wanted.purpose}", wanted.mend)
    return found


def where(error: BaseException) -> str:
    """Return file and line of the innermost frame that is in no library, such as `` at train.py:12``."""
    libraries = [Path(sysconfig.get_path("stdlib")), Path(shrinkwise.__file__).parent]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        is_library = any(map(file.is_relative_to, libraries)) or {"site-packages", "dist-packages"} & set(file.parts)
        if file.is_file() and not is_library:
            here = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
            return f" at {here}:{frame.lineno}"
    return ""


@contextmanager
def somebodys_code() -> Iterator[None]:
    """Let modules of the current folder be imported, as ``python -m`` does, and keep what they print off the answer.

    What they and the processes that they start print goes to standard error while the block lasts.
    """
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        with _only_errors(), redirect_stdout(sys.stderr):
            yield
    finally:
        sys.path.remove(folder)


@contextmanager
def _only_errors() -> Iterator[None]:
    """Point the process's own standard output at its standard error: workers inherit it."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _own_names(holder: Any) -> list[str]:
    """Return what can be a factory in a module or a class, without what a module has imported."""
    names = [name for name in getattr(holder, "__dict__", ()) if not name.startswith("_")]
    if not inspect.ismodule(holder):
        return names
    own = [name for name in names if getattr(getattr(holder, name), "__module__", None) == holder.__name__]
    return [name for name in own if inspect.isfunction(getattr(holder, name)) or inspect.isclass(getattr(holder, name))]


def _imported(name: str, wanted: Wanted) -> Any:
    fact = f"{name} cannot be imported"
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            here = [path.stem for path in Path.cwd().iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
            cause = f"there is no module {error.name!r} here or installed"
            raise SettingError(fact, cause, did_you_mean(name, here) if here else wanted.mend) from error
        cause = f"{type(error).__name__}: {error}".removesuffix(".")
        raise SettingError(fact, cause, f"see that it can be: python -c 'import {name}'") from error
