"""Which way of training is fastest here, found out by measuring: the single loop or a fleet, its size, threads and processes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

from shrinkwise.experiments.engine.timing import REPEATS, TIMED_STEPS
from shrinkwise.experiments.engine.ways import (
    Asked,
    Timed,
    Way,
    Work,
    could_gain_by_processes,
    decide,
    fastest_loop,
    said,
    unmeasured_fleet,
)

Measure = Callable[[int | None, int, float], Timed]
"""Times one way: the size of a fleet, or None for the single loop, on so many threads; ends early after so many seconds."""

_MOST_SHARE = 0.04
"""Share of the whole work, done in the best way that is known so far, that measuring fleets may take."""
_MOST_SHARE_OF_LOOPS = 0.1
"""Share of all steps that may be spent on timing the single loop: its threads and processes make it up to twice as fast."""
_LEAST_BUDGET_S = 0.3
"""Seconds that it may take in any case: nobody notices them."""
_LEAST_WORK_S = 2.0
"""Work that the single loop does in less is not worth measuring a fleet: what could be saved is not noticed."""
_LEAST_BY_THREADS = 0.9
"""Share of one thread's time that the single loop must stay under on several, which wait for one another on a busy machine."""
_LONG_STEP_S = 0.004
"""A step of the single loop that takes so long is never slower on several threads."""
_TRACING_S = 0.5
"""What tracing the passes of a network that is no chain of dense layers takes; seen 0.3 to 0.6 s."""
_HOPELESS = 2.0
"""A number of threads with which a run takes longer than in the best fleet by this factor is not tried any more: cores are busy."""


def choose(work: Work, asked: Asked, measure: Measure, clock: Callable[[], float] = time.perf_counter) -> Way:
    """Choose the fastest way of training; where it is in doubt, the single loop.

    Nothing is measured where nothing is to be chosen: of a single run, of the single loop where that was asked for, of a fleet
    where threads and processes were given as well; and of work that is over in a few steps. Otherwise a few steps of the single
    loop are measured, and then fleets of growing size, for a small part of the work or what nobody notices. A network
    that cannot even be measured is left to the single loop, which says what is wrong with it.

    Args:
        work: What is to be trained.
        asked: What is left to be chosen, and within what.
        measure: Times one way.
        clock: Seconds; says how much time measuring has taken.
    """
    one = asked.threads or 1

    def loop(why: str, jobs: int | None = asked.jobs) -> Way:
        return Way("single", None, one, jobs, why)

    is_fleet = asked.engine == "fleet"
    if asked.engine == "single":
        return loop("it was asked for")
    if work.alone:
        return loop(f"its runs cannot be trained together: {work.alone}")
    if is_fleet and asked.jobs and asked.threads:
        return unmeasured_fleet(work, asked, "threads and processes were given")
    if not is_fleet and (reason := _why_no_fleet(work, asked)):
        return loop(reason)
    if _MOST_SHARE_OF_LOOPS * work.n_runs * work.n_steps < TIMED_STEPS:
        reason = f"{work.n_runs * work.n_steps:,} steps are too few to measure any"
        return unmeasured_fleet(work, asked, reason) if is_fleet else loop(reason)
    try:
        single = min(_loops(work, asked, measure), key=lambda timed: _weighed(fastest_loop(work, asked, timed)[0], timed))
        seconds, jobs = fastest_loop(work, asked, single)
        if not is_fleet and seconds < _LEAST_WORK_S:
            why = f"it does the work in about {said(seconds)}, too little to measure a fleet"
            return Way("single", None, single.threads, jobs, why)
        fleets = list(_fleets(work, asked, single, measure, clock))
    except Exception as error:  # noqa: BLE001  anything may come out of a user's network; training it says so in the right place
        reason = f"measuring ended with {type(error).__name__}: {error}".splitlines()[0]
        return unmeasured_fleet(work, asked, reason) if is_fleet else loop(reason)
    return decide(work, asked, single, fleets)


def _why_no_fleet(work: Work, asked: Asked) -> str:
    if work.n_runs == 1:
        return "there is one run"
    if min(work.batch, work.together) == 1:
        return "its runs are asked for one by one, or take different numbers of rows"
    if asked.n_fit(work) < 2:
        return f"two runs at once do not fit into memory, {asked.memory_bytes / 2**20:,.0f} MiB"
    return ""


def _loops(work: Work, asked: Asked, measure: Measure) -> Iterator[Timed]:
    """Measure the single loop on several threads and on one, unless nothing could then be gained by it.

    Of a network whose steps are long, a few runs are done on several threads before further processes have begun.
    """
    for threads in reversed(asked.threads_of_fleet()):
        timed = measure(None, threads, math.inf)
        yield timed
        if timed.step_s > _LONG_STEP_S and not could_gain_by_processes(work, asked, timed):
            return


def _weighed(seconds: float, timed: Timed) -> float:
    return seconds if timed.threads == 1 else seconds / _LEAST_BY_THREADS


def _fleets(work: Work, asked: Asked, single: Timed, measure: Measure, clock: Callable[[], float]) -> Iterator[Timed]:
    """Measure fleets of growing size, until they get no faster or the budget is spent; each number of threads has its share of it.

    On more threads fleets begin where each thread has as many runs as the best fleet had on fewer.
    """
    begun = clock()
    most = min(work.together, asked.n_fit(work))
    sizes = [size for size in asked.sizes if size < most] + ([most] if most <= asked.sizes[-1] else [])
    options = asked.threads_of_fleet()
    best, best_s = single, fastest_loop(work, asked, single)[0]
    for number, threads in enumerate(options, start=1):
        before = None
        least = min((best.size or 0) * threads // best.threads, most)
        for size in [size for size in sizes if size >= least]:
            # A run is expected to take no longer in a larger fleet than in a smaller one, and half as long on twice the threads.
            expected = before or best
            step_s = expected.run_step_s * (expected.threads / threads if expected.size else 1)
            budget_s = max(_LEAST_BUDGET_S, _MOST_SHARE * best_s)
            left_s = budget_s * number / len(options) - (clock() - begun)
            begin_s = REPEATS * (size * expected.run_begin_s + _TRACING_S * (work.is_traced and expected.size is None))
            if begin_s + size * TIMED_STEPS * step_s > left_s:
                break
            timed = measure(size, threads, left_s)
            yield timed
            best_s = min(best_s, *(timed.seconds(work, jobs) for jobs in asked.jobs_for(threads, work)))
            if best is single or timed.run_step_s < best.run_step_s:
                best = timed
            if timed.run_step_s > _HOPELESS * best.run_step_s or (before and timed.run_step_s >= before.run_step_s):
                break
            before = timed
