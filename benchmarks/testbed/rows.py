"""Answers of methods, one row each, kept as they come so that a contest goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from table import FOLDER, tasks

ROWS = FOLDER / "rows"


@dataclass(frozen=True)
class Row:
    """The λ that a method answers.

    Attributes:
        task: Task.
        method: Method or tool.
        setting: Its settings, in words; empty where there is nothing to set.
        use: ``one seed``, ``a seed a trial`` or ``several seeds``.
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


def read(part: str, names: Iterable[str] | None = None) -> list[Row]:
    """Read the rows of a part of the contest, of some tasks or of all."""
    rows = []
    for name in tasks() if names is None else names:
        file = ROWS / f"{part}-{name}.jsonl"
        for line in file.read_text().splitlines() if file.exists() else []:
            try:
                rows.append(Row(**json.loads(line)))
            except ValueError:
                continue  # half a line of a killed process
    return rows


def append(part: str, name: str, rows: Iterable[Row]) -> None:
    """Add rows to a part of the contest, all at once."""
    ROWS.mkdir(parents=True, exist_ok=True)
    with (ROWS / f"{part}-{name}.jsonl").open("a") as file:
        file.write("".join(json.dumps(asdict(row)) + "\n" for row in rows))
