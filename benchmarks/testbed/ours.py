"""Our half of the contest: the search of the package, and for reference the whole grid, on the table's runs.

    python benchmarks/testbed/ours.py [REPEATS]

Each repeat has a window of eight seeds. Resumable: rows that are there are not made again.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import rows
from bank import Bank
from rows import Row
from table import BUDGETS, HIGH, LAMS, LOW, N_REPEATS, ORACLE_LAMS, STEP, Run, snap, tasks, window

from shrinkwise.experiments.records import Outcome, Record, RunKey, Status
from shrinkwise.experiments.selection import Choice, Objective, Space, TrainMany

SPACE = Space(low=LOW, high=HIGH, step=STEP, is_low_fixed=True, is_high_fixed=True)
"""The table's grid, as wide as what the peers are given; a user's search may go beyond its ends."""


def record_of(key: RunKey, run: Run) -> Record:
    """Return a record with what selection reads of it; collapse is kept as a training loss at, or far below, the constant's."""
    is_done = run.status == "done"
    epochs = len(run.val_loss)
    last = Outcome(epoch=epochs, val={"loss": run.val_loss[-1]}, test={"loss": run.test_loss}) if is_done else None
    return Record(
        key=key,
        status=Status(run.status),
        lam=run.lam,
        n_train=run.n_train,
        n_val=run.n_train // 4,
        n_test=0,
        curves={"train_loss": (float(run.collapsed),) * epochs, "val_loss": tuple(run.val_loss)},
        weight_norms={},
        constant_loss=1.0,
        last=last,
        best_val=None,
        test_rows=np.zeros(0, dtype=np.int64),
        seconds=run.seconds,
        threads=1,
    )


def bank_train_many(bank: Bank) -> TrainMany:
    """Return what trains the runs of one task: at the table's nearest λ, from the table where it is there."""

    def train_many(keys: Sequence[RunKey]) -> list[Record]:
        return [record_of(key, bank.get(float(key.variant["l2"]), key.seed)) for key in keys]

    return train_many


def chosen(bank: Bank, seeds: Sequence[int], budget: int) -> Choice:
    """Return what the package's search chooses."""
    from shrinkwise.experiments.selection.search import search

    return search(bank_train_many(bank), SPACE, Objective(), seeds=tuple(seeds), budget=budget)


def least(bank: Bank, lams: Sequence[float], seeds: Sequence[int]) -> float:
    """Return the λ with the least mean validation loss over the seeds."""
    return min(lams, key=lambda lam: float(np.mean([bank.get(lam, seed).loss for seed in seeds])))


Answer = tuple[float, int]
"""λ on the table's grid, and trainings."""


def _search(bank: Bank, repeat: int, budget: int) -> Answer:
    choice = chosen(bank, window(repeat), budget)
    return snap(choice.lam), choice.cost.trainings


def _grid(lams: Sequence[float]) -> Callable[[Bank, int, int], Answer]:
    """Return a grid on as many seeds as the budget pays for in full."""

    def answer(bank: Bank, repeat: int, budget: int) -> Answer:
        seeds = window(repeat, max(1, budget // len(lams)))
        return least(bank, lams, seeds), len(lams) * len(seeds)

    return answer


COARSE = LAMS[9::8]
"""Four λs, three halves of a decade apart: 3e-5, 1e-3, 3e-2 and 1."""
METHODS: Mapping[str, tuple[Callable[[Bank, int, int], Answer], tuple[int, ...]]] = {
    "Shrinkwise search": (_search, BUDGETS),
    "four coarse λs": (_grid(COARSE), BUDGETS),
    "whole grid (17 λs and 0)": (_grid(ORACLE_LAMS), (18, 144)),
}
"""Method -> how it answers, at which budgets. The whole grid stands outside the contest: it costs 18 or 144 trainings."""


def play(task: str, n_repeats: int = N_REPEATS) -> float:
    """Let every method play a task; returns the seconds that it took."""
    started = time.perf_counter()
    bank, mark, seen = (
        Bank(task),
        rows.mark_of("ours", task),
        {(row.method, row.budget, row.repeat) for row in rows.read("ours", [task])},
    )
    for method, (answer, budgets) in METHODS.items():
        for budget, repeat in itertools.product(budgets, range(n_repeats)):
            if (method, budget, repeat) in seen:
                continue
            lam, trainings = answer(bank, repeat, budget)
            run = bank.get(LAMS[0], window(repeat)[0])
            gradients = trainings * len(run.val_loss) * run.n_train
            rows.append("ours", task, [Row(task, method, "", "several seeds", budget, repeat, lam, gradients)], mark)
    return time.perf_counter() - started


def main() -> None:
    """Play every task, one process a core."""
    import importlib

    from loky import ProcessPoolExecutor

    n_repeats = int(sys.argv[1]) if len(sys.argv) > 1 else N_REPEATS
    work = importlib.import_module("ours").play  # by name, so that workers import it too
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name, seconds in zip(tasks(), pool.map(work, tasks(), [n_repeats] * len(tasks())), strict=True):
            print(f"{name}: {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
