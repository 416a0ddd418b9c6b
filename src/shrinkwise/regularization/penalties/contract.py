"""What every penalty can do, and what a strength may be."""

from __future__ import annotations

import math
from numbers import Real
from typing import Protocol

import torch

from shrinkwise.errors import SettingError


class Penalty(Protocol):
    """A function of one weight tensor that is added to the mean loss.

    A penalty that can hold a weight at exactly zero also offers ``lam_max``, the least strength at which it does; L2 cannot.
    """

    def value(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the penalty as a 0-dim tensor, in float32 or better, with the graph to ``weight``."""
        ...

    def add_grad_(self, weight: torch.Tensor, grad: torch.Tensor) -> None:
        """Add the penalty's gradient at ``weight`` to ``grad`` in place, without a graph; both have the same shape."""
        ...

    def prox_(self, weight: torch.Tensor, step: float) -> None:
        """Replace ``weight`` in place by the minimiser u of ``value(u) + ‖u − weight‖² / (2·step)``."""
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
