"""Two trained models against each other, for whoever can afford one run each: what the test rows alone can say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from shrinkwise.errors import DataError
from shrinkwise.experiments.stats.answer import Estimate, clipped
from shrinkwise.experiments.stats.skewed import LEVEL
from shrinkwise.experiments.stats.words import amount, counted, interval

METHOD = "paired t over test rows, these two models only"


@dataclass(frozen=True)
class TwoModels:
    """How two trained models differ on new rows, given these weights.

    It says nothing about training again: another seed may turn it round.

    Attributes:
        metric: What is compared.
        difference: Mean over test rows of choice minus default, with an interval over the rows; its ``n`` counts rows.
    """

    metric: str
    difference: Estimate

    @property
    def sentence(self) -> str:
        """What it comes to, in words.

        >>> TwoModels("accuracy", Estimate(0.02, 0.005, 0.035, 0.95, 360, METHOD)).sentence[:87]
        'These two models only: accuracy differs by 2.0 points (95 % interval 0.5 to 3.5, over 3'
        """
        found = self.difference
        by = amount(self.metric, found.point, found.high - found.low)
        told = f"{interval(self.metric, found)}, over {counted(found.n, 'test row')}"
        return f"These two models only: {self.metric} differs by {by} ({told}); another seed may differ."


def two_models(metric: str, ours: np.ndarray, base: np.ndarray) -> TwoModels:
    """Compare two models on the same test rows.

    The interval is Student's t of the differences row by row. For right and wrong those are -1, 0 and 1, and only rows on which the
    models disagree count, as in McNemar's test (1947, Psychometrika 12). Where no row differs, that says of m rows that up to about
    3/m of all rows may (the rule of three), and the interval reaches as far, for right and wrong.

    Args:
        metric: What was measured.
        ours: The metric of one model on each test row, shape ``(n_test,)``.
        base: The same of the other model, on the same rows in the same order.

    Raises:
        DataError: The two were tested on different numbers of rows, or on fewer than two.
    """
    if len(ours) != len(base) or len(ours) < 2:
        raise DataError(
            f"the two models were tested on {len(ours)} and {len(base)} rows",
            "they are compared row by row",
            "test both on the same rows, two or more",
        )
    one, other = np.asarray(ours, dtype=float), np.asarray(base, dtype=float)
    differences, m = one - other, len(one)
    reach = float(special.stdtrit(m - 1, (1 + LEVEL) / 2)) * float(np.std(differences, ddof=1)) / m**0.5
    if not np.any(differences) and np.all((one == 0) | (one == 1)):
        reach = 3 / m
    point = float(np.mean(differences))
    estimate = Estimate(point, point - reach, point + reach, LEVEL, m, METHOD)
    return TwoModels(metric, clipped(estimate, metric, is_difference=True))
