"""Joins data and engine: what a launcher calls with the names of the runs of a part."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shrinkwise.errors import ShrinkwiseError
from shrinkwise.experiments.data import Dataset, Split, cut
from shrinkwise.experiments.engine import Recipe, failed, train_one
from shrinkwise.experiments.engine.fleet import train_together
from shrinkwise.experiments.execution.parts import cut_into_parts
from shrinkwise.experiments.records import Condition, Record, RunKey


@dataclass
class Trainer:
    """Trains the runs of one experiment.

    A fault inside a user's model or optimiser becomes the status of its run; a mistake that Shrinkwise has words for is raised.

    Attributes:
        recipe: How to train.
        dataset: Where rows come from.
        size: The most runs of a fleet, in each of ``jobs`` processes; None trains one after another in the single loop.
        jobs: In how many processes that is best done; None for one a core.
    """

    recipe: Recipe
    dataset: Dataset
    size: int | None = None
    jobs: int | None = None
    _cut: dict[tuple[Condition, int], Split] = field(default_factory=dict, init=False, repr=False)

    def parts(self, keys: Sequence[RunKey], jobs: int) -> list[list[RunKey]]:
        """Cut runs into the fleets that are trained together; in the single loop each is for itself."""
        if self.size is None:
            return [[key] for key in keys]
        return cut_into_parts(keys, self.size, jobs)

    def __call__(self, part: Sequence[RunKey]) -> Iterator[list[Record]]:
        """Yield the records of a part's runs as they end, those that end together at once.

        Raises:
            ShrinkwiseError: The data cannot carry a run, or the model does not fit them.
        """
        if self.size is None:
            return ([self.train(key)] for key in part)
        wanted = dict.fromkeys((key.condition, key.seed) for key in part)
        splits = {(condition, seed): cut(self.dataset, condition, seed) for condition, seed in wanted}
        runs = [(splits[key.condition, key.seed], key) for key in part]
        return ([record for _, record in ended] for ended in train_together(self.recipe, runs, self.size))

    def train(self, key: RunKey) -> Record:
        """Train one run in the single loop.

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
