"""Runs that become known one after another: what selection is handed as ``train_many``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from shrinkwise.errors import ShrinkwiseError, TrainingError, WorkerError
from shrinkwise.experiments.execution.chooser import AS_PLANNED, Chooser
from shrinkwise.experiments.execution.launch import Launch, Launcher, Train
from shrinkwise.experiments.execution.plan import Plan
from shrinkwise.experiments.execution.resume import Progress
from shrinkwise.experiments.execution.store import Store, check_writable, holds_store
from shrinkwise.experiments.records import Record, RunKey, Status

_TRIED_SEEDS = 2
"""Seeds whose runs are looked at before anything is written."""


class Growing:
    """Trains runs as they are asked for, keeps records as they come, and never trains one twice; a context manager.

    A search that is asked again asks for the same runs again, so its whole path is replayed from the store: that is how it goes on
    where it was stopped. In a new folder nothing is written before the runs of two seeds have been settled, one of which
    ended well: a function that cannot be trained, or not be judged, or that gives another thing for another seed, leaves no folder
    behind. Whoever interrupts them keeps what had ended; whoever kills them does not.

    Args:
        plan: What makes it this experiment.
        make_train: Gives what trains by the means of a plan: the one that is kept, where there is one, fitted to this call.
        folder: Where records are kept; None keeps them in memory.
        launcher: In which processes they are trained.
        n_all: The most runs that will be asked for.
        check: Called with the first record of a run that ended well, so that what cannot be judged ends there.
        settle: Called with the records of every batch, and of the first two seeds before any is written; gives what is returned of
            them.
        progress: Called with the number of runs done and of all runs.
        chooser: Chooses the means of a new plan when its first runs are asked for, and fits those of any to this call.
    """

    def __init__(  # noqa: PLR0913  each is one thing in which a search, a comparison and their subjects differ
        self,
        plan: Plan,
        make_train: Callable[[Plan], Train],
        folder: Path | None,
        launcher: Launcher,
        *,
        n_all: int,
        check: Callable[[Record], None] | None = None,
        settle: Callable[[Sequence[Record]], list[Record]] = list,
        progress: Progress | None = None,
        chooser: Chooser = AS_PLANNED,
    ) -> None:
        self.records: dict[RunKey, Record] = {}
        self._plan, self._make_train, self._folder = plan, make_train, folder
        self._launcher, self._n_all, self._progress = launcher, n_all, progress
        self._check, self._settle, self._chooser = check, settle, chooser
        self._held: list[Record] = []
        self._open = ExitStack()
        self._store: Store | None = None
        self._launch: Launch | None = None
        self._kept, self._is_decided = plan, False
        self._fitted: Plan | None = None

    def __enter__(self) -> Self:
        if self._folder is not None and not holds_store(self._folder):
            check_writable(self._folder)
        else:
            self._store = self._open.enter_context(Store(self._folder))
            if self._store.plan() is not None:
                self._claim(self._store)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is not None and (isinstance(error, WorkerError) or not isinstance(error, ShrinkwiseError)):
                self._write()
        finally:
            self._open.__exit__(kind, error, trace)

    def __call__(self, keys: Sequence[RunKey]) -> list[Record]:
        """Return the settled records of runs in the order asked for; those that are nowhere yet are trained first.

        A run that failed is returned as such, and is trained again only by another :class:`Growing`.

        Raises:
            StoreError: The folder belongs to another experiment, or was begun with other versions.
            WorkerError: A process that trained died; what had ended is kept.
            TrainingError: Every run that was asked for so far failed.
            ShrinkwiseError: What the runs gave cannot be settled.
        """
        new = [key for key in dict.fromkeys(keys) if key not in self.records]
        if self._store is not None:
            found = self._store.records(new)
            self.records |= {record.key: record for record in found if record.status is not Status.FAILED}
        missing = [key for key in new if key not in self.records]
        self._report(len(self.records))
        if missing:
            self._decide(missing)
        if self._is_decided and self._fitted is None:
            self._fitted = self._chooser.fitted(self._kept)
        seeds = list(dict.fromkeys(key.seed for key in missing))[:_TRIED_SEEDS]
        first = [key for key in missing if key.seed in seeds] if self._store is None else []
        for batch in (first, [key for key in missing if key not in first]):
            if batch:
                self._train(batch)
        self._refuse_failures()
        settled = self._settle([self.records[key] for key in keys])
        self._write()
        return settled

    @property
    def means(self) -> Mapping[str, Any]:
        """By what its plan has the runs trained: as it is kept, or was chosen, or, before the first run, was given."""
        return self._kept.means

    def _train(self, keys: Sequence[RunKey]) -> None:
        """Train runs; those of the first two seeds are settled by themselves, so that a kill loses no more than them."""
        for records in self._launched()(keys):
            n_done = len(self.records)
            self._keep(records)
            for n in range(n_done, len(self.records)):
                self._report(n + 1)
        if self._store is None and self._is_good():
            self._settle([self.records[key] for key in keys])
            self._write()

    def will_be(self, n_all: int) -> None:
        """Correct the number of runs that will be asked for: a search may end before its budget is spent."""
        self._n_all = n_all
        self._report(len(self.records))

    def _launched(self) -> Launch:
        """Start what trains when the first run is missing: a search that is only replayed starts no process."""
        if self._launch is None:
            if self._store is not None:
                self._store.check_versions(self._plan)
            session = self._launcher.session(self._make_train(self._fitted or self._kept), self._n_all)
            self._launch = self._open.enter_context(session)
        return self._launch

    def _keep(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.status is Status.DONE and self._check and not self._is_good():
                self._check(record)
            self.records[record.key] = record
            self._held.append(record)
        if self._store is not None:
            self._write()

    def _write(self) -> None:
        """Write what is held, once a run has ended well."""
        if not self._held or not self._is_good():
            return
        if self._store is None:
            self._store = self._open.enter_context(Store(self._folder))
            self._claim(self._store)
        self._store.append(self._held)
        self._held = []

    def _is_good(self) -> bool:
        return any(record.status is Status.DONE for record in self.records.values())

    def _decide(self, keys: Sequence[RunKey]) -> None:
        """Settle by what is trained before the first runs are, unless a plan that is kept has settled it."""
        if self._is_decided:
            return
        self._kept = self._chooser.new(self._plan, keys, self._n_all)
        self._is_decided = True
        if self._store is not None:
            self._claim(self._store)

    def _claim(self, store: Store) -> None:
        self._kept = store.claim(self._kept)
        self._is_decided = True

    def _report(self, n_done: int) -> None:
        if self._progress:
            self._progress(n_done, max(self._n_all, len(self.records)))

    def _refuse_failures(self) -> None:
        records = list(self.records.values())
        if not records or any(record.status is not Status.FAILED for record in records):
            return
        message, n = Counter(record.message for record in records).most_common(1)[0]
        raise TrainingError(
            f"every run failed, all {len(records)} of them" if len(records) > 1 else "the first run failed",
            message if n == len(records) else f"{message} ({n} of them)",
            "mend what is raised there, and ask again",
        )
