"""Why early epochs mislead about λ, on the oracle's runs: 17 λs and 0, eight seeds, every task; judged on sixteen other seeds.

python benchmarks/testbed/early_epochs.py     # writes docs/early_epochs.png and benchmarks/results/testbed/early_epochs.md
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import table
from table import ORACLE_LAMS, ORACLE_SEEDS, REPEAT_SEEDS, RESULTS, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = Path(__file__).parents[2] / "docs" / "early_epochs.png"
SHOWN = ("digits-noisy-adamw", "mnist-500-noisy", "ionosphere")
FIVE = list(range(1, 18, 4))
"""Five λs over the whole range at full length: about the cost of halving, 5 trainings against 4.7."""
JUDGES = REPEAT_SEEDS[:16]
"""Seeds whose test losses say what a pick loses: they played no part in picking."""
COLOURS = ("#c8690a", "#15906f", "#2f7fd6", "#8468d6", "#bd4f96")
GREY = "#5a626c"


@dataclass(frozen=True, eq=False)
class Task:
    """The oracle's runs of a task, and the test losses by which picks among them are judged.

    Attributes:
        name: Name.
        val: Validation loss, shape ``(lam, seed, epoch)``.
        test: Test loss at the end, shape ``(lam, judge)``.
        judges: Seeds of ``test``: :data:`JUDGES`, or the oracle's own where the table lacks a run of those.
    """

    name: str
    val: np.ndarray
    test: np.ndarray
    judges: tuple[int, ...]

    @staticmethod
    def of(name: str, runs: Table) -> Task:
        """Take them out of a table."""
        cells = [[runs[lam, seed] for seed in ORACLE_SEEDS] for lam in ORACLE_LAMS]
        val = np.array([[run.val_loss for run in row] for row in cells])
        judges = JUDGES if all((lam, seed) in runs for lam in ORACLE_LAMS for seed in JUDGES) else ORACLE_SEEDS
        test = np.array([[runs[lam, seed].test_loss for seed in judges] for lam in ORACLE_LAMS])
        return Task(name, val, test, judges)

    @property
    def epochs(self) -> int:
        """Epochs of a full training."""
        return int(self.val.shape[2])

    @property
    def rungs(self) -> tuple[int, int]:
        """The epochs at which halving by three would judge: a ninth and a third of the training."""
        return max(1, self.epochs // 9), self.epochs // 3

    @property
    def final(self) -> int:
        """Which λ has the least mean validation loss at the end."""
        return int(self.val[:, :, -1].mean(axis=1).argmin())

    @property
    def judged(self) -> str:
        """Say by which seeds picks are judged."""
        return f"{self.judges[0]}-{self.judges[-1]}" + (" (those that chose)" if self.judges == ORACLE_SEEDS else "")

    def leader(self, epoch: int) -> int:
        """Return which λ has the least mean validation loss after an epoch, counted from 1."""
        return int(self.val[:, :, epoch - 1].mean(axis=1).argmin())

    def rank(self, epoch: int) -> int:
        """Return the rank, from 1, that the final best λ has after an epoch."""
        then = self.val[:, :, epoch - 1].mean(axis=1)
        return int((then < then[self.final]).sum()) + 1

    def gap(self, epoch: int) -> float:
        """Return how far the final best λ lies behind the leader then, in standard errors of the paired difference."""
        behind = self.val[self.final, :, epoch - 1] - self.val[self.leader(epoch), :, epoch - 1]
        return 0.0 if not behind.any() else float(behind.mean() / (behind.std(ddof=1) / np.sqrt(len(behind))))

    def excess(self, picks: Sequence[int]) -> float:
        """Return what picks lose on average on the λ with the least mean test loss, in per cent of that; on the judges."""
        mean = self.test.mean(axis=1)
        return float(100 * (mean[list(picks)].mean() / mean.min() - 1))


def halved(curves: np.ndarray, rungs: Sequence[int]) -> int:
    """Return the λ that successive halving picks: at each rung the better third goes on, the best at the end is taken.

    Args:
        curves: Validation loss, shape ``(lam, epoch)``.
        rungs: Epochs after which to judge, counted from 1.

    >>> halved(np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]]), [1])
    0
    """
    left = np.arange(len(curves))
    for rung in rungs:
        left = left[np.argsort(curves[left, rung - 1], kind="stable")][: -(-len(left) // 3)]
    return int(left[curves[left, -1].argmin()])


def page(found: Sequence[Task]) -> str:
    """Return the table in Markdown."""
    lines = [
        "| task | best λ at the end by validation | rank of 18 at E/9 | at E/3 | leader at E/9 | ahead by, SE "
        "| λ = 0, excess test loss % | all 18 λs, 8 seeds together | halving, 8 seeds together | halving, one seed "
        "| five λs, one seed | all 18 λs, one seed | judged on seeds |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    columns = []
    for task in found:
        early, later = task.rungs
        columns.append(_excesses(task))
        cells = [
            task.name,
            f"{ORACLE_LAMS[task.final]:.2g}",
            str(task.rank(early)),
            str(task.rank(later)),
            f"{ORACLE_LAMS[task.leader(early)]:.2g}",
            f"{task.gap(early):.1f}",
            *(f"{value:.1f}" for value in columns[-1]),
            task.judged,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    means = (f"**{value:.1f}**" for value in np.mean(columns, axis=0))
    lines.append("| **mean** | | | | | | " + " | ".join(means) + " | |")
    return "\n".join(lines) + "\n"


def _excesses(task: Task) -> tuple[float, ...]:
    each = range(len(ORACLE_SEEDS))
    return (
        task.excess([0]),
        task.excess([task.final]),
        task.excess([halved(task.val.mean(axis=1), task.rungs)]),
        task.excess([halved(task.val[:, seed], task.rungs) for seed in each]),
        task.excess([FIVE[int(task.val[FIVE, seed, -1].argmin())] for seed in each]),
        task.excess([int(task.val[:, seed, -1].argmin()) for seed in each]),
    )


def draw(found: Sequence[Task], file: Path) -> None:
    """Draw one task's losses, three tasks' differences over the epochs, and every task's rank of the final best λ."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    by_name = {task.name: task for task in found}
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13.5, 4.3), layout="constrained", width_ratios=(1, 1, 1.1))
    _losses(left, by_name[SHOWN[0]])
    _differences(middle, [by_name[name] for name in SHOWN])
    _ranks(right, found)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _mark(axes: Axes, x: float, word: str) -> None:
    axes.axvline(x, color=GREY, lw=1, ls=":")
    axes.annotate(word, (x, 1), xycoords=("data", "axes fraction"), xytext=(3, -10), textcoords="offset points", color=GREY)


def _losses(axes: Axes, task: Task) -> None:
    epochs = np.arange(1, task.epochs + 1)
    labels = {0: "no penalty", task.final: f"λ = {ORACLE_LAMS[task.final]:.2g}, best at the end"}
    for (lam, label), colour in zip(labels.items(), COLOURS, strict=False):
        axes.plot(epochs, task.val[lam].mean(axis=0), color=colour, lw=2, label=label)
    for rung, word in zip(task.rungs, ("E/9", "E/3"), strict=True):
        _mark(axes, rung, word)
    highest = task.val[task.final, :, task.rungs[0] - 1].mean()
    lowest = task.val[[0, task.final]].mean(axis=1).min()
    axes.set(title=task.name, xlabel="epoch", ylabel="validation loss, mean of 8 seeds", xlim=(1, task.epochs))
    axes.set_ylim(lowest - 0.1 * (highest - lowest), highest + 0.3 * (highest - lowest))
    axes.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.93))


def _differences(axes: Axes, shown: Sequence[Task]) -> None:
    axes.axhline(0, color=GREY, lw=1)
    for task, colour in zip(shown, COLOURS[1:], strict=False):
        share = np.arange(1, task.epochs + 1) / task.epochs
        base = task.val[0].mean(axis=0)
        by_seed = 100 * (task.val[task.final] - task.val[0]) / base
        mean, error = by_seed.mean(axis=0), by_seed.std(axis=0, ddof=1) / np.sqrt(len(by_seed))
        axes.plot(share, mean, color=colour, lw=2, label=task.name)
        axes.fill_between(share, mean - error, mean + error, color=colour, alpha=0.15, lw=0)
    _mark(axes, 1 / 9, "E/9")
    _mark(axes, 1 / 3, "E/3")
    axes.set(title="final best λ against no penalty", xlabel="share of the training", ylabel="difference in validation loss, %")
    axes.set(xlim=(0, 1), ylim=(-30, 15))
    axes.legend(frameon=False, loc="lower left")


def _ranks(axes: Axes, found: Sequence[Task]) -> None:
    ordered = sorted(found, key=lambda task: (task.rank(task.rungs[0]), task.rank(task.rungs[1])))
    for y, task in enumerate(ordered):
        early, later = (task.rank(rung) for rung in task.rungs)
        axes.plot([early, later, 1], [y] * 3, color="#d5d9de", lw=2, zorder=1)
        axes.scatter(early, y, s=75, facecolor="white", edgecolor=COLOURS[0], lw=2, zorder=2, label="at E/9" if y == 0 else None)
        axes.scatter(later, y, s=26, color=COLOURS[0], zorder=3, label="at E/3" if y == 0 else None)
    axes.axvline(6.5, color=GREY, lw=1, ls=":")
    at = ("data", "axes fraction")
    axes.annotate("dropped at E/9", (6.5, 0.03), xycoords=at, xytext=(4, 0), textcoords="offset points", color=GREY)
    axes.set(title="rank of the final best λ, of 18", xlim=(0.3, 18.7), xticks=[1, 6, 12, 18], yticks=range(len(ordered)))
    axes.set_yticklabels([task.name for task in ordered])
    axes.legend(frameon=False, loc="center right")


def main() -> None:
    """Write the table and the picture."""
    found = [Task.of(name, table.read(name)) for name in table.tasks()]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "early_epochs.md").write_text(page(found))
    draw(found, PICTURE)
    print(page(found))


if __name__ == "__main__":
    main()
