"""One number, in whatever type users and frameworks hold it."""

from __future__ import annotations

import math
from typing import Any


def scalar(value: Any) -> float | None:
    """Return a number of Python, NumPy or a framework's own as a float, else None; true and false are none.

    A whole number too large for a float is infinite.

    >>> import numpy as np
    >>> scalar(3), scalar(np.float32(0.5)), scalar(np.array(2)), scalar("3"), scalar(True), scalar(10**400)
    (3.0, 0.5, 2.0, None, None, inf)
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def whole(value: Any) -> int | None:
    """Return a whole number, written as such or as a float, as an int, else None.

    >>> import numpy as np
    >>> whole(3), whole(np.int64(3)), whole(2.5), whole("3"), whole(True)
    (3, 3, None, None, None)
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = scalar(value)
    return int(number) if number is not None and number.is_integer() else None
