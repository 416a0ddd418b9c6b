"""Several penalties on one weight: their proxes, taken in ``prox_order``, are the prox of their sum."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

import laws
from penalty_cases import bound, weight_of
from shrinkwise.regularization.penalties import L1, L2, L2SP, ElasticNet, GroupLasso, MaxNorm, Penalty
from shrinkwise.seeding import torch_generator

STEP = 0.4
PARTS = {
    "l2": L2(0.7),
    "l1": L1(0.6),
    "elastic_net": ElasticNet(0.9, 0.4),
    "group_lasso": GroupLasso(0.4),
    "l2_sp": L2SP(0.5),
    "max_norm": MaxNorm(0.8),
}
EXACT = [
    ("l1", "l2"),
    ("l1", "group_lasso"),
    ("group_lasso", "l2"),
    ("l1", "group_lasso", "l2"),
    ("l1", "elastic_net"),
    ("l1", "max_norm"),
    ("l2", "max_norm"),
    ("elastic_net", "max_norm"),
    ("group_lasso", "max_norm"),
    ("l2_sp", "max_norm"),
    ("l1", "group_lasso", "l2", "max_norm"),
]
# Pairs in which the first one's quadratic part makes the second one stronger, by the factor 1 + step·lam of that part.
INFLATED = {
    ("elastic_net", "group_lasso"): 0.9 * 0.6,
    ("elastic_net", "l2"): 0.9 * 0.6,
    ("l2_sp", "l1"): 0.5,
    ("l2_sp", "l2"): 0.5,
    ("l2_sp", "group_lasso"): 0.5,
    ("l2_sp", "elastic_net"): 0.5,
}


class Joint:
    """Penalties on one weight: the sum of their values, and other proxes of them one after another, or their own."""

    def __init__(self, proxes: list[Penalty], parts: list[Penalty] | None = None) -> None:
        self.proxes, self.parts = proxes, parts or proxes

    def value(self, weight: torch.Tensor) -> torch.Tensor:
        return torch.stack([part.value(weight) for part in self.parts]).sum()

    def prox_(self, weight: torch.Tensor, step: float) -> None:
        for part in self.proxes:
            part.prox_(weight, step)


def _sorted(names: tuple[str, ...]) -> list[Penalty]:
    return sorted((bound(PARTS[name], (4, 5)) for name in names), key=lambda part: part.prox_order)


def _check(joint: Joint) -> torch.Tensor:
    weight = weight_of((4, 5))
    laws.assert_prox_minimises(joint, weight, STEP, torch_generator("joint"))
    joint.prox_(weight, STEP)
    return weight


@pytest.mark.parametrize("names", EXACT, ids="+".join)
def test_proxes_in_their_order_minimise_the_joint_objective(names):
    found = _check(Joint(_sorted(names)))
    assert found.any()
    assert "l1" not in names or (found == 0).any()


@pytest.mark.parametrize("names", [("l1", "l2"), ("l1", "group_lasso"), ("group_lasso", "l2")], ids="+".join)
def test_the_other_order_does_not(names):
    with pytest.raises(AssertionError):
        _check(Joint(_sorted(names)[::-1]))


@pytest.mark.parametrize(("names", "lam"), INFLATED.items(), ids=["+".join(names) for names in INFLATED])
def test_a_quadratic_part_that_comes_first_makes_the_next_one_stronger_by_a_known_factor(names, lam):
    first, second = _sorted(names)
    assert (first.kind, second.kind) == names
    _check(Joint([first, second], [first, replace(second, lam=second.lam * (1 + STEP * lam))]))
    for order in itertools.permutations((first, second)):
        weight = weight_of((4, 5))
        Joint(list(order)).prox_(weight, STEP)
        exact = weight_of((4, 5))
        Joint([first, replace(second, lam=second.lam / (1 + STEP * lam))]).prox_(exact, STEP)
        assert not torch.allclose(weight, exact)  # neither order is exact


def test_zeros_stay_beside_a_pull_to_a_reference():
    weight = weight_of((4, 5))
    Joint(_sorted(("l2_sp", "l1"))).prox_(weight, STEP)
    assert (weight == 0).any()


def test_a_constraint_holds_at_the_end():
    weight = weight_of((4, 5)) * 10
    Joint(_sorted(tuple(PARTS))).prox_(weight, STEP)
    assert PARTS["max_norm"].value(weight).item() == 0


def test_every_kind_has_an_order_of_its_own():
    assert len({part.prox_order for part in PARTS.values()}) == len(PARTS)
