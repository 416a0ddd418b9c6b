"""The search: what it asks for, when it ends, and how often it is right, on trainings whose truth is known."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selection_cases import CONDITION, LOSS, SHAPES, World, basin, falling, flat, flat_left, outcome_of
from shrinkwise.errors import SettingError, TrainingError
from shrinkwise.experiments.records import Condition, RunKey
from shrinkwise.experiments.selection import Objective, Space, search
from shrinkwise.experiments.selection.belief import believe
from shrinkwise.experiments.selection.choosing import conclude, strongest_within_an_error
from shrinkwise.experiments.selection.search import n_seeds_of

SPACE = Space(low=1e-6, high=1.0)
FIXED = Space(low=1e-6, high=1.0, is_low_fixed=True, is_high_fixed=True)


def look(world, space=SPACE, *, n_seeds=4, budget=16, objective=LOSS, **rest):
    return search(world, space, objective, seeds=range(n_seeds), budget=budget, **rest)


@settings(max_examples=8)
@given(
    st.integers(3, 40),
    st.integers(1, 10),
    st.sampled_from(sorted(SHAPES)),
    st.sampled_from([0.0, 0.05]),
    st.sampled_from([0, 0.01]),
)
def test_the_budget_is_kept_no_run_is_asked_for_twice_and_seeds_share_the_work(budget, n_seeds, shape, noise, default):
    world = World(SHAPES[shape], noise=noise)
    steps = []
    space = Space(low=1e-4, high=1.0, default=default, step=0.25)
    choice = look(world, space, n_seeds=n_seeds, budget=budget, on_step=steps.append)
    runs = world.runs
    assert len(runs) == len(set(runs)) <= budget
    used = Counter(key.seed for key in runs)
    assert set(used) <= set(range(min(n_seeds, n_seeds_of(budget))))
    assert len(runs) < budget or len(used) == min(n_seeds, n_seeds_of(budget))
    assert max(used.values()) - min(used.values()) <= 2
    assert space.default_variant in [key.variant for key in world.asked[0]]
    assert (choice.cost.trainings, choice.cost.seeds, choice.cost.sample_gradients) == (len(runs), len(used), 100 * len(runs))
    assert [(run.variant, run.seed) for run in choice.runs] == [(key.variant, key.seed) for key in runs]
    assert list(choice.path) == steps
    assert [run for step in steps for run in step.runs] == [(key.variant, key.seed) for key in runs]
    assert choice.low <= choice.lam <= choice.high
    assert choice.low * 1.001 < choice.high or choice.high == 0


@pytest.mark.parametrize("n_seeds", [1, 5])
def test_asked_again_it_asks_the_same_and_says_the_same(n_seeds):
    ours, theirs = World(basin(), noise=0.05), World(basin(), noise=0.05)
    assert outcome_of(look(ours, n_seeds=n_seeds, budget=10)) == outcome_of(look(theirs, n_seeds=n_seeds, budget=10))
    assert ours.asked == theirs.asked


def test_a_search_that_was_stopped_goes_on_as_if_it_had_never_been():
    whole, kept = World(basin(), noise=0.05), {}

    def stopped(keys):
        if len(kept) >= 8:
            raise KeyboardInterrupt
        kept.update(zip(keys, whole(keys), strict=True))
        return [kept[key] for key in keys]

    with pytest.raises(KeyboardInterrupt):
        look(stopped)
    rest = World(basin(), noise=0.05)
    choice = look(lambda keys: [kept.get(key) or rest.record(key) for key in keys])
    assert 0 < len(kept) < 16
    assert outcome_of(choice) == outcome_of(look(World(basin(), noise=0.05)))


def test_a_larger_budget_begins_with_the_same_runs():
    few, many = World(basin(), noise=0.1), World(basin(), noise=0.1)
    look(few, n_seeds=3, budget=12)
    look(many, n_seeds=3, budget=20)
    first, longer = ([key for keys in world.asked for key in keys] for world in (few, many))
    assert longer[: len(first)] == first


def test_the_condition_is_that_of_the_runs():
    world = World(basin())
    look(world, condition=Condition(label_noise=0.2))
    assert {key.condition for key in world.runs} == {Condition(label_noise=0.2)}


def test_it_ends_early_where_nothing_is_left_to_learn():
    world = World(basin())
    choice = look(world, n_seeds=8, budget=64)
    assert choice.cost.trainings <= 32
    assert world.excess(choice.variant, SPACE) < 0.005
    assert "the search ended early: the interval is narrow" in choice.reason


@pytest.mark.parametrize("default", [0, 0.01])
@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_where_lambda_does_nothing_the_default_is_kept_and_little_is_spent(default, effect):
    choice = look(World(flat, effect=effect), Space(low=1e-6, high=1.0, default=default), n_seeds=8, budget=64)
    assert (choice.keeps_default, choice.lam, choice.default) == (True, default, default)
    assert f"keep λ={default}" in choice.reason
    assert choice.cost.trainings <= 24
    assert not choice.at_boundary


@pytest.mark.slow
def test_where_lambda_makes_no_difference_a_gain_is_rarely_said_to_be_beyond_noise():
    choices = [look(World(flat, name, noise=0.05), FIXED, n_seeds=6, budget=24) for name in range(24)]
    claimed = [choice for choice in choices if not choice.keeps_default and "not beyond noise" not in choice.reason]
    assert len(claimed) <= 3


@pytest.mark.slow
def test_the_interval_holds_the_best_and_little_is_lost():
    held, lost = [], []
    for name in range(8):
        for shape, curve in SHAPES.items():
            world = World(curve, name, noise=0.05, departure=0.02)
            choice = look(world, FIXED, n_seeds=4, budget=16)
            if shape != "cliff":  # a wall is no smooth curve
                held.append(any(choice.low <= lam <= choice.high for lam in world.best_lams(FIXED, slack=1e-3)))
            lost.append(world.excess(choice.variant, FIXED))
    assert sum(held) >= 0.8 * len(held)
    assert sum(lost) / len(lost) < 0.05


@pytest.mark.parametrize(
    ("up", "space", "curve"), [(True, Space(low=1e-4, high=1e-2), falling), (False, Space(low=1e-2, high=1.0), basin(-2.8))]
)
def test_the_range_is_extended_where_the_best_lies_beyond_it(up, space, curve):
    world = World(curve, noise=0.01)
    choice = look(world, space, n_seeds=6, budget=36)
    assert choice.lam > 5 * space.high if up else 0 < choice.lam < space.low / 2
    assert world.expected(choice.variant) < min(map(world.expected, space.variants())) - 0.01


def test_the_range_is_extended_by_three_decades_at_most_and_its_end_is_told():
    choice = look(World(falling, noise=0.01), Space(low=1e-2, high=1e-1), n_seeds=6, budget=60)
    assert choice.lam == 100
    assert choice.at_boundary
    assert "λ=100 is the strongest that was looked at: beyond it may be better ones" in choice.notes


def test_a_fixed_range_is_not_left():
    world = World(falling, noise=0.01)
    choice = look(world, Space(low=1e-4, high=1e-2, is_low_fixed=True, is_high_fixed=True), n_seeds=6, budget=36)
    assert max(float(key.variant["l2"]) for key in world.runs) <= choice.lam == 1e-2
    assert choice.at_boundary
    assert choice.cost.trainings < 36


def test_one_se_takes_no_weaker_one_than_the_minimum():
    for name in range(3):
        least, strongest = (look(World(flat_left(gain=0.2), name, noise=0.05), FIXED, rule=rule) for rule in ("minimum", "one-se"))
        assert strongest.lam >= least.lam
        assert strongest.cost == least.cost
        if strongest.lam > least.lam:
            assert "is the strongest within one standard error of the least expected validation loss" in strongest.reason


def test_one_se_that_comes_to_the_default_says_so():
    world = World(flat_left(gain=0.2), noise=0.05)
    runs = [(lam, seed) for seed in range(3) for lam in FIXED.lams()[seed::9]]
    seen = [LOSS.see(world.record(RunKey(FIXED.variant(lam), CONDITION, seed))) for lam, seed in runs]
    belief = believe(FIXED, seen, LOSS.margin(None), np.random.default_rng(0))
    strongest = belief.lam(strongest_within_an_error(belief, belief.best))
    there = dataclasses.replace(belief, space=dataclasses.replace(FIXED, default=strongest))
    choice = conclude("search", there, seen, [], LOSS, stop=None, rule="one-se")
    assert strongest > belief.lam(belief.best)
    assert (choice.lam, choice.keeps_default) == (strongest, True)
    least = "the strongest within one standard error of the least expected validation loss"
    assert f"keep λ={strongest}: it is {least}; what could still be gained over it is" in choice.reason
    assert "0.0 %" not in choice.reason


def test_a_gain_that_lies_beyond_what_is_told_apart_is_said_as_the_least_it_is():
    choice = look(World(lambda lam: -math.log1p(lam / 1e-3), noise=0.02), FIXED, n_seeds=6, budget=24)
    said = float(choice.reason.split("at least ")[1].split(" %")[0])
    assert 30 < said < 99.9
    assert "interval" not in choice.reason.split(";")[0]


@pytest.mark.parametrize("how", ["fails_at", "diverges_at"])
def test_where_no_run_ends_well_it_gives_up_soon(how):
    world = World(flat, **{how: 0.0})
    with pytest.raises(TrainingError, match=r"none of \d+ runs ended well \(\d+ (failed|diverged)\)"):
        look(world, n_seeds=8, budget=64)
    assert len(world.runs) <= 18
    assert 0.0 in {float(key.variant["l2"]) for key in world.runs}


@pytest.mark.parametrize("how", ["fails_at", "diverges_at", "collapses_at"])
def test_where_strong_ones_are_no_good_the_best_of_the_others_is_found(how):
    world = World(basin(), noise=0.02, **{how: 0.02})
    choice = look(world, n_seeds=6, budget=24)
    assert choice.lam < 0.02
    assert world.excess(choice.variant, Space(low=1e-6, high=0.01)) < 0.03
    n = sum(run.is_bad for run in choice.runs)
    word = {"fails_at": "failed", "diverges_at": "diverged", "collapses_at": "collapsed"}[how]
    assert any(note.startswith(f"{n} of 24 runs {word}, at λ=0.") for note in choice.notes)


def test_where_all_but_the_weakest_are_no_good_it_gets_there():
    world = World(flat, diverges_at=2e-6)
    choice = look(world, Space(low=1e-6, high=1.0, default=0.01), n_seeds=2, budget=12)
    assert [(key.variant["l2"], key.seed) for key in world.asked[1]] == [(0, 0), (1e-6, 0)]
    assert choice.lam <= 1e-6
    assert choice.cost.trainings <= 12


def test_the_seed_with_the_fewest_runs_is_next():
    world = World(flat, noise=0.05, diverges_at=2e-6)
    look(world, Space(low=1e-6, high=1.0, default=0.01), n_seeds=2, budget=9)
    assert [key.seed for key in world.asked[1]] == [0, 0]
    assert Counter(key.seed for key in world.runs) == {0: 5, 1: 4}


def test_settings_that_interact_are_searched_together():
    def beside(variant):
        return 0.2 * (math.log10(variant["lr"] * max(variant["l2"], 1e-6)) + 4) ** 2 / 4 + 0.3 * (variant["optimizer"] == "sgd")

    space = Space(low=1e-5, high=1.0, default=0, others={"lr": (0.01, 0.1, 1.0), "optimizer": ("sgd", "adam")}, step=0.25)
    world = World(lambda lam: 0.0, noise=0.01, beside=beside)
    choice = look(world, space, n_seeds=8, budget=48)
    assert choice.variant["optimizer"] == "adam"
    assert world.excess(choice.variant, space) < 0.02
    assert choice.lam == choice.variant["l2"]
    assert len(choice.curves) == 6
    assert dict(choice.curves)[type(choice.variant)(lr=choice.variant["lr"], optimizer="adam")] == choice.curve
    assert {name for key in world.runs for name in key.variant} == {"l2", "lr", "optimizer"}


def test_settings_that_are_fixed_are_in_every_run():
    world = World(basin())
    choice = look(world, Space(low=1e-6, high=1.0, fixed={"width": 8}), budget=4)
    assert {key.variant["width"] for key in world.runs} == {8}
    assert choice.variant["width"] == 8


def test_a_metric_of_which_more_is_better_is_chosen_by_likewise():
    world = World(lambda lam: 0.1 * basin()(lam) - 0.9, noise=0.003, effect=0.02, is_log=False, metric="accuracy", sign=-1)
    choice = look(world, n_seeds=6, budget=24, objective=Objective("accuracy", is_higher_better=True))
    assert world.excess(choice.variant, SPACE) < 0.005
    assert (choice.metric, choice.is_higher_better) == ("accuracy", True)
    assert "has the highest expected validation accuracy" in choice.reason
    assert "points above that at λ=0" in choice.reason
    assert all(-1 < point.low <= point.loss <= point.high < 0 for point in choice.curve)


def test_a_margin_of_accuracy_is_in_its_own_unit():
    world = World(lambda lam: 0.003 * basin(-2.0)(lam) - 0.9, noise=0.0, effect=0.02, is_log=False, metric="accuracy", sign=-1)
    choice = look(world, n_seeds=6, budget=24, objective=Objective("accuracy", is_higher_better=True))
    assert choice.keeps_default
    assert "no difference that counts: keep λ=0; what could still be gained over it is 0.0" in choice.reason
    assert choice.cost.trainings < 24


def test_the_gain_is_over_the_default_wherever_that_lies():
    world = World(basin(-3.0, depth=0.3), noise=0.01)
    space = Space(low=1e-6, high=1.0, default=0.05)
    choice = look(world, space, n_seeds=6, budget=24)
    assert space.default_variant in [key.variant for key in world.asked[0]]
    gain = 1 - math.exp(-world.excess(space.default_variant, space))
    said = float(choice.reason.split(", ")[1].split(" %")[0]) / 100
    assert "under that at λ=0.05" in choice.reason
    assert said == pytest.approx(gain, abs=0.03)


def test_the_default_takes_the_place_of_its_neighbour_on_the_axis():
    world = World(flat)
    look(world, Space(low=1e-6, high=1.0, default=0.05), n_seeds=2, budget=8)
    plain = World(flat)
    look(plain, Space(low=1e-6, high=1.0, default=0.05), n_seeds=2, budget=8)
    lams = sorted(float(key.variant["l2"]) for key in world.asked[0])
    assert lams[-1] == 0.05
    assert lams[-2] < 0.01


@pytest.mark.parametrize(("seeds", "budget"), [((), 8), ((0,), 2), ((0, 1), 0)])
def test_too_little_is_refused_before_anything_is_trained(seeds, budget):
    world = World(flat)
    with pytest.raises(SettingError, match="a curve over λ takes a seed and 3 trainings at least"):
        search(world, SPACE, LOSS, seeds=seeds, budget=budget)
    assert world.runs == []


@pytest.mark.parametrize(
    ("up", "space", "curve"),
    [
        (True, Space(low=1e-4, high=1e-2, is_high_fixed=True), falling),
        (False, Space(low=1e-2, high=1.0, is_low_fixed=True), basin(at=-3.5)),
    ],
)
def test_an_end_that_was_given_is_kept_and_the_other_may_grow(up, space, curve):
    world = World(curve, noise=0.01)
    choice = look(world, space, n_seeds=6, budget=36)
    asked = [float(key.variant["l2"]) for key in world.runs if key.variant["l2"]]
    assert max(asked) <= space.high if up else min(asked) >= space.low
    assert space.may_grow(up=not up)
    assert choice.high <= space.high if up else choice.low == 0 or choice.low >= space.low


@pytest.mark.parametrize("bad", ["fails_at", "diverges_at", "collapses_at"])
def test_what_never_ended_well_is_not_chosen_nor_asked_for_again_and_again(bad):
    world = World(falling, noise=0.01, **{bad: 0.02})
    choice = look(world, n_seeds=8, budget=32)
    lost = [key for key in world.runs if float(key.variant["l2"]) >= 0.02]
    assert len(lost) <= 12
    assert 0.005 < choice.lam < 0.02
    assert choice.high <= 0.021  # half a step
    assert not choice.at_boundary


def test_a_default_five_points_of_accuracy_worse_is_not_kept_where_most_others_are_alike():
    for name in range(4):
        world = World(
            lambda lam: -0.98 + 0.05 * (lam > 0.1), name, effect=0.01, noise=0.0005, is_log=False, metric="accuracy", sign=-1
        )
        choice = look(world, Space(default=0.3), n_seeds=8, budget=32, objective=Objective("accuracy", True))
        assert not choice.keeps_default
        assert choice.lam <= 0.1
        assert world.excess(choice.variant, SPACE) == 0


def test_a_range_is_not_extended_out_of_ignorance():
    worlds = [World(flat, name, noise=0.05) for name in range(8)]
    for world in worlds:
        look(world, n_seeds=4, budget=16)
    assert sum(max(float(key.variant["l2"]) for key in world.runs) > 1 for world in worlds) <= 1


@pytest.mark.parametrize(
    ("curve", "effect", "n_seeds", "said"),
    [
        (flat, 0.0, 3, "every run gave exactly the same loss: are l2 and the seed used?"),
        (flat, 0.2, 3, "every l2 gave exactly the same loss with a seed: does it reach the optimiser?"),
        (basin(), 0.2, 1, "one seed says nothing of other seeds, and neither does the interval: take five or more"),
    ],
)
def test_what_looks_like_a_mistake_is_said(curve, effect, n_seeds, said):
    choice = look(World(curve, effect=effect), n_seeds=n_seeds, budget=4 * n_seeds)
    assert said in choice.notes
    assert said not in look(World(basin(), effect=effect), n_seeds=3, budget=12).notes


def test_a_gain_that_is_not_beyond_noise_is_marked_as_such():
    choices = [look(World(flat, name, noise=0.1), FIXED, n_seeds=3, budget=12) for name in range(6)]
    assert {choice.is_beyond_noise for choice in choices} == {True, False}
    for choice in choices:
        assert choice.is_beyond_noise == ("the gain is not beyond noise" not in choice.reason)
