"""The peers' half of the contest: each tool on every task, 20 repeats, its answer after 5, 16 and 32 trainings' worth of epochs.

    PEERS/bin/python benchmarks/testbed/peers.py [REPEATS]

PEERS is an environment with `requirements.txt`; torch is not needed, since runs come from the table. Resumable: rows that are there
are not made again.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import rows
import table
from rows import Row
from table import BUDGETS, N_REPEATS, Run, Table, snap, window
from tools import TOOLS, Tool


@dataclass(frozen=True)
class Use:
    """How a tool is used.

    Attributes:
        n_seeds: Among how many seeds of the repeat's window its trials take turns.
        at_once: How many of them each trial trains side by side; its value is their mean.
        budgets: Full trainings, rising.
    """

    n_seeds: int
    at_once: int = 1
    budgets: tuple[int, ...] = BUDGETS


USES = {"one seed": Use(1), "a seed a trial": Use(8), "mean of 4 seeds": Use(4, at_once=4, budgets=BUDGETS[1:])}
"""The natural ways; five trainings are too few for trials of four."""


def contest(
    runs: Table, tool: Tool, seeds: Sequence[int], budgets: Sequence[int] = BUDGETS, at_once: int = 1
) -> list[tuple[int, float, int]]:
    """Let a tool search until the largest budget is spent.

    A trial that starts before a budget is spent may end: tools spend a little more than they are given, never less.

    Args:
        runs: The runs of a task.
        tool: The tool.
        seeds: Seeds that trials take in turn.
        budgets: Full trainings, rising.
        at_once: Seeds that each trial trains side by side, epoch by epoch; the tool is told their mean, and stops them together.

    Returns:
        ``(budget, answer on the table's grid, sample-gradients spent)`` for each budget.
    """
    epochs = max(len(run.val_loss) for run in runs.values())
    answers: list[tuple[int, float, int]] = []
    spent = gradients = 0
    for group in itertools.cycle(seeds[start : start + at_once] for start in range(0, len(seeds), at_once)):
        lam = snap(tool.suggest())
        trial = [runs[lam, seed] for seed in group]
        last, is_whole = max(len(run.val_loss) for run in trial), True
        for epoch, (loss, trained) in enumerate(_side_by_side(trial), start=1):
            spent, gradients = spent + len(trained), gradients + sum(run.n_train for run in trained)
            if not tool.goes_on(epoch, loss) and epoch < last:
                is_whole = False
                break
        tool.end(float(np.mean([run.loss for run in trial])) if is_whole else None)
        while spent >= budgets[len(answers)] * epochs:
            answers.append((budgets[len(answers)], snap(tool.best()), gradients))
            if len(answers) == len(budgets):
                return answers
    raise AssertionError("seeds go round without end")


def _side_by_side(trial: Sequence[Run]) -> Iterator[tuple[float, list[Run]]]:
    """Yield each epoch's mean loss over a trial's runs, and the runs then trained; one that has diverged counts as infinite."""
    for losses in itertools.zip_longest(*(run.val_loss for run in trial)):
        known = [math.inf if loss is None else loss for loss in losses]
        yield float(np.mean(known)), [run for run, loss in zip(trial, losses, strict=True) if loss is not None]


def play(task: str, n_repeats: int = N_REPEATS) -> float:
    """Let every tool play a task, in every use; returns the seconds that it took.

    Raises:
        SystemExit: The table has gaps, which only `bank.py` can fill.
    """
    started = time.perf_counter()
    runs, mark = table.read(task), rows.mark_of("peers", task)
    seen = {(row.method, row.setting, row.use, row.repeat) for row in rows.read("peers", [task])}
    if gaps := [cell for cell in itertools.product(table.LAMS, table.REPEAT_SEEDS) if cell not in runs]:
        raise SystemExit(
            f"{task}: the table lacks {len(gaps)} runs, such as λ = {gaps[0][0]:g} on seed {gaps[0][1]}; run bank.py to its end"
        )
    epochs = max(len(run.val_loss) for run in runs.values())
    for method, settings in TOOLS.items():
        for (setting, make), (use, how), repeat in itertools.product(settings.items(), USES.items(), range(n_repeats)):
            if (method, setting, use, repeat) in seen:
                continue
            tool = make(epochs, table.entropy(task, method, use, repeat))
            answers = contest(runs, tool, window(repeat, how.n_seeds), how.budgets, how.at_once)
            rows.append(
                "peers", task, (Row(task, method, setting, use, budget, repeat, lam, n) for budget, lam, n in answers), mark
            )
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
