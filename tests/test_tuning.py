"""Tuning: the choice, its budget, its confirmation, its messages, and runs that are kept."""

from __future__ import annotations

import functools
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

import shrinkwise as sw
from shrinkwise.errors import DataError, SettingError, StoreError, TrainingError, UnitError
from shrinkwise.experiments.models import MLPFactory
from shrinkwise.experiments.records import Record, RunKey, Status
from shrinkwise.experiments.tuning import tuning
from shrinkwise.experiments.tuning.asked import Range, read_space
from shrinkwise.experiments.tuning.confirming import NOTHING_TO_CONFIRM
from shrinkwise.experiments.tuning.tuning import Tuning
from small import fingerprints, small_experiment
from training_functions import BEST, by_rows, careless, flat, valley

SMALL = {"seeds": 4, "jobs": 1, "progress": False}


def tune(subject, **more):
    return sw.tune(subject, **SMALL | more)


def experiment(**changes):
    return small_experiment(**{"variants": (), "conditions": [{}], "epochs": 2} | changes)


def test_a_function_is_tuned_and_confirmed():
    tuned = tune(valley, confirm=6)
    assert 0.2 * BEST <= tuned.lam <= 5 * BEST
    assert tuned.low <= tuned.lam <= tuned.high
    assert (tuned.cost.trainings, len(tuned.records)) == (len(tuned.records), tuned.cost.trainings)
    assert tuned.cost.trainings <= 16
    assert (tuned.choice.metric, tuned.choice.default, tuned.choice.name, tuned.at_boundary) == ("loss", 0.0, "l2", False)
    assert tuned.confirmation.answer.comparisons[0].finding.value == "helps"
    assert {record.key.seed for record in tuned.confirmation.records} == {4, 5, 6, 7, 8, 9}
    assert {record.key.seed for record in tuned.records} <= {0, 1, 2, 3}
    assert tuned.confirmation_cost.trainings == 12


@pytest.mark.parametrize("method", ["search", "sweep"])
@pytest.mark.parametrize("budget", [9, 16])
def test_a_budget_is_kept_and_counts_apart_from_the_confirmation(method, budget):
    seen = []
    tuned = tune(valley, seeds=3, method=method, budget=budget, confirm=2, progress=lambda *n: seen.append(n))
    assert len(tuned.records) <= budget
    assert seen[0] == (0, budget + 4)
    assert seen[-1][0] == seen[-1][1] == len(tuned.records) + 4


def test_a_method_that_asks_for_more_than_the_budget_is_a_fault_of_ours(monkeypatch):
    def greedy(train_many, space, objective, *, seeds, condition, **rest):
        return train_many([RunKey(space.variant(lam), condition, seed) for lam in space.lams() for seed in seeds])

    monkeypatch.setitem(tuning._METHODS, "search", greedy)
    with pytest.raises(RuntimeError, match="asks for more than 16 trainings"):
        tune(valley)


def test_the_default_that_is_kept_leaves_nothing_to_confirm():
    tuned = tune(flat, around=0.01, confirm=3)
    assert (tuned.lam, tuned.choice.keeps_default, tuned.confirmation, tuned.confirmation_cost) == (0.01, True, None, None)
    assert NOTHING_TO_CONFIRM in tuned.choice.notes
    assert NOTHING_TO_CONFIRM not in tune(flat, around=0.01).choice.notes


def test_one_run_each_is_judged_over_the_test_rows():
    tuned = tune(by_rows, confirm=1)
    base, ours = (record.last.examples["accuracy"].astype(float) for record in tuned.confirmation.records)
    found = tuned.two_models.difference
    assert (found.n, found.point) == (40, pytest.approx(np.mean(ours - base)))
    assert found.low < found.point < found.high
    assert tuned.two_models.sentence in tuned.choice.notes
    assert tuned.document()["two_models"]["sentence"].startswith("These two models only: the choice has ")
    assert "accuracy than λ=0 (95 % interval" in tuned.two_models.sentence


def test_one_run_each_is_not_shown_as_a_comparison_of_seeds():
    tuned = tune(by_rows, confirm=1)
    console = Console(file=io.StringIO(), width=200)
    tuned.show(console)
    told = console.file.getvalue()
    assert tuned.two_models.sentence in told
    assert "On fresh seeds" not in told
    assert "Confirmed on fresh seeds?" not in tuned._page()
    assert tuned.document()["confirmation"] is not None


def test_without_values_by_row_one_run_each_is_said_to_show_nothing():
    tuned = tune(valley, confirm=1)
    assert tuned.two_models is None
    assert any("needs loss on each test row" in note for note in tuned.choice.notes)


def test_an_experiment_is_chosen_by_validation_loss_and_judged_by_its_own_metric(tmp_path):
    tuned = tune(experiment(), around=0.001, confirm=2, budget=8, out=tmp_path, also={"lr": [0.05, 0.5]})
    assert tuned.objective.metric == "loss"
    assert {run.loss for run in tuned.choice.runs} == {record.last.val["loss"] for record in tuned.records}
    assert tuned.variant["lr"] == 0.5
    assert tuned.choice.default == 0.001
    assert tuned.confirmation.study.primary_metric == "accuracy"
    assert tuned.confirmation.base == sw.Variant(l2=0.001, lr=0.05)
    assert tuned.study.settings["lr"] == "one of 0.05 and 0.5"
    assert tuned.save(tmp_path).read_text().startswith("<!DOCTYPE html>")
    document = json.loads((tmp_path / "answer.json").read_text())
    assert {"lam", "unit", "low", "high", "reason", "at_boundary"} <= document["choice"].keys()
    assert document["cost"]["sample_gradients"] == sum(2 * record.n_train for record in tuned.records)
    assert document["confirmation_cost"]["trainings"] == 4


def test_the_settings_of_a_base_are_kept(tmp_path):
    def make_model(variant):
        assert variant["dropout"] == 0.5
        return MLPFactory(64, (4,), 2)(variant)

    tuned = tune(experiment(model=make_model, base={"l2": 0.1, "dropout": 0.5}), seeds=1, budget=3)
    assert {record.key.variant["dropout"] for record in tuned.records} == {0.5}
    assert tuned.choice.default == 0


def test_a_metric_that_is_named_is_chosen_and_judged_by():
    tuned = tune(experiment(), metric="f1", seeds=1, budget=3)
    assert (tuned.objective.metric, tuned.objective.is_higher_better) == ("f1", True)
    assert tuned.study.primary_metric == "f1"


def by_accuracy(trial):
    return {"val_accuracy": 1 - valley(trial)["val_loss"] / 5, "seconds": 1.0, "l2": trial["l2"]}


def test_the_metric_of_a_function_is_known_once_it_has_run():
    tuned = tune(by_accuracy, metric="val_accuracy")
    assert (tuned.choice.metric, tuned.choice.is_higher_better) == ("accuracy", True)
    assert 0.2 * BEST <= tuned.lam <= 5 * BEST
    alone = tune(lambda trial: {"accuracy": 1 - valley(trial)["val_loss"] / 5})
    assert (alone.choice.metric, alone.lam) == ("accuracy", tuned.lam)
    assert alone.curve[0].loss < 0


def test_a_strength_may_have_another_name():
    tuned = tune(lambda trial: valley({"l2": trial["wd"]} | _Seed(trial.seed)), name="wd", unit="adamw")
    assert tuned.variant == sw.Variant(wd=tuned.lam)
    assert tuned.choice.unit == "adamw"


class _Seed(dict):
    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def __ror__(self, other):
        both = _Seed(self.seed)
        both.update(other)
        return both


def test_other_processes_give_the_same_choice(tmp_path):
    """Two rounds and more, so that the processes of one round train the next one's runs too."""
    alone, together = tune(careless, out=tmp_path / "one"), tune(careless, jobs=2, out=tmp_path / "two")
    assert len(alone.choice.path) > 1
    assert fingerprints(alone.records) == fingerprints(together.records)
    assert len({record.last.val["loss"] for record in alone.records}) == len(alone.records)
    assert replace(alone.choice, cost=together.choice.cost, runs=()) == replace(together.choice, runs=())


@pytest.mark.parametrize("n_before", [1, 9, 14])
def test_a_tuning_goes_on_where_it_was_stopped(n_before, tmp_path):
    def stop(n_done, n_all):
        if n_done == n_before:
            raise KeyboardInterrupt

    whole = tune(valley)
    with pytest.raises(KeyboardInterrupt):
        tune(valley, out=tmp_path, progress=stop)
    calls = []
    tuned = tune(valley, out=tmp_path, progress=lambda n_done, n_all: calls.append(n_done))
    assert fingerprints(tuned.records) == fingerprints(whole.records)
    assert (tuned.lam, tuned.choice.path) == (whole.lam, whole.choice.path)
    assert [record.seconds for record in tune(valley, out=tmp_path).records] == [record.seconds for record in tuned.records]


def test_the_same_folder_may_have_another_budget_method_and_range(tmp_path):
    first = {r.key: r.seconds for r in tune(valley, out=tmp_path, budget=9).records}
    more = {r.key: r.seconds for r in tune(valley, out=tmp_path, budget=20, confirm=2).records}
    swept = {r.key: r.seconds for r in tune(valley, out=tmp_path, method="sweep", low=1e-3, high=1e-1).records}
    assert swept
    for one, other in ((first, more), (first, swept), (more, swept)):
        assert all(one[key] == other[key] for key in one.keys() & other.keys())
    assert first.keys() & more.keys()


def test_a_comparison_and_a_tuning_keep_out_of_each_other_s_folder(tmp_path):
    tune(valley, out=tmp_path / "tuned")
    sw.compare(valley, sw.grid(l2=[0, 1]), 2, jobs=1, out=tmp_path / "compared", progress=False)
    with pytest.raises(StoreError, match="a search for a strength against a comparison"):
        tune(valley, out=tmp_path / "compared")
    with pytest.raises(StoreError, match="a comparison against a search for a strength"):
        sw.compare(valley, sw.grid(l2=[0, 1]), 2, jobs=1, out=tmp_path / "tuned", progress=False)


def test_other_versions_may_show_a_tuning_and_not_go_on_with_it(tmp_path, monkeypatch):
    tune(valley, out=tmp_path)
    monkeypatch.setattr("shrinkwise.experiments.functions.function.metadata.version", lambda name: "99.0")
    assert tune(valley, out=tmp_path).lam > 0
    with pytest.raises(StoreError, match=r"begun with torch .* you have torch 99\.0"):
        tune(valley, out=tmp_path, budget=20)


def test_a_run_that_fails_is_not_trained_twice_in_one_tuning(tmp_path):
    def train(trial):
        with (tmp_path / "log").open("a") as calls:
            calls.write(f"{trial['l2']} {trial.seed}\n")
        if trial.seed == 1:
            raise OSError("no room")
        return valley(trial)

    tuned = tune(train, out=tmp_path / "runs", budget=20)
    assert {record.status for record in tuned.records} == {Status.DONE, Status.FAILED}
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == len(set(lines)) == len(tuned.records)


def test_what_collapsed_or_diverged_does_not_end_a_tuning():
    def train(trial):
        trial.constant(3.0)
        loss = math.nan if trial["l2"] > 0.5 else 3.0 if trial["l2"] > 0.05 else valley(trial)["val_loss"]
        for _ in range(10):
            trial.report(loss)
        return loss

    tuned = tune(train, budget=20)
    assert any(run.is_collapsed for run in tuned.choice.runs)
    assert 0.1 * BEST <= tuned.lam <= 5 * BEST


def fails(trial):
    raise ValueError("nothing works")


PLAIN = functools.partial(experiment)


def test_a_default_that_is_no_round_number_is_told_as_one():
    tuned = tune(flat, around=0.02 / 3)
    assert tuned.choice.keeps_default
    assert "keep λ=0.00667" in tuned.reason
    assert tuned.lam == 0.02 / 3


def lost(how):
    """A valley beyond whose λ = 0.1 nothing is learned; ``how`` says what a run does then."""

    def train(trial):
        trial.constant(1.6)
        for _ in range(10):
            trial.report(1.6 if trial["l2"] > 0.1 else 1.0)
        return how(trial) if trial["l2"] > 0.1 else valley(trial)

    return train


def test_a_run_that_collapsed_and_gave_nothing_counts_as_one_that_diverged():
    stopped, diverged = tune(lost(lambda trial: None)), tune(lost(lambda trial: math.nan))
    assert {record.status for record in stopped.records} == {Status.DONE, Status.STOPPED}
    assert (stopped.lam, stopped.low, stopped.high, stopped.curve) == (
        diverged.lam,
        diverged.low,
        diverged.high,
        diverged.curve,
    )
    assert [note.replace("diverged", "collapsed") for note in diverged.choice.notes] == list(stopped.choice.notes)
    assert "runs collapsed, at" in stopped.choice.notes[0]


def from_seed_1(value):
    """Give something else from the second seed on, in the first round already."""
    return lambda trial: {"loss": 1 + trial["l2"]} if trial.seed == 0 else value


MISTAKES = {
    "other metrics from seed to seed": (from_seed_1({"error": 1}), {}, TrainingError, "gives other metrics from run to run"),
    "nothing from a later seed": (from_seed_1(None), {}, TrainingError, "gives nothing (None) for l2="),
    "a rate in two ways": (
        lambda trial: {"accuracy": (100 if trial.seed else 1) * 0.9 + 0 * trial["l2"]},
        {},
        DataError,
        "accuracy lies between 0.9 and 90",
    ),
    "also, no mapping": (valley, {"also": [1, 2]}, SettingError, "also is [1, 2]"),
    "also, lam": (valley, {"also": {"lam": [1, 2]}}, SettingError, "'lam' is read by nobody"),
    "also, self": (valley, {"also": {"self": [1, 2]}}, SettingError, "'self' is read by nobody"),
    "name": (valley, {"name": 3}, SettingError, "name is 3"),
    "half a seed": (valley, {"seeds": 2.5}, SettingError, "seeds is 2.5"),
    "half seeds": (valley, {"seeds": [0.5, 1]}, SettingError, "seeds is [0.5, 1]"),
    "jobs in words": (valley, {"jobs": "2"}, SettingError, "jobs is '2'"),
    "no jobs": (valley, {"jobs": 0}, SettingError, "jobs is 0"),
    "margin in words": (valley, {"margin": "1"}, SettingError, "margin is '1'"),
    "metric, no name": (valley, {"metric": 3}, SettingError, "metric is 3"),
    "metric of an experiment, no name": (PLAIN, {"metric": 3}, SettingError, "metric is 3"),
    "direction in words": (valley, {"maximize": "yes"}, SettingError, "maximize is 'yes'"),
    "rates of an experiment": (
        functools.partial(experiment, lr=[0.5, 0.05]),
        {},
        SettingError,
        "the experiment has the learning rates 0.05, 0.5",
    ),
    "one strength": (valley, {"low": 0.1, "high": 0.1}, SettingError, "low and high are both 0.1: one λ leaves nothing"),
    "range": (valley, {"low": 0.1, "high": 0.01}, SettingError, "low is 0.1 and high is 0.01"),
    "low": (valley, {"low": 0}, SettingError, "low is 0"),
    "around": (valley, {"around": -1}, SettingError, "around is -1"),
    "around outside": (valley, {"around": 1, "high": 0.1}, SettingError, "around is 1: it lies outside of high 0.1"),
    "budget": (valley, {"budget": 2}, SettingError, "takes at least 3. Give such as budget=16, four for each of 4 seeds"),
    "budget of a grid": (valley, {"budget": 8, "method": "sweep"}, SettingError, "a grid takes at least three"),
    "no budget": (valley, {"budget": 7.5}, SettingError, "budget is 7.5"),
    "method": (valley, {"method": "serach"}, SettingError, "id you mean 'search'"),
    "rule": (valley, {"rule": "min"}, SettingError, "id you mean 'minimum'"),
    "seeds": (valley, {"seeds": 0}, SettingError, "seeds is 0"),
    "inverse unit": (valley, {"unit": "sklearn-logistic"}, SettingError, "a larger C is a weaker penalty"),
    "confirm": (valley, {"confirm": -1}, SettingError, "confirm is -1"),
    "layers": (valley, {"layers": -1}, SettingError, "layers is -1"),
    "layers of too many seeds": (PLAIN, {"layers": 5}, SettingError, "layers is 5: it counts seeds, of which there are 4"),
    "nothing to verify": (PLAIN, {"layers": 0, "verify": True}, SettingError, "verify is asked for and layers is 0"),
    "unit": (valley, {"unit": "halve"}, UnitError, "id you mean 'half'"),
    "margin": (valley, {"margin": -1}, SettingError, "margin is -1"),
    "also, the strength": (valley, {"also": {"l2": [1, 2]}}, SettingError, "also lists 'l2'"),
    "also, nothing": (valley, {"also": {"lr": []}}, SettingError, "also has lr = []"),
    "also, twice": (valley, {"also": {"lr": [1, 1]}}, SettingError, "also has lr = [1, 1]"),
    "also, wrong": (valley, {"also": {"lr": [0.1, -1]}}, SettingError, "lr is -1"),
    "also, unread": (valley, {"also": {"lr": [0.1, 1]}}, SettingError, "'lr' is read by nobody"),
    "unread": (lambda trial: trial.seed, {}, SettingError, "'l2' is read by nobody"),
    "evidence of a function": (valley, {"method": "evidence"}, SettingError, "a function shows none"),
    "no function": (3, {}, SettingError, "train is a int"),
    "prior of a function": (valley, {"method": "prior"}, SettingError, "window of a decoupled decay"),
    "nothing": (lambda trial: None, {}, TrainingError, "gives nothing (None)"),
    "all fail": (fails, {}, TrainingError, "runs failed, all"),
    "all diverge": (lambda trial: math.nan, {}, TrainingError, "runs ended well"),
    "unit of an experiment": (PLAIN, {"unit": "sum"}, SettingError, "unit is 'sum': that is for training functions"),
    "name of an experiment": (PLAIN, {"name": "wd"}, SettingError, "name is 'wd'"),
    "direction of an experiment": (PLAIN, {"maximize": True}, SettingError, "maximize is True"),
    "metric of an experiment": (PLAIN, {"metric": "acuracy"}, SettingError, "id you mean 'accuracy'"),
    "also, of an experiment": (PLAIN, {"also": {"depth": [1, 2]}}, SettingError, "'depth' of the variants is read by nobody"),
    "prior of coupled decay": (PLAIN, {"method": "prior"}, SettingError, "window of a decoupled decay"),
    "conditions": (
        functools.partial(experiment, conditions=sw.grid(label_noise=[0, 0.2])),
        {},
        SettingError,
        "the experiment has 2 conditions",
    ),
    "a setting without a value": (
        functools.partial(experiment, model=lambda variant: MLPFactory(64, (int(variant["width"]),), 2)(variant)),
        {},
        SettingError,
        "the model reads the setting 'width'",
    ),
}


@pytest.mark.parametrize(("subject", "more", "kind", "said"), MISTAKES.values(), ids=MISTAKES)
def test_each_mistake_is_one_message_and_leaves_nothing_behind(subject, more, kind, said, tmp_path):
    subject = subject() if isinstance(subject, functools.partial) else subject
    with pytest.raises(kind) as caught:
        tune(subject, **more, out=tmp_path / "runs")
    assert said in str(caught.value).replace("every run failed", "runs failed")
    assert all((caught.value.fact, caught.value.cause, caught.value.mend))
    assert not (tmp_path / "runs").exists()


def test_an_experiment_without_variants_can_be_tuned_and_not_run(tmp_path):
    with pytest.raises(SettingError, match="number of variants is 0"):
        experiment().run(tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("span", "ends"),
    [
        ((None, None, None), (1e-6, 1.0)),
        ((0.01, None, None), (1e-4, 1.0)),
        ((0.01, 0.005, None), (0.005, 1.0)),
        ((5, None, None), (0.05, 500)),
        ((None, 3, None), (3, 30)),
        ((None, None, 1e-7), (1e-8, 1e-7)),
        ((None, 1e-3, 1e-2), (1e-3, 1e-2)),
    ],
)
def test_a_range_has_room_around_what_was_given(span, ends):
    assert Range(*span).ends == pytest.approx(ends)


def test_the_default_has_the_base_s_own_settings_first():
    space = read_space(Range(None, None, None), {"lr": [0.1, 0.5]}, {"lr": 0.5, "dropout": 0.2}, name="l2", unit="half")
    assert space.default_variant == sw.Variant(l2=0, lr=0.5, dropout=0.2)
    assert space.others == {"lr": (0.5, 0.1)}


def test_a_decoupled_decay_is_looked_for_in_its_window():
    decoupled = experiment(optimizer=lambda groups: torch.optim.AdamW(groups, lr=1e-3))
    tuning = Tuning(decoupled, around=0.01, seeds=2)
    assert tuning.space.low < tuning.prior.low < tuning.prior.high == tuning.space.high
    assert Tuning(decoupled, low=0.1, seeds=2).space.low == 0.1
    tuned = tune(decoupled, method="prior")
    assert (tuned.low, tuned.high, tuned.cost.trainings) == (tuning.prior.low, tuning.prior.high, 0)


@pytest.mark.parametrize(
    ("confirm", "said"), [(0, "At most 16 trainings of 4 seeds."), (1, "2 more to confirm the choice on 1 fresh")]
)
def test_the_cost_is_said_before_anything_starts(confirm, said):
    assert said in Tuning(valley, seeds=4, confirm=confirm).cost_words


def test_records_are_those_of_the_search():
    assert all(isinstance(record, Record) for record in tune(valley, confirm=2).records)


def test_numbers_of_numpy_are_numbers():
    plain = tune(valley, budget=12, low=1e-4, high=1, around=0.001, seeds=3, confirm=0)
    given = {"budget": np.int64(12), "low": np.float32(1e-4), "high": np.int32(1), "around": np.float32(0.001)}
    numpy = tune(valley, **given, seeds=np.int64(3), confirm=np.int64(0), jobs=np.int64(1))
    assert (numpy.lam, fingerprints(numpy.records)) == (plain.lam, fingerprints(plain.records))


def test_seeds_are_an_experiment_s_own_or_eight():
    assert Tuning(experiment(seeds=[3, 5])).seeds == (3, 5)
    assert Tuning(experiment(seeds=[3, 5]), seeds=1).seeds == (0,)
    assert len(Tuning(experiment(seeds=None)).seeds) == len(Tuning(valley).seeds) == 8


def test_the_learning_rate_of_an_experiment_is_the_default_s():
    assert Tuning(experiment(lr=0.5), seeds=1).space.default_variant == sw.Variant(l2=0, lr=0.5)
    both = Tuning(experiment(lr=[0.05, 0.5]), seeds=1, also={"lr": [0.5, 0.05]})
    assert both.space.default_variant == sw.Variant(l2=0, lr=0.5)


def test_few_fresh_seeds_are_said_to_give_no_verdict():
    said = "(fewer than 6 fresh seeds give an interval and no verdict)"
    assert [said in Tuning(valley, confirm=n).cost_words for n in (0, 1, 2, 5, 6)] == [False, False, True, True, False]


def test_the_cost_is_said_where_progress_is_shown(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    tune(valley, seeds=2, budget=3, progress=True)
    assert "At most 3 trainings of 1 seed." in capsys.readouterr().err
    monkeypatch.delenv("FORCE_COLOR")
    tune(valley, seeds=2, budget=3, progress=True)
    assert "At most" not in capsys.readouterr().err


def test_failures_are_those_of_the_confirmation_too():
    def train(trial):
        if trial.seed > 3:
            raise OSError("no room")
        return valley(trial)

    tuned = tune(train, confirm=2)
    assert {record.key.seed for record in tuned.failures} == {4, 5}
    assert any(
        note.startswith("4 of 4 runs on fresh seeds failed: OSError: no room (test_tuning.py:") for note in tuned.choice.notes
    )
    assert not tune(valley).failures


@pytest.mark.parametrize("how", [KeyboardInterrupt, OSError])
def test_who_interrupts_the_first_round_keeps_what_had_ended(how, tmp_path):
    def stop(n_done, n_all):
        if n_done == 2:
            raise how

    with pytest.raises(how):
        tune(valley, out=tmp_path / "runs", progress=stop)
    calls = []
    tune(valley, out=tmp_path / "runs", progress=lambda n_done, n_all: calls.append(n_done))
    assert calls[0] == 2
