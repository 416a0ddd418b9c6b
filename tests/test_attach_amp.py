"""Mixed precision: scaled gradients, fused optimisers, half-precision weights."""

from __future__ import annotations

import warnings
from functools import partial

import pytest
import torch
from torch import nn

import shrinkwise as sw
from problem import Problem
from shrinkwise.errors import DecayRoundingWarning
from shrinkwise.regularization.strength.schedules import Cosine

LAM, LR, STEPS = 0.3, 0.05, 10
MAKERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": partial(torch.optim.AdamW, weight_decay=0.0)}
FUSED = {"fused": {"fused": True}, "foreach": {"foreach": True}, "plain": {"foreach": False}}


def scaled_training(optimizer, problem, scaler, *, term=lambda: 0, unscale=False, skip_at=()):
    """Train as the documentation of GradScaler says; at the steps named the gradients are infinite."""
    for step in range(STEPS):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = problem.loss()
        scaler.scale(loss + term()).backward()
        if step in skip_at:
            next(problem.model.parameters()).grad.fill_(torch.inf)
        if unscale:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(problem.model.parameters(), 0.5)
        scaler.step(optimizer)
        scaler.update()
    return problem.vector


def run(form, maker, options, **how):
    problem = Problem(dtype=torch.float32)
    make = MAKERS[maker]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    if form == "own":
        return scaled_training(make(sw.param_groups(problem.model, LAM), lr=LR, **options), problem, scaler, **how)
    optimizer = make(problem.model.parameters(), lr=LR, **options)
    bound = sw.Regularizer(l2=LAM).bind(problem.model)
    if form == "in_loss":
        return scaled_training(optimizer, problem, scaler, term=bound.penalty, **how)
    bound.attach(optimizer, form=form)
    return scaled_training(optimizer, problem, scaler, **how)


@pytest.mark.parametrize("skip_at", [(), (0, 4)], ids=["every_step", "infinite_gradients"])
@pytest.mark.parametrize("unscale", [False, True], ids=["scaled", "unscaled_and_clipped"])
@pytest.mark.parametrize("options", FUSED.values(), ids=FUSED)
@pytest.mark.parametrize("maker", ["sgd", "adam"])
def test_trap_4_under_a_grad_scaler_coupled_attach_is_the_optimisers_own_decay(maker, options, unscale, skip_at):
    """A fused optimiser's hooks see gradients that are still scaled; the penalty must be scaled like them."""
    own, attached = (run(form, maker, options, unscale=unscale, skip_at=skip_at) for form in ("own", "coupled"))
    torch.testing.assert_close(attached, own, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("skip_at", [(), (0, 4)], ids=["every_step", "infinite_gradients"])
@pytest.mark.parametrize("options", FUSED.values(), ids=FUSED)
def test_under_a_grad_scaler_decoupled_attach_is_adamw(options, skip_at):
    own = run("own", "adamw", options, skip_at=skip_at)
    attached = run("decoupled", "adamw", options, skip_at=skip_at)
    torch.testing.assert_close(attached, own, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("options", FUSED.values(), ids=FUSED)
def test_trap_4b_a_penalty_in_the_loss_is_scaled_with_it(options):
    own, in_loss = (run(form, "sgd", options) for form in ("own", "in_loss"))
    torch.testing.assert_close(in_loss, own, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("options", FUSED.values(), ids=FUSED)
@pytest.mark.parametrize("form", ["coupled", "decoupled", "proximal"])
def test_a_step_that_the_scaler_skips_changes_nothing_and_is_not_counted(form, options):
    problem = Problem(dtype=torch.float32)
    optimizer = torch.optim.SGD(problem.model.parameters(), lr=LR, **options)
    reg = sw.Regularizer(l2=LAM, schedule=Cosine(100))
    reg.bind(problem.model).attach(optimizer, form=form)
    before = problem.vector
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    scaler.scale(problem.loss()).backward()
    next(problem.model.parameters()).grad.fill_(torch.inf)
    scaler.step(optimizer)
    assert torch.equal(problem.vector, before)
    assert optimizer.param_groups[0].get("shrinkwise_step", 0) == 0


def test_dropout_steps_do_not_count_what_a_fused_optimiser_left_out():
    model = nn.Sequential(nn.Linear(3, 3), sw.Dropout(0.5))
    sw.place_dropout(model, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, fused=True)
    sw.count_steps(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(model(torch.full((2, 3), torch.inf)).sum()).backward()
    scaler.step(optimizer)
    assert model[1].step == 1


@pytest.mark.parametrize("form", ["coupled", "decoupled"])
def test_bfloat16_weights_are_decayed_as_torch_decays_them(form):
    maker = MAKERS["sgd" if form == "coupled" else "adamw"]
    own, attached = Problem(dtype=torch.bfloat16), Problem(dtype=torch.bfloat16)
    theirs = maker(sw.param_groups(own.model, 1.0), lr=0.1)
    ours = maker(attached.model.parameters(), lr=0.1)
    sw.Regularizer(l2=1.0).bind(attached.model).attach(ours, form=form)
    for _ in range(5):
        for problem, optimizer in ((own, theirs), (attached, ours)):
            optimizer.zero_grad()
            problem.loss().backward()
            optimizer.step()
    assert torch.equal(own.vector, attached.vector)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_trap_5_decay_that_rounds_to_nothing_is_said_once(dtype):
    """In half precision 1 − lr·lam can round to 1: then the weights never shrink, and nobody is told."""
    model = nn.Linear(4, 4).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    sw.Regularizer(l2=1e-2).bind(model).attach(optimizer, form="decoupled")
    before = model.weight.detach().clone()
    model.weight.grad = torch.zeros_like(model.weight)
    with pytest.warns(DecayRoundingWarning, match="1e-05 of itself"):
        optimizer.step()
    optimizer.step()
    assert torch.equal(model.weight, before)


def test_trap_5_decay_that_is_kept_needs_no_warning():
    model = nn.Linear(4, 4).bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sw.Regularizer(l2=0.1).bind(model).attach(optimizer, form="decoupled")
    model.weight.grad = torch.zeros_like(model.weight)
    before = model.weight.detach().clone()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
    assert (model.weight.abs() < before.abs()).any()
