"""L1, the penalty on absolute weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from shrinkwise.regularization.penalties.arithmetic import add_scaled_, chunks, largest, shorten_, signs, widened
from shrinkwise.regularization.penalties.contract import Penalty, Scale, check_strength


@dataclass(frozen=True)
class L1(Penalty):
    """The sum of absolute values: ``value = lam·Σ|w|``, with the subgradient ``lam·sign(w)``, which is 0 at w = 0.

    Source: the lasso (Tibshirani, Journal of the Royal Statistical Society B, 1996).

    Gradient steps alone leave no weight at exactly zero; ``prox_`` does.

    Args:
        lam: Strength, 0 or above: mean loss + lam·Σ|w|, without a half.

    Raises:
        SettingError: ``lam`` is negative, NaN or infinite.

    >>> weight = torch.tensor([3.0, -0.5, 0.0], requires_grad=True)
    >>> value = L1(2.0).value(weight)
    >>> value.backward()
    >>> value.item(), weight.grad.tolist()
    (7.0, [2.0, -2.0, 0.0])
    >>> L1(2.0).prox_(weight, step=0.5)
    >>> weight.tolist()
    [2.0, 0.0, 0.0]
    """

    lam: float
    kind: ClassVar[str] = "l1"
    is_elementwise: ClassVar[bool] = True
    prox_order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "lam", check_strength(self.lam, "lam"))

    @property
    def strength(self) -> float:
        """``lam``."""
        return self.lam

    def value(self, weight: torch.Tensor) -> torch.Tensor:
        """Return ``lam·Σ|w|`` as a 0-dim tensor; half-precision weights are summed in float32."""
        return widened(weight).abs().sum() * self.lam

    @torch.no_grad()
    def add_grad_(self, weight: torch.Tensor, grad: torch.Tensor, scale: Scale = 1.0) -> None:
        """Add ``scale·lam·sign(w)`` to ``grad`` in place, without a graph."""
        self.add_grads_([weight], [grad], scale)

    @torch.no_grad()
    def add_grads_(self, weights: Sequence[torch.Tensor], grads: Sequence[torch.Tensor], scale: Scale = 1.0) -> None:
        """Do :meth:`add_grad_` for many weights at once; no more signs are held for a moment than the largest weight has."""
        for part in chunks(weights):
            add_scaled_(grads[part], signs(weights[part]), self.lam, scale)

    @torch.no_grad()
    def prox_(self, weight: torch.Tensor, step: float) -> None:
        """Move each weight toward zero by ``step·lam``, and not beyond (Parikh and Boyd, Proximal Algorithms, 2014, section 6.5).

        Args:
            weight: Tensor of any shape.
            step: Step length, 0 or above; 0 leaves the weight as it is.

        Raises:
            SettingError: ``step`` is negative, NaN or infinite.
        """
        threshold = check_strength(step, "step") * self.lam
        if weight.is_complex():
            shorten_(weight, weight.abs(), threshold)
        else:
            weight.sub_(weight.clamp(-threshold, threshold))

    @torch.no_grad()
    def lam_max(self, grad: torch.Tensor) -> float:
        """Return ``max|grad|``, the least ``lam`` at which all weights 0 are optimal for a convex loss.

        Source: Hastie, Tibshirani and Wainwright, Statistical Learning with Sparsity (2015), chapter 2.

        Args:
            grad: The mean loss's gradient at weight zero, of any shape.
        """
        return largest(grad.abs())
