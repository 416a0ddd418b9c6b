"""Globs of dotted names, in which ``[0-11]`` stands for the whole numbers from 0 to 11, as listings print repeated layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate

# One number alone, [12], is left to the shell, to which it is the character 1 or 2.
_NUMBERS = re.compile(r"\[((?=[^\]]*[-,])[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*)\]")
_MEANT_AS_NUMBERS = re.compile(r"\[[^\]]*(?:[0-9]{2}-|-[0-9]{2})[^\]]*\]")


def glob(pattern: str, names: Iterable[str]) -> Callable[[str], object]:
    """Return what tells whether a name matches: as in a shell, ``*`` crossing dots, but for lists and ranges of numbers.

    Args:
        pattern: The glob.
        names: All names that will be asked about; they bound what a range such as ``[12-9999]`` is written out to.

    >>> matches = glob("layer.[0-3,10-11].*", ["layer.11.weight"])
    >>> [bool(matches(f"layer.{i}.weight")) for i in (1, 5, 10, 110)]
    [True, False, True, False]
    """
    most = max((int(digits) for name in names for digits in re.findall("[0-9]+", name)), default=0)
    pieces = _NUMBERS.split(pattern)
    # A translation ends with an anchor of two characters, which only the whole needs.
    return re.compile(
        "".join(_written_out(piece, most) if i % 2 else translate(piece)[:-2] for i, piece in enumerate(pieces))
    ).fullmatch


def misread_in(pattern: str) -> str | None:
    """Return a part that looks like a range of numbers and is a set of single characters to a shell; None where there is none.

    >>> misread_in("layer.[!0-11]"), misread_in("layer.[0-11]")
    ('[!0-11]', None)
    """
    found = _MEANT_AS_NUMBERS.search(_NUMBERS.sub("", pattern))
    return found[0] if found else None


def _written_out(ranges: str, most: int) -> str:
    bounds = [[int(bound) for bound in part.split("-")] for part in ranges.split(",")]
    numbers = sorted({number for part in bounds for number in range(part[0], min(part[-1], most) + 1)})
    return f"(?:{'|'.join(map(str, numbers))})" if numbers else "(?!)"
