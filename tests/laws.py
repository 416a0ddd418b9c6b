"""Laws that hold for every penalty, objective and model; a test names a case and calls one."""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gloo
from shrinkwise.regularization.penalties import L2, L2SP, Penalty, Sparsifying
from shrinkwise.seeding import torch_generator

Scalar = Callable[[], torch.Tensor]


@torch.no_grad()
def central_differences(function: Scalar, parameters: Sequence[torch.Tensor], step: float = 1e-6) -> list[torch.Tensor]:
    """Return the gradient of a scalar function of float64 tensors, element by element, by central differences.

    Of a complex128 tensor it is torch's own: the derivative by the real part, plus i times that by the imaginary part.
    """
    gradients = []
    for parameter in parameters:
        assert parameter.dtype in (torch.float64, torch.complex128)
        gradient = torch.zeros_like(parameter)
        flat, slopes = (torch.view_as_real(t).view(-1) if t.is_complex() else t.view(-1) for t in (parameter, gradient))
        for i in range(flat.numel()):
            kept = flat[i].item()
            flat[i] = kept + step
            above = function().item()
            flat[i] = kept - step
            slopes[i] = (above - function().item()) / (2 * step)
            flat[i] = kept
        gradients.append(gradient)
    return gradients


def peak_of_new_bytes(act: Callable[[], object]) -> int:
    """Return the most bytes that tensors made by ``act`` ever hold at once, beside those that were there."""
    held: dict[int, int] = {}
    peak = 0

    def address(tensor: torch.Tensor) -> int:
        return tensor.untyped_storage().data_ptr()

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal peak
            found = func(*args, **(kwargs or {}))
            given = {address(tensor) for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, torch.Tensor)}
            for tensor in tree_leaves(found):
                if isinstance(tensor, torch.Tensor) and (key := address(tensor)) not in given | held.keys():
                    held[key] = tensor.nbytes
                    weakref.finalize(tensor, held.pop, key)
            peak = max(peak, sum(held.values()))
            return found

    with Counting():
        act()
    return peak


def assert_gradient(objective: Scalar, parameters: Sequence[torch.Tensor], claimed_of: Scalar | None = None) -> None:
    """Check autograd's gradient of ``objective`` against differences of it, or of the function whose gradient it claims to have."""
    found = torch.autograd.grad(objective(), parameters)
    expected = central_differences(claimed_of or objective, parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def assert_gradient_forms_agree(penalty: Penalty, weight: torch.Tensor) -> None:
    """Check a penalty's gradient in place against autograd and differences of its value, and that it adds to what is there."""
    assert weight.requires_grad
    assert_gradient(lambda: penalty.value(weight), [weight])
    (expected,) = torch.autograd.grad(penalty.value(weight), weight)
    grad = torch.ones_like(weight)
    penalty.add_grad_(weight, grad)
    torch.testing.assert_close(grad, 1 + expected)
    assert not grad.requires_grad


def assert_prox_minimises(penalty: Penalty, weight: torch.Tensor, step: float, generator: torch.Generator) -> None:
    """Check that no nearby point has a smaller value of the prox's own objective than the prox."""

    def objective(point: torch.Tensor) -> float:
        return (penalty.value(point) + (point - weight).abs().square().sum() / (2 * step)).item()

    best = weight.clone()
    penalty.prox_(best, step)
    least = objective(best)
    assert math.isfinite(least)
    for size in (1e-3, 1e-1, 1.0):
        for _ in range(20):
            direction = torch.randn(weight.shape, dtype=weight.dtype, generator=generator)
            assert objective(best + size * direction) > least


def assert_many_at_once_equal_each(
    penalty: Penalty, weights: Sequence[torch.Tensor], scale: float | torch.Tensor, factor: float
) -> None:
    """Check that ``add_grads_`` with ``scale`` adds ``factor`` times each weight's own gradient to what is there."""
    grads = [torch.ones_like(weight) for weight in weights]
    penalty.add_grads_(weights, grads, scale)
    for weight, grad in zip(weights, grads, strict=True):
        alone = torch.zeros_like(weight)
        penalty.add_grad_(weight, alone)
        torch.testing.assert_close(grad, 1 + factor * alone)


def assert_descends_by_its_gradient(penalty: Penalty, weight: torch.Tensor, length: float) -> None:
    """Check that ``descend_`` subtracts ``length`` times the gradient at the weight where it stood."""
    gradient = torch.zeros_like(weight)
    penalty.add_grad_(weight, gradient)
    moved = weight.clone()
    penalty.descend_([moved], length)
    torch.testing.assert_close(moved, weight - length * gradient)


def assert_convex(penalty: Penalty, one: torch.Tensor, other: torch.Tensor) -> None:
    """Check that a penalty's value at the midpoint is at most the mean of its values."""
    mean = (penalty.value(one) + penalty.value(other)).item() / 2
    assert penalty.value((one + other) / 2).item() <= mean * (1 + 1e-12) + 1e-300


def minimise(loss: Callable[[torch.Tensor], torch.Tensor], curvature: float, penalty: Penalty, start: torch.Tensor) -> torch.Tensor:
    """Return the minimiser of a strongly convex loss plus a penalty, by proximal gradient descent with step 1/curvature."""
    weight = start.clone()
    for _ in range(300):
        point = weight.requires_grad_()
        (slope,) = torch.autograd.grad(loss(point), point)
        weight = weight.detach() - slope / curvature
        penalty.prox_(weight, 1 / curvature)
    return weight


def assert_zero_from_lam_max(
    make: Callable[[float], Penalty], loss: Callable[[torch.Tensor], torch.Tensor], curvature: float, start: torch.Tensor
) -> None:
    """Check that the minimiser is exactly zero just above lam_max and not just below, wherever the descent starts."""
    zero = torch.zeros_like(start, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(zero), zero)
    lam_max = make(1.0).lam_max(slope)
    assert lam_max > 0
    assert not minimise(loss, curvature, make(lam_max * 1.001), start).any()
    assert minimise(loss, curvature, make(lam_max * 0.99), start).any()


def assert_stronger_is_smaller(
    make: Callable[[float], Penalty],
    loss: Callable[[torch.Tensor], torch.Tensor],
    curvature: float,
    start: torch.Tensor,
    lams: Sequence[float],
) -> None:
    """Check that at the minimiser of a convex problem a larger λ never has the larger penalised norm."""
    sizes = [make(1.0).value(minimise(loss, curvature, make(lam), start)).item() for lam in sorted(lams)]
    for weaker, stronger in itertools.pairwise(sizes):
        assert stronger <= weaker * (1 + 1e-9) + 1e-12


def assert_sharded_equals_whole(rank: int, address: str, penalties: Sequence[Penalty], shape: tuple[int, ...]) -> None:
    """Check, in one of two processes, that each penalty does to weights sharded along each dimension what it does to whole ones."""
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    whole, reference = (torch.randn(shape, dtype=torch.float64, generator=torch_generator("sharded", name)) for name in "wr")
    for penalty in penalties:
        alone = penalty.at("weight", reference)
        expected = torch.ones_like(whole), whole.clone()
        alone.add_grads_([whole], [expected[0]], torch.tensor(2.0))
        alone.prox_(expected[1], 0.5)
        for dim in (0, 1):
            weight, grad = (distribute_tensor(tensor, mesh, [Shard(dim)]) for tensor in (whole, torch.ones_like(whole)))
            placed = alone.at("weight", weight)
            torch.testing.assert_close(placed.value(weight).full_tensor(), alone.value(whole))
            if isinstance(penalty, Sparsifying):
                assert math.isclose(placed.lam_max(weight), alone.lam_max(whole))
            placed.add_grads_([weight], [grad], torch.tensor(2.0))
            placed.prox_(weight, 0.5)
            for found, should in zip((grad, weight), expected, strict=True):
                assert found.placements == (Shard(dim),)
                torch.testing.assert_close(found.full_tensor(), should)
    start = L2SP(0.3).at("weight", weight)
    torch.testing.assert_close(start.value(weight * 2).full_tensor(), L2(0.3).value(weight.full_tensor()))
    assert start.value(weight.mul_(2)).full_tensor() > 0
    gloo.leave()


def assert_each_once(model: nn.Module, listed: Sequence[nn.Parameter], *, trained_only: bool) -> None:
    """Check that ``listed`` holds every parameter of a model, or every trained one, exactly once by identity."""
    expected = {id(p) for p in model.parameters() if p.requires_grad or not trained_only}
    assert len(listed) == len(expected)
    assert {id(p) for p in listed} == expected
