"""Units of λ agree where mathematics says so, and differ where it says so."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from shrinkwise.errors import SettingError, UnitError
from shrinkwise.regularization.strength import UNITS, convert, find_unit, from_lam, to_lam
from shrinkwise.seeding import isolated_rng, torch_generator

COUPLED = [name for name, unit in UNITS.items() if not unit.is_decoupled]
NAMES = [name for unit in UNITS.values() for name in (unit.name, *unit.aliases)]
N = 250

strengths = st.floats(0, 1e9, allow_subnormal=False)
sizes = st.integers(1, 10**9)

WRITTEN = {
    "half": lambda lam, weight: lam / 2 * weight.square().sum(),
    "torch": lambda lam, weight: lam / 2 * weight.square().sum(),
    "sum": lambda lam, weight: lam * weight.square().sum(),
    "keras": lambda lam, weight: lam * weight.square().sum(),
    "per_sample": lambda lam, weight: lam / (2 * N) * weight.square().sum(),
}


@given(value=strengths, unit=st.sampled_from(COUPLED), n=sizes)
def test_units_round_trip(value, unit, n):
    assert from_lam(to_lam(value, unit, n), unit, n) == pytest.approx(value, rel=1e-14)


@given(value=strengths, source=st.sampled_from(NAMES), target=st.sampled_from(NAMES), n=sizes)
def test_convert_back_gives_the_value(value, source, target, n):
    there = convert(value, source, target, n_samples=n)
    back = convert(there.value, target, source, n_samples=n)
    assert back.value == pytest.approx(value, rel=1e-14)
    assert back.exact == there.exact


@given(value=strengths, n=sizes, path=st.lists(st.sampled_from(NAMES), min_size=3, max_size=3))
def test_convert_by_way_of_a_third_unit_is_convert(value, n, path):
    first, middle, last = path
    by_way = convert(convert(value, first, middle, n_samples=n).value, middle, last, n_samples=n).value
    assert by_way == pytest.approx(convert(value, first, last, n_samples=n).value, rel=1e-14)


def test_every_coupled_name_has_its_formula_written_out():
    assert set(WRITTEN) == {name for name in NAMES if not find_unit(name).is_decoupled}


def _problem():
    with isolated_rng("strength"):
        model = nn.Linear(4, 2, bias=False).double()
    generator = torch_generator("strength")
    x = torch.randn(N, 4, dtype=torch.float64, generator=generator)
    y = torch.randn(N, 2, dtype=torch.float64, generator=generator)
    return model, lambda: nn.functional.mse_loss(model(x), y)


def _trained(penalty=None, make=torch.optim.SGD, steps=20, **options):
    model, loss = _problem()
    optimizer = make(model.parameters(), lr=0.1, **options)
    for _ in range(steps):
        optimizer.zero_grad()
        (loss() + (penalty(model.weight) if penalty else 0)).backward()
        optimizer.step()
    return model.weight.detach()


@pytest.mark.parametrize("unit", WRITTEN)
def test_a_unit_trains_as_its_formula_says(unit):
    value = 0.3 * N if unit == "per_sample" else 0.3
    by_formula = _trained(lambda weight: WRITTEN[unit](value, weight))
    by_torch = _trained(weight_decay=to_lam(value, unit, n_samples=N))
    torch.testing.assert_close(by_torch, by_formula, rtol=1e-12, atol=1e-14)
    assert (by_torch - _trained()).abs().max() > 0.01


def _trained_decoupled(lam):
    """Plain SGD with the shrink of AdamW written out by hand."""
    model, loss = _problem()
    for _ in range(20):
        (grad,) = torch.autograd.grad(loss(), model.weight)
        with torch.no_grad():
            model.weight.mul_(1 - 0.1 * lam).sub_(0.1 * grad)
    return model.weight.detach()


@pytest.mark.parametrize("unit", WRITTEN)
def test_decoupled_under_plain_sgd_is_exact(unit):
    value = 0.3 * N if unit == "per_sample" else 0.3
    converted = convert(value, unit, "adamw", n_samples=N, lr=0.1)
    assert converted.exact
    by_formula = _trained(lambda weight: WRITTEN[unit](value, weight))
    torch.testing.assert_close(_trained_decoupled(converted.value), by_formula, rtol=1e-12, atol=1e-14)


def test_decoupled_under_adam_is_not_exact_and_differs():
    converted = convert(0.3, "half", "adamw", optimizer="adam")
    assert not converted.exact
    assert "Adam" in converted.why
    coupled = _trained(make=torch.optim.Adam, weight_decay=0.3)
    decoupled = _trained(make=torch.optim.AdamW, weight_decay=converted.value)
    assert (coupled - decoupled).abs().max() > 0.01


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_conversion_within_one_form_is_exact_under_any_optimizer(optimizer):
    assert convert(0.01, "keras", "torch", optimizer=optimizer).exact
    assert convert(0.01, "adamw", "adamw", optimizer=optimizer).exact


def test_conversion_says_the_shrink_of_a_step_only_where_it_is_one():
    assert "= 2e-05 of itself" in convert(0.01, "keras", "adamw", lr=1e-3, optimizer="adam").why
    assert "of itself" not in convert(0.01, "keras", "torch", lr=1e-3, optimizer="adam").why


@pytest.mark.parametrize("call", [to_lam, from_lam, lambda value, unit: convert(value, "half", unit)])
def test_a_needed_quantity_is_asked_for_by_name(call):
    with pytest.raises(UnitError, match=r"without n_samples: it means .*λ/\(2N\).* Give n_samples"):
        call(0.1, "per_sample")


@pytest.mark.parametrize("call", [to_lam, from_lam, lambda value, unit: convert(value, unit, "half")])
def test_an_unknown_unit_names_the_nearest(call):
    with pytest.raises(UnitError, match="Did you mean 'per_sample'"):
        call(0.1, "per_samples")


def test_a_decoupled_unit_has_no_lam():
    with pytest.raises(UnitError, match="Use convert"):
        to_lam(0.1, "adamw")


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("call", [to_lam, from_lam, lambda value, unit: convert(value, unit, "sum")])
def test_a_strength_that_is_none_is_refused(call, value):
    with pytest.raises(SettingError, match="finite number, 0 or above"):
        call(value, "half")


@pytest.mark.parametrize("options", [{"n_samples": 0}, {"n_samples": -5}, {"lr": 0.0}, {"lr": math.nan}])
def test_a_quantity_that_is_not_positive_is_refused(options):
    with pytest.raises(SettingError, match="positive and finite"):
        convert(0.1, "per_sample", "half", **{"n_samples": 10, **options})


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(SettingError, match="Did you mean 'adam'"):
        convert(0.1, "half", "adamw", optimizer="adan")


def test_the_table_of_units_cannot_be_changed():
    with pytest.raises(TypeError):
        UNITS["half"] = copy.copy(UNITS["sum"])
