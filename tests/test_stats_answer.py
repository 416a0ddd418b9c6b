"""The whole answer: comparisons, table, sentence, notes, and how often it speaks of an effect where there is none."""

from __future__ import annotations

import dataclasses
import math
import random

import numpy as np
import pytest

from shrinkwise.experiments.records import Condition, Status, Variant
from shrinkwise.experiments.stats import Finding, Measurement, answer
from stats_cases import BASE, CLEAN, NOISY, around, l2, runs, study
from stats_simulations import World, leave_one_out, resampled

DROPOUT = Variant(l2=0.0, dropout=0.5)
WEAK, STRONG, HUGE = l2(0.01), l2(0.1), l2(1.0)

FOUND = [
    *runs({BASE: around(0.97), WEAK: around(0.9701), STRONG: around(0.95), HUGE: around(0.3)}, collapsed=[HUGE]),
    *runs(
        {BASE: around(0.90), WEAK: around(0.94), STRONG: around(0.96, spread=-0.004), HUGE: around(0.2)},
        condition=NOISY,
        collapsed=[HUGE],
    ),
]


def summary(given):
    """All numbers of an answer, by what they are about."""
    return {(c.variant, c.condition, c.metric): dataclasses.replace(c, variant=BASE, against=BASE) for c in given.comparisons}


def findings(given):
    return {(c.variant.name, c.condition.name): c.finding for c in given.comparisons}


def test_answer_finds_what_the_runs_show():
    clean, noisy = CLEAN.name, NOISY.name
    assert findings(answer(FOUND, study())) == {
        (WEAK.name, clean): Finding.EQUIVALENT,
        (STRONG.name, clean): Finding.HURTS,
        (HUGE.name, clean): Finding.HURTS,
        (WEAK.name, noisy): Finding.HELPS,
        (STRONG.name, noisy): Finding.HELPS,
        (HUGE.name, noisy): Finding.HURTS,
    }


def test_sentence_says_it_in_plain_words():
    clean, noisy = answer(FOUND, study()).sentence.split("; ", maxsplit=1)
    assert clean == (
        "With clean labels no variant is shown to help, so keep the base: "
        "l2=0.1 hurts, l2=1 hurts and collapses, l2=0.01 is equivalent to it"
    )
    assert noisy == (
        "with 20 % label noise l2=0.1 helps: accuracy rises by 5.97 points (95 % interval 5.67 to 6.37); l2=0.01 helps too, "
        "while l2=1 hurts and collapses."
    )


def test_sentence_names_a_condition_that_was_made_elsewhere():
    told = answer(runs({BASE: around(0.9), STRONG: around(0.9)}, condition=Condition(label="task=cola")), study()).sentence
    assert told.startswith("For task=cola l2=0.1 is equivalent to the base")


FIVE_UP, NONE = "accuracy rises by 5.0 points", "(one seed allows no interval)"


@pytest.mark.parametrize(
    ("ours", "n", "words"),
    [
        (0.95, 10, f"l2=0.1 helps: {FIVE_UP} (95 % interval 5.0 to 5.0)."),
        (0.80, 10, "l2=0.1 hurts: accuracy falls by 10.0 points (95 % interval 10.0 to 10.0), so keep the base."),
        (0.901, 10, "l2=0.1 is equivalent to the base: accuracy rises by 0.1 points (95 % interval 0.1 to 0.1), so keep"),
        (0.95, 4, f"l2=0.1 cannot be shown to help with 4 seeds (it takes 6): {FIVE_UP}"),
        (0.95, 1, f"l2=0.1 cannot be shown to help with 1 seed (it takes 6): {FIVE_UP} {NONE}"),
        (0.90, 10, "l2=0.1 is equivalent to the base: accuracy does not move (95 % interval 0.0 to 0.0), so keep the base."),
        (0.90, 4, "l2=0.1 cannot be shown to help with 4 seeds (it takes 6): accuracy does not move (4 seeds that agree allow no"),
    ],
)
def test_sentence_of_a_single_variant_has_its_numbers(ours, n, words):
    assert answer(runs({BASE: [0.9] * n, STRONG: [ours] * n}), study()).sentence.startswith(words)


def test_sentence_of_a_loss_names_its_direction():
    loss = runs({BASE: around(0.5), STRONG: around(0.4, spread=0.004)}, metric="loss")
    given = answer(loss, study(primary_metric="loss", margin=0.02, is_margin_relative=True))
    assert given.sentence.startswith("l2=0.1 helps: loss falls by 0.0999 (95 % interval 0.0989 to 0.1012)")


@pytest.mark.parametrize(("difference", "finding"), [(0.009, Finding.EQUIVALENT), (0.011, Finding.HURTS)])
def test_relative_margin_is_a_share_of_the_base(difference, finding):
    loss = runs({BASE: [0.5] * 10, STRONG: [0.5 + difference] * 10}, metric="loss")
    given = answer(loss, study(primary_metric="loss", margin=0.02, is_margin_relative=True))
    assert given.comparisons[0].finding is finding


def test_order_of_the_runs_decides_nothing():
    rng = np.random.default_rng(0)
    there = [
        dataclasses.replace(run, examples={"accuracy": rng.random(50)}, metrics={**run.metrics, "loss": rng.random()})
        for run in FOUND
    ]
    back = there.copy()
    random.Random(1).shuffle(back)
    assert summary(answer(there, study())) == summary(answer(back, study()))


def test_trap_17_global_random_state_is_neither_read_nor_changed():
    values = np.random.default_rng(0).normal(0.5, 1, 20)
    measurements = runs({BASE: [0.0] * 20, STRONG: list(values)})
    np.random.seed(1)  # noqa: NPY002 - what must not matter
    first = summary(answer(measurements, study()))
    np.random.seed(2)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert summary(answer(measurements, study())) == first
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_variant_and_base_change_places_with_the_sign():
    rng = np.random.default_rng(0)
    measurements = [
        dataclasses.replace(run, examples={"accuracy": rng.random(40)})
        for run in runs({BASE: rng.random(10), STRONG: rng.random(10)})
    ]
    (there,), (back,) = answer(measurements, study()).comparisons, answer(measurements, study(), base=STRONG).comparisons
    assert (there.difference.point, there.difference.low) == (-back.difference.point, -back.difference.high)
    assert (there.p, there.p_adjusted, there.share_won) == (back.p, back.p_adjusted, 1 - back.share_won)


def test_p_is_the_larger_of_the_interval_s_and_of_the_sign_flips():
    certain = answer(runs({BASE: [0.9] * 10, STRONG: [0.95] * 10}), study()).comparisons[0]
    assert certain.p == 2 / 2**10
    doubtful = runs({BASE: [0.0] * 10, STRONG: [0.1, 0.1, 0.2, 0.1, 0.2, 0.1, 0.1, 0.2, 0.1, 0.9]})
    assert answer(doubtful, study()).comparisons[0].p > 2 / 2**10


def test_an_interval_that_holds_zero_never_comes_with_help():
    rng = np.random.default_rng(0)
    for _ in range(200):
        given = answer(runs({BASE: [0.0] * 10, STRONG: list(rng.lognormal(0, 1, 10) - 1)}), study())
        (found,) = given.comparisons
        assert found.p is not None
        assert (found.p < 0.05) <= (not found.difference.low <= 0 <= found.difference.high)


def test_holm_counts_the_variants_of_one_condition():
    given = answer(FOUND, study())
    weak = next(c for c in given.comparisons if (c.variant, c.condition) == (HUGE, CLEAN))
    assert weak.p == 2 / 2**10
    assert weak.p_adjusted == pytest.approx(3 * 2 / 2**10)


def test_below_the_floor_no_p_is_given_and_the_notes_say_why():
    given = answer(runs({BASE: around(0.9, 6), WEAK: around(0.94, 6), STRONG: around(0.95, 6)}), study())
    assert [c.p for c in given.comparisons] == [c.p_adjusted for c in given.comparisons] == [None, None]
    assert "No p is given: with 6 pairs of runs and 2 comparisons none can be under 0.05" in " ".join(given.notes)
    assert all(c.finding is Finding.INCONCLUSIVE for c in given.comparisons)
    assert all(c.seeds_needed == 7 for c in given.comparisons)


def test_runs_that_diverged_lose_their_pair_and_are_counted():
    values = around(0.95)
    values[3] = math.nan
    given = answer(runs({BASE: around(0.9), STRONG: values, HUGE: [math.nan] * 10}), study())
    (strong,) = given.comparisons
    assert strong.seeds == (0, 1, 2, 4, 5, 6, 7, 8, 9)
    row = given.rows[1]
    assert (row.n, row.status[Status.DIVERGED]) == (9, 1)
    assert given.rows[2].metrics == {}
    notes = " ".join(given.notes)
    assert "Of the 10 runs of l2=0.1, 1 diverged; 1 pair of runs left out." in notes
    assert "Of the 10 runs of l2=1, 10 diverged; there is nothing to compare." in notes
    assert "l2=1 leaves no run to compare" in given.sentence


def test_base_that_always_diverged_leaves_no_comparison():
    given = answer(runs({BASE: [math.nan] * 10, STRONG: around(0.9)}), study())
    assert given.comparisons == ()
    assert given.sentence == "No comparison is possible: the base diverged, a lower learning rate may help."


def test_other_metrics_have_no_p_and_so_never_help_or_hurt():
    measurements = [
        dataclasses.replace(run, metrics={**run.metrics, "loss": 1 - run.metrics["accuracy"], "other": 1.0}) for run in FOUND
    ]
    given = answer(measurements, study())
    losses = [c for c in given.comparisons if c.metric == "loss"]
    assert {c.p for c in losses} == {None}
    assert {c.seeds_needed for c in losses} == {None}
    assert {c.finding for c in losses} == {Finding.EQUIVALENT, Finding.INCONCLUSIVE}
    assert {c.finding for c in losses if c.variant == HUGE} == {Finding.INCONCLUSIVE}
    assert {c.metric for c in given.comparisons} == {"accuracy", "loss"}
    assert given.comparisons[0].metric == "accuracy"


def test_share_won_counts_a_tie_as_half():
    given = answer(runs({BASE: [0.5, 0.5, 0.5, 0.5], STRONG: [0.6, 0.6, 0.5, 0.4]}), study())
    assert given.comparisons[0].share_won == 0.625


def test_table_has_mean_and_spread():
    given = answer(FOUND, study())
    spread = given.rows[0].metrics["accuracy"]
    assert spread.estimate.point == pytest.approx(np.mean(around(0.97)))
    assert spread.std == pytest.approx(np.std(around(0.97), ddof=1))
    assert [row.variant for row in given.rows] == [BASE, WEAK, STRONG, HUGE] * 2
    assert [row.collapsed for row in given.rows] == [0, 0, 0, 10] * 2


def test_notes_say_where_it_holds_and_whom_equal_epochs_handicap():
    plain = " ".join(answer(FOUND, study()).notes)
    assert "sgd, learning rate 0.05, batches of 32 and 30 epochs" in plain
    assert "handicaps dropout" not in plain
    base = Variant(l2=0.0, dropout=0.0)
    assert "handicaps dropout" in " ".join(answer(runs({base: around(0.9), DROPOUT: around(0.9)}), study()).notes)


@pytest.mark.parametrize(
    ("stopped_base", "words"),
    [
        (0.948, "early stopping would have done the same as l2=0.1"),
        (0.93, "early stopping would have done part of what l2=0.1 does: of its 5.0 points, 2.0 points are left"),
        (0.90, "early stopping would have done nothing of what l2=0.1 does"),
        (0.99, "early stopping would have done the same as l2=0.1"),
    ],
)
def test_notes_say_what_early_stopping_would_have_done(stopped_base, words):
    last = runs({BASE: [0.9] * 10, STRONG: [0.95] * 10})
    best = runs({BASE: [stopped_base] * 10, STRONG: [0.96] * 10})
    given = answer(last, study(), best_val=best)
    assert words in " ".join(given.notes).replace("Early", "early")
    assert given.over_stopped_base[0].difference.point == pytest.approx(0.95 - stopped_base)
    assert given.early_stopped[0].difference.point == pytest.approx(0.96 - stopped_base)
    assert given.comparisons[0].difference.point == pytest.approx(0.05)


def test_notes_say_what_is_left_of_every_gain():
    gains = {l2(lam): 0.9 + gain for lam, gain in zip((0.1, 0.2, 0.3, 0.4, 0.5), (0.05, 0.04, 0.03, 0.02, 0.01), strict=True)}
    last = runs({BASE: [0.9] * 10, **{variant: [value] * 10 for variant, value in gains.items()}})
    best = runs({BASE: [0.92] * 10, **{variant: [0.95] * 10 for variant in gains}})
    given = answer(last, study(), best_val=best)
    (note,) = (note for note in given.notes if note.startswith("Early stopping"))
    assert "of its 5.0 points, 3.0 points are left (95 % interval" in note
    assert "; left of the other gains, against that base: 2.0 points for l2=0.2 (2.0 to 2.0), " in note
    for variant, left in zip(gains, ("3.0", "2.0", "1.0", "0.0", "−1.0"), strict=True):
        assert f"{left} points" in note
        assert variant.name in note


@pytest.mark.parametrize(("n_rows", "finding"), [(50, Finding.INCONCLUSIVE), (2_000, Finding.EQUIVALENT)])
def test_variant_that_never_differs_is_equivalent_only_on_enough_rows(n_rows, finding):
    outcome = np.arange(n_rows) % 10 > 0
    measurements = [
        dataclasses.replace(run, examples={"accuracy": outcome}) for run in runs({BASE: [0.9] * 10, STRONG: [0.9] * 10})
    ]
    (found,) = answer(measurements, study()).comparisons
    assert found.finding is finding
    assert (found.difference.low, found.difference.high) == pytest.approx((-3 / n_rows, 3 / n_rows))


@pytest.mark.parametrize(("n", "finding"), [(2, Finding.INCONCLUSIVE), (4, Finding.INCONCLUSIVE), (5, Finding.EQUIVALENT)])
def test_a_few_seeds_that_agree_without_known_rows_are_not_equivalent(n, finding):
    (found,) = answer(runs({BASE: [0.9] * n, STRONG: [0.9] * n}), study()).comparisons
    assert found.finding is finding
    assert found.p is None


def test_best_val_is_judged_where_the_study_selects_it():
    last = runs({BASE: [0.9] * 10, STRONG: [0.95] * 10})
    best = runs({BASE: [0.94] * 10, STRONG: [0.93] * 10})
    given = answer(last, study(select="best-val"), best_val=best)
    assert given.comparisons[0].finding is Finding.HURTS
    assert "early stopping" not in " ".join(given.notes).lower()


def with_rows(tested, n_train, n_test, *, has_examples=True):
    return [
        Measurement(
            Variant(left_out=k),
            Condition(),
            seed,
            Status.DONE,
            collapsed=False,
            metrics={"accuracy": float(outcome[0, k].mean())},
            examples={"accuracy": outcome[0, k]} if has_examples else {},
            n_train=n_train,
            n_test=n_test,
            weight_norm=math.nan,
        )
        for seed, outcome in enumerate(tested.outcomes)
        for k in range(outcome.shape[1])
    ]


@pytest.mark.parametrize(
    ("is_resampled", "has_examples", "has_rows", "words"),
    [
        (False, True, False, "crossed random effects"),
        (True, True, True, "crossed random effects"),
        (True, True, False, "Nadeau and Bengio"),
        (True, False, True, "Nadeau and Bengio"),
        (False, False, False, "test set taken as given"),
    ],
)
def test_variance_is_the_one_that_the_design_allows(is_resampled, has_examples, has_rows, words):
    tested = resampled(World(np.ones(10)), np.random.default_rng(0), 100, leave_one_out)
    measurements = with_rows(tested, 60, 20, has_examples=has_examples)
    rows = dict(enumerate(tested.rows)) if has_rows else None
    given = answer(measurements, study(is_resampled=is_resampled), test_rows=rows)
    assert all(words in c.difference.method for c in given.comparisons)


def says_help(given):
    return any(c.finding is Finding.HELPS for c in given.comparisons)


def test_under_no_effect_seven_variants_seldom_help_with_normal_differences():
    rng = np.random.default_rng(0)
    variants = [BASE, *(l2(float(k)) for k in range(1, 8))]
    told = [
        says_help(answer(runs({variant: rng.normal(0, 0.05, 10) + shared for variant in variants}), study()))
        for shared in rng.normal(0, 0.1, (2_000, 10))
    ]
    assert np.mean(told) <= 0.05


def test_under_no_effect_seven_variants_seldom_help_over_splits_of_one_data_set():
    rng, world = np.random.default_rng(5), World(np.ones(10) / np.sqrt(10), noise=0.2)
    tested = [resampled(world, rng, 200, leave_one_out) for _ in range(2_000)]
    told = [says_help(answer(with_rows(t, 120, 40), study(is_resampled=True), test_rows=dict(enumerate(t.rows)))) for t in tested]
    assert np.mean(told) <= 0.05
    # Without knowledge of the rows that test sets share it would be said too often: this is what the test would catch.
    naive = [says_help(answer(with_rows(t, 120, 40, has_examples=False), study())) for t in tested[:1_000]]
    assert np.mean(naive) > 0.05
