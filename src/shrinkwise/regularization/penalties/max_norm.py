"""Max-norm, the constraint on each unit's incoming weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch

from shrinkwise.errors import SettingError
from shrinkwise.regularization.penalties.arithmetic import accumulator, norms
from shrinkwise.regularization.penalties.contract import Penalty, Scale, check_strength
from shrinkwise.regularization.penalties.layout import Dims, check_dims, other_dims


@dataclass(frozen=True)
class MaxNorm(Penalty):
    """A bound on each unit's incoming weights: ``value = 0 where every ‖w_unit‖₂ ≤ limit, else infinite``.

    Source: Srebro and Shraibman, COLT 2005; as a projection after each step, beside dropout, Srivastava et al., JMLR 2014,
    section 5.1. It has no gradient: it acts by ``prox_`` alone.

    Where all dimensions count units, as in a vector or a scalar, each element is a unit of its own.

    Args:
        limit: Largest norm, above 0.
        dim: The dimension that counts units, or several, where the layer's layout is not to decide; None for that layout, which
            before ``at`` is that of Linear and Conv layers, 0.

    Raises:
        SettingError: ``limit`` is not a finite number above 0, or ``dim`` is neither an integer nor a tuple of these.

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
    dim: Dims | None = None
    kind: ClassVar[str] = "max_norm"
    is_constraint: ClassVar[bool] = True
    is_of_norms: ClassVar[bool] = True
    prox_order: ClassVar[int] = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", check_strength(self.limit, "limit"))
        if self.limit == 0:
            raise SettingError("limit is 0", "no weight but zero would be allowed", "give a positive number, such as 3")
        if self.dim is not None:
            check_dims(self.dim, "dim")

    @property
    def strength(self) -> float:
        """``limit``, the largest norm of a unit's weights."""
        return self.limit

    def at(self, name: str, weight: torch.Tensor, unit_dims: tuple[int, ...] = (0,)) -> Self:
        """Return the constraint with the layout of one parameter; its own ``dim`` goes before.

        Args:
            name: Makes no difference.
            weight: The parameter.
            unit_dims: The dimensions that count units as the weight is stored.

        Raises:
            SettingError: The weight has no such dimension.
        """
        placed = replace(self, dim=unit_dims) if self.dim is None and unit_dims != (0,) else self
        placed._summed(weight)
        return placed

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
        return norms(weight, self._summed(weight), dtype)

    def _summed(self, weight: torch.Tensor) -> tuple[int, ...]:
        """Return the dimensions that a unit spans."""
        return other_dims(weight, 0 if self.dim is None else self.dim, "dim of MaxNorm")
