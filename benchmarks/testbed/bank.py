"""Every training of the test bed, kept: whoever asks for one that is there gets it at once.

    python benchmarks/testbed/bank.py [SEEDS]

trains the whole table, resumable at any moment: λ = 0 and 33 λs from 1e-6 to 1, three sixteenths of a decade apart, of which every
second belongs to the oracle; the oracle's eight seeds first, then the seeds of the repeats. All methods choose among these λs.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks import TASKS, Task

from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine import train_one
from shrinkwise.experiments.records import Condition, Record, RunKey, Status, Variant

FOLDER = Path(__file__).parents[2] / "runs" / "testbed"
STEP = 3 / 16
LAMS = (0.0, *(float(f"{10 ** (-6 + STEP * k):.6g}") for k in range(33)))
ORACLE_LAMS = (0.0, *LAMS[1::2])
ORACLE_SEEDS = tuple(range(8))
REPEAT_SEEDS = tuple(range(8, 48))


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

    @staticmethod
    def of(record: Record) -> Run:
        """Reduce a record."""
        done = record.last is not None
        return Run(
            lam=float(record.key.variant["l2"]),
            seed=record.key.seed,
            status=record.status.value,
            collapsed=record.collapsed,
            val_loss=record.curves["val_loss"],
            test_loss=record.last.test["loss"] if done else float("nan"),
            n_train=record.n_train,
            seconds=record.seconds,
        )

    @property
    def loss(self) -> float:
        """Validation loss at the end; infinite for a run that diverged."""
        return self.val_loss[-1] if self.status == Status.DONE else float("inf")


def snap(lam: float) -> float:
    """Return the λ of the table's grid, continued at both ends, that is nearest on the log scale; 0 stays 0.

    >>> snap(0.0101), snap(0.0)
    (0.01, 0.0)
    """
    if lam == 0:
        return 0.0
    k = round((math.log10(lam) + 6) / STEP)
    return float(f"{10 ** (-6 + STEP * k):.6g}")


class Bank:
    """The runs of one task.

    Args:
        name: Name of the task.
    """

    def __init__(self, name: str) -> None:
        self.name, self.file = name, FOLDER / f"{name}.jsonl"
        self.runs: dict[tuple[float, int], Run] = {}
        self._task: Task | None = None
        self._split: tuple[int, Split] | None = None
        for line in self.file.read_text().splitlines() if self.file.exists() else []:
            try:
                run = Run(**json.loads(line))
            except ValueError:
                continue  # the last line of a killed process may be half a line
            self.runs[run.lam, run.seed] = run

    def get(self, lam: float, seed: int) -> Run:
        """Return a run at the nearest λ of the grid, trained if need be."""
        lam = snap(lam)
        if (lam, seed) not in self.runs:
            self.runs[lam, seed] = self._trained(lam, seed)
        return self.runs[lam, seed]

    def missing(self, lams: Iterable[float], seeds: Sequence[int]) -> list[tuple[float, int]]:
        """List the runs that are not there, one seed after another."""
        return [(lam, seed) for seed in seeds for lam in lams if (lam, seed) not in self.runs]

    def _trained(self, lam: float, seed: int) -> Run:
        if self._task is None:
            self._task = TASKS[self.name]()
        if self._split is None or self._split[0] != seed:
            self._split = seed, self._task.split(seed)
        run = Run.of(train_one(self._task.recipe, self._split[1], RunKey(Variant(l2=lam), Condition(), seed)))
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as file:
            file.write(json.dumps(asdict(run)) + "\n")
        return run


def fill(name: str, lams: Sequence[float], seeds: Sequence[int]) -> float:
    """Train what is missing of a task; returns the seconds that it took."""
    started = time.perf_counter()
    bank = Bank(name)
    for lam, seed in bank.missing(lams, seeds):
        bank.get(lam, seed)
    return time.perf_counter() - started


def _chunks(seeds: Sequence[int], size: int) -> list[Sequence[int]]:
    return [seeds[start : start + size] for start in range(0, len(seeds), size)]


def main() -> None:
    """Train the table, the oracle first, one process a core."""
    from loky import ProcessPoolExecutor

    n_seeds = int(sys.argv[1]) if len(sys.argv) > 1 else len(REPEAT_SEEDS)
    parts: list[tuple[str, Sequence[float], Sequence[int]]] = [(name, ORACLE_LAMS, ORACLE_SEEDS) for name in TASKS]
    for seeds in _chunks(REPEAT_SEEDS[:n_seeds], 8):
        parts += [(name, LAMS, seeds) for name in TASKS]
    work = importlib.import_module("bank").fill  # by name, so that workers import it too
    with ProcessPoolExecutor(os.cpu_count(), timeout=3600) as pool:
        futures = [pool.submit(work, *part) for part in parts]
        for part, future in zip(parts, futures, strict=True):
            print(f"{part[0]}, seeds {part[2][0]}-{part[2][-1]}, {len(part[1])} λs: {future.result():.0f} s", flush=True)


if __name__ == "__main__":
    main()
