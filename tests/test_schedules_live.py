"""Strengths over time on live optimisers: factors step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, OneCycleLR, SequentialLR

from problem import Problem, zero_step
from scheduled import (
    FACTORS,
    FORMS,
    LAM,
    LR,
    NUMBERS,
    STEPS,
    WAYS,
    decays,
    every_schedule,
    every_way,
    left_after_each_step,
    one_weight,
)
from shrinkwise.errors import ModelError, SettingError
from shrinkwise.regularization.apply import Regularizer, decay_decoupled, schedule_decay
from shrinkwise.regularization.strength.schedules import Constant, EarlyOnly, Linear, ProportionalToLr


@every_way
@every_schedule
def test_each_step_has_the_factor_of_its_own_number(name, way):
    schedule, factors = FACTORS[name]
    weight, optimizer = one_weight(way)
    WAYS[way][1](weight, optimizer, schedule)
    expected = np.cumprod(1 / (1 + LR * LAM * factors)) if way == "proximal" else decays(LR, factors)
    np.testing.assert_allclose(left_after_each_step(weight, optimizer), expected, rtol=1e-12)


@every_schedule
def test_a_penalty_in_the_loss_follows_the_optimisers_steps(name):
    schedule, factors = FACTORS[name]
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(model.weight)
    optimizer = SGD(model.parameters(), lr=LR)
    bound = Regularizer(l2=LAM, schedule=schedule).bind(model)
    bound.follow(optimizer)
    found, values = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        values.append((bound.value(), bound.values().get("l2", 0.0), LAM / 2 * model.weight.item() ** 2))
        bound.penalty().backward()
        optimizer.step()
        found.append(model.weight.item())
    np.testing.assert_allclose(found, decays(LR, factors), rtol=1e-6)  # the factor is a tensor of float32
    for factor, (value, of_kind, whole) in zip(factors, values, strict=True):
        assert value == of_kind == pytest.approx(factor * whole, rel=1e-6)


def warm_up_and_cosine(optimizer):
    parts = [LinearLR(optimizer, start_factor=0.25, total_iters=4), CosineAnnealingLR(optimizer, 8)]
    return SequentialLR(optimizer, parts, milestones=[4])


# What a scheduler of torch makes of lr, and the peak that it declares.
SCHEDULERS = {
    "warm_up_and_cosine": (warm_up_and_cosine, LR),
    "one_cycle": (lambda optimizer: OneCycleLR(optimizer, max_lr=0.04, total_steps=STEPS + 1, cycle_momentum=False), 0.04),
    "lambda": (lambda optimizer: LambdaLR(optimizer, lambda i: min(1, (i + 1) / 4)), LR),
}


@every_way
@pytest.mark.parametrize("is_scheduler_first", [False, True])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")  # torch says it of its own SequentialLR
def test_a_schedule_follows_the_learning_rate_of_a_scheduler(scheduler, is_scheduler_first, way):
    make, peak = SCHEDULERS[scheduler]
    weight, optimizer = one_weight(way)
    rates = make(optimizer) if is_scheduler_first else None
    WAYS[way][1](weight, optimizer, Linear(STEPS) * ProportionalToLr())
    rates = rates or make(optimizer)

    other = SGD([nn.Parameter(torch.zeros(1))], lr=LR)
    plain, lrs = make(other), []
    for _ in range(STEPS):
        lrs.append(other.param_groups[0]["lr"])
        other.step()
        plain.step()
    shrink = np.array(lrs) * LAM * (1 - NUMBERS / STEPS) * np.array(lrs) / peak
    expected = np.cumprod(1 / (1 + shrink)) if way == "proximal" else np.cumprod(1 - shrink)
    np.testing.assert_allclose(left_after_each_step(weight, optimizer, rates), expected, rtol=1e-12)


def test_a_rate_that_is_set_by_hand_is_followed_and_its_peak_is_the_largest_seen():
    weight, optimizer = one_weight("coupled")
    WAYS["coupled"][1](weight, optimizer, ProportionalToLr())
    expected, before = 1.0, 0.1
    for lr in (0.05, 0.2, 0.1):
        optimizer.param_groups[0]["lr"] = lr
        before = max(before, lr)
        expected *= 1 - lr * LAM * lr / before
        zero_step(optimizer)
        assert weight.item() == pytest.approx(expected, rel=1e-12)


def test_a_learning_rate_may_be_a_tensor():
    for way in WAYS:
        weight, optimizer = one_weight(way, lr=torch.tensor(LR, dtype=torch.float64))
        for group in optimizer.param_groups:
            group["foreach"] = False
        schedule, factors = FACTORS["linear"]
        WAYS[way][1](weight, optimizer, schedule)
        expected = np.cumprod(1 / (1 + LR * LAM * factors)) if way == "proximal" else decays(LR, factors)
        np.testing.assert_allclose(left_after_each_step(weight, optimizer), expected, rtol=1e-12)


def test_each_kind_has_its_own_schedule():
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(model.weight)
    bound = Regularizer(l2=2.0, l1=1.0, schedule={"l1": EarlyOnly(2)}).bind(model)
    optimizer = SGD(model.parameters(), lr=0.0)
    bound.attach(optimizer)
    seen = []
    for _ in range(3):
        seen.append(bound.values())
        zero_step(optimizer)
    assert seen == [{"l2": 1.0, "l1": 1.0}] * 2 + [{"l2": 1.0, "l1": 0.0}]


def test_groups_with_rates_of_their_own_have_factors_of_their_own():
    problem = Problem()
    first, last = problem.weights
    optimizer = SGD([{"params": [first], "lr": 0.2}, {"params": [last], "lr": 0.1}], lr=LR)
    bound = Regularizer(l2=LAM, schedule=ProportionalToLr()).bind(problem.model)
    bound.attach(optimizer)
    optimizer.param_groups[0]["lr"] = 0.05
    before = first.detach().clone(), last.detach().clone()
    expected = LAM / 2 * (0.25 * first.detach().square().sum() + last.detach().square().sum()).item()
    assert bound.value() == pytest.approx(expected, rel=1e-6)
    zero_step(optimizer)
    torch.testing.assert_close(first.detach(), before[0] * (1 - 0.05 * LAM * 0.25))
    torch.testing.assert_close(last.detach(), before[1] * (1 - 0.1 * LAM))


def test_two_optimisers_count_their_own_steps_and_a_parameter_that_both_hold_has_one_value():
    problem = Problem()
    bound = Regularizer(l2=LAM, schedule=EarlyOnly(1)).bind(problem.model)
    one, two = SGD(problem.model[0].parameters(), lr=0.0), SGD(problem.model.parameters(), lr=0.0)
    bound.follow(one, two)
    halves = [LAM / 2 * weight.detach().square().sum().item() for weight in problem.weights]
    assert bound.value() == pytest.approx(sum(halves))
    zero_step(one)
    assert bound.value() == pytest.approx(halves[1])
    zero_step(two)
    assert bound.value() == 0


def test_a_group_that_is_added_later_is_scheduled_with_the_rest():
    weights = [nn.Parameter(torch.ones(1, 1, dtype=torch.float64)) for _ in range(2)]
    optimizer = AdamW(weights[:1], lr=LR, weight_decay=LAM)
    schedule, factors = FACTORS["linear"]
    schedule_decay(optimizer, schedule)
    left_after_each_step(weights[0], optimizer, n_steps=4)
    optimizer.add_param_group({"params": weights[1:]})  # with the optimiser's default, LAM
    np.testing.assert_allclose(left_after_each_step(weights[1], optimizer, n_steps=3), decays(LR, factors[4:7]), rtol=1e-12)
    np.testing.assert_allclose(weights[0].item(), decays(LR, factors[:7])[-1], rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_a_group_that_is_added_later_has_no_penalty_and_disturbs_none(form):
    schedule, factors = FACTORS["linear"]
    weight, optimizer = one_weight(form)
    WAYS[form][1](weight, optimizer, schedule * ProportionalToLr())
    late = nn.Parameter(torch.ones(2))
    left_after_each_step(weight, optimizer, n_steps=4)
    optimizer.add_param_group({"params": [late], "lr": 1.0})
    found = left_after_each_step(weight, optimizer, n_steps=3)[-1]
    factors = factors[:7]
    assert found == pytest.approx(np.prod(1 / (1 + LR * LAM * factors)) if form == "proximal" else decays(LR, factors)[-1])
    assert torch.equal(late, torch.ones(2))


def test_groups_that_are_added_after_decay_decoupled_keep_the_optimisers_own_form():
    weight, optimizer = one_weight("decoupled_first")
    WAYS["decoupled_first"][1](weight, optimizer, Constant())
    late = nn.Parameter(torch.ones(1))
    optimizer.add_param_group({"params": [late], "weight_decay": LAM})
    zero_step(optimizer)
    assert late.item() == pytest.approx(1 - LR)  # Adam rescales a coupled decay to a step of lr


def test_remove_puts_the_initial_decay_back_and_a_schedule_can_be_set_anew():
    for way in ("own_of_adamw", "decoupled_first", "decoupled_last"):
        weight, optimizer = one_weight(way)
        optimizer.param_groups[0]["weight_decay"] = LAM
        if way == "decoupled_first":
            decay_decoupled(optimizer)
        schedule = schedule_decay(optimizer, Linear(2))
        if way == "decoupled_last":
            decay_decoupled(optimizer)
        left_after_each_step(weight, optimizer, n_steps=3)
        schedule.remove()
        group = optimizer.param_groups[0]
        assert group["weight_decay"] == (LAM if way == "own_of_adamw" else 0)
        assert group.get("decoupled_decay", LAM) == LAM
        assert not [name for name in group if name.startswith("initial_")]
        before = weight.item()
        zero_step(optimizer)
        assert weight.item() == pytest.approx(before * (1 - LR * LAM))
        schedule_decay(optimizer, Linear(9))


def test_mistakes_with_schedules_are_said():
    problem = Problem()
    bound = Regularizer(l2=LAM, schedule=Linear(3)).bind(problem.model)
    for ask in (bound.penalty, bound.value, bound.values):
        with pytest.raises(SettingError, match=r"has a schedule.*Call bound\.follow\(optimizer\)"):
            ask()
    with pytest.raises(SettingError, match=r"lacks 1 parameter \(3\.weight\)"):
        bound.follow(SGD(problem.model[0].parameters(), lr=LR))
    with pytest.raises(ModelError, match="got Sequential"):
        bound.follow(problem.model)
    optimizer = AdamW(problem.model.parameters())
    for wrong in (0.5, lambda step: 1.0, None):
        with pytest.raises(SettingError, match="it is no schedule"):
            schedule_decay(optimizer, wrong)
    schedule_decay(optimizer, Linear(3))
    with pytest.raises(SettingError, match="follows a schedule already"):
        schedule_decay(optimizer, Linear(3))
    with pytest.raises(SettingError, match="Rprop has no weight_decay"):
        schedule_decay(torch.optim.Rprop(problem.model.parameters()), Linear(3))
    with pytest.raises(ModelError, match="got Sequential"):
        schedule_decay(problem.model, Linear(3))


def test_a_schedule_of_a_kind_without_strength_needs_no_steps():
    assert Regularizer(l2=LAM, l1=0.0, schedule={"l1": Linear(3)}).bind(Problem().model).value() > 0
