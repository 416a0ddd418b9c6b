"""Settings in every combination, and what users hand in, read into the words of this wing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import product
from typing import Any

import numpy as np

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.experiments.records import Condition, Setting, Variant
from shrinkwise.experiments.scalars import whole


def grid(**axes: Iterable[Setting]) -> tuple[dict[str, Setting], ...]:
    """Return every combination of the given values, the last axis running slowest.

    >>> [settings for settings in grid(l2=[0, 0.1], dropout=[0, 0.5])][1:3]
    [{'l2': 0.1, 'dropout': 0}, {'l2': 0, 'dropout': 0.5}]
    """
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise SettingError(f"{name} is {values!r}", "an axis of a grid is a list of values", f"give {name}=[{values!r}]")
    names = list(axes)
    return tuple(
        dict(zip(names, reversed(values), strict=True)) for values in product(*(list(axes[name]) for name in reversed(names)))
    )


def read_variants(variants: Iterable[Mapping[str, Setting]]) -> tuple[Variant, ...]:
    """Return variants; one that stands twice is a mistake.

    Raises:
        SettingError: Two are equal, or a strength or rate is out of range.
    """
    read = tuple(read_variant(settings) for settings in variants)
    if len(set(read)) < len(read):
        twice = next(variant for variant in read if read.count(variant) > 1)
        raise SettingError(f"variant {twice.name} stands twice", "a variant is compared once", "leave one of them out")
    return read


def read_variant(settings: Mapping[str, Setting]) -> Variant:
    """Return one variant.

    Raises:
        SettingError: It is no mapping, or a strength or rate is out of range.
    """
    if not isinstance(settings, Mapping):
        raise SettingError(f"a variant is {settings!r}", "a variant is a mapping", 'give such as {"l2": 0.01}')
    variant = Variant(**{name: _plain(value) for name, value in settings.items()})
    _check_range("l2", variant.get("l2", 0.0), float("inf"))
    _check_range("dropout", variant.get("dropout", 0.0), 1.0)
    _check_rate(variant.get("lr", 1.0))
    return variant


def check_comparable(variants: Sequence[Variant]) -> None:
    """Make sure that there is something to compare.

    Raises:
        SettingError: There are fewer than two variants.
    """
    if len(variants) < 2:
        raise SettingError(
            f"the number of variants is {len(variants)}", "a comparison takes at least two", "give another value of l2 or dropout"
        )


def read_rates(rates: object, variants: Sequence[Variant]) -> tuple[Setting, ...]:
    """Return learning rates by rising size: one, several, or none where the optimiser's own stays.

    Raises:
        SettingError: One is no positive number or stands twice, or the variants bring rates of their own.
    """
    if rates is None:
        return ()
    given = [rates] if isinstance(rates, str) or not isinstance(rates, Iterable) else list(rates)
    read = [_plain(rate) for rate in given]
    for rate in read:
        _check_rate(rate)
    if not read or len(set(read)) < len(read):
        raise SettingError(f"lr is {rates}", "it lists learning rates, each once", "give such as lr=[0.01, 0.03, 0.1]")
    if any("lr" in variant for variant in variants):
        raise SettingError(
            "lr is given beside variants with an lr of their own",
            "each variant would be given its best of a list",
            "leave one of the two out",
        )
    return tuple(sorted(read, key=float))


def read_base(base: Mapping[str, Setting] | None, variants: Sequence[Variant]) -> Variant:
    """Return what the others are compared against: the variant that is named, or without anything switched on, or the first.

    Where there are no variants it is the one that is named, or that without settings.

    Raises:
        SettingError: The one that is named is not among the variants.
    """
    if base is not None and not isinstance(base, Mapping):
        raise SettingError(f"the base is {base!r}", "a variant is a mapping", 'give such as base={"l2": 0.01}')
    if base is None:
        return next((variant for variant in variants if variant.is_base), next(iter(variants), Variant()))
    named = Variant(**{name: _plain(value) for name, value in base.items()})
    if variants and named not in variants:
        raise SettingError(
            f"the base is {named.name}", "it is not among the variants", did_you_mean(named.name, [each.name for each in variants])
        )
    return named


def read_conditions(conditions: Iterable[Mapping[str, Any] | Condition]) -> tuple[Condition, ...]:
    """Return conditions.

    Raises:
        SettingError: A key is none of a condition's, a value is out of range, or a condition stands twice.
    """
    known = [f.name for f in fields(Condition)]
    read = []
    for condition in conditions:
        settings = {f: getattr(condition, f) for f in known} if isinstance(condition, Condition) else dict(condition)
        for name in settings:
            if name not in known:
                raise SettingError(
                    f"{name!r} is no part of a condition", "a condition says what the data are like", did_you_mean(name, known)
                )
        size, noise = settings.get("train_size"), settings.get("label_noise", 0.0)
        if size is not None and (not isinstance(size, int | np.integer) or size < 1):
            raise SettingError(f"train_size is {size}", "it is a number of rows", "give a whole number from 1")
        if not isinstance(noise, int | float | np.number) or not 0 <= noise <= 1:
            raise SettingError(f"label_noise is {noise}", "it is a share of the training labels", "give a number from 0 to 1")
        read.append(
            Condition(train_size=None if size is None else int(size), label_noise=float(noise), label=settings.get("label", ""))
        )
    if not read or len(set(read)) < len(read):
        raise SettingError("conditions are empty or one stands twice", "each is looked at once", "give every condition once")
    return tuple(read)


def read_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return seeds: so many from 0, or those given.

    Raises:
        SettingError: There is none, or one stands twice.
    """
    n, many = whole(seeds), isinstance(seeds, Iterable) and not isinstance(seeds, str)
    given: list[object] = list(range(n)) if n is not None else list(seeds) if many else [seeds]  # type: ignore[arg-type]
    read = tuple(seed for seed in map(whole, given) if seed is not None)
    if len(read) < len(given):
        raise SettingError(f"seeds is {seeds!r}", "it is a number of seeds, or a list of whole numbers", "give such as 10")
    if not read:
        raise SettingError(f"seeds is {seeds}", "at least one is needed", "give a whole number from 1; ten is a good start")
    if len(set(read)) < len(read):
        raise SettingError("a seed stands twice", "its runs would be the same to the last bit", "give every seed once")
    return read


def _check_range(name: str, value: Setting, end: float) -> None:
    ok = isinstance(value, float | int) and 0 <= value < end
    if not ok:
        mend = "give 0 or a positive number" if end == float("inf") else "give a number from 0 up to, but not, 1"
        raise SettingError(
            f"{name} is {value}",
            "it is no such number" if name == "dropout" else "a strength is a finite number and never negative",
            mend,
        )


def _check_rate(value: Setting) -> None:
    if isinstance(value, bool | str) or not 0 < value < float("inf"):
        raise SettingError(f"lr is {value}", "a learning rate is a finite number above 0", "give such as 0.05")


def _plain(value: Any) -> Setting:
    """Return numbers as floats and integers of Python, so that 0, 0.0 and ``np.float64(0)`` name one variant."""
    if isinstance(value, bool | str):
        return value
    if not isinstance(value, int | float | np.number):
        raise SettingError(
            f"a variant has the setting {value!r}",
            "a setting is a number, a word, true or false, so that it can be kept and printed",
            "name it by a word, and let the model read what the word means",
        )
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
