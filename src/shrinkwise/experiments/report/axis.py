"""The axis of strengths: which setting is λ, and where λ = 0 stands beside a logarithm."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from shrinkwise.experiments.records import Setting, Variant
from shrinkwise.experiments.stats.answer import Answer
from shrinkwise.experiments.study import Study

_LARGEST_RATIO_OF_A_LINEAR_AXIS = 8.0
_MOST_TICKS = 9


@dataclass(frozen=True)
class Group:
    """Variants that differ in strength alone, from weak to strong: one line of a chart."""

    name: str
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class StrengthAxis:
    """Where each strength stands, in a drawing unit of its own that is linear in λ or in log10 λ.

    Attributes:
        setting: Name of the setting, such as ``l2``.
        title: The same with its unit.
        is_log: Whether positions are logarithms.
        ticks: ``(position, label)`` from left to right.
        break_at: Position of the break between zero and the smallest positive strength; None where the axis has none.
    """

    setting: str
    title: str
    is_log: bool
    ticks: tuple[tuple[float, str], ...]
    break_at: float | None

    @property
    def range(self) -> tuple[float, float]:
        """Where the axis begins and ends."""
        air = 0.06 * self._length
        return self.ticks[0][0] - air, self.ticks[-1][0] + air

    @property
    def _length(self) -> float:
        return self.ticks[-1][0] - self.ticks[0][0]

    def shift(self, number: int, n: int) -> float:
        """Return by how much the ``number``-th of ``n`` lines is moved, so that their intervals stand side by side."""
        return 0.018 * self._length * (number - (n - 1) / 2)

    def position(self, variant: Variant) -> float:
        """Return where a variant stands."""
        return self.place(float(variant[self.setting]))

    def place(self, value: float) -> float:
        """Return where a strength stands."""
        if not self.is_log:
            return value
        return math.log10(value) if value > 0 else self.ticks[0][0]


def strength_axis(answer: Answer, study: Study) -> StrengthAxis | None:
    """Return the axis of the setting that is varied as a strength, or None where none is.

    It is ``l2`` where variants differ in it, else the first setting with two or more different numbers, none of them negative.
    """
    names = dict.fromkeys(name for variant in answer.variants for name in variant)
    usable = {name: numbers for name in names if len(numbers := _numbers(answer.variants, name)) > 1}
    if not usable:
        return None
    setting = "l2" if "l2" in usable else next(iter(usable))
    title = f"λ ({setting}, unit {study.unit})" if setting == "l2" and study.unit else setting
    numbers = usable[setting]
    positive = [value for value in numbers if value > 0]
    if max(positive) / min(positive) <= _LARGEST_RATIO_OF_A_LINEAR_AXIS:
        return StrengthAxis(setting, title, False, tuple((value, f"{value:g}") for value in numbers), None)
    low, high = math.log10(positive[0]), math.log10(positive[-1])
    gap = min(max((high - low) / max(len(positive) - 1, 1), 0.3 * (high - low)), high - low) * 0.75
    ticks = [(math.log10(value), f"{value:g}") for value in _thinned(positive)]
    if numbers[0] == 0:
        return StrengthAxis(setting, title, True, ((low - gap, "0"), *ticks), low - gap / 2)
    return StrengthAxis(setting, title, True, tuple(ticks), None)


def groups(answer: Answer, axis: StrengthAxis) -> tuple[Group, ...]:
    """Return the lines of a chart over the axis: variants that agree in every other setting, sorted by strength."""
    found: dict[frozenset[tuple[str, Setting]], list[Variant]] = {}
    for variant in answer.variants:
        if not _is_strength(variant.get(axis.setting)):
            continue
        others = frozenset((name, value) for name, value in variant.items() if name != axis.setting)
        found.setdefault(others, []).append(variant)
    varying = {name for others in found for name, _ in others if len({dict(each).get(name) for each in found}) > 1}
    return tuple(
        Group(_name(variants[0], varying), tuple(sorted(variants, key=lambda each: float(each[axis.setting]))))
        for variants in found.values()
    )


def _name(variant: Variant, varying: set[str]) -> str:
    return ", ".join(
        f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in variant.items()
        if name in varying
    )


def _numbers(variants: Iterable[Variant], name: str) -> list[float]:
    """Return the different strengths of a setting in ascending order; none where some number is no strength."""
    values = [variant[name] for variant in variants if name in variant]
    numbers = {float(value) for value in values if _is_strength(value)}
    has_negative = any(isinstance(value, int | float) and value < 0 for value in values)
    return [] if has_negative or not any(numbers) else sorted(numbers)


def _is_strength(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _thinned(values: list[float]) -> list[float]:
    """Keep a label readable: powers of ten alone where there are many strengths, every k-th where that is still too many."""
    if len(values) <= _MOST_TICKS:
        return values
    tens = [10.0**power for power in range(math.ceil(math.log10(values[0])), math.floor(math.log10(values[-1])) + 1)]
    kept = tens if len(tens) > 1 else values
    return kept[:: math.ceil(len(kept) / _MOST_TICKS)]
