"""What commands print: answers on standard output, progress and notes on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from shrinkwise.experiments.progress import progress_bar
from shrinkwise.experiments.records import Record, Status

if TYPE_CHECKING:
    from shrinkwise.experiments.execution.resume import Progress
    from shrinkwise.experiments.result import Result


def note(text: str) -> None:
    """Print a line on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)


@contextmanager
def shown_progress(folder: Path, *, is_most: bool = False) -> Iterator[Progress]:
    """Show runs done and time left on standard error, by a bar or, where none can move, by lines; yields what reports them.

    Args:
        folder: Where runs are kept.
        is_most: Whether the number of all runs is the most that there may be.
    """
    log = _Log(Console(stderr=True, highlight=False, soft_wrap=True), folder, is_most=is_most)
    with progress_bar() as bar:

        def report(n_done: int, n_all: int) -> None:
            log(n_done, n_all)
            bar(n_done, n_all)

        yield report


class _Log:
    """Says where it begins and, where no bar can move (a log, a pipe), a line at every tenth, with the time that is left."""

    def __init__(self, console: Console, folder: Path, *, is_most: bool) -> None:
        self.console, self.folder, self.is_most = console, folder, is_most
        self.n_before: int | None = None
        self.n_last = self.n_said = 0
        self.begun = 0.0

    def __call__(self, n_done: int, n_all: int) -> None:
        if self.n_before is None:
            self.n_before, self.begun = n_done, time.monotonic()
            self.console.print(self._beginning(n_done, n_all), markup=False)
        elif n_done > self.n_last + 1:
            # Runs end one by one: several at once were there already, and say nothing of how long one takes.
            self.n_before += n_done - self.n_last
        elif n_done > max(self.n_said, self.n_before) and not self.console.is_terminal and _is_told(n_done, n_all):
            each_s = (time.monotonic() - self.begun) / (n_done - self.n_before)
            most = "at most" if self.is_most else "about"
            left = f", {most} {each_s * (n_all - n_done):.0f} s left" if n_done < n_all else ""
            self.console.print(f"{n_done} of {n_all} runs done{left}", markup=False)
            self.n_said = n_done
        self.n_last = n_done

    def _beginning(self, n_done: int, n_all: int) -> str:
        if self.is_most:
            return f"Runs are kept in {self.folder}{', which holds some already' if n_done else ''}."
        if n_done == n_all:
            return f"{self.folder} holds all {n_all} runs already; showing them."
        if n_done:
            return f"{self.folder} holds {n_done} of {n_all} runs; going on from there."
        return f"{n_all} runs, kept in {self.folder}."


def _is_told(n_done: int, n_all: int) -> bool:
    return n_done == n_all or n_done % max(1, n_all // 10) == 0


def print_document(document: dict[str, Any]) -> None:
    """Print one JSON document on standard output."""
    json.dump(document, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def print_answer(result: Result, page: Path | None, *, as_json: bool) -> None:
    """Print the answer, as tables or as JSON, and where the page lies, if one was written."""
    if as_json:
        print_document(result.document())
    else:
        result.show(Console(highlight=False))
    if page:
        note(f"Report: {page}")


def say_means(means: Mapping[str, Any]) -> None:
    """Say on standard error by what runs are trained, and why by that."""
    known = {"engine": means.get("engine"), "fleet size": means.get("fleet_size"), "threads": means.get("threads")}
    known |= {"processes": means.get("jobs"), "device": means.get("device")}
    said = ", ".join(f"{name} {value}" for name, value in known.items() if value is not None)
    why = means.get("why")
    note(f"Trained by {said}{f': {why}' if why else ''}".rstrip(".") + ".")


def say_reasons(records: Sequence[Record]) -> None:
    """Say on standard error why runs failed, if any did: each reason once."""
    reasons = Counter(record.message for record in records if record.status is Status.FAILED)
    for reason, n in reasons.items():
        note(f"{n} of {len(records)} runs failed: {reason}. The same command trains them again.")
