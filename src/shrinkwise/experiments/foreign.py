"""Runs that were made elsewhere: tables read into what the statistics take."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shrinkwise.errors import DataError, did_you_mean
from shrinkwise.experiments.data.files import separator_of
from shrinkwise.experiments.records import Condition, Setting, Status, Variant
from shrinkwise.experiments.stats import Measurement

if TYPE_CHECKING:
    import pandas as pd


_STATUSES = {
    **dict.fromkeys(("done", "finished", "complete", "completed", "success", "ok"), Status.DONE),
    **dict.fromkeys(("diverged", "nan"), Status.DIVERGED),
    **dict.fromkeys(("failed", "fail", "crashed", "error"), Status.FAILED),
    **dict.fromkeys(("stopped", "running", "killed", "pruned", "cancelled", "canceled", "preempted"), Status.STOPPED),
}
"""What other tools call the ends of runs."""


@dataclass(frozen=True)
class Columns:
    """Which column of a table of runs holds what.

    Attributes:
        vary: What differs between variants; several columns are crossed.
        seed: What pairs the runs of different variants.
        metric: What is judged.
        within: What tells conditions apart; variants are compared within one.
        n_train: Number of training rows; given with ``n_test``, the interval is corrected for resampled splits that overlap.
        n_test: Number of test rows.
        examples: The metric on each test row: ``"0110..."``, or numbers with spaces between. The same rows in every run, unless
            ``test_rows`` says which.
        test_rows: Which rows of one data set the test rows of this seed are: whole numbers with spaces between.
    """

    vary: tuple[str, ...]
    seed: str
    metric: str
    within: tuple[str, ...] = ()
    n_train: str | None = None
    n_test: str | None = None
    examples: str | None = None
    test_rows: str | None = None

    def all(self) -> list[str]:
        """List every column that is needed."""
        one = [self.seed, self.metric, self.n_train, self.n_test, self.examples, self.test_rows]
        return [*self.vary, *self.within, *(name for name in one if name)]


def read_runs(path: str | Path) -> pd.DataFrame:
    """Read a table of runs: CSV, or JSON lines where the name ends in ``.jsonl``, ``.ndjson`` or ``.json``.

    Raises:
        DataError: The file is absent, empty, or no such table.
    """
    import pandas as pd

    path = Path(path)
    is_json = path.suffix in (".jsonl", ".ndjson", ".json")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if is_json:
            return as_table(_json_rows(text))
        return as_table(pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, sep=separator_of(text)))
    except OSError as error:
        raise DataError(f"{path} cannot be read", str(error.strerror).lower(), "give the path of a table of runs") from error
    except DataError:
        raise
    except ValueError as error:
        kind = "JSON lines, one object a line" if is_json else "a CSV table with a header"
        raise DataError(f"{path} is no table of runs", str(error).splitlines()[0], f"give {kind}") from error


def _json_rows(text: str) -> list[Any]:
    """Return the rows of JSON lines, or of one JSON array."""
    if text.lstrip().startswith("["):
        rows: list[Any] = json.loads(text)
        return rows
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def as_table(frame: Any) -> pd.DataFrame:
    """Return whatever a caller has as a table whose columns have names.

    Raises:
        DataError: It is no table, or two columns have one name.
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame | list | dict):
        raise DataError(
            f"the runs are of type {type(frame).__name__}", "that is no table", "give a DataFrame, a list of mappings, or a path"
        )
    table = pd.DataFrame(frame)
    table.columns = [str(name) for name in table.columns]
    if table.columns.has_duplicates:
        name = table.columns[table.columns.duplicated()][0]
        raise DataError(f"the table has two columns {name!r}", "which of them is meant is not known", "leave one of them out")
    return table


def of_our_own(table: pd.DataFrame, columns: Columns) -> Columns:
    """Add the columns that ``compare`` writes, where the table has them and the caller named none for the purpose.

    Each seed of such a table cut its own test rows out of one data set if it says which they were; to judge it as if it had not
    would contradict the answer that came with it.
    """
    if any((columns.n_train, columns.n_test, columns.examples, columns.test_rows)):
        return columns
    if not {"n_train", "n_test", "lam", "best_val_epoch"} <= set(table.columns):
        return columns
    rows, by_row = "test_rows" in table.columns, f"{columns.metric}_rows"
    if by_row in table.columns:
        return replace(columns, examples=by_row, test_rows="test_rows" if rows else None)
    return replace(columns, n_train="n_train", n_test="n_test") if rows else columns


def measurements_of(table: pd.DataFrame, columns: Columns) -> tuple[Measurement, ...]:
    """Return one measurement for each row of a table of runs.

    Columns named ``status`` (done, diverged, failed, stopped), ``collapsed`` and ``weight_norm`` are read where they stand.

    Raises:
        DataError: A column is absent, a value is no number, or there is no row.
    """
    there = [str(name) for name in table.columns]
    for name in columns.all():
        if name not in there:
            raise DataError(f"there is no column {name!r}", f"the table has {', '.join(there)}", did_you_mean(name, there))
    if table.empty:
        raise DataError("the table has no rows", "there is no run to judge", "give a table with one row for each run")
    return tuple(_Row(row, number, columns).measurement() for number, row in enumerate(table.to_dict("records"), 1))


def test_rows_of(table: pd.DataFrame, columns: Columns) -> dict[int | str, np.ndarray] | None:
    """Return which rows of the data set the test rows of each seed are, where a column says so.

    Raises:
        DataError: It is written otherwise than as whole numbers with spaces between.
    """
    if columns.test_rows is None:
        return None
    rows = [_Row(row, number, columns) for number, row in enumerate(table.to_dict("records"), 1)]
    return {row.seed(): row.row_numbers(columns.test_rows) for row in rows if not _is_missing(row.values[columns.test_rows])}


@dataclass(frozen=True)
class _Row:
    """One row of a table, and which one, so that a message can say so."""

    values: Mapping[Any, Any]
    number: int
    columns: Columns

    def measurement(self) -> Measurement:
        columns, status = self.columns, self._status()
        is_done = status is Status.DONE
        return Measurement(
            variant=Variant(**{name: self._setting(name) for name in columns.vary}),
            condition=self._condition(),
            seed=self.seed(),
            status=status,
            collapsed=str(self.values.get("collapsed", "")).lower() in ("true", "1", "1.0"),
            metrics={columns.metric: self._number(columns.metric)} if is_done else {},
            examples=self._by_row() if is_done else {},
            n_train=int(self._number(columns.n_train)) if columns.n_train else 0,
            n_test=int(self._number(columns.n_test)) if columns.n_test else 0,
            weight_norm=self._number("weight_norm") if not _is_missing(self.values.get("weight_norm")) else math.nan,
        )

    def _status(self) -> Status:
        given = self.values.get("status")
        word = "done" if _is_missing(given) else str(given).strip().lower()
        if word not in _STATUSES:
            raise DataError(
                f"row {self.number} has the status {given!r}",
                "whether that run counts is not known",
                did_you_mean(word, [status.value for status in Status]),
            )
        return _STATUSES[word]

    def _number(self, name: str) -> float:
        try:
            value = float(self.values[name])
        except (TypeError, ValueError):
            value = math.nan
        if math.isfinite(value):
            return value
        raise DataError(
            f"row {self.number} has {self.values[name]!r} in column {name!r}",
            "that is no finite number",
            "give every run a number, or mark a run that diverged with a column status that says diverged",
        )

    def _setting(self, name: str) -> Setting:
        value = self.values[name]
        if isinstance(value, bool):
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if _is_missing(value) or math.isnan(number):
            return "" if _is_missing(value) else str(value)
        return int(number) if number.is_integer() else number

    def seed(self) -> int | str:
        value = self._setting(self.columns.seed)
        if value == "":
            raise DataError(
                f"row {self.number} has no seed", "runs are paired by it", "give every run the seed that it was trained with"
            )
        return value if isinstance(value, int | str) else str(value)

    def _condition(self) -> Condition:
        if not self.columns.within:
            return Condition(label="all runs")
        given = {name: self._setting(name) for name in self.columns.within}
        size, noise = given.get("train_size") or None, given.get("label_noise") or 0.0
        if given.keys() <= {"train_size", "label_noise"} and isinstance(size, int | None) and isinstance(noise, int | float):
            return Condition(train_size=size, label_noise=float(noise))
        return Condition(label=", ".join(f"{name}={value}" for name, value in given.items()))

    def _by_row(self) -> dict[str, np.ndarray]:
        columns = self.columns
        return {columns.metric: self._examples(columns.examples, columns.metric)} if columns.examples else {}

    def _examples(self, name: str, metric: str) -> np.ndarray:
        text = str(self.values[name]).strip()
        try:
            examples = np.array(text.split() if " " in text else list(text), dtype=np.float64)
        except ValueError as error:
            raise DataError(
                f"row {self.number} has {text[:20]!r} in column {name!r}",
                "that is neither a run of 0 and 1 nor numbers with spaces between",
                "write one digit, or one number, for each test row",
            ) from error
        mean, value = float(examples.mean()) if len(examples) else math.nan, self._number(metric)
        if not any(math.isclose(mean, value / factor, rel_tol=2e-3, abs_tol=1e-6) for factor in (1, 100)):
            raise DataError(
                f"row {self.number} has {value:g} in column {metric!r}",
                f"the mean of its test rows in column {name!r} is {mean:g}",
                "write the metric itself on each test row, so that its mean is the run's",
            )
        return examples

    def row_numbers(self, name: str) -> np.ndarray:
        text = str(self.values[name])
        try:
            return np.array(text.split(), dtype=np.int64)
        except ValueError as error:
            raise DataError(
                f"row {self.number} has {text[:20]!r} in column {name!r}",
                "that is no list of row numbers",
                "write whole numbers with spaces between",
            ) from error


def _is_missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
