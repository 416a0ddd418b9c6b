"""The interval of a mean over seeds: against SciPy, against closed forms, and against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from shrinkwise.experiments.stats.uncertainty import TestRows, overlapping_splits, seeds_alone, shared_rows
from stats_simulations import (
    WITHIN,
    World,
    covers,
    fixed_test,
    lognormal,
    normal,
    resampled,
    ridge,
    share_covered,
    shares,
)

SAMPLES = st.lists(st.floats(-10, 10, allow_subnormal=False).map(lambda x: round(x, 3)), min_size=3, max_size=12).map(np.array)


def crossed(n_seeds, n_rows, seed=0, row_effect=1.0):
    """Values of seeds by rows, with an effect of the seed, of the row, and of both."""
    rng = np.random.default_rng(seed)
    values = (
        0.3 * rng.standard_normal((n_seeds, 1)) + row_effect * rng.standard_normal(n_rows) + rng.standard_normal((n_seeds, n_rows))
    )
    return values, TestRows(list(values), [np.arange(n_rows)] * n_seeds)


@pytest.mark.parametrize("n", [2, 4, 10])
def test_interval_without_skewness_is_students(n):
    values = np.arange(n, dtype=float)
    ours, theirs = seeds_alone(values).interval(), stats.ttest_1samp(values, 0).confidence_interval()
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("n", [2, 4, 10])
def test_p_without_skewness_is_that_of_the_paired_t_test(n):
    ours, base = 0.3 + np.linspace(0, 1, n), np.linspace(2, 0, n)
    assert seeds_alone(ours - base).p() == pytest.approx(stats.ttest_rel(ours, base).pvalue)


def test_skewness_is_scipys():
    values = np.random.default_rng(3).lognormal(size=9)
    assert seeds_alone(values).skewness == pytest.approx(stats.skew(values, bias=False) / 3)


@given(SAMPLES)
def test_interval_holds_students_and_is_longer_on_the_side_of_the_tail(values):
    assume(np.ptp(values) > 0.01)
    mean = seeds_alone(values)
    ours, students = mean.interval(), stats.ttest_1samp(values, 0).confidence_interval()
    slack = 1e-9 * (1 + abs(students.low) + abs(students.high))
    assert ours.low <= students.low + slack
    assert ours.high >= students.high - slack
    if abs(mean.skewness) > 1e-6:
        assert (ours.high - ours.point > ours.point - ours.low) == (mean.skewness > 0)


@given(SAMPLES)
def test_p_is_the_level_at_which_the_interval_touches_zero(values):
    mean = seeds_alone(values)
    assume(np.ptp(values) > 0.01)
    assume(1e-6 < mean.p() < 0.999)
    touching = mean.interval(level=1 - mean.p())
    assert min(abs(touching.low), abs(touching.high)) == pytest.approx(0, abs=1e-6 * mean.error * (1 + abs(mean.skewness)))


@given(SAMPLES)
def test_interval_of_the_negative_is_the_interval_turned(values):
    assume(not seeds_alone(values).why_unknown)
    there, back = seeds_alone(values).interval(), seeds_alone(-values).interval()
    assert (back.point, back.low, back.high) == (-there.point, -there.high, -there.low)
    assert seeds_alone(values).p() == seeds_alone(-values).p()


@pytest.mark.parametrize("value", [0.0, 0.1, -0.3])
def test_equal_differences_have_an_interval_without_width(value):
    interval = seeds_alone(np.full(7, value)).interval()
    assert (interval.low, interval.high) == (interval.point, interval.point)
    assert interval.point == pytest.approx(value)


def test_equal_differences_on_a_finite_test_set_keep_the_width_that_the_rows_give():
    by_row = np.random.default_rng(0).standard_normal(50)
    mean = shared_rows(np.full(10, by_row.mean()), TestRows([by_row] * 10, [np.arange(50)] * 10))
    students = stats.ttest_1samp(by_row, 0).confidence_interval()
    assert (mean.interval().low, mean.interval().high) == pytest.approx((students.low, students.high))


@pytest.mark.parametrize("n", [2, 4, 5])
def test_a_few_equal_differences_allow_no_interval(n):
    mean = seeds_alone(np.full(n, 0.25))
    assert math.isnan(mean.interval().low) == math.isnan(mean.p()) == (n < 5)
    assert mean.interval().point == 0.25


@pytest.mark.parametrize("m", [20, 181, 5_000])
def test_interval_of_rows_that_never_differ_follows_the_rule_of_three(m):
    same = TestRows([np.zeros(m)] * 4, [np.arange(m)] * 4)
    interval = shared_rows(np.zeros(4), same, reach=1.0).interval()
    assert (interval.low, interval.high) == pytest.approx((-3 / m, 3 / m))
    # Were that share of all rows to differ, m rows would hide it in one case of twenty.
    assert (1 - interval.high) ** m <= 0.05 < (1 - 0.9 * interval.high) ** m


def test_rule_of_three_counts_each_row_once():
    splits = TestRows([np.ones(20)] * 3, [np.arange(20), np.arange(10, 30), np.arange(20, 40)])
    assert shared_rows(np.ones(3), splits, reach=1.0).interval().high == pytest.approx(1 + 3 / 40)


def test_rule_of_three_needs_a_bound_and_equal_rows():
    same = TestRows([np.zeros(20)] * 5, [np.arange(20)] * 5)
    assert shared_rows(np.zeros(5), same).error == 0
    values, test = crossed(6, 200)
    assert shared_rows(values.mean(1), test, reach=1.0).error == shared_rows(values.mean(1), test).error


def test_one_seed_allows_no_interval():
    mean = seeds_alone(np.array([0.5]))
    assert mean.interval().point == 0.5
    assert math.isnan(mean.interval().low)
    assert math.isnan(mean.interval().high)
    assert math.isnan(mean.p())


def test_fixed_test_set_gives_the_crossed_components_of_variance():
    values, test = crossed(6, 200)
    n, m = values.shape
    seeds, rows, grand = values.mean(1, keepdims=True), values.mean(0), values.mean()
    residual = np.sum((values - seeds - rows + grand) ** 2) / ((n - 1) * (m - 1))
    expected = np.var(seeds, ddof=1) / n + np.var(rows, ddof=1) / m - residual / (n * m)
    assert shared_rows(values.mean(1), test).error ** 2 == pytest.approx(expected, rel=0.01)


def test_rows_that_no_two_seeds_share_add_nothing():
    values, _ = crossed(6, 200)
    apart = TestRows(list(values), [np.arange(200) + 1000 * seed for seed in range(6)])
    assert shared_rows(values.mean(1), apart).error == pytest.approx(seeds_alone(values.mean(1)).error)


def test_the_names_of_rows_decide_and_not_their_order():
    values, test = crossed(6, 200)
    order = np.random.default_rng(1).permutation(200)
    shuffled = TestRows(
        [row[order] if i % 2 else row for i, row in enumerate(values)], [order if i % 2 else np.arange(200) for i in range(6)]
    )
    assert shared_rows(values.mean(1), shuffled).error == pytest.approx(shared_rows(values.mean(1), test).error)


def test_splits_of_known_size_have_the_factor_of_nadeau_and_bengio():
    values = np.arange(10.0)
    assert overlapping_splits(values, n_train=60, n_test=20).error ** 2 == pytest.approx(
        np.var(values, ddof=1) * (1 / 10 + 20 / 60)
    )


@pytest.mark.parametrize("draw", [normal, lognormal(0.5), lognormal(0.65), lognormal(1.0)], ids=["normal", "0.5", "0.65", "1.0"])
def test_interval_covers_the_mean_of_ten_independent_seeds(draw):
    assert WITHIN[0] <= share_covered(draw, n_seeds=10, n_experiments=2_000, seed=1) <= WITHIN[1]


def test_students_interval_would_not_cover_lognormal_differences():
    rng = np.random.default_rng(1)
    intervals = [stats.ttest_1samp(lognormal(0.65)(rng, 8), 0).confidence_interval() for _ in range(2_000)]
    assert np.mean([low <= 0 <= high for low, high in intervals]) < 0.91


def test_interval_covers_the_gain_on_new_data_over_splits_of_one_data_set():
    world, rng = World(np.random.default_rng(0).standard_normal(50) / np.sqrt(50)), np.random.default_rng(2)
    experiments = [resampled(world, rng, 200, lambda x, y: ridge(x, y, (0.001, 0.3))) for _ in range(2_000)]
    covered = shares(experiments, {"rows": shared_rows})["rows"]
    assert WITHIN[0] <= min(covered) <= max(covered) <= WITHIN[1]


def test_interval_covers_the_gain_over_a_constant_where_splits_that_are_taken_as_independent_do_not():
    world, rng = World(np.random.default_rng(0).standard_normal(20) / np.sqrt(20)), np.random.default_rng(3)
    experiments = [resampled(world, rng, 300, lambda x, y: ridge(x, y, (np.inf, 0.01))) for _ in range(1_000)]
    covered = shares(experiments, {"rows": shared_rows, "alone": lambda values, _: seeds_alone(values)})
    assert WITHIN[0] <= min(covered["rows"]) <= max(covered["rows"]) <= WITHIN[1]
    assert max(covered["alone"]) < 0.87


def test_interval_knows_of_the_finite_test_set():
    world, rng = World(np.random.default_rng(0).standard_normal(20) / np.sqrt(20)), np.random.default_rng(4)
    experiments = [fixed_test(world, rng, 200, 200, lambda x, y: ridge(x, y, (0.001, 1.0))) for _ in range(2_000)]
    covered = shares(experiments, {"rows": shared_rows, "alone": lambda values, _: seeds_alone(values)})
    assert WITHIN[0] <= min(covered["rows"]) <= max(covered["rows"]) <= WITHIN[1]
    assert min(covered["alone"]) < 0.75


def test_covers_is_strict_about_the_truth():
    assert covers(seeds_alone(np.arange(5.0)), 2.0)
    assert not covers(seeds_alone(np.arange(5.0)), 5.0)
