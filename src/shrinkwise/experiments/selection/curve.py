"""One smooth curve of the loss over log λ, shared by all seeds, with an effect for each seed.

The loss of a run at setting x with seed s is modelled, on a scale on which differences add up (the logarithm, for losses), as

    f(x) + a_s + g_s(x) + e

f, the curve: a Gaussian process with a Matérn-5/2 covariance over log(1 + λ/λ₀), since what a penalty does is in proportion to its
strength where that is small: below some λ₀ all are alike, and like none at all; far above it the scale is that of log λ. a_s, how
hard the seed's rows are: what all its settings share, with a wide prior, so that only differences within a seed speak. g_s, how the
seed's own curve departs from the common one: a smaller process of the same shape. e: what remains, such as the chaos of training.
λ₀, lengths and sizes are not fitted but averaged over a grid of values by their likelihood, so that a handful of runs is not taken
for more than it is (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapters 2 and 5).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Sizes(NamedTuple):
    """One set of lengths and sizes.

    Attributes:
        length: Over which length the curve keeps a shape, in units of the coordinates: decades, for λ.
        curve: Standard deviation of the curve, over the spread of the data.
        seed: Of a seed's own departure, over that of the curve.
        noise: Of what remains, over the spread of the data.
    """

    length: float
    curve: float
    seed: float
    noise: float

    @property
    def variances(self) -> tuple[float, float]:
        """Variance of the curve, and of a seed's own departure from it."""
        return self.curve**2, (self.curve * self.seed) ** 2


_SIZES = list(itertools.product((0.6, 1.0, 1.8), (0.1, 0.5, 1.0, 2.0, 4.0), (0.02, 0.15, 0.4), (0.02, 0.07, 0.2, 0.6, 1.1)))
"""The sets that are averaged over, in the order of :class:`Sizes`; a flat curve under much noise is among them."""
_SEED_EFFECT = 10.0
"""Standard deviation of a seed's effect, over the spread of the data: wide, so that it is free."""
WORST = 0.7
"""How far above the best of its seed a loss is looked at: twice the best and worse are alike, no good."""
_LEAST_SPREAD = 1e-6
_LEAST_WEIGHT = 1e-3
_DRAWS_EACH = 8
"""Draws that are taken together from one set of sizes: each set that is drawn from costs a decomposition."""


@dataclass(frozen=True)
class Posterior:
    """What is believed of the curve at some settings, once runs were seen.

    Attributes:
        mean: Expected value at each setting, on the additive scale, at the level of the seeds that were used, shape ``(setting,)``.
        draws: Curves that agree with what was seen, shape ``(draw, setting)``, likewise.
        seed_effects: How each seed lies above their average, shape ``(seed,)``.
    """

    mean: Floats
    draws: Floats
    seed_effects: Floats

    @property
    def best(self) -> int:
        """Which setting has the least expected value."""
        return int(self.mean.argmin())

    def best_of_draws(self) -> Ints:
        """Return which setting is the best of each draw, shape ``(draw,)``."""
        best: Ints = self.draws.argmin(axis=1)
        return best

    def without(self, hopeless: Bools) -> Posterior:
        """Return the same belief with some settings as bad as is looked at, or worse: none of them is the best any more."""
        if not hopeless.any() or hopeless.all():
            return self
        mean, draws = self.mean.copy(), self.draws.copy()
        mean[hopeless] = np.maximum(mean[hopeless], mean[~hopeless].min() + WORST)
        draws[:, hopeless] = np.maximum(draws[:, hopeless], draws[:, ~hopeless].min(axis=1, keepdims=True) + WORST)
        return replace(self, mean=mean, draws=draws)

    def regret(self, setting: int) -> float:
        """Return how much is lost on average by this setting against the best one."""
        return float((self.draws[:, setting] - self.draws.min(axis=1)).mean())

    def band(self) -> tuple[Floats, Floats]:
        """Return the ends of the pointwise 95 % band, each of shape ``(setting,)``."""
        low, high = np.quantile(self.draws, [0.025, 0.975], axis=0)
        return low, high


def fit(  # noqa: PLR0913  two tables of settings, what was seen, and where draws come from
    lams: Floats,
    seeds: Ints,
    y: Floats,
    *,
    at: Floats,
    others: Floats,
    at_others: Floats,
    floors: Sequence[float],
    rng: np.random.Generator,
    n_draws: int = 512,
) -> Posterior:
    """Return what the runs say of the curve.

    Args:
        lams: λ of each run, shape ``(run,)``.
        seeds: Seed of each run, numbered from 0, shape ``(run,)``.
        y: Loss of each run on the additive scale, shape ``(run,)``; infinite for a run that diverged.
        at: λ of the settings that are asked about, shape ``(setting,)``.
        others: What else each run was set to, shape ``(run, axis)``: one apart is about as far as curves keep a shape.
        at_others: Likewise for the settings, shape ``(setting, axis)``.
        floors: Strengths below which all penalties may be alike.
        rng: Where draws come from.
        n_draws: Number of draws.
    """
    y = _bounded(y, seeds)
    own = np.eye(int(seeds.max()) + 1)[seeds]
    centre = own.T @ y / own.sum(axis=0)
    spread = max(float(np.std(y - centre[seeds])), _LEAST_SPREAD)
    # Each seed's own level is taken out beforehand: the prior of its effect is wide, but not wide against levels that lie a
    # thousand spreads apart, as where λ does nothing; the curve would then bend to explain a part of them.
    z = (y - centre[seeds]) / spread
    offset = float(centre.mean())
    fits = []
    for floor in floors:
        x, asked = (np.column_stack([np.log10(1 + lam / floor), rest]) for lam, rest in ((lams, others), (at, at_others)))
        fits += [_Fit.of(x, asked, own, z, Sizes(*each)) for each in _SIZES]
    evidence = np.array([fit.log_likelihood for fit in fits])
    weights = np.exp(evidence - evidence.max())
    kept = np.flatnonzero(weights > _LEAST_WEIGHT * weights.sum())
    shares = weights[kept] / weights[kept].sum()
    counts = _DRAWS_EACH * rng.multinomial(n_draws // _DRAWS_EACH, shares)
    means, draws, effects = zip(*(fits[k].posterior(n, rng) for k, n in zip(kept, counts, strict=True)), strict=True)
    mean, effect = (np.average(each, axis=0, weights=shares) for each in (means, effects))
    return Posterior(offset + spread * mean, offset + spread * np.concatenate(draws), spread * effect + centre - offset)


@dataclass(frozen=True)
class _Fit:
    """The runs under one set of sizes.

    Attributes:
        x: Warped settings of the runs; ``asked``: of the settings that are asked about.
        own: Which seed a run has, shape ``(run, seed)``.
        sizes: Lengths and sizes.
        factor: Cholesky factor of the runs' covariance.
        whitened: Losses in its terms.
    """

    x: Floats
    asked: Floats
    own: Floats
    sizes: Sizes
    factor: Floats
    whitened: Floats

    @staticmethod
    def of(x: Floats, asked: Floats, own: Floats, z: Floats, sizes: Sizes) -> _Fit:
        shape = _matern(x, x, sizes.length)
        curve, departure = sizes.variances
        covariance = curve * shape + (own @ own.T) * (departure * shape + _SEED_EFFECT**2) + sizes.noise**2 * np.eye(len(z))
        factor = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
        return _Fit(x, asked, own, sizes, factor, np.asarray(np.linalg.solve(factor, z), dtype=np.float64))

    @property
    def log_likelihood(self) -> float:
        """Logarithm of the likelihood of the runs, up to a constant."""
        return float(-0.5 * self.whitened @ self.whitened - np.log(np.diag(self.factor)).sum())

    def posterior(self, n_draws: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        """Return the expected curve, draws of it, and the effect of each seed."""
        n_seeds = self.own.shape[1]
        curve, effect = self.sizes.variances[0], _SEED_EFFECT**2
        cross = _matern(self.asked, self.x, self.sizes.length)
        # Asked about is the common curve, as new seeds would follow it, at the average level of these seeds, which drops out of
        # every difference.
        half = np.linalg.solve(self.factor, (curve * cross + effect / n_seeds).T)
        mean = half.T @ self.whitened
        draws = np.zeros((0, len(mean)))
        if n_draws:
            within = _matern(self.asked, self.asked, self.sizes.length)
            values, vectors = np.linalg.eigh(curve * within + effect / n_seeds - half.T @ half)
            draws = mean + rng.standard_normal((n_draws, len(mean))) @ (vectors * np.sqrt(np.maximum(values, 0))).T
        effects = effect * self.own.T @ np.linalg.solve(self.factor.T, self.whitened)
        return mean, draws, effects - effects.mean()


def _matern(a: Floats, b: Floats, length: float) -> Floats:
    """Return the Matérn-5/2 correlation between settings."""
    r = np.sqrt(5.0) * np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=-1)) / length
    correlation: Floats = (1 + r + r**2 / 3) * np.exp(-r)
    return correlation


def is_bounded(y: Floats, seeds: Ints) -> Bools:
    """Say which losses lie so far above the best of their seed that how far is not looked at, shape ``(run,)``."""
    return y > _bounded(y, seeds)


def _bounded(y: Floats, seeds: Ints) -> Floats:
    """Cut every loss at a fixed height above the best of its seed: how bad a bad λ is must not bend the curve where it is good."""
    best = np.array([y[seeds == seed].min() for seed in range(int(seeds.max()) + 1)])
    best[~np.isfinite(best)] = np.median(best[np.isfinite(best)])
    bounded: Floats = np.minimum(y, best[seeds] + WORST)
    return bounded
