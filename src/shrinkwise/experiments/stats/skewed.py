"""A mean with its standard error, and the interval and p that a skewed sample of a few seeds allows.

Student's t covers too little where differences are skewed: at 10 seeds 91 % for lognormal differences with sigma 0.65 and 84 %
with sigma 1, because the long tail was not drawn. The first Cornish-Fisher term of the studentised mean says by how much the end
on the side of the tail must move out. A few seeds show little of a skewness that is there (ten draws from the standard lognormal a
quarter of it, on average), so the term is taken fourfold, and the other end stays where Student's t has it: too few seeds to prove
that a tail is short. ``benchmarks/coverage.py`` measures what this covers, and where it stops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from shrinkwise.experiments.stats.answer import Estimate

LEVEL = 0.95
"""Probability with which every interval is meant to cover."""

_SKEW_SHOWN = 1 / 4
_FEWEST_EQUAL = 5


@dataclass(frozen=True)
class Uncertainty:
    """A mean, and what is known of its sampling distribution.

    Attributes:
        point: The mean.
        per_seed: Variance of one seed's value.
        shared: Variance that more seeds do not take away: of the test rows that they share, of splits that overlap.
        df: Degrees of freedom of the standard error.
        skewness: Skewness of the mean's sampling distribution, as the sample shows it.
        n: Number of seeds.
        method: Where the variance comes from, in a few words.
    """

    point: float
    per_seed: float
    shared: float
    df: float
    skewness: float
    n: int
    method: str

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return math.sqrt(self.per_seed / self.n + self.shared)

    @property
    def why_unknown(self) -> str:
        """Why there is no interval; empty where there is one.

        One seed shows no spread. Nor do seeds that all agree; where the test rows add none either, the interval would have no
        width. Five that agree are evidence all the same: were the median over seeds elsewhere, all five would lie on this side of
        it with a probability of 1/2⁵ at most, which is under 0.05; four would with 1/2⁴, which is not.
        """
        if self.n < 2:
            return "one seed allows no interval"
        return f"{self.n} seeds that agree allow no interval" if self.error == 0 and self.n < _FEWEST_EQUAL else ""

    def interval(self, level: float = LEVEL) -> Estimate:
        """Return the two-sided interval: Student's t, its end on the side of the longer tail moved out.

        The first-order term is that of Johnson (1978, JASA 73, section 2) and Hall (1983, Annals of Statistics 11, section 2): with
        ``a`` the skewness of the mean, the quantile t of the studentised mean becomes ``t + a·(2t² + 1)/6``.

        >>> import dataclasses
        >>> even = Uncertainty(0.0, per_seed=10.0, shared=0.0, df=9, skewness=0.0, n=10, method="")
        >>> skewed = dataclasses.replace(even, skewness=0.3)
        >>> [round(end, 3) for end in (even.interval().low, even.interval().high)]
        [-2.262, 2.262]
        >>> [round(end, 3) for end in (skewed.interval().low, skewed.interval().high)]
        [-2.262, 4.509]
        """
        if self.why_unknown:
            return Estimate(self.point, math.nan, math.nan, level, self.n, self.why_unknown)
        quantile = float(special.stdtrit(self.df, (1 + level) / 2))
        low = self.point - (quantile + self._stretch(-1) * (2 * quantile**2 + 1)) * self.error
        high = self.point + (quantile + self._stretch(+1) * (2 * quantile**2 + 1)) * self.error
        return Estimate(self.point, low, high, level, self.n, f"skewness-corrected t, {self.method}")

    def p(self) -> float:
        """Return the two-sided p of a mean of zero: 1 − the level of the interval that just touches zero.

        >>> mean = Uncertainty(3.0, per_seed=10.0, shared=0.0, df=9, skewness=-0.3, n=10, method="")
        >>> abs(mean.interval(level=1 - mean.p()).low) < 1e-9
        True
        """
        if self.why_unknown:
            return math.nan
        if self.point == 0:
            return 1.0
        if self.error == 0:
            return 0.0
        distance = abs(self.point) / self.error
        stretch = self._stretch(-1 if self.point > 0 else +1)
        # The positive root of stretch·(2t² + 1) + t = distance, written so that a small stretch loses no digits.
        reach = distance - stretch
        quantile = 2 * reach / (1 + math.sqrt(1 + 8 * stretch * reach)) if reach > 0 else 0.0
        return float(2 * special.stdtr(self.df, -quantile))

    def _stretch(self, side: int) -> float:
        """Return the factor of ``2t² + 1`` at the end on ``side`` (−1 low, +1 high)."""
        return max(side * self.skewness, 0.0) / _SKEW_SHOWN / 6
