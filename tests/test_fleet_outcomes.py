"""What runs are worth in the end, out of what evaluation kept on the way: the same as looking again, in pieces of any size."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fleet_nets import N_FEATURES, Net
from fleet_twins import in_double, pairs
from fleet_twins import recipe as plan_of
from fleets import recipe, runs_of
from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine import NamedOptimizer, Recipe, single, train_fleet, train_model, train_one
from shrinkwise.experiments.engine.build import EVALUATION_ROWS
from shrinkwise.experiments.engine.fleet.dense import passes
from shrinkwise.experiments.engine.fleet.modules import probe
from shrinkwise.experiments.engine.metrics import summary
from shrinkwise.experiments.records import Outcome, Variant
from shrinkwise.seeding import numpy_generator

VARIANTS = [Variant(l2=lam, dropout=rate) for lam in (0.0, 0.1, 5.0) for rate in (0.0, 0.5)]
PLANS: dict[str, dict[str, Any]] = {
    "patience": {"patience": 2, "epochs": 40, "optimizer": NamedOptimizer("sgd", lr=0.1)},
    "a few epochs": {"epochs": 3},
    "many epochs": {"epochs": 25, "optimizer": NamedOptimizer("sgd", lr=0.1)},
}


def judged(model: nn.Module, split: Split) -> tuple[dict[str, float], dict[str, float]]:
    """Return the metrics of a network on validation and test rows, looked at in one piece."""
    parts = ((split.x_val, split.y_val), (split.x_test, split.y_test))
    with torch.no_grad():
        val, test = (summary("classification", model(torch.from_numpy(x)), torch.from_numpy(y)) for x, y in parts)
    return val, test


def assert_is(outcome: Outcome | None, wanted: tuple[dict[str, float], dict[str, float]]) -> None:
    assert outcome is not None
    assert outcome.val == pytest.approx(wanted[0], rel=1e-9)
    assert outcome.test == pytest.approx(wanted[1], rel=1e-9)


@pytest.mark.parametrize("name", PLANS)
def test_the_last_and_the_best_weights_give_what_is_told_of_them(name):
    plan, runs = recipe(**PLANS[name]), runs_of(VARIANTS, noises=(0.2,))
    together = {record.key: record for record in train_fleet(plan, runs)}
    lags = set()
    for split, key in runs:
        last, record = train_model(plan, split, key)
        best, _ = train_model(plan, split, key, select="best-val")
        for each in (record, together[key]):
            assert_is(each.last, judged(last, split))
            assert_is(each.best_val, judged(best, split))
            assert each.last is not None
            assert each.best_val is not None
            assert each.last.epoch == len(each.curves["val_loss"])
            assert each.best_val.epoch == 1 + int(np.argmin(each.curves["val_loss"]))
            lags.add(each.last.epoch - each.best_val.epoch)
    n_steps = {record.n_steps for record in together.values()}
    # Runs that leave at different epochs, best epochs that are the last, and some that are not.
    assert (len(n_steps) > 2) == (name == "patience")
    assert max(lags) > 0 or name == "a few epochs"
    assert 0 in lags or name == "patience"


NETWORKS: dict[str, Any] = {
    "dense": lambda: nn.Sequential(nn.Linear(N_FEATURES, 8), nn.Tanh(), nn.Linear(8, 3)),
    "any module": lambda: Net(nn.Linear(N_FEATURES, 8), nn.LayerNorm(8), width=8),
}


@pytest.mark.parametrize("n_rows", [511, 512, 513, 1025])
@pytest.mark.parametrize("name", NETWORKS)
def test_rows_are_evaluated_in_pieces_that_leave_no_trace(name, n_rows, monkeypatch):
    assert EVALUATION_ROWS == 512
    plan = plan_of(NETWORKS[name], double=True, epochs=2)
    variants = [Variant(l2=0.0), Variant(l2=0.1)]
    runs = pairs(lambda seed: _of_rows(in_double(seed), n_rows), variants, [0, 1])
    # Passes of any module have pieces of their own, of 64 rows at least.
    monkeypatch.setattr(probe, "_BYTES_AT_ONCE", 1)
    in_pieces = _outcomes(plan, runs)
    for module in (single, passes):
        monkeypatch.setattr(module, "EVALUATION_ROWS", 10**6)
    monkeypatch.setattr(probe, "_BYTES_AT_ONCE", 2**30)
    for found, wanted in zip(in_pieces, _outcomes(plan, runs), strict=True):
        assert found.keys() == wanted.keys()
        for place, values in wanted.items():
            assert found[place] == pytest.approx(values, rel=1e-9), place


def _of_rows(split: Split, n_rows: int) -> Split:
    """Return a split whose validation and test parts have so many rows."""
    drawn = numpy_generator("rows", n_rows)
    x = drawn.standard_normal((2, n_rows, N_FEATURES))
    y = x[..., :3].argmax(2)
    return dataclasses.replace(split, x_val=x[0], y_val=y[0], x_test=x[1], y_test=y[1], test_rows=np.arange(n_rows))


def _outcomes(plan: Recipe, runs: list[Any]) -> list[dict[Any, Any]]:
    """Return what single runs and a fleet tell of validation and test rows."""
    both = [train_one(plan, split, key) for split, key in runs], list(train_fleet(plan, runs))
    return [
        {
            (record.key, part): values
            for record in records
            if record.last is not None
            for part, values in {**record.curves, "val": record.last.val, "test": record.last.test}.items()
        }
        for records in both
    ]
