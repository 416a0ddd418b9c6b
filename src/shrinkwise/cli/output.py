"""What commands print: answers on standard output, progress and notes on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from shrinkwise.experiments.execution.resume import Progress as Report
    from shrinkwise.experiments.result import Result


def note(text: str) -> None:
    """Print a line on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)


@contextmanager
def progress_bar(folder: Path) -> Iterator[Report]:
    """Show runs done and time left on standard error; yields what reports them."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("runs, left"), TimeRemainingColumn())
    first: list[int] = []
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("training")

        def report(n_done: int, n_all: int) -> None:
            if not first:
                first.append(n_done)
                if n_done == n_all:
                    console.print(f"{folder} holds all {n_all} runs already; showing them.", markup=False)
                elif n_done:
                    console.print(f"{folder} holds {n_done} of {n_all} runs; going on from there.", markup=False)
                else:
                    console.print(f"{n_all} runs, kept in {folder}.", markup=False)
            bar.update(task, completed=n_done, total=n_all)
            _say_plainly(console, n_done, n_all)

        yield report


def print_answer(result: Result, page: Path | None, *, as_json: bool) -> None:
    """Print the answer, as tables or as JSON, and where the page lies, if one was written."""
    if as_json:
        json.dump(result.document(), sys.stdout, indent=2, allow_nan=False)
        sys.stdout.write("\n")
    else:
        result.show(Console(highlight=False))
    if page:
        note(f"Report: {page}")


def _say_plainly(console: Console, n_done: int, n_all: int) -> None:
    """Where no bar can move (a log, a pipe), a line at every tenth."""
    if not console.is_terminal and n_done and (n_done == n_all or n_done % max(1, n_all // 10) == 0):
        console.print(f"{n_done} of {n_all} runs done", markup=False)
