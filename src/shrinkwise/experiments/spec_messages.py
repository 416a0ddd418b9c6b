"""Settings from a TOML file, and what is wrong with settings, said as fact, cause and mend."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.experiments.records import short

_WANTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "list_type": "a number, or a list of numbers",
    "string_type": "text",
    "too_short": "one value or more",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
}
"""What each kind of finding asks for, where pydantic's own words are a programmer's."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the settings of a TOML file, its keys with underscores or hyphens.

    Raises:
        SettingError: It is absent, or no TOML.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"{path} cannot be read", str(error.strerror).lower(), "give the path of a TOML file") from error
    except ValueError as error:
        raise SettingError(f"{path} is no TOML", str(error), "mend that line; a setting reads: l2 = [0, 0.01]") from error
    return {name.replace("-", "_"): value for name, value in settings.items()}


def name_of(details: ErrorDetails) -> str:
    """Return the setting that one of pydantic's findings is about, by the name that a user gave it."""
    return str(details["loc"][0]) if details["loc"] else ""


def message(spec: type[BaseModel], details: ErrorDetails) -> SettingError:
    """Say one of pydantic's findings."""
    name, given = name_of(details), details["input"]
    known = {field.alias or own: field for own, field in spec.model_fields.items()}
    match details["type"]:
        case "extra_forbidden":
            return SettingError(f"{name!r} is no setting", "no flag or key has that name", did_you_mean(name, known))
        case "missing":
            return SettingError(
                f"{name} is missing", "there is no default for it", f"give --{name}, or {name} = ... in the TOML file"
            )
        case "literal_error":
            choices = str(details["ctx"]["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
            return SettingError(f"{name} is {given!r}", "it is none of the choices", did_you_mean(str(given), choices))
        case _:
            shown = "not a number" if isinstance(given, float) and math.isnan(given) else repr(given)
            wanted = _WANTED.get(details["type"], details["msg"].removeprefix("Input should be "))
            return SettingError(f"{name} is {shown}", f"it should be {wanted}", _example(name, known[name]))


def _example(name: str, field: FieldInfo) -> str:
    if field.default in (None, False) or field.is_required():
        return f"for --{name.replace('_', '-')}, {(field.description or '').rstrip('.')}"
    return f"give such as --{name.replace('_', '-')} {written(field.default)}"


def written(value: Any) -> str:
    """Write a setting as a flag takes it.

    >>> written([0.0, 0.01]), written("sgd")
    ('0,0.01', 'sgd')
    """
    if isinstance(value, list):
        return ",".join(map(short, value)) or "none"
    return short(value)
