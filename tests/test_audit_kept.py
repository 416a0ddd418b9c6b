"""That looking changes nothing, though forward passes, losses and optimisers write where they like."""

from __future__ import annotations

import collections
import copy
import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shrinkwise.regularization.apply import param_groups
from shrinkwise.regularization.audit import audit
from shrinkwise.regularization.rules import place
from shrinkwise.seeding import isolated_rng, torch_generator

X = torch.randn(10, 6, generator=torch_generator("audit", "kept"))
Y = torch.arange(10) % 3


class _MomentumEncoder(nn.Module):
    """Its forward pass moves one encoder after the other, through ``data``, which counts no version."""

    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Linear(6, 3), nn.Linear(6, 3).requires_grad_(False)

    def forward(self, x):
        for ours, theirs in zip(self.query.parameters(), self.key.parameters(), strict=True):
            theirs.data.mul_(0.9).add_(ours.data, alpha=0.1)
        return self.query(x) + self.key(x)


def make_renormed():
    model = nn.Sequential(nn.Embedding(12, 4, max_norm=1.0), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].weight.mul_(20)
    return model


WRITERS = {"a momentum encoder": (_MomentumEncoder, X), "an embedding with max_norm": (make_renormed, Y)}
LOOKS = {
    "audit": lambda model, x: audit(model, torch.optim.AdamW(model.parameters()), inputs=x),
    "audit of a loss": lambda model, x: audit(
        model, torch.optim.AdamW(model.parameters()), inputs=x, loss=lambda m, x: F.cross_entropy(m(x), Y)
    ),
    "place": lambda model, x: place(model, x),
    "param_groups": lambda model, x: param_groups(model, {"weights": 0.1, "free": 0.0}, inputs=x),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("writer", WRITERS)
def test_weights_that_a_forward_pass_writes_are_put_back(writer, look):
    make, x = WRITERS[writer]
    with isolated_rng("kept"):
        model = nn.ModuleDict({"net": make()}).net
    model.free = nn.Parameter(torch.ones(3))  # of unknown kind, so that place runs the model
    before = copy.deepcopy(model.state_dict())
    LOOKS[look](model, x)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


class _Fading(nn.Module):
    """Halves a part of itself at each forward pass, so no two outputs are equal."""

    def __init__(self):
        super().__init__()
        self.inner, self.norm = nn.Linear(6, 3), nn.BatchNorm1d(3)
        self.fading = nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, x):
        self.fading.data.mul_(0.5)
        return self.norm(self.inner(x)) + self.fading


def test_trap_13_scale_invariance_is_seen_though_each_forward_pass_writes():
    model = _Fading()
    seen = audit(model, torch.optim.AdamW(model.parameters()), inputs=X)
    assert seen["inner.weight"].is_scale_invariant
    assert torch.equal(model.fading, torch.ones(3))


def test_a_loss_that_calls_backward_leaves_no_gradient():
    model = nn.Linear(6, 3)
    model.bias.grad = gradient = torch.ones(3)

    def loss(model, batch):
        value = F.cross_entropy(model(batch[0]), batch[1])
        value.backward(retain_graph=True)
        return value

    audit(model, torch.optim.AdamW(model.parameters()), inputs=(X, Y), loss=loss)
    assert model.weight.grad is None
    assert model.bias.grad is gradient
    assert torch.equal(gradient, torch.ones(3))


def test_a_graph_that_waits_for_its_backward_pass_stays_good():
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))
    value = model(X).square().mean()
    audit(model, torch.optim.AdamW(model.parameters()), inputs=X)
    value.backward()
    assert model[0].weight.grad.any()


def test_helpers_of_a_module_are_put_back():
    class Memory:
        bank = None

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.memory, self.recent = nn.Linear(6, 3), Memory(), collections.deque([0], maxlen=2)
            self.memory.bank = torch.zeros(3)

        def forward(self, x):
            y = self.net(x)
            self.memory.bank.add_(y.detach().mean(0))
            self.recent.extend([1, 2, 3])
            return y

    model = Net()
    audit(model, torch.optim.AdamW(model.parameters()), inputs=X)
    assert not model.memory.bank.any()
    assert list(model.recent) == [0]


class _Lookahead(torch.optim.Optimizer):
    """Holds another optimiser, and never becomes one itself, as in code that goes around."""

    def __init__(self, optimizer):
        self.optimizer, self.n = optimizer, 0
        self.param_groups, self.defaults, self.state = optimizer.param_groups, optimizer.defaults, {}
        self.slow = [[p.detach().clone() for p in group["params"]] for group in self.param_groups]

    @torch.no_grad()
    def step(self, closure=None):
        self.optimizer.step()
        self.n += 1
        for group, slow in zip(self.param_groups, self.slow, strict=True):
            for parameter, other in zip(group["params"], slow, strict=True):
                parameter.copy_(other.lerp_(parameter, 0.5))


class _Average:
    def __init__(self, parameters):
        self.values, self.n = [p.detach().clone() for p in parameters], 0


class _WithHelper(torch.optim.AdamW):
    def __init__(self, params, **options):
        super().__init__(params, **options)
        self.average = _Average([p for group in self.param_groups for p in group["params"]])
        self.recent = collections.deque(maxlen=4)

    def step(self, closure=None):
        super().step(closure)
        self.average.n += 1
        self.recent.append(1)
        for value in self.average.values:
            value.zero_()


@pytest.mark.parametrize("n_steps", [0, 2])
def test_the_state_of_an_optimiser_inside_another_is_put_back(n_steps):
    model = nn.Linear(6, 3)
    inner = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    outer = _Lookahead(inner)
    for _ in range(n_steps):
        model(X).square().mean().backward()
        outer.step()
    before = copy.deepcopy((inner.state_dict(), outer.slow, outer.n, model.state_dict()))
    seen = audit(model, outer, exact=True)
    torch.testing.assert_close((inner.state_dict(), outer.slow, outer.n, model.state_dict()), before, rtol=0, atol=0)
    assert seen["weight"].measured_on == "real step"
    assert seen["weight"].measured_shrink > 0


def test_a_lookahead_that_never_became_an_optimizer_is_audited():
    model = nn.Linear(6, 3)
    seen = audit(model, _Lookahead(torch.optim.AdamW(model.parameters(), weight_decay=0.1)))
    assert seen["weight"].penalty == "l2 or decay by weight_decay"
    assert any("exact=True steps the real one" in reason for reason in seen.not_checked)


def test_helpers_of_an_optimiser_are_put_back():
    model = nn.Linear(6, 3)
    with torch.no_grad():
        model.bias.fill_(1)
    optimizer = _WithHelper(model.parameters(), lr=0.1)
    optimizer.register_step_post_hook(functools.partial(_count, counts := {"n": 0}))
    audit(model, optimizer, exact=True)
    assert (optimizer.average.n, list(optimizer.recent), counts) == (0, [], {"n": 0})
    assert all(value.any() for value in optimizer.average.values)


def _count(counts, optimizer, args, kwargs):
    counts["n"] += 1
