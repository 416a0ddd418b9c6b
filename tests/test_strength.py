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
DECOUPLED = [name for name, unit in UNITS.items() if unit.is_decoupled]
NAMES = [name for unit in UNITS.values() for name in (unit.name, *unit.aliases)]
N, BATCH = 250, 50

# 0 has no finite number in an inverse unit; that is a test of its own.
strengths = st.floats(1e-9, 1e9)
sizes = st.integers(1, 10**9)
quantities = st.fixed_dictionaries({"n_samples": sizes, "batch_size": sizes, "lr": st.floats(1e-6, 10)})

WRITTEN = {
    "half": lambda lam, weight: lam / 2 * weight.square().sum(),
    "torch": lambda lam, weight: lam / 2 * weight.square().sum(),
    "sum": lambda lam, weight: lam * weight.square().sum(),
    "keras": lambda lam, weight: lam * weight.square().sum(),
    "per_sample": lambda lam, weight: lam / (2 * N) * weight.square().sum(),
    "adam": lambda lam, weight: lam / 2 * weight.square().sum(),
    "sklearn-mlp": lambda lam, weight: lam / (2 * BATCH) * weight.square().sum(),
    "sklearn-ridge": lambda lam, weight: lam / N * weight.square().sum(),
    "sklearn-logistic": lambda lam, weight: 1 / (2 * lam * N) * weight.square().sum(),
}


@given(value=strengths, unit=st.sampled_from(COUPLED), n=sizes, batch=sizes)
def test_units_round_trip(value, unit, n, batch):
    assert from_lam(to_lam(value, unit, n, batch), unit, n, batch) == pytest.approx(value, rel=1e-14)


@given(value=strengths, source=st.sampled_from(NAMES), target=st.sampled_from(NAMES), known=quantities)
def test_convert_back_gives_the_value(value, source, target, known):
    there = convert(value, source, target, **known)
    back = convert(there.value, target, source, **known)
    assert back.value == pytest.approx(value, rel=1e-13)
    assert back.exact == there.exact


@given(value=strengths, known=quantities, path=st.lists(st.sampled_from(NAMES), min_size=3, max_size=3))
def test_convert_by_way_of_a_third_unit_is_convert(value, known, path):
    first, middle, last = path
    by_way = convert(convert(value, first, middle, **known).value, middle, last, **known).value
    assert by_way == pytest.approx(convert(value, first, last, **known).value, rel=1e-13)


@given(value=strengths, pair=st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), known=quantities)
def test_a_quantity_that_is_not_asked_for_changes_nothing(value, pair, known):
    old, new = map(find_unit, pair)
    asked = {name: known[name] for name in known if old.powers.get(name, 0) != new.powers.get(name, 0)}
    assert convert(value, *pair, **asked).value == convert(value, *pair, **known).value
    for name in asked:
        with pytest.raises(UnitError, match=name):
            convert(value, *pair, **{other: asked[other] for other in asked if other != name})


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
    value = from_lam(0.3, unit, n_samples=N, batch_size=BATCH)
    by_formula = _trained(lambda weight: WRITTEN[unit](value, weight))
    by_torch = _trained(weight_decay=to_lam(value, unit, n_samples=N, batch_size=BATCH))
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


@pytest.mark.parametrize("unit", WRITTEN.keys() - {"adam"})
def test_decoupled_under_plain_sgd_is_exact(unit):
    value = from_lam(0.3, unit, n_samples=N, batch_size=BATCH)
    converted = convert(value, unit, "adamw", n_samples=N, batch_size=BATCH, lr=0.1, optimizer="sgd")
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


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_conversion_within_one_form_is_exact_under_any_optimizer(optimizer):
    assert convert(0.01, "keras", "torch", optimizer=optimizer).exact
    assert convert(0.01, "adamw", "independent", lr=0.1, optimizer=optimizer).exact


def test_conversion_says_the_shrink_of_a_step_only_where_it_is_one():
    assert "= 2e-05 of itself" in convert(0.01, "keras", "adamw", lr=1e-3, optimizer="adam").why
    assert "under plain SGD a step" in convert(0.01, "keras", "torch", lr=1e-3).why
    assert "of itself" not in convert(0.01, "keras", "torch", lr=1e-3, optimizer="adam").why
    assert "= 0.0002 of itself" in convert(0.01, "keras", "adamw", lr=1e-3, optimizer="momentum", momentum=0.9).why


@pytest.mark.parametrize("call", [to_lam, from_lam, lambda value, unit: convert(value, "half", unit)])
def test_a_needed_quantity_is_asked_for_by_name(call):
    with pytest.raises(UnitError, match=r"without n_samples: per_sample means .*λ/\(2N\).* Give n_samples"):
        call(0.1, "per_sample")


def test_all_needed_quantities_are_asked_for_at_once():
    with pytest.raises(UnitError, match=r"half to timescale without batch_size, lr and n_samples: .* Give batch_size, lr and n_"):
        convert(0.1, "half", "timescale")
    with pytest.raises(UnitError, match=r"without batch_size and n_samples: "):
        convert(0.1, "half", "timescale", lr=0.1)
    with pytest.raises(UnitError, match=r"without batch_size, lr and n_samples: "):
        convert(0.1, "adamw", "adamw", epochs=30)


@pytest.mark.parametrize(
    ("source", "target", "known", "expected"),
    [
        (4, "per_sample sklearn-logistic", {}, 1 / 4),
        (4, "sklearn-ridge sklearn-logistic", {}, 1 / 8),
        (1, "sklearn-ridge half", {"n_samples": 50}, 2 / 50),
        (0.1, "adamw independent", {"lr": 0.01}, 0.001),
        (0.001, "independent timescale", {"batch_size": 10, "n_samples": 1000}, 10),
        (0.1, "adamw timescale", {"lr": 1e-3, "batch_size": 100, "n_samples": 50_000}, 20),
        (0.5, "sklearn-mlp timescale", {"lr": 0.1, "batch_size": 10, "n_samples": 1000}, 10 * 10 / (0.5 * 0.1 * 1000)),
    ],
)
def test_values_worked_out_by_hand(source, target, known, expected):
    assert convert(source, *target.split(), **known).value == pytest.approx(expected, rel=1e-14)


def test_the_unit_adam_says_the_optimizer_by_itself():
    for decay in DECOUPLED:
        for said in ({"optimizer": "sgd"}, {"optimizer": "momentum", "momentum": 0.9}, {"momentum": 0}, {}):
            there = convert(0.1, "adam", decay, lr=0.1, n_samples=10, batch_size=5, **said)
            assert not there.exact
            assert there.why.startswith("Adam")
            assert there.value == convert(0.1, "half", decay, lr=0.1, n_samples=10, batch_size=5).value
    assert "of itself" not in convert(0.1, "half", "adam", lr=0.1).why


@pytest.mark.parametrize("decay", ["adamw", "timescale"])
@pytest.mark.parametrize("penalty", sorted(set(COUPLED) - {"adam"}))
def test_a_decays_name_says_adam_and_plain_sgd_has_to_be_said(penalty, decay):
    known = {"n_samples": N, "batch_size": BATCH, "lr": 0.1}
    for pair in ((penalty, decay), (decay, penalty)):
        by_name, by_word = convert(0.3, *pair, **known), convert(0.3, *pair, optimizer="adam", **known)
        assert (by_name.value, by_name.exact) == (by_word.value, False)
        assert f"{decay} names Adam, and under plain SGD (optimizer sgd) it would be exact" in by_name.why
        assert "names Adam" not in by_word.why
        assert convert(0.3, *pair, optimizer="sgd", **known).exact


def test_where_no_unit_names_adam_it_is_plain_sgd_and_says_so():
    converted = convert(0.3, "half", "independent", lr=0.1)
    assert converted.exact
    assert converted.why.startswith("under plain SGD, without momentum")


MOMENTUM = st.floats(0, 0.999, exclude_min=True)


@given(value=strengths, penalty=st.sampled_from(COUPLED), decay=st.sampled_from(DECOUPLED), known=quantities, m=MOMENTUM)
def test_a_decay_under_momentum_is_stronger_by_what_the_velocity_adds(value, penalty, decay, known, m):
    if penalty == "adam":
        return
    under = {"optimizer": "momentum", "momentum": m}
    there = convert(value, penalty, decay, **under, **known)
    lam = convert(value, penalty, "half", **known).value
    assert not there.exact
    assert "velocity" in there.why
    assert convert(there.value, decay, "adamw", **known).value == pytest.approx(lam / (1 - m), rel=1e-13)
    assert convert(there.value, decay, penalty, **under, **known).value == pytest.approx(value, rel=1e-13)


def test_penalty_and_decay_under_momentum_rest_at_the_same_weights():
    model, loss = _problem()
    given = convert(0.3, "half", "adamw", optimizer="momentum", momentum=0.9).value
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(1000):
        optimizer.zero_grad()
        loss().backward()
        with torch.no_grad():
            model.weight.mul_(1 - 0.1 * given)
        optimizer.step()
    torch.testing.assert_close(model.weight.detach(), _trained(steps=1000, momentum=0.9, weight_decay=0.3), rtol=1e-9, atol=1e-12)


def test_momentum_is_asked_for_by_name_where_it_counts():
    with pytest.raises(UnitError, match=r"half to adamw without momentum: momentum carries a penalty .* Give momentum\."):
        convert(0.3, "half", "adamw", optimizer="momentum")
    with pytest.raises(UnitError, match="half to independent without lr and momentum: "):
        convert(0.3, "half", "independent", optimizer="momentum")
    assert convert(0.3, "half", "keras", optimizer="momentum").exact


def test_momentum_names_its_optimizer_and_none_is_plain_sgd():
    assert convert(0.3, "half", "adamw", momentum=0.75).value == 0.3 * 4
    for optimizer in ("sgd", "momentum", None):
        plain = convert(0.3, "half", "adamw", optimizer=optimizer, momentum=0)
        assert (plain.value, plain.exact) == (0.3, True)


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        ("sgd", "under sgd: plain SGD has none. Leave it out, or let"),
        ("adam", "under adam: Adam has betas instead, .* Leave it out, or let"),
    ],
)
def test_momentum_is_refused_where_the_optimizer_has_none(optimizer, said):
    with pytest.raises(SettingError, match=f"momentum is 0.9 {said}"):
        convert(0.3, "half", "adamw", optimizer=optimizer, momentum=0.9)


@pytest.mark.parametrize("momentum", [1, 1.5, -0.1, math.nan, "0.9", True])
def test_a_momentum_that_is_none_is_refused(momentum):
    with pytest.raises(SettingError, match=r"momentum is .* Give 0 or above, and below 1"):
        convert(0.3, "half", "adamw", momentum=momentum)


def test_estimators_of_two_losses_are_not_the_same_training():
    converted = convert(3, "sklearn-ridge", "sklearn-logistic")
    assert not converted.exact
    assert "squared error" in converted.why


def test_an_independent_decay_is_the_same_only_while_lr_stays():
    assert "while lr stays 0.1" in convert(0.01, "adamw", "independent", lr=0.1).why
    assert "while lr stays" not in convert(0.01, "independent", "timescale", n_samples=10, batch_size=5).why


def test_epochs_say_what_the_decay_remembers_and_the_window_in_the_units_own_numbers():
    known = {"lr": 1e-3, "n_samples": 50_000, "batch_size": 100, "epochs": 40}
    why = convert(0.1, "adamw", "adamw", **known).why
    assert "τ = 20 epochs, 0.5 of the run's 40" in why
    assert "λ from 0.05 to 2" in why
    assert "τ from 1 to 40" in convert(0.1, "adamw", "timescale", **known).why
    assert "λ from 0.025 to 1" in convert(0.1, "adamw", "keras", optimizer="sgd", **known).why
    assert "τ = 20 epochs" in convert(0.01, "half", "adamw", optimizer="momentum", momentum=0.9, **known).why
    assert "no memory in epochs" in convert(0.1, "half", "keras", optimizer="adam", **known).why
    assert "nothing is forgotten" in convert(0, "half", "adamw", **known).why


@pytest.mark.parametrize("unit", [name for name, unit in UNITS.items() if unit.is_inverse])
def test_no_penalty_has_no_finite_number_in_an_inverse_unit(unit):
    known = {"n_samples": 10, "batch_size": 5, "lr": 0.1}
    with pytest.raises(UnitError, match=r"λ is 0 and wanted in .* would be infinite\. Train without"):
        convert(0, "half", unit, **known)
    for value in (0, math.inf):
        with pytest.raises(SettingError, match="positive and finite"):
            convert(value, unit, "half", **known)


def test_no_penalty_is_none_in_every_other_unit():
    for unit in (unit for unit in UNITS.values() if not unit.is_inverse):
        assert convert(0, "half", unit.name, n_samples=10, batch_size=5, lr=0.1).value == 0


def test_a_number_that_no_float_holds_is_refused():
    with pytest.raises(UnitError, match="beyond what a float holds"):
        convert(1e308, "keras", "half")
    with pytest.raises(UnitError, match="beyond what a float holds"):
        convert(5e-324, "half", "keras")


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


@pytest.mark.parametrize(
    "options",
    [
        *({"n_samples": value} for value in (0, -5, "many", True, 10**400)),
        *({"batch_size": value} for value in (0, math.inf)),
        *({"lr": value} for value in (0.0, math.nan, "0.1")),
        {"epochs": -1},
    ],
)
def test_a_quantity_that_is_not_positive_is_refused(options):
    with pytest.raises(SettingError, match="positive and finite"):
        convert(0.1, "per_sample", "half", **{"n_samples": 10, **options})


@pytest.mark.parametrize("name", ["n_samples", "batch_size"])
def test_a_count_is_whole(name):
    assert convert(0.1, "half", "keras", **{name: 5e4}).value == 0.05
    for value in (2.5, 0.5):
        with pytest.raises(SettingError, match=f"{name} is {value}: it counts something"):
            convert(0.1, "half", "keras", **{name: value})


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(SettingError, match="Did you mean 'adam'"):
        convert(0.1, "half", "adamw", optimizer="adan")


def test_the_table_of_units_cannot_be_changed():
    with pytest.raises(TypeError):
        UNITS["half"] = copy.copy(UNITS["sum"])


def test_a_conversion_is_a_number_where_one_is_asked_for():
    assert float(convert(0.01, "keras", "torch")) == 0.02
