"""Spectra against dense matrices, the evidence against BayesianRidge, and strengths layer by layer in the engine."""

from __future__ import annotations

import copy
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import BayesianRidge
from torch import nn

from curved import Letters, convnet, dense_gauss_newton, mlp, regressor, rows_for
from shrinkwise.errors import MissingExtraError, ModelError, SettingError
from shrinkwise.experiments.data import cut, digits
from shrinkwise.experiments.engine import NamedOptimizer, Recipe, train_model, train_one
from shrinkwise.experiments.models import MLPFactory
from shrinkwise.experiments.records import Condition, RunKey, Status, Variant
from shrinkwise.experiments.selection import LayerStrength
from shrinkwise.experiments.selection.curvature import averaged, layer_strengths, multiplier_space, profile_of
from shrinkwise.experiments.selection.curvature import spectrum as room
from shrinkwise.experiments.selection.curvature.evidence import FLAT, SCALE_INVARIANT, TOO_LARGE, ZERO, fixed_point
from shrinkwise.experiments.selection.curvature.network import Trained, at_rest
from shrinkwise.experiments.selection.curvature.spectrum import by_factors, exact

pytest.importorskip("curvlinops")

SPLIT = cut(digits("0-2"), Condition(), seed=5)
KEY = RunKey(Variant(l2=0.05), Condition(), 5)
RECIPE = Recipe(
    model=MLPFactory(64, (16,), 3),
    task="classification",
    n_outputs=3,
    optimizer=NamedOptimizer("sgd", 0.2),
    epochs=6,
    batch_size=32,
)


def sorted_values(values):
    return torch.sort(values).values


@pytest.mark.parametrize("make", [mlp, regressor, convnet, Letters])
def test_an_exact_spectrum_is_that_of_the_dense_gauss_newton_matrix(make):
    model, x, y, task = rows_for(make)
    trained = Trained(model, x, y, task)
    with at_rest(model):
        found = {weight.name: sorted_values(exact(trained, weight)) for weight in trained.weights}
    assert len(found) >= 2
    for weight in trained.weights:
        wanted = torch.linalg.eigvalsh(dense_gauss_newton(model, x, y, task, weight.parameter))
        assert torch.allclose(found[weight.name], wanted, rtol=1e-4, atol=1e-9 * float(wanted.max()))


@pytest.mark.parametrize("make", [mlp, regressor, convnet, Letters])
def test_products_by_curvlinops_are_those_of_the_dense_gauss_newton_matrix(make):
    model, x, y, task = rows_for(make)
    trained = Trained(model, x, y, task)
    for weight in trained.weights:
        vector = torch.randn(weight.parameter.numel(), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        with at_rest(model):
            found = trained.gauss_newton([weight.parameter]) @ vector
        assert torch.allclose(found, dense_gauss_newton(model, x, y, task, weight.parameter) @ vector, rtol=1e-4, atol=1e-10)


@pytest.mark.parametrize("make", [mlp, regressor])
def test_k_fac_is_exact_on_a_single_row(make):
    model, x, y, task = rows_for(make, n=1)
    trained = Trained(model, x, y, task)
    with at_rest(model):
        for name, values in by_factors(trained, trained.weights).items():
            (weight,) = (weight for weight in trained.weights if weight.name == name)
            wanted = sorted_values(exact(trained, weight))
            assert torch.allclose(sorted_values(values), wanted, rtol=1e-6, atol=1e-9 * float(wanted.max()))


@pytest.mark.parametrize("make", [mlp, regressor, convnet])
def test_k_fac_deviates_by_no_more_than_a_fifth_in_the_effective_number(make, record_property):
    model, x, y, task = rows_for(make)
    found, wanted = (layer_strengths(model, x, y, task, method=method) for method in ("kfac", "ggn"))
    deviation = max(abs(one.effective / other.effective - 1) for one, other in zip(found, wanted, strict=True))
    record_property("deviation", deviation)
    assert 1e-6 < deviation < 0.2


@given(
    h=st.lists(st.floats(0, 1e4), min_size=1, max_size=20).filter(lambda h: max(h) > 1e-3),
    squared_norm=st.floats(1e-6, 1e4),
)
def test_the_precision_solves_its_equation(h, squared_norm):
    h = np.array(h)
    delta, effective = fixed_point(h, squared_norm)
    assert effective == pytest.approx((h / (h + delta)).sum(), rel=1e-6)
    assert delta == pytest.approx(effective / squared_norm)
    assert 0 < effective <= (h > 0).sum()


@pytest.mark.parametrize("noise", [0.1, 1.0, 3.0])
def test_on_a_linear_model_the_evidence_is_bayesian_ridge(noise):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 6)) * np.array([1, 2, 0.5, 1, 0.1, 1])
    y = x @ rng.normal(size=6) + noise * rng.normal(size=80)
    ridge = BayesianRidge(alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, fit_intercept=False, max_iter=10_000, tol=1e-12).fit(x, y)
    model = nn.Linear(6, 1, bias=False).double()
    model.weight.data = torch.from_numpy(ridge.coef_[None])
    (layer,) = layer_strengths(model, torch.from_numpy(x), torch.from_numpy(y), "regression")
    # Mean of squares + (lam/2)·Σw² has the minimum of (alpha/2)·Σe² + (lambda/2)·Σw² at lam = 2·lambda/(alpha·N).
    assert layer.lam == pytest.approx(2 * ridge.lambda_ / (ridge.alpha_ * 80), rel=1e-4)
    assert layer.effective == pytest.approx(ridge.lambda_ * (ridge.coef_**2).sum(), rel=1e-4)


def test_a_regression_that_fits_every_row_has_a_strength():
    model, x, _, task = rows_for(regressor)
    with torch.no_grad():
        y = model(x)[:, 0].clone()
    assert all(layer.lam is not None and 0 < layer.lam < 1e-6 for layer in layer_strengths(model, x, y, task))


def test_trap_13_a_filter_before_a_batch_norm_is_left_out_and_named():
    model, x, y, task = rows_for(convnet)
    filters, head = layer_strengths(model, x, y, task)
    assert (filters.name, filters.lam, filters.why_left_out) == ("0.weight", None, SCALE_INVARIANT)
    assert 0 < filters.effective < filters.n
    assert head.lam is not None
    assert head.why_left_out == ""


@pytest.mark.parametrize("make", [mlp, convnet, Letters])
def test_a_network_is_left_as_it_was(make):
    model, x, y, task = rows_for(make)
    model.train()
    next(model.children()).eval()
    before = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    layer_strengths(model, x, y, task)
    assert all(torch.equal(value, before[0][name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == before[1]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.backends.mha.get_fastpath_enabled()


def test_dropout_is_off():
    model, x, y, task = rows_for(mlp)
    first = layer_strengths(model.train(), x, y, task)
    assert layer_strengths(model.train(), x, y, task) == first


def test_a_layer_that_says_nothing_is_left_out():
    model, x, y, task = rows_for(mlp)
    model[3].weight.data.zero_()
    first, last = layer_strengths(model, x, y, task)
    assert (first.lam, first.effective, first.why_left_out) == (None, 0.0, FLAT)
    assert (last.lam, last.why_left_out) == (None, ZERO)


def test_a_large_layer_is_left_out_where_k_fac_does_not_know_it():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.filters, self.head = nn.Linear(8, 700), nn.Conv1d(1, 90, 50), nn.Linear(700 + 90, 3)

        def forward(self, x):
            wide = torch.relu(self.first(x))
            return self.head(torch.cat([wide, self.filters(wide[:, None]).mean(2)], 1))

    torch.manual_seed(0)
    model, x, y = Wide(), torch.randn(20, 8), torch.randint(3, (20,))
    first, filters, head = layer_strengths(model, x, y, "classification")
    assert filters.why_left_out == TOO_LARGE
    assert math.isnan(filters.effective)
    assert first.lam
    assert head.lam
    with pytest.raises(SettingError, match=r"first.weight has 5,600 values.*'auto' or 'kfac'"):
        layer_strengths(model, x, y, "classification", method="ggn")


def test_an_unknown_method_and_a_network_without_derivatives_are_said():
    model, x, y, task = rows_for(mlp)
    with pytest.raises(SettingError, match=r"method is 'kfca'.*Did you mean 'kfac'"):
        layer_strengths(model, x, y, task, method="kfca")

    class Rounded(nn.Linear):
        def forward(self, x):
            return torch.from_numpy(super().forward(x).detach().numpy())

    with pytest.raises(ModelError, match=r"Rounded raised \w+ .*needs derivatives"):
        layer_strengths(Rounded(4, 3).double(), x, y, task)


class Fails(nn.Module):
    """A network whose own code fails once it is looked into, in some words."""

    def __init__(self, words):
        super().__init__()
        self.first, self.words = nn.Linear(4, 3), words

    def forward(self, x):
        raise RuntimeError(self.words)


def test_what_fails_outside_of_a_network_and_its_derivatives_is_a_fault_of_ours(monkeypatch):
    model, x, y, task = rows_for(mlp)

    def fail(matrix):
        raise RuntimeError("the algorithm did not converge")

    monkeypatch.setattr(torch.linalg, "eigvalsh", fail)
    with pytest.raises(RuntimeError, match="did not converge") as caught:
        layer_strengths(model, x, y, task)
    assert not isinstance(caught.value, ModelError)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("shape '[20, 5]' is invalid for input of size 10", ModelError),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes", RuntimeError),
        ("CUDA out of memory. Tried to allocate 9 GiB in autograd", RuntimeError),
    ],
)
def test_a_network_that_fails_at_rest_is_said_and_want_of_memory_is_not_put_on_it(words, kind):
    _, x, y, task = rows_for(mlp)
    with pytest.raises(kind, match=words[:15].replace("[", r"\[")) as caught, at_rest(model := Fails(words).double()):
        Trained(model, x, y, task).reader(x)
    assert isinstance(caught.value, ModelError) is (kind is ModelError)


def test_k_fac_is_not_taken_of_a_layer_so_wide_that_its_factors_fill_the_memory(monkeypatch):
    monkeypatch.setattr(room, "WIDE", 4)
    model, x, y, task = rows_for(mlp)
    first, last = layer_strengths(model, x, y, task, method="kfac")
    assert (first.why_left_out, last.why_left_out) == (TOO_LARGE, TOO_LARGE)
    assert all(layer.lam is not None for layer in layer_strengths(model, x, y, task))


def test_the_missing_extra_is_one_message(monkeypatch):
    monkeypatch.setitem(sys.modules, "curvlinops", None)
    model, x, y, task = rows_for(mlp)
    with pytest.raises(MissingExtraError, match=r"curvlinops is not installed.*'shrinkwise\[evidence\]'"):
        layer_strengths(model, x, y, task, method="kfac")


def test_trap_18_curvlinops_works_without_torchvision(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    model, x, y, task = rows_for(mlp)
    assert all(layer.lam for layer in layer_strengths(model, x, y, task, method="kfac"))


def test_seeds_are_averaged_on_the_log_scale_and_a_layer_left_out_in_all_stays_out():
    one = LayerStrength("a", 9, 4.0, 0.1), LayerStrength("b", 9, 2.0, None, FLAT), LayerStrength("c", 9, 1.0, None, FLAT)
    other = LayerStrength("a", 9, 6.0, 0.001), LayerStrength("b", 9, 2.0, 0.3), LayerStrength("c", 9, 3.0, None, FLAT)
    a, b, c = averaged([one, other])
    assert (a.effective, a.lam) == (5.0, pytest.approx(0.01))
    assert (b.lam, b.why_left_out) == (pytest.approx(0.3), "")
    assert (c.effective, c.lam, c.why_left_out) == (2.0, None, FLAT)
    assert profile_of((a, b, c)) == pytest.approx({"a": 0.01, "b": 0.3})
    relative = profile_of((a, b, c), is_relative=True)
    assert relative["b"] / relative["a"] == pytest.approx(30)
    assert relative["b"] * relative["a"] == pytest.approx(1)


def test_the_multiplier_is_searched_from_a_thirtieth_to_three():
    space = multiplier_space({"dropout": 0.5})
    assert (space.low, space.high, space.unit) == (pytest.approx(1 / 30), 3, "half")
    assert space.default_variant == Variant(l2=1, dropout=0.5)
    assert not space.is_fixed, "and beyond, where the best lies at an end"


def test_a_profile_of_ones_is_no_profile_to_the_last_bit():
    ones = {"layers.0.weight": 1.0, "layers.1.weight": 1.0}
    assert train_one(replace(RECIPE, profile=ones), SPLIT, KEY).fingerprint() == train_one(RECIPE, SPLIT, KEY).fingerprint()
    assert train_one(replace(RECIPE, profile=ones | {"layers.1.weight": 2.0}), SPLIT, KEY).fingerprint() != (
        train_one(RECIPE, SPLIT, KEY).fingerprint()
    )


def test_a_profile_gives_each_parameter_its_own_strength_and_others_none():
    seen = []

    def optimizer(groups):
        seen.extend((group["weight_decay"], [tuple(p.shape) for p in group["params"]]) for group in groups)
        return torch.optim.SGD(groups, lr=0.1)

    profile = {"layers.0.weight": 3.0, "layers.1.bias": 0.5}
    record = train_one(replace(RECIPE, optimizer=optimizer, profile=profile, epochs=1), SPLIT, KEY)
    assert record.status is Status.DONE
    assert seen == [(pytest.approx(0.15), [(16, 64)]), (pytest.approx(0.025), [(3,)]), (0.0, [(16,), (3, 16)])]


def test_a_profile_that_names_nothing_is_said():
    with pytest.raises(SettingError, match=r"layer\.0"):
        train_one(replace(RECIPE, profile={"layer.0.weight": 1.0}), SPLIT, KEY)


@pytest.mark.parametrize("select", ["last", "best-val"])
def test_a_trained_network_gives_what_its_record_says(select):
    recipe = replace(RECIPE, optimizer=NamedOptimizer("sgd", 0.5), epochs=12)
    key = RunKey(Variant(l2=0.0), Condition(), 5)
    split = cut(digits("0-2"), Condition(label_noise=0.3), seed=5)
    model, record = train_model(recipe, split, key, select)
    outcome = record.outcome(select)
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model(torch.from_numpy(split.x_test)), torch.from_numpy(split.y_test))
    assert float(loss) == pytest.approx(outcome.test["loss"], rel=1e-5)
    assert record.outcome("last").test["loss"] != record.outcome("best-val").test["loss"]
    assert not model.training
    assert record.fingerprint() == train_one(recipe, split, key).fingerprint()
