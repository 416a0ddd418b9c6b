"""Any module in a fleet: what torch.func can stack has the weights of single runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from fleet_nets import NETS, Dropped, Net, Viewing
from fleet_twins import BASE, OPTIMIZERS, in_double, pairs, recipe, rows, together
from shrinkwise.experiments.engine import train_fleet, train_one
from shrinkwise.experiments.engine.fleet.modules import probe
from shrinkwise.experiments.records import Variant

FORMS: dict[str, dict[str, Any]] = {
    "masked": {},
    "identity": {"backward": "identity"},
    "full": {"backward": "full"},
    "every third step": {"every": 3},
    "held for four steps": {"hold": 4},
    "article": {"every": 10, "backward": "full"},
}


@pytest.mark.parametrize("name", NETS)
def test_a_fleet_of_any_module_has_the_weights_of_single_runs(name):
    plan = recipe(NETS[name], double=True)
    together(plan, pairs(in_double, [BASE, Variant(l2=0.1)], [0, 1])[:3])


@pytest.mark.parametrize("name", ["convolution", "batch norm 1d", "transformer layer", "own buffers"])
def test_likewise_to_rounding_in_single_precision_on_one_batch_with_rows_left_over(name):
    split = rows(3, n_train=40)
    together(recipe(NETS[name]), pairs(lambda _: split, [BASE, Variant(l2=0.1), Variant(l2=0.0, lr=0.02)], [3]))


PARTS_OF_ONE: dict[str, Callable[[], nn.Module]] = {
    "convolution": NETS["batch norm 2d"],
    "view": lambda: Net(nn.Conv2d(2, 3, 2, padding=1), Viewing(), width=24, shape=(2, 1, 3)),
    "attention": NETS["transformer layer"],
    "dropout": lambda: Dropped(0.5),
}


@pytest.mark.parametrize("name", PARTS_OF_ONE)
def test_a_part_of_one_run_gives_the_same(name, monkeypatch):
    monkeypatch.setattr(probe, "_BYTES_AT_ONCE", 1)
    together(recipe(PARTS_OF_ONE[name], double=True), pairs(in_double, [BASE, Variant(l2=0.1)], [0, 1])[:3])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_runs", [2, 3], ids=["one batch", "two batches"])
def test_dropout_of_every_form_has_each_runs_rate_and_masks(form, n_runs):
    plan = recipe(lambda rate: Dropped(rate, **FORMS[form]), double=True)
    together(plan, pairs(in_double, [Variant(l2=0.0, dropout=rate) for rate in (0.2, 0.6)], [0, 1])[:n_runs])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_dropout_in_single_precision(optimizer):
    together(recipe(Dropped, optimizer), pairs(rows, [Variant(l2=0.01, dropout=rate) for rate in (0.0, 0.5)], [2]))


def test_a_regression_with_one_output():
    split = in_double(4)
    split = replace(split, **{name: getattr(split, name).astype(float) - 1 for name in ("y_train", "y_val", "y_test")})
    wide = recipe(lambda: nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(4, 1)), double=True)
    flat = recipe(lambda: nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(4, 1), nn.Flatten(0)), double=True)
    for plan in (wide, flat):
        together(replace(plan, task="regression", n_outputs=1), pairs(lambda _: split, [BASE, Variant(l2=0.1)], [4]))


def test_runs_that_stay_do_not_feel_that_one_has_left():
    plan = recipe(lambda rate: Dropped(rate), double=True, epochs=6)
    variants = [Variant(l2=0.0, dropout=0.3, lr=lr) for lr in (0.05, 1e200, 0.02)]
    runs = pairs(in_double, variants, [0, 1])
    singles = {key: train_one(plan, split, key) for split, key in runs}
    for record in train_fleet(plan, runs):
        assert record.status is singles[record.key].status
        assert record.curves["val_loss"] == pytest.approx(singles[record.key].curves["val_loss"], nan_ok=True)
    assert {record.status.value for record in singles.values()} == {"done", "diverged"}
