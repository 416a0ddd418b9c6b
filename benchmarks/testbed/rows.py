"""Answers of methods, one row each, kept as they come so that a contest goes on where it was stopped."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import lines
import table
from table import FOLDER, LAMS, REPEAT_SEEDS, tasks

ROWS = FOLDER / "rows"
HERE = Path(__file__).parent
SELECTION = Path(__file__).parents[2] / "src" / "shrinkwise" / "experiments" / "selection"
SOURCES = {
    "ours": (HERE / "ours.py", SELECTION),
    "peers": (HERE / "peers.py", HERE / "tools.py", HERE / "requirements.txt"),
}
"""Part of the contest -> what its answers rest on beside the runs of the task."""


@dataclass(frozen=True)
class Row:
    """The λ that a method answers.

    Attributes:
        task: Task.
        method: Method or tool.
        setting: Its settings, in words; empty where there is nothing to set.
        use: ``one seed``, ``a seed a trial``, ``mean of 4 seeds`` or ``several seeds``.
        budget: Full trainings that it was given.
        repeat: Which repeat.
        lam: Its answer, on the table's grid.
        sample_gradients: What it spent: epochs trained times training rows.
    """

    task: str
    method: str
    setting: str
    use: str
    budget: int
    repeat: int
    lam: float
    sample_gradients: int


def mark_of(part: str, task: str) -> str:
    """Return the mark of the answers of a part: a hash of its sources, and of the task's runs on the seeds of the repeats."""
    runs = table.read(task)
    known = [runs[cell] for cell in itertools.product(LAMS, REPEAT_SEEDS) if cell in runs]
    seen = [(run.lam, run.seed, run.status, run.collapsed, run.val_loss, run.n_train) for run in known]
    return lines.fingerprint(json.dumps(seen), *SOURCES[part])


def read(part: str, names: Iterable[str] | None = None) -> list[Row]:
    """Read the rows of a part of the contest, of some tasks or of all, as far as they rest on what is there now."""
    names = tasks() if names is None else names
    return [Row(**row) for name in names for row in lines.read(_file(part, name), mark_of(part, name))]


def append(part: str, name: str, rows: Iterable[Row], mark: str) -> None:
    """Add rows to a part of the contest, all at once, with the mark of what they rest on."""
    lines.append(_file(part, name), map(asdict, rows), mark)


def _file(part: str, name: str) -> Path:
    return ROWS / f"{part}-{name}.jsonl"
