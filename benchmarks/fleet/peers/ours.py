"""Shrinkwise: one experiment, with its worker processes, its calibration and its store."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager, nullcontext
from unittest import mock

# Imported before the clock starts, as every framework is: Shrinkwise imports these where it uses them.
import loky
import sklearn.metrics
from fleet.outcomes import Outcome, settings
from fleet.workloads import BATCH, LR, MOMENTUM, Workload

from shrinkwise.experiments.engine import NamedOptimizer
from shrinkwise.experiments.experiment import Experiment
from shrinkwise.experiments.records import Record

__all__ = ["loky", "sklearn", "train"]


def train(workload: Workload, mode: str, jobs: int | None = None) -> list[Outcome]:
    """Train every run; ``mode`` is the engine, ``jobs`` the number of worker processes, one a core where None."""
    size = workload.size
    experiment = Experiment(
        model=size.factory,
        data=workload.dataset,
        variants=workload.variants,
        conditions=[size.condition],
        optimizer=NamedOptimizer("sgd", LR, MOMENTUM),
        epochs=size.epochs,
        seeds=workload.n_seeds,
        batch_size=BATCH,
        engine=mode,
        device="cpu",
    )
    with tempfile.TemporaryDirectory() as folder, _one_is_enough(workload):
        result = experiment.run(folder, jobs=jobs, progress=False)
    return [_outcome(record) for record in result.records]


def _one_is_enough(workload: Workload) -> AbstractContextManager[object]:
    """Let an experiment have one variant, which compares nothing and is refused, so that one run alone can be timed."""
    if workload.n_variants > 1:
        return nullcontext()
    return mock.patch("shrinkwise.experiments.experiment.check_comparable")


def _outcome(record: Record) -> Outcome:
    if record.last is None:
        raise RuntimeError(f"{record.key.variant.name}, seed {record.key.seed}: {record.status} ({record.message})")
    curves = [record.curves[name] for name in ("train_loss", "val_loss", "val_accuracy")]
    test = record.last.test
    return Outcome(*settings(record.key.variant), record.key.seed, *curves, test["loss"], test["accuracy"])
