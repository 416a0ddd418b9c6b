"""Strengths and learning rates over a run: the single loop does as a loop by hand does, in steps and in epochs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from by_hand import BATCH, LR, RECIPE, Every, Factor, N, by_hand, half_square, losses, run
from shrinkwise.errors import SettingError
from shrinkwise.experiments.data import cut, digits
from shrinkwise.experiments.engine import NamedOptimizer
from shrinkwise.experiments.engine.live import prepare
from shrinkwise.experiments.engine.pace import paced, steps_per_epoch
from shrinkwise.experiments.records import Condition, RunKey, Variant
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


def test_epochs_are_refused_where_nobody_knows_their_steps():
    with pytest.raises(SettingError, match="how it counts is its own affair"):
        InEpochs(Every(2) * Linear(3))
    with pytest.raises(SettingError, match=r"in_steps\(steps_per_epoch\)"):
        InEpochs(Linear(3)).factor(0, 0.1, 0.1)
    with pytest.raises(SettingError, match="steps_per_epoch is 0"):
        InEpochs(Linear(3)).in_steps(0)
