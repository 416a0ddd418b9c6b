"""Trains what is missing of a plan, and returns everything."""

from __future__ import annotations

from collections.abc import Callable

from shrinkwise.experiments.execution.chooser import AS_PLANNED, Chooser
from shrinkwise.experiments.execution.launch import Launcher, Train
from shrinkwise.experiments.execution.plan import Plan
from shrinkwise.experiments.execution.store import Store
from shrinkwise.experiments.records import Record

Progress = Callable[[int, int], None]
"""Called with the number of runs that are done and the number of all runs."""


def execute(
    plan: Plan,
    make_train: Callable[[Plan], Train],
    store: Store,
    launcher: Launcher,
    progress: Progress | None = None,
    chooser: Chooser = AS_PLANNED,
) -> list[Record]:
    """Train the runs of ``plan`` that ``store`` lacks, keep records as they come, and return all in the plan's order.

    Whoever kills this loses at most the parts in flight; the same call goes on from there.

    Args:
        plan: What is to be trained.
        make_train: Gives what trains by the means of a plan: the one that is kept, where there is one, fitted to this call.
        store: Where records are kept.
        launcher: In which processes they are trained.
        progress: Called with the number of runs done and of all runs.
        chooser: Chooses the means of a new plan, and fits those of any to this call.

    Raises:
        StoreError: The store belongs to another experiment.
        WorkerError: A process that trained died.
    """
    keys = plan.runs()
    if store.plan() is None:
        plan = chooser.new(plan, keys, len(keys))
    plan = store.claim(plan)
    missing = store.missing(keys)
    n_all = len(keys)
    n_done = n_all - len(missing)
    if progress:
        progress(n_done, n_all)
    plan = chooser.fitted(plan)
    for records in launcher.launch(make_train(plan), missing) if missing else ():
        store.append(records)
        for _ in records:
            n_done += 1
            if progress:
                progress(n_done, n_all)
    return store.records(keys)
