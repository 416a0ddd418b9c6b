"""What the passes of any module are made of: masks, parts, traces, the network that stands for all."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
import torch
from torch import nn

from fleet_nets import Net
from fleet_twins import BASE, recipe, rows
from shrinkwise.errors import ModelError
from shrinkwise.experiments.engine.fleet.groups import Group
from shrinkwise.experiments.engine.fleet.modules.functional import Functional, Together
from shrinkwise.experiments.engine.fleet.modules.masks import Draw, Layer, RunDropout, replace_dropouts
from shrinkwise.experiments.engine.fleet.modules.structure import trained_names
from shrinkwise.experiments.engine.fleet.modules.traced import Traced
from shrinkwise.experiments.engine.fleet.modules.vmapped import VmappedPasses, parts_of
from shrinkwise.experiments.engine.fleet.stack import Stack
from shrinkwise.experiments.engine.live import prepare
from shrinkwise.experiments.records import Condition, RunKey
from shrinkwise.regularization.dropout import Dropout, place_dropout, set_step
from shrinkwise.seeding import isolated_rng


@pytest.mark.parametrize("form", [{}, {"every": 2}, {"hold": 3}])
@pytest.mark.parametrize("seeds", [(7, 7, 7), (7, 8, 7)])
def test_masks_of_a_fleet_are_those_of_its_runs_to_the_bit(form, seeds):
    places = [Dropout(rate, **form) for rate in (0.0, 0.3, 0.7)]
    for dropout, seed in zip(places, seeds, strict=True):
        place_dropout(dropout, seed)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    standin = RunDropout("masked").train()

    def dropped(draw):
        standin.draw = draw
        return standin(x)

    for step, draw in enumerate(Layer(places, x.device).draws(1, 7), start=1):
        for dropout in places:
            set_step(dropout, step)
        wanted = torch.stack([dropout(x) for dropout in places])
        found = dropped(None).expand(3, 5, 4) if draw is None else torch.func.vmap(dropped, in_dims=(Draw(0, 0, 0),))(draw)
        assert torch.equal(found, wanted)
        assert (draw is None) == (step % form.get("every", 1) != 0)


def test_runs_are_cut_into_equal_parts_within_their_groups_where_these_are_large_enough():
    def cut(groups, size):
        return [(part.at, part.group) for part in parts_of(groups, size)]

    assert cut([0, 0, 0, 0, 0, 1], 3) == [(slice(0, 2), 0), (slice(2, 5), 0), (5, 1)]
    assert cut([0, 0, 1, 1], 4) == [(slice(0, 4), None)]
    assert cut([0, 1, 2, 3], 2) == [(slice(0, 2), None), (slice(2, 4), None)]
    assert cut([0, 1], 1) == [(0, 0), (1, 1)]


def test_a_trace_that_fails_or_goes_wrong_is_not_used():
    calls = count(1)
    for function in (lambda x: [x * float(x.sum())], lambda x: [x * next(calls)]):
        traced = Traced(function)
        for number in range(1, 5):
            traced(torch.full((2,), float(number)))
        assert traced._graph is None
    traced = Traced(lambda x: [2 * x.sin()])
    for number in range(6):
        x = torch.full((2,), float(number))
        assert torch.equal(traced(x)[0], 2 * x.sin())
    assert traced._graph is not None


def test_a_dropout_that_is_the_whole_network_is_replaced():
    model, standins = replace_dropouts(Dropout(0.5))
    assert standins == [model]


def test_outputs_of_a_wrong_shape_are_told_as_by_a_single_run():
    plan = recipe(lambda: Net(nn.LayerNorm(6)))
    split, key = rows(0), RunKey(BASE, Condition(), 0)
    live = prepare(plan, split, key)
    stack = Stack([live.model] * 2, trained_names(plan, live))
    group = Group(0, live.x, live.x_val, torch.from_numpy(split.x_test), 2)
    passes = VmappedPasses(replace(plan, n_outputs=4), [live, live], stack, [group])
    with pytest.raises(ModelError, match=r"need outputs of shape \(batch, 4\)"):
        passes.outputs(stack.state, [(live.x, 2)])


def test_a_network_keeps_its_own_weights_and_the_template_has_none():
    with isolated_rng("template", 0):
        model = nn.Linear(2, 2)
    before = model.weight.detach().clone()
    functional = Functional(model, "classification")
    assert torch.equal(model.weight, before)
    assert torch.isfinite(
        functional.outputs({name: p.detach()[None] for name, p in model.named_parameters()}, torch.ones(3, 2), Together.SHARED)
    ).all()
