"""Flags made from the fields of a settings class, so that a name, its help and its check stand in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shrinkwise.experiments.spec_messages import written


def flags_of(*settings: type[BaseModel]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command one flag for each field of some settings classes; the command is called with those that were given.

    Text is handed on as it was typed: the settings class reads and checks it, as it does for a TOML file.

    Args:
        settings: The classes whose fields become flags; of a field that several have the first one's help is shown.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        fields: dict[str, FieldInfo] = {}
        for each in settings:
            fields |= {name: field for name, field in each.model_fields.items() if name not in fields}
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]
        flags = [_parameter(name, field) for name, field in fields.items()]
        names = {parameter.name for parameter in own}

        def call(**values: Any) -> Any:
            given = {name: value for name, value in values.items() if value is not None or name in names}
            return command(**given)

        call.__name__, call.__doc__ = command.__name__, command.__doc__
        call.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
        call.__annotations__ = {p.name: p.annotation for p in call.__signature__.parameters.values()}  # type: ignore[attr-defined]
        return call

    return decorate


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind: Any = bool if field.annotation is bool else str
    flag = f"--{(field.alias or name).replace('_', '-')}"
    option = typer.Option(None, flag, help=_help(field), metavar=None if kind is bool else "TEXT", show_default=False)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind | None)


def _help(field: FieldInfo) -> str:
    text = field.description or ""
    default = field.default
    if field.is_required() or default is None or default is False:
        return text
    return f"{text} (default: {written(default)})"
