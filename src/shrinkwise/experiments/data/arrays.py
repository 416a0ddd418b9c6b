"""From whatever holds numbers to arrays and tables that a data set can carry."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shrinkwise.errors import DataError
from shrinkwise.experiments.data.labels import check_labels, name_classes
from shrinkwise.experiments.data.prepare import tidy

Rows = npt.NDArray[np.float32] | pd.DataFrame
Part = tuple[Rows, np.ndarray]
"""Rows and their targets."""


def as_array(values: Any) -> np.ndarray:
    """Return what a list, an array or a tensor on any device holds.

    Raises:
        DataError: NumPy cannot read it.
    """
    for leave in ("detach", "cpu"):
        values = getattr(values, leave)() if hasattr(values, leave) else values
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"a {type(values).__name__} was given as data", f"NumPy cannot read it ({error})", "give an array"
        ) from error


def as_rows(values: Any) -> Rows:
    """Return rows as a float32 array ``(n, ...)``, or as a tidy table where a DataFrame is given.

    Raises:
        DataError: They are not numbers, or have no features.
    """
    if isinstance(values, pd.DataFrame):
        return tidy(values)
    array = as_array(values)
    if array.dtype.kind not in "buif":
        raise DataError(f"x has dtype {array.dtype}", "rows are numbers", "give numbers, or words and numbers in a DataFrame")
    if array.ndim < 2:
        mend = "give an array of shape (n, feature), such as x.reshape(-1, 1)"
        raise DataError(f"x has shape {array.shape}", "rows of features are needed", mend)
    # A number beyond the range of float32 becomes infinite here, and the checks report it.
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def as_targets(y: np.ndarray) -> npt.NDArray[np.float64]:
    """Return the targets of a regression.

    Raises:
        DataError: They are not numbers.
    """
    try:
        return y.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the target has dtype {y.dtype}", f"a regression needs numbers ({error})", "set task to classification"
        ) from error


def as_groups(values: Any) -> npt.NDArray[np.int64]:
    """Number groups that are named by labels of any kind.

    Raises:
        DataError: A row has no group.

    >>> as_groups(["anna", "ben", "anna"])
    array([0, 1, 0])
    """
    groups = as_array(values)
    check_labels(groups, "group")
    return name_classes(groups)[1]


def check_lengths(part: str, x: Rows, y: np.ndarray) -> None:
    """Raise unless there are as many rows as targets.

    Raises:
        DataError: There are not.
    """
    if len(x) != len(y):
        fact = f"the {part} part has {len(x)} rows and {len(y)} targets"
        raise DataError(fact, "each row needs its own", "give as many of one as of the other")


def check_part(part: str, x: Rows, y: np.ndarray) -> None:
    """Raise unless rows and targets are there, match, and are finite; only a table may have missing cells.

    Raises:
        DataError: They are not.
    """
    check_lengths(part, x, y)
    if 0 in x.shape:
        raise DataError(f"the {part} part has shape {x.shape}", "there is nothing in it", "give rows with at least one feature")
    if isinstance(x, pd.DataFrame):
        numbers = x.select_dtypes("number").to_numpy(np.float64)
        is_bad = (np.abs(numbers) > np.finfo(np.float32).max).any(axis=1)
        what = "numbers that are infinite (as float32)"
    else:
        is_bad = ~np.isfinite(x).reshape(len(x), -1).all(axis=1)
        what = "numbers that are NaN or infinite (as float32)"
    if is_bad.any():
        raise DataError(
            f"{is_bad.sum()} of {len(y)} rows of the {part} part hold {what}",
            f"no network can learn from them; the first is row {is_bad.argmax()}, counted from 0",
            "fill in or remove them; in a table, an empty cell is imputed",
        )


def check_alike(part: str, x: Rows, train: Rows) -> None:
    """Raise unless the rows of a part have the form of the training rows.

    Raises:
        DataError: They have other features.
    """
    mine, theirs = _form(x), _form(train)
    if mine != theirs:
        raise DataError(
            f"rows of the {part} part have the form {mine}", f"those of the training part have {theirs}", "give both the same"
        )


def _form(x: Rows) -> object:
    return {str(name): kind.kind for name, kind in x.dtypes.items()} if isinstance(x, pd.DataFrame) else x.shape[1:]
