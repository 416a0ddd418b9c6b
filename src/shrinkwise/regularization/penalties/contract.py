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

    Attributes:
        kind: Which slot of a regularizer it fills; kinds add up.
        is_constraint: Whether it only says where a weight may be: 0 there and infinite elsewhere; it acts by ``prox_`` alone.
        is_elementwise: Whether what it does to an element depends on that element alone.
    """

    kind: ClassVar[str]
    is_constraint: ClassVar[bool] = False
    is_elementwise: ClassVar[bool] = False

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

    def at(self, name: str, weight: torch.Tensor) -> Self:
        """Return the penalty as it acts on one parameter of a model: itself, unless it refers to a weight of that name."""
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
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value < 0:
        mend = "give 0 for none, or a positive number"
        raise SettingError(f"{name} is {value!r}", "a strength is a finite number, 0 or above", mend)
    return float(value)
