"""Laws that hold for every penalty, objective and model; a test names a case and calls one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from shrinkwise.regularization.penalties import Penalty

Scalar = Callable[[], torch.Tensor]


@torch.no_grad()
def central_differences(function: Scalar, parameters: Sequence[torch.Tensor], step: float = 1e-6) -> list[torch.Tensor]:
    """Return the gradient of a scalar function of float64 tensors, element by element, by central differences."""
    gradients = []
    for parameter in parameters:
        assert parameter.dtype == torch.float64
        gradient = torch.zeros_like(parameter)
        flat, slopes = parameter.view(-1), gradient.view(-1)
        for i in range(flat.numel()):
            kept = flat[i].item()
            flat[i] = kept + step
            above = function().item()
            flat[i] = kept - step
            slopes[i] = (above - function().item()) / (2 * step)
            flat[i] = kept
        gradients.append(gradient)
    return gradients


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
        return (penalty.value(point) + (point - weight).square().sum() / (2 * step)).item()

    best = weight.clone()
    penalty.prox_(best, step)
    least = objective(best)
    for size in (1e-3, 1e-1, 1.0):
        for _ in range(20):
            direction = torch.randn(weight.shape, dtype=weight.dtype, generator=generator)
            assert objective(best + size * direction) > least


def assert_each_once(model: nn.Module, listed: Sequence[nn.Parameter], *, trained_only: bool) -> None:
    """Check that ``listed`` holds every parameter of a model, or every trained one, exactly once by identity."""
    expected = {id(p) for p in model.parameters() if p.requires_grad or not trained_only}
    assert len(listed) == len(expected)
    assert {id(p) for p in listed} == expected
