"""Every penalty obeys the laws; L2 stands for none of its own."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import laws
from shrinkwise.errors import SettingError
from shrinkwise.regularization.penalties import L2
from shrinkwise.seeding import torch_generator

PENALTIES = {"l2": L2(0.3), "l2_strong": L2(20.0), "l2_off": L2(0.0)}
SHAPES = {"matrix": (3, 4), "filter": (2, 3, 2, 2), "vector": (5,), "scalar": ()}


def _weight(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch_generator("penalties", *shape))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_gradient_equals_finite_differences(penalty, shape):
    weight = _weight(shape).requires_grad_()
    laws.assert_gradient_forms_agree(penalty, weight)
    assert torch.autograd.gradcheck(penalty.value, weight)
    assert torch.autograd.gradgradcheck(penalty.value, weight)


@pytest.mark.parametrize("step", [0.01, 1.0, 10.0])
@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_prox_minimises_its_objective(penalty, step):
    laws.assert_prox_minimises(penalty, _weight((3, 4)), step, torch_generator("prox"))


def test_prox_of_step_zero_changes_nothing():
    weight = _weight((3, 4))
    moved = weight.clone()
    L2(5.0).prox_(moved, 0.0)
    assert torch.equal(moved, weight)


@given(lam=st.floats(0, 1e6), values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20))
def test_l2_value_is_half_lam_times_the_sum_of_squares(lam, values):
    value = L2(lam).value(torch.tensor(values, dtype=torch.float64))
    assert value.shape == ()
    assert value.item() == pytest.approx(lam / 2 * math.fsum(v * v for v in values), rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_l2_value_of_half_precision_weights_accumulates_in_float32(dtype):
    # 70,000 squares of 1 exceed float16's largest number and stall at 256 in a bfloat16 sum.
    weight = torch.ones(70_000, dtype=dtype, requires_grad=True)
    value = L2(2.0).value(weight)
    assert value.dtype == torch.float32
    assert value.item() == 70_000
    value.backward()
    assert weight.grad.dtype == dtype
    assert torch.equal(weight.grad, 2 * weight.detach())


def test_l2_in_place_forms_make_no_graph_and_keep_the_storage():
    weight = _weight((3, 4)).requires_grad_()
    grad = torch.zeros(3, 4, dtype=torch.float64)
    addresses = weight.data_ptr(), grad.data_ptr()
    L2(0.5).add_grad_(weight, grad)
    L2(0.5).prox_(weight, 0.1)
    assert (weight.data_ptr(), grad.data_ptr()) == addresses
    assert weight.is_leaf
    assert not grad.requires_grad


@pytest.mark.parametrize("lam", [-1e-9, math.nan, math.inf, "0.1", None, True])
def test_l2_refuses_a_strength_that_is_none(lam):
    with pytest.raises(SettingError, match=r"lam is .*finite number, 0 or above"):
        L2(lam)


def test_prox_refuses_a_negative_step():
    with pytest.raises(SettingError, match="step is -1"):
        L2(1.0).prox_(torch.ones(2), -1)
