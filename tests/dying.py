"""What a process does that is killed while it trains; importable, so that a fresh process can be told to do it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from shrinkwise.experiments.execution import Store
from small import small_experiment


def run_small(folder: Path) -> None:
    """Train the small experiment in this process."""
    small_experiment().run(folder, jobs=1)


def append_for_ever(folder: Path) -> None:
    """Write the records of a finished small experiment again and again, one transaction each, once a sign has been given."""
    keys = small_experiment().plan.runs()
    with Store(folder) as store:
        records = store.records(keys)
        (folder / f"ready-{os.getpid()}").touch()
        while True:
            for record in records:
                store.append([record])


def run_small_and_die(folder: Path, moment: str, n_before: int) -> None:
    """Train the small experiment, and be killed in the middle of writing record number ``n_before + 1``.

    Args:
        folder: Where the runs are kept.
        moment: ``insert``: after its row was inserted; ``commit``: when its transaction is about to be committed.
        n_before: Records that are written before.
    """
    n_seen = 0

    def maybe_die() -> None:
        nonlocal n_seen
        n_seen += 1
        if n_seen > n_before:
            os.kill(os.getpid(), signal.SIGKILL)

    @event.listens_for(Engine, "after_cursor_execute")
    def _(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("INSERT INTO records"):
            if moment == "insert":
                maybe_die()
            else:
                connection.info["has_record"] = True

    @event.listens_for(Engine, "commit")
    def _(connection: Any) -> None:
        if connection.info.pop("has_record", False):
            maybe_die()

    run_small(folder)
