"""Schedules of λ over time: pure, finite, and where they say they are at their ends."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shrinkwise.errors import SettingError
from shrinkwise.regularization.strength import schedules
from shrinkwise.regularization.strength.schedules import (
    Constant,
    Corrected,
    Cosine,
    EarlyOnly,
    Linear,
    Product,
    ProportionalToLr,
    Schedule,
    WarmUp,
)

n_steps = st.integers(1, 10**6)
ends = st.floats(0, 100, allow_subnormal=False)
single = st.one_of(
    st.builds(Constant, ends),
    st.builds(WarmUp, n_steps),
    st.builds(EarlyOnly, n_steps),
    st.builds(Linear, n_steps, ends),
    st.builds(Cosine, n_steps, ends),
    st.just(ProportionalToLr()),
)
anything = st.lists(single, min_size=1, max_size=4).map(lambda parts: math.prod(parts[1:], start=parts[0]))
steps = st.integers(0, 10**7)
rates = st.tuples(st.floats(0, 10), st.floats(0, 10)).map(sorted)


@given(schedule=anything, step=steps, lr=rates)
def test_a_factor_is_finite_and_not_negative(schedule, step, lr):
    factor = schedule.factor(step, *lr)
    assert math.isfinite(factor)
    assert factor >= 0


@given(schedule=st.one_of(st.builds(Linear, n_steps, ends), st.builds(Cosine, n_steps, ends)), later=steps)
def test_ramps_begin_at_one_and_end_at_their_end_to_the_last_bit(schedule, later):
    assert schedule.factor(0, 0.1, 0.1) == 1
    assert schedule.factor(schedule.n_steps + later, 0.1, 0.1) == schedule.end


@given(schedule=st.one_of(st.builds(Linear, n_steps, ends), st.builds(Cosine, n_steps, ends)), step=steps)
def test_ramps_stay_between_their_ends_and_never_turn_back(schedule, step):
    low, high = sorted((1.0, schedule.end))
    now, then = (schedule.factor(s, 0.1, 0.1) for s in (step, step + 1))
    assert low * (1 - 1e-12) <= now <= high * (1 + 1e-12)
    assert (then - now) * (schedule.end - 1) >= -1e-12 * high**2


@given(n=n_steps, later=steps)
def test_warm_up_begins_at_zero_and_stays_at_one(n, later):
    assert WarmUp(n).factor(0, 0.1, 0.1) == 0
    assert WarmUp(n).factor(n + later, 0.1, 0.1) == 1


@given(n=n_steps, later=steps)
def test_early_only_is_one_for_so_many_steps_and_nothing_after(n, later):
    assert EarlyOnly(n).factor(n - 1, 0.1, 0.1) == 1
    assert EarlyOnly(n).factor(n + later, 0.1, 0.1) == 0


@given(lr=rates)
def test_proportional_to_lr_shrinks_a_weight_by_lr_squared(lr):
    rate, peak = lr
    shrink = rate * ProportionalToLr().factor(0, rate, peak)
    assert shrink * peak == pytest.approx(rate**2, rel=1e-12)


def test_the_literatures_name_for_it_is_the_same_schedule():
    assert Corrected() == ProportionalToLr()


@given(schedule=anything, other=anything, step=steps, lr=rates)
def test_a_product_is_the_product_of_factors(schedule, other, step, lr):
    assert (schedule * other).factor(step, *lr) == pytest.approx(schedule.factor(step, *lr) * other.factor(step, *lr), rel=1e-12)


@given(first=single, second=single, third=single)
def test_a_product_does_not_know_how_it_was_put_together(first, second, third):
    assert (first * second) * third == first * (second * third) == Product((first, second, third))


@given(schedule=anything)
def test_a_schedule_is_its_value(schedule):
    """So that one in a checkpoint can be compared with one in the code."""
    for copied in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule), eval(repr(schedule), dict(vars(schedules)))):
        assert copied == schedule
        assert hash(copied) == hash(schedule)
        assert repr(copied) == repr(schedule)


def test_trap_8_a_schedule_has_no_state_to_go_stale_on_resume():
    """Asking twice, in any order, gives what asking once gave."""
    schedule = WarmUp(3) * Cosine(10, end=0.1) * ProportionalToLr()
    there = [schedule.factor(step, 0.05, 0.1) for step in range(12)]
    assert [schedule.factor(step, 0.05, 0.1) for step in reversed(range(12))] == there[::-1]


def test_schedules_of_other_numbers_differ():
    assert WarmUp(100) != WarmUp(101)
    assert Cosine(100) != Linear(100)
    assert repr(WarmUp(1e2) * Linear(10, end=1)) == "WarmUp(n_steps=100) * Linear(n_steps=10, end=1.0)"


def test_ones_own_schedule_multiplies_with_ours():
    class Every(Schedule):
        """1 at every k-th step."""

        def __init__(self, k):
            self.k = k

        def factor(self, step, lr, lr_max):
            return float(step % self.k == 0)

    schedule = Every(2) * Linear(4)
    assert [schedule.factor(step, 0.1, 0.1) for step in range(4)] == [1, 0, 0.5, 0]


def test_a_number_is_no_schedule():
    with pytest.raises(TypeError):
        WarmUp(3) * 2


@pytest.mark.parametrize("kind", [WarmUp, EarlyOnly, Linear, Cosine])
@pytest.mark.parametrize("n", [0, -1, 2.5, math.nan, "ten", True])
def test_steps_are_a_whole_number(kind, n):
    with pytest.raises(SettingError, match="n_steps is"):
        kind(n)


@pytest.mark.parametrize("end", [-0.1, math.nan, math.inf, "none"])
def test_a_factor_that_is_none_is_refused(end):
    for make in (Constant, lambda end: Linear(10, end), lambda end: Cosine(10, end=end)):
        with pytest.raises(SettingError, match="finite number, 0 or above"):
            make(end)


@pytest.mark.parametrize("lr", [(-0.1, 0.1), (0.2, 0.1), (math.nan, 0.1), (0.1, math.inf)])
def test_a_peak_that_is_none_is_refused(lr):
    with pytest.raises(SettingError, match="lr_max has to be the largest learning rate"):
        ProportionalToLr().factor(0, *lr)
