"""Shrinkwise: on which weights should the penalty act, how strongly, and did it help?

This is the public list and nothing else. Names are imported when they are first used, so that with torch and numpy alone the
regularization wing works; the experiments wing needs the extra ``shrinkwise[experiments]``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shrinkwise.experiments import data
    from shrinkwise.experiments.comparing import compare
    from shrinkwise.experiments.experiment import Experiment
    from shrinkwise.experiments.functions.trial import Trial
    from shrinkwise.experiments.grid import grid
    from shrinkwise.experiments.records import Condition, Record, Variant
    from shrinkwise.experiments.result import Result
    from shrinkwise.experiments.tuning.tuned import Tuned
    from shrinkwise.experiments.tuning.tuning import tune
    from shrinkwise.experiments.verdict import verdict
    from shrinkwise.regularization.apply import (
        Bound,
        Regularizer,
        RowDecay,
        count_steps,
        decay_decoupled,
        decay_rows,
        param_groups,
        schedule_decay,
    )
    from shrinkwise.regularization.audit import Audit, audit
    from shrinkwise.regularization.dropout import Dropout, place_dropout
    from shrinkwise.regularization.penalties import L1, L2, L2SP, ElasticNet, GroupLasso, MaxNorm
    from shrinkwise.regularization.rules import Placement, Role, disagreements, place
    from shrinkwise.regularization.strength import convert, rescale, schedules

__version__ = "0.1.0"

_NAMES = {
    "regularization.penalties": ("L1", "L2", "L2SP", "ElasticNet", "GroupLasso", "MaxNorm"),
    "regularization.dropout": ("Dropout", "place_dropout"),
    "regularization.strength": ("convert", "rescale", "schedules"),
    "regularization.rules": ("Placement", "Role", "disagreements", "place"),
    "regularization.apply": (
        "Bound",
        "Regularizer",
        "RowDecay",
        "count_steps",
        "decay_decoupled",
        "decay_rows",
        "param_groups",
        "schedule_decay",
    ),
    "regularization.audit": ("Audit", "audit"),
    "experiments.comparing": ("compare",),
    "experiments.experiment": ("Experiment",),
    "experiments.grid": ("grid",),
    "experiments.records": ("Condition", "Record", "Variant"),
    "experiments.result": ("Result",),
    "experiments.functions.trial": ("Trial",),
    "experiments.tuning.tuned": ("Tuned",),
    "experiments.tuning.tuning": ("tune",),
    "experiments.verdict": ("verdict",),
    "experiments": ("data",),
}

_HOMES = {name: home for home, names in _NAMES.items() for name in names}

__all__ = [
    "L1",
    "L2",
    "L2SP",
    "Audit",
    "Bound",
    "Condition",
    "Dropout",
    "ElasticNet",
    "Experiment",
    "GroupLasso",
    "MaxNorm",
    "Placement",
    "Record",
    "Regularizer",
    "Result",
    "Role",
    "RowDecay",
    "Trial",
    "Tuned",
    "Variant",
    "audit",
    "compare",
    "convert",
    "count_steps",
    "data",
    "decay_decoupled",
    "decay_rows",
    "disagreements",
    "grid",
    "param_groups",
    "place",
    "place_dropout",
    "rescale",
    "schedule_decay",
    "schedules",
    "tune",
    "verdict",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'shrinkwise' has no attribute {name!r}")
    try:
        home = importlib.import_module(f"shrinkwise.{_HOMES[name]}")
        value = getattr(home, name) if hasattr(home, name) else importlib.import_module(f"{home.__name__}.{name}")
    except ImportError as error:
        from shrinkwise.errors import MissingExtraError

        if error.name is None or error.name.startswith("shrinkwise"):
            raise
        raise MissingExtraError(
            f"{error.name} is not installed",
            f"shrinkwise.{name} needs the extra 'experiments'",
            "pip install 'shrinkwise[experiments]'",
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
