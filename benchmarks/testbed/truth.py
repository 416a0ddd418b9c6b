"""What is true of a task, as the table knows it: each λ's mean test loss over seeds, and what an answer loses on the best.

An answer is judged on seeds that had no part in it: on those that chose it, a lucky λ looks better than it is.
"""

from __future__ import annotations

from collections.abc import Collection
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

    def without(self, used: Collection[int]) -> Truth:
        """Return the truth over the seeds that were not used.

        Raises:
            ValueError: Fewer than two are left.
        """
        kept = [seed not in used for seed in self.seeds]
        if sum(kept) < 2:
            raise ValueError(
                f"{sum(kept)} complete seeds are left beside those used, and a truth needs two: run bank.py to its end"
            )
        left = tuple(seed for seed, is_kept in zip(self.seeds, kept, strict=True) if is_kept)
        return Truth(self.lams, left, self.test[:, kept])

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
    """Return the truth of a task, over the repeats' seeds that have a run at each λ, so that λs meet on equal seeds.

    The oracle's seeds are left out: they have the oracle's λs alone, and the search was looked at with them.

    Raises:
        ValueError: Fewer than two seeds are complete.
    """
    seeds = tuple(s for s in REPEAT_SEEDS if all((lam, s) in runs for lam in LAMS))
    if len(seeds) < 2:
        raise ValueError(f"{len(seeds)} seeds have a run at each λ, and a truth needs two: run bank.py to its end")
    test = np.array([[runs[lam, seed].test_loss for seed in seeds] for lam in LAMS])
    return Truth(LAMS, seeds, np.where(np.isfinite(test), test, np.inf))
