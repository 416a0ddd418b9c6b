"""Every training of the test bed, kept: whoever asks for one that is there gets it at once.

    python benchmarks/testbed/bank.py [SEEDS]

trains the whole table, resumable at any moment: λ = 0 and 33 λs from 1e-6 to 1, three sixteenths of a decade apart, of which every
second belongs to the oracle; the oracle's eight seeds with its own λs first, then the seeds of the repeats with all of them. All
methods choose among these λs; what the search asks for beyond them on the oracle's seeds is trained when it asks.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import lines
from table import LAMS, ORACLE_LAMS, ORACLE_SEEDS, REPEAT_SEEDS, Run, file_of, read, snap
from tasks import TASKS, Task

from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine import train_one
from shrinkwise.experiments.records import Condition, Record, RunKey, Variant


def run_of(record: Record) -> Run:
    """Reduce a record to what the table keeps."""
    return Run(
        lam=float(record.key.variant["l2"]),
        seed=record.key.seed,
        status=record.status.value,
        collapsed=record.collapsed,
        val_loss=record.curves["val_loss"],
        test_loss=float("nan") if record.last is None else record.last.test["loss"],
        n_train=record.n_train,
        seconds=record.seconds,
    )


class Bank:
    """The runs of one task.

    Args:
        name: Name of the task.
    """

    def __init__(self, name: str) -> None:
        self.name, self.file, self.runs = name, file_of(name), read(name)
        self._task: Task | None = None
        self._split: tuple[int, Split] | None = None

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
        run = run_of(train_one(self._task.recipe, self._split[1], RunKey(Variant(l2=lam), Condition(), seed)))
        lines.append(self.file, [asdict(run)])
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
