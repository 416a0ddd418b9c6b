"""Joins data and engine: what a launcher calls with the name of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from shrinkwise.errors import ShrinkwiseError
from shrinkwise.experiments.data import Dataset, Split, cut
from shrinkwise.experiments.engine import Recipe, failed, train_one
from shrinkwise.experiments.records import Condition, Record, RunKey


@dataclass
class Trainer:
    """Trains the runs of one experiment.

    A fault inside a user's model or optimiser becomes the status of its run; a mistake that Shrinkwise has words for is raised.

    Attributes:
        recipe: How to train.
        dataset: Where rows come from.
    """

    recipe: Recipe
    dataset: Dataset
    _cut: dict[tuple[Condition, int], Split] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, key: RunKey) -> Record:
        """Train one run.

        Raises:
            ShrinkwiseError: The data cannot carry the run, or the model does not fit them.
        """
        started = time.perf_counter()
        split = self._split(key.condition, key.seed)
        try:
            return train_one(self.recipe, split, key)
        except ShrinkwiseError:
            raise
        except Exception as error:  # noqa: BLE001  anything may come out of a user's code
            return failed(self.recipe, split, key, error, time.perf_counter() - started)

    def _split(self, condition: Condition, seed: int) -> Split:
        """Cut the rows once for all variants: a plan lists the variants of one condition and seed one after another."""
        if (condition, seed) not in self._cut:
            self._cut = {(condition, seed): cut(self.dataset, condition, seed)}
        return self._cut[condition, seed]
