"""Anybody's training function, compared: the same statistics, one message a mistake, and runs that are kept."""

from __future__ import annotations

import functools
import math
import threading
from collections import Counter

import numpy as np
import pandas as pd
import pytest

import shrinkwise as sw
from shrinkwise.errors import DataError, SettingError, ShrinkwiseError, StoreError, TrainingError, UnknownSettingError
from shrinkwise.experiments.identity import function_identity
from shrinkwise.experiments.records import Status
from small import fingerprints
from training_functions import RETURNED_WRONGLY, by_rows, flat, valley

TWO = sw.grid(l2=[0, 0.01])


def compare(train, variants=TWO, seeds=6, **more):
    return sw.compare(train, variants, seeds, **{"jobs": 1, "progress": False} | more)


def told(result):
    return [
        (c.metric, c.difference.point, c.difference.low, c.difference.high, c.p, c.p_adjusted, c.finding)
        for c in result.answer.comparisons
        if c.metric == result.study.primary_metric
    ]


def test_the_verdict_is_that_of_the_same_runs_from_a_table():
    variants = sw.grid(l2=[0, 0.01, 1])
    result = compare(valley, variants, seeds=8)
    table = pd.DataFrame([dict(r.key.variant) | {"seed": r.key.seed, "loss": r.last.test["loss"]} for r in result.records])
    assert told(result) == told(sw.verdict(table, vary="l2", metric="loss"))
    assert result.answer.comparisons[0].finding.value == "helps"
    assert "l2=0.01 helps: loss falls by" in result.verdict()


def test_variants_are_judged_on_test_rows_where_there_are_any():
    result = compare(lambda trial: {"val_loss": 1.0 + trial["l2"], "test_loss": 1.0 - trial["l2"]})
    assert result.answer.comparisons[0].difference.point == pytest.approx(-0.01)


def test_values_by_row_let_the_interval_know_of_the_test_set():
    result = compare(by_rows)
    assert result.study.primary_metric == "accuracy"
    assert "shared test rows" in result.answer.comparisons[0].difference.method
    assert result.answer.rows[0].metrics["accuracy"].estimate.n == 6


def test_a_folder_goes_on_where_it_was_stopped(tmp_path):
    def stop(n_done, n_all):
        if n_done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(valley, out=tmp_path, progress=stop)
    seen = []
    again = compare(valley, out=tmp_path, progress=lambda n_done, n_all: seen.append((n_done, n_all)))
    assert (2, 12) in seen
    assert fingerprints(again.records) == fingerprints(compare(valley).records)
    assert seen.count((6, 12)) == 1
    begun = [record.seconds for record in again.records]
    assert [record.seconds for record in compare(valley, out=tmp_path).records] == begun
    assert len(compare(valley, out=tmp_path, seeds=8).records) == 16
    assert again.save(tmp_path).read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "runs.csv").exists()


def test_a_failure_is_a_status_and_is_trained_again(tmp_path):
    is_mended, log = tmp_path / "mended", tmp_path / "log"

    def train(trial):
        with log.open("a") as calls:
            calls.write(f"{trial['l2']} {trial.seed}\n")
        if (trial.seed == 2 or (trial.seed, trial["l2"]) == (0, 0)) and not is_mended.exists():
            raise OSError("no room")
        return 1.0 + trial["l2"]

    first = compare(train, out=tmp_path / "runs", seeds=4)
    assert [record.status for record in first.records] == [
        *(Status.FAILED, Status.DONE, Status.DONE, Status.DONE),
        *(Status.FAILED, Status.FAILED, Status.DONE, Status.DONE),
    ]
    assert {record.message for record in first.failures} == {"OSError: no room (test_compare_function.py:" + line(first) + ")"}
    assert set(Counter(log.read_text().splitlines()).values()) == {1}
    is_mended.touch()
    again = compare(train, out=tmp_path / "runs", seeds=4)
    assert {record.status for record in again.records} == {Status.DONE}
    assert {key for key, n in Counter(log.read_text().splitlines()).items() if n == 2} == {"0 0", "0 2", "0.01 2"}


def line(result):
    return result.failures[0].message.rpartition(":")[2].rstrip(")")


def test_a_run_that_diverges_leaves_its_pair_out():
    result = compare(lambda trial: math.nan if (trial.seed, trial["l2"]) == (1, 0.01) else 1.0 + trial["l2"])
    assert [record.status for record in result.records].count(Status.DIVERGED) == 1
    assert result.answer.comparisons[0].difference.n == 5


def fails(trial):
    raise ValueError("nothing works")


class Unpicklable:
    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, trial):
        return 1.0 + trial["l2"]


MISTAKES = {
    "no function": (7, {}, SettingError, "train is a int"),
    "two arguments": (lambda trial, more: 1.0, {}, SettingError, "cannot be called with a trial alone"),
    "no argument": (lambda: 1.0, {}, SettingError, "cannot be called with a trial alone"),
    "unread": (lambda trial: 1.0, {}, SettingError, "'l2' is read by nobody"),
    "one unread": (
        lambda trial: trial["l2"] + 1.0,
        {"variants": sw.grid(l2=[0, 1], dropout=[0, 0.5])},
        SettingError,
        "'dropout' is read by nobody",
    ),
    "not there": (lambda trial: trial["wd"], {}, UnknownSettingError, "no setting 'wd'"),
    "all fail": (fails, {}, TrainingError, "every run failed, all 2 of them: ValueError: nothing works (test_compare_function.py:"),
    "all diverge": (lambda trial: math.nan, {}, TrainingError, "none of 2 runs ended well: train(trial) gives nan"),
    "other keys": (
        lambda trial: {"loss": trial["l2"]} if trial.seed < 3 else {"error": trial["l2"]},
        {},
        TrainingError,
        "base with seed 0 gave loss, and base with seed 3 gave error",
    ),
    "which metric": (lambda trial: {"a": trial["l2"], "b": 1}, {}, SettingError, "gives a and b: which of them is judged"),
    "no such metric": (
        lambda trial: {"accuracy": trial["l2"]},
        {"metric": "acuracy", "maximize": True},
        SettingError,
        "id you mean 'accuracy'",
    ),
    "which direction": (lambda trial: {"zest": trial["l2"]}, {}, SettingError, "whether more 'zest' is better is not known"),
    "which direction, named": (lambda trial: trial["l2"], {"metric": "zest"}, SettingError, "whether more 'zest' is better"),
    "val and test apart": (
        lambda trial: {"val_loss": trial["l2"], "test_error": 1},
        {},
        TrainingError,
        "no metric on both validation and test rows",
    ),
    "one variant": (valley, {"variants": sw.grid(l2=[0])}, SettingError, "at least two"),
    "strength": (valley, {"variants": sw.grid(l2=[0, -1])}, SettingError, "l2 is -1"),
    "base": (valley, {"base": {"l2": 7}}, SettingError, "the base is l2=7"),
    "seeds": (valley, {"seeds": 0}, SettingError, "seeds is 0"),
    "margin": (valley, {"margin": -1}, SettingError, "margin is -1"),
    "not to be sent": (Unpicklable(), {"jobs": 2}, SettingError, "train in this process: jobs=1"),
}


@pytest.mark.parametrize(("train", "more", "kind", "said"), MISTAKES.values(), ids=MISTAKES)
def test_each_mistake_is_one_message(train, more, kind, said, tmp_path):
    with pytest.raises(kind) as caught:
        compare(train, **{"seeds": 7} | more, out=tmp_path / "runs")
    assert said in str(caught.value)
    assert all((caught.value.fact, caught.value.cause, caught.value.mend))


@pytest.mark.parametrize("name", [name for name in MISTAKES if name != "other keys"])
def test_a_mistake_that_shows_in_the_first_run_leaves_nothing_behind(name, tmp_path):
    train, more, kind, _ = MISTAKES[name]
    with pytest.raises(kind):
        compare(train, **{"seeds": 7} | more, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("returned", "said"), RETURNED_WRONGLY[:4], ids=lambda value: repr(value)[:20])
def test_what_is_no_number_ends_the_comparison_and_writes_nothing(returned, said, tmp_path):
    with pytest.raises(TrainingError, match=said):
        compare(lambda trial: returned, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_setting_that_some_variants_do_not_need_is_no_mistake():
    def train(trial):
        return trial["depth"] + 1.0 if trial["l2"] else 1.0

    assert len(compare(train, sw.grid(l2=[0, 1], depth=[0, 1])).records) == 24


def test_numbers_are_a_loss_unless_something_else_is_said():
    assert compare(lambda trial: 1 + trial["l2"]).study.primary_metric == "loss"
    assert told(compare(lambda trial: 1 + trial["l2"], metric="accuracy"))[0][0] == "accuracy"
    assert compare(lambda trial: 1 + trial["l2"], maximize=True).answer.comparisons[0].share_won == 1.0
    assert compare(lambda trial: 1 + trial["l2"]).answer.comparisons[0].share_won == 0.0


def test_a_direction_that_the_name_tells_is_known():
    result = compare(lambda trial: {"val_error": 1 + trial["l2"], "seed": trial.seed}, metric="val_error")
    assert result.answer.comparisons[0].share_won == 0.0
    assert compare(lambda trial: {"wer": 1 + trial["l2"]}).answer.comparisons[0].share_won == 0.0


def test_the_same_folder_may_be_judged_by_another_metric(tmp_path):
    def train(trial):
        return {"loss": 1 + trial["l2"], "accuracy": 0.5 + trial["l2"]}

    assert compare(train, out=tmp_path).study.primary_metric == "loss"
    assert compare(train, out=tmp_path, metric="val_accuracy").answer.comparisons[0].metric == "accuracy"


@pytest.mark.parametrize("name", ["valid_loss", "validation_loss", "val.loss", "eval/loss", "loss"])
def test_a_metric_may_be_named_with_its_part(name):
    assert compare(lambda trial: {"val_loss": 1 + trial["l2"], "x": 1}, seeds=2, metric=name).study.primary_metric == "loss"


def by_rate(factor, rows=lambda right: float(np.mean(right))):
    def train(trial):
        right = np.random.default_rng(trial.seed).random(40) < (0.9 if trial["l2"] else 0.6)
        return {"val_loss": 1 - np.mean(right), "val_acc": factor * np.mean(right), "test_loss": 1.0, "test_acc": rows(right)}

    return train


@pytest.mark.parametrize("rows", [lambda right: 100 * float(np.mean(right)), lambda right: right, lambda right: 100.0 * right])
def test_rates_in_per_cent_are_told_as_shares(rows):
    shares, per_cent = compare(by_rate(1.0), metric="acc"), compare(by_rate(100.0, rows), metric="acc")
    assert per_cent.answer.rows[0].metrics["acc"].estimate.point == pytest.approx(
        shares.answer.rows[0].metrics["acc"].estimate.point
    )
    assert per_cent.study.settings["read as"] == "rates in per cent, told as shares"
    assert "read as" not in shares.study.settings
    assert told(per_cent)[0][1] == pytest.approx(told(shares)[0][1])
    beside = compare(by_rate(100.0, rows))
    assert (beside.study.primary_metric, max(record.last.val["acc"] for record in beside.records) <= 1) == ("loss", True)


@pytest.mark.parametrize(("values", "said"), [((0.9, 91.0), "between 0.9 and 91"), ((0.9, -0.1), "accuracy is -0.1")])
def test_a_rate_that_is_none_or_written_in_two_ways_is_one_message(values, said, tmp_path):
    with pytest.raises(DataError, match=said):
        compare(lambda trial: {"accuracy": values[trial["l2"] > 0]}, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_wrong_return_names_the_run():
    with pytest.raises(TrainingError, match=r"gives nothing \(None\) for l2=0\.01 with seed 0"):
        compare(lambda trial: None if trial["l2"] else 1.0)


def scaled(trial, by):
    return by * (1 + trial["l2"])


def times(factor):
    return lambda trial: factor * (1 + trial["l2"])


def folders():
    return {
        "another function": (valley, flat, False),
        "the same": (valley, valley, True),
        "another argument": (functools.partial(scaled, by=1.0), functools.partial(scaled, by=2.0), False),
        "the same argument": (functools.partial(scaled, by=1.0), functools.partial(scaled, by=1.0), True),
        "closed over": (times(2.0), times(3.0), False),
        "the same closed over": (times(2.0), times(2.0), True),
    }


@pytest.mark.parametrize("case", folders())
def test_a_folder_of_another_function_is_refused(case, tmp_path):
    one, other, is_same = folders()[case]
    compare(one, out=tmp_path)
    if is_same:
        compare(other, out=tmp_path)
        return
    before = (tmp_path / "runs.sqlite").read_bytes()
    with pytest.raises(StoreError, match="train"):
        compare(other, out=tmp_path)
    assert (tmp_path / "runs.sqlite").read_bytes() == before


LIMIT = 3


def helper(value):
    return value + LIMIT


def calls_helper(trial):
    return helper(trial["l2"])


def test_an_identity_sees_the_code_that_a_function_calls_and_the_values_that_it_reads(monkeypatch):
    before = function_identity(calls_helper)
    assert function_identity(calls_helper) == before
    monkeypatch.setitem(globals(), "LIMIT", 4)
    with_other_value = function_identity(calls_helper)
    monkeypatch.setitem(globals(), "helper", scaled)
    assert len({before, with_other_value, function_identity(calls_helper)}) == 3


class Callable:
    def __init__(self, weights):
        self.weights = weights

    def __call__(self, trial):
        return 1.0


@pytest.mark.parametrize(("one", "other"), [(1, 2), ([1], [2]), ({"a": 1}, {"a": 2}), (np.zeros(2), np.ones(2))])
def test_an_identity_sees_what_a_callable_holds(one, other):
    assert function_identity(Callable(one)) != function_identity(Callable(other))
    assert function_identity(Callable(one)) == function_identity(Callable(one))


def test_a_function_that_calls_itself_has_an_identity():
    def down(n):
        return down(n - 1) if n else 0

    assert function_identity(lambda trial: down(trial["l2"])).startswith("<lambda> ")


def test_every_mistake_is_a_shrinkwise_error():
    assert all(issubclass(kind, ShrinkwiseError) for _, _, kind, _ in MISTAKES.values())
