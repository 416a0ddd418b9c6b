"""The elastic net, a mixture of L1 and L2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import torch

from shrinkwise.errors import SettingError
from shrinkwise.regularization.penalties.contract import Penalty, Scale, check_strength
from shrinkwise.regularization.penalties.l1 import L1
from shrinkwise.regularization.penalties.l2 import L2


@dataclass(frozen=True)
class ElasticNet(Penalty):
    """A mixture of L1 and L2: ``value = lam·(ratio·Σ|w| + (1 − ratio)/2·Σw²)``.

    Source: Zou and Hastie, Journal of the Royal Statistical Society B, 2005; in the parameters of Friedman, Hastie and
    Tibshirani, Journal of Statistical Software, 2010. Ratio 1 is ``L1(lam)`` and ratio 0 is ``L2(lam)``, to the last bit.

    Args:
        lam: Strength, 0 or above.
        ratio: L1's share, from 0 to 1.

    Raises:
        SettingError: ``lam`` is negative, NaN or infinite, or ``ratio`` is not from 0 to 1.

    >>> weight = torch.tensor([3.0, -4.0])
    >>> [ElasticNet(0.1, ratio).value(weight).item() for ratio in (0, 1)] == [L2(0.1).value(weight), L1(0.1).value(weight)]
    True
    >>> round(ElasticNet(0.1, ratio=0.5).value(weight).item(), 6)  # 0.1·(7/2 + 25/4)
    0.975
    """

    lam: float
    ratio: float = 0.5
    kind: ClassVar[str] = "elastic_net"
    is_elementwise: ClassVar[bool] = True
    prox_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "lam", check_strength(self.lam, "lam"))
        object.__setattr__(self, "ratio", _check_ratio(self.ratio))

    @property
    def strength(self) -> float:
        """``lam``."""
        return self.lam

    @property
    def _parts(self) -> list[L1 | L2]:
        """The L2 and the L1 that are mixed, each only where it has a share."""
        shares: list[tuple[float, type[L1 | L2]]] = [(1 - self.ratio, L2), (self.ratio, L1)]
        return [part(self.lam * share) for share, part in shares if share > 0]

    def value(self, weight: torch.Tensor) -> torch.Tensor:
        """Return ``lam·(ratio·Σ|w| + (1 − ratio)/2·Σw²)`` as a 0-dim tensor; half-precision weights are summed in float32."""
        return torch.stack([part.value(weight) for part in self._parts]).sum()

    @torch.no_grad()
    def add_grad_(self, weight: torch.Tensor, grad: torch.Tensor, scale: Scale = 1.0) -> None:
        """Add ``scale·lam·(ratio·sign(w) + (1 − ratio)·w)`` to ``grad`` in place, without a graph."""
        self.add_grads_([weight], [grad], scale)

    @torch.no_grad()
    def add_grads_(self, weights: Sequence[torch.Tensor], grads: Sequence[torch.Tensor], scale: Scale = 1.0) -> None:
        """Do :meth:`add_grad_` for many weights, as L2 and L1 do."""
        for part in self._parts:
            part.add_grads_(weights, grads, scale)

    @torch.no_grad()
    def descend_(self, weights: Sequence[torch.Tensor], length: Scale) -> None:
        """Take a gradient step of that length; L2's part comes first, which leaves the signs that L1's part reads."""
        for part in self._parts:
            part.descend_(weights, length)

    @torch.no_grad()
    def prox_(self, weight: torch.Tensor, step: float) -> None:
        """Apply the prox of the L1 part, then that of the L2 part (Parikh and Boyd, Proximal Algorithms, 2014, section 6.5).

        Args:
            weight: Tensor of any shape.
            step: Step length, 0 or above; 0 leaves the weight as it is.

        Raises:
            SettingError: ``step`` is negative, NaN or infinite.
        """
        for part in reversed(self._parts):
            part.prox_(weight, step)

    def lam_max(self, grad: torch.Tensor) -> float:
        """Return ``max|grad|/ratio``, the least ``lam`` at which all weights 0 are optimal; infinite at ratio 0.

        Args:
            grad: The mean loss's gradient at weight zero, of any shape.
        """
        return L1(0.0).lam_max(grad) / self.ratio if self.ratio > 0 else math.inf


def _check_ratio(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise SettingError(f"ratio is {value!r}", "it is L1's share of the elastic net", "give a number from 0 to 1")
    return float(value)
