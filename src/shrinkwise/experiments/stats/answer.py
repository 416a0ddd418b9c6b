"""What a comparison comes to: estimates, comparisons, and the answer that holds them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from shrinkwise.experiments.records import Condition, Setting, Status, Variant
from shrinkwise.experiments.stats.metric import metric_of


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        point: The estimate.
        low: Lower end of the interval; NaN where ``n`` allows none. ``high`` likewise.
        level: Probability with which such intervals cover the estimand.
        n: Number of seeds behind it.
        method: How the interval was made, in a few words.
    """

    point: float
    low: float
    high: float
    level: float
    n: int
    method: str


def clipped(estimate: Estimate, metric: str, *, is_difference: bool) -> Estimate:
    """Cut an interval at what its metric can be."""
    low, high = metric_of(metric).clipped(estimate.low, estimate.high, is_difference=is_difference)
    return replace(estimate, low=low, high=high)


@dataclass(frozen=True, eq=False)
class Measurement:
    """What the statistics need of one run, from our own record or from anybody's table.

    Attributes:
        variant: The configuration.
        condition: What the data were like.
        seed: What pairs runs of different variants; a number or a name.
        status: How the run ended.
        collapsed: Whether it learned nothing.
        metrics: Metric name -> value on the test rows; empty unless the run is done.
        examples: Metric name -> the metric on each test row, or what the row adds to it to first order, shape ``(n_test,)``; empty
            where unknown.
        n_train: Number of training rows; 0 where unknown. ``n_test`` likewise.
        weight_norm: Euclidean norm of all weight matrices at the judged epoch; NaN where unknown.
    """

    variant: Variant
    condition: Condition
    seed: int | str
    status: Status
    collapsed: bool
    metrics: Mapping[str, float]
    examples: Mapping[str, np.ndarray]
    n_train: int
    n_test: int
    weight_norm: float


@dataclass(frozen=True)
class Spread:
    """A metric of one variant over seeds: mean with interval, and standard deviation."""

    estimate: Estimate
    std: float


@dataclass(frozen=True)
class Row:
    """One line of the table: a variant within a condition.

    Attributes:
        n: Number of seeds that are done.
        status: How many runs ended how.
        collapsed: How many of the runs that are done learned nothing.
        metrics: Metric name -> its spread; a metric without a value (no run done) is absent.
        weight_norm: Mean over seeds; NaN where unknown.
        chosen: Settings that were chosen for it among several before anything was compared, such as its learning rate.
    """

    variant: Variant
    condition: Condition
    n: int
    status: Mapping[Status, int]
    collapsed: int
    metrics: Mapping[str, Spread]
    weight_norm: float
    chosen: Mapping[str, Setting] = field(default_factory=dict)


class Finding(enum.StrEnum):
    """What one comparison comes to."""

    HELPS = "helps"
    HURTS = "hurts"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Comparison:
    """A variant against the base, within one condition, on one metric, paired by seed.

    Attributes:
        difference: Mean of variant minus base, in the metric's own unit and sign.
        differences: The paired differences, one a seed, in the order of ``seeds``.
        share_won: Share of the seeds on which the variant is the better one, a tie counting half.
        p: Two-sided p; None where there are too few seeds for any p to decide, or the metric is not the primary one.
        p_adjusted: The same, adjusted by Holm over all variants of the condition.
        finding: What it comes to; without an adjusted p it is equivalent or inconclusive, never a help or a harm.
        seeds_needed: Seeds that would probably decide, where the finding is inconclusive; else None.
    """

    variant: Variant
    against: Variant
    condition: Condition
    metric: str
    difference: Estimate
    differences: tuple[float, ...]
    seeds: tuple[int | str, ...]
    share_won: float
    p: float | None
    p_adjusted: float | None
    finding: Finding
    seeds_needed: int | None = None


@dataclass(frozen=True)
class Answer:
    """All that the statistics say of an experiment.

    Attributes:
        base: What the others are compared against.
        variants: All variants in the order given, base included.
        conditions: All conditions in the order given.
        rows: The table, condition by condition.
        comparisons: Every variant against the base, every condition, every metric; primary metric first.
        early_stopped: The same on the primary metric where every run, base included, keeps its epoch of best validation loss;
            empty where that is unknown.
        over_stopped_base: On the primary metric, each variant at its last epoch against the base at its epoch of best validation
            loss: what the variant adds to early stopping alone; empty where that is unknown.
        sentence: The verdict, one sentence in plain words.
        notes: What a reader must know beside it, a sentence each: for which learning rate and epochs it holds, what early stopping
            would have done, why no p is printed.
    """

    base: Variant
    variants: tuple[Variant, ...]
    conditions: tuple[Condition, ...]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    early_stopped: tuple[Comparison, ...]
    over_stopped_base: tuple[Comparison, ...]
    sentence: str
    notes: tuple[str, ...]
