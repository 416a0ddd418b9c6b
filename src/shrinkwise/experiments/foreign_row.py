"""One run of a table that was made elsewhere, read cell by cell into what the statistics take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shrinkwise.errors import DataError, did_you_mean
from shrinkwise.experiments.records import ALL_RUNS, Condition, Setting, Status, Variant
from shrinkwise.experiments.stats import Measurement

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


@dataclass(frozen=True)
class RunRow:
    """One row of a table, and which one, so that a message can say so."""

    values: Mapping[Any, Any]
    number: int
    columns: Columns

    def measurement(self) -> Measurement:
        """Return what the statistics take of this run.

        Raises:
            DataError: A cell cannot be read as what it should hold.
        """
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
            weight_norm=self._number("weight_norm") if not is_missing(self.values.get("weight_norm")) else math.nan,
        )

    def _status(self) -> Status:
        given = self.values.get("status")
        word = "done" if is_missing(given) else str(given).strip().lower()
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
        if is_missing(value) or math.isnan(number):
            return "" if is_missing(value) else str(value)
        return int(number) if number.is_integer() else number

    def seed(self) -> int | str:
        """Return what pairs this run with those of other variants."""
        value = self._setting(self.columns.seed)
        if value == "":
            raise DataError(
                f"row {self.number} has no seed", "runs are paired by it", "give every run the seed that it was trained with"
            )
        return value if isinstance(value, int | str) else str(value)

    def _condition(self) -> Condition:
        if not self.columns.within:
            return ALL_RUNS
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
        """Return which rows of the data set this run was tested on."""
        text = str(self.values[name])
        try:
            return np.array(text.split(), dtype=np.int64)
        except ValueError as error:
            raise DataError(
                f"row {self.number} has {text[:20]!r} in column {name!r}",
                "that is no list of row numbers",
                "write whole numbers with spaces between",
            ) from error


def is_missing(value: object) -> bool:
    """Whether a cell holds nothing."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
