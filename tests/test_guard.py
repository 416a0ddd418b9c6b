"""Nothing is penalised twice, and nobody is stopped who penalises once."""

from __future__ import annotations

import copy
import gc
import itertools
import weakref

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from problem import Problem, saved, zero_step
from shrinkwise.errors import SettingError
from shrinkwise.regularization.apply import Regularizer, decay_decoupled, decay_rows, param_groups, schedule_decay
from shrinkwise.regularization.strength.schedules import Linear, WarmUp

LR, LAM = 0.1, 0.2
TWICE = r"l2 acts twice on 1 parameter \(weight\): it acts .*, and .*\. .*"


class Loop:
    """One embedding in a training loop: all ways of L2 fit it.

    Attributes:
        model: The embedding.
        optimizer: Its optimiser, made by the first of the ways.
        penalties: What stands in the loss.
        kept: What must live on.
    """

    def __init__(self, *, weight_decay=0.0):
        self.model = nn.Embedding(4, 2)
        self.optimizer = SGD(self.model.parameters(), lr=LR, weight_decay=weight_decay)
        self.penalties = []
        self.kept = []

    def bind(self, **slots):
        bound = Regularizer(**(slots or {"l2": {"embedding": LAM}})).bind(self.model)
        self.kept.append(bound)
        return bound

    def step(self):
        self.optimizer.zero_grad()
        loss = self.model(torch.tensor([1])).sum() + sum(bound.penalty() for bound in self.penalties)
        loss.backward()
        self.optimizer.step()


def own_decay(loop):
    """The optimiser's own, as by param_groups or AdamW's default: given when it is made, hence always the first."""
    loop.optimizer.param_groups[0]["weight_decay"] = LAM


def decoupled_decay(loop):
    own_decay(loop)
    loop.kept.append(decay_decoupled(loop.optimizer))


def attached(loop):
    loop.bind().attach(loop.optimizer)


def attached_decoupled(loop):
    loop.bind().attach(loop.optimizer, form="decoupled")


def in_loss(loop):
    loop.penalties.append(loop.bind())


def rows(loop):
    loop.kept.append(decay_rows(loop.model, loop.optimizer, LAM, mode="touched"))


WAYS = (own_decay, decoupled_decay, attached, attached_decoupled, in_loss, rows)
FIRST_ONLY = {own_decay, decoupled_decay}


@pytest.mark.parametrize("first", WAYS)
def test_one_way_alone_is_never_refused(first):
    loop = Loop()
    first(loop)
    for _ in range(3):
        loop.step()
    loop.optimizer.load_state_dict(copy.deepcopy(loop.optimizer.state_dict()))
    loop.step()


@pytest.mark.parametrize(
    ("first", "second"),
    [pair for pair in itertools.product(WAYS, WAYS) if pair[1] not in FIRST_ONLY],
    ids=lambda way: way.__name__,
)
def test_trap_4_two_ways_of_one_kind_on_one_parameter_raise(first, second):
    loop = Loop()
    first(loop)
    if in_loss in (first, second):
        # A loss is made anew at each step: only there is seen what stands in it.
        second(loop)
        with pytest.raises(SettingError, match=TWICE):
            loop.step()
    else:
        with pytest.raises(SettingError, match=TWICE):
            second(loop)


@pytest.mark.parametrize("second", [own_decay, decoupled_decay], ids=lambda way: way.__name__)
def test_a_decay_that_is_set_after_the_penalty_is_seen_at_the_next_step(second):
    loop = Loop()
    in_loss(loop)
    loop.step()
    second(loop)
    with pytest.raises(SettingError, match=r"in the loss, and the optimiser has weight_decay=0\.2 there"):
        loop.step()


def test_trap_7_a_penalty_in_the_loss_on_top_of_adamws_default_is_refused_at_the_first_step():
    problem = Problem()
    bound = Regularizer(l2=LAM).bind(problem.model)
    with pytest.raises(SettingError, match=r"l2 acts twice on 2 parameters.*weight_decay=0\.01 there"):
        problem.train(AdamW(problem.model.parameters()), bound.penalty)
    with pytest.raises(SettingError, match=r"weight_decay=0\.01 there"):
        bound.attach(AdamW(problem.model.parameters()))


def test_trap_7_param_groups_beside_a_penalty_are_refused_and_a_free_group_is_not():
    problem = Problem()
    bound = Regularizer(l2={"0": LAM}).bind(problem.model)
    with pytest.raises(SettingError, match=r"1 parameter \(0\.weight\)"):
        problem.train(AdamW(param_groups(problem.model, 0.05)), bound.penalty)
    problem.train(AdamW(param_groups(problem.model, {"weights": 0.05, "0": 0})), bound.penalty)


def test_a_bound_regularizer_that_is_attached_has_no_penalty_for_the_loss_and_the_other_way_round():
    problem = Problem()
    bound = Regularizer(l2=LAM).bind(problem.model)
    optimizer = SGD(problem.model.parameters(), lr=LR)
    handle = bound.attach(optimizer)
    with pytest.raises(SettingError, match=r"would act twice.*[Uu]se value\(\) to log"):
        bound.penalty()
    with pytest.raises(SettingError, match="acts twice"):
        bound.attach(optimizer)
    handle.remove()
    bound.penalty()
    with pytest.raises(SettingError, match="stands in a loss"):
        bound.attach(optimizer)


def test_a_penalty_after_remove_is_watched_again():
    problem = Problem()
    optimizer = SGD(problem.model.parameters(), lr=LR)
    bound = Regularizer(l2=LAM).bind(problem.model)
    bound.attach(optimizer).remove()
    problem.train(optimizer, bound.penalty, n_steps=1)
    with pytest.raises(SettingError, match="acts twice"):
        problem.train(AdamW(problem.model.parameters()), bound.penalty)


@pytest.mark.parametrize("way", ["attach", "penalty", "value"])
def test_other_kinds_add_up(way):
    problem = Problem()
    optimizer = AdamW(param_groups(problem.model, 0.05))
    sparse = Regularizer(l1=0.01, group_lasso=0.01, l2_sp=0.1).bind(problem.model)
    near = Regularizer(elastic_net=0.01).bind(problem.model)
    near.attach(optimizer)
    if way == "attach":
        sparse.attach(optimizer, form="decoupled")
    problem.train(optimizer, sparse.penalty if way == "penalty" else lambda: sparse.value() * 0)


def test_one_kind_on_other_parameters_adds_up():
    problem = Problem()
    optimizer = SGD(param_groups(problem.model, {"0": 0.05}), lr=LR)
    Regularizer(l2={"3": LAM}).bind(problem.model).attach(optimizer)
    decay = Regularizer(l2={"3.bias": LAM}).bind(problem.model)
    problem.train(optimizer, decay.penalty)


@pytest.mark.parametrize("way", ["attach", "decay_rows"])
def test_trap_8_a_checkpoint_that_brings_weight_decay_back_is_refused_when_it_is_loaded(way):
    model = nn.Embedding(4, 2)
    old = AdamW(model.parameters(), weight_decay=0.05)
    zero_step(old)
    (checkpoint,) = saved(old)
    optimizer = AdamW(model.parameters(), weight_decay=0.0)
    if way == "attach":
        handle = Regularizer(l2={"embedding": LAM}).bind(model).attach(optimizer)
    else:
        handle = decay_rows(model, optimizer, LAM, mode="touched")
    with pytest.raises(SettingError, match=r"acts twice.*weight_decay=0\.05 there"):
        optimizer.load_state_dict(checkpoint)
    handle.remove()
    optimizer.load_state_dict(checkpoint)


def test_trap_8_a_checkpoint_that_brings_weight_decay_back_beside_penalty_is_refused_at_the_step():
    problem = Problem()
    old = AdamW(problem.model.parameters(), weight_decay=0.05)
    zero_step(old)
    (checkpoint,) = saved(old)
    optimizer = AdamW(problem.model.parameters(), weight_decay=0.0)
    bound = Regularizer(l2=LAM).bind(problem.model)
    problem.train(optimizer, bound.penalty)
    optimizer.load_state_dict(checkpoint)
    with pytest.raises(SettingError, match=r"acts twice.*weight_decay=0\.05 there"):
        problem.train(optimizer, bound.penalty)


def test_each_optimiser_that_shares_a_model_is_looked_at():
    problem = Problem()
    bound = Regularizer(l2=LAM).bind(problem.model)
    good, bad = SGD(problem.model[0].parameters(), lr=LR), AdamW(problem.model[2:].parameters())
    (problem.loss() + bound.penalty()).backward()
    good.step()
    with pytest.raises(SettingError, match=r"1 parameter \(3\.weight\)"):
        bad.step()


def test_a_mistake_in_one_step_is_not_held_against_the_next():
    loop = Loop(weight_decay=LAM)
    in_loss(loop)
    with pytest.raises(SettingError, match="acts twice"):
        loop.step()
    loop.penalties.clear()
    loop.step()


def test_the_optimiser_of_another_model_may_decay():
    ours, other = Problem(), Problem()
    bound = Regularizer(l2=LAM).bind(ours.model)
    optimizers = SGD(ours.model.parameters(), lr=LR), AdamW(other.model.parameters(), weight_decay=0.1)
    for _ in range(3):
        ours.backward(optimizers[0], bound.penalty)
        other.train(optimizers[1], n_steps=1)
        optimizers[0].step()


def test_a_gan_with_one_penalty_and_two_optimisers_is_right():
    generator, critic = nn.Linear(2, 2), nn.Linear(2, 1)
    bound = Regularizer(l2=LAM).bind(generator)
    optimizers = Adam(generator.parameters()), AdamW(critic.parameters(), weight_decay=0.1)
    noise = torch.ones(4, 2)
    for _ in range(3):
        for optimizer in optimizers:
            optimizer.zero_grad()
        critic(generator(noise).detach()).mean().backward()
        optimizers[1].step()
        (bound.penalty() - critic(generator(noise)).mean()).backward()
        optimizers[0].step()


def test_value_beside_any_decay_is_no_mistake():
    problem = Problem()
    bound = Regularizer(l2=LAM).bind(problem.model)
    optimizer = AdamW(problem.model.parameters(), weight_decay=0.1)
    for _ in range(2):
        problem.train(optimizer, n_steps=1)
        assert bound.value() > 0
        assert bound.values()


def test_a_penalty_under_no_grad_is_none_of_training():
    problem = Problem()
    bound = Regularizer(l2=LAM).bind(problem.model)
    optimizer = AdamW(problem.model.parameters(), weight_decay=0.1)
    with torch.no_grad():
        (problem.loss() + bound.penalty()).item()
    with torch.inference_mode():
        bound.penalty()
    problem.train(optimizer)
    optimizer = AdamW(problem.model.parameters(), weight_decay=0.0)
    with torch.no_grad():
        bound.penalty()
    bound.attach(optimizer)


@pytest.mark.parametrize("way", ["attach", "penalty"])
def test_optimisers_that_are_made_anew_each_have_the_penalty(way):
    problem = Problem()
    bound = Regularizer(l2=LAM).bind(problem.model)
    for _ in range(3):
        optimizer = SGD(problem.model.parameters(), lr=LR)
        if way == "attach":
            bound.attach(optimizer)
        problem.train(optimizer, bound.penalty if way == "penalty" else lambda: 0, n_steps=2)


def test_a_later_phase_without_the_penalty_may_decay_and_one_may_bind_anew():
    problem = Problem()
    old = Regularizer(l2=LAM).bind(problem.model)
    problem.train(SGD(problem.model.parameters(), lr=LR), old.penalty, n_steps=2)
    problem.train(AdamW(problem.model.parameters(), weight_decay=0.1), n_steps=2)
    new = Regularizer(l2=LAM).bind(problem.model)
    problem.train(SGD(problem.model.parameters(), lr=LR), new.penalty, n_steps=2)
    optimizer = SGD(problem.model.parameters(), lr=LR)
    old.attach(optimizer)
    problem.train(optimizer, n_steps=2)
    assert old.value() == new.value()


def test_accumulation_asks_for_one_penalty_many_times():
    problem = Problem()
    bound = Regularizer(l2=LAM).bind(problem.model)
    optimizer = SGD(problem.model.parameters(), lr=LR)
    for _ in range(2):
        for _ in range(3):
            ((problem.loss() + bound.penalty()) / 3).backward()
        optimizer.step()


def test_a_decay_of_0_and_a_schedule_of_it_are_no_decay():
    problem = Problem()
    optimizer = AdamW(problem.model.parameters(), weight_decay=0.0)
    schedule_decay(optimizer, Linear(3))
    decay_decoupled(optimizer)
    Regularizer(l2=LAM).bind(problem.model).attach(optimizer)
    problem.train(optimizer)


def test_a_decay_that_a_schedule_has_at_0_for_now_is_one():
    problem = Problem()
    optimizer = AdamW(problem.model.parameters(), weight_decay=0.1)
    schedule_decay(optimizer, WarmUp(3))
    assert optimizer.param_groups[0]["weight_decay"] == 0
    with pytest.raises(SettingError, match=r"weight_decay=0\.1 there"):
        Regularizer(l2=LAM).bind(problem.model).attach(optimizer)


def test_strength_zero_acts_nowhere_and_is_beside_nothing():
    problem = Problem()
    optimizer = AdamW(problem.model.parameters(), weight_decay=0.1)
    bound = Regularizer(l2=0).bind(problem.model)
    problem.train(optimizer, bound.penalty, n_steps=2)
    Regularizer(l2={"0": 0, "3": None}).bind(problem.model).attach(optimizer)
    problem.train(optimizer, n_steps=2)


@pytest.mark.parametrize("way", ["penalty", "attach"])
def test_nothing_keeps_a_bound_regularizer_or_its_model_alive(way):
    problem = Problem()
    bound = Regularizer(l2=LAM).bind(problem.model)
    optimizer = SGD(problem.model.parameters(), lr=LR)
    if way == "attach":
        bound.attach(optimizer)
    problem.train(optimizer, bound.penalty if way == "penalty" else lambda: 0, n_steps=2)
    left = weakref.ref(bound), weakref.ref(problem.model[0].weight)
    del bound
    gc.collect()
    assert left[0]() is None
    problem.train(AdamW(problem.model.parameters(), weight_decay=0.1), n_steps=2)  # nothing of it is left to count
    del problem, optimizer
    gc.collect()
    assert left[1]() is None


def test_a_penalty_that_went_on_acting_when_its_bound_was_dropped_is_still_seen():
    problem = Problem()
    optimizer = SGD(problem.model.parameters(), lr=LR)
    Regularizer(l2=LAM).bind(problem.model).attach(optimizer)
    gc.collect()
    with pytest.raises(SettingError, match="attached to the optimiser"):
        Regularizer(l2=LAM).bind(problem.model).attach(optimizer)
