"""Tables in text files: CSV, and its kin with tabs or semicolons."""

from __future__ import annotations

import csv as csv_format
import io
import math
from pathlib import Path

import pandas as pd

from shrinkwise.errors import DataError, SettingError
from shrinkwise.experiments.data.dataset import Dataset
from shrinkwise.experiments.data.files import nearest, read_contents, separator_of
from shrinkwise.experiments.data.labels import Classes

Column = str | int
"""A column by its name, or by its index from 0, negative from the end."""


def csv(
    path: str | Path,
    target: Column,
    *,
    header: bool = True,
    groups: Column | None = None,
    classes: Classes | None = None,
    task: str | None = None,
) -> Dataset:
    """Read a table with one target column; every other column is a feature.

    Columns of numbers and of words both do; an empty cell, ``?`` and pandas' usual words (``NA``, ``nan``, ``null``, ...) are
    missing. How they become numbers is decided after the split, on the training rows alone
    (:func:`shrinkwise.experiments.data.prepare.prepare`). Fields are parted by tabs in a .tsv file, else by commas or, where the
    first line has more of them, semicolons. The file may be gzipped.

    Args:
        path: The file, in UTF-8.
        target: The target column: its name, or its index, so that -1 is the last.
        header: Whether the first line names the columns; else they are called ``c0``, ``c1``, ...
        groups: Column that names each row's group; it is no feature.
        classes: Which classes to keep; all where None.
        task: ``classification`` or ``regression``; guessed where None.

    Raises:
        DataError: The file cannot be read, is empty or ragged, lacks a column, or cannot carry an experiment.
        SettingError: A setting is unknown or contradicts another.
    """
    path = Path(path)
    frame = _read(path, header)
    target_name = _column(frame, target, "target", path)
    group_name = None if groups is None else _column(frame, groups, "groups", path)
    if target_name == group_name:
        raise SettingError(
            f"column {target_name!r} is both target and groups", "no group may know the answer", "choose two columns"
        )
    features = frame.drop(columns=[name for name in (target_name, group_name) if name is not None])
    if features.shape[1] == 0:
        raise DataError(
            f"{path} has no column beside {target_name!r}", "there is nothing to learn from", "give a table with features"
        )
    return Dataset.from_arrays(
        features,
        frame[target_name].to_numpy(),
        groups=None if group_name is None else frame[group_name].to_numpy(),
        name=path.name.split(".")[0] or path.name,
        task=task,
        classes=classes,
    )


def _read(path: Path, header: bool) -> pd.DataFrame:
    text = _text(path)
    separator = separator_of(text)
    names = _column_names(text, separator, header, path)
    try:
        return pd.read_csv(
            io.StringIO(text),
            sep=separator,
            header=0 if header else None,
            names=names,
            skipinitialspace=True,
            na_values=["?"],
            low_memory=False,
        )
    except ValueError as error:
        raise _unreadable(path, error) from error


def _text(path: Path) -> str:
    data, is_whole = read_contents(path)
    if not is_whole:
        raise DataError(
            f"{path} is cut short", f"its gzip stream breaks off after {len(data)} unpacked bytes", "fetch the file again"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8", str(error), "save it as UTF-8") from error
    if not text.strip():
        raise DataError(f"{path} is empty", "there are no rows in it", "give a table with a row for each example")
    return text


def _column_names(text: str, separator: str, header: bool, path: Path) -> list[str]:
    """Return the names of the columns, having seen that all lines have as many fields: pandas would fill a short one silently."""
    lines = csv_format.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    first: list[str] = []
    try:
        for fields in lines:
            if len(fields) <= 1 and not "".join(fields).strip():
                continue
            first = first or fields
            if len(fields) != len(first):
                raise DataError(
                    f"{path} is ragged: line {lines.line_num} has {len(fields)} fields",
                    f"the first line has {len(first)}",
                    "give every line the same number of fields, and quote those that hold the separator",
                )
    except csv_format.Error as error:
        raise _unreadable(path, error) from error
    if not header:
        return [f"c{index}" for index in range(len(first))]
    names = [name.strip() for name in first]
    suspects = [name for name in names if names.count(name) > 1 or _is_measured(name)]
    if suspects:
        raise DataError(
            f"{path} names a column {suspects[0]!r}" + (" twice" if names.count(suspects[0]) > 1 else ""),
            "that is no name of a column, so the first line may be data",
            "say that there is no header (--no-header), or give each column a name of its own",
        )
    return names


def _is_measured(name: str) -> bool:
    """Whether a header's field is a number that is not whole; whole ones are how NumPy and pandas name columns without names."""
    try:
        value = float(name)
    except ValueError:
        return False
    return math.isfinite(value) and not value.is_integer()


def _column(frame: pd.DataFrame, column: Column, what: str, path: Path) -> str:
    """Find a column by name or, failing that, by index."""
    names = [str(name) for name in frame.columns]
    if column in names:
        return str(column)
    try:
        return names[int(column)]
    except ValueError:
        mend = nearest(str(column), names, f"its columns are {', '.join(names[:20])}{', ...' * (len(names) > 20)}")
        raise DataError(f"{path} has no column {column!r} for {what}", f"it has {len(names)} columns", mend) from None
    except IndexError:
        mend = f"give an index from {-len(names)} to {len(names) - 1}, or a name"
        raise DataError(f"{path} has no column {column} for {what}", f"it has {len(names)} columns", mend) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as a table", str(error).strip().rstrip("."), "give one row a line, fields parted by commas"
    )
