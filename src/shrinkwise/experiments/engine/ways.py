"""Ways of training the same runs, how long each would take by what was measured, and which one is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SIZES = (4, 8, 16, 32, 64, 128)
"""Sizes of fleets that are tried: beyond, a fleet has long left a core's caches, and only the memory that it takes grows."""
SIZES_ON_GPU = (8, 32, 128, 256, 512, 1024)

_WORKER_S = 4.0
"""What it takes until further processes train: each imports torch with what its optimisers need and this package, and is sent the
data; seen 3.5 to 5 s on two cores."""
_CROWDED = 1.25
"""How much longer runs are taken to need beside others in further processes, fleets or not: they share memory and its cache."""
_GAIN = 0.9
"""Share of the single loop's time that a fleet must stay under to be taken: either time is known to about 5 %."""
_LIKE = 1.05
"""Fleets whose times are within this of the best are taken to be as fast as it."""
_LEAST_FILLED = 0.5
"""A fleet that has less than this share of its runs is not taken to be faster still: what a step costs beside its runs remains."""
_UNMEASURED_SIZE = 16
"""Size of a fleet that was asked for, where nothing is measured."""


@dataclass(frozen=True)
class Way:
    """A way of training.

    Attributes:
        engine: ``single`` or ``fleet``.
        size: The most runs of a fleet; None in the single loop.
        threads: Threads of a process.
        jobs: Number of processes; None for one a core.
        why: Why this one, in words.
    """

    engine: str
    size: int | None
    threads: int
    jobs: int | None
    why: str


@dataclass(frozen=True)
class Work:
    """What is to be trained, in numbers.

    Attributes:
        n_runs: Runs in all.
        n_steps: Optimiser steps of one run.
        batch: Runs that are asked for at once: all of a comparison, those of one round of a search.
        together: How many of these can be in one fleet.
        bytes_per_run: Memory that a run takes in a fleet.
        is_traced: Whether a fleet's passes have to be traced before its first step.
        alone: Why no two of its runs can be trained together; empty where they can.
        some_alone: Which of them cannot be, where others can; likewise.
    """

    n_runs: int
    n_steps: int
    batch: int
    together: int
    bytes_per_run: int = 1
    is_traced: bool = False
    alone: str = ""
    some_alone: str = ""


@dataclass(frozen=True)
class Asked:
    """What the user wants, and what there is.

    Attributes:
        engine: ``auto``, ``single`` or ``fleet``.
        threads: Threads of a process; None where that is to be chosen.
        jobs: Number of processes, likewise.
        memory_bytes: The most memory that all processes take together.
        cores: How many processes or threads the machine runs at once.
        sizes: Sizes of fleets to try, the least first.
        are_threads_quick: Whether several threads are worth trying just now.
    """

    engine: str = "auto"
    threads: int | None = None
    jobs: int | None = None
    memory_bytes: float = math.inf
    cores: int = 1
    sizes: Sequence[int] = SIZES
    are_threads_quick: bool = True

    def jobs_for(self, threads: int, work: Work) -> list[int]:
        """List the numbers of processes to consider, the least first."""
        wanted = [self.jobs] if self.jobs else [1, max(1, self.cores // threads)]
        return sorted({min(jobs, work.batch) for jobs in wanted})

    def threads_of_fleet(self) -> list[int]:
        """List the numbers of threads to consider for a fleet, the least first."""
        if self.threads:
            return [self.threads]
        return sorted({1, max(1, self.cores // (self.jobs or 1))}) if self.are_threads_quick else [1]

    def n_fit(self, work: Work) -> int:
        """Return how many runs fit into memory at once, in all processes together."""
        return int(min(self.memory_bytes / max(work.bytes_per_run, 1), work.n_runs))


@dataclass(frozen=True)
class Timed:
    """What was measured of one way.

    Attributes:
        size: Runs of the fleet; None for the single loop.
        threads: Threads that it had.
        begin_s: Seconds until the first step of a fleet, or of a run of the single loop.
        step_s: Seconds of one step of all its runs, with its share of the looks at losses and weights after each epoch.
        end_s: Seconds that each run takes to be judged when it has ended.
    """

    size: int | None
    threads: int
    begin_s: float
    step_s: float
    end_s: float = 0.0

    @property
    def run_step_s(self) -> float:
        """Seconds of one step of one run."""
        return self.step_s / (self.size or 1)

    @property
    def run_begin_s(self) -> float:
        """Seconds until the first step, a run."""
        return self.begin_s / (self.size or 1)

    def seconds(self, work: Work, jobs: int) -> float:
        """Return how long the whole work takes in so many processes."""
        size = self.size or 1
        rounds = math.ceil(work.batch / (size * jobs))
        # Parts are cut even, so that the last fleet of a batch is not much smaller than the first.
        filled = max(math.ceil(work.batch / (rounds * jobs)) / size, _LEAST_FILLED)
        part_s = self.begin_s + (work.n_steps * self.step_s + self.end_s * size) * filled
        crowded = _CROWDED if jobs > 1 else 1.0
        return (_WORKER_S if jobs > 1 else 0.0) + math.ceil(work.n_runs / work.batch) * rounds * part_s * crowded


def fastest_loop(work: Work, asked: Asked, single: Timed) -> tuple[float, int]:
    """Return the seconds that the single loop takes, and in how many processes: the fewer where it makes no difference."""
    return min((single.seconds(work, jobs), jobs) for jobs in asked.jobs_for(single.threads, work))


def could_gain_by_processes(work: Work, asked: Asked, single: Timed) -> bool:
    """Whether the single loop could take less time than was measured on several threads if each core had a process of its own."""
    here, most = single.seconds(work, 1), max(asked.jobs_for(1, work))
    return _WORKER_S + here / most < here


def decide(work: Work, asked: Asked, single: Timed, fleets: Sequence[Timed]) -> Way:
    """Choose by what was measured: a fleet where it is clearly faster than the single loop, or was asked for.

    Of fleets that are as fast as the best, one in few processes, and then a small one, so that records come early and little is
    lost with a fleet that is interrupted.
    """
    loop_s, loop_jobs = fastest_loop(work, asked, single)
    n_fit = asked.n_fit(work)
    ways = [
        (timed.seconds(work, jobs), jobs, timed)
        for timed in fleets
        for jobs in asked.jobs_for(timed.threads, work)
        if min((timed.size or 1) * jobs, work.n_runs) <= n_fit
    ]
    if not ways and asked.engine == "fleet":
        return unmeasured_fleet(work, asked, "measuring would have taken too long")
    alone = f"{_micro(single)} a step and run in the single loop"
    if not ways:
        return Way("single", None, single.threads, loop_jobs, f"{alone}; measuring a fleet would have taken too long")
    best_s = min(ways, key=lambda way: way[0])[0]
    seconds, jobs, fleet = min(
        (way for way in ways if way[0] <= _LIKE * best_s), key=lambda way: (way[1], way[2].size or 1, way[2].threads)
    )
    together = f"{_micro(fleet)} in a fleet of {fleet.size} on {_counted(fleet.threads, 'thread')}"
    whole = f"all {work.n_runs} runs in about {said(seconds)} as fleets in {_counted(jobs, 'process')}, {said(loop_s)} in the loop"
    why = "; ".join(filter(None, (f"{alone}, {together}", whole, work.some_alone)))
    if asked.engine == "auto" and seconds > _GAIN * loop_s:
        return Way("single", None, single.threads, loop_jobs, why)
    return Way("fleet", fleet.size, fleet.threads, jobs, why)


def unmeasured_fleet(work: Work, asked: Asked, reason: str) -> Way:
    """Return the fleet that is taken where one was asked for, and nothing could be measured for that ``reason``."""
    threads = asked.threads or 1
    jobs = asked.jobs or 1
    size = max(1, min(_UNMEASURED_SIZE, math.ceil(work.batch / jobs), asked.n_fit(work) // jobs))
    return Way("fleet", size, threads, jobs, f"a fleet was asked for, of {_counted(size, 'run')} without measuring: {reason}")


def said(seconds: float) -> str:
    """Write a duration as briefly as is honest of an estimate.

    >>> said(0.42), said(95), said(900), said(8000)
    ('0.4 s', '95 s', '15 min', '2.2 h')
    """
    if seconds < 100:
        return f"{seconds:.1g} s" if seconds < 1 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _micro(timed: Timed) -> str:
    return f"{1e6 * timed.run_step_s:,.0f} µs"


def _counted(n: int, name: str) -> str:
    if n == 1:
        return f"1 {name}"
    return f"{n} {name}{'es' if name.endswith('s') else 's'}"
