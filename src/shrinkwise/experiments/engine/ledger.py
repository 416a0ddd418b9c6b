"""What has been seen of one run, epoch by epoch, and the record that comes of it: the same for every loop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine.metrics import constant_loss, per_row, summary
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.experiments.engine.stopping import Ending, ending
from shrinkwise.experiments.records import Outcome, Record, RunKey, Status


class Ledger:
    """Curves, norms and the best epoch of one run.

    Attributes:
        curves: ``train_loss``, ``val_loss``, ``val_accuracy``, ... -> a value for each epoch.
        norms: Weight matrix -> its norm at the start and after each epoch.
        best_epoch: Epoch of the least validation loss, from 1; 0 before the first.
    """

    def __init__(self, recipe: Recipe, split: Split, key: RunKey, lam: float, matrices: Iterable[str]) -> None:
        self._recipe, self._split, self._key, self._lam = recipe, split, key, lam
        self._constant = constant_loss(recipe.task, torch.from_numpy(split.y_train))
        self._least = math.inf
        self.curves: dict[str, list[float]] = {}
        self.norms: dict[str, list[float]] = {name: [] for name in matrices}
        self.best_epoch = 0

    @property
    def epoch(self) -> int:
        """Epochs seen so far."""
        return len(self.curves.get("train_loss", ()))

    def see_norms(self, norms: Mapping[str, float]) -> None:
        """Add the norm of each weight matrix."""
        for name, norm in norms.items():
            self.norms[name].append(norm)

    def see(self, points: Mapping[str, float]) -> bool:
        """Add a point to each curve, and say whether these weights have the least validation loss so far."""
        for name, value in points.items():
            self.curves.setdefault(name, []).append(value)
        is_best = points["val_loss"] < self._least
        if is_best:
            self._least, self.best_epoch = points["val_loss"], self.epoch
        return is_best

    def ending(self) -> Ending | None:
        """Say how the run ends after its latest epoch, where it does."""
        if self._recipe.on_epoch:
            self._recipe.on_epoch(self.epoch)
        ended = ending(self.curves, self._constant, self._recipe.patience)
        if self.epoch < self._recipe.epochs or (ended and ended[0] is not Status.DONE):
            return ended
        # Nothing stopped a run whose patience ends with its last epoch.
        return Status.DONE, ""

    def outcome(self, epoch: int, val: Tensor, test: Tensor) -> Outcome:
        """Return what one set of weights gives.

        Args:
            epoch: Number of epochs trained when the weights were taken.
            val: Their outputs on the validation rows, ``(n_val, n_outputs)``.
            test: Likewise on the test rows.
        """
        task, split = self._recipe.task, self._split
        y_val, y_test = torch.from_numpy(split.y_val), torch.from_numpy(split.y_test)
        examples = per_row(task, test, y_test)
        return Outcome(
            epoch=epoch,
            val=summary(task, val, y_val, split.y_scale),
            test=summary(task, test, y_test, split.y_scale, examples),
            examples=examples,
        )

    def record(self, ended: Ending, n_steps: int, last: Outcome | None, best: Outcome | None, seconds: float) -> Record:
        """Return the record of the run.

        Args:
            ended: How it ended, and why.
            n_steps: Optimiser steps that it took.
            last: Outcome of its last weights; None unless it is done.
            best: Outcome of the weights of the best epoch, likewise.
            seconds: Wall time.
        """
        split = self._split
        return Record(
            key=self._key,
            status=ended[0],
            lam=self._lam,
            n_train=len(split.y_train),
            n_val=len(split.y_val),
            n_test=len(split.y_test),
            curves={name: tuple(values) for name, values in self.curves.items()},
            weight_norms={name: tuple(values) for name, values in self.norms.items()},
            constant_loss=self._constant,
            last=last,
            best_val=best,
            test_rows=split.test_rows,
            seconds=seconds,
            threads=self._recipe.threads,
            message=ended[1],
            n_steps=n_steps,
        )


def failed(recipe: Recipe, split: Split, key: RunKey, error: Exception, seconds: float) -> Record:
    """Return the record of a run in which a user's network or optimiser raised ``error``."""
    nan = float("nan")
    return Record(
        key=key,
        status=Status.FAILED,
        lam=nan,
        n_train=len(split.y_train),
        n_val=len(split.y_val),
        n_test=len(split.y_test),
        curves={},
        weight_norms={},
        constant_loss=nan,
        last=None,
        best_val=None,
        test_rows=split.test_rows,
        seconds=seconds,
        threads=recipe.threads,
        message=f"{type(error).__name__}: {error}",
    )
