"""Any module in a fleet: what torch.func can stack gives the weights of single runs; the rest says why it stays alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from shrinkwise.errors import ModelError
from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine import NamedOptimizer, Recipe, train_model, train_one
from shrinkwise.experiments.engine.fleet.modules import probe
from shrinkwise.experiments.engine.fleet.fleet import train_fleet, train_networks
from shrinkwise.experiments.engine.fleet.groups import Group
from shrinkwise.experiments.engine.fleet.modules.alike import same_structure
from shrinkwise.experiments.engine.fleet.modules.functional import Functional, Together
from shrinkwise.experiments.engine.fleet.modules.masks import Draw, Layer, RunDropout, replace_dropouts
from shrinkwise.experiments.engine.fleet.modules.structure import trained_names
from shrinkwise.experiments.engine.fleet.modules.traced import Traced
from shrinkwise.experiments.engine.fleet.modules.vmapped import VmappedPasses, parts_of
from shrinkwise.experiments.engine.fleet.stack import Stack
from shrinkwise.experiments.engine.live import prepare
from shrinkwise.experiments.records import Condition, RunKey, Variant
from shrinkwise.regularization.dropout import Dropout, place_dropout, set_step
from shrinkwise.seeding import isolated_rng, numpy_generator

N_CLASSES, N_FEATURES, BATCH = 3, 6, 16
EPOCHS = 17
"""Of 48 rows in batches of 16: 51 steps."""
BASE = Variant(l2=0.01)


class Net(nn.Module):
    """A body of any modules in a row, behind inputs of any shape, and a linear head."""

    def __init__(self, *body: nn.Module, width: int = N_FEATURES, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.body, self.head, self.shape = nn.ModuleList(body), nn.Linear(width, N_CLASSES), shape

    def forward(self, x):
        h = x.reshape(len(x), *self.shape) if self.shape else x
        for module in self.body:
            h = module(h)
        return self.head(h.flatten(1))


class Ids(nn.Module):
    """Turns numbers into ids of words."""

    def forward(self, x):
        return (x * 2).long().clamp(-3, 3) + 3


class Viewing(nn.Module):
    """Asks for the usual order of memory, which a convolution with channels last does not keep."""

    def forward(self, x):
        return x.view(len(x), -1)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2)

    def forward(self, x):
        return x + torch.relu(self.norm(self.conv(x)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 4, batch_first=True)

    def forward(self, x):
        return self.gru(x)[0][:, -1]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, N_CLASSES)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.head(self.second(torch.tanh(self.first(x))))


class Shared(nn.Module):
    """One module under two names, with a dropout under two."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        layer, dropout = nn.Linear(6, 6), Dropout(rate)
        self.first = nn.Sequential(layer, nn.Tanh(), dropout)
        self.second = nn.Sequential(layer, nn.Tanh(), dropout)
        self.head = nn.Linear(6, N_CLASSES)

    def forward(self, x):
        return self.head(self.second(self.first(x)))


class Counting(nn.Module):
    """Buffers of its own: one replaced at every pass in training, one written to, one that seldom changes, one left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("peak", torch.tensor(2.2))
        self.register_buffer("scale", torch.full((6,), 0.5), persistent=False)

    def forward(self, x):
        if self.training:
            self.passes = self.passes + 1
            self.mean.lerp_(x.mean(0), 0.1)
            self.peak = torch.maximum(self.peak, x.max())
        return x * self.scale / self.peak - self.mean + torch.log1p(self.passes)


class Dropped(nn.Module):
    """Dropout of any form, behind a norm, so that no chain of dense layers is seen in it."""

    def __init__(self, rate: float, **form: Any) -> None:
        super().__init__()
        self.first, self.norm, self.second, self.head = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, N_CLASSES)
        self.one, self.two = Dropout(rate, **form), Dropout(rate / 2, **form)

    def forward(self, x):
        h = self.one(torch.relu(self.norm(self.first(x))), self.second)
        return self.two(torch.tanh(h), self.head)


def _partly_frozen() -> nn.Module:
    net = Net(nn.Linear(6, 6), nn.Tanh(), nn.LayerNorm(6))
    net.body[0].bias.requires_grad_(False)
    return net


def _with_unused() -> nn.Module:
    net = Net(nn.Linear(6, 6), nn.Tanh())
    net.unused = nn.Linear(4, 4)
    return net


def _encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)


NETS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: Net(nn.Linear(6, 8), nn.ReLU(), width=8),
    "convolution": lambda: Net(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Conv2d(3, 4, (1, 2), padding=1), width=36, shape=(1, 2, 3)),
    "batch norm 1d": lambda: Net(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), width=8),
    "batch norm 2d": lambda: Net(nn.Conv2d(2, 3, 2, padding=1), nn.BatchNorm2d(3), nn.Tanh(), width=24, shape=(2, 1, 3)),
    "layer norm": lambda: Net(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), width=8),
    "group norm": lambda: Net(nn.Conv1d(2, 4, 2), nn.GroupNorm(2, 4), nn.Tanh(), width=8, shape=(2, 3)),
    "pooling": lambda: Net(nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(2, 1), nn.AvgPool2d((1, 2)), width=3, shape=(1, 2, 3)),
    "embedding": lambda: Net(Ids(), nn.Embedding(7, 4), nn.LayerNorm(4), width=24),
    "attention": lambda: Net(nn.Linear(3, 4), Attending(), width=8, shape=(2, 3)),
    "transformer layer": lambda: Net(nn.Linear(2, 4), _encoder(), width=12, shape=(3, 2)),
    "residual block": lambda: Net(Residual(), Residual(), width=6, shape=(2, 1, 3)),
    "tied": Tied,
    "shared module": lambda: Shared(0.3),
    "frozen": _partly_frozen,
    "unused": _with_unused,
    "own buffers": lambda: Net(Counting(), nn.Linear(6, 6), nn.Tanh()),
    "torch dropout at rate 0": lambda: Net(nn.Linear(6, 6), nn.Dropout(0.0)),
    "weight norm": lambda: Net(parametrizations.weight_norm(nn.Linear(6, 6)), nn.Tanh()),
}
FORMS: dict[str, dict[str, Any]] = {
    "masked": {},
    "identity": {"backward": "identity"},
    "full": {"backward": "full"},
    "every third step": {"every": 3},
    "held for four steps": {"hold": 4},
    "article": {"every": 10, "backward": "full"},
}
OPTIMIZERS = {"sgd": NamedOptimizer("sgd", 0.05), "adamw": NamedOptimizer("adamw", 0.01, decay="decoupled")}


def rows(seed: int, dtype: type = np.float32, n_train: int = 48) -> Split:
    """Draw rows of a seed whose class a plane decides, but for some noise."""
    drawn = numpy_generator("rows", seed)
    x = drawn.standard_normal((n_train + 24, N_FEATURES)).astype(dtype)
    y = (x[:, :N_CLASSES] + 0.5 * drawn.standard_normal((len(x), N_CLASSES))).argmax(1)
    (a, b, c), places = (np.split(np.arange(len(x)), [n_train, n_train + 12]), np.arange(len(x)))
    return Split(x[a], y[a], x[b], y[b], x[c], y[c], places[a], places[b], places[c])


def recipe(make: Callable[..., nn.Module], optimizer: str = "sgd", double: bool = False, **changes: Any) -> Recipe:
    """Return a recipe for nets that are made from nothing or from a variant."""

    def model(variant):
        net = make(float(variant.get("dropout", 0.0))) if "dropout" in variant else make()
        return net.double() if double else net

    settings = {"model": model, "task": "classification", "n_outputs": N_CLASSES, "optimizer": OPTIMIZERS[optimizer]}
    return Recipe(**settings | {"epochs": EPOCHS, "batch_size": BATCH} | changes)


def together(plan: Recipe, runs: list[tuple[Split, RunKey]]) -> None:
    """Train runs as a fleet and alone, and compare every tensor and curve."""
    is_double = runs[0][0].x_train.dtype == np.float64
    trained = trained_names(plan, prepare(plan, *runs[-1]))
    assert isinstance(trained, tuple), trained
    singles = {key: train_model(plan, split, key) for split, key in runs}
    seen = 0
    for network, record in train_networks(plan, runs):
        alone, its = singles[record.key]
        assert record.status is its.status
        assert record.n_steps == its.n_steps
        assert network is not None
        apart = {name: apartness(tensor, alone.state_dict()[name]) for name, tensor in network.state_dict().items()}
        assert max(apart.values()) < (1e-10 if is_double else 1e-5), apart
        for name, curve in its.curves.items():
            assert record.curves[name] == pytest.approx(curve, abs=1e-12 if is_double else 0.09 if name == "val_accuracy" else 1e-3)
        seen += 1
    assert seen == len(runs)


def apartness(one: torch.Tensor, other: torch.Tensor) -> float:
    one, other = one.double(), other.double()
    return float((one - other).norm()) / max(float(other.norm()), 1e-12)


def pairs(split: Callable[[int], Split], variants: list[Variant], seeds: list[int]) -> list[tuple[Split, RunKey]]:
    splits = {seed: split(seed) for seed in seeds}
    return [(splits[seed], RunKey(variant, Condition(), seed)) for seed in seeds for variant in variants]


def in_double(seed: int) -> Split:
    return rows(seed, np.float64)


@pytest.mark.parametrize("name", NETS)
def test_a_fleet_of_any_module_has_the_weights_of_single_runs(name):
    plan = recipe(NETS[name], double=True)
    together(plan, pairs(in_double, [BASE, Variant(l2=0.1)], [0, 1])[:3])


@pytest.mark.parametrize("name", ["convolution", "batch norm 1d", "transformer layer", "own buffers"])
def test_likewise_to_rounding_in_single_precision_on_one_batch_with_rows_left_over(name):
    split = rows(3, n_train=40)
    together(recipe(NETS[name]), pairs(lambda _: split, [BASE, Variant(l2=0.1), Variant(l2=0.0, lr=0.02)], [3]))


PARTS_OF_ONE: dict[str, Callable[[], nn.Module]] = {
    "convolution": NETS["batch norm 2d"],
    "view": lambda: Net(nn.Conv2d(2, 3, 2, padding=1), Viewing(), width=24, shape=(2, 1, 3)),
    "attention": NETS["transformer layer"],
    "dropout": lambda: Dropped(0.5),
}


@pytest.mark.parametrize("name", PARTS_OF_ONE)
def test_a_part_of_one_run_gives_the_same(name, monkeypatch):
    monkeypatch.setattr(probe, "_BYTES_AT_ONCE", 1)
    together(recipe(PARTS_OF_ONE[name], double=True), pairs(in_double, [BASE, Variant(l2=0.1)], [0, 1])[:3])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_runs", [2, 3], ids=["one batch", "two batches"])
def test_dropout_of_every_form_has_each_runs_rate_and_masks(form, n_runs):
    plan = recipe(lambda rate: Dropped(rate, **FORMS[form]), double=True)
    together(plan, pairs(in_double, [Variant(l2=0.0, dropout=rate) for rate in (0.2, 0.6)], [0, 1])[:n_runs])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_dropout_in_single_precision(optimizer):
    together(recipe(Dropped, optimizer), pairs(rows, [Variant(l2=0.01, dropout=rate) for rate in (0.0, 0.5)], [2]))


def test_a_regression_with_one_output():
    split = in_double(4)
    split = replace(split, **{name: getattr(split, name).astype(float) - 1 for name in ("y_train", "y_val", "y_test")})
    wide = recipe(lambda: nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(4, 1)), double=True)
    flat = recipe(lambda: nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(4, 1), nn.Flatten(0)), double=True)
    for plan in (wide, flat):
        together(replace(plan, task="regression", n_outputs=1), pairs(lambda _: split, [BASE, Variant(l2=0.1)], [4]))


def test_runs_that_stay_do_not_feel_that_one_has_left():
    plan = recipe(lambda rate: Dropped(rate), double=True, epochs=6)
    variants = [Variant(l2=0.0, dropout=0.3, lr=lr) for lr in (0.05, 1e200, 0.02)]
    runs = pairs(in_double, variants, [0, 1])
    singles = {key: train_one(plan, split, key) for split, key in runs}
    for record in train_fleet(plan, runs):
        assert record.status is singles[record.key].status
        assert record.curves["val_loss"] == pytest.approx(singles[record.key].curves["val_loss"], nan_ok=True)
    assert {record.status.value for record in singles.values()} == {"done", "diverged"}


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


def with_attribute(value: Any) -> nn.Module:
    module = nn.Linear(2, 2)
    module.value = value
    return module


def scaled_by(factor: float) -> Callable[[Any], Any]:
    return lambda x: factor * x


class Config:
    def __init__(self, width: int) -> None:
        self.width = width


ATTRIBUTES: list[tuple[Any, Any, bool]] = [
    (1, 1, True),
    (1, 2, False),
    (1, 1.0, False),
    ([1, {"a": 2}], [1, {"a": 2}], True),
    ([1, {"a": 2}], [1, {"a": 3}], False),
    (torch.ones(2), torch.ones(2), True),
    (torch.ones(2), torch.zeros(2), False),
    (np.ones(2), np.ones(2), True),
    (np.ones(2), np.zeros(2), False),
    (F.relu, F.relu, True),
    (F.relu, F.gelu, False),
    (scaled_by(2), scaled_by(2), True),
    (scaled_by(2), scaled_by(3), False),
    (Config(1), Config(1), True),
    (Config(1), Config(2), False),
    (count(), count(), False),
    (torch.Generator(), torch.Generator(), False),
]


@pytest.mark.parametrize(("one", "other", "is_same"), ATTRIBUTES)
def test_networks_are_alike_where_their_attributes_are(one, other, is_same):
    assert same_structure(with_attribute(one), with_attribute(other)) is is_same


def _tied_pair() -> nn.Module:
    pair = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    pair[1].weight = pair[0].weight
    return pair


def _with_odd_frozen() -> nn.Module:
    pair = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    pair[0].weight.requires_grad_(False)
    return pair


def _pair() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))


STRUCTURES: dict[str, tuple[nn.Module, nn.Module, bool]] = {
    "rates": (nn.Sequential(Dropout(0.1)), nn.Sequential(Dropout(0.5)), True),
    "forms": (nn.Sequential(Dropout(0.5)), nn.Sequential(Dropout(0.5, backward="identity")), False),
    "steps of dropout": (nn.Sequential(Dropout(0.5)), nn.Sequential(Dropout(0.5, every=2)), False),
    "held masks": (nn.Sequential(Dropout(0.5)), nn.Sequential(Dropout(0.5, hold=2)), False),
    "torch's rates": (nn.Dropout(0.1), nn.Dropout(0.5), False),
    "strides": (nn.Conv1d(1, 1, 2), nn.Conv1d(1, 1, 2, stride=2), False),
    "eps": (nn.LayerNorm(3), nn.LayerNorm(3, eps=1e-3), False),
    "widths": (nn.Linear(2, 3), nn.Linear(2, 4), False),
    "a bias": (nn.Linear(2, 3), nn.Linear(2, 3, bias=False), False),
    "precision": (nn.Linear(2, 3), nn.Linear(2, 3).double(), False),
    "types": (nn.Sequential(nn.ReLU()), nn.Sequential(nn.Tanh()), False),
    "ties": (_pair(), _tied_pair(), False),
    "tied alike": (_tied_pair(), _tied_pair(), True),
    "frozen": (_pair(), _with_odd_frozen(), False),
    "parametrised alike": (parametrizations.weight_norm(nn.Linear(2, 2)), parametrizations.weight_norm(nn.Linear(2, 2)), True),
    "parametrised": (parametrizations.weight_norm(nn.Linear(2, 2)), nn.Linear(2, 2), False),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_networks_are_alike_where_one_can_stand_for_the_other(name):
    one, other, is_same = STRUCTURES[name]
    assert same_structure(one, other) is is_same
    assert same_structure(other, one) is is_same
    assert same_structure(one, copy.deepcopy(one))


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
