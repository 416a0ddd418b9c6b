"""Penalties at an optimiser's step, in every kind of training loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import LBFGS, SGD

from attaching import LAM, LR, assert_same, bound_to, every_form, every_kind, make
from problem import Problem, zero_step
from shrinkwise.regularization.apply import Regularizer
from shrinkwise.regularization.strength.schedules import Constant


@every_kind
@every_form
def test_several_optimisers_share_a_model(form, kind):
    ours, single = Problem(), Problem()
    one = make("adam", single.model.parameters())
    bound_to(single, kind).attach(one, form=form)
    two = make("adam", ours.model[0].parameters()), make("adam", ours.model[2:].parameters())
    bound_to(ours, kind).attach(*two, form=form)
    for _ in range(ours.n_steps):
        for optimizer in two:
            optimizer.zero_grad()
        ours.loss().backward()
        for optimizer in two:
            optimizer.step()
    assert_same(ours.vector, single.train(one))


@every_form
@every_kind
def test_trap_6_no_gradient_is_no_penalty_and_a_zero_gradient_is_one(form, kind):
    problem = Problem()
    optimizer = SGD(problem.model.parameters(), lr=LR)
    bound = bound_to(problem, kind)
    bound.attach(optimizer, form=form)
    before = [p.detach().clone() for p in problem.model.parameters()]
    optimizer.step()
    assert all(torch.equal(p, old) for p, old in zip(problem.model.parameters(), before, strict=True))
    with torch.no_grad():  # away from a reference that is the start
        before = {id(p): p.mul_(1.5).clone() for p in problem.model.parameters()}
    zero_step(optimizer)
    penalised = {id(placement.parameter) for placement in bound.placements}
    for parameter in problem.model.parameters():
        # An element at 0, as biases of a norm are, stays there.
        moved = not torch.equal(parameter, before[id(parameter)])
        assert moved == (id(parameter) in penalised and bool(before[id(parameter)].any()))


@every_form
def test_a_frozen_parameter_is_left_alone(form):
    problem = Problem()
    problem.model[0].requires_grad_(False)
    bound = Regularizer(l2=LAM, l1=0.1, apply_to="all").bind(problem.model)
    optimizer = SGD(problem.model.parameters(), lr=LR)
    bound.attach(optimizer, form=form)
    before = problem.model[0].weight.clone(), problem.model[3].weight.detach().clone()
    problem.train(optimizer)
    assert torch.equal(problem.model[0].weight, before[0])
    assert not torch.equal(problem.model[3].weight, before[1])
    assert all(not placement.is_frozen for placement in bound.placements)


def test_a_parameter_that_is_frozen_later_stays_where_it_is():
    problem = Problem()
    optimizer = SGD(problem.model.parameters(), lr=LR)
    Regularizer(l2=LAM).bind(problem.model).attach(optimizer)
    problem.train(optimizer, n_steps=2)
    problem.model[0].requires_grad_(False)
    optimizer.zero_grad()
    before = problem.model[0].weight.clone()
    problem.train(optimizer, n_steps=2)
    assert torch.equal(problem.model[0].weight, before)


@every_form
def test_trap_4b_accumulation_counts_the_penalty_once_a_step(form):
    n = 4
    ours, whole = Problem(), Problem()
    results = []
    for problem, parts in ((ours, [slice(i * 10, (i + 1) * 10) for i in range(n)]), (whole, [slice(None)])):
        optimizer = SGD(problem.model.parameters(), lr=LR, momentum=0.9)
        Regularizer(l2=LAM, l1=0.01).bind(problem.model).attach(optimizer, form=form)
        for _ in range(10):
            optimizer.zero_grad()
            for part in parts:
                (problem.loss(part) / len(parts)).backward()
            optimizer.step()
        results.append(problem.vector)
    assert_same(*results)


def test_trap_4b_the_whole_divided_by_the_number_of_batches_counts_once_in_the_loss():
    n = 4
    ours, whole = Problem(), Problem()
    bound = Regularizer(l2=LAM).bind(ours.model)
    optimizer = SGD(ours.model.parameters(), lr=LR)
    for _ in range(whole.n_steps):
        optimizer.zero_grad()
        for i in range(n):
            ((ours.loss(slice(i * 10, (i + 1) * 10)) + bound.penalty()) / n).backward()
        optimizer.step()
    expected = whole.train(SGD(whole.model.parameters(), lr=LR), Regularizer(l2=LAM).bind(whole.model).penalty)
    assert_same(ours.vector, expected)


def test_trap_4_a_hook_acts_after_clipping_and_a_penalty_in_the_loss_before_it():
    limit = 1e-3
    hooked, in_loss = Problem(), Problem()
    optimizer = SGD(hooked.model.parameters(), lr=1.0)
    Regularizer(l2=LAM).bind(hooked.model).attach(optimizer)
    hooked.backward(optimizer)
    nn.utils.clip_grad_norm_(hooked.model.parameters(), limit)
    clipped = hooked.weights[0].grad.clone()
    before = hooked.weights[0].detach().clone()
    optimizer.step()
    torch.testing.assert_close(hooked.weights[0].detach(), before - clipped - LAM * before)

    optimizer = SGD(in_loss.model.parameters(), lr=1.0)
    before = in_loss.vector
    in_loss.backward(optimizer, Regularizer(l2=LAM).bind(in_loss.model).penalty)
    nn.utils.clip_grad_norm_(in_loss.model.parameters(), limit)
    optimizer.step()
    assert (in_loss.vector - before).norm() == pytest.approx(limit, rel=1e-3)


@pytest.mark.parametrize("is_keyword", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "rmsprop"])
@every_form
def test_trap_4_a_closure_that_wipes_gradients_loses_no_penalty(form, optimizer, is_keyword):
    ours, plain = Problem(), Problem()
    attached = make(optimizer, ours.model.parameters())
    Regularizer(l2=LAM, l1=0.01).bind(ours.model).attach(attached, form=form)
    losses = []
    for _ in range(ours.n_steps):
        arguments = {"closure": lambda: ours.backward(attached)} if is_keyword else {}
        losses.append(attached.step(**arguments) if is_keyword else attached.step(lambda: ours.backward(attached)))
    without = make(optimizer, plain.model.parameters())
    Regularizer(l2=LAM, l1=0.01).bind(plain.model).attach(without, form=form)
    data_losses = []
    for _ in range(plain.n_steps):
        data_losses.append(plain.backward(without).item())
        without.step()
    assert_same(ours.vector, plain.vector)
    assert [loss.item() for loss in losses] == pytest.approx(data_losses)  # what step returns is the data loss


@every_form
def test_trap_12_the_data_loss_and_the_penalty_are_told_apart(form):
    problem = Problem()
    optimizer = SGD(problem.model.parameters(), lr=LR)
    bound = Regularizer(l2=LAM, l1=0.01).bind(problem.model)
    bound.attach(optimizer, form=form)
    data_loss = problem.loss().item()
    penalty = bound.value()
    assert optimizer.step(lambda: problem.backward(optimizer)).item() == data_loss
    assert set(bound.values()) == {"l2", "l1"}
    assert bound.value() < penalty


def test_a_closure_may_return_what_its_optimiser_takes():
    problem = Problem()
    optimizer = SGD(problem.model.parameters(), lr=LR)
    Regularizer(l2=LAM).bind(problem.model).attach(optimizer)
    assert optimizer.step(lambda: None) is None
    assert optimizer.step(lambda: (problem.backward(optimizer), "more"))[1] == "more"
    problem.backward(optimizer)
    optimizer.step(None)


@pytest.mark.parametrize("kind", ["l2", "l2_on_all", "elastic_net", "l2_sp", "l2_by_layer", "several"])
@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_trap_4_lbfgs_minimises_the_penalised_loss(search, kind):
    results, losses = [], []
    for is_attached in (True, False):
        problem = Problem()
        optimizer = LBFGS(problem.model.parameters(), lr=0.5 if search is None else 1.0, max_iter=8, line_search_fn=search)
        bound = bound_to(problem, kind)
        if is_attached:
            bound.attach(optimizer)
        penalty = (lambda: 0) if is_attached else bound.penalty
        for _ in range(4):
            loss = optimizer.step(lambda: problem.backward(optimizer, penalty))  # noqa: B023  called within the round
            losses.append(float(loss))
        results.append(problem.vector)
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-7)
    assert losses[:4] == pytest.approx(losses[4:])


@every_form
def test_remove_ends_it_and_a_second_remove_does_nothing(form):
    ours, plain = Problem(), Problem()
    optimizer = SGD(ours.model.parameters(), lr=LR)
    bound = Regularizer(l2=LAM, max_norm=0.3, schedule=Constant()).bind(ours.model)
    handle = bound.attach(optimizer, form=form)
    handle.remove()
    handle.remove()
    assert torch.equal(ours.train(optimizer), plain.train(SGD(plain.model.parameters(), lr=LR)))
    bound.attach(optimizer, form=form)
    ours.train(optimizer)
    assert ours.weights[0].norm(dim=1).max() <= 0.3


def largest_allocation(act):
    """Return the bytes of the largest block that the CPU allocator gives out while ``act`` runs."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        act()
    return max((event.self_cpu_memory_usage for event in profile.events()), default=0)


@pytest.mark.filterwarnings("ignore:Profiler clears events:UserWarning")  # torch says so of every profile without a schedule
@pytest.mark.parametrize("form", ["coupled", "decoupled"])
def test_l2_allocates_nothing_of_the_weights_size_and_makes_no_graph(form):
    model = nn.Linear(300, 200)
    optimizer = SGD(model.parameters(), lr=LR)
    Regularizer(l2=LAM).bind(model).attach(optimizer, form=form)
    model(torch.ones(300)).sum().backward()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda index: None):
        grown = largest_allocation(optimizer.step)
    assert grown < model.weight.nbytes / 10
    assert not kept
    assert model.weight.is_leaf
    assert not model.weight.grad.requires_grad
    # The measure sees a copy where there is one.
    assert largest_allocation(lambda: model.weight.detach() * 2) > 0.9 * model.weight.nbytes
