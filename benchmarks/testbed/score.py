"""The contest's result: excess test loss of every method's answers, and the ratio of ours to the best peer's.

    python benchmarks/testbed/score.py            # writes benchmarks/results/testbed/contest.md

Each answer is judged on the seeds outside its repeat's window, which no method saw in that repeat: the best λ and its loss, too.
Every peer is given its better use and setting, budget by budget, as looked up in the truth. Intervals come from tasks drawn anew
with replacement, and within each of them repeats, the same ones for all methods; in each draw the best peer is looked up anew, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import rows
import table
from rows import Row
from table import BUDGETS, HIGH, LOW, RESULTS, generator
from truth import Truth, truth

OURS = "Shrinkwise search"
N_DRAWS = 5_000
UNITS = {"per cent of the best loss": Truth.excess, "standard errors": Truth.errors, "paired standard errors": Truth.paired_errors}


@dataclass(frozen=True, eq=False)
class Entry:
    """A method at one budget.

    Attributes:
        method: Method.
        how: The use and setting that did best.
        excess: What its answers lose, shape ``(task, repeat)``.
        spent: Mean sample-gradients spent, over those of the budget.
    """

    method: str
    how: str
    excess: np.ndarray
    spent: float

    @property
    def mean(self) -> float:
        """Mean over tasks."""
        return float(self.excess.mean())


def entries(answers: Iterable[Row], truths: Mapping[str, Truth], full: Mapping[str, int], unit: str) -> dict[int, list[Entry]]:
    """Sort answers into methods and budgets, each method in its best use and setting.

    Args:
        answers: Rows; ways that have not answered on every task are left out.
        truths: Task -> truth.
        full: Task -> sample-gradients of one full training.
        unit: One of :data:`UNITS`.
    """
    repeats = range(table.N_REPEATS)
    unseen = {(task, repeat): known.without(table.window(repeat)) for task, known in truths.items() for repeat in repeats}
    ways: dict[tuple[int, str, str], dict[tuple[str, int], Row]] = defaultdict(dict)
    for row in answers:
        how = ", ".join(part for part in (row.use, row.setting) if part)
        ways[row.budget, row.method, how][row.task, row.repeat] = row
    best: dict[tuple[int, str], Entry] = {}
    for (budget, method, how), cells in ways.items():
        if any((task, repeat) not in cells for task in truths for repeat in repeats):
            continue
        excess = [[UNITS[unit](unseen[task, repeat], cells[task, repeat].lam) for repeat in repeats] for task in truths]
        spent = np.mean([row.sample_gradients / (budget * full[row.task]) for row in cells.values() if row.task in truths])
        entry = Entry(method, how, np.array(excess), float(spent))
        if (budget, method) not in best or entry.mean < best[budget, method].mean:
            best[budget, method] = entry
    return {
        budget: sorted((entry for (b, _), entry in best.items() if b == budget), key=lambda entry: entry.mean)
        for budget in sorted({b for b, _ in best})
    }


def draws(shape: tuple[int, int], n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw tasks, and repeats within each, with replacement: two index arrays, shape ``(draw, task, repeat)`` once broadcast."""
    tasks = rng.integers(shape[0], size=(n, shape[0], 1))
    return tasks, rng.integers(shape[1], size=(n, *shape))


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the middle 95 %."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def ratio(ours: Entry, peers: Sequence[Entry], drawn: tuple[np.ndarray, np.ndarray]) -> tuple[float, float, float]:
    """Return our mean excess over that of the best peer, with its 95 % interval."""
    means = np.array([peer.excess[drawn].mean(axis=(1, 2)) for peer in peers])
    point = ours.mean / min(peer.mean for peer in peers)
    return point, *interval(ours.excess[drawn].mean(axis=(1, 2)) / means.min(axis=0))


def _lines(found: Mapping[int, Sequence[Entry]], unit: str) -> list[str]:
    lines = [
        f"| budget | method | best use and setting | excess, {unit}, [95 %] | spent, of the budget |",
        "|---:|---|---|---|---:|",
    ]
    for budget, ranked in found.items():
        for entry in ranked:
            means = entry.excess[draws(entry.excess.shape, N_DRAWS, generator("draws"))].mean(axis=(1, 2))
            low, high = interval(means)
            name = f"**{entry.method}**" if entry.method == OURS else entry.method
            lines.append(f"| {budget} | {name} | {entry.how} | {entry.mean:.2f} [{low:.2f}, {high:.2f}] | {entry.spent:.2f} |")
    return lines


def _ratios(found: Mapping[int, Sequence[Entry]], labels: str, peers: Sequence[str]) -> list[str]:
    lines = []
    for budget in BUDGETS:
        ranked = {entry.method: entry for entry in found.get(budget, ())}
        rivals = [ranked[peer] for peer in peers if peer in ranked]
        if OURS not in ranked or not rivals:
            continue
        drawn = draws(ranked[OURS].excess.shape, N_DRAWS, generator("draws"))
        point, low, high = ratio(ranked[OURS], rivals, drawn)
        best = min(rivals, key=lambda entry: entry.mean).method
        lines.append(f"| {labels} | {budget} | {best} | {point:.2f} | {low:.2f} to {high:.2f} |")
    return lines


def _by_task(found: Mapping[int, Sequence[Entry]], truths: Mapping[str, Truth], budget: int) -> list[str]:
    ranked = sorted(found.get(budget, ()), key=lambda entry: entry.method)
    lines = ["| task | best λ | " + " | ".join(entry.method for entry in ranked) + " |", "|---|---:|" + "---:|" * len(ranked)]
    for k, (task, known) in enumerate(truths.items()):
        cells = [f"{entry.excess[k].mean():.1f}" for entry in ranked]
        lines.append(f"| {task} | {known.lams[known.best]:.2g} | " + " | ".join(cells) + " |")
    return lines


INTRODUCTION = """# The contest

By `benchmarks/testbed/score.py`: {n_tasks} tasks, {n_repeats} repeats with other seeds, all methods on one table of runs.
Excess is what the answered λ loses on the best λ of the table, in mean test loss over the {n_unseen} seeds outside the repeat's
window of 8, which no method saw in that repeat; the best λ and its loss are those of the same seeds. A standard error is that
of the best λ's mean over 8 seeds, a paired one that of the difference by seed. Every peer stands in its best use (one seed for
all trials, another seed a trial, or the mean of 4 seeds) and its best setting, budget by budget, looked up in the truth. A trial
that starts before the budget is spent may end, so peers that stop trials or train several seeds at once spend a little more than
they are given. Intervals: tasks, and repeats within each, drawn anew. Repeats share seeds with their neighbours, so the intervals
are a little narrow.
"""


def page() -> str:
    """Return the result in Markdown."""
    runs = {task: table.read(task) for task in table.tasks()}
    truths = {task: truth(of_task) for task, of_task in runs.items()}
    full = {task: max(len(run.val_loss) * run.n_train for run in of_task.values()) for task, of_task in runs.items()}
    ours, peers = rows.read("ours"), rows.read("peers")
    found = {unit: entries([*ours, *peers], truths, full, unit) for unit in UNITS}
    n_unseen = {len(known.without(table.window(repeat)).seeds) for known in truths.values() for repeat in range(table.N_REPEATS)}
    lines = [
        INTRODUCTION.format(
            n_tasks=len(truths),
            n_repeats=table.N_REPEATS,
            n_unseen=" to ".join(str(n) for n in sorted({min(n_unseen), max(n_unseen)})),
        ),
        "## Ratio of our excess to the best peer's",
        "",
        "| tasks | unit | trainings | best peer | ratio | 95 % interval |",
        "|---|---|---:|---|---:|---|",
    ]
    names = list(dict.fromkeys(row.method for row in peers))
    for unit, of_unit in found.items():
        lines += _ratios(of_unit, f"all | {unit}", names)
    # Tools that draw from a continuum seldom hit the end of the range: is it that alone?
    inside = {task: known for task, known in truths.items() if LOW < known.lams[known.best] < HIGH}
    for unit in UNITS if inside else ():
        label = f"the {len(inside)} whose best λ lies inside the range | {unit}"
        lines += _ratios(entries([*ours, *peers], inside, full, unit), label, names)
    for unit, of_unit in found.items():
        lines += ["", f"## In {unit}", "", *_lines(of_unit, unit)]
    for budget in BUDGETS:
        lines += ["", f"## Task by task, {budget} trainings, per cent", "", *_by_task(next(iter(found.values())), truths, budget)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "contest.md").write_text(page())
    print(RESULTS / "contest.md")


if __name__ == "__main__":
    main()
