"""Repeated layers written as one: ``encoder.layer.0.bias`` to ``encoder.layer.11.bias`` become ``encoder.layer.[0-11].bias``."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from itertools import groupby

_Name = tuple[str | tuple[int, ...], ...]
_Key = tuple[_Name, Hashable]

# What is printed is a name again: 07 would come back as 7.
_NUMBER = re.compile("0|[1-9][0-9]*")


def fold(names: Sequence[str], alike: Sequence[Hashable] | None = None, depth: int = 0) -> list[tuple[str, list[int]]]:
    """Write names that differ in the number of a repeated layer alone as one.

    Args:
        names: Dotted names.
        alike: What must be equal for two names to be folded, one a name; all are alike if left out.
        depth: How many levels of repetition stay written out, the outermost first.

    Returns:
        Each folded name with the positions of the names that it stands for, in the order of the first of them.

    >>> fold(["h.0.a", "h.0.b", "h.1.a", "h.1.b", "h.3.a", "last"])
    [('h.[0,1,3].a', [0, 2, 4]), ('h.[0,1].b', [1, 3]), ('last', [5])]
    >>> [name for name, _ in fold(["s.0.h.0", "s.0.h.1", "s.1.h.0", "s.1.h.1"], depth=1)]
    ['s.0.h.[0,1]', 's.1.h.[0,1]']
    """
    kinds = alike or [None] * len(names)
    folded: dict[_Key, list[int]] = {}
    for position, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        parsed: _Name = tuple((int(part),) if _NUMBER.fullmatch(part) else part for part in name.split("."))
        folded.setdefault((parsed, kind), []).append(position)
    n_levels = max((sum(isinstance(part, tuple) for part in name) for name, _ in folded), default=0)
    for level in reversed(range(depth, n_levels)):
        folded = _folded_at(folded, level)
    ordered = sorted(folded.items(), key=lambda item: min(item[1]))
    return [(".".join(map(_written, name)), sorted(positions)) for (name, _), positions in ordered]


def _folded_at(folded: dict[_Key, list[int]], level: int) -> dict[_Key, list[int]]:
    """Join names that are equal but for their ``level``-th number."""
    result: dict[_Key, list[int]] = {}
    joined: dict[tuple[_Name, _Name, Hashable], dict[_Key, list[int]]] = {}
    for (name, kind), positions in folded.items():
        places = [i for i, part in enumerate(name) if isinstance(part, tuple)]
        if level < len(places):
            hole = places[level]
            joined.setdefault((name[:hole], name[hole + 1 :], kind), {})[name, kind] = positions
        else:
            result[name, kind] = positions
    for (before, after, kind), members in joined.items():
        parts = [name[len(before)] for name, _ in members]
        numbers = tuple(sorted({number for part in parts if isinstance(part, tuple) for number in part}))
        result[(*before, numbers, *after), kind] = [position for positions in members.values() for position in positions]
    return result


def _written(part: str | tuple[int, ...]) -> str:
    if isinstance(part, str):
        return part
    if len(part) == 1:
        return str(part[0])
    runs = []
    for _, run in groupby(enumerate(part), key=lambda item: item[1] - item[0]):
        numbers = [number for _, number in run]
        runs.append(f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 2 else ",".join(map(str, numbers)))
    return f"[{','.join(runs)}]"


def listed(names: Sequence[str], at_most: int = 4) -> str:
    """Join folded names, the first few of them, and say how many more there are, and how many they stand for.

    >>> listed(["h.0.bias", "h.1.bias", "head.bias"])
    'h.[0,1].bias, head.bias (3 parameters)'
    """
    folded = [name for name, _ in fold(names)]
    more = f" and {len(folded) - at_most} more" if len(folded) > at_most else ""
    return ", ".join(folded[:at_most]) + more + (f" ({len(names)} parameters)" if len(names) > min(len(folded), at_most) else "")
