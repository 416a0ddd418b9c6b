"""When a run ends before its last epoch, by what, and how that is told."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from by_hand import EPOCHS, RECIPE, SPLIT, N, run
from shrinkwise.experiments.engine import NamedOptimizer, Recipe
from shrinkwise.experiments.engine.ledger import Ledger
from shrinkwise.experiments.engine.stopping import ending
from shrinkwise.experiments.records import Condition, RunKey, Status, Variant
from shrinkwise.experiments.tuning.tuning import tune
from shrinkwise.regularization.strength.schedules import EarlyOnly, InEpochs
from small import small_experiment


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
