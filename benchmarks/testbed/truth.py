"""What is true of a task, as the table knows it: each λ's mean test loss over all seeds, and what an answer loses on the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from table import LAMS, ORACLE_SEEDS, REPEAT_SEEDS, Table


@dataclass(frozen=True, eq=False)
class Truth:
    """Test losses of a task.

    Attributes:
        lams: Strengths, shape ``(lam,)``.
        seeds: Seeds that have a run at each of them, shape ``(seed,)``.
        test: Test loss at the end, shape ``(lam, seed)``; infinite for a run that diverged.
    """

    lams: tuple[float, ...]
    seeds: tuple[int, ...]
    test: np.ndarray

    @property
    def best(self) -> int:
        """Which λ has the least mean test loss."""
        return int(self.test.mean(axis=1).argmin())

    def excess(self, lam: float) -> float:
        """Return what a λ loses on the best one, in per cent of the best one's mean test loss."""
        mean = self.test.mean(axis=1)
        return float(100 * (mean[self.lams.index(lam)] / mean[self.best] - 1))

    def errors(self, lam: float, n: int = len(ORACLE_SEEDS)) -> float:
        """Return the same in standard errors, over ``n`` seeds, of the best λ's mean test loss."""
        mean, spread = self.test.mean(axis=1), self.test[self.best].std(ddof=1)
        return float((mean[self.lams.index(lam)] - mean[self.best]) / (spread / np.sqrt(n)))

    def paired_errors(self, lam: float, n: int = len(ORACLE_SEEDS)) -> float:
        """Return the same in standard errors, over ``n`` seeds, of the difference by seed; 0 for the best λ itself."""
        difference = self.test[self.lams.index(lam)] - self.test[self.best]
        spread = difference.std(ddof=1)
        return float(difference.mean() / (spread / np.sqrt(n))) if spread > 0 else 0.0


def truth(runs: Table) -> Truth:
    """Return the truth of a task, over the seeds that have a run at each λ of the grid, so that λs meet on equal seeds.

    Raises:
        ValueError: Fewer than two seeds are complete.
    """
    seeds = tuple(s for s in (*ORACLE_SEEDS, *REPEAT_SEEDS) if all((lam, s) in runs for lam in LAMS))
    if len(seeds) < 2:
        raise ValueError(f"{len(seeds)} seeds have a run at each λ, and a truth needs two: run bank.py to its end")
    test = np.array([[runs[lam, seed].test_loss for seed in seeds] for lam in LAMS])
    return Truth(LAMS, seeds, np.where(np.isfinite(test), test, np.inf))
