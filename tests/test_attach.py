"""Penalties at an optimiser's step: what each of the three forms computes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adam, AdamW

from attaching import FORMS, LAM, LR, OPTIMIZERS, assert_same, bound_to, every_form, every_kind, make
from problem import Problem, zero_step
from shrinkwise.regularization.apply import Regularizer, decay_decoupled, param_groups
from shrinkwise.regularization.penalties import GroupLasso, MaxNorm
from shrinkwise.regularization.strength.schedules import Constant


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


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_an_optimiser_that_maximises_is_pulled_toward_zero_too(optimizer):
    ours, theirs = Problem(), Problem()
    attached = optimizer(ours.model.parameters(), lr=0.01, maximize=True)
    Regularizer(l2=LAM).bind(ours.model).attach(attached)
    expected = theirs.train(optimizer(param_groups(theirs.model, LAM), lr=0.01, maximize=True))
    assert_same(ours.train(attached), expected)


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
        for term in sorted(penalty.terms, key=lambda term: term.penalty.prox_order):
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


@every_form
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("zero", [Regularizer(l2=0.0), Regularizer(), Regularizer(l2=LAM, l1=LAM, schedule=Constant(0))], ids=str)
def test_strength_zero_is_the_unregularised_run_to_the_last_bit(zero, optimizer, form):
    ours, plain = Problem(dtype=torch.float32), Problem(dtype=torch.float32)
    attached = make(optimizer, ours.model.parameters())
    zero.bind(ours.model).attach(attached, form=form)
    assert torch.equal(ours.train(attached), plain.train(make(optimizer, plain.model.parameters())))


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
