"""The audit by real steps: what it sees beyond stand-ins, and that every byte is as it was."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

import shrinkwise.regularization.dropout as ours
from shrinkwise.regularization.apply import count_steps, decay_decoupled, param_groups
from shrinkwise.regularization.audit import audit
from shrinkwise.seeding import isolated_rng


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(3, 8, 3)
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, 2)
        self.n_calls = 0

    def forward(self, x):
        self.n_calls += 1
        return self.head(self.dropout(self.norm(self.convolution(x)).relu().mean(-1)))


def make_net():
    with isolated_rng("exact"):
        return _Net()


def make_muon(parameters, lr, weight_decay):
    return torch.optim.Muon([p for p in parameters if p.ndim == 2], lr=lr, weight_decay=weight_decay)


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
    "adamw, amsgrad": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, amsgrad=True),
    "fused adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, weight_decay=0.1),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01, weight_decay=0.1),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01, weight_decay=0.1),
    "muon": lambda p: make_muon(p, lr=0.01, weight_decay=0.1),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1),
}


def run_steps(model, optimizer, n):
    for step in range(n):
        optimizer.zero_grad()
        x = torch.linspace(-1, 1, 4 * 3 * 7).view(4, 3, 7) * (step + 1)
        model(x).square().sum().backward()
        optimizer.step(*[lambda: torch.zeros(())] if isinstance(optimizer, torch.optim.LBFGS) else [])


def draw_from_every_generator(optimizer, args, kwargs):
    torch.rand(3)
    np.random.rand()  # noqa: NPY002
    random.random()


def everything(model, optimizer):
    """All that an audit could have changed, each tensor with the identity of the object that holds it."""

    def seen(value):
        if isinstance(value, torch.Tensor):
            return id(value), value.data_ptr(), value.dtype, value.detach().clone().numpy().tobytes(), seen(value.grad)
        if isinstance(value, dict):
            return id(value), [(id(key) if isinstance(key, torch.Tensor) else key, seen(item)) for key, item in value.items()]
        if isinstance(value, list):
            return id(value), [seen(item) for item in value]
        return value if isinstance(value, bool | int | float | str | tuple | type(None)) else id(value)

    generators = (torch.get_rng_state().numpy().tobytes(), str(np.random.get_state()), random.getstate())  # noqa: NPY002
    return [seen(vars(module)) for module in model.modules()], seen(vars(optimizer)), generators


@pytest.mark.parametrize("n_steps", [0, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_byte_is_as_it_was(name, n_steps):
    model = make_net()
    optimizer = OPTIMIZERS[name](model.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    run_steps(model, optimizer, n_steps)
    optimizer.register_step_pre_hook(draw_from_every_generator)
    model.convolution.bias.requires_grad_(False)
    before = everything(model, optimizer)
    bookkeeping = {**scheduler.state_dict()}
    seen = audit(model, optimizer, exact=True)
    assert everything(model, optimizer) == before
    assert scheduler.state_dict() == bookkeeping
    assert not any("real step" in reason for reason in seen.not_checked)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert all(p.measured_on == "real step" for p in seen.parameters if p.name == "head.weight" and id(model.head.weight) in held)


def test_gradients_stay_absent_where_they_were_and_the_same_objects_where_not():
    model = make_net()
    optimizer = torch.optim.AdamW(model.parameters())
    gradient = model.head.weight.grad = torch.ones(2, 8)
    audit(model, optimizer, exact=True)
    assert model.head.weight.grad is gradient
    assert torch.equal(gradient, torch.ones(2, 8))
    assert model.head.bias.grad is None
    assert len(optimizer.state) == 0


def test_a_step_that_raises_leaves_everything_and_is_listed():
    model = make_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)

    def fail(optimizer, args, kwargs):
        raise RuntimeError("out of cheese")

    optimizer.register_step_post_hook(fail)
    before = everything(model, optimizer)
    seen = audit(model, optimizer, exact=True)
    assert everything(model, optimizer) == before
    assert "the real step of SGD: it raised RuntimeError('out of cheese')" in seen.not_checked
    assert seen["head.weight"].measured_on == "stand-in"


def test_an_interrupted_step_leaves_everything():
    model = make_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)

    def interrupt(optimizer, args, kwargs):
        raise KeyboardInterrupt

    optimizer.register_step_post_hook(interrupt)
    before = everything(model, optimizer)
    with pytest.raises(KeyboardInterrupt):
        audit(model, optimizer, exact=True)
    assert everything(model, optimizer) == before


class _Averager:
    """A hook with tensors, a list and a count of its own."""

    def __init__(self, model):
        self.model, self.n, self.seen = model, 0, []
        self.mean = torch.zeros(2, 8)

    def __call__(self, optimizer, args, kwargs):
        self.n += 1
        self.seen.append(self.n)
        self.mean.add_(self.model.head.weight.detach())
        self.model.n_calls += 1


def test_what_a_hook_holds_is_put_back_too():
    model = make_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    averager, counts = _Averager(model), {"n": 0}
    optimizer.register_step_post_hook(averager)
    optimizer.register_step_pre_hook(lambda *_: counts.update(n=counts["n"] + 1))
    audit(model, optimizer, exact=True)
    assert (averager.n, averager.seen, model.n_calls, counts) == (0, [], 0, {"n": 0})
    assert not averager.mean.any()


class _Jealous(dict):
    """A dict that nobody may fill, as some outputs are that a module keeps."""

    def update(self, *args, **kwargs):
        raise TypeError("no")


def test_somebodys_kinds_of_dict_are_left_and_put_back():
    model = make_net()
    model.last = _Jealous(a=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.register_step_post_hook(lambda *_: model.last.__setitem__("b", 2))
    seen = audit(model, optimizer, exact=True)
    assert model.last == {"a": 1}
    assert not any("real step" in reason for reason in seen.not_checked)


def test_our_own_counting_of_steps_is_put_back():
    model = nn.Sequential(nn.Linear(2, 2), ours.Dropout(0.5))
    ours.place_dropout(model, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    count_steps(model, optimizer)
    audit(model, optimizer, exact=True)
    assert model[1].step == 1


@pytest.mark.parametrize("name", ["momentum", "adamw, amsgrad", "nadam"])
def test_what_momentum_moves_is_not_taken_for_decay(name):
    model = make_net().double()
    optimizer = OPTIMIZERS[name](model.parameters())
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    x = torch.linspace(-1, 1, 4 * 3 * 7, dtype=torch.float64).view(4, 3, 7)
    model(x).square().sum().backward()
    optimizer.step()
    seen = audit(model, optimizer, exact=True)
    assert seen["head.weight"].measured_on == "real step"
    assert seen["head.weight"].measured_shrink == pytest.approx(0, abs=1e-12)
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.1
    if name != "nadam":
        shrink = audit(model, optimizer, exact=True)["head.weight"].measured_shrink
        assert shrink == pytest.approx(seen["head.weight"].lr * 0.1, rel=1e-6)


def test_somebodys_hook_is_measured_and_regularises_twice():
    model = make_net()
    optimizer = torch.optim.AdamW(param_groups(model, 0.1), lr=0.01)

    @torch.no_grad()
    def shrink(optimizer, args, kwargs):
        model.head.weight.mul_(0.9)

    optimizer.register_step_post_hook(shrink)
    on_standins, exactly = audit(model, optimizer), audit(model, optimizer, exact=True)
    assert on_standins["head.weight"].measured_shrink == pytest.approx(0.001, rel=1e-3)
    assert "1 step hook of AdamW: exact=True runs them" in on_standins.not_checked
    assert exactly["head.weight"].measured_shrink == pytest.approx(1 - 0.9 * 0.999, rel=1e-4)
    assert exactly["head.weight"].penalty == "decay by weight_decay + decay by hook"
    assert [warning.code for warning in exactly.warnings] == ["regularised_twice"]
    assert not any("hook" in reason for reason in exactly.not_checked)


def test_decay_decoupled_counts_once():
    model = make_net()
    optimizer = torch.optim.Adam(param_groups(model, 0.1), lr=0.01)
    decay_decoupled(optimizer)
    seen = audit(model, optimizer, exact=True)
    assert seen["head.weight"].measured_shrink == pytest.approx(0.001, rel=1e-3)
    assert seen["head.weight"].penalty == "decay by decoupled_decay"
    assert seen.warnings == ()


def test_a_parameter_in_two_optimisers_loses_to_both():
    model = nn.Linear(3, 2)
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1.0) for _ in range(2)]
    assert audit(model, optimizers, exact=True)["weight"].measured_shrink == pytest.approx(1 - 0.9**2, rel=1e-5)
    assert audit(model, optimizers)["weight"].measured_shrink == pytest.approx(1 - 0.9**2, rel=1e-5)


def test_a_model_on_the_meta_device_is_told_to_have_no_values():
    with torch.device("meta"):
        model = nn.Linear(3, 2)
    seen = audit(model, torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1), exact=True)
    assert seen["weight"].measured_on == "stand-in"
    assert any("meta device" in reason for reason in seen.not_checked)
