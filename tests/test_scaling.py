"""Scaling rules compose, go back, keep what they say they keep, and name their sources."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shrinkwise.errors import SettingError, UnitError
from shrinkwise.regularization.strength import UNITS, convert, rescale

QUANTITIES = ("batch_size", "lr", "n_samples", "width", "epochs")
KNOWN = {
    name: QUANTITIES if unit.is_decoupled else ("n_samples",) if name == "adam" else QUANTITIES[:4] for name, unit in UNITS.items()
}

settings = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 10**5),
        "lr": st.floats(1e-5, 1),
        "n_samples": st.integers(1, 10**7),
        "width": st.integers(1, 10**4),
        "epochs": st.floats(0.5, 1000),
    }
)
values = st.floats(1e-6, 1e6)
units = st.sampled_from(list(UNITS))


def pairs(unit, before, after, names=QUANTITIES):
    return {name: (before[name], after[name]) for name in names if name in KNOWN[unit]}


@given(value=values, unit=units, before=settings, after=settings)
def test_there_and_back_is_the_value(value, unit, before, after):
    there = rescale(value, unit, **pairs(unit, before, after)).value
    assert rescale(there, unit, **pairs(unit, after, before)).value == pytest.approx(value, rel=1e-12)


@given(value=values, unit=units, first=settings, second=settings, third=settings)
def test_two_ways_make_one(value, unit, first, second, third):
    middle = rescale(value, unit, **pairs(unit, first, second)).value
    by_way = rescale(middle, unit, **pairs(unit, second, third)).value
    assert by_way == pytest.approx(rescale(value, unit, **pairs(unit, first, third)).value, rel=1e-12)


@given(value=values, before=settings, after=settings)
def test_all_rules_but_that_of_epochs_keep_a_timescale(value, before, after):
    kept = pairs("timescale", before, after, QUANTITIES[:4])
    assert rescale(value, "timescale", **kept).value == pytest.approx(value, rel=1e-12)
    moved = value * math.sqrt(after["epochs"] / before["epochs"])
    assert rescale(value, "timescale", **pairs("timescale", before, after)).value == pytest.approx(moved, rel=1e-12)


@given(value=values, before=settings, after=settings, source=units, target=units)
def test_rescaling_and_converting_can_change_places(value, before, after, source, target):
    """Within one form, a rule does not depend on the unit it is written in."""
    if UNITS[source].is_decoupled != UNITS[target].is_decoupled or "adam" in (source, target):
        return
    names = ("batch_size", "lr", "n_samples", *(("epochs",) if UNITS[source].is_decoupled else ()))
    sizes, other_sizes = ({name: size[name] for name in ("batch_size", "lr", "n_samples")} for size in (before, after))
    first = rescale(value, source, **pairs(source, before, after, names)).value
    converted = convert(value, source, target, **sizes).value
    second = rescale(converted, target, **pairs(target, before, after, names)).value
    assert convert(first, source, target, **other_sizes).value == pytest.approx(second, rel=1e-12)


@pytest.mark.parametrize(
    ("unit", "change", "factor"),
    [
        ("adamw", {"batch_size": (64, 512)}, 8),
        ("adamw", {"lr": (1e-3, 4e-3)}, 1 / 4),
        ("adamw", {"n_samples": (1000, 5000)}, 1 / 5),
        ("adamw", {"width": (256, 1024)}, 4),
        ("adamw", {"epochs": (25, 100)}, 1 / 2),
        ("independent", {"batch_size": (64, 512), "lr": (1e-3, 4e-3), "width": (256, 1024)}, 8),
        ("timescale", {"epochs": (25, 100)}, 2),
        ("half", {"batch_size": (64, 512), "lr": (0.1, 0.8), "width": (256, 1024)}, 1),
        ("half", {"n_samples": (1000, 5000)}, 1 / 5),
        ("keras", {"n_samples": (1000, 5000)}, 1 / 5),
        ("adam", {"n_samples": (1000, 5000)}, 1 / 5),
        ("per_sample", {"n_samples": (1000, 5000)}, 1),
        ("sklearn-ridge", {"n_samples": (1000, 5000)}, 1),
        ("sklearn-logistic", {"n_samples": (1000, 5000)}, 1),
        ("sklearn-mlp", {"batch_size": (64, 512)}, 8),
        ("sklearn-mlp", {"n_samples": (1000, 5000)}, 1 / 5),
    ],
)
def test_rules_worked_out_by_hand(unit, change, factor):
    assert rescale(0.1, unit, **change).value == pytest.approx(0.1 * factor, rel=1e-12)


def test_goyals_rule_and_the_timescale_agree_where_both_speak():
    """lr in step with the batch: a penalty's λ stays, and so does AdamW's."""
    for unit in ("half", "adamw"):
        assert rescale(0.1, unit, batch_size=(256, 8192), lr=(0.1, 3.2)).value == pytest.approx(0.1, rel=1e-12)


@pytest.mark.parametrize("unit", UNITS)
def test_every_step_says_what_it_did_and_on_whose_word(unit):
    sizes = {"batch_size": 1, "lr": 0.1, "n_samples": 1, "width": 1, "epochs": 1}
    change = pairs(unit, sizes, {name: 2 * size for name, size in sizes.items()})
    scaled = rescale(0.1, unit, **change)
    assert [step.what for step in scaled.steps] == list(change)
    assert [(step.before, step.after) for step in scaled.steps] == list(change.values())
    assert scaled.value == pytest.approx(0.1 * math.prod(step.factor for step in scaled.steps))
    for step in scaled.steps:
        assert step.why
        assert any(year in step.source for year in ("1992", "2017", "2019", "2022", "2025"))


@pytest.mark.parametrize("unit", UNITS)
def test_where_no_rule_is_known_that_is_said(unit):
    for name in set(QUANTITIES) - set(KNOWN[unit]):
        with pytest.raises(UnitError, match=f"{name} in unit {unit}: .* not known beforehand. Search λ anew"):
            rescale(0.1, unit, **{name: (1, 2)})


def test_nothing_changed_leaves_the_value():
    assert rescale(0.1, "keras") == type(rescale(0.1, "keras"))(0.1, "keras", ())
    assert rescale(0, "adamw", lr=(0.1, 0.2)).value == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch_size": 64}, r"batch_size is 64: .* Give a pair: batch_size=\(before, after\)"),
        ({"lr": (0.1, 0.2, 0.3)}, "Give a pair"),
        ({"lr": "ab"}, "Give a pair"),
        ({"n_samples": (0, 5)}, "positive and finite"),
        ({"width": (2.5, 5)}, "whole number"),
        ({"epochs": (1, math.nan)}, "positive and finite"),
    ],
)
def test_a_quantity_that_cannot_be_one_is_refused(change, said):
    with pytest.raises(SettingError, match=said):
        rescale(0.1, "adamw", **change)


def test_a_value_that_is_no_strength_is_refused():
    with pytest.raises(SettingError, match="finite number, 0 or above"):
        rescale(-1, "adamw", lr=(0.1, 0.2))
    with pytest.raises(SettingError, match="C is 0"):
        rescale(0, "sklearn-logistic", n_samples=(1, 2))
    with pytest.raises(UnitError, match="Did you mean 'adamw'"):
        rescale(0.1, "adamww")
    with pytest.raises(UnitError, match="beyond what a float holds"):
        rescale(1e300, "adamw", lr=(1, 1e-300))
