"""What a study asks of the statistics: which metric, which direction, which margin, and which variance its design calls for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from shrinkwise.errors import DataError
from shrinkwise.experiments.stats.answer import Measurement
from shrinkwise.experiments.stats.margin import Margin, margin_of
from shrinkwise.experiments.stats.metric import METRICS
from shrinkwise.experiments.stats.pairing import Seed
from shrinkwise.experiments.stats.skewed import Uncertainty
from shrinkwise.experiments.stats.uncertainty import TestRows, overlapping_splits, seeds_alone, shared_rows
from shrinkwise.experiments.study import Study

Pair = tuple[Measurement, Measurement]
"""A variant's run and the base's run of the same seed."""


@dataclass(frozen=True, eq=False)
class Question:
    """What the comparisons of a study have in common.

    Attributes:
        study: What was asked.
        is_higher_better: Metric name -> whether more of it is better; a metric without an entry is not compared.
        test_rows: Seed -> which rows of the data set its test set holds, shape ``(n_test,)``, in the order of the examples; empty
            where unknown. Where the test set is fixed it is not needed.
    """

    study: Study
    is_higher_better: Mapping[str, bool]
    test_rows: Mapping[Seed, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, study: Study, maximize: bool | None, test_rows: Mapping[Seed, np.ndarray] | None) -> Question:
        """Put a question together, and find out which direction of the primary metric is the good one.

        Raises:
            DataError: The primary metric is none of ours, and ``maximize`` does not say.
        """
        metric = study.primary_metric
        directions = {name: bool(known.is_higher_better) for name, known in METRICS.items()}
        if maximize is not None:
            directions[metric] = maximize
        elif metric not in directions:
            raise DataError(
                f"the metric {metric!r} is not one of ours",
                "whether more of it is better cannot be guessed",
                "say which: maximize=True or maximize=False (--maximize or --minimize)",
            )
        return cls(study, directions, test_rows or {})

    def mean(self, runs: Sequence[Measurement], metric: str) -> Uncertainty:
        """Return the mean of a metric over runs of one variant, one a seed."""
        return self._mean(metric, runs, [run.metrics[metric] for run in runs], [run.examples.get(metric) for run in runs])

    def mean_difference(self, pairs: Sequence[Pair], metric: str) -> Uncertainty:
        """Return the mean of the paired differences, variant minus base.

        Raises:
            DataError: The two runs of a pair were tested on different numbers of rows.
        """
        values = [ours.metrics[metric] - base.metrics[metric] for ours, base in pairs]
        return self._mean(metric, [ours for ours, _ in pairs], values, [_row_differences(*pair, metric) for pair in pairs])

    def margin(self, metric: str, base: float) -> float:
        """Return the half-width of what counts as equivalent, in the unit of the metric, where the base's mean is ``base``."""
        if metric != self.study.primary_metric:
            return margin_of(metric).width(base)
        return Margin(self.study.margin, self.study.is_margin_relative).width(base)

    def _mean(
        self, metric: str, runs: Sequence[Measurement], values: Sequence[float], by_row: Sequence[np.ndarray | None]
    ) -> Uncertainty:
        """Choose the variance that the design of the study calls for, as far as what it needs is known."""
        array = np.asarray(values, dtype=float)
        known = [np.asarray(rows, dtype=float) for rows in by_row if rows is not None and len(rows)]
        labels = self._labels(runs, known) if len(known) == len(runs) else None
        if labels is not None:
            is_right_or_wrong = all(_is_zero_or_one(run.examples[metric]) for run in runs)
            return shared_rows(array, TestRows(known, labels), reach=float(is_right_or_wrong))
        if not self.study.is_resampled:
            return seeds_alone(array)
        sizes = {(run.n_train or self.study.n_train, run.n_test or self.study.n_test) for run in runs}
        n_train, n_test = min(sizes)[0], max(size for _, size in sizes)
        return overlapping_splits(array, n_train, n_test) if n_train and n_test else seeds_alone(array)

    def _labels(self, runs: Sequence[Measurement], known: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """Return which rows each seed was tested on, or None where that is unknown."""
        if not self.study.is_resampled:
            return [np.arange(len(rows)) for rows in known] if len({len(rows) for rows in known}) == 1 else None
        if any(run.seed not in self.test_rows for run in runs):
            return None
        labels = [np.asarray(self.test_rows[run.seed]) for run in runs]
        for run, names, rows in zip(runs, labels, known, strict=True):
            if len(names) != len(rows):
                raise DataError(
                    f"seed {run.seed} names {len(names)} test rows and has outcomes of {len(rows)}",
                    "each outcome belongs to one row",
                    "give the test rows of the same split",
                )
        return labels


def _is_zero_or_one(rows: np.ndarray) -> bool:
    return bool(np.all((rows == 0) | (rows == 1)))


def _row_differences(ours: Measurement, base: Measurement, metric: str) -> np.ndarray | None:
    """Return variant minus base on each test row, or None where it is unknown."""
    one, other = ours.examples.get(metric), base.examples.get(metric)
    if one is None or other is None:
        return None
    if len(one) != len(other):
        raise DataError(
            f"{ours.variant.name} and {base.variant.name} were tested on {len(one)} and {len(other)} rows (seed {ours.seed})",
            "a pair shares its test rows",
            "test both on the same rows",
        )
    difference: np.ndarray = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
    return difference
