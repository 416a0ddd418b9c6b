"""Group lasso, the penalty on the norms of whole groups of weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self, get_args

import torch

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.regularization.penalties.arithmetic import accumulator, largest, norms, shorten_
from shrinkwise.regularization.penalties.contract import Penalty, Scale, check_strength
from shrinkwise.regularization.penalties.layout import check_dims, other_dims

Groups = Literal["rows", "columns", "channels"]
"""Which weights stand or fall together: see :class:`GroupLasso`."""


@dataclass(frozen=True)
class GroupLasso(Penalty):
    """The sum of the groups' norms: ``value = lam·Σ_g sqrt(size_g)·‖w_g‖₂``.

    Source: Yuan and Lin, Journal of the Royal Statistical Society B, 2006; on networks, Wen, Wu, Wang, Chen and Li, NeurIPS
    2016, and Scardapane, Comminiello, Hussain and Uncini, Neurocomputing, 2017. The norm is not squared: squared norms would
    sum to L2, which sets no group to zero. The gradient of a group of zeros is taken as 0, one of its subgradients.

    A weight has dimensions that count units (outputs, filters) and others. In ``(out, in, ...)``, as Linear and Conv layers store
    it, the first counts units; ``at`` tells of another layout, such as ``(in, out)`` or ``(expert, out, in)``. Groups:

    * ``rows``: one unit, with its incoming weights.
    * ``columns``: one index of all other dimensions, a column of the matrix of shape ``(units, rest)``.
    * ``channels``: one index of the first of the other dimensions, an input channel, over all units, and so over all experts of a
      stack; for a matrix the same as ``columns``.

    Where all dimensions count units, as in a vector or a scalar, each element is a group of its own: the penalty is L1 there.

    Args:
        lam: Strength, 0 or above.
        groups: ``rows``, ``columns`` or ``channels``.
        unit_dims: The dimensions that count units, where the layer's layout is not to decide; None for that layout, which before
            ``at`` is ``(0,)``.

    Raises:
        SettingError: ``lam`` is negative, NaN or infinite, ``groups`` is unknown, or ``unit_dims`` is no tuple of integers.

    The prox keeps or drops a row as a whole:

    >>> weight = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    >>> round(GroupLasso(1.0).value(weight).item() / 2**0.5, 6)  # 5 + 0.5
    5.5
    >>> GroupLasso(2**0.5).prox_(weight, step=0.5)
    >>> weight
    tensor([[2.4000, 3.2000],
            [0.0000, 0.0000]])
    """

    lam: float
    groups: Groups = "rows"
    unit_dims: tuple[int, ...] | None = None
    kind: ClassVar[str] = "group_lasso"
    prox_order: ClassVar[int] = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "lam", check_strength(self.lam, "lam"))
        if self.groups not in get_args(Groups):
            mend = did_you_mean(str(self.groups), get_args(Groups))
            raise SettingError(f"groups is {self.groups!r}", "there is no such way to group weights", mend)
        if self.unit_dims is not None:
            check_dims(self.unit_dims, "unit_dims")

    @property
    def strength(self) -> float:
        """``lam``."""
        return self.lam

    def at(self, name: str, weight: torch.Tensor, unit_dims: tuple[int, ...] = (0,)) -> Self:
        """Return the penalty with the layout of one parameter; its own ``unit_dims`` go before.

        Args:
            name: Makes no difference.
            weight: The parameter.
            unit_dims: The dimensions that count units as the weight is stored.

        Raises:
            SettingError: The weight has no such dimension.
        """
        placed = replace(self, unit_dims=unit_dims) if self.unit_dims is None and unit_dims != (0,) else self
        placed._summed(weight)
        return placed

    def value(self, weight: torch.Tensor) -> torch.Tensor:
        """Return ``lam·Σ_g sqrt(size_g)·‖w_g‖₂`` as a 0-dim tensor; half-precision weights are summed in float32."""
        return self._norms(weight).sum() * (self.lam * self._root_size(weight))

    @torch.no_grad()
    def add_grad_(self, weight: torch.Tensor, grad: torch.Tensor, scale: Scale = 1.0) -> None:
        """Add ``scale·lam·sqrt(size_g)·w_g/‖w_g‖`` to ``grad`` in place, and 0 for a group of zeros; no graph or copy is made."""
        length = self._norms(weight)
        length.masked_fill_(length == 0, 1)
        factor = self.lam * self._root_size(weight)
        if isinstance(scale, torch.Tensor):
            length, scale = length / scale, 1.0
        grad.addcdiv_(weight, length, value=factor * scale)

    @torch.no_grad()
    def prox_(self, weight: torch.Tensor, step: float) -> None:
        """Shorten each group by ``step·lam·sqrt(size_g)``, and not beyond zero (Yuan and Lin, 2006, section 2).

        Args:
            weight: Tensor of any shape.
            step: Step length, 0 or above; 0 leaves the weight as it is.

        Raises:
            SettingError: ``step`` is negative, NaN or infinite.
        """
        threshold = check_strength(step, "step") * self.lam * self._root_size(weight)
        shorten_(weight, self._norms(weight), threshold)

    @torch.no_grad()
    def lam_max(self, grad: torch.Tensor) -> float:
        """Return ``max_g ‖grad_g‖/sqrt(size_g)``, the least ``lam`` at which all weights 0 are optimal for a convex loss.

        Args:
            grad: The mean loss's gradient at weight zero, of the weight's shape.
        """
        return largest(self._norms(grad)) / self._root_size(grad)

    def _norms(self, weight: torch.Tensor) -> torch.Tensor:
        return norms(weight, self._summed(weight), accumulator(weight))

    def _root_size(self, weight: torch.Tensor) -> float:
        return math.sqrt(math.prod(weight.shape[dim] for dim in self._summed(weight)))

    def _summed(self, weight: torch.Tensor) -> tuple[int, ...]:
        """Return the dimensions that a group spans."""
        others = other_dims(weight, self.unit_dims or (0,), "unit_dims of GroupLasso")
        if not others or self.groups == "rows":
            return others
        one = others if self.groups == "columns" else others[:1]
        return tuple(dim for dim in range(weight.ndim) if dim not in one)
