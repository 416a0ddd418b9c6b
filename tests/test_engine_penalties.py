"""Penalties beside L2 in the single loop: each does what its term in the loss of a loop by hand does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor

from by_hand import RECIPE, N, by_hand, half_square, losses, run
from shrinkwise.errors import SettingError
from shrinkwise.regularization.strength.schedules import Cosine, Linear

TERMS: dict[str, tuple[float, Callable[[Tensor, Tensor], Tensor]]] = {
    "l1": (0.01, lambda w, _: 0.01 * w.abs().sum()),
    "elastic_net": (0.02, lambda w, _: 0.02 * (w.abs().sum() / 2 + w.square().sum() / 4)),
    "group_lasso": (0.01, lambda w, _: 0.01 * math.sqrt(w.shape[1]) * w.norm(dim=1).sum()),
    "l2_sp": (0.3, lambda w, w0: 0.3 / 2 * (w - w0).square().sum()),
    "l2": (0.2, half_square),
}


@pytest.mark.parametrize("kind", TERMS)
def test_a_penalty_is_its_term_in_the_loss(kind):
    strength, term = TERMS[kind]
    with_term = by_hand(term=term)
    assert np.allclose(losses(run({"l2": 0.0, kind: strength})), with_term, atol=1e-5)
    assert not np.allclose(with_term, by_hand(), atol=1e-3)


@pytest.mark.parametrize("kind", TERMS)
def test_every_penalty_follows_the_schedule(kind):
    strength, term = TERMS[kind]
    recipe = replace(RECIPE, schedule=Linear(20), lr_schedule=Cosine(N, end=0.1))
    expected = by_hand(
        term=term, factor=lambda t: max(1 - t / 20, 0), rate=lambda t: 0.1 + 0.9 * (1 + math.cos(math.pi * t / N)) / 2
    )
    assert np.allclose(losses(run({"l2": 0.0, kind: strength}, recipe)), expected, atol=1e-5)


def test_max_norm_bounds_each_unit_after_every_step_and_follows_no_schedule():
    expected = by_hand(limit=0.9)
    for schedule in (None, Linear(5)):
        assert np.allclose(losses(run({"l2": 0.0, "max_norm": 0.9}, replace(RECIPE, schedule=schedule))), expected, atol=1e-5)
    assert not np.allclose(expected, by_hand(), atol=1e-3)


def test_penalties_add_up():
    expected = by_hand(term=lambda w, w0: half_square(w, w0) + 0.01 * w.abs().sum(), limit=0.9)
    assert np.allclose(losses(run({"l2": 0.2, "l1": 0.01, "max_norm": 0.9})), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["l1", "elastic_net", "group_lasso", "l2_sp", "max_norm"])
def test_a_penalty_of_zero_is_none_to_the_last_bit(kind):
    assert np.array_equal(losses(run({"l2": 0.1, kind: 0})), losses(run({"l2": 0.1})))


@pytest.mark.parametrize(
    ("bad", "said"),
    [(-0.1, "l1 is -0.1: a strength"), (math.nan, "l1 is nan: a strength"), (math.inf, "l1 is inf"), ("much", "l1 is 'much'")],
)
def test_what_is_no_strength_is_refused(bad, said):
    with pytest.raises(SettingError, match=said):
        run({"l2": 0.0, "l1": bad})
