"""The peers' half of the contest: each tool on every task, 20 repeats, its answer after 5, 16 and 32 trainings' worth of epochs.

    PEERS/bin/python benchmarks/testbed/peers.py [REPEATS]

PEERS is an environment with `requirements.txt`; torch is not needed, since runs come from the table. Resumable: rows that are there
are not made again.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import rows
import table
from rows import Row
from table import BUDGETS, N_REPEATS, Table, snap, window
from tools import TOOLS, Tool

USES = {"one seed": 1, "a seed a trial": len(table.REPEAT_SEEDS)}
"""How a tool is used -> among how many seeds its trials take turns."""


def contest(runs: Table, tool: Tool, seeds: Sequence[int], budgets: Sequence[int] = BUDGETS) -> list[tuple[int, float, int]]:
    """Let a tool search until the largest budget is spent.

    A trial that starts before a budget is spent may end: tools spend a little more than they are given, never less.

    Args:
        runs: The runs of a task.
        tool: The tool.
        seeds: Seeds that trials take in turn.
        budgets: Full trainings, rising.

    Returns:
        ``(budget, answer on the table's grid, sample-gradients spent)`` for each budget.
    """
    epochs = max(len(run.val_loss) for run in runs.values())
    answers: list[tuple[int, float, int]] = []
    spent = gradients = 0
    for seed in itertools.cycle(seeds):
        run = runs[snap(tool.suggest()), seed]
        is_whole = True
        for epoch, loss in enumerate(run.val_loss, start=1):
            spent, gradients = spent + 1, gradients + run.n_train
            if not tool.goes_on(epoch, loss) and epoch < len(run.val_loss):
                is_whole = False
                break
        tool.end(run.loss if is_whole else None)
        while spent >= budgets[len(answers)] * epochs:
            answers.append((budgets[len(answers)], snap(tool.best()), gradients))
            if len(answers) == len(budgets):
                return answers
    raise AssertionError("seeds go round without end")


def play(task: str, n_repeats: int = N_REPEATS) -> float:
    """Let every tool play a task, in both uses; returns the seconds that it took.

    Raises:
        SystemExit: The table has gaps, which only `bank.py` can fill.
    """
    started = time.perf_counter()
    runs, seen = table.read(task), {(row.method, row.setting, row.use, row.repeat) for row in rows.read("peers", [task])}
    if gaps := [cell for cell in itertools.product(table.LAMS, table.REPEAT_SEEDS) if cell not in runs]:
        raise SystemExit(
            f"{task}: the table lacks {len(gaps)} runs, such as λ = {gaps[0][0]:g} on seed {gaps[0][1]}; run bank.py to its end"
        )
    for method, settings in TOOLS.items():
        for (setting, make), (use, n_seeds), repeat in itertools.product(settings.items(), USES.items(), range(n_repeats)):
            if (method, setting, use, repeat) in seen:
                continue
            epochs = max(len(run.val_loss) for run in runs.values())
            tool = make(epochs, table.entropy(task, method, use, repeat))
            answers = contest(runs, tool, window(repeat, n_seeds))
            rows.append("peers", task, (Row(task, method, setting, use, budget, repeat, lam, n) for budget, lam, n in answers))
    return time.perf_counter() - started


def main() -> None:
    """Play every task, one process a core."""
    n_repeats = int(sys.argv[1]) if len(sys.argv) > 1 else N_REPEATS
    names = table.tasks()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name, seconds in zip(names, pool.map(play, names, [n_repeats] * len(names)), strict=True):
            print(f"{name}: {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
