"""The grid, and what can be said without any training."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selection_cases import LOSS, World, basin, flat, flat_left, record_of
from shrinkwise.errors import SettingError, TrainingError
from shrinkwise.experiments.records import Status
from shrinkwise.experiments.selection import Objective, Space, prior, sweep, timescale_window
from shrinkwise.experiments.selection.sweep import grid_of

SPACE = Space(low=1e-4, high=1.0)


def swept(world, space=SPACE, *, n_seeds=3, budget=27, objective=LOSS, **rest):
    return sweep(world, space, objective, seeds=range(n_seeds), budget=budget, **rest)


@given(st.integers(3, 40), st.sampled_from([0.0, 1e-3, 0.02]), st.sampled_from([(), ("lr",), ("lr", "dropout")]))
def test_a_grid_is_no_larger_than_asked_and_holds_none_the_default_and_both_halves(n, default, names):
    others = dict.fromkeys(names, (0.1, 0.2))
    space = Space(low=1e-4, high=1.0, default=default, others=others)
    n_combinations = 2 ** len(names)
    if n // n_combinations < max(3, 2 + (default > 0)):
        with pytest.raises(SettingError, match="at least three strengths"):
            grid_of(space, n)
        return
    variants = grid_of(space, n)
    assert len(variants) == len(set(variants)) <= n
    assert set(variants) <= set(space.variants())
    assert {space.variant(0.0), space.default_variant} <= set(variants)
    lams = sorted({space.lam_of(variant) for variant in variants})
    assert len(variants) == len(lams) * n_combinations
    assert len(lams) >= min(n // n_combinations, len(space.lams())) - 1
    if n // n_combinations > 3:
        assert {space.low, space.high} <= set(lams)


@settings(max_examples=10)
@given(st.integers(3, 12), st.integers(1, 4))
def test_every_strength_is_trained_with_every_seed_within_the_budget(per_seed, n_seeds):
    world, steps = World(basin(), noise=0.01), []
    choice = swept(world, n_seeds=n_seeds, budget=per_seed * n_seeds + n_seeds - 1, on_step=steps.append)
    assert len(world.asked) == len(steps) == 1
    runs = {(key.variant, key.seed) for key in world.runs}
    assert runs == {(variant, seed) for variant in grid_of(SPACE, per_seed) for seed in range(n_seeds)}
    assert choice.cost.trainings == len(world.runs) == len(runs) <= per_seed * n_seeds
    assert choice.method == "sweep"
    assert choice.path == tuple(steps)


@settings(max_examples=8)
@given(st.floats(-3, -1), st.integers(0, 1000))
def test_the_one_with_the_least_mean_is_taken(at, name):
    world = World(basin(at, depth=0.5), name, noise=0.02)
    choice = swept(world)
    means = {variant: sum(world.loss(variant, seed) for seed in range(3)) / 3 for variant in grid_of(SPACE, 9)}
    assert choice.variant == min(means, key=means.__getitem__)
    assert choice.low <= choice.lam <= choice.high
    assert "has the least expected validation loss" in choice.reason


def test_one_that_diverged_with_a_seed_is_not_taken():
    world = World(basin(-1.0), diverges_at=0.05)
    choice = swept(world)
    assert choice.lam == max(lam for lam in map(SPACE.lam_of, grid_of(SPACE, 9)) if lam < 0.05)
    assert any("diverged" in note for note in choice.notes)


def test_one_that_diverged_with_one_seed_alone_is_not_taken():
    world = World(basin(-1.0))

    def train_many(keys):
        is_lost = [key.seed == 1 and key.variant["l2"] > 0.02 for key in keys]
        return [
            record_of(key, status=Status.DIVERGED) if lost else world.record(key) for key, lost in zip(keys, is_lost, strict=True)
        ]

    assert 0.001 < swept(train_many).lam <= 0.02


def test_where_lambda_makes_no_difference_the_default_is_kept():
    choice = swept(World(flat), Space(low=1e-4, high=1.0, default=0.01))
    assert (choice.lam, choice.keeps_default) == (0.01, True)
    assert "keep λ=0.01" in choice.reason


def test_one_se_takes_no_weaker_one():
    least, strongest = (swept(World(flat_left(gain=0.2), noise=0.08), rule=rule) for rule in ("minimum", "one-se"))
    assert strongest.lam >= least.lam


def test_the_best_at_the_end_of_the_range_is_told():
    choice = swept(World(lambda lam: -0.2 * math.log1p(lam * 100)))
    assert (choice.lam, choice.at_boundary) == (1.0, True)
    assert "λ=1 is the strongest that was looked at: beyond it may be better ones" in choice.notes


def test_accuracy_is_chosen_by_likewise():
    world = World(lambda lam: 0.1 * basin(-2.0)(lam) - 0.9, effect=0.02, is_log=False, metric="accuracy", sign=-1)
    choice = swept(world, objective=Objective("accuracy", is_higher_better=True))
    assert choice.lam == pytest.approx(0.01, rel=0.5)
    assert (choice.metric, choice.is_higher_better, choice.default) == ("accuracy", True, 0.0)


def test_where_no_run_ends_well_there_is_no_choice():
    with pytest.raises(TrainingError, match=r"none of 27 runs ended well \(27 failed\)"):
        swept(World(flat, fails_at=0.0))


@pytest.mark.parametrize(("n_seeds", "budget"), [(3, 8), (0, 8), (8, 1)])
def test_too_small_a_budget_is_refused_before_anything_is_trained(n_seeds, budget):
    world = World(flat)
    with pytest.raises(SettingError):
        swept(world, n_seeds=n_seeds, budget=budget)
    assert world.runs == []


@given(st.floats(1e-5, 1), st.integers(100, 10**6), st.integers(1, 1000), st.integers(1, 300))
def test_the_window_forgets_over_one_epoch_to_all_of_them(lr, n_train, batch_size, epochs):
    low, high = timescale_window(lr=lr, n_train=n_train, batch_size=batch_size, epochs=epochs)
    steps_per_epoch = n_train / batch_size
    assert 1 / (lr * high) == pytest.approx(steps_per_epoch)
    assert 1 / (lr * low) == pytest.approx(epochs * steps_per_epoch)


def test_the_prior_is_the_middle_of_the_window_and_costs_nothing():
    space = Space(name="weight_decay", unit="adamw", default=0.01, fixed={"dropout": 0.5})
    choice = prior(space, lr=1e-3, n_train=50_000, batch_size=100, epochs=25)
    assert (choice.low, choice.high) == pytest.approx((0.08, 2.0))
    assert choice.lam == pytest.approx(0.4)
    assert dict(choice.variant) == {"weight_decay": 0.4, "dropout": 0.5}
    assert (choice.method, choice.unit, choice.name, choice.default) == ("prior", "adamw", "weight_decay", 0.01)
    assert (choice.cost.trainings, choice.curve, choice.runs, choice.keeps_default) == (0, (), (), False)
    assert "nothing was trained" in choice.reason
