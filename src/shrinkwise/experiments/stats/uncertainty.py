"""Where the variance of a mean over seeds comes from: the seeds, the rows that their test sets share, the splits that overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from shrinkwise.experiments.stats.skewed import LEVEL, Uncertainty

AS_GIVEN = "test set taken as given"
"""What a method says where nothing is known of the test rows."""

OVERLAP_BY_SIZES = "overlap of splits after Nadeau and Bengio"
"""What it says where no more is known of splits of one data set than their sizes."""

CROSSED = "seeds and shared test rows as crossed random effects"
"""What it says where every row's outcome is known."""


@dataclass(frozen=True, eq=False)
class TestRows:
    """What every seed measured on every row of its test set.

    Attributes:
        values: One array a seed, shape ``(n_test,)``: the value, or the paired difference, on each test row.
        rows: One array a seed, shape ``(n_test,)``: which row of the data set that was; any labels that ``numpy.unique`` sorts.
    """

    values: Sequence[np.ndarray]
    rows: Sequence[np.ndarray]

    __test__ = False


def seeds_alone(values: np.ndarray, method: str = AS_GIVEN) -> Uncertainty:
    """Return the mean of independent seeds.

    Args:
        values: One value a seed, shape ``(n,)``.
        method: What to say of the test rows.
    """
    return _uncertainty(values, 0.0, math.inf, method)


def overlapping_splits(values: np.ndarray, n_train: int, n_test: int) -> Uncertainty:
    """Return the mean over splits of one data set, of which nothing but the sizes is known.

    The variance is multiplied by 1/n + n_test/n_train instead of 1/n (Nadeau and Bengio 2003, Machine Learning 52, section 5). That
    is cautious: between two regularised variants the overlap costs less than it assumes, and the interval covers up to 99 %.

    Args:
        values: One value a seed, shape ``(n,)``.
        n_train: Training rows of one split.
        n_test: Test rows of one split.
    """
    shared = float(np.var(values, ddof=1)) * n_test / n_train if len(values) > 1 else 0.0
    # The shared part is estimated by the same sum of squares as the seeds' part, so it brings no degrees of freedom of its own.
    return _uncertainty(values, shared, math.nan, OVERLAP_BY_SIZES)


def shared_rows(values: np.ndarray, test: TestRows, reach: float = 0.0) -> Uncertainty:
    """Return the mean over seeds whose test sets share rows, all of them (one fixed test set) or some (splits of one data set).

    Crossed random effects, seeds by rows: the variance of the mean is s²/n, s² between the seeds' means, plus the covariance that
    two seeds have by the rows on which both were tested, averaged over all pairs of seeds (or s²/n alone, where
    the estimate of that covariance is negative). Its degrees of freedom are Satterthwaite's (1946, Biometrics Bulletin 2). For one
    fixed test set of m rows this is s²_seeds/n + s²_rows/m − s²_residual/(n·m), up to terms of order 1/(n·m²).

    Where no seed and no row differs from another, that variance is zero, and yet other rows may differ: where m rows show none that
    does, up to about 3/m of all rows may, with 95 % (the rule of three: Hanley and Lippman-Hand 1983, JAMA 249). The interval then
    reaches ``reach · 3/m`` to either side.

    Args:
        values: One value a seed, shape ``(n,)``.
        test: The same, row by row.
        reach: How far the value of one row may lie from that of another: 1 where a row is right or wrong; 0 where no bound is
            known.

    >>> rows = np.arange(4)
    >>> same = TestRows([np.array([0.0, 1.0, 1.0, 0.0])] * 3, [rows] * 3)     # three seeds that agree on every row
    >>> mean = shared_rows(np.array([0.5, 0.5, 0.5]), same)
    >>> bool(np.isclose(mean.error**2, np.var(same.values[0], ddof=1) / 4))   # leave the variance over the rows
    True
    """
    n = len(values)
    if n < 2:
        return _uncertainty(values, 0.0, math.inf, CROSSED)
    _, where, counts = np.unique(np.concatenate(test.rows), return_inverse=True, return_counts=True)
    scaled = np.concatenate([(value - value.mean()) / np.sqrt(len(value) * max(len(value) - 1, 1)) for value in test.values])
    # The square of a row's sum over seeds holds all products of two seeds, and each seed's with itself, which are taken out.
    sums, squares = np.bincount(where, weights=scaled), float(scaled @ scaled)
    shared = max(float(sums @ sums) - squares, 0.0) / (n * (n - 1))
    df = max(int(np.sum(counts > 1)) - 1, 1)
    if squares == 0 and np.ptp(values) == 0:
        shared = (reach * 3 / len(counts) / float(special.stdtrit(df, (1 + LEVEL) / 2))) ** 2
    return _uncertainty(values, shared, df, CROSSED)


def _uncertainty(values: np.ndarray, shared: float, df_shared: float, method: str) -> Uncertainty:
    """Put together independent seeds and a variance ``shared`` by all of them; NaN degrees of freedom mean the seeds' own."""
    n = len(values)
    point = float(np.mean(values))
    if n < 2:
        return Uncertainty(point, per_seed=math.nan, shared=shared, df=1.0, skewness=0.0, n=n, method=method)
    centred = values - point
    # Equal values leave rounding behind; its size would be taken for a variance, and its shape for a skewness.
    is_constant = bool(np.max(np.abs(centred)) <= 1e-12 * np.max(np.abs(values)))
    per_seed = 0.0 if is_constant else float(centred @ centred) / (n - 1)
    variance = per_seed / n + shared
    df, skewness = n - 1.0, 0.0
    if variance > 0:
        if not np.isnan(df_shared):
            df = variance**2 / ((per_seed / n) ** 2 / (n - 1) + shared**2 / df_shared)
        # Third cumulants add up: the skewness of the mean is that of the seeds' part, diluted by what they share.
        skewness = (per_seed / n / variance) ** 1.5 * _skewness(centred) / math.sqrt(n)
    return Uncertainty(point, per_seed, shared, df, skewness, n, method)


def _skewness(centred: np.ndarray) -> float:
    """Return the bias-adjusted sample skewness G1 (Joanes and Gill 1998) of centred values; 0 where fewer than three allow none."""
    n = len(centred)
    second = float(np.mean(centred**2))
    if n < 3 or second == 0:
        return 0.0
    return float(np.mean(centred * centred**2) / second**1.5) * math.sqrt(n * (n - 1)) / (n - 2)
