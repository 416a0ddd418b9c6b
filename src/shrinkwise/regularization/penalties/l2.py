"""L2, the penalty on squared weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from shrinkwise.regularization.penalties.arithmetic import add_scaled_, sum_of_squares, widened
from shrinkwise.regularization.penalties.contract import Penalty, Scale, check_strength


@dataclass(frozen=True)
class L2(Penalty):
    """Half the sum of squares: ``value = (lam/2)·Σw²``, so the gradient is ``lam·w``.

    Source: ridge regression (Hoerl and Kennard, Technometrics 1970); for networks, Goodfellow, Bengio and Courville,
    Deep Learning (2016), section 7.1.1.

    Args:
        lam: Strength, 0 or above, in the package's one unit.

    Raises:
        SettingError: ``lam`` is negative, NaN or infinite.

    Automatic differentiation of the value, the gradient in place and the closed form agree:

    >>> weight = torch.tensor([3.0, -4.0], requires_grad=True)
    >>> value = L2(0.1).value(weight)
    >>> value.backward()
    >>> grad = torch.zeros(2)
    >>> L2(0.1).add_grad_(weight, grad)
    >>> value.item(), torch.equal(weight.grad, grad), torch.equal(grad, 0.1 * weight.detach())
    (1.25, True, True)
    """

    lam: float
    kind: ClassVar[str] = "l2"
    is_elementwise: ClassVar[bool] = True
    is_of_norms: ClassVar[bool] = True
    prox_order: ClassVar[int] = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "lam", check_strength(self.lam, "lam"))

    @property
    def strength(self) -> float:
        """``lam``."""
        return self.lam

    def value(self, weight: torch.Tensor) -> torch.Tensor:
        """Return ``(lam/2)·Σw²`` as a 0-dim tensor; half-precision weights are squared and summed in float32."""
        return sum_of_squares(widened(weight)) * (self.lam / 2)

    @torch.no_grad()
    def add_grad_(self, weight: torch.Tensor, grad: torch.Tensor, scale: Scale = 1.0) -> None:
        """Add ``scale·lam·w`` to ``grad`` in place; no copy of the weight and no graph is made."""
        self.add_grads_([weight], [grad], scale)

    @torch.no_grad()
    def add_grads_(self, weights: Sequence[torch.Tensor], grads: Sequence[torch.Tensor], scale: Scale = 1.0) -> None:
        """Do :meth:`add_grad_` for many weights in one pass."""
        add_scaled_(grads, weights, self.lam, scale)

    @torch.no_grad()
    def descend_(self, weights: Sequence[torch.Tensor], length: Scale) -> None:
        """Multiply each weight by ``1 − length·lam`` in place, as AdamW does with ``length = lr``, to the last bit."""
        kept = 1 - length * self.lam
        if any(weight.dtype.itemsize < 4 and weight.device.type == "cpu" for weight in weights):
            # There the one-pass form rounds the factor itself to half precision, so that 0.999 becomes 1.
            for weight in weights:
                weight.mul_(kept)
        elif weights:
            torch._foreach_mul_(list(weights), kept)

    @torch.no_grad()
    def prox_(self, weight: torch.Tensor, step: float) -> None:
        """Divide ``weight`` in place by ``1 + step·lam`` (Parikh and Boyd, Proximal Algorithms, 2014, section 6.1.1).

        Args:
            weight: Tensor of any shape.
            step: Step length, 0 or above; 0 leaves the weight as it is.

        Raises:
            SettingError: ``step`` is negative, NaN or infinite.
        """
        weight.div_(1 + check_strength(step, "step") * self.lam)
