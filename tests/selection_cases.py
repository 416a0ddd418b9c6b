"""Made-up trainings with a known curve: what the tests of selection choose λ on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from shrinkwise.experiments.records import Condition, Outcome, Record, RunKey, Status
from shrinkwise.experiments.selection import Objective, Space
from shrinkwise.experiments.selection.belief import believe
from shrinkwise.seeding import numpy_generator

LOSS = Objective()
CONDITION = Condition()
NO_ROWS = np.zeros(0, dtype=np.int64)


def record_of(key, loss=math.nan, *, status=Status.DONE, collapsed=False, metric="loss", best_val=None, n_train=100, epochs=1):
    """Return a record as small as can be, with one validation metric."""
    is_done = status is Status.DONE
    return Record(
        key=key,
        status=status,
        lam=0.0,
        n_train=n_train,
        n_val=10,
        n_test=0,
        curves={"train_loss": (float(collapsed),) * epochs},
        weight_norms={},
        constant_loss=1.0,
        last=Outcome(epoch=epochs, val={metric: loss}, test={}) if is_done else None,
        best_val=None if best_val is None else Outcome(epoch=1, val={metric: best_val}, test={}),
        test_rows=NO_ROWS,
        seconds=0.5,
        threads=1,
    )


# Shapes: share of the loss over the least one, on the log scale, by log10 of λ; the range of a space is 1e-6 to 1.
def basin(at=-2.5, width=1.0, depth=0.3):
    """Falls towards one λ and rises beyond it; far from it on both sides it is level."""
    return lambda lam: depth * (1 - math.exp(-0.5 * ((_log(lam) - at) / width) ** 2))


def flat_left(at=-1.5, gain=0.0, steep=0.5):
    """Level where λ is weak, rises beyond ``at``; a gain a decade before it where one is asked for."""
    return lambda lam: steep * math.log1p((lam / 10**at) ** 2) - gain * math.exp(-0.5 * ((_log(lam) - at + 1) / 0.7) ** 2)


def flat(lam):
    """λ makes no difference."""
    return 0.0


def falling(lam, slope=0.3):
    """The stronger the better, to the edge and beyond."""
    return -slope * math.log1p(lam / 1e-2)


def cliff(lam):
    """Falls slowly up to 0.03, then a wall."""
    return 0.05 * (-1 - _log(lam)) if lam <= 0.03 else 3.0


SHAPES = {"basin": basin(), "flat left": flat_left(gain=0.15), "flat": flat, "to the edge": falling, "cliff": cliff}
"""Name -> curve."""


@dataclass
class World:
    """Trainings whose expected loss is known.

    Attributes:
        curve: log of the expected loss at a λ, or the loss itself where it is not ``is_log``.
        name: Names the draws: another world, other seeds.
        effect: Standard deviation of what a seed adds to all its runs.
        departure: Of the slope, over a decade, by which a seed's own curve departs from the common one.
        noise: Of what remains.
        collapses_at: λ from which on runs collapse. ``diverges_at`` and ``fails_at`` likewise.
        beside: What other settings add, by variant.
        is_log: Whether what is added multiplies the loss.
        metric: What a record calls it.
        sign: -1 gives records of a metric of which more is better.
        asked: Every run that was asked for, batch by batch.
    """

    curve: Callable[[float], float]
    name: int = 0
    effect: float = 0.2
    departure: float = 0.0
    noise: float = 0.0
    collapses_at: float = math.inf
    diverges_at: float = math.inf
    fails_at: float = math.inf
    beside: Callable[..., float] = lambda variant: 0.0
    is_log: bool = True
    metric: str = "loss"
    sign: int = 1
    asked: list[list[RunKey]] = field(default_factory=list)

    def __call__(self, keys):
        self.asked.append(list(keys))
        return [self.record(key) for key in keys]

    @property
    def runs(self):
        """Every run that was asked for, in order."""
        return [key for batch in self.asked for key in batch]

    def expected(self, variant):
        return self.curve(float(variant["l2"])) + self.beside(variant)

    def loss(self, variant, seed):
        lam = float(variant["l2"])
        of_seed = numpy_generator("seed", self.name, seed).standard_normal(2)
        value = self.expected(variant) + self.effect * of_seed[0] + self.departure * of_seed[1] * (_log(lam) + 3)
        value += self.noise * numpy_generator("run", self.name, seed, repr(sorted(variant.items()))).standard_normal()
        return math.exp(value) if self.is_log else value

    def record(self, key):
        lam = float(key.variant["l2"])
        if lam >= self.fails_at:
            return record_of(key, status=Status.FAILED)
        if lam >= self.diverges_at:
            return record_of(key, status=Status.DIVERGED)
        if lam >= self.collapses_at:
            return record_of(key, 5.0, collapsed=True, metric=self.metric)
        return record_of(key, self.sign * self.loss(key.variant, key.seed), metric=self.metric)

    def excess(self, variant, space):
        """Return how far a variant's expected loss lies above the least of a space."""
        return self.expected(variant) - min(map(self.expected, space.variants()))

    def best_lams(self, space, slack=0.0):
        """Return the λs whose expected loss is within some slack of the least."""
        return [space.lam_of(variant) for variant in space.variants() if self.excess(variant, space) <= slack + 1e-12]


def belief_of(world, runs, *, space=Space(), objective=LOSS, rng=None):  # noqa: B008  frozen
    """Return what is believed after runs given as ``(variant, seed)``, or as ``(λ, seed)``."""
    keys = [RunKey(space.variant(at) if isinstance(at, float | int) else at, CONDITION, seed) for at, seed in runs]
    seen = [objective.see(world.record(key)) for key in keys]
    return believe(space, seen, objective.margin(None), rng or np.random.default_rng(0))


def outcome_of(choice):
    """Return a choice without the times of its runs: what must not depend on how it was come by."""
    return dataclasses.replace(choice, runs=(), path=()), [(run.variant, run.seed, run.loss) for run in choice.runs], choice.path


def _log(lam):
    return math.log10(max(lam, 1e-6))
