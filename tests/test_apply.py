"""The penalty on live models and optimisers: groups, the term in the loss, decoupled decay."""

from __future__ import annotations

import copy
import math
import warnings

import pytest
import torch
from torch import nn

import laws
from cases import MODELS, TiedLanguageModel
from shrinkwise.errors import SettingError, UnplacedParameterWarning
from shrinkwise.regularization.apply import Regularizer, decay_decoupled, param_groups
from shrinkwise.seeding import isolated_rng, torch_generator

LR, LAM, STEPS = 0.1, 0.3, 15
every_model = pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)


class _Problem:
    """A small classifier and its mean cross-entropy; each instance starts from the same weights."""

    def __init__(self, dtype=torch.float64):
        with isolated_rng("apply"):
            self.model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 3)).to(dtype)
        generator = torch_generator("apply")
        self.x = torch.randn(40, 6, dtype=dtype, generator=generator)
        self.y = torch.randint(3, (40,), generator=generator)

    def loss(self):
        return nn.functional.cross_entropy(self.model(self.x), self.y)

    def train(self, optimizer, bound=None):
        """Return all trained parameters as one vector."""
        for _ in range(STEPS):
            optimizer.zero_grad()
            (self.loss() + bound.penalty() if bound else self.loss()).backward()
            optimizer.step()
        return nn.utils.parameters_to_vector(self.model.parameters()).detach()


def _coupled(make, lam, apply_to="weights", dtype=torch.float64, **options):
    problem = _Problem(dtype)
    return problem.train(make(param_groups(problem.model, lam, apply_to=apply_to), lr=LR, **options))


def _in_loss(make, lam, apply_to="weights", dtype=torch.float64, **options):
    problem = _Problem(dtype)
    bound = Regularizer(l2=lam, apply_to=apply_to).bind(problem.model)
    return problem.train(make(problem.model.parameters(), lr=LR, **options), bound)


def _decoupled(make, lam, apply_to="weights", dtype=torch.float64, **options):
    problem = _Problem(dtype)
    optimizer = make(param_groups(problem.model, lam, apply_to=apply_to), lr=LR, **options)
    decay_decoupled(optimizer)
    return problem.train(optimizer)


FORMS = {"coupled": _coupled, "in_loss": _in_loss, "decoupled": _decoupled}
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "adam": (torch.optim.Adam, {"weight_decay": 0.0}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.0}),
}


@every_model
@pytest.mark.parametrize("apply_to", ["weights", "all"])
@pytest.mark.filterwarnings("ignore::shrinkwise.errors.UnplacedParameterWarning")
def test_param_groups_hold_every_trained_parameter_once_and_state_their_decay(case, apply_to):
    model = case.make()
    groups = param_groups(model, 0.05, apply_to=apply_to)
    laws.assert_each_once(model, [p for group in groups for p in group["params"]], trained_only=True)
    assert all(group["params"] for group in groups)
    decayed = {id(p) for group in groups for p in group["params"] if group["weight_decay"] == 0.05}
    free = {id(p) for group in groups for p in group["params"] if group["weight_decay"] == 0}
    names = {name: id(p) for name, p in model.named_parameters()}
    for name, role in case.roles.items():
        if name not in case.frozen:
            assert names[name] in (decayed if apply_to == "all" or role == "weight" else free)


def test_param_groups_keep_the_order_of_the_model():
    problem = _Problem()
    names = {id(p): name for name, p in problem.model.named_parameters()}
    order = [[names[id(p)] for p in group["params"]] for group in param_groups(problem.model, 0.1)]
    assert order == [["0.weight", "3.weight"], ["0.bias", "2.weight", "2.bias", "3.bias"]]


@pytest.mark.parametrize("use", [lambda model: param_groups(model, 0.1), Regularizer(l2=0.1).bind], ids=["param_groups", "bind"])
def test_parameters_of_unknown_kind_stay_free_and_are_said_where_the_user_called(use):
    model = nn.ParameterList([torch.zeros(3)])
    with pytest.warns(UnplacedParameterWarning, match="0 of ParameterList") as caught:
        use(model)
    assert caught[0].filename == __file__


def test_apply_to_all_needs_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Regularizer(l2=2.0, apply_to="all").bind(nn.ParameterList([torch.ones(3)])).value() == 3.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("form", FORMS)
def test_strength_zero_is_the_unregularised_run_to_the_last_bit(form, optimizer, dtype):
    make, options = OPTIMIZERS[optimizer]
    problem = _Problem(dtype)
    plain = problem.train(make(problem.model.parameters(), lr=LR, **options))
    assert torch.equal(FORMS[form](make, 0.0, dtype=dtype, **options), plain)


def test_penalty_at_strength_zero_has_no_graph():
    problem = _Problem()
    bound = Regularizer(l2=0.0).bind(problem.model)
    assert bound.penalty().item() == bound.value() == 0
    assert not bound.penalty().requires_grad
    loss = problem.loss()
    assert (loss + bound.penalty()).dtype == loss.dtype


@pytest.mark.parametrize("apply_to", ["weights", "all"])
def test_under_plain_sgd_coupled_in_loss_and_decoupled_agree(apply_to):
    coupled, in_loss, decoupled = (form(torch.optim.SGD, LAM, apply_to) for form in FORMS.values())
    torch.testing.assert_close(in_loss, coupled, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(decoupled, coupled, rtol=1e-12, atol=1e-14)
    assert (coupled - _coupled(torch.optim.SGD, 0.0)).abs().max() > 0.01


def test_biases_are_penalised_only_where_all_is_asked_for():
    difference = _coupled(torch.optim.SGD, LAM, "all") - _coupled(torch.optim.SGD, LAM, "weights")
    assert difference.abs().max() > 1e-3


def test_with_momentum_decoupled_decay_is_another_method():
    coupled, in_loss, decoupled = (form(torch.optim.SGD, LAM, momentum=0.9) for form in FORMS.values())
    torch.testing.assert_close(in_loss, coupled, rtol=1e-10, atol=1e-12)
    assert (decoupled - coupled).abs().max() > 1e-3


def test_adam_coupled_is_the_term_in_the_loss_and_differs_from_adamw():
    coupled = _coupled(torch.optim.Adam, LAM)
    torch.testing.assert_close(_in_loss(torch.optim.Adam, LAM), coupled, rtol=1e-6, atol=1e-9)
    assert (coupled - _coupled(torch.optim.AdamW, LAM)).abs().max() > 0.01


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"foreach": False, "lr": torch.tensor(LR)}], ids=str)
def test_adam_with_decay_decoupled_is_adamw_to_the_last_bit(options):
    options = {"lr": LR, **options}
    ours, theirs = _Problem(torch.float32), _Problem(torch.float32)
    optimizer = torch.optim.Adam(param_groups(ours.model, LAM), **options)
    decay_decoupled(optimizer)
    adamw = torch.optim.AdamW(param_groups(theirs.model, LAM), **options)
    assert torch.equal(ours.train(optimizer), theirs.train(adamw))


def test_decay_decoupled_follows_a_schedule_of_the_learning_rate():
    weight = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=LR, weight_decay=LAM)
    decay_decoupled(optimizer)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    expected = 1.0
    for step in range(4):
        expected *= 1 - LR * 0.5**step * LAM
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        scheduler.step()
    torch.testing.assert_close(weight.detach(), torch.full_like(weight, expected))


def test_decay_decoupled_leaves_weights_without_a_gradient_and_makes_no_graph():
    held, moved = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = torch.optim.SGD([held, moved], lr=LR, weight_decay=LAM)
    decay_decoupled(optimizer)
    moved.grad = torch.zeros(2)
    optimizer.step()
    assert torch.equal(held, torch.ones(2))
    assert torch.equal(moved.detach(), torch.ones(2) * (1 - LR * LAM))
    assert moved.is_leaf


def test_decay_decoupled_survives_resume():
    whole = _Problem()
    optimizer = torch.optim.SGD(param_groups(whole.model, LAM), lr=LR, momentum=0.9)
    decay_decoupled(optimizer)
    whole.train(optimizer)
    saved = copy.deepcopy((whole.model.state_dict(), optimizer.state_dict()))
    expected = whole.train(optimizer)

    resumed = _Problem()
    resumed.model.load_state_dict(saved[0])
    optimizer = torch.optim.SGD(param_groups(resumed.model, LAM), lr=LR, momentum=0.9)
    decay_decoupled(optimizer)
    optimizer.load_state_dict(saved[1])
    assert torch.equal(resumed.train(optimizer), expected)


def test_decay_decoupled_twice_is_refused_and_remove_ends_it():
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=LR, weight_decay=LAM)
    handle = decay_decoupled(optimizer)
    with pytest.raises(SettingError, match="shrink every weight twice"):
        decay_decoupled(optimizer)
    handle.remove()
    weight.grad = torch.zeros(2)
    optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(2))
    decay_decoupled(optimizer)
    optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(2) * (1 - LR * LAM))


@pytest.mark.parametrize("apply_to", ["weights", "all"])
def test_whole_objective_has_the_gradient_of_finite_differences(apply_to):
    problem = _Problem()
    # A smooth activation: differences across a ReLU's kink are none.
    problem.model[1] = nn.Tanh()
    bound = Regularizer(l2=LAM, apply_to=apply_to).bind(problem.model)
    laws.assert_gradient(lambda: problem.loss() + bound.penalty(), list(problem.model.parameters()))


def test_value_is_the_penalty_as_a_number_written_out():
    problem = _Problem()
    bound = Regularizer(l2=LAM).bind(problem.model)
    squares = sum(problem.model[i].weight.detach().square().sum().item() for i in (0, 3))
    assert isinstance(bound.value(), float)
    assert bound.value() == pytest.approx(LAM / 2 * squares, rel=1e-12)
    assert bound.value() == bound.penalty().item()
    with torch.no_grad():
        problem.model[0].weight.zero_()
    assert bound.value() < LAM / 2 * squares


def test_value_keeps_nothing_for_a_backward_pass():
    problem = _Problem()
    bound = Regularizer(l2=LAM).bind(problem.model)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda index: None):
        bound.value()
        assert not kept
        bound.penalty()
        assert len(kept) == 2


def test_a_tied_weight_is_penalised_once():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    bound = Regularizer(l2=2.0).bind(model)
    assert bound.value() == pytest.approx(model[0].weight.detach().square().sum().item())
    with pytest.warns(UnplacedParameterWarning, match="l2 acts on nothing in this TiedLanguageModel"):
        assert Regularizer(l2=2.0).bind(TiedLanguageModel(is_head_first=True)).placements == ()


def test_penalty_of_bfloat16_weights_accumulates_in_float32():
    model = nn.Linear(300, 300, bias=False, dtype=torch.bfloat16)
    nn.init.ones_(model.weight)
    bound = Regularizer(l2=2.0).bind(model)
    assert bound.penalty().dtype == torch.float32
    assert bound.value() == 90_000


@pytest.mark.parametrize("strength", [-0.1, math.nan, math.inf, "0.1"])
def test_a_strength_that_is_none_is_refused(strength):
    with pytest.raises(SettingError, match="weight_decay is"):
        param_groups(nn.Linear(2, 2), strength)
    with pytest.raises(SettingError, match="l2 is"):
        Regularizer(l2=strength)


def test_an_unknown_choice_of_parameters_is_refused():
    with pytest.raises(SettingError, match="Did you mean 'weights'"):
        param_groups(nn.Linear(2, 2), 0.1, apply_to="weight")
    with pytest.raises(SettingError, match="Did you mean 'weights'"):
        Regularizer(l2=0.1, apply_to="weight").bind(nn.Linear(2, 2))
