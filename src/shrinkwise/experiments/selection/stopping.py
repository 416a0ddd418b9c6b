"""When looking on would not pay."""

from __future__ import annotations

import enum

from shrinkwise.experiments.records import Variant
from shrinkwise.experiments.selection.belief import Belief

_NARROW = 0.5
"""Width of the interval, in decades, under which a search may end."""
_LEAST_RUNS = 9
_REGRET_SHARE = 0.1
"""Share of the margin that may still be lost on average when a search ends."""


class Stop(enum.Enum):
    """Why a search ended before its budget was spent."""

    NOTHING_TO_GAIN = "nothing beyond the margin is left to gain over the default"
    NARROW = "the interval is narrow"


def why_stop(belief: Belief, default: Variant) -> Stop | None:
    """Return why a search may end here, or None.

    Args:
        belief: What the runs say.
        default: What is kept where nothing is to be gained.
    """
    if belief.n_runs < _LEAST_RUNS:
        return None
    if belief.most_to_gain(belief.index(default)) < belief.margin:
        return Stop.NOTHING_TO_GAIN
    if belief.width() <= _NARROW and belief.posterior.regret(belief.best) < _REGRET_SHARE * belief.margin:
        return Stop.NARROW
    return None
