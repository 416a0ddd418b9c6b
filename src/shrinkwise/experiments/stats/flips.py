"""The sign-flip test of paired differences, Holm's adjustment for many of them, and how few seeds allow neither."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ALPHA = 0.05
"""Probability, under no effect, with which a condition may say of any variant that it helps or hurts."""

_MOST_EXACT = 16
_N_RANDOM = 9_999


def sign_flip_p(differences: np.ndarray, generator: np.random.Generator) -> float:
    """Return the two-sided p of the paired sign-flip test on the mean; exact up to 16 pairs, by random flips beyond.

    Args:
        differences: Paired differences, shape ``(n,)``.
        generator: Draws the random flips; untouched up to 16 pairs.

    >>> sign_flip_p(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), np.random.default_rng(0)) == 2 / 2**6
    True
    """
    n = len(differences)
    # SciPy's permutation_test gives the same p and takes 60 times as long; the tests hold the two together.
    is_exact = n <= _MOST_EXACT
    signs = _all_signs(n) if is_exact else generator.choice([-1.0, 1.0], size=(_N_RANDOM, n))
    # The tolerance counts as a tie what differs by rounding alone.
    as_far = np.abs(signs @ differences) >= abs(float(np.sum(differences))) * (1 - 1e-12)
    # Random flips leave out the one that was seen; counting it keeps a p from being zero.
    return float(np.mean(as_far)) if is_exact else (1 + int(np.sum(as_far))) / (1 + _N_RANDOM)


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust the p values of one family by Holm's step-down method (1979, Scandinavian Journal of Statistics 6).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    adjusted = [1.0] * len(ps)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        least = max(least, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = least
    return adjusted


def floor_of_seeds(n_comparisons: int) -> int:
    """Return the fewest seeds with which one of so many comparisons could fall under 0.05: ``n_comparisons · 2/2ⁿ < 0.05``.

    >>> [floor_of_seeds(k) for k in (1, 4, 7, 28)]
    [6, 8, 9, 11]
    """
    n = 1
    while n_comparisons * 2 / 2**n >= ALPHA:
        n += 1
    return n


def _all_signs(n: int) -> np.ndarray:
    """Return every way to flip n signs, shape ``(2**n, n)``."""
    return 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
