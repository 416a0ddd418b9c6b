"""How runs are trained, as an experiment says it: what is refused, what makes it another experiment, what a page lists."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from by_hand import Every
from shrinkwise.errors import SettingError
from shrinkwise.experiments.describe import by_means
from shrinkwise.experiments.identity import schedule_identity
from shrinkwise.regularization.strength.schedules import Cosine, InEpochs, Linear, ProportionalToLr, WarmUp
from small import small_experiment

BAD_SETTINGS = {
    "an engine": ({"engine": "flete"}, "engine is 'flete'.*Did you mean 'fleet'"),
    "a device": ({"device": "gpu"}, "device is 'gpu'.*auto, cpu, cuda"),
    "memory in words": ({"memory": "much"}, "memory is 'much': it is an amount of memory"),
    "no memory": ({"memory": 0}, "memory is 0"),
    "a forgotten unit": ({"memory": 4}, "memory is 4: in bytes that is 4, .* Give it with its unit, such as '4GB'"),
    "too few bytes": ({"memory": "512 KB"}, "memory is '512 KB': in bytes that is 512,000, in which nothing can be trained"),
    "memory with a bad exponent": ({"memory": "1e"}, "memory is '1e': it is an amount of memory"),
    "endless memory": ({"memory": "1e999"}, "memory is '1e999': it is an amount of memory"),
    "memory of true": ({"memory": True}, "memory is True"),
    "memory with two points": ({"memory": "1.5.2GB"}, "memory is '1.5.2GB'"),
    "no patience": ({"patience": 0}, "patience is 0: it is a number of epochs"),
    "half an epoch": ({"patience": 1.5}, "patience is 1.5"),
    "patience in words": ({"patience": "some"}, "patience is 'some'"),
    "no threads": ({"threads": 0}, "threads is 0"),
    "a number as a schedule": ({"schedule": 0.5}, "schedule is 0.5: it is no schedule"),
    "a class as a schedule": ({"lr_schedule": Cosine}, "lr_schedule is .*: it is no schedule"),
    "a rate that follows itself": ({"lr_schedule": ProportionalToLr()}, "lr_schedule is ProportionalToLr.*follow itself"),
}
BAD_REHEARSALS = {
    "negative": ({"variants": [{"l2": 0}, {"l2": 0, "l1": -1}]}, "l1 is -1: a strength"),
    "not a number": ({"variants": [{"l2": 0}, {"group_lasso": math.nan}]}, "group_lasso is nan: a strength"),
    "text": ({"variants": [{"l2": 0}, {"max_norm": "3"}]}, "max_norm is '3': it is a strength"),
    "true": ({"variants": [{"l2": 0}, {"l2_sp": True}]}, "l2_sp is True: it is a strength"),
    "misspelt": ({"variants": [{"l2": 0}, {"elasticnet": 1}]}, "'elasticnet' of the variants is read by nobody.*'elastic_net'"),
    "a negative factor": ({"schedule": Every(2, -1.0)}, "schedule gives the factor -1.0"),
    "no factor": ({"lr_schedule": Every(2, math.nan)}, "lr_schedule gives the factor nan"),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_a_bad_setting_is_one_message_at_once(case):
    settings, said = BAD_SETTINGS[case]
    with pytest.raises(SettingError, match=said):
        small_experiment(**settings)


@pytest.mark.parametrize("case", BAD_REHEARSALS)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(case, tmp_path):
    changes, said = BAD_REHEARSALS[case]
    plain = {"model": lambda _: nn.Linear(64, 2), "variants": [{"l2": 0}, {"l2": 1}]}
    with pytest.raises(SettingError, match=said):
        small_experiment(**plain | changes).run(tmp_path / "out", jobs=1, progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cuda", [False, True])
def test_auto_takes_a_gpu_where_there_is_one(cuda, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert small_experiment().recipe.device == ("cuda" if cuda else "cpu")
    assert small_experiment(device="cpu").recipe.device == "cpu"
    if cuda:
        assert small_experiment(device="cuda").recipe.device == "cuda"
    else:
        with pytest.raises(SettingError, match=r"device is 'cuda': this torch .* Take device 'cpu'"):
            small_experiment(device="cuda")


def test_means_are_handed_on_and_are_no_part_of_what_it_is():
    plain = small_experiment(engine="auto")
    other = small_experiment(engine="single", memory="2 GiB", threads=2, device="cpu")
    assert (plain.engine, plain.memory_bytes, plain.threads, plain.recipe.threads) == ("auto", None, None, 1)
    assert (other.engine, other.memory_bytes, other.threads, other.recipe.threads) == ("single", 2 * 2**30, 2, 2)
    assert plain.plan.differences(other.plan) == []
    assert plain.plan.short_name == other.plan.short_name
    assert not plain.plan.settings.keys() & {"schedule", "lr_schedule", "patience", "engine", "device", "memory"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedule": Linear(9)}, "schedule Linear(n_steps=9, end=0.0) against absent"),
        ({"lr_schedule": InEpochs(Cosine(3))}, "lr_schedule InEpochs(schedule=Cosine(n_steps=3, end=0.0)) against absent"),
        ({"patience": 2}, "patience 2 against absent"),
    ],
)
def test_what_changes_over_a_run_makes_it_another_experiment(changes, said):
    assert small_experiment(**changes).plan.differences(small_experiment().plan) == [said]


def test_somebodys_own_schedule_is_known_by_what_it_does():
    assert schedule_identity(Every(2) * Linear(3)) == schedule_identity(Every(2) * Linear(3))
    assert schedule_identity(Every(2) * Linear(3)) != schedule_identity(Every(3) * Linear(3))
    assert schedule_identity(Every(2) * Linear(3)).endswith(" * Linear(n_steps=3, end=0.0)")


def test_an_experiment_says_what_is_not_its_default():
    experiment = small_experiment(
        model=lambda _: nn.Linear(64, 2),
        variants=[{"l2": 0, "l1": 0}, {"l2": 0, "l1": 0.01}],
        schedule=InEpochs(WarmUp(1) * Linear(3)),
        lr_schedule=Every(2),
        patience=2,
    )
    said = experiment.study.settings
    shown = {name: said[name] for name in ("l1", "schedule", "lr_schedule", "patience")}
    assert shown == {
        "l1": "mean loss + λ·Σ|w|",
        "schedule": "WarmUp(n_epochs=1) * Linear(n_epochs=3, end=0.0)",
        "lr_schedule": "Every",
        "patience": 2,
    }
    assert not small_experiment().study.settings.keys() & {*shown, "max_norm"}


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ({"engine": "single", "threads": 1}, {"threads": 1}),
        ({"engine": "single", "threads": 2, "device": "cpu", "fleet_size": None}, {"threads": 2}),
        (
            {"engine": "fleet", "threads": 2, "device": "cuda", "fleet_size": 16},
            {"threads": 2, "engine": "fleets of at most 16 runs", "device": "cuda"},
        ),
        ({"engine": "fleet", "threads": 1, "fleet_size": 4, "jobs": 2}, {"engine": "fleets of at most 4 runs", "processes": 2}),
        ({"engine": "single", "threads": 1, "jobs": None}, {"threads": 1}),
        ({"engine": "function", "threads": 1, "jobs": 2}, {}),
    ],
)
def test_a_page_lists_by_what_runs_were_trained(means, said):
    plain = small_experiment().study
    told = by_means(plain, means).settings
    assert {name: told[name] for name in said} == said
    assert told.keys() - plain.settings.keys() == said.keys() - {"threads"}
