"""Shrinkwise: on which weights should the penalty act, how strongly, and did it help?

This is the public list and nothing else. Names are imported when they are first used, so that with torch and numpy alone the
regularization wing works; the experiments wing needs the extra ``shrinkwise[experiments]``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shrinkwise.experiments import data
    from shrinkwise.experiments.experiment import Experiment
    from shrinkwise.experiments.grid import grid
    from shrinkwise.experiments.records import Condition, Record, Variant
    from shrinkwise.experiments.result import Result
    from shrinkwise.experiments.verdict import verdict
    from shrinkwise.regularization.apply import Bound, Regularizer, count_steps, param_groups
    from shrinkwise.regularization.dropout import Dropout, place_dropout
    from shrinkwise.regularization.penalties import L2
    from shrinkwise.regularization.strength import convert

__version__ = "0.1.0"

_HOMES = {
    "L2": "regularization.penalties",
    "Dropout": "regularization.dropout",
    "place_dropout": "regularization.dropout",
    "count_steps": "regularization.apply",
    "convert": "regularization.strength",
    "param_groups": "regularization.apply",
    "Regularizer": "regularization.apply",
    "Bound": "regularization.apply",
    "Experiment": "experiments.experiment",
    "grid": "experiments.grid",
    "Condition": "experiments.records",
    "Record": "experiments.records",
    "Variant": "experiments.records",
    "Result": "experiments.result",
    "verdict": "experiments.verdict",
    "data": "experiments.data",
}

__all__ = [
    "L2",
    "Bound",
    "Condition",
    "Dropout",
    "Experiment",
    "Record",
    "Regularizer",
    "Result",
    "Variant",
    "convert",
    "count_steps",
    "data",
    "grid",
    "param_groups",
    "place_dropout",
    "verdict",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'shrinkwise' has no attribute {name!r}")
    try:
        home = importlib.import_module(f"shrinkwise.{_HOMES[name]}")
    except ImportError as error:
        from shrinkwise.errors import MissingExtraError

        if error.name is None or error.name.startswith("shrinkwise"):
            raise
        raise MissingExtraError(
            f"{error.name} is not installed",
            f"shrinkwise.{name} needs the extra 'experiments'",
            "pip install 'shrinkwise[experiments]'",
        ) from error
    value = home if name == "data" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
