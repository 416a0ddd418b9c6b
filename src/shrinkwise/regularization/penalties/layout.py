"""Which dimensions of a stored weight count its units (outputs, filters), and which are left to sum over."""

from __future__ import annotations

import torch

from shrinkwise.errors import SettingError

Dims = int | tuple[int, ...]
"""One dimension of a weight, or several; negative numbers count from the end."""


def check_dims(value: object, name: str) -> None:
    """Refuse what cannot be a weight's dimensions.

    Raises:
        SettingError: The value is neither an integer nor a tuple of integers with at least one.
    """
    dims = value if isinstance(value, tuple) else (value,)
    if not dims or not all(isinstance(dim, int) and not isinstance(dim, bool) for dim in dims):
        raise SettingError(f"{name} is {value!r}", "it gives a weight's dimensions by number", "give an integer or a tuple of some")


def other_dims(weight: torch.Tensor, unit_dims: Dims, name: str) -> tuple[int, ...]:
    """Return the dimensions that do not count units; none where all do, as in a vector, whose elements are units.

    Args:
        weight: Tensor of any shape.
        unit_dims: The dimensions that count units. A vector or a scalar has no other than these.
        name: What the user calls ``unit_dims``, for the message.

    Returns:
        Numbers from 0, ascending.

    Raises:
        SettingError: The weight has no such dimension.

    >>> other_dims(torch.empty(8, 4, 3), (0, -1), "unit_dims")
    (1,)
    """
    n = weight.ndim
    if n < 2:
        return ()
    dims = unit_dims if isinstance(unit_dims, tuple) else (unit_dims,)
    if not all(-n <= dim < n for dim in dims):
        cause = f"a weight of shape {tuple(weight.shape)} has no such dimension"
        raise SettingError(f"{name} is {unit_dims}", cause, f"give one from 0 to {n - 1}")
    counted = {dim % n for dim in dims}
    return tuple(dim for dim in range(n) if dim not in counted)
