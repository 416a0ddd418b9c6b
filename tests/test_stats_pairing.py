"""From records to measurements, and what is refused before anything is compared."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from shrinkwise.errors import DataError
from shrinkwise.experiments.records import Outcome, Record, RunKey, Status
from shrinkwise.experiments.stats import answer, measure
from shrinkwise.experiments.stats.measuring import by_row
from stats_cases import BASE, CLEAN, around, l2, runs, study

PAIRED = runs({BASE: around(0.9), l2(0.1): around(0.95)})

RECORD = Record(
    key=RunKey(l2(0.1), CLEAN, 3),
    status=Status.DONE,
    lam=0.1,
    n_train=60,
    n_val=20,
    n_test=2,
    curves={"train_loss": (1.59, 0.5)},
    weight_norms={"a": (1.0, 5.0, 3.0), "b": (1.0, 12.0, 4.0)},
    constant_loss=1.6,
    last=Outcome(2, {}, {"accuracy": 0.5}, {"accuracy": np.array([0.0, 1.0])}),
    best_val=Outcome(1, {}, {"accuracy": 1.0}, {"accuracy": np.array([1.0, 1.0])}),
    test_rows=np.array([4, 7]),
    seconds=1.0,
    threads=1,
)


@pytest.mark.parametrize(("select", "accuracy", "norm", "is_collapsed"), [("last", 0.5, 5.0, False), ("best-val", 1.0, 13.0, True)])
def test_measure_takes_the_weights_that_are_selected(select, accuracy, norm, is_collapsed):
    measured = measure(RECORD, select)
    assert measured.metrics == {"accuracy": accuracy}
    assert measured.examples["accuracy"].mean() == accuracy
    assert (measured.variant, measured.condition, measured.seed) == (l2(0.1), CLEAN, 3)
    assert (measured.n_train, measured.n_test, measured.weight_norm, measured.collapsed) == (60, 2, norm, is_collapsed)


def test_measure_knows_of_collapse():
    assert measure(dataclasses.replace(RECORD, curves={"train_loss": (1.6, 1.59)}), "last").collapsed


def test_measure_of_a_run_that_diverged_is_empty():
    measured = measure(dataclasses.replace(RECORD, status=Status.DIVERGED, last=None, best_val=None), "last")
    assert measured.status is Status.DIVERGED
    assert measured.metrics == {}
    assert math.isnan(measured.weight_norm)


def outcome(errors, y, scale=3.0):
    """What a regression leaves: the loss in standardised units, rmse in the original one."""
    losses = (errors / scale) ** 2
    test = {"loss": losses.mean(), "rmse": scale * losses.mean() ** 0.5, "r2": 1 - losses.mean() / np.var(y / scale)}
    return Outcome(1, {}, test, {"loss": losses})


def test_rows_of_rmse_and_r2_have_them_as_their_means():
    rng = np.random.default_rng(0)
    left = outcome(rng.standard_normal(50), 2 * rng.standard_normal(50))
    rows = by_row(left)
    assert rows["rmse"].mean() == pytest.approx(left.test["rmse"])
    assert rows["r2"].mean() == pytest.approx(left.test["r2"])


@pytest.mark.parametrize("metric", ["rmse", "r2"])
def test_rows_of_rmse_and_r2_give_the_spread_over_test_sets(metric):
    rng = np.random.default_rng(1)
    seen, expected = [], []
    for _ in range(2_000):
        x, noise = rng.standard_normal((2, 200))
        y = 2 * x + noise
        ours, base = outcome(y - 1.8 * x, y), outcome(y - 2.2 * x, y)
        seen.append(ours.test[metric] - base.test[metric])
        expected.append(np.var(by_row(ours)[metric] - by_row(base)[metric], ddof=1) / 200)
    assert np.var(seen) == pytest.approx(np.mean(expected), rel=0.1)


def test_rows_of_a_perfect_fit_are_perfect():
    rows = by_row(outcome(np.zeros(4), np.arange(4.0)))
    assert (rows["rmse"].tolist(), rows["r2"].tolist()) == ([0.0] * 4, [1.0] * 4)


@pytest.mark.parametrize("metric", ["rmse", "r2"])
def test_interval_of_a_regression_knows_of_the_finite_test_set(metric):
    rng = np.random.default_rng(2)
    y = rng.standard_normal(100)
    records = [
        dataclasses.replace(
            RECORD, key=RunKey(variant, CLEAN, seed), last=outcome(size * (y + 0.01 * rng.standard_normal(100)), 2 * y)
        )
        for variant, size in ((BASE, 1.0), (l2(0.1), 0.9))
        for seed in range(10)
    ]
    (found,) = (
        c
        for c in answer([measure(record, "last") for record in records], study(primary_metric=metric)).comparisons
        if c.metric == metric
    )
    assert "crossed random effects" in found.difference.method
    # Seeds alone, which hardly differ, would give an interval a tenth as wide.
    assert found.difference.high - found.difference.low > 10 * np.std(found.differences)


def changed(index, **changes):
    return [dataclasses.replace(run, **changes) if i == index else run for i, run in enumerate(PAIRED)]


@pytest.mark.parametrize(
    ("measurements", "changes", "words"),
    [
        ([], {}, "no runs"),
        (PAIRED[:-1], {}, "l2=0.1 (clean labels) lacks seed 9"),
        (PAIRED[3:], {}, "base (clean labels) lacks seeds 0, 1 and 2"),
        ([*PAIRED, PAIRED[2]], {}, "seed 2 stands twice for base"),
        (changed(4, metrics={"acuracy": 0.9}), {}, "Did you mean 'acuracy'?"),
        (changed(4, metrics={}), {}, "the run base, seed 4 has no 'accuracy'"),
        (changed(4, metrics={"accuracy": math.nan}), {}, "accuracy = nan"),
        (PAIRED, {"base": l2(7.0)}, "the base 'l2=7' has no runs"),
        (PAIRED[10:], {}, "not clear which of them is the base"),
        (PAIRED[:10], {}, "one variant only"),
    ],
)
def test_answer_refuses_what_cannot_be_paired(measurements, changes, words):
    with pytest.raises(DataError, match=r".+: .+\. .+") as refused:
        answer(measurements, study(), **changes)
    assert words in str(refused.value)


def test_answer_asks_for_the_direction_of_a_metric_that_it_does_not_know():
    measurements = runs({BASE: around(0.9), l2(0.1): around(0.95)}, metric="bleu")
    with pytest.raises(DataError, match="maximize=True or maximize=False"):
        answer(measurements, study(primary_metric="bleu"))
    up = answer(measurements, study(primary_metric="bleu"), maximize=True)
    down = answer(measurements, study(primary_metric="bleu"), maximize=False)
    assert (up.comparisons[0].finding.value, down.comparisons[0].finding.value) == ("helps", "hurts")


def test_answer_refuses_pairs_that_were_tested_on_other_rows():
    measurements = changed(12, examples={"accuracy": np.zeros(3)})
    measurements[2] = dataclasses.replace(measurements[2], examples={"accuracy": np.zeros(4)})
    with pytest.raises(DataError, match="tested on 3 and 4 rows"):
        answer(measurements, study())


def test_answer_refuses_test_rows_of_another_split():
    measurements = [dataclasses.replace(run, examples={"accuracy": np.arange(5.0)}) for run in PAIRED]
    with pytest.raises(DataError, match="names 4 test rows and has outcomes of 5"):
        answer(measurements, study(is_resampled=True), test_rows={seed: np.arange(4) for seed in range(10)})
