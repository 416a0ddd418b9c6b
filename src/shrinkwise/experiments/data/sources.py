"""From what a user names to a data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shrinkwise.errors import DataError, SettingError
from shrinkwise.experiments.data.bundled import digits
from shrinkwise.experiments.data.dataset import Dataset
from shrinkwise.experiments.data.files import nearest
from shrinkwise.experiments.data.idx_files import idx
from shrinkwise.experiments.data.labels import Classes, check_task
from shrinkwise.experiments.data.npz_archive import npz
from shrinkwise.experiments.data.openml import mnist
from shrinkwise.experiments.data.table import Column, csv

_BY_NAME = {"digits": digits, "mnist": mnist}
_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_KINDS = "digits, mnist, a folder of IDX files, or a file that ends in .npz, .csv, .tsv or .csv.gz"


def load(
    source: str | Path,
    *,
    classes: Classes | None = None,
    target: Column | None = None,
    header: bool = True,
    groups: Column | None = None,
    task: str | None = None,
) -> Dataset:
    """Read the data that ``source`` names.

    Args:
        source: ``digits``, ``mnist``, a folder of IDX files, or a .npz, .csv or .tsv file (the latter two gzipped or not).
        classes: Which classes to keep, such as ``"0-4"`` or ``"M,R"``; all where None.
        target: Target column of a table, by name or index.
        header: Whether the first line of a table names its columns.
        groups: Column of a table that names each row's group.
        task: ``classification`` or ``regression``; guessed where None and not known.

    Raises:
        DataError: There is no such source, or it cannot be read or carry an experiment.
        SettingError: A setting is unknown, does not apply to this source, or is missing.

    >>> load("digits", classes="0-4").x.shape
    (901, 64)
    """
    if task is not None:
        check_task(task)
    of_tables = {"target": target, "groups": groups, "no_header": None if header else True}
    path = Path(source)
    name = path.name.lower()
    if source in _BY_NAME:
        _refuse(f"the {source} data", of_tables, task)
        return _BY_NAME[str(source)](classes)
    if not path.exists():
        raise DataError(
            f"there is no data {str(source)!r}",
            "it is neither a known name nor a file or folder",
            nearest(str(source), _BY_NAME, f"give {_KINDS}"),
        )
    if path.is_dir():
        _refuse("a folder of IDX files", of_tables, task)
        return idx(path, classes)
    if name.endswith(".npz"):
        _refuse("an .npz archive", of_tables, None)
        return npz(path, classes, task=task)
    if name.endswith(_TABLES):
        if target is None:
            mend = "give target (--target), a column's name or index, -1 for the last"
            raise SettingError(f"no target is named for {path}", "a table does not say what is to be predicted", mend)
        return csv(path, target, header=header, groups=groups, classes=classes, task=task)
    raise DataError(f"{path} is of no kind that is read", "its name tells its kind", f"give {_KINDS}")


def as_dataset(data: Any, task: str | None = None) -> Dataset:
    """Take whatever a caller has for data.

    Args:
        data: A data set as it is; a pair ``(x, y)`` of arrays or tensors; an object with two ``tensors``, such as torch's
            TensorDataset; or a source that :func:`load` knows.
        task: ``classification`` or ``regression``; guessed where None and not known.

    Raises:
        DataError: It is none of these, or cannot carry an experiment.

    >>> as_dataset(([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])).task
    'classification'
    """
    if isinstance(data, Dataset):
        if task not in (None, data.task):
            mend = "leave task out, or make the data set with that task"
            raise SettingError(f"task is {task}", f"{data.name} was read as {data.task}", mend)
        return data
    if isinstance(data, str | Path):
        return load(data, task=task)
    pair = getattr(data, "tensors", data)
    if isinstance(pair, tuple) and len(pair) == 2:
        return Dataset.from_arrays(*pair, task=task)
    raise DataError(f"data is of type {type(data).__name__}", "that is no data set", f"give (x, y), a Dataset, {_KINDS}")


def _refuse(what: str, of_tables: Mapping[str, Any], task: str | None) -> None:
    """Raise where a setting was given that says nothing about ``what``."""
    given = [name for name, value in of_tables.items() if value is not None]
    if given:
        raise SettingError(f"{' and '.join(given)} given for {what}", "that is a setting of tables (.csv, .tsv)", "leave it out")
    if task == "regression":
        raise SettingError(f"task is regression for {what}", "its target is a class", "leave task out")
