"""Tables of runs that were made elsewhere."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shrinkwise.errors import DataError, did_you_mean
from shrinkwise.experiments.data.files import separator_of
from shrinkwise.experiments.foreign_row import Columns, RunRow, is_missing
from shrinkwise.experiments.stats import Measurement

if TYPE_CHECKING:
    import pandas as pd


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
    return tuple(RunRow(row, number, columns).measurement() for number, row in enumerate(table.to_dict("records"), 1))


def row_numbers_by_seed(table: pd.DataFrame, columns: Columns) -> dict[int | str, np.ndarray] | None:
    """Return which rows of the data set the test rows of each seed are, where a column says so.

    Raises:
        DataError: It is written otherwise than as whole numbers with spaces between.
    """
    if columns.test_rows is None:
        return None
    rows = [RunRow(row, number, columns) for number, row in enumerate(table.to_dict("records"), 1)]
    return {row.seed(): row.row_numbers(columns.test_rows) for row in rows if not is_missing(row.values[columns.test_rows])}
