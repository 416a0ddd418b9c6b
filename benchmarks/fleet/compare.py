"""From timings to ratios, and from outcomes to whether two peers did the same work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fleet.contestants import CONTESTANTS, OURS, PEERS
from fleet.measure import FINAL
from scipy.stats import binom

LEVEL = 0.95
BANDS = {"same": (0.02, 0.003), "dropout": (0.10, 0.01), "other start": (0.25, 0.02)}
"""How far means over runs may lie apart: loss as a share of ours, accuracy in shares of rows.

``same``: same start, same batches, no dropout, so rounding alone parts them. ``dropout``: masks of their own. ``other start``:
weights, batches and splits of their own.
"""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Compared:
    """A peer beside Shrinkwise on one workload.

    Attributes:
        size: Name of the size.
        n_runs: Number of runs.
        peer: Who.
        mode: The mode in which it was fastest.
        seconds: Its median time.
        us_per_step: Microseconds for each step of each run, everything included.
        ratio: Median over rounds of our time by its time within the round.
        low: Lower end of the interval of that median; ``high`` the upper one.
        level: What the interval covers.
        n_rounds: Rounds in which both were timed.
        differences: In words, where the outcomes lie apart; empty where they agree, None where nothing was measured by both.
    """

    size: str
    n_runs: int
    peer: str
    mode: str
    seconds: float
    us_per_step: float
    ratio: float
    low: float
    high: float
    level: float
    n_rounds: int
    differences: tuple[str, ...] | None


def compared(rows: Iterable[Row]) -> list[Compared]:
    """Set every peer in its best mode beside Shrinkwise, workload by workload."""
    table: dict[tuple[str, int], dict[str, dict[int, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        table[row["size"], row["n_runs"]][row["contestant"]][row["round"]] = row
    found = []
    for (size, n_runs), by_name in table.items():
        ours = _best(by_name, OURS)
        for peer in PEERS:
            name = _best(by_name, peer)
            if ours is not None and name is not None:
                found.append(_beside(size, n_runs, by_name[ours], by_name[name]))
    return found


def median_interval(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Return a median, its interval by order statistics, and what that covers, whatever the distribution.

    The interval is the narrowest that covers 95 %, or all that was seen where so few values cannot reach that.

    >>> median_interval([3.0, 1.0, 2.0])
    (2.0, 1.0, 3.0, 0.75)
    """
    ordered, n = np.sort(values), len(values)
    covers = {k: float(1 - 2 * binom.cdf(k, n, 0.5)) for k in range((n + 1) // 2)}
    k = max((k for k, level in covers.items() if level >= LEVEL), default=0)
    return float(np.median(ordered)), float(ordered[k]), float(ordered[n - 1 - k]), covers[k]


def differences(ours: Row, other: Row) -> tuple[str, ...] | None:
    """Say where the outcomes of two contestants lie farther apart than :data:`BANDS` allows; None if nothing is compared."""
    contestant = next(each for each in CONTESTANTS if each.name == other["contestant"])
    said, n_compared = [], 0
    for has_dropout in (False, True):
        mine, theirs = _means(ours["runs"], has_dropout), _means(other["runs"], has_dropout)
        band = "other start" if not contestant.is_same_start else "dropout" if has_dropout else "same"
        for name in sorted(mine.keys() & theirs.keys()):
            apart = abs(theirs[name] - mine[name])
            n_compared += 1
            limit = BANDS[band][0] * abs(mine[name]) if name.endswith("loss") else BANDS[band][1]
            # A comparison with NaN is false: an outcome that is no number is a difference.
            if not apart <= limit:
                who = "with" if has_dropout else "without"
                said.append(f"{name.replace('_', ' ')} {theirs[name]:.4g}, ours {mine[name]:.4g} ({who} dropout)")
    return tuple(said) if n_compared else None


def _best(by_name: Mapping[str, Mapping[int, Row]], peer: str) -> str | None:
    """Return the mode of a peer whose median time is least, of those that were timed most often."""
    names = [each.name for each in CONTESTANTS if each.peer == peer and each.name in by_name]
    most = max((len(by_name[name]) for name in names), default=0)
    often = [name for name in names if len(by_name[name]) == most]
    return min(often, key=lambda name: _median(by_name[name]), default=None)


def _beside(size: str, n_runs: int, ours: Mapping[int, Row], theirs: Mapping[int, Row]) -> Compared:
    shared = sorted(ours.keys() & theirs.keys())
    any_row = next(iter(theirs.values()))
    peer, mode = any_row["contestant"].split(":", 1)
    ratio = median_interval([ours[k]["seconds"] / theirs[k]["seconds"] for k in shared]) if shared else (float("nan"),) * 4
    seconds = _median(theirs)
    per_step = 1e6 * seconds / (n_runs * any_row["steps"])
    said = differences(next(iter(ours.values())), any_row)
    return Compared(size, n_runs, peer, mode, seconds, per_step, *ratio, len(shared), said)


def _median(rounds: Mapping[int, Row]) -> float:
    return float(np.median([row["seconds"] for row in rounds.values()]))


def _means(runs: Sequence[Sequence[Any]], has_dropout: bool) -> dict[str, float]:
    """Return the mean over runs of each metric that all of them have."""
    chosen = [dict(zip(FINAL, run, strict=True)) for run in runs]
    chosen = [run for run in chosen if bool(run["dropout"]) == has_dropout]
    names = [name for name in FINAL[3:] if chosen and all(run[name] is not None for run in chosen)]
    return {name: float(np.mean([run[name] for run in chosen])) for name in names}
