"""Simulated experiments whose truth is known; used by the tests of the statistics and by ``benchmarks/coverage.py``.

Three kinds: seeds that are independent (normal or lognormal differences), seeds that each split one finite data set anew, and seeds
that are all tested on one fixed set of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shrinkwise.experiments.stats.skewed import Uncertainty
from shrinkwise.experiments.stats.uncertainty import TestRows, seeds_alone

WITHIN = (0.92, 0.98)
"""What a 95 % interval may cover in 2,000 experiments."""


def normal(rng, n):
    """Differences with mean 0."""
    return rng.standard_normal(n)


def lognormal(sigma):
    """Draw lognormal differences, shifted to mean 0."""
    return lambda rng, n: rng.lognormal(0.0, sigma, n) - np.exp(sigma**2 / 2)


def covers(uncertainty: Uncertainty, truth: float) -> bool:
    interval = uncertainty.interval()
    return bool(interval.low <= truth <= interval.high)


def share_covered(draw, n_seeds, n_experiments, seed, method=seeds_alone):
    """Share of experiments with independent seeds whose interval covers the mean of 0."""
    rng = np.random.default_rng(seed)
    return np.mean([covers(method(draw(rng, n_seeds)), 0.0) for _ in range(n_experiments)])


@dataclass(frozen=True)
class World:
    """Two classes with normal features, a linear truth with noise, and linear scorers whose quality has a closed form.

    Attributes:
        beta: The true weights, shape ``(n_features,)``.
        noise: Standard deviation of what is added before the sign is taken.
    """

    beta: np.ndarray
    noise: float = 1.0

    def draw(self, rng, n):
        x = rng.standard_normal((n, len(self.beta)))
        return x, np.where(x @ self.beta + self.noise * rng.standard_normal(n) > 0, 1.0, -1.0)

    def truth(self, weights):
        """Return accuracy and mean squared error on new rows, of weights of shape ``(..., n_features)``."""
        scale = np.sqrt(self.beta @ self.beta + self.noise**2)
        inner, square = weights @ self.beta, np.sum(weights**2, axis=-1)
        angle = np.divide(inner, scale * np.sqrt(square), out=np.zeros_like(inner), where=square > 0)
        return 1 - np.arccos(np.clip(angle, -1, 1)) / np.pi, square + 1 - 2 * np.sqrt(2 / np.pi) * inner / scale


def by_row(weights, x, y):
    """Return accuracy and squared error of each row, each of shape ``(n_weights, n_rows)``; a score of zero is half right."""
    score = weights @ x.T
    return (np.sign(score * y) + 1) / 2, (score - y) ** 2


def ridge(x, y, lams):
    """Return the ridge weights for each strength, shape ``(n_lams, n_features)``; infinity gives zero weights."""
    gram, target = x.T @ x / len(x), x.T @ y / len(x)
    return np.stack([0 * target if np.isinf(lam) else np.linalg.solve(gram + lam * np.eye(len(target)), target) for lam in lams])


@dataclass(frozen=True)
class Tested:
    """One experiment: accuracy and squared error of each scorer on each test row, seed by seed.

    Attributes:
        outcomes: One array a seed, shape ``(metric, scorer, row)``.
        rows: One array a seed: which rows these are.
        truth: Mean over the seeds of what the scorers are worth on new rows, shape ``(metric, scorer)``.
    """

    outcomes: list[np.ndarray]
    rows: list[np.ndarray]
    truth: np.ndarray

    def difference(self, metric, ours=1, base=0):
        """Return the paired differences, shape ``(n_seeds,)``, and the same row by row."""
        differences = [outcome[metric, ours] - outcome[metric, base] for outcome in self.outcomes]
        return np.array([difference.mean() for difference in differences]), TestRows(differences, self.rows)


def resampled(world, rng, n_rows, fit, n_seeds=10):
    """Split one data set of ``n_rows`` anew for each seed, 60/20/20, train on the first part and test on the last."""
    x, y = world.draw(rng, n_rows)
    n_train, n_test = 3 * n_rows // 5, n_rows // 5
    outcomes, rows, truths = [], [], []
    for _ in range(n_seeds):
        order = rng.permutation(n_rows)
        weights = fit(x[order[:n_train]], y[order[:n_train]])
        rows.append(order[-n_test:])
        outcomes.append(np.stack(by_row(weights, x[rows[-1]], y[rows[-1]])))
        truths.append(np.stack(world.truth(weights)))
    return Tested(outcomes, rows, np.mean(truths, axis=0))


def fixed_test(world, rng, n_train, n_test, fit, n_seeds=10):
    """Draw training rows anew for each seed, and test all seeds on the same rows."""
    x_test, y_test = world.draw(rng, n_test)
    outcomes, truths = [], []
    for _ in range(n_seeds):
        weights = fit(*world.draw(rng, n_train))
        outcomes.append(np.stack(by_row(weights, x_test, y_test)))
        truths.append(np.stack(world.truth(weights)))
    return Tested(outcomes, [np.arange(n_test)] * n_seeds, np.mean(truths, axis=0))


def leave_one_out(x, y):
    """Fit one scorer for each feature that it may not see.

    Where all true weights are equal no scorer is better than another; on one finite data set each is, by the luck of the rows.
    """
    gram, target = x.T @ x / len(x) + 1e-3 * np.eye(x.shape[1]), x.T @ y / len(x)
    d = len(target)
    keep = np.array([[j for j in range(d) if j != left] for left in range(8)])
    solved = np.linalg.solve(gram[keep[:, :, None], keep[:, None, :]], target[keep][..., None])[..., 0]
    weights = np.zeros((8, d))
    np.put_along_axis(weights, keep, solved, axis=1)
    return weights


def shares(experiments, methods):
    """Return method -> (share covered for accuracy, for squared error); the truth is the mean over all data sets."""
    truth = np.mean([tested.truth for tested in experiments], axis=0)
    gain = truth[:, 1] - truth[:, 0]

    def share(method, metric):
        return float(np.mean([covers(method(*tested.difference(metric)), gain[metric]) for tested in experiments]))

    return {name: (share(method, 0), share(method, 1)) for name, method in methods.items()}
