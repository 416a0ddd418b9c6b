"""Every penalty obeys the laws, coincides with others where mathematics says so, and has the optimum that others find."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import linear_model
from torch import nn

import laws
from penalty_cases import ALL, CONSTRAINTS, HALF, SPARSE, bound, each_or_constraint, each_penalty, each_shape, weight_of
from shrinkwise.regularization.penalties import L1, L2, L2SP, ElasticNet, GroupLasso, Penalty
from shrinkwise.seeding import numpy_generator, torch_generator


def _least_squares(shape: tuple[int, ...], seed: int = 0, n: int = 20):
    """Return a random loss ``mean((XWᵀ − Y)²)`` of a weight of that shape, units first, and its largest curvature."""
    generator = torch_generator("least_squares", seed, *shape)
    n_in = math.prod(shape[1:])
    q, _ = torch.linalg.qr(torch.randn(n, n_in, dtype=torch.float64, generator=generator))
    x = q * torch.linspace(0.5, 1, n_in, dtype=torch.float64) * math.sqrt(n)
    y = torch.randn(n, shape[0], dtype=torch.float64, generator=generator)
    return lambda weight: nn.functional.mse_loss(x @ weight.reshape(shape[0], n_in).T, y), 2 / shape[0]


@each_shape
@each_penalty
@pytest.mark.parametrize("lam", [0.3, 20.0])
def test_gradient_equals_finite_differences(make, lam, shape):
    penalty = bound(make(lam), shape)
    weight = weight_of(shape).requires_grad_()
    laws.assert_gradient_forms_agree(penalty, weight)
    assert torch.autograd.gradcheck(penalty.value, weight)
    assert torch.autograd.gradgradcheck(penalty.value, weight)


@each_penalty
@pytest.mark.parametrize("scale", [1.0, -0.5, 3.0, 0.0])
@pytest.mark.parametrize("as_tensor", [False, True], ids=["number", "tensor"])
def test_many_weights_at_once_get_what_each_gets(make, scale, as_tensor):
    weights = [weight_of((3, 4), name=name) for name in "abc"]
    laws.assert_many_at_once_equal_each(bound(make(0.3), (3, 4)), weights, torch.tensor(scale) if as_tensor else scale, scale)


@each_shape
@each_penalty
def test_descends_by_its_gradient(make, shape):
    laws.assert_descends_by_its_gradient(bound(make(0.7), shape), weight_of(shape), 0.3)


@each_penalty
def test_no_weights_are_no_mistake(make):
    make(1.0).add_grads_([], [])
    make(1.0).add_grads_([], [], torch.tensor(2.0))
    make(1.0).descend_([], 0.1)


@each_shape
@pytest.mark.parametrize("step", [0.01, 1.0, 10.0])
@pytest.mark.parametrize("lam", [0.0, 0.3, 20.0])
@each_penalty
def test_prox_minimises_its_objective(make, lam, step, shape):
    laws.assert_prox_minimises(bound(make(lam), shape), weight_of(shape), step, torch_generator("prox"))


@each_shape
@pytest.mark.parametrize("penalty", CONSTRAINTS.values(), ids=CONSTRAINTS)
def test_prox_of_a_constraint_is_the_nearest_allowed_point(penalty, shape):
    laws.assert_prox_minimises(penalty, weight_of(shape) * 3, 0.5, torch_generator("prox"))


@each_penalty
def test_prox_minimises_its_objective_at_kinks(make):
    weight = weight_of((3, 4))
    weight[0] = 0
    weight[:, 1] = 0
    laws.assert_prox_minimises(bound(make(0.3), (3, 4)), weight, 0.5, torch_generator("prox"))


@each_shape
@each_penalty
def test_prox_of_step_zero_changes_nothing(make, shape):
    weight = weight_of(shape) * 1e-30  # so small that squares underflow in float32
    weight = weight.float()
    moved = weight.clone()
    bound(make(5.0), shape, torch.float32).prox_(moved, 0.0)
    assert torch.equal(moved, weight)


@pytest.mark.parametrize("shape", [(1, 6), (2, 4), (2, 3, 2)], ids=str)
@pytest.mark.parametrize("make", SPARSE.values(), ids=SPARSE)
def test_zero_is_optimal_at_lam_max_and_not_just_below(make, shape):
    loss, curvature = _least_squares(shape)
    laws.assert_zero_from_lam_max(make, loss, curvature, weight_of(shape))


@each_penalty
@settings(max_examples=10)
@given(seed=st.integers(0, 1000), lams=st.lists(st.floats(0, 2), min_size=2, max_size=3))
def test_a_larger_strength_never_has_the_larger_norm(make, seed, lams):
    loss, curvature = _least_squares((2, 3), seed, n=10)

    laws.assert_stronger_is_smaller(lambda lam: bound(make(lam), (2, 3)), loss, curvature, weight_of((2, 3)), lams)


@each_or_constraint
@given(one=st.lists(st.floats(-100, 100), min_size=8, max_size=8), other=st.lists(st.floats(-100, 100), min_size=8, max_size=8))
def test_is_convex(penalty, one, other):
    points = [torch.tensor(values, dtype=torch.float64).view(2, 4) for values in (one, other)]
    laws.assert_convex(bound(penalty, (2, 4)), *points)


@each_shape
@pytest.mark.parametrize("dtype", [*HALF, torch.float32, torch.float64], ids=str)
@each_or_constraint
def test_value_is_one_number_in_float32_or_better(penalty, dtype, shape):
    value = bound(penalty, shape, dtype).value(weight_of(shape, dtype))
    assert value.shape == ()
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@each_or_constraint
def test_in_place_forms_make_no_graph_and_keep_the_storage(penalty):
    penalty = bound(penalty, (3, 4))
    weight = weight_of((3, 4)).requires_grad_()
    grad = torch.zeros(3, 4, dtype=torch.float64)
    addresses = weight.data_ptr(), grad.data_ptr()
    penalty.add_grad_(weight, grad, torch.tensor(2.0))
    penalty.prox_(weight, 0.1)
    assert (weight.data_ptr(), grad.data_ptr()) == addresses
    assert weight.is_leaf
    assert not grad.requires_grad
    assert grad.any() != penalty.is_constraint


@pytest.mark.parametrize("dtype", HALF, ids=str)
@each_penalty
def test_half_precision_gives_what_float64_gives_rounded(make, dtype):
    weight, reference = weight_of((64, 48), dtype), weight_of((64, 48), dtype, "reference")
    penalty, grad, moved = make(0.3).at("weight", reference), torch.zeros_like(weight), weight.clone()
    exact, exact_grad, exact_moved = make(0.3).at("weight", reference.double()), torch.zeros_like(weight.double()), weight.double()
    penalty.add_grad_(weight, grad, torch.tensor(4.0))
    penalty.prox_(moved, 0.1)
    exact.add_grad_(weight.double(), exact_grad, 4.0)
    exact.prox_(exact_moved, 0.1)
    torch.testing.assert_close(penalty.value(weight).double(), exact.value(weight.double()), rtol=1e-5, atol=0)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(grad.double(), exact_grad, rtol=2 * eps, atol=eps / 10)
    torch.testing.assert_close(moved.double(), exact_moved, rtol=2 * eps, atol=eps / 10)


@each_or_constraint
def test_trap_9_nothing_is_read_back_from_the_device(penalty):
    # A meta tensor has no numbers, so whoever reads one fails.
    weight = torch.empty(3, 4, device="meta")
    penalty = penalty.at("weight", weight)
    penalty.add_grads_([weight], [torch.empty_like(weight)], torch.empty((), device="meta"))
    penalty.prox_(weight, 0.1)
    assert penalty.value(weight).device.type == "meta"


@each_penalty
def test_trap_4_the_scale_of_a_grad_scaler_does_not_overflow_float16(make):
    weight = torch.ones(2, 2, dtype=torch.float16)
    grad = torch.zeros_like(weight)
    penalty = make(1e-3).at("weight", torch.zeros_like(weight))
    penalty.add_grad_(weight, grad, torch.tensor(65536.0))
    expected = torch.zeros(2, 2, dtype=torch.float64)
    penalty.at("weight", expected).add_grad_(weight.double(), expected, 65536.0)
    torch.testing.assert_close(grad.double(), expected, rtol=1e-3, atol=0)


def test_sharded_weights_get_what_whole_weights_get(tmp_path):
    address = f"file://{tmp_path / 'rendezvous'}"
    torch.multiprocessing.spawn(laws.assert_sharded_equals_whole, (address, list(ALL.values()), (4, 6)), nprocs=2)


@each_shape
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("ratio", "same"), [(1, L1), (0, L2)])
def test_elastic_net_at_its_ends_is_l1_and_l2_to_the_last_bit(ratio, same, dtype, shape):
    found = []
    for penalty in (ElasticNet(0.3, ratio), same(0.3)):
        weight = weight_of(shape, dtype).requires_grad_()
        value = penalty.value(weight)
        (slope,) = torch.autograd.grad(value, weight)
        grad, moved, stepped = torch.ones_like(slope), weight.detach().clone(), weight.detach().clone()
        penalty.add_grad_(weight, grad)
        penalty.prox_(moved, 0.7)
        penalty.descend_([stepped], 0.1)
        found.append((value.detach(), slope, grad, moved, stepped))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("shape", [(5,), (), (5, 1)], ids=str)
def test_group_lasso_with_groups_of_one_is_l1(shape):
    weight = weight_of(shape)
    for group_lasso in (GroupLasso(0.3), GroupLasso(0.3, "rows")):
        assert group_lasso.value(weight).item() == pytest.approx(L1(0.3).value(weight).item())
        one, other = torch.zeros_like(weight), torch.zeros_like(weight)
        group_lasso.add_grad_(weight, one)
        L1(0.3).add_grad_(weight, other)
        torch.testing.assert_close(one, other)
        one, other = weight.clone(), weight.clone()
        group_lasso.prox_(one, 2.0)
        L1(0.3).prox_(other, 2.0)
        torch.testing.assert_close(one, other)
        assert group_lasso.lam_max(weight) == pytest.approx(L1(0.3).lam_max(weight))


@each_shape
def test_l2_sp_at_zero_is_l2(shape):
    weight = weight_of(shape)
    l2_sp = L2SP(0.3, torch.zeros(shape))
    assert torch.equal(l2_sp.value(weight), L2(0.3).value(weight))
    one, other = torch.ones_like(weight), torch.ones_like(weight)
    l2_sp.add_grad_(weight, one)
    L2(0.3).add_grad_(weight, other)
    assert torch.equal(one, other)
    one, other = weight.clone(), weight.clone()
    l2_sp.prox_(one, 2.0)
    L2(0.3).prox_(other, 2.0)
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("ratio", [1.0, 0.7, 0.2])
def test_optimum_is_that_of_scikit_learn(ratio):
    # scikit-learn halves the mean of squares, MSELoss does not: lam = 2·alpha.
    rng = numpy_generator("sklearn")
    x, y = rng.normal(size=(40, 6)), rng.normal(size=40)
    alpha = 0.1
    if ratio == 1:
        theirs = linear_model.Lasso(alpha, fit_intercept=False, tol=1e-14, max_iter=100_000)
        ours: Penalty = L1(2 * alpha)
    else:
        theirs = linear_model.ElasticNet(alpha, l1_ratio=ratio, fit_intercept=False, tol=1e-14, max_iter=100_000)
        ours = ElasticNet(2 * alpha, ratio)
    expected = theirs.fit(x, y).coef_
    assert 0 < np.count_nonzero(expected) < 6 or ratio < 0.5
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    curvature = 2 * torch.linalg.matrix_norm(inputs, ord=2).item() ** 2 / 40
    found = laws.minimise(lambda w: nn.functional.mse_loss(inputs @ w, targets), curvature, ours, torch.zeros(6).double())
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-7)


def test_lam_max_is_where_scikit_learn_begins_its_path():
    rng = numpy_generator("sklearn")
    x, y = rng.normal(size=(40, 6)), rng.normal(size=40)
    alphas, _, _ = linear_model.lars_path(x, y, method="lasso")
    slope = torch.from_numpy(-x.T @ y / 40)
    assert L1(1.0).lam_max(slope) == pytest.approx(alphas[0])


@pytest.mark.parametrize("groups", ["rows", "columns"])
def test_group_lasso_on_an_orthonormal_design_has_its_closed_form(groups):
    # Yuan and Lin, 2006, section 2: each group of the least-squares solution is shortened by λ·sqrt(size), or dropped.
    shape, n, lam = (3, 4), 16, 0.2
    generator = torch_generator("orthonormal")
    q, _ = torch.linalg.qr(torch.randn(n, 4, dtype=torch.float64, generator=generator))
    x, y = q * math.sqrt(n), torch.randn(n, 3, dtype=torch.float64, generator=generator)
    found = laws.minimise(
        lambda w: (x @ w.T - y).square().sum() / (2 * n), 1.0, GroupLasso(lam, groups), torch.zeros(shape).double()
    )
    solution = y.T @ x / n
    dim, size = (1, 4) if groups == "rows" else (0, 3)
    share = 1 - lam * math.sqrt(size) / solution.square().sum(dim, keepdim=True).sqrt()
    assert (share > 0).any()
    assert (share < 0).any()
    torch.testing.assert_close(found, share.clamp(min=0) * solution)
