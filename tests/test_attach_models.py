"""Penalties at an optimiser's step, on models with something special, and what is refused."""

from __future__ import annotations

import contextlib
import warnings

import pytest
import torch
from torch import nn
from torch.optim import LBFGS, SGD

from attaching import FORMS, LAM, LR, assert_same, every_form, make
from cases import TiedLanguageModel
from problem import Problem, zero_step
from shrinkwise.errors import DecayRoundingWarning, ModelError, SettingError, UnplacedParameterWarning
from shrinkwise.regularization.apply import Regularizer, decay_decoupled, param_groups
from shrinkwise.regularization.penalties import L2, Penalty
from shrinkwise.regularization.strength.schedules import Constant


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
@pytest.mark.filterwarnings("ignore:l2 acts on nothing")
def test_parametrised_layers_train_on_under_every_form(apply_to, wrap, form):
    problem = Problem(wrap=wrap, n_steps=60)
    optimizer = make("adam", problem.model.parameters())
    Regularizer(l2=1e-3, apply_to=apply_to).bind(problem.model).attach(optimizer, form=form)
    start = problem.loss().item()
    problem.train(optimizer)
    assert problem.loss().item() < start / 2
    assert all(torch.isfinite(weight).all() for weight in problem.weights)


def test_spectral_norm_leaves_nothing_to_shrink_in_its_weights():
    with pytest.warns(UnplacedParameterWarning, match="l2 acts on nothing"):
        assert Regularizer(l2=LAM).bind(Problem(wrap=spectral_normed).model).terms == ()


@pytest.mark.parametrize("kind", ["l1", "elastic_net", "group_lasso", "l2_sp"])
def test_what_is_more_than_a_norm_is_refused_on_a_magnitude(kind):
    """The weight's norm is that of its magnitude; its elements, and its distance to other weights, are not."""
    with pytest.raises(SettingError, match=rf"{kind} on 0\.weight: weight_norm"):
        Regularizer(**{kind: 0.1}).bind(Problem(wrap=weight_normed).model)


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
@pytest.mark.parametrize("way", ["attach", "decay_decoupled"])
def test_an_optimiser_wrapped_by_accelerate_is_the_one_inside(way):
    accelerate = pytest.importorskip("accelerate")
    ours, plain = Problem(), Problem()
    decay = LAM if way == "decay_decoupled" else 0.0
    accelerator = accelerate.Accelerator(cpu=True)
    model, optimizer = accelerator.prepare(ours.model, SGD(param_groups(ours.model, decay), lr=LR))
    if way == "attach":
        Regularizer(l2=LAM).bind(model).attach(optimizer)
    else:
        decay_decoupled(optimizer)
    assert_same(ours.train(optimizer), plain.train(SGD(param_groups(plain.model, LAM), lr=LR)))


@pytest.mark.parametrize("form", ["coupled", "decoupled", "proximal"])
def test_trap_3_parameters_that_were_replaced_after_attach_are_said_at_the_next_step(form):
    """Sharding after attach puts other parameters into the optimiser's groups, and nothing would act on them."""
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Regularizer(l2=0.1).bind(model).attach(optimizer, form=form)
    model.weight = nn.Parameter(model.weight.detach().clone())
    optimizer.param_groups[0]["params"][0] = model.weight
    model(torch.ones(1, 3)).sum().backward()
    with pytest.raises(SettingError, match=r"no longer holds 1 parameter \(weight\).*Bind and attach again"):
        optimizer.step()
