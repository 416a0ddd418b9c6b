"""Anybody's training function in the place of our own engine: a run's name in, its record out."""

from __future__ import annotations

import contextlib
import inspect
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shrinkwise.errors import ShrinkwiseError, TrainingError
from shrinkwise.experiments.engine.threads import limited_threads
from shrinkwise.experiments.functions.returned import not_finite, read_returned
from shrinkwise.experiments.functions.trial import Trial
from shrinkwise.experiments.records import Outcome, Record, RunKey, Status
from shrinkwise.seeding import isolated_rng

TrainFunction = Callable[[Trial], object]
"""A user's ``train(trial)``: a number, or a mapping of numbers, for a trial."""


@dataclass(frozen=True)
class FunctionTrainer:
    """Trains the runs of a user's function.

    The global generators of torch, NumPy and Python are seeded by the trial's seed while it runs and restored afterwards, so that a
    function which draws from them gives the same in any process and order; all variants of a seed see the same. What it prints goes
    to standard error: standard output belongs to answers.

    A fault inside the function becomes the status of its run; what it returns that is no number is raised.

    Attributes:
        train: The function.
        threads: Threads that torch may use in one run; part of what a run gives.
    """

    train: TrainFunction
    threads: int = 1

    def __call__(self, key: RunKey) -> Record:
        """Train one run.

        Raises:
            TrainingError: The function returns nothing that can be judged.
            ShrinkwiseError: The function asks for a setting that is not there, or misuses something else of ours.
        """
        started = time.perf_counter()
        trial = Trial(key.variant, key.seed)
        outcome = None
        try:
            with limited_threads(self.threads), isolated_rng("training", key.seed), contextlib.redirect_stdout(sys.stderr):
                returned = self.train(trial)
        except ShrinkwiseError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001  anything may come out of a user's code
            status, message = _ended_early(trial) or (Status.FAILED, self._reason(error))
        else:
            if returned is None and (ended := _ended_early(trial)):
                status, message = ended
            else:
                outcome = self._outcome(returned, trial, key)
                message = "a value that it reported is not finite" if trial.has_diverged else not_finite(outcome)
                status = Status.DIVERGED if message else Status.DONE
        seconds = time.perf_counter() - started
        return self._record(trial, key, status, message, outcome if status is Status.DONE else None, seconds)

    def _outcome(self, returned: object, trial: Trial, key: RunKey) -> Outcome:
        try:
            return read_returned(returned, epoch=len(trial.reported))
        except TrainingError as error:
            run = f"{key.variant.spelled_out().name} with seed {key.seed}"
            raise TrainingError(f"{error.fact} for {run}", error.cause, error.mend) from error

    def _record(self, trial: Trial, key: RunKey, status: Status, message: str, outcome: Outcome | None, seconds: float) -> Record:
        n_rows = max((len(rows) for rows in outcome.examples.values()), default=0) if outcome else 0
        return Record(
            key=key,
            status=status,
            lam=float("nan"),
            n_train=0,
            n_val=0,
            n_test=n_rows,
            curves={"val_reported": trial.reported} if trial.reported else {},
            weight_norms={},
            constant_loss=trial.constant_loss,
            last=outcome,
            best_val=None,
            test_rows=np.arange(n_rows),
            seconds=seconds,
            threads=self.threads,
            message=message,
            unread=trial.unread,
            has_collapsed=trial.has_collapsed,
        )

    def _reason(self, error: BaseException) -> str:
        """Say what was raised, and where: the deepest line in the function's own file, or else the deepest of all."""
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == _file_of(self.train)]
        frame = (own or frames)[-1]
        return f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"


def _ended_early(trial: Trial) -> tuple[Status, str] | None:
    """Say how a run ended that gave nothing because it was told to stop, else None."""
    if trial.has_diverged:
        return Status.DIVERGED, "a value that it reported is not finite"
    if trial.has_collapsed:
        return Status.STOPPED, "it collapsed: nothing was learned, and it ended without a metric"
    return None


def _file_of(train: object) -> str:
    code = inspect.unwrap(train) if inspect.isroutine(train) else type(train).__call__
    try:
        return inspect.getsourcefile(code) or ""
    except TypeError:
        return ""
