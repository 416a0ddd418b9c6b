"""How far training had gone, and how decay acts: what stands between trained weights and the minimum of an objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from shrinkwise.experiments.engine import decay_of
from shrinkwise.regularization.rules import Placement

DAMPING = 1e-3
"""Where an optimiser's steps say nothing of how far it went."""


@dataclass(frozen=True)
class Course:
    """How weights came to where they are.

    Attributes:
        damping: Added to the diagonal of the curvature, in the unit of ``lam``. Gradient descent of T steps at rate η has moved a
            direction of curvature h by the share 1 − (1 − ηh)^T of its way, which is about h/(h + 1/(ηT)): so 1/(ηT). Momentum m
            makes η/(1 − m) of η.
        divisors: Parameter name -> what the optimiser divides its gradient by, as Adam does; 1 for those that are not named.
        is_decoupled: Whether decay acts apart from the gradient. Beside a divisor D it then pulls as a penalty of strength lam·D.
    """

    damping: float
    divisors: Mapping[str, Tensor] = field(default_factory=dict)
    is_decoupled: bool = False

    def rate_of(self, placement: Placement) -> Tensor:
        """Return what the damping of each value of a parameter is multiplied by."""
        ones = torch.ones_like(placement.parameter.detach())
        return self.divisors.get(placement.name, ones)

    def pull_on(self, placement: Placement) -> Tensor:
        """Return what the strength on each value of a parameter is multiplied by, to have that of a penalty."""
        return self.rate_of(placement) if self.is_decoupled else torch.ones_like(placement.parameter.detach())


AT_REST = Course(0.0)
"""Weights at the minimum of mean loss + penalty."""


def course_of(optimizer: Optimizer, n_steps: int, divisors: Mapping[str, Tensor]) -> Course:
    """Return the course of a training.

    Args:
        optimizer: What trained, or one like it.
        n_steps: Steps that it took.
        divisors: From :func:`adams_divisors`; used where the optimiser is Adam or AdamW.
    """
    settings = optimizer.param_groups[0]
    if isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
        return Course(1 / (settings["lr"] * n_steps), divisors, is_decoupled=decay_of(optimizer) == "decoupled")
    if isinstance(optimizer, torch.optim.SGD):
        return Course((1 - settings["momentum"]) / (settings["lr"] * n_steps))
    return Course(DAMPING)


def adams_divisors(
    model: nn.Module, placements: tuple[Placement, ...], loss: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """Return the root mean square of batch gradients at the present weights, which is what Adam comes to divide by.

    Args:
        model: The trained network at rest, its outputs as ``loss`` takes them.
        placements: Its trained parameters.
        loss: Mean loss of a batch.
        batches: Batches of the size that it was trained with.
    """
    parameters = [placement.parameter for placement in placements]
    squares = [torch.zeros_like(parameter) for parameter in parameters]
    for x, y in batches:
        for square, part in zip(squares, torch.autograd.grad(loss(model(x), y), parameters, allow_unused=True), strict=True):
            if part is not None:
                square += part.square() / len(batches)
    # Adam's own epsilon keeps weights without a gradient from an infinite step.
    return {placement.name: square.sqrt() + 1e-8 for placement, square in zip(placements, squares, strict=True)}
