"""Step hooks act once a step, whoever calls whom, and never on nothing."""

from __future__ import annotations

import contextlib
import gc

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

import shrinkwise as sw
from shrinkwise.errors import SettingError
from shrinkwise.regularization.strength.schedules import Constant


class Inheriting(SGD):
    """As people write it: something of their own, and the parent's step."""

    def step(self, closure=None):
        return super().step(closure)


class EvaluatesTwice(SGD):
    """Looks at the loss again after its step, as an optimiser with a line search does."""

    def step(self, closure=None):
        loss = super().step(closure)
        closure()
        return loss


def one_step(optimizer, model, closure=False):
    def evaluate():
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        return torch.zeros(())

    if closure:
        optimizer.step(evaluate)
    else:
        evaluate()
        optimizer.step()


def ones():
    model = nn.Linear(2, 2, bias=False)
    nn.init.ones_(model.weight)
    return model


@pytest.fixture(autouse=True)
def parents_were_built():
    """torch adds its hooks to a class when an optimiser of it is first built: also to the parents of our own."""
    SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    AdamW([nn.Parameter(torch.ones(1))], lr=1.0)


@pytest.mark.parametrize("closure", [False, True], ids=["plain", "closure"])
@pytest.mark.parametrize(("form", "kept"), [("coupled", 0.9), ("decoupled", 0.9), ("proximal", 1 / 1.1)])
def test_a_step_that_calls_its_parents_step_is_one_step(form, kept, closure):
    model = ones()
    optimizer = Inheriting(model.parameters(), lr=0.1)
    sw.Regularizer(l2=1.0, schedule=Constant(1.0)).bind(model).attach(optimizer, form=form)
    one_step(optimizer, model, closure)
    torch.testing.assert_close(model.weight.detach(), torch.full((2, 2), kept))
    assert optimizer.param_groups[0]["shrinkwise_step"] == 1


def test_decoupled_decay_and_counted_steps_are_one_under_inheritance():
    model = nn.Sequential(ones(), sw.Dropout(0.5))
    sw.place_dropout(model, seed=0)
    optimizer = Inheriting(sw.param_groups(model, 1.0), lr=0.1)
    sw.decay_decoupled(optimizer)
    sw.count_steps(model, optimizer)
    one_step(optimizer, model)
    torch.testing.assert_close(model[0].weight.detach(), torch.full((2, 2), 0.9))
    assert model[1].step == 2


def test_a_step_that_ended_in_an_exception_leaves_nothing_behind():
    model = ones()
    optimizer = Inheriting(model.parameters(), lr=0.1)
    sw.Regularizer(l2=1.0).bind(model).attach(optimizer, form="decoupled")

    def fail():
        raise RuntimeError("out of memory")

    with contextlib.suppress(RuntimeError):
        optimizer.step(fail)
    one_step(optimizer, model)
    torch.testing.assert_close(model.weight.detach(), torch.full((2, 2), 0.9))


@pytest.mark.parametrize("form", ["coupled", "decoupled"])
def test_a_closure_that_is_evaluated_again_decays_once(form):
    model = ones()
    optimizer = EvaluatesTwice(model.parameters(), lr=0.1)
    sw.Regularizer(l2=1.0).bind(model).attach(optimizer, form=form)
    one_step(optimizer, model, closure=True)
    torch.testing.assert_close(model.weight.detach(), torch.full((2, 2), 0.9))


def test_a_decay_that_is_set_after_attach_is_found_at_the_step():
    model = ones()
    optimizer = SGD(model.parameters(), lr=0.1)
    sw.Regularizer(l2=1.0).bind(model).attach(optimizer)
    optimizer.param_groups[0]["weight_decay"] = 1.0
    with pytest.raises(SettingError, match=r"l2 acts twice.*weight_decay=1"):
        one_step(optimizer, model)


def test_a_bound_that_is_made_on_the_spot_still_counts():
    model = ones()
    optimizer = AdamW(model.parameters(), lr=0.1)
    sw.Regularizer(l2=0.5).bind(model).penalty().backward()
    gc.collect()
    with pytest.raises(SettingError, match="l2 acts twice"):
        optimizer.step()


def test_one_optimiser_twice_or_two_on_one_parameter_are_refused():
    model = ones()
    first, second = SGD(model.parameters(), lr=0.1), SGD(model.parameters(), lr=0.1)
    for pair in ((first, first), (first, second)):
        with pytest.raises(SettingError, match="hold the same parameter"):
            sw.Regularizer(l2=1.0).bind(model).attach(*pair)


@pytest.mark.parametrize("when", ["before", "after"])
def test_trap_3_a_penalty_in_the_loss_of_parameters_that_were_replaced_is_an_error(when):
    """The graph of the old parameters leads nowhere; training would go on without the penalty."""
    model = ones()
    bound = sw.Regularizer(l2=100.0).bind(model)
    if when == "after":
        optimizer = SGD(model.parameters(), lr=0.1)
        bound.penalty().backward()
        optimizer.step()
        optimizer.zero_grad()
    model.load_state_dict({"weight": torch.ones(2, 2)}, assign=True)
    optimizer = SGD(model.parameters(), lr=0.1)

    def steps():
        for _ in range(3):
            (model(torch.ones(1, 2)).sum() + bound.penalty()).backward()
            optimizer.step()

    with pytest.raises(SettingError, match=r"no longer holds 1 parameter \(weight\).*Bind again"):
        steps()


def test_gradual_unfreezing_penalises_a_layer_from_the_step_on_at_which_it_is_trained():
    model = nn.Sequential(ones(), ones())
    model[0].requires_grad_(False)
    bound = sw.Regularizer(l2=1.0).bind(model)
    optimizer = SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    bound.attach(optimizer)
    assert bound.value() == pytest.approx(2.0)
    one_step(optimizer, model[1])
    assert torch.equal(model[0].weight.detach(), torch.ones(2, 2))
    model[0].requires_grad_(True)
    optimizer.add_param_group({"params": model[0].parameters()})
    one_step(optimizer, model)
    torch.testing.assert_close(model[0].weight.detach(), torch.full((2, 2), 0.9))
    torch.testing.assert_close(model[1].weight.detach(), torch.full((2, 2), 0.81))


def test_an_optimiser_that_knows_no_weight_decay_is_not_said_to_have_one():
    model = ones()
    optimizer = torch.optim.Rprop(sw.param_groups(model, 0.5))
    sw.Regularizer(l2=0.5).bind(model).attach(optimizer)


def test_the_second_decay_of_asgd_counts():
    model = ones()
    with pytest.raises(SettingError, match="l2 acts twice"):
        sw.Regularizer(l2=0.5).bind(model).attach(torch.optim.ASGD(model.parameters(), lambd=0.5))


def test_a_table_that_was_replaced_is_said_and_not_a_key_error():
    model = nn.Embedding(4, 2)
    optimizer = SGD(model.parameters(), lr=0.1)
    sw.decay_rows(model, optimizer, 0.5, mode="touched")
    model.weight = nn.Parameter(model.weight.detach().clone())
    optimizer.param_groups[0]["params"] = [model.weight]
    model(torch.tensor([1])).sum().backward()
    with pytest.raises(SettingError, match="no longer holds"):
        optimizer.step()


@pytest.mark.parametrize("schedule", [{"max_norm": Constant(2.0)}, {"l1": Constant(2.0)}, "cosine", {"l2": abs}], ids=repr)
def test_a_schedule_that_could_do_nothing_is_refused(schedule):
    with pytest.raises(SettingError, match="schedule"):
        sw.Regularizer(l2=0.1, max_norm=1.0, schedule=schedule)


def test_proximal_l1_and_l2_are_the_elastic_net_wherever_they_stand():
    def trained(**penalties):
        model = ones().double()
        optimizer = SGD(model.parameters(), lr=0.2)
        sw.Regularizer(**penalties).bind(model).attach(optimizer, form="proximal")
        for _ in range(200):
            optimizer.zero_grad()
            (model(torch.eye(2, dtype=torch.float64)) - 1).square().sum().backward()
            optimizer.step()
        return model.weight.detach()

    torch.testing.assert_close(trained(l1=0.3, l2=0.7), trained(elastic_net=sw.ElasticNet(1.0, ratio=0.3)))


def test_a_penalty_that_acts_on_nothing_is_said():
    with pytest.warns(sw.errors.UnplacedParameterWarning, match="l1 acts on nothing in this BatchNorm1d"):
        sw.Regularizer(l1=0.1).bind(nn.BatchNorm1d(3))
