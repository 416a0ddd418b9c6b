"""How long steps take: a few real ones, of the real network on a few of the real rows, in the single loop and in fleets."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import torch

from shrinkwise.errors import StackingWarning
from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine.fleet import train_fleet
from shrinkwise.experiments.engine.metrics import summary
from shrinkwise.experiments.engine.pace import steps_per_epoch
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.experiments.engine.single import train_one
from shrinkwise.experiments.engine.threads import limited_threads
from shrinkwise.experiments.engine.ways import Timed
from shrinkwise.experiments.records import RunKey, Status
from shrinkwise.seeding import isolated_rng, torch_generator

_STEPS = 6
"""Steps of a shortened epoch."""
_EPOCHS = 3
"""Epochs that are trained at most: the first warms up."""
_PLENTY_S = 0.03
"""An epoch after the first that takes so long is not disturbed by trifles: no further one is trained."""
REPEATS = 1
"""How often a way is timed; of its epochs the quickest counts, since whatever disturbs a measurement makes it longer."""
TIMED_STEPS = _STEPS * _EPOCHS * REPEATS
"""Steps that timing one way takes."""
_TEST_ROWS = 16
_PROBES = 5
"""Products by which threads are tried: the least time counts here, too."""


class _Enough(BaseException):
    """Enough epochs were seen; no error, and nothing that a fleet may take for a fault of its runs."""


@dataclass
class Stopwatch:
    """Times ways of training; global random state is as before afterwards, and nothing is kept of what was trained.

    Attributes:
        recipe: How runs are trained.
        split: Rows of one of them.
        keys: Runs that can be trained together, as a fleet would have them.
        clock: Seconds.
    """

    recipe: Recipe
    split: Split
    keys: Sequence[RunKey]
    clock: Callable[[], float] = time.perf_counter

    def __call__(self, size: int | None, threads: int, most_s: float = math.inf) -> Timed:
        """Time one way.

        Args:
            size: Runs of a fleet; None for the single loop.
            threads: Threads that it may use.
            most_s: Seconds after which it ends with the epoch under way, and what was seen so far counts.

        Raises:
            StackingWarning: A fleet would train its runs one by one.
        """
        end = self.clock() + most_s
        seen = [self._epochs(size, threads, end)]
        while len(seen) < REPEATS and self.clock() < end:
            seen.append(self._epochs(size, threads, end))
        n_steps_seen = steps_per_epoch(self.recipe, _shortened_to(self.split, self.recipe.batch_size))
        first_s = min(each.first for each in seen)
        epoch_s = min([first_s, *(s for each in seen for s in each.later)])
        # Runs of several structures make several fleets, of which the first was seen.
        step_s = epoch_s / n_steps_seen * (size or 1) / min(each.n_runs for each in seen)
        return Timed(size, threads, first_s - epoch_s, step_s, self._end_s)

    @cached_property
    def _end_s(self) -> float:
        """Seconds that it takes to judge the last weights of a run and the best, on validation and on test rows."""
        task, rng = self.recipe.task, torch_generator("calibration")
        times = []
        with limited_threads(1):
            for _ in range(REPEATS):
                begun = self.clock()
                for y in (torch.from_numpy(rows) for rows in (self.split.y_val, self.split.y_test)):
                    summary(task, torch.randn(len(y), self.recipe.n_outputs, generator=rng), y, self.split.y_scale)
                times.append(2 * (self.clock() - begun))
        return min(times)

    def _epochs(self, size: int | None, threads: int, end: float) -> _Seen:
        """Train a few shortened epochs, and leave before anything is judged."""
        keys = self.keys[: size or 1]
        seen, begun = _Seen(), self.clock()

        def mark(epoch: int) -> None:
            now = self.clock()
            if epoch > len(seen.marks):
                seen.marks.append(now - begun)
            seen.n_runs += epoch == 1
            is_plenty = epoch > 1 and seen.later[-1] > _PLENTY_S
            if epoch == _EPOCHS or is_plenty or (now > end and seen.n_runs == len(keys)):
                raise _Enough

        recipe = replace(self.recipe, epochs=_EPOCHS, threads=threads, patience=None, on_epoch=mark)
        rows = {seed: _shortened(self.split, recipe.batch_size) for seed in dict.fromkeys(key.seed for key in keys)}
        runs = [(rows[key.seed], key) for key in keys]
        with isolated_rng("calibration"), warnings.catch_warnings(), suppress(_Enough):
            # A fleet that would train its runs one by one is none: that is said once, as why there is no fleet.
            warnings.simplefilter("error", StackingWarning)
            begun = self.clock()
            if size is None:
                train_one(recipe, *runs[0])
            else:
                for record in train_fleet(recipe, runs, size):
                    if record.status is not Status.DONE:
                        raise RuntimeError(record.message)
        return seen


@dataclass
class _Seen:
    """What was seen of a training.

    Attributes:
        marks: When each epoch had ended, in seconds since the beginning.
        n_runs: Runs whose first epoch was seen to end before others had their second.
    """

    marks: list[float] = field(default_factory=list)
    n_runs: int = 0

    @property
    def first(self) -> float:
        """Seconds until the first epoch had ended."""
        return self.marks[0]

    @property
    def later(self) -> list[float]:
        """Seconds of each further epoch."""
        return [end - begin for begin, end in pairwise(self.marks)]


def are_threads_quick(threads: int, clock: Callable[[], float] = time.perf_counter) -> bool:
    """Whether so many threads multiply matrices faster than one just now: on a busy machine they wait for one another.

    It takes milliseconds, where a fleet on threads that wait would take seconds.
    """
    rows, weights = torch.ones(64, 512), torch.ones(512, 512)
    times: dict[int, float] = {}
    for n in (1, threads):
        with limited_threads(n):
            for _ in range(_PROBES):
                begun = clock()
                torch.mm(rows, weights).relu_()
                times[n] = min(times.get(n, math.inf), clock() - begun)
    return times[threads] < times[1]


def n_steps(recipe: Recipe, n_train: int) -> int:
    """Return the optimiser steps of a run that is trained to its last epoch."""
    return recipe.epochs * steps_per_epoch(recipe, n_train)


def _shortened(split: Split, batch_size: int) -> Split:
    """Return a few rows of a split, with as many validation rows a training row, so that an epoch is one in small."""
    n_train = _shortened_to(split, batch_size)
    n_val = min(len(split.y_val), max(2, math.ceil(len(split.y_val) * n_train / len(split.y_train))))
    n_test = min(len(split.y_test), _TEST_ROWS)
    return replace(
        split,
        x_train=split.x_train[:n_train].copy(),
        y_train=split.y_train[:n_train].copy(),
        x_val=split.x_val[:n_val].copy(),
        y_val=split.y_val[:n_val].copy(),
        x_test=split.x_test[:n_test].copy(),
        y_test=split.y_test[:n_test].copy(),
        train_rows=split.train_rows[:n_train],
        val_rows=split.val_rows[:n_val],
        test_rows=split.test_rows[:n_test],
    )


def _shortened_to(split: Split, batch_size: int) -> int:
    return min(len(split.y_train), _STEPS * batch_size)
