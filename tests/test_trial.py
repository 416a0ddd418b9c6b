"""What a training function is handed, and how what it gives becomes a record."""

from __future__ import annotations

import math
import re
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import shrinkwise as sw
from shrinkwise.errors import SettingError, TrainingError, UnknownSettingError
from shrinkwise.experiments.execution.codec import decode, encode
from shrinkwise.experiments.functions.returned import NUMBER, read_returned
from shrinkwise.experiments.functions.training import FunctionTrainer
from shrinkwise.experiments.records import ALL_RUNS, RunKey, Status, Variant
from training_functions import RETURNED_WRONGLY, careless

KEY = RunKey(Variant(l2=0.1, dropout=0.5), ALL_RUNS, 3)
finite = st.floats(0.01, 100)


def trial_of(values=(), constant=None):
    trial = sw.Trial(KEY.variant, KEY.seed)
    if constant is not None:
        trial.constant(constant)
    for value in values:
        trial.report(value)
    return trial


def run(train):
    return FunctionTrainer(train)(KEY)


def test_a_trial_is_a_mapping_that_knows_what_was_read():
    trial = trial_of()
    assert (trial.seed, len(trial), "l2" in trial, trial.get("depth", 7)) == (3, 2, True, 7)
    assert trial.unread == ("l2", "dropout")
    assert trial["l2"] == 0.1
    assert trial.unread == ("dropout",)
    assert trial.params == {"l2": 0.1, "dropout": 0.5}
    assert trial.unread == ()


def test_a_setting_that_is_not_there_is_said_in_words():
    with pytest.raises(UnknownSettingError, match=r"no setting 'droput'.*id you mean 'dropout'") as caught:
        trial_of()["droput"]
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, SettingError)


@pytest.mark.parametrize(
    ("values", "constant", "diverged", "collapsed"),
    [
        ([], None, False, False),
        ([1.0, math.nan], None, True, False),
        ([1.0, math.inf, 1.0], None, True, False),
        ([1.6] * 50, None, False, False),
        ([1.6] * 9, 1.6, False, False),
        ([1.6] * 10, 1.6, False, True),
        ([9.0] * 10, 1.6, False, True),
        ([1.53] * 10, 1.6, False, True),
        ([1.51] * 10, 1.6, False, False),
        ([1.6] * 9 + [1.4], 1.6, False, False),
        ([1.4] + [1.6] * 40, 1.6, False, False),
        ([1.6] * 10 + [math.nan], 1.6, True, False),
    ],
)
def test_only_what_diverged_or_collapsed_is_pruned(values, constant, diverged, collapsed):
    trial = trial_of(values, constant)
    assert (trial.has_diverged, trial.has_collapsed) == (diverged, collapsed)
    assert trial.should_prune() is (diverged or collapsed)


@given(st.lists(finite, max_size=40), st.lists(finite, max_size=9), finite)
def test_no_run_is_pruned_by_its_early_epochs(any_number, few, constant):
    assert not trial_of(any_number).should_prune()
    assert not trial_of(few, constant).should_prune()
    assert not trial_of([*any_number, 0.9 * constant, *any_number], constant).should_prune()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda trial: trial.report("0.3 %"), "trial.report was given str"),
        (lambda trial: trial.report(None), "trial.report was given NoneType"),
        (lambda trial: trial.report(torch.zeros(2)), "trial.report was given Tensor"),
        (lambda trial: trial.constant(0), "trial.constant was given 0"),
        (lambda trial: trial.constant("log 5"), "trial.constant was given 'log 5'"),
    ],
)
def test_a_report_that_is_no_number_is_said(call, said):
    with pytest.raises(SettingError, match=said):
        call(trial_of())


@pytest.mark.parametrize(
    ("returned", "val", "test"),
    [
        (0.5, {NUMBER: 0.5}, {NUMBER: 0.5}),
        (np.float32(0.5), {NUMBER: 0.5}, {NUMBER: 0.5}),
        (torch.tensor(0.5), {NUMBER: 0.5}, {NUMBER: 0.5}),
        ({"loss": 1}, {"loss": 1}, {"loss": 1}),
        ({"val_loss": 1, "test_loss": 2}, {"loss": 1}, {"loss": 2}),
        ({"eval_loss": 1, "eval_runtime": 3}, {"loss": 1, "runtime": 3}, {"loss": 1, "runtime": 3}),
        ({"val/loss": 1, "train/loss": 2}, {"loss": 1}, {"loss": 1}),
        ({"loss": 9, "val_loss": 1}, {"loss": 1}, {"loss": 1}),
        ({"loss": 9, "accuracy": 0.5, "val_loss": 1}, {"loss": 1, "accuracy": 0.5}, {"loss": 1, "accuracy": 0.5}),
        ({"test_loss": 2}, {"loss": 2}, {"loss": 2}),
        ({"loss": 1, "test_accuracy": np.array([True, False])}, {"loss": 1}, {"accuracy": 0.5}),
        ({"loss": 1, "test_hit": torch.tensor([0.0, 1.0], dtype=torch.bfloat16)}, {"loss": 1}, {"hit": 0.5}),
        ({"loss": 1, "train_loss": [3.0, 2.0]}, {"loss": 1}, {"loss": 1}),
    ],
)
def test_names_say_on_which_rows_a_metric_was_measured(returned, val, test):
    outcome = read_returned(returned)
    assert (outcome.val, outcome.test) == (val, test)


@pytest.mark.parametrize(("returned", "said"), RETURNED_WRONGLY, ids=lambda value: repr(value)[:20])
def test_what_is_no_number_is_one_message(returned, said):
    with pytest.raises(TrainingError, match=said) as caught:
        run(lambda trial: returned)
    assert "eturn a number, or a mapping of numbers" in str(caught.value)


@pytest.mark.parametrize("name", ["loss", "val_loss", "eval/loss"])
def test_an_array_of_other_than_test_rows_is_refused(name):
    with pytest.raises(
        TrainingError, match=rf"gives {name} as 2 values for l2=0\.1 \+ dropout=0\.5 with seed 3: .*call it test_loss"
    ):
        run(lambda trial: {name: np.zeros(2)})


@pytest.mark.parametrize(
    "kind", [np.float32, np.array, torch.tensor, lambda x: torch.tensor([x]), lambda x: torch.tensor(x).bfloat16()]
)
def test_what_a_constant_gives_is_read_as_a_report_is(kind):
    trial = trial_of([kind(1.5)] * 10, kind(1.5))
    assert (trial.constant_loss, trial.has_collapsed) == (1.5, True)


def raises(trial):
    raise ValueError("out of order")


def leaves(trial):
    raise SystemExit(3)


def pruned(values, constant, returned):
    def train(trial):
        if constant:
            trial.constant(constant)
        for value in values:
            trial.report(value)
        if returned is StopIteration:
            raise StopIteration
        return returned

    return train


@pytest.mark.parametrize(
    ("train", "status", "message"),
    [
        (lambda trial: 0.5, Status.DONE, ""),
        (lambda trial: math.nan, Status.DIVERGED, r"gives nan"),
        (lambda trial: 10**400, Status.DIVERGED, r"gives inf"),
        (lambda trial: trial.report(10**400), Status.DIVERGED, "not finite"),
        (lambda trial: {"val_loss": 1.0, "test_loss": math.inf}, Status.DIVERGED, "loss on test rows is inf"),
        (raises, Status.FAILED, r"^ValueError: out of order \(test_trial.py:\d+\)$"),
        (leaves, Status.FAILED, r"^SystemExit: 3"),
        (lambda trial: torch.zeros(2) @ torch.zeros(3), Status.FAILED, r"^RuntimeError: .*\(test_trial.py:\d+\)$"),
        (pruned([1.0, math.nan], None, None), Status.DIVERGED, "not finite"),
        (pruned([1.0, math.nan], None, 0.5), Status.DIVERGED, "not finite"),
        (pruned([1.0, math.nan], None, StopIteration), Status.DIVERGED, "not finite"),
        (pruned([1.6] * 10, 1.6, None), Status.STOPPED, "collapsed"),
        (pruned([1.6] * 10, 1.6, StopIteration), Status.STOPPED, "collapsed"),
        (pruned([1.6] * 10, 1.6, 1.6), Status.DONE, ""),
    ],
)
def test_how_a_run_ends_is_its_status(train, status, message):
    record = run(train)
    assert record.status is status
    assert (record.last is None) is (status is not Status.DONE)
    assert re.search(message, record.message)
    assert bool(message) is bool(record.message)


def test_collapse_is_told_by_what_a_constant_gives():
    assert run(pruned([1.6] * 10, 1.6, 1.6)).collapsed
    assert not run(pruned([1.6] * 10, None, 1.6)).collapsed
    assert not run(pruned([1.6] * 9 + [1.2], 1.6, 1.2)).collapsed
    assert not run(pruned([1.2] + [9.0] * 20, 1.6, 9.0)).collapsed, "it overfitted"


def test_a_record_of_a_function_survives_its_code():
    record = run(lambda trial: {"test_accuracy": np.array([True, False, True]), "loss": trial["l2"]})
    again = decode(*encode(record))
    assert again.fingerprint() == record.fingerprint()
    assert again.unread == ("dropout",)
    assert again.last.examples["accuracy"].tolist() == [True, False, True]


def test_global_generators_hang_on_the_seed_and_are_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first, again = run(careless), run(careless)
    other = FunctionTrainer(careless)(RunKey(KEY.variant, ALL_RUNS, 4))
    assert torch.equal(torch.rand(3), expected)
    assert first.fingerprint() == again.fingerprint()
    assert other.last.val["loss"] != first.last.val["loss"]


def test_a_run_has_one_thread_whatever_the_process_has():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert run(careless).last.val["threads"] == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_a_function_prints_is_no_answer(capsys):
    run(lambda trial: sys.stdout.write("epoch 1\n") / 16)
    assert capsys.readouterr() == ("", "epoch 1\n")
