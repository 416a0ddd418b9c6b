"""The implicit derivative against problems that are solved again, and its advice against networks that are trained again."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from curved import mlp, regressor, rows_for
from shrinkwise.experiments.data import cut, digits
from shrinkwise.experiments.engine import NamedOptimizer, Recipe
from shrinkwise.experiments.models import MLPFactory
from shrinkwise.experiments.records import Condition, Variant
from shrinkwise.experiments.selection import LayerSensitivity
from shrinkwise.experiments.selection.curvature import look_at_layers, pooled, slopes, verify
from shrinkwise.experiments.selection.curvature import sensitivity as room
from shrinkwise.experiments.selection.curvature.course import Course, course_of

pytest.importorskip("curvlinops")


class TwoParts(nn.Module):
    """A logistic regression whose features stand in two layers, each with a strength of its own, and a free bias."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(4, 3, bias=False)

    def forward(self, x):
        return self.one(x[:, :3]) + self.two(x[:, 3:])


def logistic_problem():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(160, 7, generator=generator, dtype=torch.float64)
    scores = x @ torch.randn(7, 3, generator=generator, dtype=torch.float64)
    y = (scores + 2 * torch.randn(160, 3, generator=generator, dtype=torch.float64)).argmax(1)
    return (x[:60], y[:60]), (x[60:], y[60:])


def solve(train, lams):
    """Minimise mean loss + ½Σλ‖w‖² by Newton steps to the last bit."""
    torch.manual_seed(0)
    model = TwoParts().double()
    names = [name for name, _ in model.named_parameters()]
    shapes = [parameter.shape for parameter in model.parameters()]

    def objective(flat):
        sizes = [shape.numel() for shape in shapes]
        values = {n: part.reshape(s) for n, part, s in zip(names, flat.split(sizes), shapes, strict=True)}
        penalty = sum(lam * values[name].square().sum() for name, lam in lams.items()) / 2
        # The bias is free up to a common shift, which no loss notices.
        shift = values["one.bias"].sum().square()
        return F.cross_entropy(torch.func.functional_call(model, values, (train[0],)), train[1]) + penalty + shift

    flat = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    for _ in range(30):
        gradient = torch.autograd.functional.jacobian(objective, flat)
        flat = flat - torch.linalg.solve(torch.autograd.functional.hessian(objective, flat), gradient)
    assert torch.autograd.functional.jacobian(objective, flat).norm() < 1e-12
    nn.utils.vector_to_parameters(flat, model.parameters())
    return model


def validation_loss(model, val):
    with torch.no_grad():
        return float(F.cross_entropy(model(val[0]), val[1]))


@pytest.mark.parametrize("lams", [(0.1, 0.03), (1e-3, 0.3), (1.0, 1e-4)])
def test_slopes_are_the_differences_of_a_logistic_regression_that_is_solved_again(lams):
    train, val = logistic_problem()
    strengths = dict(zip(("one.weight", "two.weight"), lams, strict=True))
    found = slopes(solve(train, strengths), train, val, "classification", strengths, tolerance=1e-10)
    step = 1e-4
    for name, lam in strengths.items():
        up, down = (validation_loss(solve(train, strengths | {name: lam * math.exp(s)}), val) for s in (step, -step))
        assert found[name] == pytest.approx((up - down) / (2 * step), rel=1e-3)


def test_the_course_of_gradient_descent_foretells_what_a_training_that_ended_early_does():
    """Twenty directions, of which few have come to rest; without the course the slope is off by more than its double."""
    torch.manual_seed(1)
    x = torch.randn(60, 20, dtype=torch.float64) * torch.logspace(0, -3, 20, dtype=torch.float64)
    y = (x @ torch.randn(20, dtype=torch.float64) * 3) + 0.5 * torch.randn(60, dtype=torch.float64)
    train, val = (x[:30], y[:30]), (x[30:], y[30:])
    lr, n_steps, lam = 0.05, 400, 1e-3

    def trained(lam):
        model = nn.Linear(20, 1, bias=False).double()
        nn.init.zeros_(model.weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, weight_decay=lam)
        for _ in range(n_steps):
            optimizer.zero_grad()
            F.mse_loss(model(train[0])[:, 0], train[1]).backward()
            optimizer.step()
        return model, float(F.mse_loss(model(val[0])[:, 0], val[1]).detach()), optimizer

    wanted = (trained(lam * math.exp(0.01))[1] - trained(lam * math.exp(-0.01))[1]) / 0.02
    model, _, optimizer = trained(lam)
    course = course_of(optimizer, n_steps, {})
    found = slopes(model, train, val, "regression", {"weight": lam}, course=course)["weight"]
    assert course.damping == pytest.approx(1 / (lr * n_steps))
    assert 0.5 < found / wanted < 2


@pytest.mark.parametrize("n_steps", [1, 100])
def test_the_course_is_read_from_the_optimiser(n_steps):
    (weight,) = parameters = [nn.Parameter(torch.ones(2))]
    divisors = {"weight": torch.tensor([2.0, 3.0])}
    momentum = course_of(torch.optim.SGD(parameters, lr=0.1, momentum=0.9), n_steps, divisors)
    assert (momentum.damping, momentum.divisors) == (pytest.approx(1 / n_steps), {})
    for kind, is_decoupled in ((torch.optim.Adam, False), (torch.optim.AdamW, True)):
        course = course_of(kind(parameters, lr=0.01), n_steps, divisors)
        assert (course.damping, course.is_decoupled) == (pytest.approx(100 / n_steps), is_decoupled)
        assert course.divisors is divisors
    assert course_of(torch.optim.Rprop(parameters), n_steps, divisors).damping == 1e-3
    assert weight.shape == (2,)


def test_a_decoupled_decay_pulls_as_a_penalty_times_what_the_gradient_is_divided_by():
    model, x, y, task = rows_for(mlp)
    twice = {name: torch.full_like(parameter, 2.0) for name, parameter in model.named_parameters()}
    decoupled = slopes(model, (x, y), (x, y), task, {"0.weight": 0.1}, course=Course(0.05, twice, is_decoupled=True))
    as_penalty = slopes(model, (x, y), (x, y), task, {"0.weight": 0.2}, course=Course(0.1))
    coupled = slopes(model, (x, y), (x, y), task, {"0.weight": 0.1}, course=Course(0.05, twice))
    assert decoupled == pytest.approx(as_penalty, rel=1e-3)
    assert coupled != pytest.approx(as_penalty, rel=0.1)


def test_only_what_is_penalised_has_a_slope_and_the_network_is_left_as_it_was():
    model, x, y, task = rows_for(regressor)
    model.train()
    before = copy.deepcopy(model.state_dict())
    found = slopes(model, (x, y), (x[:9], y[:9]), task, {"0.weight": 0.1, "2.weight": 0.0}, course=Course(0.01))
    assert list(found) == ["0.weight"]
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_system_that_is_not_solved_has_no_slope_and_counts_for_no_seed(monkeypatch):
    model, x, y, task = rows_for(mlp)
    monkeypatch.setattr(room, "_STEPS", 1)
    found = slopes(model, (x, y), (x, y), task, {"0.weight": 0.1}, course=Course(0.01))
    assert math.isnan(found["0.weight"])
    (layer,) = pooled([found, {"0.weight": 1.0}, {"0.weight": 1.1}])
    assert (layer.n, layer.slope, layer.advice) == (2, pytest.approx(1.05), "wants less")
    assert pooled([found])[0].advice == "no clear direction"


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8), st.floats(-3, 3))
def test_advice_is_given_past_two_standard_errors_and_no_sooner(noise, shift):
    values = torch.tensor(noise, dtype=torch.float64) + shift
    (layer,) = pooled([{"a": float(value)} for value in values])
    assert layer.slope == pytest.approx(float(values.mean()), abs=1e-9)
    assert layer.error == pytest.approx(float(values.std()) / len(noise) ** 0.5, abs=1e-9)
    if abs(layer.slope) > 2.001 * layer.error:
        assert layer.advice == ("wants more" if layer.slope < 0 else "wants less")
    elif abs(layer.slope) < 1.999 * layer.error:
        assert layer.advice == "no clear direction"


def test_one_seed_gives_no_advice():
    (layer,) = pooled([{"a": -3.0}])
    assert (layer.n, layer.advice) == (1, "no clear direction")
    assert math.isnan(layer.error)


RECIPE = Recipe(MLPFactory(64, (16,), 3), "classification", 3, NamedOptimizer("sgd", 0.1), epochs=12, batch_size=32)
SEEDS = (0, 1, 2)


def split_of(seed):
    return cut(digits("0-2"), Condition(train_size=100, label_noise=0.2), seed)


def test_layers_that_are_held_too_strongly_want_less_and_one_retrained_step_bears_it_out():
    layers, sensitivities = look_at_layers(RECIPE, split_of, Variant(l2=0.2), SEEDS)
    assert [layer.name for layer in layers] == ["layers.0.weight", "layers.1.weight"]
    assert all(layer.lam < 0.2 and 0 < layer.effective < layer.n for layer in layers)
    assert {layer.advice for layer in sensitivities} == {"wants less"}
    steps = verify(RECIPE, split_of, Variant(l2=0.2), SEEDS, sensitivities)
    assert [(step.name, step.factor, step.n) for step in steps] == [(layer.name, 0.5, 3) for layer in layers]
    assert all(step.is_borne_out for step in steps)
    assert steps[0].change < -2 * steps[0].error


def test_advice_without_a_direction_is_not_verified_and_more_is_twice():
    advice = (
        LayerSensitivity("layers.0.weight", -1.0, 0.1, 3, "wants more"),
        LayerSensitivity("layers.1.weight", 0.1, 0.5, 3, "no clear direction"),
    )
    (step,) = verify(replace(RECIPE, epochs=2), split_of, Variant(l2=0.5), (0,), advice)
    assert (step.name, step.factor, step.n) == ("layers.0.weight", 2.0, 1)
    assert step.change > 0
    assert not step.is_borne_out


def test_what_was_trained_already_is_not_trained_again_to_verify():
    looked, stepped, again = [], [], []
    _, sensitivities = look_at_layers(RECIPE, split_of, Variant(l2=0.2), SEEDS, on_run=looked.append)
    assert [record.key.seed for record in looked] == list(SEEDS)
    before = {record.key.seed: record for record in looked}
    steps = verify(RECIPE, split_of, Variant(l2=0.2), SEEDS, sensitivities, before=before, on_run=stepped.append)
    assert len(stepped) == 3 * len(sensitivities)
    assert steps == verify(RECIPE, split_of, Variant(l2=0.2), SEEDS, sensitivities, on_run=again.append)
    assert len(again) == 3 * (len(sensitivities) + 1)


def test_a_network_whose_own_code_fails_counts_for_no_seed():
    def model(variant):
        if torch.initial_seed() % 2:
            raise ValueError("no network today")
        return MLPFactory(64, (16,), 3)(variant)

    done = []
    recipe = replace(RECIPE, model=model, epochs=1)
    layers, _ = look_at_layers(recipe, split_of, Variant(l2=0.2), range(6), on_run=done.append)
    assert 0 < len(done) < 6
    assert len(layers) == 2


def test_nothing_is_said_where_every_run_diverged_and_no_slopes_where_nothing_is_penalised():
    wild = replace(RECIPE, optimizer=NamedOptimizer("sgd", 1e6), epochs=2)
    assert look_at_layers(wild, split_of, Variant(l2=1e3), (0,)) == ((), ())
    layers, sensitivities = look_at_layers(replace(RECIPE, epochs=2), split_of, Variant(l2=0.0), (0,))
    assert len(layers) == 2
    assert sensitivities == ()


def test_adam_is_looked_at_too():
    recipe = replace(RECIPE, optimizer=NamedOptimizer("adamw", 0.01, decay="decoupled"))
    _, sensitivities = look_at_layers(recipe, split_of, Variant(l2=5.0), SEEDS)
    assert {layer.advice for layer in sensitivities} == {"wants less"}


def test_trap_13_a_scale_invariant_layer_has_no_advice():
    def model(variant):
        return nn.Sequential(nn.Linear(64, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))

    layers, sensitivities = look_at_layers(replace(RECIPE, model=model, epochs=2), split_of, Variant(l2=0.1), (0, 1))
    assert layers[0].why_left_out.startswith("scale-invariant")
    assert [layer.name for layer in sensitivities] == ["3.weight"]
