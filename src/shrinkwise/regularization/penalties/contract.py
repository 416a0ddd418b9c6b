"""What every penalty can do, and what a strength may be."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import ClassVar, Protocol, Self, runtime_checkable

import torch

from shrinkwise.errors import SettingError

Scale = float | torch.Tensor
"""A factor on a penalty: a number, or a 0-dim tensor where the number must not be read back from a device or be compiled in."""


class Penalty(ABC):
    """A function of one weight tensor that is added to the mean loss.

    A complex number is one weight, by its absolute value; its gradient is torch's, the derivative by the real part plus i times
    that by the imaginary part.

    Where several act on one weight by their proxes, one after another, ``prox_order`` is the order that brings this closest to the
    prox of their sum:

    * Exact: any of L1, group lasso and L2, and L1 beside the elastic net; thresholds come first, single weights before groups, and
      the shrink last, since a threshold commutes with a shrink only by growing with it (Parikh and Boyd, Proximal Algorithms,
      2014, section 6.5; Yu, "On Decomposing the Proximal Map", NeurIPS 2013; for the sparse group lasso, Simon et al., JCGS 2013).
      Max-norm after these too, where groups are units or there are none.
    * Not exact: the elastic net before group lasso or L2, and L2-SP before any of them. The later one is then stronger by the
      factor 1 + step·lam of the earlier one's quadratic part. L2-SP comes first all the same: after a threshold it would pull
      every weight off zero.

    Attributes:
        kind: Which slot of a regularizer it fills; kinds add up.
        is_constraint: Whether it only says where a weight may be: 0 there and infinite elsewhere; it acts by ``prox_`` alone.
        is_elementwise: Whether what it does to an element depends on that element alone.
        is_of_norms: Whether it knows a weight by the norms of its units alone, so that it may act on what stands for these.
        prox_order: Its place among the proxes that act on one weight, the least first; a penalty that says nothing comes first.
    """

    kind: ClassVar[str]
    is_constraint: ClassVar[bool] = False
    is_elementwise: ClassVar[bool] = False
    is_of_norms: ClassVar[bool] = False
    prox_order: ClassVar[int] = 0

    @property
    @abstractmethod
    def strength(self) -> float:
        """What a user tunes: ``lam``, or the limit of a constraint."""

    @abstractmethod
    def value(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the penalty as a 0-dim tensor, in float32 or better, with the graph to ``weight`` where it depends on it."""

    @abstractmethod
    def add_grad_(self, weight: torch.Tensor, grad: torch.Tensor, scale: Scale = 1.0) -> None:
        """Add ``scale`` times the penalty's gradient at ``weight`` to ``grad`` in place, without a graph; both have one shape."""

    def add_grads_(self, weights: Sequence[torch.Tensor], grads: Sequence[torch.Tensor], scale: Scale = 1.0) -> None:
        """Do :meth:`add_grad_` for many weights; a penalty that can, does it in one pass (foreach)."""
        for weight, grad in zip(weights, grads, strict=True):
            self.add_grad_(weight, grad, scale)

    def descend_(self, weights: Sequence[torch.Tensor], length: Scale) -> None:
        """Take a gradient step of that length on the penalty alone, in place: decoupled decay, where the length is ``lr``."""
        self.add_grads_(weights, weights, -length)

    def at(self, name: str, weight: torch.Tensor, unit_dims: tuple[int, ...] = (0,)) -> Self:
        """Return the penalty as it acts on one parameter of a model: itself, unless the name or the layout makes a difference.

        Args:
            name: Name of the parameter in its model.
            weight: The parameter.
            unit_dims: The dimensions that count units (outputs, filters) as the weight is stored: the first for Linear and Conv
                layers, the second for their transposed forms, the first two for stacked experts ``(E, out, in)``.
        """
        return self


@runtime_checkable
class Proximal(Protocol):
    """A penalty whose proximal operator is known in closed form."""

    def prox_(self, weight: torch.Tensor, step: float) -> None:
        """Replace ``weight`` in place by the minimiser u of ``value(u) + ‖u − weight‖² / (2·step)``."""
        ...


@runtime_checkable
class Sparsifying(Proximal, Protocol):
    """A penalty that can hold a weight at exactly zero."""

    def lam_max(self, grad: torch.Tensor) -> float:
        """Return the least ``lam`` at which zero is optimal, where ``grad`` is the mean loss's gradient at weight zero."""
        ...


def _shown(value: object) -> str:
    """Return what was given, or only its type where that would fill pages."""
    text = repr(value)
    return text if len(text) < 40 else f"a {type(value).__name__}"


def check_strength(value: object, name: str) -> float:
    """Return ``value`` as a float, if it can be a strength.

    Args:
        value: The strength as the user wrote it, in any unit.
        name: What the user calls it, for the message.

    Returns:
        The same number.

    Raises:
        SettingError: The value is not a number, is negative, NaN or infinite.

    >>> check_strength(-1, "l2")
    Traceback (most recent call last):
    shrinkwise.errors.SettingError: l2 is -1: a strength is a finite number, 0 or above. Give 0 for none, or a positive number.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        cause = "a strength is a plain finite number, 0 or above"
        raise SettingError(f"{name} is {_shown(value)}", cause, "give a number, such as float(x)")
    if not math.isfinite(value) or value < 0:
        mend = "give 0 for none, or a positive number"
        raise SettingError(f"{name} is {value!r}", "a strength is a finite number, 0 or above", mend)
    return float(value)
