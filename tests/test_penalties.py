"""Every penalty obeys the laws; then each one's own promises, and what is refused."""

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
from shrinkwise.errors import SettingError
from shrinkwise.regularization import penalties
from shrinkwise.regularization.penalties import L1, L2, L2SP, ElasticNet, GroupLasso, MaxNorm, Penalty, Proximal, Sparsifying
from shrinkwise.seeding import numpy_generator, torch_generator

MAKERS = {
    "l2": L2,
    "l1": L1,
    "elastic_net": ElasticNet,
    "elastic_net_mostly_l1": lambda lam: ElasticNet(lam, 0.9),
    "group_lasso_rows": GroupLasso,
    "group_lasso_columns": lambda lam: GroupLasso(lam, "columns"),
    "group_lasso_channels": lambda lam: GroupLasso(lam, "channels"),
    "l2_sp": L2SP,
}
"""Penalties with a strength; ``_at`` gives L2SP its reference."""

SPARSE = {name: make for name, make in MAKERS.items() if isinstance(make(1.0), Sparsifying)}
CONSTRAINTS = {"max_norm": MaxNorm(1.2), "max_norm_dim_1": MaxNorm(0.8, dim=-1)}
SHAPES = {"matrix": (3, 4), "filter": (2, 3, 2, 2), "vector": (5,), "scalar": ()}
HALF = [torch.bfloat16, torch.float16]
NUMBERS = st.floats(-100, 100)

each_penalty = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def _weight(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, name: str = "penalties") -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch_generator(name, *shape)).to(dtype)


def _at(penalty: Penalty, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Penalty:
    return penalty.at("weight", _weight(shape, dtype, "reference"))


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
    penalty = _at(make(lam), shape)
    weight = _weight(shape).requires_grad_()
    laws.assert_gradient_forms_agree(penalty, weight)
    assert torch.autograd.gradcheck(penalty.value, weight)
    assert torch.autograd.gradgradcheck(penalty.value, weight)


@each_penalty
@pytest.mark.parametrize("scale", [1.0, -0.5, 3.0, 0.0])
@pytest.mark.parametrize("as_tensor", [False, True], ids=["number", "tensor"])
def test_many_weights_at_once_get_what_each_gets(make, scale, as_tensor):
    weights = [_weight((3, 4), name=name) for name in "abc"]
    laws.assert_many_at_once_equal_each(_at(make(0.3), (3, 4)), weights, torch.tensor(scale) if as_tensor else scale, scale)


@each_shape
@each_penalty
def test_descends_by_its_gradient(make, shape):
    laws.assert_descends_by_its_gradient(_at(make(0.7), shape), _weight(shape), 0.3)


@each_penalty
def test_no_weights_are_no_mistake(make):
    make(1.0).add_grads_([], [])


@each_shape
@pytest.mark.parametrize("step", [0.01, 1.0, 10.0])
@pytest.mark.parametrize("lam", [0.0, 0.3, 20.0])
@each_penalty
def test_prox_minimises_its_objective(make, lam, step, shape):
    laws.assert_prox_minimises(_at(make(lam), shape), _weight(shape), step, torch_generator("prox"))


@each_shape
@pytest.mark.parametrize("penalty", CONSTRAINTS.values(), ids=CONSTRAINTS)
def test_prox_of_a_constraint_is_the_nearest_allowed_point(penalty, shape):
    laws.assert_prox_minimises(penalty, _weight(shape) * 3, 0.5, torch_generator("prox"))


@each_penalty
def test_prox_minimises_its_objective_at_kinks(make):
    weight = _weight((3, 4))
    weight[0] = 0
    weight[:, 1] = 0
    laws.assert_prox_minimises(_at(make(0.3), (3, 4)), weight, 0.5, torch_generator("prox"))


@each_shape
@each_penalty
def test_prox_of_step_zero_changes_nothing(make, shape):
    weight = _weight(shape) * 1e-30  # so small that squares underflow in float32
    weight = weight.float()
    moved = weight.clone()
    _at(make(5.0), shape, torch.float32).prox_(moved, 0.0)
    assert torch.equal(moved, weight)


@pytest.mark.parametrize("shape", [(1, 6), (2, 4), (2, 3, 2)], ids=str)
@pytest.mark.parametrize("make", SPARSE.values(), ids=SPARSE)
def test_zero_is_optimal_at_lam_max_and_not_just_below(make, shape):
    loss, curvature = _least_squares(shape)
    laws.assert_zero_from_lam_max(make, loss, curvature, _weight(shape))


@each_penalty
@settings(max_examples=10)
@given(seed=st.integers(0, 1000), lams=st.lists(st.floats(0, 2), min_size=2, max_size=3))
def test_a_larger_strength_never_has_the_larger_norm(make, seed, lams):
    loss, curvature = _least_squares((2, 3), seed, n=10)

    def bound(lam: float) -> Penalty:
        return L2SP(lam, _weight((2, 3))) if make is L2SP else make(lam)

    laws.assert_stronger_is_smaller(bound, loss, curvature, _weight((2, 3)), lams)


@pytest.mark.parametrize("penalty", [*(make(0.7) for make in MAKERS.values()), *CONSTRAINTS.values()], ids=[*MAKERS, *CONSTRAINTS])
@given(one=st.lists(NUMBERS, min_size=8, max_size=8), other=st.lists(NUMBERS, min_size=8, max_size=8))
def test_is_convex(penalty, one, other):
    points = [torch.tensor(values, dtype=torch.float64).view(2, 4) for values in (one, other)]
    laws.assert_convex(_at(penalty, (2, 4)), *points)


@each_shape
@pytest.mark.parametrize("dtype", [*HALF, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("penalty", [*(make(0.3) for make in MAKERS.values()), *CONSTRAINTS.values()], ids=[*MAKERS, *CONSTRAINTS])
def test_value_is_one_number_in_float32_or_better(penalty, dtype, shape):
    value = _at(penalty, shape, dtype).value(_weight(shape, dtype))
    assert value.shape == ()
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("penalty", [*(make(0.3) for make in MAKERS.values()), *CONSTRAINTS.values()], ids=[*MAKERS, *CONSTRAINTS])
def test_in_place_forms_make_no_graph_and_keep_the_storage(penalty):
    penalty = _at(penalty, (3, 4))
    weight = _weight((3, 4)).requires_grad_()
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
    weight, reference = _weight((64, 48), dtype), _weight((64, 48), dtype, "reference")
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


@pytest.mark.parametrize("penalty", [*(make(1.0) for make in MAKERS.values()), *CONSTRAINTS.values()], ids=[*MAKERS, *CONSTRAINTS])
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
    chosen = [*(make(0.3) for make in MAKERS.values()), *CONSTRAINTS.values()]
    address = f"file://{tmp_path / 'rendezvous'}"
    torch.multiprocessing.spawn(laws.assert_sharded_equals_whole, (address, chosen, (4, 6)), nprocs=2)


@each_shape
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("ratio", "same"), [(1, L1), (0, L2)])
def test_elastic_net_at_its_ends_is_l1_and_l2_to_the_last_bit(ratio, same, dtype, shape):
    found = []
    for penalty in (ElasticNet(0.3, ratio), same(0.3)):
        weight = _weight(shape, dtype).requires_grad_()
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
    weight = _weight(shape)
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
    weight = _weight(shape)
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


@given(lam=st.floats(0, 1e6), values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20))
def test_l2_value_is_half_lam_times_the_sum_of_squares(lam, values):
    value = L2(lam).value(torch.tensor(values, dtype=torch.float64))
    assert value.shape == ()
    assert value.item() == pytest.approx(lam / 2 * math.fsum(v * v for v in values), rel=1e-12, abs=1e-300)


@given(lam=st.floats(0, 1e6), values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20))
def test_l1_value_is_lam_times_the_sum_of_absolute_values(lam, values):
    value = L1(lam).value(torch.tensor(values, dtype=torch.float64))
    assert value.item() == pytest.approx(lam * math.fsum(map(abs, values)), rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize(
    ("penalty", "expected"),
    [(L2(2.0), 70_000), (L1(1.0), 70_000), (ElasticNet(1.0), 52_500), (L2SP(2.0, torch.zeros(1, 70_000)), 70_000)],
    ids=["l2", "l1", "elastic_net", "l2_sp"],
)
def test_trap_5_values_of_half_precision_weights_accumulate_in_float32(penalty, expected, dtype):
    # 70,000 ones exceed float16's largest number and stall at 256 in a bfloat16 sum.
    weight = torch.ones(1, 70_000, dtype=dtype, requires_grad=True)
    value = penalty.value(weight)
    assert value.dtype == torch.float32
    assert value.item() == expected
    value.backward()
    assert weight.grad.dtype == dtype


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_trap_5_norms_of_half_precision_groups_accumulate_in_float32(dtype):
    weight = torch.ones(1, 90_000, dtype=dtype, requires_grad=True)  # norm 300, size 300²
    assert GroupLasso(1.0).value(weight).item() == 90_000
    grad = torch.zeros(1, 90_000, dtype=dtype)
    GroupLasso(1.0).add_grad_(weight, grad)
    assert torch.equal(grad, torch.ones_like(grad))
    GroupLasso(1.0).prox_(weight, 0.5)
    assert torch.equal(weight, torch.full_like(weight, 0.5))
    MaxNorm(75.0).prox_(weight)
    assert MaxNorm(75.0).value(weight).item() == 0
    assert torch.allclose(weight.float(), torch.tensor(0.25), rtol=2 * torch.finfo(dtype).eps)


def test_l1_takes_the_subgradient_zero_at_zero():
    weight = torch.tensor([0.0, -0.0, 2.0], requires_grad=True)
    L1(3.0).value(weight).backward()
    assert weight.grad.tolist() == [0, 0, 3]
    grad = torch.zeros(3)
    L1(3.0).add_grad_(weight, grad)
    assert grad.tolist() == [0, 0, 3]


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


@pytest.mark.parametrize(
    ("groups", "shape", "size"),
    [
        ("rows", (2, 3), 3),
        ("columns", (2, 3), 2),
        ("channels", (2, 3), 2),
        ("rows", (2, 3, 4, 5), 60),
        ("columns", (2, 3, 4, 5), 2),
        ("channels", (2, 3, 4, 5), 40),
    ],
)
def test_group_lasso_knows_how_many_weights_a_group_has(groups, shape, size):
    # All weights c: every one of the n/size groups has norm c·sqrt(size), so the value is lam·n·c.
    weight = torch.full(shape, 0.5, dtype=torch.float64)
    assert GroupLasso(3.0, groups).value(weight).item() == pytest.approx(3.0 * weight.numel() * 0.5)
    one = torch.zeros(shape, dtype=torch.float64)
    one.view(-1)[0] = 2
    assert GroupLasso(3.0, groups).value(one).item() == pytest.approx(3.0 * math.sqrt(size) * 2)


@pytest.mark.parametrize("groups", ["rows", "columns", "channels"])
def test_trap_11_group_lasso_is_not_a_sum_of_squares(groups):
    # Without the square root of the squared norms it is L2: it would grow fourfold, and no prox would reach zero.
    weight = _weight((3, 4))
    penalty = GroupLasso(0.3, groups)
    assert penalty.value(2 * weight).item() == pytest.approx(2 * penalty.value(weight).item())
    penalty.prox_(weight, 100.0)
    assert not weight.any()


@pytest.mark.parametrize("groups", ["rows", "columns", "channels"])
def test_group_lasso_takes_the_subgradient_zero_at_a_group_of_zeros(groups):
    weight = torch.zeros(3, 4, 2, requires_grad=True)
    GroupLasso(0.3, groups).value(weight).backward()
    assert torch.equal(weight.grad, torch.zeros(3, 4, 2))
    for scale in (1.0, torch.tensor(2.0)):
        GroupLasso(0.3, groups).add_grad_(weight, weight.grad, scale)
        assert torch.equal(weight.grad, torch.zeros(3, 4, 2))


@pytest.mark.parametrize(("ratio", "expected"), [(1, 4), (0.5, 8), (0, math.inf)])
def test_lam_max_of_the_elastic_net_divides_by_the_ratio(ratio, expected):
    assert ElasticNet(1.0, ratio).lam_max(torch.tensor([3.0, -4.0])) == expected


@pytest.mark.parametrize("penalty", [L1(1.0), ElasticNet(1.0), GroupLasso(1.0)])
def test_a_weight_without_elements_has_no_penalty(penalty):
    empty = torch.empty(0, 3)
    assert penalty.value(empty).item() == 0
    assert penalty.lam_max(empty) == 0


def test_group_lasso_stays_finite_at_the_smallest_numbers():
    weight = torch.full((4,), 1e-40)
    grad = torch.zeros(4)
    GroupLasso(0.5).add_grad_(weight, grad)
    torch.testing.assert_close(grad, torch.full((4,), 0.5), rtol=1e-3, atol=0)


def _state() -> dict[str, torch.Tensor]:
    return {"head.weight": torch.ones(2, 3), "body.weight": torch.zeros(4, 3)}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("saved_prefix", ["", "module.", "_orig_mod."])
def test_trap_3_l2_sp_finds_names_behind_the_prefixes_of_wrappers(prefix, saved_prefix):
    reference = {saved_prefix + name: tensor for name, tensor in _state().items()}
    bound = L2SP(1.0, reference).at(prefix + "head.weight", torch.zeros(2, 3))
    assert torch.equal(bound.reference, torch.ones(2, 3))


def test_l2_sp_finds_the_weight_of_a_compiled_block():
    bound = L2SP(1.0, {"blocks.0.weight": torch.ones(2)}).at("blocks.0._orig_mod.weight", torch.zeros(2))
    assert torch.equal(bound.reference, torch.ones(2))


@pytest.mark.parametrize("how", ["none", "own state_dict", "own weight"])
def test_l2_sp_keeps_the_reference_when_the_weight_moves(how):
    model = nn.Linear(3, 2)
    reference = {"none": None, "own state_dict": model.state_dict(), "own weight": model.weight}[how]
    bound = L2SP(2.0, reference).at("weight", model.weight)
    with torch.no_grad():
        model.weight.add_(1)
    assert bound.value(model.weight).item() == pytest.approx(6.0)
    assert not bound.reference.requires_grad


def test_l2_sp_of_strength_zero_copies_and_computes_nothing():
    weight = torch.full((2, 2), math.nan, requires_grad=True)
    bound = L2SP(0.0).at("weight", weight)
    assert bound.reference is None
    value = bound.value(weight)
    assert value.item() == 0
    assert not value.requires_grad
    grad = torch.ones(2, 2)
    bound.add_grad_(weight, grad)
    assert torch.equal(grad, torch.ones(2, 2))


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_trap_5_l2_sp_does_not_round_the_difference(dtype):
    # Half precision would round 1 − 0.9999 to 0.
    weight, reference = torch.ones(2, 2, dtype=dtype), torch.full((2, 2), 0.9999)
    penalty = L2SP(2.0, reference)
    assert penalty.value(weight).item() == pytest.approx(4e-8, rel=1e-2)
    grad = torch.zeros(2, 2, dtype=dtype)
    penalty.add_grad_(weight, grad)
    torch.testing.assert_close(grad.float(), torch.full((2, 2), 2e-4), rtol=1e-2, atol=0)


def test_l2_sp_has_no_gradient_at_the_reference():
    weight = _weight((3, 4), torch.float32)
    grad = _weight((3, 4), torch.float32, "grad")
    kept = grad.clone()
    L2SP(0.3, weight.clone()).add_grad_(weight, grad)
    assert torch.equal(grad, kept)


@pytest.mark.parametrize("dtype", [*HALF, torch.float32, torch.float64], ids=str)
@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), limit=st.floats(0.01, 10), n=st.integers(1, 50))
def test_max_norm_holds_in_exact_terms_and_projects_once(dtype, seed, limit, n):
    weight = torch.randn(6, n, generator=torch_generator("max_norm", seed)).to(dtype)
    before = weight.clone()
    penalty = MaxNorm(limit)
    penalty.prox_(weight)
    assert penalty.value(weight).item() == 0
    for old, new in zip(before, weight, strict=True):
        norms = [math.sqrt(math.fsum(v * v for v in row.tolist())) for row in (old, new)]
        assert norms[1] <= limit
        if norms[0] <= limit:
            assert torch.equal(old, new)
        else:
            assert norms[1] > limit * (1 - 2 * torch.finfo(dtype).eps - 1e-14)
    again = weight.clone()
    penalty.prox_(again)
    assert torch.equal(again, weight)


def test_max_norm_bounds_units_of_the_dimension_that_is_named():
    weight = torch.ones(2, 3, 4)
    MaxNorm(1.0, dim=1).prox_(weight)
    torch.testing.assert_close(weight.square().sum((0, 2)).sqrt(), torch.ones(3))


def test_max_norm_is_the_only_constraint():
    assert MaxNorm(1.0).is_constraint
    assert isinstance(MaxNorm(1.0), Proximal)
    assert not isinstance(MaxNorm(1.0), Sparsifying)
    assert not any(make(1.0).is_constraint for make in MAKERS.values())


def test_every_kind_is_one_slot():
    kinds = {
        cls.kind for cls in vars(penalties).values() if isinstance(cls, type) and issubclass(cls, Penalty) and cls is not Penalty
    }
    assert kinds == {"l2", "l1", "elastic_net", "group_lasso", "l2_sp", "max_norm"}


@pytest.mark.parametrize("lam", [-1e-9, math.nan, math.inf, "0.1", None, True])
@pytest.mark.parametrize("penalty", [L2, L1, ElasticNet, GroupLasso, L2SP])
def test_refuses_a_strength_that_is_none(penalty, lam):
    with pytest.raises(SettingError, match=r"lam is .*finite number, 0 or above"):
        penalty(lam)


@pytest.mark.parametrize("make", [*MAKERS.values(), MaxNorm], ids=[*MAKERS, "max_norm"])
def test_prox_refuses_a_negative_step(make):
    with pytest.raises(SettingError, match="step is -1"):
        make(1.0).at("weight", torch.zeros(2)).prox_(torch.ones(2), -1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ElasticNet(1.0, 1.5), r"ratio is 1\.5: .* from 0 to 1"),
        (lambda: ElasticNet(1.0, "half"), "ratio is 'half'"),
        (lambda: ElasticNet(1.0, math.nan), "ratio is nan"),
        (lambda: GroupLasso(1.0, "row"), "groups is 'row'.* mean 'rows'"),
        (lambda: MaxNorm(0), "limit is 0"),
        (lambda: MaxNorm(-1.0), "limit is -1"),
        (lambda: MaxNorm(1.0, dim=0.5), r"dim is 0\.5"),
        (lambda: MaxNorm(1.0, dim=2).value(torch.ones(2, 2)), r"dim of MaxNorm is 2: .*\(2, 2\).* 0 to 1"),
        (lambda: L2SP(1.0, "pretrained.pt"), "reference is a str"),
        (lambda: L2SP(1.0, _state()).at("hed.weight", torch.ones(2, 3)), "no weight 'hed.weight'.* mean 'head.weight'"),
        (lambda: L2SP(1.0, {}).at("head.weight", torch.ones(2, 3)), "no weight 'head.weight'.* state_dict of the pretrained"),
        (lambda: L2SP(1.0, _state()).at("head.weight", torch.ones(5, 3)), r"'head.weight' has shape \(2, 3\).*\(5, 3\)"),
        (lambda: L2SP(0.0, _state()).at("head.weight", torch.ones(5, 3)), r"'head.weight' has shape \(2, 3\).*\(5, 3\)"),
        (lambda: L2SP(1.0, {"w": [1.0]}).at("w", torch.ones(1)), "reference of 'w' is a list"),
        (lambda: L2SP(1.0, torch.ones(3)).value(torch.ones(2, 3)), r"reference has shape \(3,\)"),
        (lambda: L2SP(1.0).value(torch.ones(2)), "None, the weights at binding.* Call at"),
        (lambda: L2SP(1.0, _state()).prox_(torch.ones(2), 0.1), "a mapping of names.* Call at"),
    ],
)
def test_a_mistake_is_one_message(make, message):
    with pytest.raises(SettingError, match=message):
        make()


def test_a_missing_name_lists_a_few_of_many():
    reference = {f"layer.{i}.weight": torch.zeros(1) for i in range(1000)}
    with pytest.raises(SettingError) as caught:
        L2SP(1.0, reference).at("decoder", torch.zeros(1))
    assert len(str(caught.value)) < 300
