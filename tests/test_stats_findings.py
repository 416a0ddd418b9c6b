"""What a difference comes to, and how many seeds would decide it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from shrinkwise.experiments.stats import Estimate, Finding
from shrinkwise.experiments.stats.finding import judge, seeds_needed
from shrinkwise.experiments.stats.margin import margin_of
from shrinkwise.experiments.stats.skewed import Uncertainty


def between(low, high):
    return Estimate((low + high) / 2, low, high, 0.95, 10, "")


@pytest.mark.parametrize(
    ("interval", "p", "is_higher_better", "finding"),
    [
        (between(0.001, 0.004), 0.001, True, Finding.EQUIVALENT),
        (between(-0.004, 0.005), 0.9, True, Finding.EQUIVALENT),
        (between(-0.001, 0.006), 0.9, True, Finding.INCONCLUSIVE),
        (between(0.001, 0.006), 0.01, True, Finding.HELPS),
        (between(0.001, 0.006), 0.01, False, Finding.HURTS),
        (between(-0.006, -0.001), 0.01, True, Finding.HURTS),
        (between(-0.006, -0.001), 0.01, False, Finding.HELPS),
        (between(0.001, 0.006), 0.05, True, Finding.INCONCLUSIVE),
        (between(0.001, 0.006), None, True, Finding.INCONCLUSIVE),
        (between(-0.001, 0.006), 0.01, True, Finding.INCONCLUSIVE),
        (between(math.nan, math.nan), None, True, Finding.INCONCLUSIVE),
    ],
)
def test_finding_is_equivalence_before_the_p(interval, p, is_higher_better, finding):
    assert judge(interval, 0.005, is_higher_better=is_higher_better, p_adjusted=p) is finding


@pytest.mark.parametrize(("n", "finding"), [(2, Finding.INCONCLUSIVE), (3, Finding.EQUIVALENT)])
def test_finding_of_two_seeds_is_never_equivalent(n, finding):
    interval = dataclasses.replace(between(-0.001, 0.001), n=n)
    assert judge(interval, 0.005, is_higher_better=True, p_adjusted=None) is finding


@pytest.mark.parametrize(
    ("metric", "base", "margin"),
    [
        ("accuracy", 0.9, 0.005),
        ("f1", 0.9, 0.005),
        ("auc", 0.9, 0.005),
        ("r2", -0.1, 0.005),
        ("loss", 0.5, 0.01),
        ("rmse", 3.0, 0.06),
        ("bleu", 30.0, 0.6),
    ],
)
def test_margin_of_scores_is_absolute_and_of_losses_a_share(metric, base, margin):
    assert margin_of(metric).width(base) == pytest.approx(margin)


def mean(point, per_seed=1.0, shared=0.0):
    return Uncertainty(point, per_seed, shared, df=9, skewness=0.0, n=10, method="")


def test_seeds_needed_give_about_the_power_that_they_promise():
    n = seeds_needed(mean(0.5), 0.0, 1)
    rng = np.random.default_rng(0)
    samples = rng.normal(0.5, 1, (4_000, n))
    shown = samples.mean(1) / (samples.std(1, ddof=1) / np.sqrt(n)) > 1.96
    assert shown.mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(("metric_shared", "needed"), [(0.0, 32), (0.02, 85), (0.05, None)])
def test_seeds_needed_grow_with_what_more_seeds_do_not_take_away(metric_shared, needed):
    assert seeds_needed(mean(0.5, shared=metric_shared), 0.0, 1) == needed


def test_seeds_needed_count_equivalence_where_that_is_nearer():
    assert seeds_needed(mean(0.0), 0.5, 1) == 32
    assert seeds_needed(mean(0.001), 0.0, 1) is None


def test_seeds_needed_are_more_than_there_were_and_no_fewer_than_the_floor():
    assert seeds_needed(mean(5.0), 0.0, 1) == 11
    assert seeds_needed(Uncertainty(5.0, 1.0, 0.0, df=2, skewness=0.0, n=3, method=""), 0.0, 28) == 11
