"""Strengths over time, where training is resumed or an optimiser is copied."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import OneCycleLR

from problem import Problem, reference, saved, zero_step
from scheduled import (
    FACTORS,
    FORMS,
    LAM,
    LR,
    STEPS,
    WAYS,
    decays,
    every_way,
    left_after_each_step,
    one_weight,
)
from shrinkwise.regularization.apply import Regularizer, decay_decoupled, param_groups, schedule_decay
from shrinkwise.regularization.penalties import L2SP
from shrinkwise.regularization.strength.schedules import Cosine, ProportionalToLr


class Training:
    """One way to let a strength follow a schedule, on a model that trains with Adam or momentum and a schedule of lr."""

    def __init__(self, way, optimizer):
        self.problem = Problem()
        self.penalty = lambda: 0
        self.optimizer = self.make(optimizer, 0.0 if way in FORMS or way == "in_loss" else LAM)
        if way in FORMS or way == "in_loss":
            slots = {"l2": LAM, "l1": 0.01, "l2_sp": L2SP(0.1, reference(self.problem.model))}
            bound = Regularizer(**slots, schedule=Cosine(20) * ProportionalToLr()).bind(self.problem.model)
            if way == "in_loss":
                bound.follow(self.optimizer)
                self.penalty = bound.penalty
            else:
                bound.attach(self.optimizer, form=way)
        if way == "decoupled_first":
            decay_decoupled(self.optimizer)
        if way in ("own", "decoupled_first", "decoupled_last"):
            schedule_decay(self.optimizer, Cosine(20) * ProportionalToLr())
        if way == "decoupled_last":
            decay_decoupled(self.optimizer)
        self.rates = OneCycleLR(self.optimizer, max_lr=0.05, total_steps=40)

    def make(self, optimizer, weight_decay):
        groups = param_groups(self.problem.model, weight_decay)
        return Adam(groups, lr=LR) if optimizer == "adam" else SGD(groups, lr=LR, momentum=0.9)

    def train(self, n_steps):
        return self.problem.train(self.optimizer, self.penalty, n_steps=n_steps, rates=self.rates.step)

    @property
    def parts(self):
        return {"model": self.problem.model, "optimizer": self.optimizer, "rates": self.rates}


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
@pytest.mark.parametrize("way", [*FORMS, "in_loss", "own", "decoupled_first", "decoupled_last"])
def test_training_that_is_resumed_equals_training_that_never_stopped(way, optimizer):
    whole = Training(way, optimizer)
    whole.train(7)
    file = io.BytesIO()
    torch.save({name: part.state_dict() for name, part in whole.parts.items()}, file)
    expected = whole.train(9)

    file.seek(0)
    checkpoint = torch.load(file)
    resumed = Training(way, optimizer)
    resumed.train(2)  # a resumed run may have warmed up
    for name, part in resumed.parts.items():
        part.load_state_dict(checkpoint[name])
    assert torch.equal(resumed.train(9), expected)


@every_way
def test_trap_8_a_checkpoint_replaces_the_groups_and_the_schedule_goes_on_from_its_step(way):
    schedule, _ = FACTORS["linear"]
    weight, optimizer = one_weight(way)
    WAYS[way][1](weight, optimizer, schedule)
    whole = left_after_each_step(weight, optimizer)
    for stop in (1, 5):
        weight, optimizer = one_weight(way)
        WAYS[way][1](weight, optimizer, schedule)
        left_after_each_step(weight, optimizer, n_steps=stop)
        (checkpoint,) = saved(optimizer)
        other, resumed = one_weight(way)
        WAYS[way][1](other, resumed, schedule)
        groups = resumed.param_groups
        resumed.load_state_dict(checkpoint)
        assert resumed.param_groups is not groups
        with torch.no_grad():
            other.copy_(weight)
        np.testing.assert_allclose(left_after_each_step(other, resumed, n_steps=STEPS - stop), whole[stop:], rtol=1e-12)


# A checkpoint from before decay_decoupled has the coupled form of decay, as said there.
@pytest.mark.parametrize("way", [way for way in WAYS if not way.startswith("decoupled_")])
def test_a_checkpoint_from_before_the_schedule_starts_it_at_its_first_step(way):
    schedule, factors = FACTORS["linear"]
    weight, old = one_weight(way)
    old.param_groups[0]["weight_decay"] = LAM if "own" in way else 0.0
    zero_step(old)
    (checkpoint,) = saved(old)
    weight, optimizer = one_weight(way)
    WAYS[way][1](weight, optimizer, schedule)
    optimizer.load_state_dict(checkpoint)
    expected = np.cumprod(1 / (1 + LR * LAM * factors)) if way == "proximal" else decays(LR, factors)
    np.testing.assert_allclose(left_after_each_step(weight, optimizer), expected, rtol=1e-12)


@every_way
def test_trap_4_a_deep_copy_of_an_optimiser_loses_its_hooks_and_attaching_again_mends_it(way):
    schedule, _ = FACTORS["linear"]
    weight, optimizer = one_weight(way)
    WAYS[way][1](weight, optimizer, schedule)
    left_after_each_step(weight, optimizer, n_steps=3)
    copied, lame = copy.deepcopy((weight, optimizer))
    mended, mended_optimizer = copy.deepcopy((weight, optimizer))
    expected = left_after_each_step(weight, optimizer, n_steps=3)
    assert left_after_each_step(copied, lame, n_steps=3)[-1] != pytest.approx(expected[-1], rel=1e-6)

    if way in FORMS:
        WAYS[way][1](mended, mended_optimizer, schedule)
    else:
        schedule_decay(mended_optimizer, schedule)
        if way.startswith("decoupled"):
            decay_decoupled(mended_optimizer)
    np.testing.assert_allclose(left_after_each_step(mended, mended_optimizer, n_steps=3), expected, rtol=1e-12)
