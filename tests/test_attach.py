"""Penalties at an optimiser's step: the three forms, under every kind of optimiser and loop."""

from __future__ import annotations

import contextlib
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import LBFGS, SGD, Adam, AdamW, RMSprop

from cases import TiedLanguageModel
from problem import Problem, reference, zero_step
from shrinkwise.errors import DecayRoundingWarning, ModelError, SettingError
from shrinkwise.regularization.apply import Regularizer, decay_decoupled, param_groups
from shrinkwise.regularization.penalties import L2, L2SP, ElasticNet, GroupLasso, MaxNorm, Penalty
from shrinkwise.regularization.strength.schedules import Constant

LR, LAM = 0.1, 0.2
FORMS = ("coupled", "decoupled", "proximal")

REGULARIZERS = {
    "l2": lambda model: Regularizer(l2=LAM),
    "l2_on_all": lambda model: Regularizer(l2=LAM, apply_to="all"),
    "l2_by_layer": lambda model: Regularizer(l2={"0": 0.3, "3": 0.05, "*.bias": 0.02}),
    "l1": lambda model: Regularizer(l1=0.02),
    "elastic_net": lambda model: Regularizer(elastic_net=ElasticNet(0.1, ratio=0.3)),
    "group_lasso": lambda model: Regularizer(group_lasso=0.01),
    "group_lasso_by_columns": lambda model: Regularizer(group_lasso=GroupLasso(0.01, "columns")),
    "l2_sp": lambda model: Regularizer(l2_sp=L2SP(LAM, reference(model))),
    "l2_sp_from_the_start": lambda model: Regularizer(l2_sp={"0": LAM}),
    "several": lambda model: Regularizer(l2=LAM, l1={"3": 0.01}, group_lasso={"0": 0.005}, l2_sp=L2SP(0.1, reference(model))),
}
every_kind = pytest.mark.parametrize("kind", REGULARIZERS)
every_form = pytest.mark.parametrize("form", FORMS)

OPTIMIZERS = {
    "sgd": (SGD, {}),
    "momentum": (SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (Adam, {}),
    "adam_for_loop": (Adam, {"foreach": False, "amsgrad": True}),
    "adamw": (AdamW, {"weight_decay": 0.0, "foreach": True}),
    "rmsprop": (RMSprop, {"alpha": 0.9}),
}


def make(name, parameters, lr=0.05):
    kind, options = OPTIMIZERS[name]
    return kind(parameters, lr=lr, **options)


def bound_to(problem, kind):
    return REGULARIZERS[kind](problem.model).bind(problem.model)


def assert_same(one, other):
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@every_kind
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_coupled_is_the_penalty_in_the_loss(optimizer, kind):
    ours, textbook, plain = Problem(), Problem(), Problem()
    attached = make(optimizer, ours.model.parameters())
    bound_to(ours, kind).attach(attached)
    result = ours.train(attached)
    assert_same(result, textbook.train(make(optimizer, textbook.model.parameters()), bound_to(textbook, kind).penalty))
    assert (result - plain.train(make(optimizer, plain.model.parameters()))).abs().max() > 1e-3


@given(lam=st.floats(0, 5), lr=st.floats(1e-6, 0.3))
@settings(max_examples=25)
def test_coupled_is_the_penalty_in_the_loss_at_any_strength_and_rate(lam, lr):
    results = []
    for is_attached in (True, False):
        problem = Problem(n_steps=4)
        optimizer = SGD(problem.model.parameters(), lr=lr)
        bound = Regularizer(l2=lam, elastic_net={"0": lam / 3}).bind(problem.model)
        if is_attached:
            bound.attach(optimizer)
        results.append(problem.train(optimizer, (lambda: 0) if is_attached else bound.penalty))
    assert_same(*results)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"foreach": True}, {"foreach": False}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coupled_l2_is_the_weight_decay_of_sgd(options, dtype):
    ours, theirs = Problem(dtype=dtype), Problem(dtype=dtype)
    optimizer = SGD(ours.model.parameters(), lr=LR, **options)
    Regularizer(l2=LAM).bind(ours.model).attach(optimizer)
    expected = theirs.train(SGD(param_groups(theirs.model, LAM), lr=LR, **options))
    torch.testing.assert_close(ours.train(optimizer), expected, rtol=1e-5 if dtype is torch.float32 else 1e-12, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"foreach": True}, {"foreach": False}, {"amsgrad": True}, {"lr": torch.tensor(LR), "foreach": False}], ids=str
)
def test_decoupled_l2_under_adam_is_adamw_to_the_last_bit(options):
    options = {"lr": LR, **options}
    ours, theirs, other = (Problem(dtype=torch.float32) for _ in range(3))
    optimizer = Adam(ours.model.parameters(), **options)
    Regularizer(l2=LAM).bind(ours.model).attach(optimizer, form="decoupled")
    result = ours.train(optimizer)
    assert torch.equal(result, theirs.train(AdamW(param_groups(theirs.model, LAM), **options)))
    taken_over = Adam(param_groups(other.model, LAM), **options)
    decay_decoupled(taken_over)
    assert torch.equal(result, other.train(taken_over))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_decoupled_l2_is_decay_decoupled_to_the_last_bit(optimizer):
    ours, theirs = Problem(dtype=torch.float32), Problem(dtype=torch.float32)
    attached = make(optimizer, ours.model.parameters())
    Regularizer(l2=LAM).bind(ours.model).attach(attached, form="decoupled")
    taken_over = make(optimizer, param_groups(theirs.model, LAM))
    decay_decoupled(taken_over)
    assert torch.equal(ours.train(attached), theirs.train(taken_over))


@every_kind
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_decoupled_is_a_step_of_length_lr_on_the_penalty_alone(optimizer, kind):
    ours, by_hand = Problem(), Problem()
    attached = make(optimizer, ours.model.parameters())
    bound_to(ours, kind).attach(attached, form="decoupled")

    plain, penalty = make(optimizer, by_hand.model.parameters()), bound_to(by_hand, kind)
    for _ in range(by_hand.n_steps):
        by_hand.backward(plain)
        for term in penalty.terms:  # kinds act one after another
            weight = term.placement.parameter
            (gradient,) = torch.autograd.grad(term.penalty.value(weight), weight)
            with torch.no_grad():
                weight -= plain.param_groups[0]["lr"] * gradient
        plain.step()
    assert_same(ours.train(attached), by_hand.vector)


@every_kind
def test_proximal_is_the_operator_after_a_plain_step(kind):
    ours, by_hand = Problem(), Problem()
    attached = make("sgd", ours.model.parameters())
    bound_to(ours, kind).attach(attached, form="proximal")
    plain, penalty = make("sgd", by_hand.model.parameters()), bound_to(by_hand, kind)

    def prox():
        for term in penalty.terms:
            term.penalty.prox_(term.placement.parameter, plain.param_groups[0]["lr"])

    assert_same(ours.train(attached), by_hand.train(plain, prox=prox))


def test_proximal_l1_is_ista_and_ends_at_the_lasso():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 12, dtype=torch.float64, generator=generator)
    y = x[:, :3] @ torch.tensor([3.0, -2.0, 1.0], dtype=torch.float64) + 0.1 * torch.randn(
        60, dtype=torch.float64, generator=generator
    )
    lam, lr = 0.3, 0.2
    model = nn.Linear(12, 1, bias=False, dtype=torch.float64)
    optimizer = SGD(model.parameters(), lr=lr)
    Regularizer(l1=lam).bind(model).attach(optimizer, form="proximal")
    w = model.weight.detach().clone().squeeze()
    for _ in range(300):
        optimizer.zero_grad()
        ((model(x).squeeze() - y).square().mean() / 2).backward()
        optimizer.step()
        ahead = w - lr * x.T @ (x @ w - y) / 60
        w = ahead.sign() * (ahead.abs() - lr * lam).clamp(min=0)
        assert_same(model.weight.detach().squeeze(), w)
    slopes = x.T @ (x @ w - y) / 60
    is_zero = model.weight.detach().squeeze() == 0
    assert is_zero.sum() == 9
    assert (slopes[is_zero].abs() < lam).all()
    torch.testing.assert_close(slopes[~is_zero], -lam * w[~is_zero].sign())


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_proximal_gives_exact_zeros_and_a_gradient_does_not(optimizer):
    for make_regularizer, zeros in (
        (lambda: Regularizer(l1=2.0), lambda weight: weight == 0),
        (lambda: Regularizer(group_lasso=2.0), lambda weight: (weight == 0).all(dim=1)),
        (lambda: Regularizer(group_lasso=GroupLasso(2.0, "columns")), lambda weight: (weight == 0).all(dim=0)),
    ):
        for form in FORMS:
            problem = Problem(n_steps=80)
            attached = make(optimizer, problem.model.parameters())
            make_regularizer().bind(problem.model).attach(attached, form=form)
            problem.train(attached)
            found = sum(zeros(weight).sum() for weight in problem.weights)
            assert (found > 0) == (form == "proximal"), (form, found)


@every_form
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_constraint_holds_after_each_step_beside_a_penalty(optimizer, form):
    problem = Problem()
    attached = make(optimizer, problem.model.parameters())
    Regularizer(l2=0.01, max_norm={"0": 0.5, "3": MaxNorm(0.7, dim=1)}).bind(problem.model).attach(attached, form=form)
    reached = []

    def check():
        first, last = problem.weights
        assert first.norm(dim=1).max() <= 0.5
        assert last.norm(dim=0).max() <= 0.7
        reached.append(first.norm(dim=1).max().item() > 0.499)

    problem.train(attached, check=check)
    assert any(reached)


def test_each_parameter_moves_by_the_rate_of_its_own_group():
    problem = Problem()
    first, last = problem.weights
    rest = [p for p in problem.model.parameters() if p is not first and p is not last]
    for form, shrunk in (("decoupled", lambda lr: 1 - lr * LAM), ("proximal", lambda lr: 1 / (1 + lr * LAM))):
        before = first.detach().clone(), last.detach().clone()
        optimizer = SGD([{"params": rest}, {"params": [first], "lr": 0.3}, {"params": [last], "lr": 0.01}], lr=0.1)
        handle = Regularizer(l2=LAM).bind(problem.model).attach(optimizer, form=form)
        zero_step(optimizer)
        handle.remove()
        torch.testing.assert_close(first.detach(), before[0] * shrunk(0.3))
        torch.testing.assert_close(last.detach(), before[1] * shrunk(0.01))


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


@every_form
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("zero", [Regularizer(l2=0.0), Regularizer(), Regularizer(l2=LAM, l1=LAM, schedule=Constant(0))], ids=str)
def test_strength_zero_is_the_unregularised_run_to_the_last_bit(zero, optimizer, form):
    ours, plain = Problem(dtype=torch.float32), Problem(dtype=torch.float32)
    attached = make(optimizer, ours.model.parameters())
    zero.bind(ours.model).attach(attached, form=form)
    assert torch.equal(ours.train(attached), plain.train(make(optimizer, plain.model.parameters())))


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


@every_kind
@pytest.mark.parametrize("use", ["fresh", "penalty", *FORMS])
def test_value_is_the_penalty_written_out_however_it_acts(use, kind):
    problem = Problem()
    bound = bound_to(problem, kind)
    optimizer = SGD(problem.model.parameters(), lr=LR)
    if use in FORMS:
        bound.attach(optimizer, form=use)
    problem.train(optimizer, bound.penalty if use == "penalty" else lambda: 0, n_steps=3)
    by_kind = {}
    for term in bound.terms:
        by_kind[term.kind] = by_kind.get(term.kind, 0.0) + term.penalty.value(term.placement.parameter).item()
    assert bound.values() == pytest.approx(by_kind, rel=1e-12)
    assert bound.value() == pytest.approx(sum(by_kind.values()), rel=1e-12)
    assert isinstance(bound.value(), float)


def test_value_has_no_part_for_a_constraint():
    bound = Regularizer(l2=2.0, max_norm=1e-3).bind(nn.Linear(2, 2))
    assert list(bound.values()) == ["l2"]
    assert bound.value() == bound.values()["l2"]
    assert Regularizer().bind(nn.Linear(2, 2)).values() == {}
    assert Regularizer(max_norm=1.0).bind(nn.Linear(2, 2)).value() == 0


@every_form
@pytest.mark.parametrize("is_head_first", [False, True])
def test_trap_1_a_tied_weight_is_penalised_once(is_head_first, form):
    model = TiedLanguageModel(is_head_first=is_head_first)
    optimizer = SGD(model.parameters(), lr=LR)
    Regularizer(l2={"embedding": LAM}).bind(model).attach(optimizer, form=form)
    before = model.head.weight.detach().clone()
    zero_step(optimizer)
    factor = 1 / (1 + LR * LAM) if form == "proximal" else 1 - LR * LAM
    torch.testing.assert_close(model.head.weight.detach(), before * factor)


def weight_normed(model):
    for i in (0, 3):
        nn.utils.parametrizations.weight_norm(model[i])
    return model


def spectral_normed(model):
    for i in (0, 3):
        nn.utils.parametrizations.spectral_norm(model[i])
    return model


@every_form
def test_under_weight_norm_the_weight_that_acts_shrinks_as_a_plain_one(form):
    problem = Problem(wrap=weight_normed)
    bound = Regularizer(l2=LAM).bind(problem.model)
    assert {term.placement.name for term in bound.terms} == {f"{i}.parametrizations.weight.original0" for i in (0, 3)}
    optimizer = SGD(problem.model.parameters(), lr=LR)
    bound.attach(optimizer, form=form)
    before = problem.model[0].weight.detach().clone()
    squares = sum(weight.detach().square().sum().item() for weight in problem.weights)
    assert bound.value() == pytest.approx(LAM / 2 * squares)
    zero_step(optimizer)
    factor = 1 / (1 + LR * LAM) if form == "proximal" else 1 - LR * LAM
    torch.testing.assert_close(problem.model[0].weight.detach(), before * factor)


@every_form
@pytest.mark.parametrize("wrap", [weight_normed, spectral_normed])
@pytest.mark.parametrize("apply_to", ["weights", "all"])
def test_parametrised_layers_train_on_under_every_form(apply_to, wrap, form):
    problem = Problem(wrap=wrap, n_steps=60)
    optimizer = make("adam", problem.model.parameters())
    Regularizer(l2=1e-3, l1=1e-4, apply_to=apply_to).bind(problem.model).attach(optimizer, form=form)
    start = problem.loss().item()
    problem.train(optimizer)
    assert problem.loss().item() < start / 2
    assert all(torch.isfinite(weight).all() for weight in problem.weights)


def test_spectral_norm_leaves_nothing_to_shrink_in_its_weights():
    assert Regularizer(l2=LAM).bind(Problem(wrap=spectral_normed).model).terms == ()


def test_lazy_modules_have_groups_at_once_and_a_regularizer_after_the_first_input():
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
    optimizer = SGD(param_groups(model, LAM), lr=LR)
    with pytest.raises(ModelError, match=r"0\.weight has no shape yet.*Run the model once"):
        Regularizer(l2=LAM).bind(model)
    model(torch.ones(1, 3))
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 2]
    before = model[0].weight.detach().clone()
    zero_step(optimizer)
    torch.testing.assert_close(model[0].weight.detach(), before * (1 - LR * LAM))
    optimizer = SGD(model.parameters(), lr=LR)
    Regularizer(l2=LAM).bind(model).attach(optimizer)
    zero_step(optimizer)
    torch.testing.assert_close(model[0].weight.detach(), before * (1 - LR * LAM) ** 2)


def test_a_regularizer_that_leaves_lazy_modules_free_can_be_bound_before_the_first_input():
    model = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
    assert [term.placement.name for term in Regularizer(l2={"1": LAM}).bind(model).terms] == ["1.weight"]


@pytest.mark.parametrize("form", FORMS)
def test_sparse_gradients_are_refused_where_a_penalty_would_fill_them(form):
    model = nn.Embedding(4, 2, sparse=True)
    optimizer = SGD(model.parameters(), lr=LR)
    Regularizer(l2={"embedding": LAM}).bind(model).attach(optimizer, form=form)
    before = model.weight.detach().clone()
    (0 * model(torch.tensor([1]))).sum().backward()
    if form == "coupled":
        with pytest.raises(SettingError, match=r"sparse gradients.*decay_rows"):
            optimizer.step()
    else:
        optimizer.step()
        torch.testing.assert_close(model.weight.detach(), before * (1 - LR * LAM), rtol=1e-3, atol=0)


@pytest.mark.parametrize("lr", [1e-9, 1e-3])
def test_trap_5_a_decay_that_rounds_to_nothing_is_said_once_and_only_where_a_wider_dtype_would_mend_it(lr):
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        weight = nn.Linear(3, 3, dtype=dtype)
        optimizer = SGD(weight.parameters(), lr=lr)
        Regularizer(l2=0.1).bind(weight).attach(optimizer, form="decoupled")
        is_narrow = torch.finfo(dtype).bits < 32
        with pytest.warns(DecayRoundingWarning, match="Keep the weights") if is_narrow else contextlib.nullcontext():
            zero_step(optimizer)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            zero_step(optimizer)


class Bare(Penalty):
    """A penalty of somebody's own: the sum of fourth powers, without a prox."""

    kind = "l2"
    strength = 1.0

    def value(self, weight):
        return weight.pow(4).sum()

    def add_grad_(self, weight, grad, scale=1.0):
        grad.add_(weight**3, alpha=4 * scale)


def test_a_penalty_of_ones_own_acts_as_those_of_the_package():
    ours, textbook = Problem(), Problem()
    optimizer = SGD(ours.model.parameters(), lr=0.01)
    Regularizer(l2=Bare()).bind(ours.model).attach(optimizer)
    expected = textbook.train(SGD(textbook.model.parameters(), lr=0.01), Regularizer(l2=Bare()).bind(textbook.model).penalty)
    assert_same(ours.train(optimizer), expected)


def test_mistakes_are_said_before_anything_is_attached():
    problem = Problem()
    optimizer = SGD(problem.model.parameters(), lr=LR)
    bound = Regularizer(l2=LAM).bind(problem.model)
    for attach, message in (
        (lambda: bound.attach(optimizer, form="decopled"), "Did you mean 'decoupled'"),
        (lambda: bound.attach(), "got no optimiser"),
        (lambda: bound.attach(SGD(problem.model[0].parameters(), lr=LR)), r"lacks 1 parameter \(3.weight\)"),
        (lambda: bound.attach(SGD([torch.zeros(2)], lr=LR)), r"lacks 2 parameters \(0.weight, 3.weight\)"),
        (lambda: bound.attach(LBFGS(problem.model.parameters()), form="decoupled"), "with LBFGS"),
        (lambda: bound.attach(LBFGS(problem.model.parameters()), form="proximal"), "with LBFGS"),
        (lambda: Regularizer(l2=Bare()).bind(problem.model).attach(optimizer, form="proximal"), "no such operator"),
        (lambda: Regularizer(max_norm=1.0).bind(problem.model).penalty(), "penalty.. was asked of max_norm"),
    ):
        with pytest.raises(SettingError, match=message):
            attach()
    for wrong in (problem.model, None, SGD):
        with pytest.raises(ModelError, match="step hooks of a torch optimiser"):
            bound.attach(wrong)
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_a_penalty_in_the_slot_of_another_kind_is_refused():
    with pytest.raises(SettingError, match=r"l1 is L2.*give it as l2=|l1 is L2.*Give it as l2="):
        Regularizer(l1=L2(0.1))
    with pytest.raises(SettingError, match="Did you mean 'l2_sp'"):
        Regularizer(l2=0.1, schedule={"l2sp": Constant()})
    with pytest.raises(SettingError, match="limit is 0"):
        Regularizer(max_norm=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # accelerate's own, on import
def test_an_optimiser_wrapped_by_accelerate_is_the_one_inside():
    accelerate = pytest.importorskip("accelerate")
    ours, plain = Problem(), Problem()
    accelerator = accelerate.Accelerator(cpu=True)
    model, optimizer = accelerator.prepare(ours.model, SGD(ours.model.parameters(), lr=LR))
    Regularizer(l2=LAM).bind(model).attach(optimizer)
    assert_same(ours.train(optimizer), plain.train(SGD(param_groups(plain.model, LAM), lr=LR)))
