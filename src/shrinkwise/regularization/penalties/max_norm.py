"""Max-norm, the constraint on each unit's incoming weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from shrinkwise.errors import SettingError
from shrinkwise.regularization.penalties.arithmetic import accumulator, all_but, norms
from shrinkwise.regularization.penalties.contract import Penalty, Scale, check_strength


@dataclass(frozen=True)
class MaxNorm(Penalty):
    """A bound on each unit's incoming weights: ``value = 0 where every ‖w_unit‖₂ ≤ limit, else infinite``.

    Source: Srebro and Shraibman, COLT 2005; as a projection after each step, beside dropout, Srivastava et al., JMLR 2014,
    section 5.1. It has no gradient: it acts by ``prox_`` alone.

    In a vector or a scalar each element is a unit of its own.

    Args:
        limit: Largest norm, above 0.
        dim: The dimension that counts units: 0 for Linear and Conv layers, 1 for their transposed forms.

    Raises:
        SettingError: ``limit`` is not a finite number above 0, or ``dim`` is no integer.

    >>> weight = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    >>> MaxNorm(1.0).value(weight).item()
    inf
    >>> MaxNorm(1.0).prox_(weight)
    >>> weight
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    >>> MaxNorm(1.0).value(weight).item()
    0.0
    """

    limit: float
    dim: int = 0
    kind: ClassVar[str] = "max_norm"
    is_constraint: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", check_strength(self.limit, "limit"))
        if self.limit == 0:
            raise SettingError("limit is 0", "no weight but zero would be allowed", "give a positive number, such as 3")
        if isinstance(self.dim, bool) or not isinstance(self.dim, int):
            raise SettingError(f"dim is {self.dim!r}", "it is the number of a weight's dimension", "give an integer, such as 0")

    @property
    def strength(self) -> float:
        """``limit``, the largest norm of a unit's weights."""
        return self.limit

    @torch.no_grad()
    def value(self, weight: torch.Tensor) -> torch.Tensor:
        """Return 0 where the constraint holds, else infinity, as a 0-dim tensor without a graph.

        Raises:
            SettingError: The weight has no dimension ``dim``.
        """
        holds = (self._norms(weight) <= self.limit).all()
        return torch.where(holds, 0.0, math.inf).to(accumulator(weight))

    def add_grad_(self, weight: torch.Tensor, grad: torch.Tensor, scale: Scale = 1.0) -> None:
        """Leave ``grad`` as it is: a constraint has no gradient."""

    @torch.no_grad()
    def prox_(self, weight: torch.Tensor, step: float = 1.0) -> None:
        """Scale units whose norm exceeds the limit down to it; the others keep every bit.

        Afterwards no stored norm exceeds the limit, in half precision neither, so a second call changes nothing.

        Args:
            weight: Tensor of any shape.
            step: Step length, 0 or above, which makes no difference: the nearest allowed weight is the same for each.

        Raises:
            SettingError: The weight has no dimension ``dim``, or ``step`` is negative, NaN or infinite.
        """
        check_strength(step, "step")
        # Rounding to the weight's dtype can lift a norm above the limit again; the second pass takes back more than that.
        for margin in (0.0, torch.finfo(weight.dtype).eps):
            length = self._norms(weight)
            target = self.limit * (1 - margin - 16 * torch.finfo(length.dtype).eps)  # the norm is itself a rounded sum
            factor = torch.where(length > self.limit, target / length, 1.0)
            weight.mul_(factor.to(accumulator(weight)))

    def _norms(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the norms in float64, in which squares of narrower numbers are exact; MPS knows float32 only."""
        dtype = accumulator(weight) if weight.device.type == "mps" else torch.float64
        if weight.ndim < 2:
            return norms(weight, (), dtype)
        if not -weight.ndim <= self.dim < weight.ndim:
            cause = f"a weight of shape {tuple(weight.shape)} has no such dimension"
            raise SettingError(f"dim of MaxNorm is {self.dim}", cause, f"give one from 0 to {weight.ndim - 1}")
        return norms(weight, all_but(self.dim % weight.ndim, weight.ndim), dtype)
