"""Launchers train the runs that they are given, part by part, in whatever processes, and hand back records as they come."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from shrinkwise.errors import SettingError, WorkerError
from shrinkwise.experiments.records import Record, RunKey
from shrinkwise.experiments.scalars import whole

_LOOK_EVERY_S = 0.5
_MEND = "train in this process: jobs=1 (--jobs 1)"


class Train(Protocol):
    """What trains runs, a part of them at a time.

    The record of a run is the same in any process and any order, and to rounding in any part.
    """

    @property
    def jobs(self) -> int | None:
        """In how many processes it is best done, where nobody says otherwise; None for one a core."""
        ...

    def parts(self, keys: Sequence[RunKey], jobs: int) -> list[list[RunKey]]:
        """Cut runs into parts, each run in one, for so many processes."""
        ...

    def __call__(self, part: Sequence[RunKey]) -> Iterator[list[Record]]:
        """Yield the records of a part's runs as they end, those that end together at once."""
        ...


@dataclass(frozen=True)
class OneByOne:
    """Trains runs one after another by what trains a single one.

    Attributes:
        train: Gives the record of a run.
    """

    train: Callable[[RunKey], Record]
    jobs: int | None = None

    def parts(self, keys: Sequence[RunKey], jobs: int) -> list[list[RunKey]]:
        """Return parts of one run each."""
        return [[key] for key in keys]

    def __call__(self, part: Sequence[RunKey]) -> Iterator[list[Record]]:
        """Yield the record of each run by itself."""
        return ([self.train(key)] for key in part)


Launch = Callable[[Sequence[RunKey]], Iterator[list[Record]]]
"""Yields the records of runs as they end, those that end together at once."""


class Launcher(Protocol):
    """What trains runs."""

    def launch(self, train: Train, keys: Sequence[RunKey]) -> Iterator[list[Record]]:
        """Yield the records of runs as they end, those that end together at once."""
        ...

    def session(self, train: Train, most: int) -> AbstractContextManager[Launch]:
        """Give what launches one batch of runs after another, each at most so many, in the same processes."""
        ...


class LocalLauncher:
    """Trains on this machine: in this process, or in worker processes beside it.

    Args:
        jobs: Number of processes; 1 trains in this one, None takes as many as is best for what trains, or one a core.

    Raises:
        SettingError: It is no number of processes.
    """

    def __init__(self, jobs: int | None = None) -> None:
        self.jobs = whole(jobs)
        if jobs is not None and (self.jobs is None or self.jobs < 1):
            raise SettingError(f"jobs is {jobs!r}", "it is a number of worker processes", "give a whole number from 1")

    def launch(self, train: Train, keys: Sequence[RunKey]) -> Iterator[list[Record]]:
        """Yield the records of runs as they end, those that end together at once; closing the iterator ends the workers."""
        with self.session(train, len(keys)) as launch:
            yield from launch(keys)

    @contextmanager
    def session(self, train: Train, most: int) -> Iterator[Launch]:
        """Give what launches one batch of runs after another in the same processes; leaving the block ends them.

        Args:
            train: Trains parts of them.
            most: The most runs that a batch will have; no more processes are started.

        Raises:
            SettingError: What trains cannot be sent to another process.
        """
        jobs = min(self.jobs or train.jobs or n_cores(), most)
        if jobs <= 1:
            yield lambda keys: (records for part in train.parts(keys, 1) for records in train(part))
            return
        from loky import ProcessPoolExecutor

        # The data travel once a worker, with the initializer, and not once a part.
        pool = ProcessPoolExecutor(jobs, initializer=_become_worker, initargs=(_packed(train), os.getpid()))

        def launch(keys: Sequence[RunKey]) -> Iterator[list[Record]]:
            for future in as_completed([pool.submit(_train_in_worker, part) for part in train.parts(keys, jobs)]):
                yield future.result()

        try:
            yield launch
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


def _packed(train: Train) -> bytes:
    from loky.backend import reduction

    try:
        return bytes(reduction.dumps(train))
    except Exception as error:
        raise SettingError(
            "what trains cannot be sent to another process", _first_line(error), f"leave out what cannot be pickled, or {_MEND}"
        ) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")


def n_cores() -> int:
    """Return how many processes this machine trains at once: its cores, or those of them that this process may use."""
    from loky import cpu_count

    return int(cpu_count())


_packed_train: bytes | None = None
_train: Train | None = None


def _become_worker(packed: bytes, parent: int) -> None:
    """Keep what to train with, leave Ctrl-C to the parent, which ends its workers itself, and end when the parent is killed."""
    global _packed_train
    _packed_train = packed
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process once the parent is gone: a process that outlives its parent is given another one."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)


def _train_in_worker(part: Sequence[RunKey]) -> list[Record]:
    global _train, _packed_train
    if _train is None:
        if _packed_train is None:
            raise RuntimeError("a worker was asked to train before it was told how")
        # Unpacked here and not where the worker begins: what goes wrong here reaches the parent as an error with words.
        try:
            _train, _packed_train = pickle.loads(_packed_train), None
        except Exception as error:
            raise SettingError("another process cannot read what it is to train", _first_line(error), _MEND) from error
    return [record for records in _train(part) for record in records]
