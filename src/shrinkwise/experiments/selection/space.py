"""What may be chosen: λ on a log scale, none at all, and lists of other settings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from shrinkwise.experiments.records import Setting, Variant

_FLOORS = (1 / 6, 2 / 6, 3 / 6, 4 / 6)
"""Where, within the range, penalties may begin to act."""
_WIDE = 1e6
"""A narrower range is one that somebody narrowed: penalties may have begun to act below it."""


@dataclass(frozen=True)
class Space:
    """The settings among which a method chooses.

    Attributes:
        low: Least λ above none, in the user's unit. ``high``: the largest. The range is extended where the best lies at its edge,
            unless that is fixed.
        default: What is kept where nothing beyond noise is to be gained: λ in the user's unit, 0 for none.
        name: The setting that holds λ.
        unit: The user's unit of λ.
        others: Further settings that are searched together with λ -> their values, such as ``{"lr": (0.01, 0.03, 0.1)}``; the
            first of each is the default's.
        fixed: Settings that every variant has.
        is_low_fixed: Whether the range may not be extended downwards. ``is_high_fixed``: upwards.
        step: Distance of neighbouring λs, in decades.
        kept: Ends that the range had before it was extended.
    """

    low: float = 1e-6
    high: float = 1.0
    default: float = 0.0
    name: str = "l2"
    unit: str = "half"
    others: Mapping[str, tuple[Setting, ...]] = field(default_factory=dict)
    fixed: Mapping[str, Setting] = field(default_factory=dict)
    is_low_fixed: bool = False
    is_high_fixed: bool = False
    step: float = 0.125
    kept: tuple[float, ...] = ()

    def lams(self) -> list[float]:
        """Return the λs that may be chosen by rising value: none, even steps from the lower end, the ends, and the default.

        >>> Space(low=0.01, high=1.0, default=0.05, step=0.5).lams()
        [0.0, 0.01, 0.0316, 0.05, 0.1, 0.316, 1.0]
        """
        n = math.ceil(round(math.log10(self.high / self.low) / self.step, 6))
        inner = [_three_digits(self.low * 10 ** (k * self.step)) for k in range(1, n)]
        return sorted({0.0, self.low, *inner, self.high, self.default, *self.kept})

    def combinations(self) -> list[dict[str, Setting]]:
        """Return the other settings in every combination, the default's first."""
        return [dict(zip(self.others, values, strict=True)) for values in itertools.product(*self.others.values())]

    def variants(self) -> list[Variant]:
        """Return everything that may be chosen, one combination of other settings after another, by rising λ."""
        lams = self.lams()
        return [self.variant(lam, **others) for others in self.combinations() for lam in lams]

    def variant(self, lam: float, /, **others: Setting) -> Variant:
        """Return the variant with a strength, and with other settings; those that are not given are the default's."""
        first = {name: values[0] for name, values in self.others.items()}
        return Variant(**{self.name: int(lam) if float(lam).is_integer() else float(lam), **self.fixed, **first, **others})

    @property
    def default_variant(self) -> Variant:
        """The variant that is kept where nothing beyond noise is to be gained."""
        return self.variant(self.default)

    def lam_of(self, variant: Variant) -> float:
        """Return the strength of a variant, in the user's unit."""
        return float(variant[self.name])

    def floors(self) -> list[float]:
        """Return strengths below which all penalties may be alike: too weak to act.

        >>> [f"{floor:.0e}" for floor in Space(low=0.01, high=1.0).floors()]
        ['1e-05', '1e-04', '1e-03', '1e-02']
        """
        low = min(self.low, self.high / _WIDE)
        return [low * (self.high / low) ** share for share in _FLOORS]

    def coordinates(self, variants: list[Variant]) -> npt.NDArray[np.float64]:
        """Return the other settings as numbers, shape ``(variant, axis)``: one apart is about as far as curves keep a shape.

        Positive numbers that span more than a factor of three, such as learning rates, lie as their logarithms do, a decade apart
        being one; other numbers as they are, from the least to the largest being one; words are all one apart.
        """
        columns: list[npt.NDArray[np.float64]] = []
        for name, values in self.others.items():
            given = [variant[name] for variant in variants]
            columns += _axis(given, values)
        return np.column_stack(columns) if columns else np.zeros((len(variants), 0))

    @property
    def is_fixed(self) -> bool:
        """Whether the range may be extended at neither end."""
        return self.is_low_fixed and self.is_high_fixed

    def may_grow(self, *, up: bool) -> bool:
        """Whether the range may be extended at one end."""
        return not (self.is_high_fixed if up else self.is_low_fixed)

    def extended(self, *, up: bool) -> Space:
        """Return the space with about a decade more at one end, in whole steps; what could be chosen still can be."""
        factor = 10 ** (round(1 / self.step) * self.step)
        if up:
            return replace(self, high=_three_digits(self.high * factor), kept=(*self.kept, self.high))
        return replace(self, low=_three_digits(self.low / factor), kept=(*self.kept, self.low))


def _axis(given: list[Setting], values: tuple[Setting, ...]) -> list[npt.NDArray[np.float64]]:
    if any(isinstance(value, str | bool) for value in values):
        return [np.array([value == each for value in given]) / math.sqrt(2) for each in values]
    numbers, ends = np.array(given, dtype=float), np.array(values, dtype=float)
    if ends.min() > 0 and ends.max() > 3 * ends.min():
        return [np.log10(numbers)]
    return [(numbers - ends.min()) / (np.ptp(ends) or 1.0)]


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")
