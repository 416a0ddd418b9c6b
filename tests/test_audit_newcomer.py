"""What a newcomer met in an audit: figures that were not measured, warnings that were missing, and messages that misled."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from shrinkwise.errors import ModelError, SettingError
from shrinkwise.regularization.apply import Regularizer, decay_rows
from shrinkwise.regularization.audit import audit
from shrinkwise.seeding import isolated_rng


def small():
    with isolated_rng("audit newcomer"):
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def table():
    with isolated_rng("audit newcomer"):
        return nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2))


def codes(seen):
    return [finding.code for finding in seen.findings]


@pytest.mark.parametrize("penalty", [{"group_lasso": 0.01}, {"l2_sp": 0.01}, {"max_norm": 0.1}])
def test_what_stand_ins_do_not_feel_is_not_measured_as_0(penalty):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Regularizer(**penalty).bind(model).attach(optimizer)
    seen = audit(model, optimizer)
    assert seen["0.weight"].measured_shrink is None
    assert json.loads(seen.to_json())["parameters"][0]["measured_shrink"] is None
    assert seen["0.bias"].measured_shrink == 0
    assert audit(model, optimizer, exact=True)["0.weight"].measured_shrink is not None


@pytest.mark.parametrize(("mode", "by"), [("touched", "touched_rows"), ("catch_up", "decay_rows")])
def test_decay_by_rows_is_decay_and_not_measured_on_stand_ins(mode, by):
    model = table()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    decay_rows(model, optimizer, 0.1, mode=mode)
    seen = audit(model, optimizer)
    assert (seen["0.weight"].penalty, seen["0.weight"].measured_shrink) == (f"decay by {by}", None)
    assert ("decayed_embedding" in codes(seen)) == (mode == "catch_up")


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("penalty", [{"l2": 0.1}, {"l1": 0.1}])
@pytest.mark.parametrize("form", ["coupled", "decoupled"])
def test_an_attached_gradient_under_adam_is_no_decay(make, penalty, form):
    model = small()
    optimizer = make(model.parameters(), lr=1e-3, weight_decay=0.0)
    Regularizer(**penalty).bind(model).attach(optimizer, form=form)
    found = [one for one in audit(model, optimizer).warnings if one.code == "l2_is_not_decay"]
    assert [one.names for one in found] == ([("0.weight", "2.weight")] if form == "coupled" else [])
    assert all('form="decoupled"' in one.mend for one in found)


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.LBFGS])
def test_an_attached_gradient_is_left_as_it_is_elsewhere(make):
    model = small()
    optimizer = make(model.parameters(), lr=0.1)
    Regularizer(l2=0.1).bind(model).attach(optimizer)
    assert "l2_is_not_decay" not in codes(audit(model, optimizer))


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize(("decay", "is_too_far"), [(9.0, False), (10.0, True), (15.0, True)])
def test_a_step_that_turns_the_sign_is_warned_of(make, decay, is_too_far):
    model = small()
    seen = audit(model, make(model.parameters(), lr=0.1, weight_decay=decay))
    assert ("shrinks_too_far" in codes(seen)) == is_too_far


@pytest.mark.parametrize("ask", [lambda seen: seen[0], list])
def test_the_keys_of_an_audit_are_names(ask):
    with pytest.raises(SettingError, match=r"the key is 0: .*audit\.parameters"):
        ask(audit(small()))


@pytest.mark.parametrize(("given", "what"), [(lambda model: None, "None"), (lambda model: model.parameters(), "a generator")])
def test_what_is_no_optimiser_is_named(given, what):
    model = small()
    with pytest.raises(SettingError, match=f"the optimiser is {what}"):
        audit((model, given(model)))


@pytest.mark.filterwarnings("ignore")  # Lightning warns of the machine and of its own imports
def test_a_lightning_trainer_points_to_the_module():
    lightning = pytest.importorskip("lightning")
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=True)
    with pytest.raises(ModelError, match="LightningModule"):
        audit(trainer)
