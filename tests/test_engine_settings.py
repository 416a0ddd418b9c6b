"""Penalties beside L2, schedules, early stopping: the single loop does as a loop by hand does, an experiment says what it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from shrinkwise.errors import SettingError
from shrinkwise.experiments.data import Split, cut, digits
from shrinkwise.experiments.describe import by_means
from shrinkwise.experiments.engine import NamedOptimizer, Recipe, train_one
from shrinkwise.experiments.engine.ledger import Ledger
from shrinkwise.experiments.engine.live import prepare
from shrinkwise.experiments.engine.pace import paced, steps_per_epoch
from shrinkwise.experiments.engine.stopping import ending
from shrinkwise.experiments.identity import schedule_identity
from shrinkwise.experiments.models import MLPFactory
from shrinkwise.experiments.records import Condition, Record, RunKey, Status, Variant
from shrinkwise.experiments.tuning.tuning import tune
from shrinkwise.regularization.strength.schedules import (
    Constant,
    Cosine,
    EarlyOnly,
    InEpochs,
    Linear,
    ProportionalToLr,
    Schedule,
    WarmUp,
)
from shrinkwise.seeding import isolated_rng, torch_generator
from small import small_experiment

SPLIT = cut(digits("0-2"), Condition(), seed=5)
LR, EPOCHS, BATCH = 0.05, 3, 32
RECIPE = Recipe(
    model=MLPFactory(64, (16,), 3),
    task="classification",
    n_outputs=3,
    optimizer=NamedOptimizer("sgd", LR),
    epochs=EPOCHS,
    batch_size=BATCH,
)
N = EPOCHS * steps_per_epoch(RECIPE, len(SPLIT.y_train))
Factor = Callable[[int], float]


def run(variant: dict[str, Any], recipe: Recipe = RECIPE, split: Split = SPLIT) -> Record:
    return train_one(recipe, split, RunKey(Variant(**variant), Condition(), 5))


def losses(record: Record) -> np.ndarray:
    assert record.last is not None, record.message
    return record.last.examples["loss"]


def by_hand(
    *,
    term: Callable[[Tensor, Tensor], Tensor] | None = None,
    decoupled: float = 0.0,
    limit: float | None = None,
    factor: Factor = lambda _: 1.0,
    rate: Factor = lambda _: 1.0,
    kind: Any = None,
) -> np.ndarray:
    """Train by hand and return the loss of each test row.

    Args:
        term: Penalty of one weight matrix, given the matrix and what it was at the start; it stands in the loss.
        decoupled: Share of lr by which each step shrinks a matrix, beside the loss.
        limit: Largest norm of a row of a matrix.
        factor: Factor on the penalty at each step, from 0; ``rate`` likewise on the learning rate.
        kind: Makes the optimiser; SGD with momentum if left out.
    """
    with isolated_rng("weights", 5):
        model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3))
    matrices = [model[0].weight, model[2].weight]
    starts = [matrix.detach().clone() for matrix in matrices]
    optimizer = kind(model.parameters()) if kind else torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    lr = optimizer.param_groups[0]["lr"]
    x, y = torch.from_numpy(SPLIT.x_train), torch.from_numpy(SPLIT.y_train)
    step = 0
    for epoch in range(1, EPOCHS + 1):
        for rows in torch.randperm(len(y), generator=torch_generator("order", 5, epoch)).split(BATCH):
            optimizer.param_groups[0]["lr"] = lr * rate(step)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[rows]), y[rows])
            if term is not None:
                loss = loss + factor(step) * sum(term(w, w0) for w, w0 in zip(matrices, starts, strict=True))
            loss.backward()
            with torch.no_grad():
                for matrix in matrices:
                    matrix.mul_(1 - lr * rate(step) * decoupled * factor(step))
                optimizer.step()
                for matrix in matrices if limit is not None else ():
                    norms = matrix.norm(dim=1, keepdim=True)
                    matrix.mul_(norms.clamp(max=limit) / norms)
            step += 1
    with torch.no_grad():
        return F.cross_entropy(model(torch.from_numpy(SPLIT.x_test)), torch.from_numpy(SPLIT.y_test), reduction="none").numpy()


def half_square(w: Tensor, _: Tensor) -> Tensor:
    return 0.2 / 2 * w.square().sum()


TERMS: dict[str, tuple[float, Callable[[Tensor, Tensor], Tensor]]] = {
    "l1": (0.01, lambda w, _: 0.01 * w.abs().sum()),
    "elastic_net": (0.02, lambda w, _: 0.02 * (w.abs().sum() / 2 + w.square().sum() / 4)),
    "group_lasso": (0.01, lambda w, _: 0.01 * math.sqrt(w.shape[1]) * w.norm(dim=1).sum()),
    "l2_sp": (0.3, lambda w, w0: 0.3 / 2 * (w - w0).square().sum()),
    "l2": (0.2, half_square),
}


@pytest.mark.parametrize("kind", TERMS)
def test_a_penalty_is_its_term_in_the_loss(kind):
    strength, term = TERMS[kind]
    with_term = by_hand(term=term)
    assert np.allclose(losses(run({"l2": 0.0, kind: strength})), with_term, atol=1e-5)
    assert not np.allclose(with_term, by_hand(), atol=1e-3)


@pytest.mark.parametrize("kind", TERMS)
def test_every_penalty_follows_the_schedule(kind):
    strength, term = TERMS[kind]
    recipe = replace(RECIPE, schedule=Linear(20), lr_schedule=Cosine(N, end=0.1))
    expected = by_hand(
        term=term, factor=lambda t: max(1 - t / 20, 0), rate=lambda t: 0.1 + 0.9 * (1 + math.cos(math.pi * t / N)) / 2
    )
    assert np.allclose(losses(run({"l2": 0.0, kind: strength}, recipe)), expected, atol=1e-5)


def test_max_norm_bounds_each_unit_after_every_step_and_follows_no_schedule():
    expected = by_hand(limit=0.9)
    for schedule in (None, Linear(5)):
        assert np.allclose(losses(run({"l2": 0.0, "max_norm": 0.9}, replace(RECIPE, schedule=schedule))), expected, atol=1e-5)
    assert not np.allclose(expected, by_hand(), atol=1e-3)


def test_penalties_add_up():
    expected = by_hand(term=lambda w, w0: half_square(w, w0) + 0.01 * w.abs().sum(), limit=0.9)
    assert np.allclose(losses(run({"l2": 0.2, "l1": 0.01, "max_norm": 0.9})), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["l1", "elastic_net", "group_lasso", "l2_sp", "max_norm"])
def test_a_penalty_of_zero_is_none_to_the_last_bit(kind):
    assert np.array_equal(losses(run({"l2": 0.1, kind: 0})), losses(run({"l2": 0.1})))


@pytest.mark.parametrize(
    ("bad", "said"),
    [(-0.1, "l1 is -0.1: a strength"), (math.nan, "l1 is nan: a strength"), (math.inf, "l1 is inf"), ("much", "l1 is 'much'")],
)
def test_what_is_no_strength_is_refused(bad, said):
    with pytest.raises(SettingError, match=said):
        run({"l2": 0.0, "l1": bad})


FORMS: dict[str, tuple[NamedOptimizer, Any]] = {
    "sgd, coupled": (NamedOptimizer("sgd", LR), None),
    "sgd, decoupled": (NamedOptimizer("sgd", LR, decay="decoupled"), None),
    "adam, coupled": (NamedOptimizer("adam", 0.01), lambda p: torch.optim.Adam(p, lr=0.01)),
    "adamw": (NamedOptimizer("adamw", 0.01, decay="decoupled"), lambda p: torch.optim.Adam(p, lr=0.01)),
}
RATE: tuple[Schedule, Factor] = (WarmUp(6) * Cosine(N), lambda t: min(t / 6, 1) * (1 + math.cos(math.pi * t / N)) / 2)
OVER_TIME: dict[str, tuple[Schedule, Factor]] = {
    "linear": (Linear(20, end=0.5), lambda t: 1 - 0.5 * min(t / 20, 1)),
    "early": (EarlyOnly(10), lambda t: float(t < 10)),
    "with the learning rate": (ProportionalToLr(), RATE[1]),
}


@pytest.mark.parametrize("name", OVER_TIME)
@pytest.mark.parametrize("form", FORMS)
def test_strength_and_learning_rate_follow_their_schedules_in_every_form(form, name):
    optimizer, kind = FORMS[form]
    schedule, factor = OVER_TIME[name]
    recipe = replace(RECIPE, optimizer=optimizer, schedule=schedule, lr_schedule=RATE[0])
    how: dict[str, Any] = {"term": half_square} if optimizer.decay == "coupled" else {"decoupled": 0.2}
    expected = by_hand(**how, factor=factor, rate=RATE[1], kind=kind)
    assert np.allclose(losses(run({"l2": 0.2}, recipe)), expected, atol=2e-5)


def test_the_schedule_acts_on_a_variants_own_learning_rate():
    recipe = replace(RECIPE, lr_schedule=Linear(N), optimizer=NamedOptimizer("sgd", 3.0))
    assert np.allclose(losses(run({"l2": 0.0, "lr": LR}, recipe)), by_hand(rate=lambda t: 1 - t / N), atol=1e-5)


def test_schedules_of_one_are_none_to_the_last_bit():
    constant = replace(RECIPE, schedule=Constant(), lr_schedule=Constant())
    for variant in ({"l2": 0.1}, {"l2": 0.1, "l1": 0.01}):
        assert run(variant, constant).fingerprint() == run(variant).fingerprint()


@pytest.mark.parametrize("size", [None, 65])
def test_a_schedule_in_epochs_ends_with_them_whatever_the_rows(size):
    split = cut(digits("0-2"), Condition(train_size=size), seed=5)
    n = steps_per_epoch(RECIPE, len(split.y_train))
    # 65 rows: two batches, the last of 33, since no row stands alone.
    assert n == (2 if size else math.ceil(len(split.y_train) / BATCH))
    in_epochs, in_steps = (
        replace(RECIPE, schedule=wrap(Linear(2 * k)), lr_schedule=WarmUp(3) * wrap(Cosine(3 * k)))
        for wrap, k in ((InEpochs, 1), (lambda schedule: schedule, n))
    )
    assert paced(in_epochs, len(split.y_train)) == in_steps
    prepare(in_epochs, split, RunKey(Variant(l2=0.1, l1=0.01), Condition(), 5)).optimizer.step()
    variant = {"l2": 0.1, "l1": 0.01}
    assert run(variant, in_epochs, split).fingerprint() == run(variant, in_steps, split).fingerprint()


@given(epochs=st.integers(1, 100), n=st.integers(1, 1000), share=st.floats(0, 2), end=st.floats(0, 10))
def test_epochs_are_so_many_steps(epochs, n, share, end):
    inner = WarmUp(epochs) * Cosine(epochs, end=end)
    schedule = InEpochs(inner).in_steps(n)
    step = round(share * epochs * n)
    passed = min(step / (epochs * n), 1)
    assert schedule.factor(step, 0.1, 0.1) == pytest.approx(passed * (end + (1 - end) * (1 + math.cos(math.pi * passed)) / 2))
    assert eval(repr(InEpochs(inner))) == InEpochs(inner)


class Every(Schedule):
    """Somebody's own: 1 at every k-th step."""

    def __init__(self, k: int, height: float = 1.0) -> None:
        self.k, self.height = k, height

    def factor(self, step: int, lr: float, lr_max: float) -> float:
        return self.height * (step % self.k == 0)


def test_epochs_are_refused_where_nobody_knows_their_steps():
    with pytest.raises(SettingError, match="how it counts is its own affair"):
        InEpochs(Every(2) * Linear(3))
    with pytest.raises(SettingError, match=r"in_steps\(steps_per_epoch\)"):
        InEpochs(Linear(3)).factor(0, 0.1, 0.1)
    with pytest.raises(SettingError, match="steps_per_epoch is 0"):
        InEpochs(Linear(3)).in_steps(0)


def frozen_after(n_epochs: int, **changes: Any) -> Recipe:
    """Return a recipe whose learning rate is 0 after some epochs: from there on no epoch is better than the one before."""
    return replace(RECIPE, lr_schedule=InEpochs(EarlyOnly(n_epochs)), **changes)


def test_a_run_ends_when_patience_does():
    record = run({"l2": 0.0}, frozen_after(2, patience=3, epochs=20))
    assert (record.status, record.message) == (Status.DONE, "stopped after epoch 5: no better validation loss in 3 epochs")
    assert len(record.curves["val_loss"]) == 5
    assert record.n_steps == 5 * N // EPOCHS
    assert record.last.epoch == 5
    assert record.best_val.epoch == 2


def test_a_run_without_patience_or_with_enough_goes_on():
    whole = run({"l2": 0.0}, frozen_after(2, epochs=6))
    patient = run({"l2": 0.0}, frozen_after(2, epochs=6, patience=5))
    assert (len(whole.curves["val_loss"]), whole.message) == (6, "")
    assert patient.fingerprint() == whole.fingerprint()


def test_nothing_stopped_a_run_whose_patience_ends_with_its_last_epoch():
    record = run({"l2": 0.0}, frozen_after(2, epochs=5, patience=3))
    assert (len(record.curves["val_loss"]), record.message) == (5, "")


def test_patience_ends_a_run_that_learns_nothing():
    slow = replace(RECIPE, optimizer=NamedOptimizer("sgd", 1e-6), epochs=14)
    record = run({"l2": 0.0}, replace(slow, patience=3))
    assert (record.status, record.message) == (Status.DONE, "stopped after epoch 10: the network has learned nothing")
    assert record.collapsed
    assert len(run({"l2": 0.0}, slow).curves["val_loss"]) == 14


def test_a_loss_that_is_no_number_ends_a_run_with_or_without_patience():
    for patience in (None, 2):
        record = run({"l2": 0.0}, replace(RECIPE, optimizer=NamedOptimizer("sgd", 1e12), patience=patience))
        assert record.status is Status.DIVERGED
        assert record.n_steps > 0


FALLING = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.04]
FLAT = [2.0] * 12


@pytest.mark.parametrize(
    ("train", "val", "patience", "said"),
    [
        (FALLING, FALLING, 1, None),
        (FALLING[:2], [1.0, 1.0], 1, "epoch 2: no better validation loss in 1 epoch"),
        (FALLING[:3], [1.0, 0.9, 1.0], 2, None),
        (FALLING[:4], [1.0, 0.9, 1.0, 0.9], 2, "epoch 4: no better validation loss in 2 epochs"),
        (FALLING[:4], [1.0, 0.9, 1.0, 0.9], None, None),
        (FLAT[:9], FALLING[:9], 3, None),
        (FLAT[:10], FALLING[:10], 3, "epoch 10: the network has learned nothing"),
        (FLAT[:10], FALLING[:10], 11, None),
        (FLAT[:11], FALLING[:11], 11, "epoch 11: the network has learned nothing"),
        ([*FLAT[:9], 1.5], FALLING[:10], 3, None),
        ([*FLAT[:5], 1.5, *FLAT[:5]], FALLING[:11], 3, None),
        (FLAT, FALLING, None, None),
    ],
)
def test_when_a_run_ends(train, val, patience, said):
    ended = ending({"train_loss": train, "val_loss": val}, 2.0, patience)
    assert ended == (None if said is None else (Status.DONE, f"stopped after {said}"))


def test_a_run_that_diverges_in_its_last_epoch_has_diverged():
    ledger = Ledger(RECIPE, SPLIT, RunKey(Variant(), Condition(), 5), 0.0, ())
    for loss in (1.0, 0.9, math.nan):
        ledger.see({"train_loss": loss, "val_loss": loss})
    assert ledger.ending() == (Status.DIVERGED, "the loss stopped being a finite number in epoch 3")


BAD_SETTINGS = {
    "an engine": ({"engine": "flete"}, "engine is 'flete'.*Did you mean 'fleet'"),
    "a device": ({"device": "gpu"}, "device is 'gpu'.*auto, cpu, cuda"),
    "memory in words": ({"memory": "much"}, "memory is 'much': it is an amount of memory"),
    "no memory": ({"memory": 0}, "memory is 0"),
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


def test_runs_that_stopped_early_are_counted_once_in_words():
    frozen = small_experiment(
        lr_schedule=InEpochs(EarlyOnly(1)), patience=2, epochs=5, engine="single", conditions=({"label_noise": 0},)
    )
    notes = frozen.run(jobs=1, progress=False).answer.notes
    told = [note for note in notes if "stopped" in note]
    assert told == ["Of the 8 runs, 8 stopped before the last epoch: no better validation loss in 2 epochs (8)."]
    assert any("at most 5 epochs" in note for note in notes)
    assert not any("same number of epochs" in note for note in notes)
    whole = small_experiment(engine="single", epochs=1, conditions=({"label_noise": 0},)).run(jobs=1, progress=False)
    assert not any("stopped" in note for note in whole.answer.notes)
    assert any("same number of epochs" in note for note in whole.answer.notes)


def test_a_tuning_says_it_too():
    experiment = small_experiment(
        variants=(), model=lambda _: nn.Linear(64, 2), lr_schedule=InEpochs(EarlyOnly(1)), patience=1, conditions=({},)
    )
    tuned = tune(experiment, around=0.01, seeds=2, budget=8, layers=0, jobs=1, progress=False)
    told = [note for note in tuned.choice.notes if "stopped" in note]
    n = len(tuned.records)
    assert told == [f"Of the {n} runs, {n} stopped before the last epoch: no better validation loss in 1 epoch ({n})."]


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ({"engine": "single", "threads": 1}, {"threads": 1}),
        ({"engine": "single", "threads": 2, "device": "cpu", "fleet_size": None}, {"threads": 2}),
        (
            {"engine": "fleet", "threads": 2, "device": "cuda", "fleet_size": 16},
            {"threads": 2, "engine": "fleets of at most 16 runs", "device": "cuda"},
        ),
    ],
)
def test_a_page_lists_by_what_runs_were_trained(means, said):
    plain = small_experiment().study
    told = by_means(plain, means).settings
    assert {name: told[name] for name in said} == said
    assert told.keys() - plain.settings.keys() == said.keys() - {"threads"}
