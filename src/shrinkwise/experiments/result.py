"""What an experiment gave, and every way of looking at it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shrinkwise.errors import StoreError
from shrinkwise.experiments import report
from shrinkwise.experiments.rates import OwnRates
from shrinkwise.experiments.records import Record, Status, Variant
from shrinkwise.experiments.stats import Answer, Measurement, answer, measure
from shrinkwise.experiments.stats.notes import stops
from shrinkwise.experiments.study import Study

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from rich.console import Console


_FILES = ("answer.json", "report.html", "runs.csv", "table.csv", "table.md", "curve.csv")


@dataclass(frozen=True, eq=False)
class Result:
    """What an experiment gave.

    Attributes:
        study: What was asked.
        records: What each run left; empty where the runs were made elsewhere.
        measurements: What the statistics were given, where the runs were made elsewhere.
        base: What variants are compared against; the variant without any penalty if left out, else the first one.
        maximize: Whether more of the primary metric is better; None for metrics that we know.
        test_rows: Seed -> which rows of the data set its test rows are, for measurements whose seeds cut their own.
        rates: Which learning rate each variant is compared at, where each has its own; ``records`` are then the runs at all rates.
    """

    study: Study
    records: tuple[Record, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    base: Variant | None = None
    maximize: bool | None = None
    test_rows: Mapping[int | str, np.ndarray] | None = None
    rates: OwnRates | None = None

    @cached_property
    def answer(self) -> Answer:
        """Estimates, comparisons and the verdict."""
        if not self.records:
            measured = self._named(self.measurements)
            return answer(measured, self.study, base=self.base, maximize=self.maximize, test_rows=self.test_rows)
        judged = self.rates.records if self.rates else self.records
        last = self._named(measure(record, "last") for record in judged)
        # Of a training function only the end of a run is known.
        has_best = all(record.best_val is not None for record in judged if record.status is Status.DONE)
        stopped = self._named(measure(record, "best-val") for record in judged) if has_best else None
        rows: dict[int | str, np.ndarray] = {
            record.key.seed: record.test_rows for record in self.records if record.status is Status.DONE
        }
        said = answer(
            last,
            self.study,
            base=self.base,
            best_val=stopped,
            maximize=self.maximize,
            test_rows=rows if self.study.is_resampled else None,
        )
        said = self.rates.told(said) if self.rates else said
        return replace(said, notes=(*said.notes, *stops(self.records)))

    @property
    def _shown(self) -> tuple[Record, ...]:
        """The records as a page shows them: those that are compared are called as in the answer."""
        return self.rates.records + self.rates.others if self.rates else self.records

    def _named(self, measurements: Iterable[Measurement]) -> list[Measurement]:
        """Spell out a variant that has something switched off which the base has on: its short name would not say so."""
        switched_on = [] if self.base is None else [name for name, value in self.base.items() if value]
        return [
            m if all(m.variant.get(name) for name in switched_on) else replace(m, variant=m.variant.spelled_out())
            for m in measurements
        ]

    def verdict(self) -> str:
        """Return the verdict, one sentence."""
        return self.answer.sentence

    def table(self) -> pd.DataFrame:
        """Return the table, one row for each condition and variant."""
        return report.frame(self.answer, self.study)

    def runs(self) -> pd.DataFrame:
        """Return one row for each run: settings, seed, status and what was measured; ``sw.verdict`` reads it back."""
        return report.runs_frame(self.records, self.study)

    def markdown(self) -> str:
        """Return the table as Markdown."""
        return report.markdown(self.answer, self.study)

    def document(self) -> dict[str, Any]:
        """Return everything as JSON values, in the shape that others may rely on."""
        seconds = sum(record.seconds for record in self.records) if self.records else None
        return report.to_document(self.answer, self.study, seconds)

    def plot(self) -> dict[str, Figure]:
        """Return figures for a paper, by name."""
        return report.plot(self.answer, self.study)

    def show(self, console: Console | None = None) -> None:
        """Print verdict and tables to a terminal."""
        from rich.console import Console

        report.show(self.answer, self.study, console or Console())

    def report(self, path: str | Path) -> Path:
        """Write the page, one self-contained HTML file, and return where it lies.

        Raises:
            StoreError: It cannot be written there.
        """
        return write(Path(path), report.page(self.answer, self.study, self._shown))

    def save(self, folder: str | Path) -> Path:
        """Write page, tables, runs and JSON into a folder, and return where the page lies.

        Raises:
            StoreError: It cannot be written there, or the folder holds the answer of another experiment.
        """
        folder = Path(folder)
        check_free(folder, self.study.data)
        texts = {
            "table.md": self.markdown(),
            "table.csv": report.csv(self.answer, self.study),
            "answer.json": json.dumps(self.document(), indent=2, allow_nan=False) + "\n",
            "report.html": report.page(self.answer, self.study, self._shown),
        }
        if self.records:
            texts["runs.csv"] = self.runs().to_csv(index=False)
        for name, text in texts.items():
            write(folder / name, text)
        return folder / "report.html"

    @property
    def failures(self) -> tuple[Record, ...]:
        """The records of runs in which a user's code raised an error; a resume trains them again."""
        return tuple(record for record in self.records if record.status is Status.FAILED)

    def __repr__(self) -> str:
        return f"Result({self.verdict()!r})"

    def _repr_html_(self) -> str:
        html: str = self.table().to_html()
        return f"<p>{self.verdict()}</p>{html}"


def check_free(folder: Path, data: str) -> None:
    """Make sure that nothing is written over: neither another experiment's answer, nor files that are none of ours.

    Raises:
        StoreError: The folder holds such a thing.
    """
    try:
        there = json.loads((folder / "answer.json").read_text(encoding="utf-8"))["experiment"]
    except (OSError, ValueError, KeyError, TypeError):
        taken = [name for name in _FILES if (folder / name).exists()]
        if taken and not (folder / "runs.sqlite").exists():
            raise StoreError(
                f"{folder} holds {taken[0]}", "that file is none of ours, and would be written over", "give another output folder"
            ) from None
        return
    if there.get("data") != data:
        raise StoreError(
            f"{folder} holds the answer of another experiment",
            f"yours is of {data}, the one there of {there.get('data')}",
            "give another output folder",
        )


def write(path: Path, text: str) -> Path:
    """Write a text file, and return where it lies.

    Raises:
        StoreError: It cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path} cannot be written", str(error.strerror).lower(), "give a path that you may write") from error
    return path
