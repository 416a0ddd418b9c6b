"""What a training function returns, read into the words of a record."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from shrinkwise.errors import TrainingError
from shrinkwise.experiments.records import Outcome
from shrinkwise.experiments.scalars import scalar

NUMBER = "value"
"""How the metric is called that came as a number, without a name."""

_PARTS = {"val": "val", "valid": "val", "validation": "val", "eval": "val", "test": "test", "train": "train"}
_PART = re.compile(rf"({'|'.join(_PARTS)})[_/.](.+)")
_MEND = "return a number, or a mapping of numbers such as {'val_loss': 0.31, 'test_loss': 0.33}"


def read_returned(returned: object, epoch: int = 0) -> Outcome:
    """Return metrics on validation and test rows.

    ``val_x``, ``eval_x`` or plain ``x`` is the metric x on validation rows, ``test_x`` on test rows, with ``_``, ``/`` or ``.``
    between; without any on test rows the validation rows stand for them. ``train_x`` is left out, and so is a plain ``x`` that
    stands beside ``val_x``: it is a training value. An array under ``test_x`` is the metric row by row, the same rows in every run:
    its mean is the metric.

    Args:
        returned: What came back: a number, or a mapping of numbers and arrays.
        epoch: Number of reports, as far as they are known.

    Raises:
        TrainingError: It is nothing, no number, or holds something that is no number, or an array of other than test rows.

    >>> read_returned({"val_loss": 0.5, "test_loss": 0.75}).test
    {'loss': 0.75}
    """
    if not isinstance(returned, Mapping):
        value = scalar(returned)
        if value is None:
            what = "nothing (None)" if returned is None else f"{type(returned).__name__} {_shown(returned)}"
            raise TrainingError(f"train(trial) gives {what}", "what is judged is read from it", _MEND)
        return Outcome(epoch=epoch, val={NUMBER: value}, test={NUMBER: value})
    parts: dict[str, dict[str, Any]] = {"val": {}, "test": {}, "train": {}, "": {}}
    for name, value in returned.items():
        if not isinstance(name, str):
            raise TrainingError(f"train(trial) gives a metric called {name!r}", "names are words", _MEND)
        part, metric = part_of(name)
        parts[part][metric] = None if part == "train" else _read(name, value, has_rows=part == "test")
    val = parts[""] | parts["val"] if parts[""] or parts["val"] else parts["test"]
    if not val:
        raise TrainingError("train(trial) gives a mapping without a metric", "what is judged is read from it", _MEND)
    test = parts["test"] or val
    return Outcome(
        epoch=epoch,
        val={name: _mean(value) for name, value in val.items()},
        test={name: _mean(value) for name, value in test.items()},
        examples={name: value for name, value in test.items() if isinstance(value, np.ndarray)},
    )


def not_finite(outcome: Outcome) -> str:
    """Name a metric that is NaN or infinite, with its value; empty where all are finite."""
    for part, metrics in (("validation", outcome.val), ("test", outcome.test)):
        for name, value in metrics.items():
            if not math.isfinite(value):
                return f"{name} on {part} rows is {value}" if name != NUMBER else f"train(trial) gives {value}"
    return ""


def part_of(name: str) -> tuple[str, str]:
    """Return on which part of the data a metric was measured, as its name says, and its name without that.

    >>> part_of("validation_loss"), part_of("test/top1.accuracy"), part_of("accuracy")
    (('val', 'loss'), ('test', 'top1.accuracy'), ('', 'accuracy'))
    """
    found = _PART.fullmatch(name)
    return (_PARTS[found[1]], found[2]) if found else ("", name)


def _read(name: str, value: object, *, has_rows: bool) -> float | np.ndarray:
    number = scalar(value)
    if number is not None:
        return number
    rows = _rows(value)
    if rows is None:
        raise TrainingError(f"train(trial) gives {name} = {_shown(value)}", f"that is a {type(value).__name__}, no number", _MEND)
    if not has_rows:
        raise TrainingError(
            f"train(trial) gives {name} as {len(rows)} values",
            "only on test rows is a metric read row by row",
            f"return one number, such as its mean or its last value, or call it test_{part_of(name)[1]}",
        )
    return rows


def _rows(value: Any) -> np.ndarray | None:
    """Return an array with one value a row, else None."""
    if not hasattr(value, "__array__"):
        return None
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        # NumPy has no bfloat16.
        value = value.float() if value.is_floating_point() and value.element_size() < 4 else value
    array = np.asarray(value)
    return array if array.ndim == 1 and array.size and array.dtype.kind in "biuf" else None


def _mean(value: float | np.ndarray) -> float:
    return float(np.mean(value))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
