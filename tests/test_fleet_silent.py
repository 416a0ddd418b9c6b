"""Inputs that are zero in every training row: their weights are kept apart, and evaluation sees what it has to of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from fleets import EXACT, NETWORK, OPTIMIZERS, compare_records, held_against, recipe, runs_of, train_networks, watched
from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine import train_model
from shrinkwise.experiments.engine.fleet.fleet import Run
from shrinkwise.experiments.engine.fleet.stack import REST
from shrinkwise.experiments.records import Status, Variant
from shrinkwise.regularization.strength import schedules
from shrinkwise.seeding import numpy_generator

FIRST = "layers.0.weight"
SILENT = (3, 10, 11, 20, 27, 41, 50, 60)
VAL_ONLY, TEST_ONLY = {0: 20, 1: 11}, {0: 50, 1: 3}
"""Seed -> the one silent input at which its validation rows, or its test rows, have something."""
NEVER = (10, 27, 41, 60)
VARIANTS = [Variant(l2=lam, dropout=rate) for lam, rate in ((0.0, 0.0), (0.05, 0.5), (0.5, 0.0), (2.0, 0.2))]
SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {},
    "strength": {"schedule": schedules.Cosine(40)},
    "rate": {"lr_schedule": schedules.WarmUp(10) * schedules.Linear(50, end=0.1)},
    "strength by the rate": {"schedule": schedules.ProportionalToLr(), "lr_schedule": schedules.Linear(50, end=0.1)},
}
SHARED = [name for name in OPTIMIZERS if not name.startswith("adam ") and name != "adam"]
"""Optimisers whose decay takes a share of a weight."""


def silenced_runs(variants: Iterable[Variant] = VARIANTS, seeds: Iterable[int] = (0, 1)) -> list[Run]:
    """Return runs on rows that have something everywhere but at the silent inputs."""
    held: dict[int, Split] = {}
    return [(held.setdefault(key.seed, _silenced(split, key.seed)), key) for split, key in runs_of(variants, seeds, (0.0,))]


def _silenced(split: Split, seed: int) -> Split:
    drawn = numpy_generator("noise", seed)
    parts = {}
    for part, met in (("x_train", ()), ("x_val", (VAL_ONLY[seed],)), ("x_test", (TEST_ONLY[seed],))):
        x = getattr(split, part) + 0.1 + 0.1 * np.abs(drawn.standard_normal((len(getattr(split, part)), 64)))
        x[:, [i for i in SILENT if i not in met]] = 0
        # Large, so that a wrong weight is seen in the metrics.
        x[:, list(met)] *= 20
        parts[part] = x
    return dataclasses.replace(split, **parts)


def silent_part(network: Any) -> torch.Tensor:
    return network.get_parameter(FIRST).detach()[:, list(SILENT)]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", SHARED)
def test_a_share_of_what_was_there_is_all_that_is_kept(name, schedule, monkeypatch):
    fleets = watched(monkeypatch)
    plan = recipe(optimizer=OPTIMIZERS[name], **SCHEDULES[schedule])
    assert held_against(plan, silenced_runs(), silent_part) < EXACT
    [fleet] = fleets
    assert fleet.stack.parameters[FIRST + REST].shape == (8, 1, 1)
    assert fleet.stack.parameters[FIRST].shape == (8, 16, 64 - len(SILENT))
    left = fleet.stack.parameters[FIRST + REST].flatten()
    assert sorted(set(left.tolist())) == sorted(set(left[:4].tolist()))
    assert len(set(left[:4].tolist())) == 4
    assert left.max() == 1


def test_adam_divides_a_decay_by_its_size_so_that_every_weight_is_kept(monkeypatch):
    fleets = watched(monkeypatch)
    plan = recipe(optimizer=OPTIMIZERS["adam"])
    assert held_against(plan, silenced_runs(), silent_part) < EXACT
    assert fleets[-1].stack.parameters[FIRST + REST].shape == (8, 16, len(SILENT))
    assert held_against(plan, silenced_runs([Variant(l2=0.0), Variant(l2=0.0, lr=0.02)]), silent_part) < EXACT
    assert fleets[-1].stack.parameters[FIRST + REST].shape == (4, 1, 1)


@pytest.mark.parametrize("name", [*SHARED, "adam"])
def test_the_shares_of_those_that_stay_close_up_when_one_leaves(name, monkeypatch):
    fleets = watched(monkeypatch)
    wild = Variant(l2=0.1, lr=1e300, dropout=0.0)
    plan, runs = recipe(optimizer=OPTIMIZERS[name]), silenced_runs([*VARIANTS[:2], wild, *VARIANTS[2:]])
    together = {record.key: (network, record) for network, record in train_networks(plan, runs)}
    gone = {key for key, (_, record) in together.items() if record.status is Status.DIVERGED}
    assert gone == {key for _, key in runs if key.variant == wild}
    assert len(fleets[0].stack.starts.get(FIRST + REST, fleets[0].stack.parameters[FIRST + REST])) == 8
    for split, key in runs:
        network, record = train_model(plan, split, key)
        compare_records(together[key][1], record, 1e-12)
        if key not in gone:
            its, own = silent_part(together[key][0]), silent_part(network)
            assert (its - own).norm() <= EXACT * own.norm()


@pytest.mark.parametrize("name", ["sgd with momentum", "adam"])
def test_outcomes_see_what_validation_and_test_rows_alone_have_and_nothing_else_is_multiplied(name, monkeypatch):
    fleets = watched(monkeypatch)
    plan = recipe(optimizer=OPTIMIZERS[name], epochs=6)
    runs = silenced_runs()
    for network, record in train_networks(plan, runs):
        own = next(train_model(plan, split, key) for split, key in runs if key == record.key)[1]
        assert network is not None
        for curve, values in own.curves.items():
            assert record.curves[curve] == pytest.approx(values, rel=1e-9), curve
        for its, wanted in ((record.last, own.last), (record.best_val, own.best_val)):
            assert its is not None
            assert wanted is not None
            assert its.val == pytest.approx(wanted.val, rel=1e-9)
            assert its.test == pytest.approx(wanted.test, rel=1e-9)
    n_met = 64 - len(NEVER)
    widths = [tuple(x.shape[1] for x in (group.x, group.x_val, group.x_test)) for group in fleets[0].feed.groups]
    assert widths == [(64 - len(SILENT), n_met, n_met)] * 2


def test_few_silent_inputs_are_not_worth_it_and_nothing_but_silence_is_no_case(monkeypatch):
    fleets = watched(monkeypatch)
    few = [(dataclasses.replace(split, x_train=np.where(split.x_train, split.x_train, 0.5)), key) for split, key in silenced_runs()]
    silence = [(dataclasses.replace(split, x_train=0 * split.x_train), key) for split, key in silenced_runs()]
    for runs in (few, silence):
        assert held_against(recipe(NETWORK, epochs=3), runs, silent_part) < EXACT
        assert FIRST + REST not in fleets[-1].stack.parameters
