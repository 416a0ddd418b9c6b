"""Every form of dropout: its masks, its steps, its backward pass."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

import laws
from shrinkwise.errors import ModelError, SettingError
from shrinkwise.regularization.apply import Regularizer, count_steps
from shrinkwise.regularization.dropout import Dropout, place_dropout, set_step
from shrinkwise.regularization.dropout.paths import with_value
from shrinkwise.seeding import isolated_rng, keep_mask, mask_key, torch_generator

BACKWARDS = ("masked", "identity", "full")


def _placed(module, seed=0, step=1):
    place_dropout(module, seed)
    set_step(module, step)
    return module


def _kept(dropout, step, shape=(40, 50)):
    set_step(dropout, step)
    return dropout(torch.ones(shape)) != 0


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_masks_silence_a_share_of_p_and_scale_the_rest(p):
    out = _placed(Dropout(p))(torch.ones(400, 500))
    silenced = (out == 0).double().mean().item()
    assert abs(silenced - p) < 5 * math.sqrt(p * (1 - p) / out.numel())
    torch.testing.assert_close(out[out != 0].unique(), torch.tensor([1 / (1 - p)]))


def test_masks_differ_by_seed_step_and_layer_and_by_nothing_else():
    pair = _placed(nn.ModuleList([Dropout(0.5), Dropout(0.5)]))
    mask = _kept(pair[0], 1)
    assert torch.equal(mask, _kept(_placed(Dropout(0.5)), 1))
    for other in (_kept(pair[0], 2), _kept(pair[1], 1), _kept(_placed(Dropout(0.5), seed=1), 1)):
        # Independent masks agree on half of 2,000 elements, give or take five standard deviations.
        assert abs((mask == other).double().mean().item() - 0.5) < 5 * math.sqrt(0.25 / mask.numel())


def test_masks_are_those_of_the_step_they_were_drawn_at():
    pair = _placed(nn.ModuleList([Dropout(0.5), Dropout(0.3, hold=4)]), seed=9)
    for step, drawn_at in ((1, 1), (4, 1), (5, 5), (7, 5)):
        key = torch.tensor(mask_key(seed=9, step=drawn_at, layer=1))
        assert torch.equal(_kept(pair[1], step), keep_mask((40, 50), 0.3, key))


def test_masks_neither_read_nor_write_global_random_state():
    dropout = _placed(Dropout(0.5))
    with isolated_rng("one"):
        before = torch.get_rng_state()
        first = dropout(torch.ones(50))
        assert torch.equal(torch.get_rng_state(), before)
    with isolated_rng("other"):
        assert torch.equal(dropout(torch.ones(50)), first)


@pytest.mark.parametrize("backward", BACKWARDS)
def test_dropout_is_the_identity_in_eval_mode_and_at_p_zero(backward):
    layer = nn.Linear(6, 2)
    x = torch.randn(5, 6, generator=torch_generator("identity"))
    for dropout in (Dropout(0.5, backward=backward).eval(), Dropout(0.0, backward=backward)):
        assert torch.equal(dropout(x, into=layer), layer(x))


@given(every=st.integers(1, 5), hold=st.integers(1, 5))
def test_trap_15_every_and_hold_act_on_steps_counted_from_one(every, hold):
    dropout = _placed(Dropout(0.5, every=every, hold=hold))
    plain = _placed(Dropout(0.5))
    for step in range(1, 13):
        mask = _kept(dropout, step, (100,))
        if step % every:
            assert mask.all()
        else:
            assert torch.equal(mask, _kept(plain, step - (step - 1) % hold, (100,)))


def test_a_held_mask_is_kept_for_its_steps_and_then_drawn_anew():
    dropout = _placed(Dropout(0.5, hold=3))
    masks = [_kept(dropout, step) for step in range(1, 8)]
    assert [torch.equal(one, other) for one, other in pairwise(masks)] == [True, True, False] * 2


def test_article_is_every_tenth_step_with_nothing_silenced_backward():
    dropout = _placed(Dropout.article(0.4))
    assert (dropout.p, dropout.every, dropout.hold, dropout.backward) == (0.4, 10, 1, "full")
    layer = nn.Linear(20, 3)
    x = torch.ones(4, 20)
    acts = []
    for step in range(1, 21):
        set_step(dropout, step)
        acts.append(not torch.equal(dropout(x, into=layer), layer(x)))
    assert [step for step, does in enumerate(acts, 1) if does] == [10, 20]


def _loop_model(**options):
    with isolated_rng("loop"):
        model = nn.Sequential(nn.Linear(8, 16), Dropout(0.5, **options), nn.Linear(16, 1))
    place_dropout(model, 3)
    return model


def test_trap_15_count_steps_follows_real_optimizer_steps_not_forwards():
    model = _loop_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    count_steps(model, optimizer)
    x = torch.ones(4, 8)
    reference = _loop_model()
    for step in (1, 2, 3):
        set_step(reference, step)
        # Gradient accumulation: two forwards, one step, one mask.
        first, second = model(x), model(x)
        assert torch.equal(first, second)
        assert torch.equal(first, reference(x))
        (first + second).sum().backward()
        optimizer.step()
    assert model[1].step == 4


def test_count_steps_ends_when_its_handle_is_removed():
    model = _loop_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    count_steps(model, optimizer).remove()
    optimizer.step()
    assert model[1].step == 1
    count_steps(model, optimizer)
    optimizer.step()
    assert model[1].step == 2


def test_count_steps_twice_or_without_a_place_is_refused():
    model = _loop_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    count_steps(model, optimizer)
    with pytest.raises(SettingError, match="count every step twice"):
        count_steps(model, optimizer)
    with pytest.raises(ModelError, match=r"Call place_dropout\(model, seed\) first"):
        count_steps(nn.Sequential(Dropout(0.5)), optimizer)


@pytest.mark.parametrize("backward", BACKWARDS)
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_activation_checkpointing_draws_the_same_mask_again(backward, use_reentrant):
    model = _loop_model(backward=backward)
    set_step(model, 1)
    x = torch.randn(4, 8, generator=torch_generator("checkpoint")).requires_grad_()

    def block(x):
        return model[1](model[0](x), into=model[2])

    plain = torch.autograd.grad(block(x).square().sum(), list(model.parameters()))
    checkpoint(block, x, use_reentrant=use_reentrant, preserve_rng_state=False).square().sum().backward()
    for parameter, expected in zip(model.parameters(), plain, strict=True):
        assert torch.equal(parameter.grad, expected)


def test_state_dict_resumes_seed_layer_and_step(tmp_path):
    model = _loop_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    count_steps(model, optimizer)
    for _ in range(4):
        optimizer.step()
    torch.save(model.state_dict(), tmp_path / "state.pt")

    resumed = nn.Sequential(nn.Linear(8, 16), Dropout(0.5), nn.Linear(16, 1))
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    count_steps(resumed, torch.optim.SGD(resumed.parameters(), lr=0.1))
    assert (resumed[1].seed, resumed[1].layer, resumed[1].step) == (3, 0, 5)
    x = torch.ones(4, 8)
    assert torch.equal(resumed(x), model(x))


def test_state_that_was_never_placed_takes_no_place_away():
    dropout = _placed(Dropout(0.5), seed=4, step=7)
    dropout.load_state_dict(Dropout(0.5).state_dict())
    assert (dropout.seed, dropout.layer, dropout.step) == (4, 0, 7)


def test_a_deep_copy_draws_the_same_masks():
    model = _placed(_loop_model())
    x = torch.ones(4, 8)
    assert torch.equal(copy.deepcopy(model)(x), model(x))


LAYERS = {
    "linear": (nn.Linear(12, 3), (1, 12)),
    "conv1d": (nn.Conv1d(12, 3, 1), (1, 12, 1)),
    "conv2d": (nn.Conv2d(12, 3, 1), (1, 12, 1, 1)),
    "conv3d": (nn.Conv3d(12, 3, 1), (1, 12, 1, 1, 1)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("backward", "learns_in", "learns_out"), [("masked", 0, 0), ("identity", 1, 0), ("full", 1, 1)])
def test_trap_14_silenced_neurons_learn_as_the_form_says(name, backward, learns_in, learns_out):
    layer, shape = copy.deepcopy(LAYERS[name][0]), LAYERS[name][1]
    dropout = _placed(Dropout(0.5, backward=backward))
    x = torch.ones(shape, requires_grad=True)
    silenced = ~_kept(_placed(Dropout(0.5)), 1, shape).flatten()
    assert 0 < silenced.sum() < 12
    dropout(x, into=layer).square().sum().backward()
    assert (x.grad.flatten()[silenced] != 0).all() == bool(learns_in)
    assert (layer.weight.grad.flatten(1)[:, silenced] != 0).all() == bool(learns_out)
    assert (layer.weight.grad.flatten(1)[:, ~silenced] != 0).all()


@pytest.mark.parametrize("backward", BACKWARDS)
@pytest.mark.parametrize("name", LAYERS)
def test_every_form_has_the_forward_value_of_standard_dropout(name, backward):
    layer, shape = LAYERS[name]
    x = torch.randn(shape, generator=torch_generator("forward"))
    mask = _kept(_placed(Dropout(0.3)), 1, shape)
    out = _placed(Dropout(0.3, backward=backward))(x, into=layer)
    torch.testing.assert_close(out, layer(x * mask / 0.7))


class _Net(nn.Module):
    """Two dropouts of one form between three layers; smooth, so that differences are exact enough."""

    def __init__(self, **options):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 7), nn.Linear(7, 6), nn.Linear(6, 3)])
        self.drops = nn.ModuleList([Dropout(0.5, **options), Dropout(0.3, **options)])

    def forward(self, x):
        h = self.layers[0](x)
        for drop, layer in zip(self.drops, self.layers[1:], strict=True):
            h = drop(torch.tanh(h), into=layer)
        return h

    def shifts(self, x):
        """Return what each mask adds: to its activations under ``identity``, to the layer behind them under ``full``."""
        found, h = [], self.layers[0](x)
        for drop, layer in zip(self.drops, self.layers[1:], strict=True):
            h = torch.tanh(h)
            out = drop(h, into=layer)
            found.append((out - layer(h) if drop.backward == "full" else drop(h) - h).detach())
            h = out
        return found

    def shifted(self, x, shifts):
        """Return the network without masks, moved by constants: the function whose gradient ``identity`` and ``full`` claim."""
        h = self.layers[0](x)
        for drop, layer, shift in zip(self.drops, self.layers[1:], shifts, strict=True):
            h = torch.tanh(h)
            h = layer(h) + shift if drop.backward == "full" else layer(h + shift)
        return h


def _objective(**options):
    with isolated_rng("objective"):
        net = _placed(_Net(**options).double(), seed=5)
    generator = torch_generator("objective")
    x = torch.randn(9, 4, dtype=torch.float64, generator=generator)
    y = torch.randint(3, (9,), generator=generator)
    bound = Regularizer(l2=0.3).bind(net)
    return net, x, lambda logits: nn.functional.cross_entropy(logits, y) + bound.penalty()


@pytest.mark.parametrize("options", [{}, {"hold": 2}, {"every": 3}, {"every": 3, "hold": 4}], ids=str)
@pytest.mark.parametrize("step", [1, 3])
def test_whole_objective_with_masked_dropout_has_its_own_gradient(options, step):
    net, x, loss = _objective(**options)
    set_step(net, step)
    laws.assert_gradient(lambda: loss(net(x)), list(net.parameters()))
    assert torch.autograd.gradcheck(net, x.requires_grad_())


@pytest.mark.parametrize("options", [{"backward": "identity"}, {"backward": "full"}, {"backward": "full", "every": 10}], ids=str)
@pytest.mark.parametrize("step", [9, 10])
def test_whole_objective_has_the_gradient_of_its_surrogate(options, step):
    net, x, loss = _objective(**options)
    set_step(net, step)
    shifts = net.shifts(x)
    torch.testing.assert_close(net.shifted(x, shifts), net(x))
    laws.assert_gradient(lambda: loss(net(x)), list(net.parameters()), claimed_of=lambda: loss(net.shifted(x, shifts)))


def test_identity_and_full_are_not_the_gradient_of_the_masked_objective():
    masked, x, loss = _objective()
    expected = torch.autograd.grad(loss(masked(x)), list(masked.parameters()))
    for backward in ("identity", "full"):
        net, x, loss = _objective(backward=backward)
        found = torch.autograd.grad(loss(net(x)), list(net.parameters()))
        assert max((one - other).abs().max() for one, other in zip(found, expected, strict=True)) > 1e-3


def test_gradients_of_gradients_follow_the_path():
    x = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    y = with_value(lambda: torch.zeros(2, dtype=torch.float64), x**3)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.equal(y, torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(first, 3 * x**2)
    torch.testing.assert_close(second, 6 * x)


@pytest.mark.parametrize("backward", BACKWARDS)
def test_trap_16_every_form_works_under_torch_func(backward):
    layer = nn.Linear(6, 3)
    dropout = _placed(Dropout(0.5, backward=backward))
    rows = torch.randn(4, 6, generator=torch_generator("func"))

    def loss(row):
        return dropout(row, into=layer).square().sum()

    leaves = [row.clone().requires_grad_() for row in rows]
    expected = torch.stack([torch.autograd.grad(loss(leaf), leaf)[0] for leaf in leaves])
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(rows), expected)


def test_full_reads_a_weight_first_where_it_needs_the_gradient():
    # Autocast keeps the first bfloat16 copy of a weight, and not every torch makes another where that one has no graph.
    layer = nn.Linear(8, 3)
    has_graph = []
    layer.register_forward_hook(lambda *_: has_graph.append(torch.is_grad_enabled()))
    dropout = _placed(Dropout(0.5, backward="full"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        dropout(torch.ones(2, 8), into=layer).sum().backward()
    assert has_graph == [True, False]
    assert (layer.weight.grad != 0).all()


@pytest.mark.parametrize("backward", ["identity", "full"])
def test_an_in_place_operation_may_follow(backward):
    layer = nn.Linear(8, 3)
    x = torch.ones(2, 8, requires_grad=True)
    torch.relu_(_placed(Dropout(0.5, backward=backward))(x, into=layer if backward == "full" else None)).sum().backward()
    assert x.grad is not None


def test_training_without_a_place_or_a_step_is_refused():
    dropout = Dropout(0.5)
    with pytest.raises(ModelError, match=r"no place in a model.*Call place_dropout\(model, seed\)"):
        dropout(torch.ones(3))
    place_dropout(dropout, 0)
    with pytest.raises(ModelError, match=r"not told the step.*count_steps\(model, optimizer\)"):
        dropout(torch.ones(3))


@pytest.mark.parametrize(
    "into", [None, nn.ReLU(), nn.LSTM(3, 3), nn.ConvTranspose1d(3, 3, 1)], ids=lambda into: type(into).__name__
)
@pytest.mark.parametrize("is_training", [True, False])
def test_full_refuses_what_is_neither_linear_nor_conv(into, is_training):
    dropout = _placed(Dropout(0.5, backward="full")).train(is_training)
    with pytest.raises(ModelError, match=r"Call dropout\(x, into=layer\)"):
        dropout(torch.ones(3, 3), into=into)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 1.0}, "dropout p is 1.0"),
        ({"p": -0.1}, "dropout p is -0.1"),
        ({"p": math.nan}, "dropout p is nan"),
        ({"every": 0}, "dropout every is 0"),
        ({"hold": 1.5}, "dropout hold is 1.5"),
        ({"backward": "ful"}, "Did you mean 'full'"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(SettingError, match=message):
        Dropout(**options)


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5])
def test_a_seed_that_is_no_63_bit_integer_is_refused(seed):
    with pytest.raises(SettingError, match="seed of dropout"):
        place_dropout(Dropout(), seed)


@pytest.mark.parametrize("step", [0, -1, 2.0])
def test_a_step_below_one_is_refused(step):
    with pytest.raises(SettingError, match="step is"):
        set_step(Dropout(), step)


class _FullDropoutNet(nn.Module):
    def __init__(self, backward):
        super().__init__()
        self.first, self.dropout, self.second = nn.Linear(4, 8), Dropout(0.5, every=2, backward=backward), nn.Linear(8, 3)

    def forward(self, x):
        return self.dropout(torch.relu(self.first(x)), into=self.second)


# torch warns of its own use of torch.jit when torch.compile is first imported, and of its own tracing of autograd functions.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("backward", BACKWARDS)
def test_trap_9_compiled_dropout_draws_each_steps_mask_and_is_compiled_once(backward):
    """A step that forward reads as a number is compiled anew at every step, or frozen."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()

    def train(compiled):
        with isolated_rng("compiled dropout"):
            model = _FullDropoutNet(backward)
        place_dropout(model, seed=1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        count_steps(model, optimizer)
        called = torch.compile(model, backend="aot_eager", fullgraph=True) if compiled else model
        for _ in range(12):
            optimizer.zero_grad()
            called(torch.linspace(-1, 1, 20).view(5, 4)).square().sum().backward()
            optimizer.step()
        return nn.utils.parameters_to_vector(model.parameters()).detach()

    eager = train(compiled=False)
    torch.testing.assert_close(train(compiled=True), eager)
    # One where masks act and one where they do not.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    torch._dynamo.reset()
