"""L2, the penalty on squared weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from shrinkwise.regularization.penalties.contract import check_strength


@dataclass(frozen=True)
class L2:
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "lam", check_strength(self.lam, "lam"))

    def value(self, weight: torch.Tensor) -> torch.Tensor:
        """Return ``(lam/2)·Σw²`` as a 0-dim tensor; half-precision weights are squared and summed in float32."""
        accumulator = torch.promote_types(weight.dtype, torch.float32)
        return weight.to(accumulator).square().sum() * (self.lam / 2)

    @torch.no_grad()
    def add_grad_(self, weight: torch.Tensor, grad: torch.Tensor) -> None:
        """Add ``lam·w`` to ``grad`` in place; no copy of the weight and no graph is made."""
        grad.add_(weight, alpha=self.lam)

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
