"""Penalties that look at units know which dimensions of a stored weight count them."""

from __future__ import annotations

import pickle

import pytest
import torch

import laws
from penalty_cases import MAKERS, weight_of
from shrinkwise.errors import SettingError
from shrinkwise.regularization.penalties import L1, L2SP, GroupLasso, MaxNorm, Penalty
from shrinkwise.seeding import torch_generator

# Stored layout: shape, dimensions that count units, and the order that makes it (units..., in, kernel...).
LAYOUTS = {
    "linear": ((4, 3), (0,), (0, 1)),
    "conv": ((4, 3, 2, 2), (0,), (0, 1, 2, 3)),
    "Conv1D of transformers": ((3, 4), (1,), (1, 0)),
    "ConvTranspose2d": ((3, 4, 2, 2), (1,), (1, 0, 2, 3)),
    "experts (E, out, in)": ((2, 4, 3), (0, 1), (0, 1, 2)),
    "experts (E, in, out)": ((2, 3, 4), (0, 2), (0, 2, 1)),
}
GROUPED = {
    "rows": GroupLasso(0.3),
    "columns": GroupLasso(0.3, "columns"),
    "channels": GroupLasso(0.3, "channels"),
    "max_norm": MaxNorm(0.8),
}
each_layout = pytest.mark.parametrize(("shape", "unit_dims", "order"), LAYOUTS.values(), ids=LAYOUTS)


def _groups_first(name: str, stored: torch.Tensor, n_unit_dims: int, order: tuple[int, ...]) -> torch.Tensor:
    """Return a stored weight as a matrix whose rows are the groups."""
    if name == "channels":
        return stored.movedim(order[n_unit_dims], 0).flatten(1)
    by_unit = stored.permute(order).flatten(0, n_unit_dims - 1).flatten(1)
    return by_unit.T if name == "columns" else by_unit


@each_layout
@pytest.mark.parametrize("name", GROUPED)
def test_groups_are_what_they_are_in_the_usual_layout(name, shape, unit_dims, order):
    stored = weight_of(shape)
    placed = GROUPED[name].at("weight", stored, unit_dims)
    plain = GROUPED["max_norm" if name == "max_norm" else "rows"]
    moved, expected = stored.clone(), _groups_first(name, stored, len(unit_dims), order).clone()
    torch.testing.assert_close(placed.value(stored), plain.value(expected))
    placed.prox_(moved, 0.1)
    plain.prox_(expected, 0.1)
    assert not torch.equal(moved, stored)
    torch.testing.assert_close(_groups_first(name, moved, len(unit_dims), order), expected)


@each_layout
@pytest.mark.parametrize("name", GROUPED)
def test_obeys_the_laws_in_every_layout(name, shape, unit_dims, order):
    penalty = GROUPED[name].at("weight", weight_of(shape), unit_dims)
    laws.assert_prox_minimises(penalty, weight_of(shape), 0.5, torch_generator("prox"))
    if not penalty.is_constraint:
        laws.assert_gradient_forms_agree(penalty, weight_of(shape).requires_grad_())
        assert penalty.lam_max(weight_of(shape)) > 0


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_what_looks_at_elements_takes_a_layout_and_leaves_it(make):
    penalty = make(0.3)
    placed = penalty.at("weight", weight_of((3, 4)), (1,))
    if penalty.is_elementwise:
        assert placed is penalty
    elif not isinstance(penalty, L2SP):
        assert placed != penalty
        assert placed == make(0.3).at("other", weight_of((3, 4)), (1,))
        assert hash(placed) == hash(make(0.3).at("other", weight_of((3, 4)), (1,)))
        assert pickle.loads(pickle.dumps(placed)) == placed


@pytest.mark.parametrize("penalty", GROUPED.values(), ids=GROUPED)
def test_the_usual_layout_keeps_the_penalty_itself(penalty):
    # Weights that share one penalty are gathered in one pass.
    assert penalty.at("weight", weight_of((3, 4))) is penalty
    assert penalty.at("weight", weight_of((3, 4)), (0,)) is penalty


@pytest.mark.parametrize("penalty", GROUPED.values(), ids=GROUPED)
@pytest.mark.parametrize(("shape", "unit_dims"), [((5,), (0,)), ((), (0,)), ((2, 4), (0, 1))], ids=str)
def test_where_all_dimensions_count_units_each_element_is_one(penalty, shape, unit_dims):
    weight = weight_of(shape)
    placed = penalty.at("bias", weight, unit_dims)
    if penalty.is_constraint:
        placed.prox_(weight)
        assert weight.abs().max() <= 0.8
    else:
        torch.testing.assert_close(placed.value(weight), L1(0.3).value(weight))


@pytest.mark.parametrize("dim", [0, -2, (0,), (-2,)])
def test_an_explicit_dimension_wins_over_the_layout(dim):
    for penalty in (MaxNorm(1.0, dim=dim), MaxNorm(1.0, dim=dim).at("weight", torch.zeros(2, 3), (1,))):
        weight = torch.ones(2, 3)
        penalty.prox_(weight)
        torch.testing.assert_close(weight.norm(dim=1), torch.ones(2))


def test_explicit_unit_dims_win_over_the_layout():
    penalty = GroupLasso(1.0, unit_dims=(1,))
    assert penalty.at("weight", torch.zeros(2, 3)) is penalty
    assert penalty.at("weight", torch.zeros(2, 3), (0, 1)) is penalty


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaxNorm(1.0, dim=()), r"dim is \(\)"),
        (lambda: MaxNorm(1.0, dim=(0, 0.5)), r"dim is \(0, 0\.5\)"),
        (lambda: MaxNorm(1.0, dim=True), "dim is True"),
        (lambda: MaxNorm(1.0, dim=(0, 2)).at("w", torch.ones(2, 2)), r"dim of MaxNorm is \(0, 2\): .*\(2, 2\).* 0 to 1"),
        (lambda: GroupLasso(1.0, unit_dims=[0]), r"unit_dims is \[0\]"),
        (lambda: GroupLasso(1.0).at("w", torch.ones(2, 2), (2,)), r"unit_dims of GroupLasso is \(2,\): .*\(2, 2\).* 0 to 1"),
    ],
)
def test_a_mistake_in_the_dimensions_is_one_message(make, message):
    with pytest.raises(SettingError, match=message):
        make()


def test_every_penalty_takes_unit_dims():
    for penalty in (*(make(0.1) for make in MAKERS.values()), MaxNorm(1.0)):
        assert isinstance(penalty.at("weight", weight_of((3, 4)), unit_dims=(1,)), Penalty)
