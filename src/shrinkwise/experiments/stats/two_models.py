"""Two trained models against each other, for whoever can afford one run each: what the test rows alone can say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from shrinkwise.errors import DataError
from shrinkwise.experiments.stats.answer import Estimate, clipped
from shrinkwise.experiments.stats.skewed import LEVEL
from shrinkwise.experiments.stats.words import amount, counted, interval

METHOD = "paired t over test rows, these two models only"
PROPORTIONS = "Agresti and Min over test rows, these two models only"
IDENTICAL = "the same on each test row"


@dataclass(frozen=True)
class TwoModels:
    """How two trained models differ on new rows, given these weights.

    It says nothing about training again: another seed may turn it round.

    Attributes:
        metric: What is compared.
        difference: Mean over test rows of choice minus default, with an interval over the rows; its ``n`` counts rows. The ends are
            NaN where no row differs and the metric is not right or wrong: rows that are all alike do not say how others vary.
        base: The default, as a sentence names it.
    """

    metric: str
    difference: Estimate
    base: str = "the default"

    @property
    def sentence(self) -> str:
        """What it comes to, in words.

        >>> TwoModels("accuracy", Estimate(-0.003, -0.015, 0.009, 0.95, 360, METHOD), "λ=0.01").sentence[:96]
        'These two models only: the choice has 0.3 points less accuracy than λ=0.01 (95 % interval −0.9 t'
        """
        found, rows = self.difference, counted(self.difference.n, "test row")
        if math.isnan(found.low):
            said = f"the choice and {self.base} have the same {self.metric} on each of {rows}"
        elif found.point == 0:
            said = f"the choice has the same {self.metric} as {self.base} ({interval(self.metric, found)}, over {rows})"
        else:
            sign = 1 if found.point > 0 else -1
            by = amount(self.metric, abs(found.point), found.high - found.low)
            told = f"{interval(self.metric, found, sign)}, over {rows}"
            said = f"the choice has {by} {'more' if sign > 0 else 'less'} {self.metric} than {self.base} ({told})"
        return f"These two models only: {said}; another seed may differ."


def two_models(metric: str, ours: np.ndarray, base: np.ndarray, name: str = "the default") -> TwoModels:
    """Compare two models on the same test rows.

    For right and wrong only rows on which the models disagree count, as in McNemar's test (1947, Psychometrika 12). The interval is
    the adjusted Wald of Agresti and Min (2005, Statistics in Medicine 24): half a row is added to each of the four cells, which
    leaves a width where few rows differ, or none. For anything else it is Student's t of the differences row by row.

    Args:
        metric: What was measured.
        ours: The metric of one model on each test row, shape ``(n_test,)``.
        base: The same of the other model, on the same rows in the same order.
        name: What a sentence calls the other model.

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
    point, n = float(np.mean(one - other)), len(one)
    if np.all(np.isin([one, other], (0, 1))):
        low, high = _proportions(one, other)
        return TwoModels(metric, clipped(Estimate(point, low, high, LEVEL, n, PROPORTIONS), metric, is_difference=True), name)
    if np.array_equal(one, other):
        return TwoModels(metric, Estimate(point, math.nan, math.nan, LEVEL, n, IDENTICAL), name)
    reach = float(special.stdtrit(n - 1, (1 + LEVEL) / 2)) * float(np.std(one - other, ddof=1)) / n**0.5
    estimate = Estimate(point, point - reach, point + reach, LEVEL, n, METHOD)
    return TwoModels(metric, clipped(estimate, metric, is_difference=True), name)


def _proportions(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return the ends of the adjusted Wald interval for the difference of two matched proportions."""
    n = len(one) + 2
    only_one, only_other = np.sum(one > other) + 0.5, np.sum(one < other) + 0.5
    middle = (only_one - only_other) / n
    reach = special.ndtri((1 + LEVEL) / 2) * math.sqrt(only_one + only_other - n * middle**2) / n
    return float(middle - reach), float(middle + reach)
