"""A bar that shows how far an experiment is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from shrinkwise.experiments.execution.resume import Progress


def shown(progress: Progress | bool, words: str = "") -> AbstractContextManager[Progress | None]:
    """Return what gives, while its block lasts, what is to be called: the caller's own function, a bar under words, or nothing."""
    if callable(progress):
        return nullcontext(progress)
    return progress_bar(words) if progress else nullcontext()


@contextmanager
def progress_bar(words: str = "") -> Iterator[Progress]:
    """Show runs done and time left on standard error while the block lasts, if that is a terminal or a notebook; else show nothing.

    Args:
        words: What is said above it.

    Yields:
        What is to be called with the number of runs done and of all runs.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("runs, left"), TimeRemainingColumn())
    can_move = console.is_terminal or console.is_jupyter
    if words and can_move:
        console.print(words, markup=False, highlight=False)
    with Bar(*columns, console=console, transient=True, disable=not can_move) as bar:
        task = bar.add_task("training")
        yield lambda n_done, n_all: bar.update(task, completed=n_done, total=n_all)
