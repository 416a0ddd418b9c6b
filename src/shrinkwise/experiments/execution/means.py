"""By what runs are trained: engine, size of a fleet, threads, processes, device; chosen once, and kept with the plan."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from shrinkwise.errors import SettingError
from shrinkwise.experiments.data import Dataset, Split, cut
from shrinkwise.experiments.engine import Recipe
from shrinkwise.experiments.engine.calibration import choose
from shrinkwise.experiments.engine.fleet import needs
from shrinkwise.experiments.engine.live import PENALTIES
from shrinkwise.experiments.engine.memory import free_bytes
from shrinkwise.experiments.engine.timing import Stopwatch, are_threads_quick, n_steps
from shrinkwise.experiments.engine.ways import SIZES, SIZES_ON_GPU, Asked, Way, Work
from shrinkwise.experiments.execution.launch import n_cores
from shrinkwise.experiments.execution.trainer import Trainer
from shrinkwise.experiments.records import Condition, RunKey, Variant

_MOST_VARIANTS = 8
"""Variants that are asked whether they can be stacked: with none of these, none of many."""
_GRADUAL = ("l2", "lr", "dropout", *PENALTIES)
"""Settings of which no more than whether they are above 0 decides how a run is stacked."""


def choose_means(
    recipe: Recipe,
    dataset: Dataset,
    keys: Sequence[RunKey],
    n_all: int,
    *,
    engine: str,
    threads: int | None,
    jobs: int | None,
    memory_bytes: int | None,
) -> dict[str, Any]:
    """Choose, by a short measurement where there is something to choose, by what runs are trained.

    Args:
        recipe: How.
        dataset: On what.
        keys: Runs that are asked for at once: all of a comparison, those of one round of a search.
        n_all: Number of runs in all.
        engine: ``auto``, ``single`` or ``fleet``.
        threads: Threads of a process, or None.
        jobs: Number of processes of this call, or None. It is heeded, and not returned: another call may have another.
        memory_bytes: The most memory that training may take; None for half of what is free.
    """
    if engine == "single":
        return _named(Way("single", None, threads or 1, None, "it was asked for"), recipe)
    is_on_gpu = recipe.device == "cuda"
    cores = 1 if is_on_gpu else n_cores()
    asked = Asked(
        engine=engine,
        threads=threads,
        # Processes would wait for one another at the one device.
        jobs=jobs or (1 if is_on_gpu else None),
        memory_bytes=free_bytes(recipe.device) // 2 if memory_bytes is None else memory_bytes,
        cores=cores,
        sizes=SIZES_ON_GPU if is_on_gpu else SIZES,
        are_threads_quick=cores > 1 and threads is None and are_threads_quick(cores),
    )
    way, bytes_per_run = _way(recipe, dataset, keys, n_all, asked)
    return _named(replace(way, jobs=None) if jobs else way, recipe, bytes_per_run)


def trainer_by(means: Mapping[str, Any], recipe: Recipe, dataset: Dataset) -> Trainer:
    """Return what trains by the means of a plan; plans of before name no size, device or processes.

    Raises:
        SettingError: They take a device that is not here.
    """
    device = means.get("device", "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingError(
            "these runs were begun on a GPU",
            "there is none here, and runs of the two agree only to rounding",
            "give another folder",
        )
    size = means.get("fleet_size") if means["engine"] == "fleet" else None
    return Trainer(replace(recipe, threads=means["threads"], device=device), dataset, size, means.get("jobs"))


def _named(way: Way, recipe: Recipe, bytes_per_run: int | None = None) -> dict[str, Any]:
    return {
        "engine": way.engine,
        "fleet_size": way.size,
        "bytes_per_run": bytes_per_run if way.engine == "fleet" else None,
        "threads": way.threads,
        "jobs": way.jobs,
        "device": recipe.device,
        "why": way.why,
    }


def _way(recipe: Recipe, dataset: Dataset, keys: Sequence[RunKey], n_all: int, asked: Asked) -> tuple[Way, int]:
    """Return the way that is taken, and the memory that a run takes in a fleet, in bytes."""
    (train_size, _), *_ = Counter(key.condition.train_size for key in keys).most_common(1)
    # Those of one seed follow one another in a fleet, as in the parts that will be trained.
    stack = sorted((key for key in keys if key.condition.train_size == train_size), key=lambda key: key.seed)
    splits = {condition: cut(dataset, condition, stack[0].seed) for condition in dict.fromkeys(key.condition for key in keys)}
    split = splits[stack[0].condition]
    work = Work(
        n_runs=max(n_all, len(keys)),
        n_steps=_mean_steps(recipe, keys, splits),
        batch=len(keys),
        together=len(stack),
        **_stacking(recipe, split, stack),
    )
    return choose(work, asked, Stopwatch(recipe, split, stack)), work.bytes_per_run


def _mean_steps(recipe: Recipe, keys: Sequence[RunKey], splits: Mapping[Condition, Split]) -> int:
    of_condition = {condition: n_steps(recipe, len(split.y_train)) for condition, split in splits.items()}
    return math.ceil(sum(of_condition[key.condition] for key in keys) / len(keys))


def _stacking(recipe: Recipe, split: Split, stack: Sequence[RunKey]) -> dict[str, Any]:
    """Return what a run takes in a fleet, and why none can be in one."""
    # Variants that differ in nothing but the sizes of strengths and rates are stacked alike.
    tried = {_kind(key.variant): key for key in stack}
    found = [needs(recipe, split, key) for key in list(tried.values())[:_MOST_VARIANTS]]
    reasons = [each.alone for each in found]
    n_splits = len({(key.condition, key.seed) for key in stack})
    bytes_of_rows = sum(value.nbytes for value in vars(split).values() if isinstance(value, np.ndarray))
    # A fleet of dense networks has a copy of the rows, without what is silent in them.
    needed = max(each.n_bytes for each in found) + math.ceil(2 * bytes_of_rows * n_splits / len(stack))
    return {
        "bytes_per_run": needed,
        "is_traced": any(each.is_traced for each in found),
        "alone": reasons[0] if all(reasons) else "",
        "some_alone": _some_alone(reasons),
    }


def _kind(variant: Variant) -> tuple[tuple[str, object], ...]:
    """Return what of a variant may decide how it is stacked."""
    return tuple((name, bool(value) if name in _GRADUAL else value) for name, value in variant.items())


def _some_alone(reasons: Sequence[str]) -> str:
    """Say how many of the variants that were looked at cannot be stacked, where some can."""
    n = sum(bool(reason) for reason in reasons)
    if n in (0, len(reasons)):
        return ""
    return f"{n} of {len(reasons)} variants that were looked at run alone: {next(filter(None, reasons))}"
