"""What a tuning is asked for, read into the words of selection."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.experiments.grid import read_variant
from shrinkwise.experiments.records import Setting
from shrinkwise.experiments.scalars import scalar, whole
from shrinkwise.experiments.selection import Space

LEAST_BUDGET = 3
"""Trainings without which no curve over λ can turn."""

RUNS_PER_SEED = 4
METHODS = ("search", "sweep", "evidence", "prior")
RULES = ("minimum", "one-se")
_LOW, _HIGH = 1e-6, 1.0
_ROOM = 10.0
_AROUND = 100.0


@dataclass(frozen=True)
class Range:
    """Where λ is looked for, in the user's unit: the default, and the ends that were given."""

    around: float | None
    low: float | None
    high: float | None

    def __post_init__(self) -> None:
        for name in ("around", "low", "high"):
            # What is no number stays as it is, and is refused beneath.
            object.__setattr__(self, name, _plain(getattr(self, name)))
        if self.around is not None and not (_is_number(self.around) and 0 <= self.around < math.inf):
            raise SettingError(
                f"around is {self.around!r}", "a strength is a finite number and never negative", "give 0 or a positive number"
            )
        for name, value in (("low", self.low), ("high", self.high)):
            if value is not None and not (_is_number(value) and 0 < value < math.inf):
                raise SettingError(
                    f"{name} is {value!r}", "λ is looked for on a log scale, and 0 besides", "give a positive number"
                )
        if self.low is not None and self.high is not None and self.low >= self.high:
            one = self.low == self.high
            raise SettingError(
                f"low and high are both {self.low:g}" if one else f"low is {self.low:g} and high is {self.high:g}",
                "one λ leaves nothing to choose" if one else "a range begins below its end",
                "give a range, such as low=1e-4, high=0.1",
            )
        ends = " and ".join(f"{name} {end:g}" for name, end in (("low", self.low), ("high", self.high)) if end is not None)
        if self.around and not (self.low or 0) <= self.around <= (self.high or math.inf):
            raise SettingError(
                f"around is {self.around:g}", f"it lies outside of {ends}", "widen the range, or move the default into it"
            )

    @property
    def ends(self) -> tuple[float, float]:
        """The ends: those that were given, else two decades on either side of a default, else 1e-6 to 1.

        An end that was given and the other one leave a decade between them.
        """
        low, high = (self.around / _AROUND, self.around * _AROUND) if self.around else (_LOW, _HIGH)
        low = self.low if self.low is not None else min(low, (self.high or math.inf) / _ROOM)
        high = self.high if self.high is not None else max(high, low * _ROOM)
        return low, high


def read_space(
    span: Range,
    also: Mapping[str, Iterable[Setting] | Setting] | None,
    fixed: Mapping[str, Setting],
    *,
    name: str,
    unit: str,
) -> Space:
    """Return what may be chosen.

    Args:
        span: Where λ is looked for.
        also: Other settings that are searched together with it -> their values; the first of each is the default's, unless
            ``fixed`` has one.
        fixed: Settings that every variant has; those that are searched are left out of it.
        name: The setting that holds λ.
        unit: What λ means.

    Raises:
        SettingError: A setting is searched twice, has no values, or one that is out of range.
    """
    _check_names(name, also)
    others = {other: _values(other, given, fixed.get(other)) for other, given in (also or {}).items()}
    if name in others:
        raise SettingError(
            f"also lists {name!r}", "that is the setting whose strength is chosen", "leave it out, or give low and high"
        )
    low, high = span.ends
    rest = {other: value for other, value in fixed.items() if other not in others}
    return Space(
        low=low,
        high=high,
        default=float(span.around or 0.0),
        name=name,
        unit=unit,
        others=others,
        fixed=rest,
        is_low_fixed=span.low is not None,
        is_high_fixed=span.high is not None,
    )


def check_method(method: str, rule: str) -> None:
    """Make sure that there is such a method, and such a rule.

    Raises:
        SettingError: There is not.
    """
    for name, value, known in (("method", method, METHODS), ("rule", rule, RULES)):
        if value not in known:
            raise SettingError(f"{name} is {value!r}", f"{name} is one of {', '.join(known)}", did_you_mean(str(value), known))


def read_budget(budget: int | None, n_seeds: int) -> int:
    """Return how many trainings may be spent: four a seed if left out.

    Raises:
        SettingError: So few show nothing.
    """
    if budget is None:
        return max(RUNS_PER_SEED * n_seeds, LEAST_BUDGET)
    n = whole(budget)
    if n is None or n < LEAST_BUDGET:
        raise SettingError(
            f"budget is {budget!r}",
            f"it counts trainings, and a curve over λ takes at least {LEAST_BUDGET}",
            f"give such as budget={RUNS_PER_SEED * n_seeds}, four for each of {n_seeds} seeds",
        )
    return n


def read_count(name: str, value: Any) -> int:
    """Return a whole number from 0.

    Raises:
        SettingError: It is none.
    """
    n = whole(value)
    if n is None or n < 0:
        raise SettingError(f"{name} is {value!r}", "it is a number of seeds", "give 0 or a positive whole number")
    return n


def _values(name: str, given: Iterable[Setting] | Setting, own: Setting | None) -> tuple[Setting, ...]:
    listed = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    values = [read_variant({name: value})[name] for value in listed]
    if not values or len(set(values)) < len(values):
        raise SettingError(
            f"also has {name} = {given}", "it lists values, each once", f"give such as also={{{name!r}: [0.1, 0.5]}}"
        )
    if own is None:
        return tuple(values)
    return (own, *(value for value in values if value != own))


def _check_names(name: object, also: object) -> None:
    if not isinstance(name, str) or not name:
        raise SettingError(
            f"name is {name!r}", "it is the setting that holds λ, as train(trial) reads it", "give such as name='l2'"
        )
    if also is not None and not (isinstance(also, Mapping) and all(isinstance(other, str) for other in also)):
        raise SettingError(
            f"also is {also!r}", "it maps settings to the values that they may have", "give such as also={'lr': [0.1, 0.5]}"
        )


def _plain(value: Any) -> Any:
    """Return a number of NumPy or a framework's own as one of Python, a float32 as it is written: 1e-4 and not 9.9999997e-5."""
    if not hasattr(value, "item"):
        return value
    number = scalar(value)
    return value if number is None else float(f"{number:.7g}") if "float32" in str(getattr(value, "dtype", "")) else number


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
