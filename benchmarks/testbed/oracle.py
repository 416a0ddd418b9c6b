"""The search against the whole grid on the same seeds: as good for a quarter of the trainings, and an interval that holds?

    python benchmarks/testbed/oracle.py           # writes benchmarks/results/testbed/oracle.md

First on the oracle's eight seeds, then on the five disjoint windows of eight among the other seeds, for a fairer picture.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from bank import Bank
from ours import chosen, least
from rows import ROWS
from table import LOW, ORACLE_LAMS, ORACLE_SEEDS, REPEAT_SEEDS, RESULTS, snap, tasks

PER_SEED = 4.5
WINDOWS = (ORACLE_SEEDS, *(REPEAT_SEEDS[start : start + 8] for start in range(0, len(REPEAT_SEEDS), 8)))


@dataclass(frozen=True)
class Verdict:
    """The search and the grid on one task and one window of seeds.

    Attributes:
        task: Task.
        window: Which of :data:`WINDOWS`.
        grid_lam: λ that the whole grid picks by mean validation loss.
        grid_loss: Mean test loss there; ``error`` its standard error over the seeds.
        error: See ``grid_loss``.
        lam: λ that the search picks, on the table's grid.
        loss: Mean test loss there, on the same seeds.
        paired_error: Standard error of the difference of the two test losses by seed; 0 where both pick the same λ.
        low: Lower end of its interval; 0 where no penalty is within it. ``high`` likewise.
        high: See ``low``.
        holds: ``grid`` where the interval holds the grid's λ, ``equal`` where it holds a λ of the grid whose test loss is
            within one error of the grid's, else ``no``.
        trainings_per_seed: What the search used.
        keeps_default: Whether it ended with the default.
    """

    task: str
    window: int
    grid_lam: float
    grid_loss: float
    error: float
    lam: float
    loss: float
    paired_error: float
    low: float
    high: float
    holds: str
    trainings_per_seed: float
    keeps_default: bool

    @property
    def is_as_good(self) -> bool:
        """Whether the test loss is at most one standard error above the grid's."""
        return self.loss <= self.grid_loss + self.error

    @property
    def is_as_good_paired(self) -> bool:
        """Whether it is at most one standard error of the difference by seed above the grid's, which is a stricter question."""
        return self.loss <= self.grid_loss + self.paired_error

    @property
    def decades(self) -> float:
        """Width of the interval in decades; no penalty counts as the least λ of the grid."""
        return math.log10(max(self.high, LOW) / max(self.low, LOW))


def holding(low: float, high: float, grid_lam: float, equals: Sequence[float]) -> str:
    """Say whether an interval holds the grid's λ, or an equal one.

    >>> holding(0.001, 0.1, 0.01, []), holding(0.001, 0.1, 0.3, [0.1]), holding(0.0, 1e-5, 0.3, [0.1])
    ('grid', 'equal', 'no')
    """
    if low <= grid_lam <= high:
        return "grid"
    return "equal" if any(low <= lam <= high for lam in equals) else "no"


def judge(task: str, window: int) -> Verdict:
    """Let the search and the grid choose on one window of seeds."""
    bank, seeds = Bank(task), WINDOWS[window]

    def test(lam: float) -> np.ndarray:
        losses = np.array([bank.get(lam, seed).test_loss for seed in seeds])
        return np.where(np.isfinite(losses), losses, np.inf)

    grid_lam = least(bank, ORACLE_LAMS, seeds)
    error = float(test(grid_lam).std(ddof=1) / np.sqrt(len(seeds)))
    grid_loss = float(test(grid_lam).mean())
    choice = chosen(bank, seeds, int(PER_SEED * len(seeds)))
    equals = [lam for lam in ORACLE_LAMS if test(lam).mean() <= grid_loss + error]
    differences = test(choice.lam) - test(grid_lam) if snap(choice.lam) != grid_lam else np.zeros(len(seeds))
    return Verdict(
        task=task,
        window=window,
        grid_lam=grid_lam,
        grid_loss=grid_loss,
        error=error,
        lam=snap(choice.lam),
        loss=float(test(choice.lam).mean()),
        paired_error=float(differences.std(ddof=1) / np.sqrt(len(seeds))),
        low=choice.low,
        high=choice.high,
        holds=holding(choice.low, choice.high, grid_lam, equals),
        trainings_per_seed=choice.cost.trainings_per_seed,
        keeps_default=choice.keeps_default,
    )


def judge_all(task: str) -> list[Verdict]:
    """Judge a task on every window."""
    return [judge(task, window) for window in range(len(WINDOWS))]


def _row(verdict: Verdict) -> str:
    more = verdict.loss - verdict.grid_loss
    errors, paired = more / verdict.error, more / verdict.paired_error if verdict.paired_error > 0 else 0.0
    cells = [
        verdict.task,
        str(WINDOWS[verdict.window][0]),
        f"{verdict.grid_lam:.2g}",
        f"{verdict.grid_loss:.4f} ± {verdict.error:.4f}",
        f"{verdict.lam:.2g}",
        f"{verdict.loss:.4f} ({errors:+.1f} SE, {paired:+.1f} paired)",
        "yes" if verdict.is_as_good else "**no**",
        "yes" if verdict.is_as_good_paired else "**no**",
        f"{verdict.low:.2g} to {verdict.high:.2g}",
        f"{verdict.decades:.1f}",
        verdict.holds,
        f"{verdict.trainings_per_seed:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _summary(verdicts: Sequence[Verdict]) -> str:
    name = "0-7 (oracle)" if verdicts[0].window == 0 else f"{WINDOWS[verdicts[0].window][0]}-{WINDOWS[verdicts[0].window][-1]}"
    n, used = len(verdicts), [verdict.trainings_per_seed for verdict in verdicts]
    return (
        f"| {name} | {sum(v.is_as_good for v in verdicts)} of {n} "
        f"| {sum(v.is_as_good_paired for v in verdicts)} of {n} | {sum(v.holds != 'no' for v in verdicts)} of {n} "
        f"| {sum(v.holds == 'grid' for v in verdicts)} of {n} | {np.median([v.decades for v in verdicts]):.2f} "
        f"| {np.mean(used):.2f}, at most {max(used):.2f} |"
    )


HEAD = (
    "| task | seeds from | grid's λ | test loss there | search's λ | test loss there | as good | paired | interval | decades "
    "| holds | trainings a seed |",
    "|---|---:|---:|---|---:|---|---|---|---|---:|---|---:|",
)
INTRODUCTION = f"""# The search against the whole grid

By `benchmarks/testbed/oracle.py`. The grid: 17 λs from 1e-6 to 1 and 0, on eight seeds, 18 trainings a seed; it takes the least
mean validation loss. The search: the same seeds, at most {PER_SEED} trainings a seed used. As good: mean test loss on these seeds
at most one standard error (of the grid's test loss, over the seeds) above the grid's. Paired: the same with the standard error of
the difference by seed, which leaves out what the two share, and so asks for more. Equal: a λ of the grid that is as good by the
first. Decades: the median width of the interval. Both choices are judged on the seeds that they were made with.
"""


def page(verdicts: Sequence[Verdict]) -> str:
    """Return the result in Markdown."""
    by_window = [[v for v in verdicts if v.window == window] for window in range(len(WINDOWS))]
    return "\n".join(
        [
            INTRODUCTION,
            "| seeds | as good | paired | interval holds the grid's λ or an equal one | its own | decades | trainings a seed |",
            "|---|---|---|---|---|---:|---|",
            *(_summary(part) for part in by_window),
            "",
            "## The oracle's seeds",
            "",
            *HEAD,
            *(_row(v) for v in by_window[0]),
            "",
            "## The other windows: what was missed",
            "",
            *HEAD,
            *(_row(v) for part in by_window[1:] for v in part if not v.is_as_good or v.holds == "no"),
            "",
        ]
    )


def main() -> None:
    """Judge every task, one process a core, and write the page."""
    from loky import ProcessPoolExecutor

    work = importlib.import_module("oracle").judge_all  # by name, so that workers import it too
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        verdicts = [verdict for of_task in pool.map(work, tasks()) for verdict in of_task]
    ROWS.mkdir(parents=True, exist_ok=True)
    (ROWS / "oracle.jsonl").write_text("".join(json.dumps(asdict(verdict)) + "\n" for verdict in verdicts))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "oracle.md").write_text(page(verdicts))
    print(RESULTS / "oracle.md")


if __name__ == "__main__":
    main()
