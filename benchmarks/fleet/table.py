"""The table that people read."""

from __future__ import annotations

import math
from collections.abc import Iterable

from fleet.compare import Compared
from fleet.contestants import OURS

_HEAD = (
    "| size | runs | peer | best mode | median, s | µs a step of a run | Shrinkwise / peer | rounds | outcomes |",
    "|---|---|---|---|---|---|---|---|---|",
)


def table(found: Iterable[Compared]) -> str:
    """Return a Markdown table, a row for each peer on each workload; a ratio below 1 means that Shrinkwise is faster."""
    return "\n".join([*_HEAD, *map(_line, found)]) + "\n"


def _line(row: Compared) -> str:
    own = row.peer == OURS
    interval = f"{row.ratio:.2f} [{row.low:.2f}, {row.high:.2f}] ({row.level:.0%})"
    ratio = "" if own else "not in one round" if math.isnan(row.ratio) else interval
    outcomes = "nothing in common" if row.differences is None else "agree"
    if row.differences:
        outcomes = "**differ**: " + "; ".join(row.differences)
    cells = (
        row.size,
        row.n_runs,
        row.peer,
        row.mode,
        f"{row.seconds:.2f}",
        f"{row.us_per_step:.0f}",
        ratio,
        row.n_rounds,
        outcomes,
    )
    return f"| {' | '.join(map(str, cells))} |"
