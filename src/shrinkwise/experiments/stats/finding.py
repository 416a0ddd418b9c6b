"""What one comparison comes to, and how many more seeds would probably decide it."""

from __future__ import annotations

import math

from scipy import special

from shrinkwise.experiments.stats.answer import Estimate, Finding
from shrinkwise.experiments.stats.flips import ALPHA, floor_of_seeds
from shrinkwise.experiments.stats.skewed import LEVEL, Uncertainty

MOST_SEEDS = 1_000
"""Where more seeds than this would be needed, no number is given."""

_POWER = 0.8
_FEWEST_EQUIVALENT = 3


def judge(difference: Estimate, margin: float, *, is_higher_better: bool, p_adjusted: float | None) -> Finding:
    """Say what a difference comes to: equivalent before helps or hurts, however small the p.

    Only an adjusted p shows a help or a harm. An interval shows equivalence without one, from three seeds on: two may agree by
    chance on anything that is counted.

    Args:
        difference: Variant minus base, with its interval.
        margin: Half-width of what counts as equivalent.
        is_higher_better: Whether more of the metric is better.
        p_adjusted: Holm-adjusted p; None where there are too few seeds, or the metric is not the primary one.

    >>> judge(Estimate(0.002, 0.001, 0.003, 0.95, 10, ""), 0.005, is_higher_better=True, p_adjusted=0.01).value
    'equivalent'
    """
    # Comparisons with an end that is NaN are false.
    if difference.n >= _FEWEST_EQUIVALENT and -margin <= difference.low and difference.high <= margin:
        return Finding.EQUIVALENT
    excludes_zero = difference.low > 0 or difference.high < 0
    if not excludes_zero or p_adjusted is None or p_adjusted >= ALPHA:
        return Finding.INCONCLUSIVE
    return Finding.HELPS if (difference.point > 0) == is_higher_better else Finding.HURTS


def seeds_needed(mean: Uncertainty, margin: float, n_comparisons: int) -> int | None:
    """Estimate how many seeds would probably decide: with power 80 %, show an effect as large as the one seen, or equivalence.

    A normal approximation: with n seeds the standard error is ``sqrt(per_seed/n + shared)``; the test needs a difference of
    ``z(1 − 0.05/(2k)) + z(0.8)`` of them, k comparisons in the family, and equivalence a distance from the margin of
    ``z(0.975) + z(0.8)`` of them; whichever needs fewer seeds counts. Skewness is left out, so the number is on the low side.

    Args:
        mean: The mean difference seen.
        margin: Half-width of what counts as equivalent.
        n_comparisons: Comparisons in the family.

    Returns:
        The number of seeds, more than there were and never under the floor of the family; None where even 1,000 would not do.

    >>> seeds_needed(Uncertainty(1.0, per_seed=4.0, shared=0.0, df=9, skewness=0, n=10, method=""), 0.0, 1)   # (1.96 + 0.84)² · 4
    32
    """
    power = float(special.ndtri(_POWER))
    effect = abs(mean.point) / (float(special.ndtri(1 - ALPHA / (2 * n_comparisons))) + power)
    equivalence = (margin - abs(mean.point)) / (float(special.ndtri((1 + LEVEL) / 2)) + power)
    room = max(effect, equivalence) ** 2 - mean.shared
    if room <= 0 or mean.per_seed / room > MOST_SEEDS:
        return None
    return max(math.ceil(mean.per_seed / room), mean.n + 1, floor_of_seeds(n_comparisons))
