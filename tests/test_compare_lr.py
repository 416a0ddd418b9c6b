"""Each variant at its own best learning rate: what is chosen, by what, and what the answer says of it."""

from __future__ import annotations

import functools
import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import shrinkwise as sw
from shrinkwise.cli.main import main
from shrinkwise.errors import SettingError
from shrinkwise.experiments.data import Dataset
from shrinkwise.experiments.engine import NamedOptimizer
from shrinkwise.experiments.rates import own_rates
from shrinkwise.experiments.records import Condition, Outcome, RunKey, Status, Variant
from small import fingerprints, small_experiment

RATES = [0.001, 0.02, 0.5]


def linear_experiment(**changes):
    """Noisy regression by one linear layer under decoupled decay, which shrinks by lr·λ a step: λ and rate interact."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(160, 20)).astype(np.float32)
    y = x[:, :3].sum(1) + 2 * generator.normal(size=160)
    settings = {
        "model": lambda _: nn.Linear(20, 1),
        "data": Dataset.from_arrays(x, y, task="regression"),
        "variants": sw.grid(l2=[0, 3.0]),
        "optimizer": NamedOptimizer("sgd", 0.05, momentum=0.0),
        "epochs": 20,
        "seeds": 3,
        "batch_size": 32,
    }
    return sw.Experiment(**settings | changes)


@functools.cache
def sample():
    return small_experiment(seeds=1, epochs=1).run(jobs=1).records[0]


def record_of(variant, seed, val, condition=None, status=Status.DONE):
    """A record of which nothing matters but its name, its status and its losses."""
    outcome = Outcome(1, {"loss": val}, {"loss": 0.5, "accuracy": 0.5}) if status is Status.DONE else None
    return replace(sample(), key=RunKey(variant, condition or Condition(), seed), status=status, last=outcome, best_val=outcome)


def records(losses, **more):
    """Make runs of one variant from rate -> validation loss by seed."""
    return [
        record_of(Variant(l2=0.1, lr=rate), seed, val, **more) for rate, values in losses.items() for seed, val in enumerate(values)
    ]


def chosen(found):
    ((_, rate),) = own_rates(found, "last").chosen.items()
    return rate


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ({0.1: [1.0, 1.0], 0.2: [0.9, 0.9], 0.3: [1.1, 1.1]}, 0.2),
        ({0.1: [1.0, 1.0], 0.2: [0.1, 2.0]}, 0.1),
        ({0.2: [1.0, 1.0], 0.1: [1.0, 1.0]}, 0.1),
    ],
    ids=["least mean", "mean over seeds, not the best seed", "the smaller of two equals"],
)
def test_the_rate_of_least_mean_validation_loss_is_chosen(losses, best):
    assert chosen(records(losses)) == best


def test_a_rate_at_which_a_run_diverged_loses_against_one_at_which_none_did():
    good = records({0.1: [1.0, 1.0]})
    mixed = [record_of(Variant(l2=0.1, lr=0.5), 0, 0.2), record_of(Variant(l2=0.1, lr=0.5), 1, 0.2, status=Status.DIVERGED)]
    assert chosen([*mixed, *good]) == 0.1
    assert chosen(mixed) == 0.5, "there is no other"


def test_test_rows_have_no_part_in_the_choice():
    found = records({0.1: [1.0, 1.0], 0.2: [0.9, 0.9]})
    better_on_test = [
        replace(record, last=replace(record.last, test={"loss": 0.0, "accuracy": 1.0}))
        if record.key.variant["lr"] == 0.1
        else record
        for record in found
    ]
    assert chosen(better_on_test) == chosen(found) == 0.2


def test_each_condition_has_its_own_choice():
    noisy = Condition(label_noise=0.2)
    found = records({0.1: [1.0], 0.2: [2.0]}) + records({0.1: [2.0], 0.2: [1.0]}, condition=noisy)
    assert own_rates(found, "last").chosen == {(Condition(), Variant(l2=0.1)): 0.1, (noisy, Variant(l2=0.1)): 0.2}


def test_it_matters_and_the_answer_says_so():
    """One rate for all makes λ look harmful that helps at a rate of its own: with lr = 0.3 it shrinks by 0.9 a step."""
    shared = linear_experiment(optimizer=NamedOptimizer("sgd", 0.3, momentum=0.0, decay="decoupled")).run(jobs=1)
    own = linear_experiment(optimizer=NamedOptimizer("sgd", 0.3, momentum=0.0, decay="decoupled"), lr=[0.3, 0.01]).run(jobs=1)

    def gain(result):
        return result.answer.comparisons[0].difference.point

    assert gain(shared) > 0.2, "rmse rises: the weights are held at nothing"
    assert gain(own) < gain(shared) - 0.2
    (base, strong) = own.answer.rows
    assert strong.chosen == {"lr": 0.01}
    assert len(own.records) == 12
    assert (base.n, strong.n) == (3, 3)
    chosen_rates = {(row.condition, row.variant): rate for row, rate in ((base, 0.3), (strong, 0.01))}
    note = replace(own.rates, chosen=chosen_rates).told(own.answer).notes[1]
    beyond = "of the list: one beyond it may be better still"
    assert note == f"The best learning rate is 0.01 for l2=3, the smallest {beyond}; 0.3 for base, the largest {beyond}."
    assert any("12 runs in all" in note and "test rows have no part" in note for note in own.answer.notes)


def test_the_run_at_a_variants_rate_is_that_of_an_optimiser_with_the_rate():
    own = small_experiment(lr=[0.2], optimizer=NamedOptimizer("sgd", 0.05)).run(jobs=1)
    usual = small_experiment(optimizer=NamedOptimizer("sgd", 0.2)).run(jobs=1)
    assert [record.curves for record in own.records] == [record.curves for record in usual.records]
    assert [record.curves for record in small_experiment().run(jobs=1).records] != [record.curves for record in usual.records]
    assert not any("best learning rate" in note for note in own.answer.notes), "one rate is no choice"


def test_every_group_takes_the_rate():
    def optimizer(groups):
        return torch.optim.SGD([{**group, "lr": 0.01 * (1 + place)} for place, group in enumerate(groups)], lr=0.5)

    ours, usual = (
        small_experiment(variants=variants, optimizer=factory, seeds=1, conditions=[{}]).run(jobs=1)
        for variants, factory in (
            (sw.grid(l2=[0, 0.1], dropout=[0], lr=[0.1]), optimizer),
            (sw.grid(l2=[0, 0.1], dropout=[0]), NamedOptimizer("sgd", 0.1, momentum=0.0)),
        )
    )
    assert [record.curves for record in ours.records] == [record.curves for record in usual.records]


@pytest.fixture(scope="module")
def own_result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    result = small_experiment(lr=RATES).run(folder, jobs=1)
    result.save(folder)
    return result, folder


def test_json_page_and_tables_name_the_rate_of_each_row(own_result):
    result, folder = own_result
    document = json.loads((folder / "answer.json").read_text())
    assert {row["settings"]["lr"] for row in document["table"]} <= set(RATES)
    assert all(row["settings"].keys() == {"l2", "dropout", "lr"} for row in document["table"])
    assert document["experiment"]["settings"]["lr"] == "one of 0.001, 0.02 and 0.5"
    assert [row["variant"] for row in document["table"][:2]] == ["base", "l2=0.1"], "named without the rate"
    html = (folder / "report.html").read_text()
    first = document["table"][0]["settings"]["lr"]
    assert f"<small>lr = {first:g}</small>" in html
    assert f"base (lr = {first:g})" in (folder / "table.md").read_text()
    assert set(result.table()["lr"]) <= set(RATES)
    assert len(result.runs()) == 48
    assert set(result.runs()["lr"]) == set(RATES)
    assert "While training" in html, "the curves of those that are compared"


def test_the_runs_are_kept_and_gone_on_with(own_result):
    result, folder = own_result
    seen = []
    again = small_experiment(lr=RATES[::-1]).run(folder, jobs=1, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(48, 48)]
    assert fingerprints(again.records) == fingerprints(result.records), "the order of the list is no difference"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lr": [0.1, -1]}, "lr is -1"),
        ({"lr": [0.1, float("nan")]}, "lr is nan"),
        ({"lr": ["fast"]}, "'fast'|lr is fast"),
        ({"lr": []}, "lists learning rates"),
        ({"lr": [0.1, 0.1]}, "each once"),
        ({"lr": [0.1], "variants": sw.grid(l2=[0, 0.1], lr=[0.1])}, "of their own"),
        ({"variants": sw.grid(l2=[0, 0.1], dropout=[0], lr=[0])}, "lr is 0"),
    ],
)
def test_a_wrong_rate_is_said(changes, said):
    with pytest.raises(SettingError, match=said):
        small_experiment(**changes)


def test_an_optimiser_without_a_rate_is_said():
    class NoRate(torch.optim.Optimizer):
        def __init__(self, groups):
            super().__init__(groups, {"weight_decay": 0.0})

    with pytest.raises(SettingError, match="NoRate has no learning rate"):
        small_experiment(optimizer=NoRate, lr=[0.1, 0.2]).run(jobs=1)


def test_the_command_takes_a_list_and_a_single_rate(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = "compare --data digits --classes 0-1 --epochs 2 --seeds 2 --hidden 4 --jobs 1 --l2 0,0.1 --json"
    assert main(shlex.split(f"{line} --lr 0.001,0.3 --out a")) == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["settings"]["lr"] for row in document["table"]} == {0.3}
    assert "--lr 0.001,0.3" in document["experiment"]["command"]
    assert main(shlex.split(f"{line} --lr 0.3 --out b")) == 0
    single = json.loads(capsys.readouterr().out)
    assert single["experiment"]["settings"]["lr"] == 0.3
    assert [row["metrics"] for row in single["table"]] == [row["metrics"] for row in document["table"]]
    assert main(shlex.split(f"{line} --lr 0.1,0")) == 2
    assert "lr is '0'" in capsys.readouterr().err
