"""The table of runs that all methods choose from, as plain files: whoever reads it needs no torch.

`bank.py` trains it. Every λ that a method asks for is moved to the nearest of the table's grid, whichever method asks.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lines
import numpy as np

FOLDER = Path(__file__).parents[2] / "runs" / "testbed"
RESULTS = Path(__file__).parents[1] / "results" / "testbed"
STEP = 3 / 16
LAMS = (0.0, *(float(f"{10 ** (-6 + STEP * k):.6g}") for k in range(33)))
ORACLE_LAMS = (0.0, *LAMS[1::2])
LOW, HIGH = 1e-6, 1.0
ORACLE_SEEDS = tuple(range(8))
REPEAT_SEEDS = tuple(range(8, 32))
N_REPEATS = 20
BUDGETS = (5, 16, 32)


@dataclass(frozen=True)
class Run:
    """What the bank keeps of one training.

    Attributes:
        lam: Strength, one of :data:`LAMS` or between them.
        seed: Seed.
        status: How it ended.
        collapsed: Whether it learned nothing.
        val_loss: Validation loss after each epoch.
        test_loss: Test loss at the end; NaN unless done.
        n_train: Training rows.
        seconds: Wall time.
    """

    lam: float
    seed: int
    status: str
    collapsed: bool
    val_loss: tuple[float, ...]
    test_loss: float
    n_train: int
    seconds: float

    @property
    def loss(self) -> float:
        """Validation loss at the end; infinite for a run that diverged."""
        return self.val_loss[-1] if self.status == "done" else math.inf


Table = Mapping[tuple[float, int], Run]
"""(λ, seed) -> run."""


def snap(lam: float) -> float:
    """Return the λ of the table's grid, continued at both ends, that is nearest on the log scale; 0 stays 0.

    >>> snap(0.0011), snap(0.01), snap(0.0)
    (0.001, 0.00865964, 0.0)
    """
    if lam == 0:
        return 0.0
    k = round((math.log10(lam) + 6) / STEP)
    return float(f"{10 ** (-6 + STEP * k):.6g}")


def file_of(task: str) -> Path:
    """Return the file that keeps the runs of a task."""
    return FOLDER / f"{task}.jsonl"


def tasks() -> list[str]:
    """List the tasks that have runs."""
    return sorted(file.stem for file in FOLDER.glob("*.jsonl"))


def read(task: str) -> dict[tuple[float, int], Run]:
    """Read the runs of a task."""
    runs = (Run(**row) for row in lines.read(file_of(task)))
    return {(run.lam, run.seed): run for run in runs}


def window(repeat: int, n: int = 8) -> tuple[int, ...]:
    """Return the seeds of a repeat, as many as ``n`` of them: windows whose starts are spread over a circle of all seeds.

    >>> window(0), window(19, 3)
    ((8, 9, 10, 11, 12, 13, 14, 15), (30, 31, 8))
    """
    start = repeat * len(REPEAT_SEEDS) // N_REPEATS
    return tuple(REPEAT_SEEDS[(start + k) % len(REPEAT_SEEDS)] for k in range(n))


def generator(*parts: str | int) -> np.random.Generator:
    """Return a generator seeded by named parts, without the package, which the peers' environment lacks."""
    return np.random.default_rng(_hash(parts))


def entropy(*parts: str | int) -> int:
    """Return a seed by named parts for a tool that seeds itself, below 2**31, which all of them take."""
    return _hash(parts) % 2**31


def _hash(parts: Sequence[str | int]) -> int:
    return int.from_bytes(hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest(), "little")
