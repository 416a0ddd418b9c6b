"""What the quantities beside λ may be."""

from __future__ import annotations

import sys
from numbers import Integral, Real
from typing import cast

from shrinkwise.errors import SettingError


def check_positive(value: object, name: str) -> float:
    """Return ``value`` as a float, if it is a positive, finite number.

    Raises:
        SettingError: It is not.

    >>> check_positive(-1, "lr")
    Traceback (most recent call last):
    shrinkwise.errors.SettingError: lr is -1: it has to be positive and finite. Give a positive number.
    """
    # Compared before it becomes a float, which a whole number may be too long for.
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < cast("float", value) <= sys.float_info.max:
        raise SettingError(f"{name} is {value!r}", "it has to be positive and finite", "give a positive number")
    return float(value)


def check_count(value: object, name: str) -> int:
    """Return ``value`` as an int, if it is a whole number of something, 1 or above.

    A float that is whole counts as one, so that 5e4 may be written.

    Raises:
        SettingError: It is not.

    >>> check_count(5e4, "n_samples")
    50000
    >>> check_count(2.5, "n_samples")
    Traceback (most recent call last):
    shrinkwise.errors.SettingError: n_samples is 2.5: it counts something. Give a whole number, 1 or above.
    """
    number = check_positive(value, name)
    if number < 1 or not (isinstance(value, Integral) or number.is_integer()):
        raise SettingError(f"{name} is {value!r}", "it counts something", "give a whole number, 1 or above")
    return int(number)


def check_momentum(value: object, name: str) -> float:
    """Return ``value`` as a float, if it can be the momentum of SGD: 0 or above, and below 1.

    Raises:
        SettingError: It cannot.

    >>> check_momentum(1, "momentum")
    Traceback (most recent call last):
    shrinkwise.errors.SettingError: momentum is 1: it is the share of the velocity that a step keeps. Give 0 or above, and below 1.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= cast("float", value) < 1 or float(value) == 1:
        raise SettingError(
            f"{name} is {value!r}", "it is the share of the velocity that a step keeps", "give 0 or above, and below 1"
        )
    return float(value)
