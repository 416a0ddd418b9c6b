"""A complex weight counts once, by its absolute value; every penalty obeys the laws on it."""

from __future__ import annotations

import pytest
import torch

import laws
from penalty_cases import SPARSE, each_or_constraint, each_penalty, each_shape, weight_of
from shrinkwise.errors import SettingError
from shrinkwise.regularization.penalties import L1, L2, L2SP, ElasticNet, GroupLasso, MaxNorm, Penalty
from shrinkwise.seeding import torch_generator


def complex_of(shape: tuple[int, ...], name: str = "complex") -> torch.Tensor:
    return torch.complex(weight_of(shape, name=name), weight_of(shape, name=f"{name} imaginary"))


def complex_bound(penalty: Penalty, shape: tuple[int, ...]) -> Penalty:
    return penalty.at("weight", complex_of(shape, "reference"))


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        (L2(2.0), 5**2 + 2**2),
        (L1(2.0), 2 * (5 + 2)),
        (ElasticNet(2.0), 5 + 2 + (5**2 + 2**2) / 2),
        (GroupLasso(2.0), 2 * 2**0.5 * 29**0.5),
        (L2SP(2.0, torch.zeros(1, 2)), 29),
        (MaxNorm(5.4), 0),
        (MaxNorm(5.3), torch.inf),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
def test_value_is_that_of_the_absolute_values(penalty, expected, dtype):
    value = penalty.value(torch.tensor([[3 + 4j, -2j]], dtype=dtype))
    assert value.dtype == dtype.to_real()
    assert value.item() == pytest.approx(expected)


@each_shape
@each_penalty
@pytest.mark.parametrize("lam", [0.3, 20.0])
def test_gradient_equals_finite_differences(make, lam, shape):
    penalty = complex_bound(make(lam), shape)
    weight = complex_of(shape).requires_grad_()
    laws.assert_gradient_forms_agree(penalty, weight)
    assert torch.autograd.gradcheck(penalty.value, weight)


@each_penalty
@pytest.mark.parametrize("scale", [-0.5, torch.tensor(-0.5)], ids=["number", "tensor"])
def test_many_weights_at_once_get_what_each_gets(make, scale):
    weights = [complex_of((3, 4), name) for name in "abc"]
    laws.assert_many_at_once_equal_each(complex_bound(make(0.3), (3, 4)), weights, scale, -0.5)


@each_penalty
def test_complex_and_real_weights_go_together(make):
    weights = [complex_of((3, 4)), weight_of((3, 4))]
    penalty = make(0.3).at("weight", weight_of((3, 4), name="reference"))
    laws.assert_many_at_once_equal_each(penalty, weights, 1.0, 1.0)


@each_shape
@each_penalty
def test_descends_by_its_gradient(make, shape):
    laws.assert_descends_by_its_gradient(complex_bound(make(0.7), shape), complex_of(shape), 0.3)


@each_shape
@each_or_constraint
@pytest.mark.parametrize("step", [0.1, 10.0])
def test_prox_minimises_its_objective(penalty, step, shape):
    laws.assert_prox_minimises(complex_bound(penalty, shape), complex_of(shape), step, torch_generator("prox"))


@each_or_constraint
def test_zero_stays_finite(penalty):
    weight, grad = torch.zeros(3, 4, dtype=torch.complex64, requires_grad=True), torch.zeros(3, 4, dtype=torch.complex64)
    penalty = penalty.at("weight", weight)
    if not penalty.is_constraint:
        penalty.value(weight).backward()
        assert not weight.grad.any()
    penalty.add_grad_(weight, grad)
    penalty.prox_(weight, 0.1)
    assert not grad.any()
    assert not weight.any()


@pytest.mark.parametrize("make", SPARSE.values(), ids=SPARSE)
def test_zero_is_optimal_at_lam_max_and_not_just_below(make):
    inputs, targets = complex_of((20, 4), "inputs"), complex_of((20, 2), "targets")
    curvature = 2 * torch.linalg.matrix_norm(inputs, ord=2).item() ** 2 / 20
    laws.assert_zero_from_lam_max(
        make, lambda weight: (inputs @ weight.T - targets).abs().square().sum() / 20, curvature, complex_of((2, 4))
    )


def test_max_norm_holds_exactly_in_single_precision():
    weight = torch.randn(50, 7, dtype=torch.complex64, generator=torch_generator("max_norm"))
    MaxNorm(0.7).prox_(weight)
    assert MaxNorm(0.7).value(weight).item() == 0
    assert torch.linalg.vector_norm(weight.to(torch.complex128), dim=1).max() <= 0.7
    kept = weight.clone()
    MaxNorm(0.7).prox_(weight)
    assert torch.equal(weight, kept)


@each_or_constraint
def test_trap_9_nothing_is_read_back_from_the_device(penalty):
    weight = torch.empty(3, 4, device="meta", dtype=torch.complex64)
    penalty = penalty.at("weight", weight)
    penalty.add_grads_([weight], [torch.empty_like(weight)], torch.empty((), device="meta"))
    penalty.prox_(weight, 0.1)
    assert penalty.value(weight).dtype == torch.float32


def test_l2_sp_refuses_a_complex_reference_for_a_real_weight():
    with pytest.raises(SettingError, match=r"reference of 'w' is complex.*weight is real"):
        L2SP(1.0, torch.ones(2, dtype=torch.complex64)).at("w", torch.ones(2))
