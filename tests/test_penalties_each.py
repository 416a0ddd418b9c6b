"""What each penalty promises beside the laws, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import laws
from penalty_cases import HALF, MAKERS, weight_of
from shrinkwise.errors import SettingError
from shrinkwise.regularization import penalties
from shrinkwise.regularization.penalties import L1, L2, L2SP, ElasticNet, GroupLasso, MaxNorm, Penalty, Proximal, Sparsifying
from shrinkwise.seeding import torch_generator


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
    weight = weight_of((3, 4))
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
    penalty = L2SP(1.0, reference).at(prefix + "head.weight", torch.zeros(2, 3))
    assert torch.equal(penalty.reference, torch.ones(2, 3))


def test_l2_sp_finds_the_weight_of_a_compiled_block():
    penalty = L2SP(1.0, {"blocks.0.weight": torch.ones(2)}).at("blocks.0._orig_mod.weight", torch.zeros(2))
    assert torch.equal(penalty.reference, torch.ones(2))


@pytest.mark.parametrize("how", ["none", "own state_dict", "own weight"])
def test_l2_sp_keeps_the_reference_when_the_weight_moves(how):
    model = nn.Linear(3, 2)
    reference = {"none": None, "own state_dict": model.state_dict(), "own weight": model.weight}[how]
    penalty = L2SP(2.0, reference).at("weight", model.weight)
    with torch.no_grad():
        model.weight.add_(1)
    assert penalty.value(model.weight).item() == pytest.approx(6.0)
    assert not penalty.reference.requires_grad


@pytest.mark.parametrize("how", ["state_dict", "tensor"])
def test_l2_sp_keeps_the_reference_when_another_model_moves(how):
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(model.state_dict())
    reference = {"state_dict": other.state_dict(), "tensor": other.weight}[how]
    penalty = L2SP(2.0, reference).at("weight", model.weight)
    with torch.no_grad():
        other.weight.add_(1)
    assert penalty.value(model.weight).item() == 0


@pytest.mark.parametrize("how", ["none", "state_dict", "own weight"])
def test_l2_sp_copies_the_reference_once(how):
    weight = weight_of((30, 20))
    reference = {"none": None, "state_dict": {"weight": weight_of((30, 20), name="pretrained")}, "own weight": weight}[how]
    found = []
    assert laws.peak_of_new_bytes(lambda: found.append(L2SP(0.3, reference).at("weight", weight))) == weight.nbytes
    assert laws.peak_of_new_bytes(lambda: found.append(found[0].at("weight", weight))) < weight.nbytes
    assert found[1].reference.data_ptr() == found[0].reference.data_ptr() != weight.data_ptr()


def test_l2_sp_says_what_to_do_with_weights_that_were_not_pretrained():
    reference = {"0.weight": torch.zeros(2, 3), "1.weight": torch.zeros(1, 2)}
    with pytest.raises(SettingError, match="adapters and new layers have no pretrained weight") as caught:
        L2SP(1.0, reference).at("0.lora_A.default.weight", torch.zeros(2, 3))
    assert "did you mean" not in str(caught.value)
    assert "Use one of" not in str(caught.value)
    assert '{"weights": lam, "0.lora_A.default.weight": 0}' in str(caught.value)


@pytest.mark.parametrize("penalty", [L1(0.1), ElasticNet(0.1), GroupLasso(0.1), L2SP(0.1)], ids=repr)
@pytest.mark.parametrize("scale", [1.0, torch.tensor(2.0)], ids=["number", "tensor"])
def test_gradients_hold_at_most_one_weight_beside_the_model(penalty, scale):
    weights = [weight_of((n, 10), name=str(n)) for n in (10, 30, 30, 5, 20, 1, 2)]
    penalty = penalty.at("weight", weights[1]) if isinstance(penalty, L2SP) else penalty
    weights = [weight for weight in weights if not isinstance(penalty, L2SP) or weight.shape == (30, 10)]
    grads = [torch.zeros_like(weight) for weight in weights]
    for act in (penalty.add_grads_, lambda these, _, scale: penalty.descend_(these, scale)):
        assert laws.peak_of_new_bytes(lambda act=act: act(weights, grads, scale)) <= 30 * 10 * 8 + 100


def test_l2_sp_of_strength_zero_copies_and_computes_nothing():
    weight = torch.full((2, 2), math.nan, requires_grad=True)
    penalty = L2SP(0.0).at("weight", weight)
    assert penalty.reference is None
    value = penalty.value(weight)
    assert value.item() == 0
    assert not value.requires_grad
    grad = torch.ones(2, 2)
    penalty.add_grad_(weight, grad)
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
    weight = weight_of((3, 4), torch.float32)
    grad = weight_of((3, 4), torch.float32, "grad")
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


def test_l2_sp_follows_a_model_that_was_moved_after_it_was_bound():
    weight = torch.ones(2, 3)
    penalty = L2SP(0.1).at("weight", weight)
    elsewhere = torch.zeros(2, 3, device="meta")
    grad = torch.zeros(2, 3, device="meta")
    penalty.add_grad_(elsewhere, grad)
    assert penalty.value(elsewhere).device == elsewhere.device
