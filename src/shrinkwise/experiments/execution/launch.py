"""Launchers train the runs that they are given, in whatever processes, and hand back each record as its run ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from shrinkwise.errors import WorkerError
from shrinkwise.experiments.records import Record, RunKey

_LOOK_EVERY_S = 0.5

Train = Callable[[RunKey], Record]
"""Trains one run; must give the same record in any process and any order."""


class Launcher(Protocol):
    """What trains runs."""

    def launch(self, train: Train, keys: Sequence[RunKey]) -> Iterator[Record]:
        """Yield the record of every run, in the order in which they end."""
        ...


class LocalLauncher:
    """Trains on this machine: in this process, or in worker processes beside it.

    Args:
        jobs: Number of processes; 1 trains in this one, None takes one a core.
    """

    def __init__(self, jobs: int | None = None) -> None:
        self.jobs = jobs

    def launch(self, train: Train, keys: Sequence[RunKey]) -> Iterator[Record]:
        """Yield the record of every run, in the order in which they end; closing the iterator ends the workers."""
        jobs = min(_n_cores() if self.jobs is None else self.jobs, len(keys))
        if jobs <= 1:
            yield from map(train, keys)
            return
        yield from _in_workers(train, keys, jobs)


def _in_workers(train: Train, keys: Sequence[RunKey], jobs: int) -> Iterator[Record]:
    from loky import ProcessPoolExecutor

    # The data travel once a worker, with the initializer, and not once a run.
    pool = ProcessPoolExecutor(jobs, initializer=_become_worker, initargs=(train, os.getpid()))
    try:
        for future in as_completed([pool.submit(_train_in_worker, key) for key in keys]):
            yield future.result()
    except BrokenProcessPool as error:
        pool.shutdown(kill_workers=True)
        raise WorkerError(
            "a process that trained runs died",
            "the machine may have run out of memory, or a library crashed",
            "repeat the command: it goes on with the runs that are missing; fewer jobs take less memory (--jobs 1)",
        ) from error
    except BaseException:
        pool.shutdown(kill_workers=True)
        raise
    pool.shutdown()


def _n_cores() -> int:
    from loky import cpu_count

    return int(cpu_count())


_train: Train | None = None


def _become_worker(train: Train, parent: int) -> None:
    """Keep what to train with, leave Ctrl-C to the parent, which ends its workers itself, and end when the parent is killed."""
    global _train
    _train = train
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process once the parent is gone: a process that outlives its parent is given another one."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)


def _train_in_worker(key: RunKey) -> Record:
    if _train is None:
        raise RuntimeError("a worker was asked to train before it was told how")
    return _train(key)
