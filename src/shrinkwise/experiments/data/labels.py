"""What a target is: which task it makes, how its classes are called, and which of them were asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from shrinkwise.errors import DataError, SettingError, did_you_mean

TASKS = ("classification", "regression")

Classes = str | Iterable[int | str]
"""A selection of classes: a text such as ``0-4`` or ``M,R``, or the names themselves."""

_FEW = 20
_WIDEST = 10_000
_RANGE = re.compile(r"(\d+)-(\d+)")


def check_task(task: str) -> None:
    """Raise unless ``task`` is one that we know.

    Raises:
        SettingError: It is not.
    """
    if task not in TASKS:
        raise SettingError(f"task is {task!r}", "there is no such task", did_you_mean(task, TASKS))


def guess_task(y: np.ndarray) -> tuple[str, str]:
    """Guess the task from a target, and say why.

    Words are classes; so are at most 20 distinct whole numbers, whatever their dtype. Every other number is measured, not counted.

    Args:
        y: The target, shape ``(n,)``, without missing values.

    Returns:
        The task, and a sentence that gives the reason.

    >>> guess_task(np.array([0, 1, 1, 0]))
    ('classification', 'The task was taken to be classification: the target has 2 distinct whole numbers.')
    >>> guess_task(np.array([0.5, 1.0, 2.0]))[0], guess_task(np.array(["M", "R"]))[0], guess_task(np.arange(1000))[0]
    ('regression', 'classification', 'regression')
    """
    n_distinct = len(np.unique(y.astype(str) if y.dtype == object else y))
    if y.dtype.kind not in "uif":
        task, why = "classification", f"the target has {n_distinct} distinct words"
    elif not np.array_equal(y, np.round(y)):
        task, why = "regression", "the target has numbers that are not whole"
    elif n_distinct > _FEW:
        task, why = "regression", f"the target has {n_distinct} distinct whole numbers, more than {_FEW}"
    else:
        task, why = "classification", f"the target has {n_distinct} distinct whole numbers"
    return task, f"The task was taken to be {task}: {why}."


def parse_classes(text: str) -> tuple[str, ...]:
    """Read a selection of classes as it is written on the command line.

    Args:
        text: Names parted by commas; two whole numbers with a hyphen between them are a range that includes both.

    Returns:
        The names, in the order given, each once.

    Raises:
        SettingError: Nothing is named, a range runs backwards, or it is wider than any data set.

    >>> parse_classes("0-4"), parse_classes("0,2,7"), parse_classes("M, R")
    (('0', '1', '2', '3', '4'), ('0', '2', '7'), ('M', 'R'))
    """
    names: list[str] = []
    for word in (part.strip() for part in text.split(",")):
        if not word:
            raise SettingError(
                f"classes is {text!r}", "a class has an empty name", "write a range such as 0-4, or names such as M,R"
            )
        bounds = _RANGE.fullmatch(word)
        if bounds is None:
            names.append(word)
            continue
        first, last = int(bounds[1]), int(bounds[2])
        if last < first:
            raise SettingError(f"classes is {text!r}", f"the range {word} runs backwards", f"write {last}-{first}")
        if last - first >= _WIDEST:
            raise SettingError(
                f"classes is {text!r}", f"a range of more than {_WIDEST} classes is not read", "write a narrower one"
            )
        names.extend(str(number) for number in range(first, last + 1))
    return tuple(dict.fromkeys(names))


def describe_classes(names: Sequence[str]) -> str:
    """Write class names as short as :func:`parse_classes` would read them.

    >>> describe_classes(["0", "1", "2", "3", "4"]), describe_classes(["0", "2", "7"])
    ('0-4', '0,2,7')
    """
    if len(names) > 2 and all(name.isdecimal() for name in names):
        numbers = [int(name) for name in names]
        if numbers == list(range(numbers[0], numbers[0] + len(numbers))):
            return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(names)


def name_classes(y: np.ndarray) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Name the classes of a target and number its rows by them.

    Args:
        y: Labels, shape ``(n,)``: words, truth values or numbers, none missing.

    Returns:
        The sorted names (by value where all are whole numbers), and the index of each row's name, shape ``(n,)``.

    >>> name_classes(np.array(["10", "9", "10"]))
    (('9', '10'), array([1, 0, 1]))
    >>> name_classes(np.array([2.0, 1.0]))
    (('1', '2'), array([1, 0]))
    """
    values, codes = np.unique(y.astype(str) if y.dtype == object else y, return_inverse=True)
    names = [_name(value) for value in values.tolist()]
    if all(re.fullmatch(r"-?\d+", name) for name in names):
        order = sorted(range(len(names)), key=lambda i: (int(names[i]), names[i]))
    else:
        order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return tuple(names[i] for i in order), rank[codes.reshape(-1)]


def choose_classes(names: Sequence[str], classes: Classes | None) -> tuple[str, ...]:
    """Return those of ``names`` that ``classes`` selects, in the order of ``names``.

    Raises:
        DataError: A class that was asked for is not there.
        SettingError: The selection cannot be read.
    """
    if classes is None:
        return tuple(names)
    wanted = parse_classes(classes) if isinstance(classes, str) else tuple(str(name) for name in classes)
    absent = [name for name in wanted if name not in names]
    if absent:
        what = f"class {absent[0]} is" if len(absent) == 1 else f"classes {_listed(absent)} are"
        raise DataError(f"{what} absent from the data", f"its classes are {_listed(names)}", "choose from these")
    return tuple(name for name in names if name in wanted)


def index_labels(y: np.ndarray, known: Sequence[str], chosen: Sequence[str], part: str) -> npt.NDArray[np.int64]:
    """Number the labels of one part of the data by ``chosen``; a label that was not chosen gets -1.

    Args:
        y: Labels, shape ``(n,)``.
        known: All classes of the training part.
        chosen: Those that are kept.
        part: How the part is called in a message.

    Raises:
        DataError: The part has a class that the training part lacks.
    """
    names, codes = name_classes(y)
    foreign = [name for name in names if name not in known]
    if foreign:
        raise DataError(
            f"the {part} part has the class {_listed(foreign)}",
            f"the training part has only {_listed(known)}",
            "give both parts the same classes",
        )
    place = {name: index for index, name in enumerate(chosen)}
    return np.array([place.get(name, -1) for name in names], dtype=np.int64)[codes]


def check_labels(y: np.ndarray, what: str) -> None:
    """Raise unless ``y`` is one column of values that are there and finite.

    Raises:
        DataError: It is not.
    """
    if y.ndim != 1:
        raise DataError(f"the {what} has shape {y.shape}", "one value a row is needed", "give an array of shape (n,)")
    missing = np.flatnonzero(~np.isfinite(y) if y.dtype.kind == "f" else pd.isna(y))
    if missing.size:
        raise DataError(
            f"the {what} is missing or not finite in {missing.size} of {len(y)} rows",
            f"such a row can be neither learned from nor judged; the first is row {missing[0]}, counted from 0",
            "fill in those values or remove those rows",
        )


def _name(value: object) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def _listed(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
