"""Sign flips against SciPy, Holm's adjustment, and the floor of seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shrinkwise.experiments.stats.flips import floor_of_seeds, holm, sign_flip_p


def scipy_p(differences):
    return stats.permutation_test(
        (differences,), lambda x, axis: np.mean(x, axis=axis), permutation_type="samples", vectorized=True, n_resamples=2**16
    ).pvalue


@pytest.mark.parametrize("n", [2, 5, 10])
@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_sign_flip_p_is_scipys(n, shift):
    differences = np.random.default_rng(n).standard_normal(n) + shift
    assert sign_flip_p(differences, np.random.default_rng(0)) == pytest.approx(scipy_p(differences), abs=1e-12)


@pytest.mark.parametrize(
    "differences", [[0.1, 0.1, 0.2, -0.1, 0.3, 0.0], [0.0, 0.0, 0.0], [0.1] * 6], ids=["ties", "nothing", "all the same"]
)
def test_sign_flip_p_counts_ties_as_scipy_does(differences):
    assert sign_flip_p(np.array(differences), np.random.default_rng(0)) == pytest.approx(scipy_p(np.array(differences)), abs=1e-12)


def test_random_flips_come_near_the_exact_p():
    rng = np.random.default_rng(0)
    differences = rng.standard_normal(17) + 0.5
    signs = 1 - 2 * ((np.arange(2**17)[:, None] >> np.arange(17)) & 1)
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
    assert sign_flip_p(differences, rng) == pytest.approx(exact, abs=4 * np.sqrt(exact / 10_000))


def test_random_flips_never_give_a_p_of_zero():
    assert sign_flip_p(np.ones(40), np.random.default_rng(0)) == 1 / 10_000


def test_random_flips_come_from_the_generator_and_from_nowhere_else():
    differences = np.random.default_rng(5).standard_normal(20) + 0.4
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - what must not be touched
    first = [sign_flip_p(differences, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert first[0] == first[1] != first[2]
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_adjusts_by_the_definition(ps):
    order = sorted(range(len(ps)), key=ps.__getitem__)
    expected = [0.0] * len(ps)
    for rank, place in enumerate(order):
        expected[place] = max(min(1, (len(ps) - j) * ps[order[j]]) for j in range(rank + 1))
    assert holm(ps) == expected


@pytest.mark.parametrize("n_comparisons", range(1, 40))
def test_floor_is_the_first_number_of_seeds_at_which_a_p_can_decide(n_comparisons):
    n = floor_of_seeds(n_comparisons)
    least = sign_flip_p(np.ones(n), np.random.default_rng(0))
    fewer = sign_flip_p(np.ones(n - 1), np.random.default_rng(0))
    assert holm([least] + [1.0] * (n_comparisons - 1))[0] < 0.05 <= holm([fewer] + [1.0] * (n_comparisons - 1))[0]


@pytest.mark.parametrize(("n_comparisons", "floor"), [(1, 6), (4, 8), (7, 9), (28, 11)])
def test_floor_is_what_the_decision_page_says(n_comparisons, floor):
    assert floor_of_seeds(n_comparisons) == floor
