"""What a parameter does, seen from one forward pass, where its module says nothing."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cases import CustomNorm, Mixer
from shrinkwise.errors import ModelError
from shrinkwise.regularization.rules import Role, chosen, place
from shrinkwise.seeding import isolated_rng

X = torch.ones(2, 5, 4)
IDS = torch.tensor([[0, 1, 2], [2, 1, 0]])


class Block(nn.Module):
    """Holds one parameter under a name that says nothing, and uses it as it is told."""

    def __init__(self, shape, use):
        super().__init__()
        self.thing = nn.Parameter(torch.full(shape, 0.5))
        self.use = use

    def forward(self, x):
        return self.use(x, self.thing)


USES = {
    "linear": ((3, 4), X, F.linear, Role.WEIGHT, "the weight of linear"),
    "linear, by keyword": ((3, 4), X, lambda x, p: F.linear(input=x, weight=p), Role.WEIGHT, "the weight of linear"),
    "linear, after a transpose and a cast": (
        (4, 3),
        X,
        lambda x, p: F.linear(x, p.t().to(x.dtype)),
        Role.WEIGHT,
        "the weight of linear",
    ),
    "bias of linear": ((4,), X, lambda x, p: F.linear(x, torch.eye(4), p), Role.BIAS, "the bias of linear"),
    "learned queries": ((3, 4), X, lambda x, p: F.linear(p, torch.eye(4)), Role.TOKEN, "the input of linear"),
    "operator": ((4, 3), X, lambda x, p: x @ p, Role.WEIGHT, "an operand of matmul"),
    "operator of a view": ((3, 4), X, lambda x, p: x @ p.T, Role.WEIGHT, "an operand of matmul"),
    "einsum": ((4, 3), X, lambda x, p: torch.einsum("bnd,de->bne", x, p), Role.WEIGHT, "an operand of einsum"),
    "addmm": ((3,), X[0], lambda x, p: torch.addmm(p, x, torch.ones(4, 3)), Role.BIAS, "the input of addmm"),
    "one of many experts": ((3, 4, 4), X, lambda x, p: x @ p[1], Role.WEIGHT, "an operand of matmul"),
    "three projections in one": ((12, 4), X, lambda x, p: F.linear(x, p.chunk(3)[0]), Role.WEIGHT, "the weight of linear"),
    "convolution": ((3, 5, 1), X, F.conv1d, Role.WEIGHT, "the weight of conv1d"),
    "convolution back": ((5, 3, 1), X, F.conv_transpose1d, Role.WEIGHT, "the weight of conv_transpose1d"),
    "shift": ((4,), X, lambda x, p: x + p, Role.BIAS, "an operand of add"),
    "shift in place": ((4,), X, lambda x, p: x.clone().add_(p), Role.BIAS, "an operand of add"),
    "gain": ((4,), X, lambda x, p: p * x, Role.SCALE, "an operand of mul"),
    "gain of channels": ((5, 1), X, lambda x, p: x * p, Role.SCALE, "an operand of mul"),
    "scale of layer_norm": ((4,), X, lambda x, p: F.layer_norm(x, (4,), p), Role.NORM, "the weight of layer_norm"),
    "scale of rms_norm": ((4,), X, lambda x, p: F.rms_norm(x, (4,), weight=p), Role.NORM, "the weight of rms_norm"),
    "shift of batch_norm": (
        (5,),
        X,
        lambda x, p: F.batch_norm(x, None, None, None, p, training=True),
        Role.NORM,
        "the bias of batch_norm",
    ),
    "embedding": ((3, 4), IDS, F.embedding, Role.EMBEDDING, "the weight of embedding"),
    "table": ((3, 4), IDS, lambda x, p: p[x], Role.EMBEDDING, "an operand of getitem"),
    "positions": ((1, 5, 4), X, lambda x, p: x + p, Role.TOKEN, "an operand of add"),
    "positions without a batch": ((7, 4), X, lambda x, p: x + p[:5], Role.TOKEN, "an operand of add"),
    "token put first": ((1, 1, 4), X, lambda x, p: torch.cat([p.expand(2, -1, -1), x], dim=1), Role.TOKEN, "an operand of cat"),
    "slope": ((5,), X, F.prelu, Role.SCALE, "the weight of prelu"),
    "attention": (
        (12, 4),
        X,
        lambda x, p: F.multi_head_attention_forward(
            x, x, x, 4, 2, p, None, None, None, False, 0.0, torch.eye(4), None, need_weights=False
        ),
        Role.WEIGHT,
        "the in_proj_weight of multi_head_attention_forward",
    ),
}


@pytest.mark.parametrize(("shape", "x", "use", "role", "words"), USES.values(), ids=USES)
def test_a_use_shows_the_role(shape, x, use, role, words):
    model = Block(shape, use)
    assert place(model)[0].role is Role.UNKNOWN
    (placed,) = place(model, x)
    assert placed.role is role
    assert placed.why == f"used as {words} in Block"
    assert placed.parameter is model.thing


UNCLEAR = {
    "not used": lambda x, p: x,
    "only looked at": lambda x, p: x.reshape(-1, p.shape[1]),
    "a model for another": lambda x, p: F.linear(x.type_as(p).sum(1).expand_as(p[:2]), torch.eye(4)),
    "used as something new": lambda x, p: F.linear(x, F.normalize(p)),
    "multiplied element by element": lambda x, p: F.linear(x, p * torch.ones(3, 4)),
    "used as a weight and otherwise": lambda x, p: F.linear(x, p) * p.abs().sum(),
}


@pytest.mark.parametrize("use", UNCLEAR.values(), ids=UNCLEAR)
def test_a_use_that_says_nothing_leaves_a_parameter_unknown(use):
    model = Block((3, 4), use)
    assert place(model, X)[0].why == place(model)[0].why
    assert place(model, X)[0].role is Role.UNKNOWN


def test_of_several_uses_the_one_that_frees_it_decides():
    model = Block((5, 4), lambda x, p: F.linear(x + p, p))
    (placed,) = place(model, X)
    assert (placed.role, placed.why) == (Role.TOKEN, "used as an operand of add in Block")


def test_matrices_that_are_joined_with_each_other_are_still_weights():
    model = nn.Module()
    model.first, model.second = (nn.Parameter(torch.ones(3, 4)) for _ in range(2))
    model.forward = lambda x: F.linear(x, torch.cat([model.first, model.second]))
    assert [placed.role for placed in place(model, X)] == [Role.WEIGHT, Role.WEIGHT]


def test_what_modules_say_is_not_overruled():
    # The scale of the norm is seen in a product, element by element.
    model = nn.Sequential(nn.Embedding(4, 4), Mixer(4), CustomNorm(4))
    before, after = place(model), place(model, IDS)
    assert [placed.role for placed in before] == [Role.EMBEDDING, Role.UNKNOWN, Role.NORM]
    assert [placed.role for placed in after] == [Role.EMBEDDING, Role.WEIGHT, Role.NORM]
    assert [placed.name for placed in chosen(after)] == ["1.mix"]


def test_a_tied_parameter_with_one_unknown_holder_is_seen_in_all_its_uses():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), Mixer(4))
    model[1].mix = model[0].weight
    assert place(model)[0].role is Role.UNKNOWN
    assert place(model, X)[0].role is Role.WEIGHT


class Restless(nn.Module):
    """A model whose forward draws, counts, and replaces a buffer."""

    def __init__(self):
        super().__init__()
        self.mixer = Mixer(4)
        self.norm = nn.BatchNorm1d(5)
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        self.last = x.detach()
        random.random()
        return self.dropout(self.norm(self.mixer(x))) + np.random.rand()  # noqa: NPY002


@pytest.mark.parametrize("is_training", [True, False])
def test_a_look_changes_nothing(is_training):
    model = Restless().train(is_training)
    model.dropout.train(not is_training)
    model.norm.weight.grad = torch.ones(5)
    buffers = {name: (buffer, buffer.clone()) for name, buffer in model.named_buffers()}
    drawn = []
    for look in (lambda: None, lambda: place(model, X)):
        with isolated_rng("look"):
            look()
            drawn.append((torch.rand(3).tolist(), random.random(), np.random.rand()))  # noqa: NPY002
    assert drawn[0] == drawn[1]
    assert {name: id(buffer) for name, buffer in model.named_buffers()} == {name: id(b) for name, (b, _) in buffers.items()}
    assert all(torch.equal(buffer, value) for buffer, value in buffers.values())
    assert [p.grad is None for p in model.parameters()] == [True, False, True]
    assert torch.equal(model.norm.weight.grad, torch.ones(5))
    assert (model.training, model.norm.training, model.dropout.training) == (is_training, is_training, not is_training)


def test_buffers_come_back_after_a_forward_that_fails():
    model = nn.Sequential(nn.BatchNorm1d(5), Block((3, 9), F.linear))
    with pytest.raises(
        ModelError, match=r"Sequential does not run on the given inputs \(RuntimeError.*Give what its forward takes"
    ):
        place(model, X)
    assert model[0].num_batches_tracked == 0


class Calling(nn.Module):
    def __init__(self):
        super().__init__()
        self.mixer = Mixer(4)

    def forward(self, x, scale, *, shift=0.0):
        return self.mixer(x) * scale + shift


@pytest.mark.parametrize("inputs", [(X, 2.0), [X, 2.0], {"x": X, "scale": 2.0, "shift": 1.0}], ids=["tuple", "list", "mapping"])
def test_inputs_are_what_the_forward_takes(inputs):
    assert place(Calling(), inputs)[0].role is Role.WEIGHT


# torch warns of its own use of torch.jit when torch.compile is first imported.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, lambda m: nn.DataParallel(torch.compile(m))])
def test_a_wrapped_model_is_looked_at_without_its_wrapper(wrap):
    assert place(wrap(Mixer(4)), X)[0].role is Role.WEIGHT


def test_a_use_does_not_hide_that_the_model_asks_to_leave_a_parameter_free():
    model = Mixer(4)
    model.no_weight_decay = lambda: {"mix"}
    (placed,) = place(model, X)
    assert placed.why == "used as an operand of matmul in Mixer; free, since no_weight_decay() of Mixer names it"
    assert chosen([placed]) == ()


def test_a_lazy_module_is_not_run():
    model = nn.Sequential(nn.LazyLinear(4), Mixer(4))
    with pytest.raises(ModelError, match=r"0.weight has no shape yet.*Run the model once"):
        place(model, X)
    assert nn.parameter.is_lazy(model[0].weight)


def test_real_models_used_show_what_their_modules_show():
    """Every parameter that the table knows is seen in the same use, but for norms that are written out by hand."""
    from architectures import ARCHITECTURES
    from shrinkwise.regularization.rules.uses import uses_in

    inputs = {
        "GPT-2 with tied head": IDS,
        "Llama": IDS,
        "BERT": IDS,
        "ViT": torch.ones(2, 3, 8, 8),
        "ResNet": torch.ones(2, 3, 8, 8),
    }
    for architecture in ARCHITECTURES:
        if architecture.name in inputs:
            model = architecture.make()
            placements = place(model)
            seen = uses_in(model, inputs[architecture.name], placements)
            written_out = {Role.NORM: Role.SCALE} if architecture.name == "Llama" else {}
            expected = {placed.name: written_out.get(placed.role, placed.role) for placed in placements}
            assert {placed.name: seen[id(placed)].role for placed in placements} == expected


N_CALLS = {"global": 0}


class Box:
    """A plain object that holds another."""

    def __init__(self, inner=None):
        self.n_calls, self.inner = 0, inner


class Writing(nn.Module):
    """A forward that writes wherever it can."""

    def __init__(self):
        super().__init__()
        self.mix, self.slow = nn.Parameter(torch.eye(4)), nn.Parameter(torch.eye(4))
        self.register_buffer("seen", torch.zeros(()))
        self.n_calls, self.cache, self.box = 0, {}, Box(Box())

    def forward(self, x):
        self.seen += 1
        self.register_buffer("last", x)
        self.cache["last"] = x
        for counted in (self, self.box, self.box.inner):
            counted.n_calls += 1
        N_CALLS["global"] += 1
        with torch.no_grad():
            self.slow *= 2
        return x @ self.mix


def test_what_modules_hold_is_put_back_after_a_look_and_what_lies_elsewhere_is_not():
    """The docstring of ``place`` says so."""
    model = Writing()
    before = N_CALLS["global"]
    assert place(model, X)[0].role is Role.WEIGHT
    assert dict(model.named_buffers()).keys() == {"seen"}
    assert torch.equal(model.slow, torch.eye(4))
    assert (model.seen, model.n_calls, model.cache, model.box.n_calls) == (0, 0, {}, 0)
    assert (model.box.inner.n_calls, N_CALLS["global"]) == (1, before + 1)
