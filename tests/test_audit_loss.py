"""What an audit reads from a loss and from a forward pass."""

from __future__ import annotations

import copy
import re
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from shrinkwise.errors import ModelError, SettingError
from shrinkwise.regularization.apply import Regularizer, param_groups
from shrinkwise.regularization.audit import audit
from shrinkwise.seeding import isolated_rng, torch_generator

X = torch.randn(10, 6, generator=torch_generator("audit", "x"))
Y = torch.arange(10) % 3


def classifier():
    with isolated_rng("audit loss"):
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def data_loss(model, batch):
    x, y = batch
    return F.cross_entropy(model(x), y)


def matrices(model):
    return [p for p in model.parameters() if p.ndim > 1]


class _Squares(nn.Module):
    """A penalty written as a module of its own, which holds the model."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self):
        return 0.05 * sum(p.square().sum() for p in self.model.parameters() if p.ndim > 1)


PENALTIES = {
    "half the squares": (lambda m: 0.1 / 2 * sum(p.pow(2).sum() for p in matrices(m)), "l2", 0.1),
    "squares": (lambda m: 0.05 * sum((p**2).sum() for p in matrices(m)), "l2", 0.1),
    "norm squared": (lambda m: 0.05 * sum(torch.norm(p) ** 2 for p in matrices(m)), "l2", 0.1),
    "one long vector": (lambda m: 0.05 * torch.cat([p.view(-1) for p in matrices(m)]).square().sum(), "l2", 0.1),
    "parameters_to_vector": (
        lambda m: 0.05 * nn.utils.parameters_to_vector(matrices(m)).dot(nn.utils.parameters_to_vector(matrices(m))),
        "l2",
        0.1,
    ),
    "foreach": (lambda m: 0.05 * sum(n**2 for n in torch._foreach_norm(matrices(m))), "l2", 0.1),
    "a module": (lambda m: _Squares(m)(), "l2", 0.1),
    "our own": (lambda m: Regularizer(l2=0.1).bind(m).penalty(), "l2", 0.1),
    "absolute values": (lambda m: 0.1 * sum(p.abs().sum() for p in matrices(m)), "l1", 0.1),
    "the norm of each, not squared": (lambda m: 0.1 * sum(p.norm() for p in matrices(m)), "norm", 0.1),
    "distance to given weights": (lambda m: 0.1 * sum((p - 1).square().sum() for p in matrices(m)), "l2_sp", 0.2),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_in_the_loss_is_found_with_its_strength(name):
    penalty, kind, lam = PENALTIES[name]
    seen = audit(classifier(), inputs=(X, Y), loss=lambda model, batch: data_loss(model, batch) + penalty(model))
    for parameter in seen.parameters:
        if len(parameter.shape) > 1:
            assert parameter.penalty == f"{kind} by loss"
            assert parameter.lam == (lam if lam is None else pytest.approx(lam, rel=1e-4))
        else:
            assert parameter.penalty is None


def test_both_parts_of_an_elastic_net_are_told():
    def loss(model, batch):
        return data_loss(model, batch) + sum(0.01 * p.abs().sum() + 0.05 * p.square().sum() for p in matrices(model))

    parameter = audit(classifier(), inputs=(X, Y), loss=loss)["0.weight"]
    assert parameter.penalty == "l2 by loss + l1 by loss"
    assert [action.lam for action in parameter.actions] == pytest.approx([0.1, 0.01], rel=1e-4)


def test_a_little_l1_beside_much_l2_is_told():
    def loss(model, batch):
        return data_loss(model, batch) + sum(1e-3 * p.abs().sum() + 0.5 * p.square().sum() for p in matrices(model))

    actions = audit(classifier(), inputs=(X, Y), loss=loss)["0.weight"].actions
    assert [action.lam for action in actions] == pytest.approx([1.0, 1e-3], rel=1e-3)


@given(lam=st.floats(1e-6, 10))
def test_the_strength_of_l2_in_the_loss_is_exact(lam):
    model = classifier()
    seen = audit(model, loss=lambda model, _: data_loss(model, (X, Y)) + lam / 2 * sum(p.square().sum() for p in matrices(model)))
    assert seen["4.weight"].lam == pytest.approx(lam, rel=1e-4)


INNOCENT = {
    "the data alone": data_loss,
    "what is detached": lambda m, b: data_loss(m, b) + 0.1 * sum(p.detach().square().sum() for p in matrices(m)),
    "what is data": lambda m, b: data_loss(m, b) + 0.1 * sum(p.data.square().sum() for p in matrices(m)),
    "strength zero": lambda m, b: data_loss(m, b) + 0.0 * sum(p.square().sum() for p in matrices(m)),
    "parameters handed in": lambda m, b: F.cross_entropy(torch.func.functional_call(m, dict(m.named_parameters()), b[0]), b[1]),
    "a look at the norm": lambda m, b: (m[0].weight.norm().item(), data_loss(m, b))[1],
}


@pytest.mark.parametrize("name", INNOCENT)
def test_no_penalty_is_seen_where_there_is_none(name):
    seen = audit(classifier(), inputs=(X, Y), loss=INNOCENT[name])
    assert [parameter.penalty for parameter in seen.parameters] == [None] * len(seen.parameters)


class _UsesItsWeightsFreely(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 3)

    def forward(self, x):
        return F.linear(x, self.inner.weight / self.inner.weight.norm(), self.inner.bias)


def test_functional_use_inside_forward_is_no_penalty_and_is_scale_invariant():
    model = _UsesItsWeightsFreely()
    seen = audit(model, torch.optim.AdamW(param_groups(model, 0.1)), inputs=(X, Y), loss=data_loss)
    assert seen["inner.weight"].penalty == "decay by weight_decay"
    assert [warning.code for warning in seen.warnings] == ["scale_invariant"]


def test_trap_7_a_penalty_in_the_loss_on_top_of_adamws_default_is_found():
    model = classifier()

    def loss(model, batch):
        return data_loss(model, batch) + 1e-4 * sum(p.square().sum() for p in matrices(model))

    seen = audit(model, torch.optim.AdamW(model.parameters()), inputs=(X, Y), loss=loss)
    (warning,) = (warning for warning in seen.warnings if warning.code == "regularised_twice")
    assert warning.names == ("0.weight", "4.weight")
    assert "decay by weight_decay + l2 by loss" in warning.message
    assert seen["0.weight"].lam == pytest.approx(0.01 + 2e-4)


def test_l1_beside_weight_decay_is_no_mistake():
    model = classifier()
    loss = lambda model, batch: data_loss(model, batch) + 1e-4 * sum(p.abs().sum() for p in matrices(model))  # noqa: E731
    seen = audit(model, torch.optim.AdamW(param_groups(model, 0.1)), inputs=(X, Y), loss=loss)
    assert "regularised_twice" not in [warning.code for warning in seen.warnings]


def test_a_penalty_on_biases_is_warned_of():
    model = classifier()
    loss = lambda model, batch: data_loss(model, batch) + sum(p.square().sum() for p in model.parameters())  # noqa: E731
    seen = audit(model, torch.optim.SGD(model.parameters()), inputs=(X, Y), loss=loss)
    assert {"decayed_bias", "decayed_norm"} <= {warning.code for warning in seen.warnings}


def test_trap_13_weights_before_a_norm_are_scale_invariant():
    model = classifier()
    seen = audit(model, torch.optim.AdamW(param_groups(model, 0.1)), inputs=X)
    assert seen["0.weight"].is_scale_invariant
    assert seen["4.weight"].is_scale_invariant is False
    assert seen["0.bias"].is_scale_invariant is None, "it does not shrink, so nobody asks"
    (warning,) = seen.warnings
    assert (warning.code, warning.names) == ("scale_invariant", ("0.weight",))


def test_trap_13_in_evaluation_mode_the_model_is_doubled_in_train_mode_all_the_same():
    model = classifier().eval()
    seen = audit(model, torch.optim.AdamW(param_groups(model, 0.1)), inputs=(X, Y), loss=data_loss)
    assert seen["0.weight"].is_scale_invariant
    assert not model.training
    assert not model[1].training


def test_trap_13_spectral_and_weight_norm_hide_scale_invariant_weights():
    with isolated_rng("norms"):
        model = nn.Sequential(
            nn.utils.parametrizations.spectral_norm(nn.Linear(6, 5)),
            nn.Tanh(),
            nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)),
        )
    # A power iteration that is far from its end: each forward pass moves the buffers, and with them the output.
    with torch.no_grad():
        model[0].parametrizations.weight.original.copy_(torch.eye(5, 6) * torch.tensor([[1.0], [0.8], [0.5], [0.5], [0.5]]))
    model[0].parametrizations.weight[0]._u.copy_(torch.tensor([0.1, 1.0, 0.0, 0.0, 0.0]))
    seen = audit(model, torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1), inputs=X)
    (warning,) = (warning for warning in seen.warnings if warning.code == "scale_invariant")
    assert "0.parametrizations.weight.original" in warning.names


class _Attention(nn.Module):
    """Small weights deep in a residual stream: whatever they do, the output hardly moves."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(6, 6, bias=False) for _ in range(3))
        with torch.no_grad():
            for p in self.parameters():
                p.mul_(0.02)

    def forward(self, x):
        return x + (self.query(x) @ self.key(x).T).softmax(-1) @ self.value(x)


def test_trap_13_a_weight_that_hardly_matters_is_not_taken_for_scale_invariant():
    with isolated_rng("attention"):
        model = _Attention().double()
    seen = audit(model, torch.optim.AdamW(model.parameters()), inputs=X.double())
    assert [parameter.is_scale_invariant for parameter in seen.parameters] == [False] * 3


def test_trap_13_a_weight_that_does_not_matter_is_not_taken_for_scale_invariant():
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))
    with torch.no_grad():
        model[1].weight.zero_()
    seen = audit(model, torch.optim.AdamW(model.parameters()), inputs=X)
    assert not seen["0.weight"].is_scale_invariant, "as a LoRA factor before the first step"


def test_without_an_optimiser_every_weight_is_doubled():
    seen = audit(classifier(), inputs={"input": X})
    assert seen["0.weight"].is_scale_invariant
    assert [warning.code for warning in seen.warnings] == ["scale_invariant"]


def test_a_loss_that_calls_no_module_is_said():
    seen = audit(nn.Linear(2, 2), loss=lambda model, _: model.weight.square().sum())
    assert seen["weight"].lam == pytest.approx(2)
    assert "scale-invariant weights: the loss calls no module of the model" in seen.not_checked


class _Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(4, 9)

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


def test_trap_6_rows_whose_gradient_a_hook_zeroes_shrink_all_the_same():
    model = _Language()
    model.embedding.weight.register_hook(lambda grad: grad * torch.tensor([[0.0]] * 3 + [[1.0]] * 6))
    model.head.bias.register_hook(torch.zeros_like)
    tokens = torch.tensor([0, 1, 5, 7])
    optimizer = torch.optim.AdamW(model.parameters())
    seen = audit(model, optimizer, inputs=tokens, loss=lambda model, x: F.cross_entropy(model(x), x))
    told = {warning.names: warning.message for warning in seen.warnings if warning.code == "frozen_shrinks"}
    assert told[("embedding.weight",)].startswith("rows 0, 1 (a gradient hook) of embedding.weight"), "row 2 was not reached"
    assert told[("head.bias",)].startswith("all of it (a gradient hook)")
    assert all(p.grad is None for p in model.parameters())
    assert len(model.embedding.weight._backward_hooks) == 1
    assert any(reason.startswith("gradient hooks on 2 parameters") for reason in audit(model, optimizer).not_checked)


def test_looking_leaves_everything_as_it_was():
    model = classifier()
    model[0].weight.register_hook(lambda grad: grad)
    before = copy.deepcopy(model.state_dict())
    rng = torch.get_rng_state()
    for loss, inputs in ((None, X), (data_loss, (X, Y))):
        audit(model, torch.optim.AdamW(model.parameters()), inputs=inputs, loss=loss)
    for name, value in model.state_dict().items():
        assert value.numpy().tobytes() == before[name].numpy().tobytes(), name
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(p.grad is None for p in model.parameters())
    assert model.training


@pytest.mark.parametrize("wrap", [partial(torch.compile, backend="eager"), nn.DataParallel], ids=["compile", "DataParallel"])
def test_a_wrapped_model_is_looked_through(wrap):
    model = classifier()
    loss = lambda model, batch: data_loss(model, batch) + 0.05 * sum(p.square().sum() for p in matrices(model))  # noqa: E731
    seen = audit(wrap(model), torch.optim.AdamW(param_groups(model, 0.1)), inputs=(X, Y), loss=loss)
    assert seen.model == "Sequential"
    assert seen["0.weight"].is_scale_invariant
    assert seen["0.weight"].actions[1].lam == pytest.approx(0.1, rel=1e-4)


def test_half_precision_is_read_with_its_rounding():
    model = classifier().bfloat16()
    loss = lambda model, x: model(x).float().mean() + 0.05 * sum(p.float().square().sum() for p in matrices(model))  # noqa: E731
    seen = audit(model, inputs=X.bfloat16(), loss=loss)
    assert seen["4.weight"].penalty == "l2 by loss"
    assert seen["4.weight"].lam == pytest.approx(0.1, rel=1e-2)
    assert seen["0.weight"].is_scale_invariant


MISTAKES = {
    "a loss that fails": ({"loss": lambda model, batch: model(batch)}, "loss(model, inputs) raised TypeError"),
    "a loss of many numbers": ({"loss": lambda model, batch: model(X)}, "loss(model, inputs) gave a Tensor of shape (10, 3)"),
    "a loss that is no tensor": ({"loss": lambda model, batch: 3.0}, "loss(model, inputs) gave a float"),
    "inputs of another size": ({"inputs": X[:, :3]}, "Sequential does not run on the given inputs (RuntimeError"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gives_one_message_with_the_mend(name):
    given, message = MISTAKES[name]
    model = classifier()
    with pytest.raises((SettingError, ModelError), match=re.escape(message)) as caught:
        audit(model, torch.optim.AdamW(model.parameters()), **given)
    assert caught.value.mend
    assert model.training


def test_a_batch_that_training_cannot_take_gives_one_message():
    model = classifier().eval()
    with pytest.raises(SettingError, match="the model raised ValueError"):
        audit(model, torch.optim.AdamW(model.parameters()), inputs=X[:1])
    assert not model.training


def test_weights_pulled_to_others_are_l2_sp_and_do_not_shrink():
    model = classifier()
    start = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)

    def loss(model, batch):
        distance = sum((p - q).square().sum() for p, q in zip(model.parameters(), start, strict=True))
        return data_loss(model, batch) + 0.01 * distance

    seen = audit(model, torch.optim.SGD(model.parameters(), lr=0.1), inputs=(X, Y), loss=loss)
    assert {p.penalty for p in seen.parameters} == {"l2_sp by loss"}, "also of what starts at zero"
    assert [p.lam for p in seen.parameters] == pytest.approx([0.02] * 6, rel=1e-3)
    assert not any(warning.code.startswith(("decayed", "regularised")) for warning in seen.warnings)


class _Prototypes(nn.Module):
    """A training step that uses parameters together with the data outside every forward pass."""

    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Linear(6, 4), nn.Linear(4, 3)
        self.prototypes = nn.Parameter(torch.randn(3, 4, generator=torch_generator("prototypes")))

    def by_prototypes(self, batch):
        return F.cross_entropy(self.encoder(batch[0]) @ self.prototypes.T, batch[1])

    def by_head(self, batch):
        return F.cross_entropy(F.linear(self.encoder(batch[0]), self.head.weight, self.head.bias), batch[1])


@pytest.mark.parametrize(("step", "named"), [("by_prototypes", "prototypes"), ("by_head", "head.weight, head.bias")])
def test_what_a_loss_does_with_weights_and_data_together_is_no_penalty(step, named):
    def loss(model, batch):
        return getattr(model, step)(batch) + 0.05 * model.encoder.weight.square().sum()

    seen = audit(_Prototypes(), inputs=(X, Y), loss=loss)
    assert {p.name: p.penalty for p in seen.parameters if p.penalty} == {"encoder.weight": "l2 by loss"}
    assert any(reason.startswith(f"penalties on {named}: the loss uses them together") for reason in seen.not_checked)


def test_tokens_that_are_inputs_and_targets_are_changed_too():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(9, 4)

        def forward(self, tokens):
            return self.embedding(tokens)

    tokens = torch.tensor([[0, 1, 5, 7]])
    loss = lambda m, x: F.cross_entropy((m(x) @ m.embedding.weight.T)[0, :-1], x[0, 1:])  # noqa: E731
    assert audit(Tied(), inputs=tokens, loss=loss)["embedding.weight"].penalty is None


def test_a_penalty_on_a_parametrised_weight_is_found_where_it_acts():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3))
    loss = lambda model, batch: data_loss(model, batch) + 0.05 * model[0].weight.square().sum()  # noqa: E731
    seen = audit(model, inputs=(X, Y), loss=loss)
    penalties = {p.name: (p.penalty, p.lam) for p in seen.parameters if p.penalty}
    assert penalties == {"0.parametrizations.weight.original0": ("l2 by loss", pytest.approx(0.1, rel=1e-4))}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_a_weight_that_an_old_weight_norm_makes_is_listed():
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 3)))
    loss = lambda model, batch: data_loss(model, batch) + 0.05 * model[0].weight.square().sum()  # noqa: E731
    assert any(reason.startswith("penalties on 0.weight, made by") for reason in audit(model, inputs=(X, Y), loss=loss).not_checked)


class _WithLoss(nn.Module):
    """Makes its loss in its forward pass, as models of transformers do, and a penalty with it."""

    def __init__(self):
        super().__init__()
        self.linear, self.temperature = nn.Linear(6, 3), nn.Parameter(torch.ones(()))

    def forward(self, x, y):
        return F.cross_entropy(self.linear(x) * self.temperature.exp(), y) + 0.1 * self.linear.weight.square().sum()


def test_a_number_made_of_weights_alone_within_a_forward_pass_is_listed():
    seen = audit(_WithLoss(), inputs=(X, Y), loss=lambda model, batch: model(*batch))
    assert "penalties within a module's forward pass: it makes a number of linear.weight alone" in seen.not_checked


def test_a_model_that_gives_no_real_numbers_is_said():
    class Labels(nn.Linear):
        def forward(self, x):
            return super().forward(x).argmax(-1)

    model = Labels(6, 3)
    seen = audit(model, torch.optim.AdamW(model.parameters()), inputs=X)
    assert "scale-invariant weights: the model gives no floating-point numbers" in seen.not_checked


def test_a_loss_that_takes_gradients_itself_is_audited():
    def loss(model, batch):
        x = batch[0].clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return data_loss(model, batch) + slope.square().mean()

    model = classifier()
    assert audit(model, torch.optim.AdamW(param_groups(model, 0.1)), inputs=(X, Y), loss=loss)["0.weight"].is_scale_invariant
