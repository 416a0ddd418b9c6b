"""What the runs so far say of every setting that may be chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shrinkwise.experiments.records import Setting, Status, Variant
from shrinkwise.experiments.selection.choice import CurvePoint, Seen
from shrinkwise.experiments.selection.curve import Posterior, fit, is_bounded
from shrinkwise.experiments.selection.space import Space
from shrinkwise.experiments.stats.margin import Margin

_TAIL = 0.05
"""Share of the belief on each side of the interval of the best λ."""


@dataclass(frozen=True)
class Scale:
    """Reads losses so that differences add up: their logarithm, or, where some are not positive, a share of their spread.

    That share is of ten margins at least: what is cut as hopelessly bad must never be as near as what counts as the same.

    Attributes:
        is_log: Which of the two.
        unit: What one stands for, in the metric's own unit, where it is not the logarithm.
        level: How large a loss commonly is.
    """

    is_log: bool
    unit: float = 1.0
    level: float = 1.0

    @staticmethod
    def of(losses: npt.NDArray[np.float64], margin: Margin) -> Scale:
        """Choose the scale for the losses that were seen."""
        low, high = map(float, np.quantile(losses, [0.0, 0.5]))
        if low > 0:
            return Scale(is_log=True, level=high)
        unit = max(2 * (high - low), 10 * margin.width(abs(high)))
        return Scale(is_log=False, unit=unit or 1.0, level=abs(high))

    def read(self, losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return losses on the additive scale."""
        return np.log(losses) if self.is_log else losses / self.unit

    def write(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return values of the additive scale as losses."""
        return np.exp(values) if self.is_log else values * self.unit

    def width(self, margin: Margin) -> float:
        """Return a margin on the additive scale."""
        return margin.width(self.level) / (self.level if self.is_log else self.unit)


@dataclass(frozen=True)
class Belief:
    """What is believed of the loss at every setting.

    Attributes:
        space: What may be chosen; ``variants`` are its settings in order.
        posterior: The curve at those settings.
        scale: How losses are read.
        n_runs: Number of runs behind it.
        margin: What counts as no difference, on the additive scale.
        cut: Settings of runs so far above the best of their seed that how far is not looked at.
    """

    space: Space
    variants: list[Variant]
    posterior: Posterior
    scale: Scale
    n_runs: int
    margin: float
    cut: frozenset[Variant] = frozenset()

    @property
    def best(self) -> int:
        """Which setting has the least expected loss."""
        return self.posterior.best

    def index(self, variant: Variant) -> int:
        """Return the place of a variant among the settings."""
        return self.variants.index(variant)

    def lam(self, setting: int) -> float:
        """Return λ of a setting, in the user's unit."""
        return self.space.lam_of(self.variants[setting])

    def interval(self, chosen: int | None = None) -> tuple[float, float]:
        """Return the 90 % interval of the best λ, in the user's unit, half a step wider on each side.

        Where no penalty at all lies within it, its lower end is 0.

        Args:
            chosen: A setting that must lie within it; the best one if left out.
        """
        lams = np.array([self.lam(int(setting)) for setting in self.posterior.best_of_draws()])
        low, high = np.quantile(lams, [_TAIL, 1 - _TAIL], method="nearest")
        within = self.lam(self.best if chosen is None else chosen)
        half = 10 ** (self.space.step / 2)
        least, most = float(min(low, within)) / half, float(max(high, within)) * half
        if not self.space.may_grow(up=False) and least > 0:
            least = max(least, min(self.space.low, within))
        if not self.space.may_grow(up=True):
            most = min(most, max(self.space.high, within))
        return least, most

    def width(self) -> float:
        """Return the width of the interval in decades, none counting as a decade under the range's lower end."""
        low, high = self.interval()
        least = self.space.low / 10
        return math.log10(max(high, least)) - math.log10(max(low, least))

    def gain(self, setting: int, over: int) -> tuple[float, float, float]:
        """Return how much less the loss is than at another setting: its mean and the ends of its 90 % interval.

        As a share of the loss where losses are read by their logarithm, else in units of their spread.
        """
        gains = self.posterior.draws[:, over] - self.posterior.draws[:, setting]
        low, high = np.quantile(gains, [_TAIL, 1 - _TAIL])
        return float(gains.mean()), float(low), float(high)

    def most_to_gain(self, over: int) -> float:
        """Return the end of the 95 % range of what any setting may gain over this one, on the additive scale."""
        draws = self.posterior.draws
        return float(np.quantile(draws[:, over] - draws.min(axis=1), 1 - _TAIL))

    def likely_best(self, free: Sequence[int], rng: np.random.Generator) -> int:
        """Draw one of some settings as often as each is believed to be the best of them (Thompson, 1933)."""
        draw = self.posterior.draws[rng.integers(len(self.posterior.draws))]
        return min(free, key=lambda setting: float(draw[setting]))

    def most_improving(self, free: Sequence[int]) -> int:
        """Return the one of some settings that is expected to improve most on the best so far (Mockus, 1975)."""
        draws = self.posterior.draws
        better = np.maximum(draws[:, [self.best]] - draws[:, list(free)], 0.0).mean(axis=0)
        return free[int(better.argmax())]

    def curve(self, others: dict[str, Setting]) -> tuple[CurvePoint, ...]:
        """Return the expected loss by rising λ, for one combination of other settings."""
        at = [self.index(self.space.variant(lam, **others)) for lam in self.space.lams()]
        low, high = self.posterior.band()
        # On the log scale the mean over seeds is a geometric one; what is shown is the mean that people compute.
        effects = self.posterior.seed_effects
        factor = float(np.exp(effects).mean()) if self.scale.is_log else 1.0
        ends = [self.scale.write(values[at]) * factor for values in (self.posterior.mean, low, high)]
        return tuple(CurvePoint(self.lam(setting), *map(float, values)) for setting, *values in zip(at, *ends, strict=True))


def believe(space: Space, seen: Sequence[Seen], margin: Margin, rng: np.random.Generator) -> Belief | None:
    """Return what the runs say, or None where none of them ended well.

    A failed run says nothing of its own setting, and one that diverged, or that stopped because it had collapsed, only that it is
    worse than whatever is worth looking at; of a seed none of whose runs ended well not even that is known, since there is nothing
    to compare it with. Where runs ended badly and none ended well at as strong a penalty or a stronger one, all such penalties are
    taken to be hopeless.

    Args:
        space: What may be chosen; every run's setting is one of it.
        seen: The runs so far.
        margin: What counts as no difference.
        rng: Where draws come from.
    """
    variants = space.variants()
    levelled = {run.seed for run in seen if math.isfinite(run.loss)}
    runs = [run for run in seen if run.status is not Status.FAILED and run.seed in levelled]
    losses = np.array([run.loss if run.status is Status.DONE else math.nan for run in runs])
    good = losses[np.isfinite(losses)]
    if not len(good):
        return None
    scale = Scale.of(good, margin)
    y = np.where(np.isfinite(losses), scale.read(np.where(np.isfinite(losses), losses, good.max())), np.inf)
    numbers = {seed: number for number, seed in enumerate(dict.fromkeys(run.seed for run in runs))}
    seeds = np.array([numbers[run.seed] for run in runs])
    posterior = fit(
        np.array([space.lam_of(run.variant) for run in runs]),
        seeds,
        y,
        at=np.array([space.lam_of(variant) for variant in variants]),
        others=space.coordinates([run.variant for run in runs]),
        at_others=space.coordinates(variants),
        floors=space.floors(),
        rng=rng,
    )
    hopeless = _hopeless(space, variants, seen)
    cut = frozenset(run.variant for run, is_cut in zip(runs, is_bounded(y, seeds), strict=True) if is_cut)
    return Belief(space, variants, posterior.without(hopeless), scale, len(runs), scale.width(margin), cut)


def _hopeless(space: Space, variants: Sequence[Variant], seen: Sequence[Seen]) -> npt.NDArray[np.bool_]:
    """Say which settings lie where runs ended badly and none as strong, at the same other settings, ended well."""
    found = np.zeros(len(variants), dtype=bool)
    for others in space.combinations():
        here = [run for run in seen if all(run.variant[name] == value for name, value in others.items())]
        reach = max((space.lam_of(run.variant) for run in here if not run.is_bad), default=-1.0)
        beyond = [space.lam_of(run.variant) for run in here if run.is_bad and space.lam_of(run.variant) > reach]
        if beyond:
            found |= [
                space.lam_of(variant) >= min(beyond) and all(variant[name] == value for name, value in others.items())
                for variant in variants
            ]
    return found
