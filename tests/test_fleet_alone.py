"""What cannot be stacked says why, is as it was before anybody looked, and runs alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fleet_nets import NETS, Ids, Net
from fleet_twins import BASE, pairs, recipe, rows
from shrinkwise.experiments.engine import train_fleet, train_one
from shrinkwise.experiments.engine.fleet.modules.structure import trained_names
from shrinkwise.experiments.engine.live import prepare
from shrinkwise.experiments.records import Condition, RunKey, Variant
from shrinkwise.regularization.dropout import Dropout


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x) if self.training else x


class NumpyNoisy(nn.Module):
    def forward(self, x):
        return x * float(np.random.rand()) if self.training else x  # noqa: NPY002


class Choosing(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else 2 * x


class Reading(nn.Module):
    def forward(self, x):
        return x * x.mean().item()


class PythonCounter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen = [0]

    def forward(self, x):
        self.seen[0] += 1
        return x / (1 + 0.01 * self.seen[0])


class Clipping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.full((6,), 2.0))

    def forward(self, x):
        with torch.no_grad():
            self.bias.clamp_(max=1.0)
        return x * self.bias


class Reaching(nn.Module):
    """Its function holds the module itself, which no copy of the function does without."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.function = lambda x: self.layer(x)

    def forward(self, x):
        return self.function(x)


class Listing(nn.Module):
    """Reads a weight by a list of its own too, past its name, and only its value."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.weights = [self.layer.weight]

    def forward(self, x):
        return self.layer(x) + F.linear(x, self.weights[0].detach())


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 4, batch_first=True)

    def forward(self, x):
        return self.gru(x)[0][:, -1]


class OwnDropout(Dropout):
    pass


def _hooked() -> nn.Module:
    net = Net(nn.Linear(6, 6))
    net.body[0].register_forward_hook(lambda module, args, out: 2 * out)
    return net


def _hooked_parameter() -> nn.Module:
    net = Net(nn.Linear(6, 6), nn.Tanh())
    net.body[0].weight.register_hook(lambda grad: grad.clamp(-1e-3, 1e-3))
    return net


ALONE: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "torch's dropout": (lambda: Net(nn.Linear(6, 6), nn.Dropout(0.5)), "random numbers"),
    "RReLU": (lambda: Net(nn.Linear(6, 6), nn.RReLU()), "random numbers"),
    "noise": (lambda: Net(Noisy()), "random numbers"),
    "NumPy's noise": (lambda: Net(NumpyNoisy()), "random numbers"),
    "a choice by values": (lambda: Net(Choosing()), "cannot be stacked"),
    "a number read": (lambda: Net(Reading()), "cannot be stacked"),
    "a counter in Python": (lambda: Net(PythonCounter()), "neither a parameter nor a buffer"),
    "clipping in forward": (lambda: Net(Clipping()), "changes its parameters itself"),
    "a function of its own module": (lambda: Net(Reaching()), "does not have"),
    "a list of weights": (lambda: Net(Listing()), "something else in a stack"),
    "a recurrent layer": (lambda: Net(Recurrent(), width=4, shape=(3, 2)), "holds what cannot be compared"),
    "a cumulative batch norm": (lambda: Net(nn.BatchNorm1d(6, momentum=None)), "cannot be stacked"),
    "a hook": (_hooked, "has hooks"),
    "a hook on a parameter": (_hooked_parameter, "has hooks"),
    "a dropout of its own kind": (lambda: Net(OwnDropout(0.5)), "of its own kind"),
    "what torch maps wrongly": (lambda: Net(Ids(), nn.Embedding(7, 4, padding_idx=3), width=24), "something else in a stack"),
    "sparse gradients": (lambda: Net(Ids(), nn.Embedding(7, 4, sparse=True), width=24), "sparse"),
}


@pytest.mark.parametrize("name", ALONE)
def test_what_cannot_be_stacked_says_why_and_runs_alone(name):
    make, why = ALONE[name]
    plan = recipe(make, epochs=2)
    runs = pairs(rows, [Variant(l2=0.0), BASE], [5])
    live = prepare(plan, *runs[0])
    before = {name: tensor.clone() for name, tensor in live.model.state_dict().items() if isinstance(tensor, torch.Tensor)}
    generator = torch.get_rng_state()
    reason = trained_names(plan, live)
    assert isinstance(reason, str)
    assert why in reason
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(tensor, live.model.state_dict()[name]) for name, tensor in before.items())
    assert all(parameter.grad is None for parameter in live.model.parameters())
    fleet = {record.key: record.fingerprint() for record in train_fleet(plan, runs)}
    assert fleet == {key: train_one(plan, split, key).fingerprint() for split, key in runs}


def test_what_is_trained_is_what_gets_a_gradient():
    for name, left_out in (("frozen", {"body.0.bias"}), ("unused", {"unused.weight", "unused.bias"}), ("tied", set())):
        plan = recipe(NETS[name])
        live = prepare(plan, rows(0), RunKey(BASE, Condition(), 0))
        assert set(trained_names(plan, live)) == {key for key, _ in live.model.named_parameters()} - left_out
