"""Two models over the same test rows: which way they differ, and an interval that holds where few rows do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from shrinkwise.errors import DataError
from shrinkwise.experiments.stats.two_models import TwoModels, two_models


def right_and_wrong(n: int, only_ours: int, only_base: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two models' rows of which so many are right for one of them only; half of the others are right for both."""
    rest = n - only_ours - only_base
    both = np.arange(rest) < rest // 2
    ours = np.concatenate([np.ones(only_ours), np.zeros(only_base), both])
    base = np.concatenate([np.zeros(only_ours), np.ones(only_base), both])
    return ours, base


def accuracy(n: int, only_ours: int, only_base: int) -> TwoModels:
    return two_models("accuracy", *right_and_wrong(n, only_ours, only_base), "λ=0.01")


@pytest.mark.parametrize(("p", "q"), [(0.0, 0.0), (0.01, 0.01), (0.03, 0.01), (0.1, 0.05), (0.3, 0.1)])
def test_the_interval_of_right_and_wrong_covers_however_few_rows_differ(p, q):
    n, covered = 30, 0.0
    for only_ours in range(n + 1):
        for only_base in range(n + 1 - only_ours):
            chance = stats.multinomial.pmf([only_ours, only_base, n - only_ours - only_base], n, [p, q, 1 - p - q])
            if chance > 1e-9:
                found = accuracy(n, only_ours, only_base).difference
                covered += chance * (found.low <= p - q <= found.high)
    assert covered > 0.94


@pytest.mark.parametrize(("only_ours", "only_base"), [(0, 0), (1, 0), (3, 5), (20, 0), (40, 0)])
def test_the_interval_holds_its_point_turns_with_the_models_and_stays_within_what_can_be(only_ours, only_base):
    found = accuracy(40, only_ours, only_base).difference
    turned = accuracy(40, only_base, only_ours).difference
    assert -1 <= found.low < found.point <= found.high <= 1
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert found.point == pytest.approx((only_ours - only_base) / 40)


def test_the_interval_of_a_loss_is_students():
    rng = np.random.default_rng(5)
    ours, base = rng.exponential(size=(2, 30))
    expected = stats.ttest_rel(ours, base).confidence_interval(0.95)
    found = two_models("loss", ours, base).difference
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            accuracy(1000, 4, 7),
            "the choice has 0.3 points less accuracy than λ=0.01 (95 % interval −0.4 to 1.0, over 1000 test rows)",
        ),
        (
            accuracy(1000, 7, 4),
            "the choice has 0.3 points more accuracy than λ=0.01 (95 % interval −0.4 to 1.0, over 1000 test rows)",
        ),
        (accuracy(40, 2, 2), "the choice has the same accuracy as λ=0.01 (95 % interval −10.4 to 10.4, over 40 test rows)"),
        (accuracy(40, 0, 0), "the choice has the same accuracy as λ=0.01 (95 % interval −4.7 to 4.7, over 40 test rows)"),
        (
            two_models("loss", np.array([0.5, 1.5]), np.array([0.5, 1.5])),
            "the choice and the default have the same loss on each of 2 test rows",
        ),
    ],
)
def test_a_sentence_names_the_direction(found, said):
    assert found.sentence == f"These two models only: {said}; another seed may differ."


def test_losses_that_are_the_same_on_each_row_have_no_interval():
    same = np.array([0.5, 1.5, 2.5])
    assert math.isnan(two_models("loss", same, same).difference.low)


def test_models_are_compared_on_the_same_rows():
    with pytest.raises(DataError, match="39 and 40 rows"):
        two_models("accuracy", np.zeros(39), np.zeros(40))
