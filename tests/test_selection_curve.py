"""The curve that all seeds share: what is believed of it after runs whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selection_cases import CONDITION, LOSS, SHAPES, World, basin, belief_of, falling, flat, record_of
from shrinkwise.experiments.records import RunKey, Status
from shrinkwise.experiments.selection import Objective, Space
from shrinkwise.experiments.selection.belief import Scale, believe
from shrinkwise.experiments.selection.choosing import strongest_within_an_error
from shrinkwise.experiments.selection.curve import fit
from shrinkwise.experiments.selection.stopping import Stop, why_stop
from shrinkwise.experiments.stats.margin import Margin

SPACE = Space(low=1e-6, high=1.0, step=0.5)
SAME = LOSS.margin(None)
LAMS = SPACE.lams()


def staggered(n_seeds, per_seed, lams=LAMS):
    """Runs spread over the λs, each seed's far apart."""
    places = np.linspace(0, len(lams) - 1, n_seeds * per_seed).round().astype(int)
    return [(lams[place], k % n_seeds) for k, place in enumerate(places)]


def posterior_of(y, lams, seeds, at=LAMS, n_draws=64):
    """Fit plain numbers on the additive scale."""
    nothing = [np.zeros((len(each), 0)) for each in (lams, at)]
    return fit(
        np.array(lams, dtype=float),
        np.array(seeds),
        np.array(y, dtype=float),
        at=np.array(at, dtype=float),
        others=nothing[0],
        at_others=nothing[1],
        floors=SPACE.floors(),
        rng=np.random.default_rng(0),
        n_draws=n_draws,
    )


RUNS = staggered(4, 3)
Y = [basin()(lam) + 0.02 * math.sin(7 * k) for k, (lam, _) in enumerate(RUNS)]


@settings(max_examples=8)
@given(st.lists(st.floats(-50, 50), min_size=4, max_size=4))
def test_what_a_seed_adds_to_all_its_runs_changes_no_difference(levels):
    lams, seeds = zip(*RUNS, strict=True)
    plain, moved = (posterior_of(y, lams, seeds) for y in (Y, [y + levels[seed] for y, seed in zip(Y, seeds, strict=True)]))
    for ours, theirs in ((plain.mean, moved.mean), (plain.draws, moved.draws)):
        np.testing.assert_allclose(ours - ours[..., :1], theirs - theirs[..., :1], atol=1e-7)
    np.testing.assert_allclose(moved.seed_effects - plain.seed_effects, np.array(levels) - np.mean(levels), atol=1e-7)
    np.testing.assert_allclose(moved.mean - plain.mean, np.mean(levels), atol=1e-7)


@settings(max_examples=8)
@given(st.permutations(range(len(RUNS))))
def test_the_order_of_the_runs_is_irrelevant(order):
    world = World(basin(), noise=0.05)
    ours, theirs = belief_of(world, RUNS, space=SPACE), belief_of(world, [RUNS[k] for k in order], space=SPACE)
    np.testing.assert_allclose(ours.posterior.mean, theirs.posterior.mean, atol=1e-7)


@settings(max_examples=6)
@given(st.floats(-3, -1), st.floats(0.7, 1.5), st.floats(0.05, 0.5), st.integers(0, 1000))
def test_runs_without_noise_are_gone_through(at, width, depth, name):
    curve = basin(at, width, depth)
    world = World(curve, name)
    belief = belief_of(world, [(lam, seed) for lam in LAMS for seed in (0, 1)], space=SPACE)
    truth = np.array([curve(lam) for lam in LAMS])
    np.testing.assert_allclose(
        belief.posterior.mean - belief.posterior.mean.mean(), truth - truth.mean(), atol=0.05 * np.ptp(truth)
    )
    assert belief.lam(belief.best) in world.best_lams(SPACE, slack=0.05 * np.ptp(truth))


def test_where_lambda_does_nothing_no_level_of_a_seed_bends_the_curve():
    belief = belief_of(World(flat, effect=1.0), staggered(8, 2), space=SPACE)
    assert np.ptp(belief.posterior.mean) < 1e-9
    assert belief.most_to_gain(0) < 1e-3


def test_more_noise_makes_a_wider_band():
    def width(noise):
        low, high = belief_of(World(basin(), noise=noise, effect=0.2), staggered(8, 3), space=SPACE).posterior.band()
        return float((high - low).mean())

    assert width(0.005) < width(0.05) < width(0.3)


def test_what_is_no_smooth_curve_is_noise():
    world, space = World(flat, noise=0.05), Space(low=1e-6, high=1.0, step=0.25)
    runs = [(lam, 0) for lam in space.lams()]
    seen = [world.loss(space.variant(lam), 0) for lam, _ in runs]
    assert np.ptp(belief_of(world, runs, space=space).posterior.mean) < 0.5 * np.ptp(np.log(seen))


def test_more_seeds_make_a_narrower_band():
    def width(n_seeds):
        low, high = belief_of(World(basin(), noise=0.1, departure=0.03), staggered(n_seeds, 4), space=SPACE).posterior.band()
        return float((high - low).mean())

    assert width(12) < width(3)


@pytest.mark.parametrize(("noise", "departure"), [(0.03, 0.0), (0.05, 0.03)])
def test_the_band_covers_the_true_curve_at_about_its_rate(noise, departure):
    covered = []
    for name in range(12):
        for curve in (basin(), SHAPES["flat left"], lambda lam: falling(lam, 0.1)):
            world = World(curve, name, noise=noise, departure=departure, effect=0.0)
            low, high = belief_of(world, staggered(8, 3), space=SPACE).posterior.band()
            truth = np.array([world.curve(lam) for lam in LAMS])
            is_good = truth <= truth.min() + 0.4
            covered.append(((low <= truth) & (truth <= high))[is_good].mean())
    assert 0.85 <= np.mean(covered) <= 0.995


@pytest.mark.parametrize("kind", ["collapses_at", "diverges_at"])
def test_how_bad_a_bad_run_is_does_not_matter(kind):
    runs = staggered(6, 3)
    good = belief_of(World(basin(), noise=0.02), [run for run in runs if run[0] < 0.1], space=SPACE)
    belief = belief_of(World(basin(), noise=0.02, **{kind: 0.1}), runs, space=SPACE)
    assert abs(math.log10(belief.lam(belief.best) / good.lam(good.best))) <= 0.5
    assert belief.interval()[1] < 0.3
    at = belief.index(SPACE.variant(1.0))
    assert belief.posterior.mean[at] > belief.posterior.mean[belief.best] + 0.3


def test_losses_beyond_twice_the_best_of_their_seed_are_alike():
    lams, seeds = zip(*RUNS, strict=True)
    two = [[y + far * (lam > 0.3) for y, lam in zip(Y, lams, strict=True)] for far in (2.0, 200.0)]
    np.testing.assert_allclose(*(posterior_of(y, lams, seeds).mean for y in two))


def test_a_seed_of_which_no_run_ended_well_changes_nothing():
    world = World(basin(), noise=0.02)
    seen = [LOSS.see(world.record(RunKey(SPACE.variant(lam), CONDITION, seed))) for lam, seed in RUNS]
    lost = [LOSS.see(record_of(RunKey(SPACE.variant(lam), CONDITION, 9), status=Status.DIVERGED)) for lam in (0.1, 1.0)]
    ours, theirs = (believe(SPACE, runs, SAME, np.random.default_rng(0)) for runs in (seen, [*lost, *seen]))
    np.testing.assert_array_equal(ours.posterior.draws, theirs.posterior.draws)
    assert ours.curve({}) == theirs.curve({})
    assert believe(SPACE, lost, SAME, np.random.default_rng(0)) is None


def test_a_failed_run_says_nothing():
    world = World(basin(), noise=0.02)
    failed = LOSS.see(record_of(RunKey(SPACE.variant(1.0), CONDITION, 0), status=Status.FAILED))
    seen = [LOSS.see(world.record(RunKey(SPACE.variant(lam), CONDITION, seed))) for lam, seed in RUNS]
    ours, theirs = (believe(SPACE, runs, SAME, np.random.default_rng(0)) for runs in (seen, [*seen, failed]))
    np.testing.assert_array_equal(ours.posterior.draws, theirs.posterior.draws)


def test_the_curve_is_shown_as_the_mean_over_seeds_that_people_compute():
    world = World(basin(), effect=0.8)
    belief = belief_of(world, [(lam, seed) for lam in LAMS for seed in range(4)], space=SPACE)
    for point in belief.curve({}):
        mean = np.mean([world.loss(SPACE.variant(point.lam), seed) for seed in range(4)])
        assert point.loss == pytest.approx(mean, rel=0.02)
        assert point.low <= point.loss <= point.high


def test_the_interval_holds_what_is_chosen_and_says_zero_where_none_at_all_is_within():
    belief = belief_of(World(basin(-2.5), noise=0.02), staggered(8, 3), space=SPACE)
    low, high = belief.interval()
    assert 0 < low < 10**-2.5 < high < 1
    assert belief.width() == pytest.approx(math.log10(high / low))
    default = belief.index(SPACE.variant(0.0))
    assert belief.interval(default) == (0.0, high)
    assert belief.interval(belief.index(SPACE.variant(1.0)))[1] == pytest.approx(10**0.25)


def test_gains_are_those_of_the_truth():
    world = World(basin(-2.5, depth=0.3), noise=0.01)
    belief = belief_of(world, staggered(8, 4), space=SPACE)
    mean, low, high = belief.gain(belief.best, over=belief.index(SPACE.variant(0.0)))
    assert low < mean < high
    assert mean == pytest.approx(0.3, abs=0.03)
    assert belief.most_to_gain(belief.best) < 0.05
    assert belief.most_to_gain(belief.index(SPACE.variant(0.0))) >= mean


def test_the_strongest_within_an_error_is_no_weaker_than_the_best():
    for name in range(4):
        belief = belief_of(World(SHAPES["flat left"], name, noise=0.05), staggered(8, 3), space=SPACE)
        strongest = strongest_within_an_error(belief, belief.best)
        assert belief.lam(strongest) >= belief.lam(belief.best)
        error = np.std(belief.posterior.draws[:, strongest] - belief.posterior.draws[:, belief.best])
        assert belief.posterior.mean[strongest] <= belief.posterior.mean[belief.best] + error


def test_a_search_ends_no_sooner_than_nine_runs_and_then_where_it_knows():
    fine, world = Space(low=1e-4, high=1.0), World(basin(-2.5, 0.6, 1.0))
    runs = [(lam, seed) for k, lam in enumerate(fine.lams()) for seed in (k % 2, 2)]
    few, many = belief_of(world, runs[:8], space=fine), belief_of(world, runs, space=fine)
    noisy = belief_of(World(basin(), noise=0.2), runs, space=fine)
    assert why_stop(replace(few, margin=5.0), fine.default_variant) is None
    assert why_stop(replace(many, margin=0.1), fine.default_variant) is Stop.NARROW
    assert why_stop(replace(many, margin=2.0), fine.default_variant) is Stop.NOTHING_TO_GAIN
    assert why_stop(replace(noisy, margin=0.01), fine.default_variant) is None


def test_a_narrow_range_does_not_make_its_weakest_strengths_alike():
    world = World(basin(-2.8), noise=0.01)
    narrow = Space(low=1e-3, high=1.0)
    runs = [(lam, k % 6) for k, lam in enumerate(narrow.lams()[::2])] + [(0.0, 0), (0.0, 3)]
    belief = belief_of(world, runs, space=narrow)
    assert world.excess(belief.variants[belief.best], narrow) < 0.01
    low, high = belief.interval()
    assert low <= 10**-2.8 <= high


@given(st.lists(st.floats(1e-6, 1e6), min_size=2), st.booleans())
def test_a_scale_reads_back_what_it_wrote(losses, is_turned):
    values = np.array(losses) * (-1 if is_turned else 1)
    scale = Scale.of(values, SAME)
    assert scale.is_log is not is_turned
    np.testing.assert_allclose(scale.write(scale.read(values)), values, rtol=1e-9)


@pytest.mark.parametrize(
    ("losses", "margin", "width"),
    [
        ([0.5, 1.0, 2.0], Margin(0.02, is_relative=True), 0.02),
        ([0.5, 1.0, 2.0], Margin(0.005, is_relative=False), 0.005),
        ([-0.9, -0.8, -0.7], Margin(0.005, is_relative=False), 0.025),
        ([-0.9, -0.8, -0.7], Margin(0.02, is_relative=True), 0.08),
    ],
)
def test_a_margin_is_the_same_whatever_the_scale(losses, margin, width):
    assert Scale.of(np.array(losses), margin).width(margin) == pytest.approx(width)


KEY = RunKey(SPACE.variant(0.1), CONDITION, 3)


@pytest.mark.parametrize(
    ("objective", "record", "loss", "status"),
    [
        (LOSS, record_of(KEY, 0.4), 0.4, Status.DONE),
        (Objective("accuracy", True), record_of(KEY, 0.9, metric="accuracy"), -0.9, Status.DONE),
        (Objective(select="best-val"), record_of(KEY, 0.4, best_val=0.3), 0.3, Status.DONE),
        (LOSS, record_of(KEY, math.nan), math.nan, Status.DIVERGED),
        (Objective("loss", True), record_of(KEY, math.inf), math.nan, Status.DIVERGED),
        (LOSS, record_of(KEY, status=Status.FAILED), math.nan, Status.FAILED),
        (LOSS, record_of(KEY, status=Status.DIVERGED), math.nan, Status.DIVERGED),
    ],
)
def test_an_objective_reads_a_record_so_that_less_is_better(objective, record, loss, status):
    seen = objective.see(record)
    assert (seen.variant, seen.seed, seen.status) == (KEY.variant, KEY.seed, status)
    assert seen.loss == pytest.approx(loss, nan_ok=True)
    assert seen.is_bad is (status is not Status.DONE)
    if status is Status.DONE:
        assert objective.shown(seen.loss) == abs(loss)


def test_an_objective_counts_gradients_and_sees_collapse():
    seen = LOSS.see(record_of(KEY, 0.4, collapsed=True, n_train=50, epochs=3))
    assert (seen.n_gradients, seen.is_collapsed, seen.is_bad) == (150, True, True)


def test_other_settings_lie_one_apart_where_curves_change():
    space = Space(others={"lr": (0.01, 0.1), "dropout": (0.0, 0.2, 0.4), "optimizer": ("sgd", "adam", "lion")})
    combinations = [
        space.variant(0.1),
        space.variant(0.1, lr=0.1),
        space.variant(0.1, dropout=0.4),
        space.variant(0.1, optimizer="lion"),
        space.variant(1.0),
    ]
    at = space.coordinates(combinations)
    assert np.linalg.norm(at - at[0], axis=1) == pytest.approx([0, 1, 1, 1, 0])
    assert len(space.variants()) == 18 * len(space.lams())


@settings(max_examples=50)
@given(st.floats(-6, 0), st.floats(0.2, 4), st.floats(-7, 1), st.booleans())
def test_a_space_has_none_its_ends_and_its_default_once_each_and_an_extended_one_more(low, width, default, up):
    space = Space(low=10**low, high=10 ** (low + width), default=10**default)
    lams = space.lams()
    assert lams == sorted(set(lams))
    assert {0.0, space.low, space.high, space.default} <= set(lams)
    assert space.lam_of(space.default_variant) == space.default
    wider = space.extended(up=up)
    assert (wider.high > 9 * space.high) is up
    assert (wider.low < space.low / 9) is not up
