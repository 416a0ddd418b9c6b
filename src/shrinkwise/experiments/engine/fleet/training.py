"""A fleet of runs: trained together, each with a fate of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from shrinkwise.experiments.engine.fleet.groups import Feed, left
from shrinkwise.experiments.engine.fleet.passes import Passes
from shrinkwise.experiments.engine.fleet.stack import Stack, State, taken
from shrinkwise.experiments.engine.fleet.updates import Update
from shrinkwise.experiments.engine.ledger import Ledger
from shrinkwise.experiments.engine.metrics import likeliest
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.experiments.engine.stopping import Ending
from shrinkwise.experiments.records import Outcome, Record, Status


class Fleet:
    """Runs under way together; one that has ended leaves, and the others close up.

    Args:
        recipe: How they are trained.
        ledgers: What is seen of each run.
        stack: Their weights.
        update: Their optimisers.
        passes: What gives their gradients and outputs.
        feed: Their batches.
        started: When work on them began, by ``time.perf_counter``.
        join: Puts together what the stack keeps apart.

    Attributes:
        runs: Of the runs that are still trained, the place that each had at the start.
        finals: Place -> the last weights of a run that has ended well; only where they are asked for.
    """

    def __init__(
        self,
        recipe: Recipe,
        ledgers: Sequence[Ledger],
        stack: Stack,
        update: Update,
        passes: Passes,
        feed: Feed,
        started: float,
        join: Callable[[State], dict[str, Tensor]] = dict,
    ) -> None:
        self.recipe, self.stack, self.update, self.passes, self.feed = recipe, stack, update, passes, feed
        self.ledgers, self.started, self.join = list(ledgers), started, join
        self.runs = list(range(len(ledgers)))
        self.step = 0
        # What each run last gave on its validation rows, and what its best weights gave: neither has to be looked at again.
        self._val = self._best_val = torch.empty(0)
        self.finals: dict[int, dict[str, Tensor]] = {}

    @torch.no_grad()
    def train(self, keep_weights: bool = False) -> list[Record]:
        """Train all runs to their ends, and return their records in the order in which they stood at the start.

        A run's seconds are its share of the fleet's.
        """
        n_runs, ended = len(self.runs), {}
        self._look_at_weights()
        while self.runs:
            self._train_epoch()
            self._look_at_weights()
            self._look_at_losses()
            ends = {i: end for i, ledger in enumerate(self.ledgers) if (end := ledger.ending())}
            outcomes = self._outcomes([i for i, end in ends.items() if end[0] is Status.DONE])
            for i, end in ends.items():
                ended[self.runs[i]] = (self.ledgers[i], end, self.step, outcomes.get(i))
            if keep_weights:
                whole = self.join(self.stack.state)
                self.finals |= {self.runs[i]: {name: tensor[i] for name, tensor in whole.items()} for i in outcomes}
            self._leave(ends)
        seconds = (time.perf_counter() - self.started) / n_runs
        return [_record(*ended[run], seconds) for run in range(n_runs)]

    def _train_epoch(self) -> None:
        for chunk in self.feed.epoch(self.ledgers[0].epoch + 1):
            self.passes.begin(chunk, self.step + 1)
            for i in range(chunk.n_steps):
                self.step += 1
                self.update.begin_step()
                self.passes.add_gradients(i, self.update)

    def _look_at_weights(self) -> None:
        norms = self.stack.norms(list(self.ledgers[0].norms))
        for i, ledger in enumerate(self.ledgers):
            ledger.see_norms({name: values[i] for name, values in norms.items()})

    def _look_at_losses(self) -> None:
        groups = self.feed.groups
        state = self.stack.state
        on_train = self.passes.outputs(state, [(group.x, group.n_runs) for group in groups])
        self._val = self.passes.outputs(state, [(group.x_val, group.n_runs) for group in groups])
        points: dict[str, list[float]] = {}
        for part, outputs, y in (("train", on_train, self.feed.y), ("val", self._val, self.feed.y_val)):
            points |= {f"{part}_{name}": values for name, values in means(self.recipe.task, outputs, y).items()}
        is_best = [ledger.see({name: values[i] for name, values in points.items()}) for i, ledger in enumerate(self.ledgers)]
        improved = [i for i, best in enumerate(is_best) if best]
        self.stack.keep_best(improved, state)
        if len(self._best_val) == 0:
            self._best_val = self._val
        self._best_val[improved] = self._val[improved]

    def _outcomes(self, runs: Sequence[int]) -> dict[int, tuple[Outcome, Outcome]]:
        """Measure the last weights and the best of some runs; test rows are looked at here and nowhere else."""
        if not runs:
            return {}
        groups = left(self.feed.groups, runs)
        tested = [(group.x_test, group.n_runs) for group in groups]
        ledgers = [self.ledgers[i] for i in runs]

        def measured(state: State, val: Tensor, epochs: Sequence[int]) -> list[Outcome]:
            test = self.passes.outputs(taken(state, runs), tested).cpu()
            on_val = val[list(runs)].cpu()
            return [ledger.outcome(epochs[i], on_val[i], test[i]) for i, ledger in enumerate(ledgers)]

        lasts = measured(self.stack.state, self._val, [ledger.epoch for ledger in ledgers])
        if all(ledger.best_epoch == ledger.epoch for ledger in ledgers):
            return {i: (last, last) for i, last in zip(runs, lasts, strict=True)}
        bests = measured(self.stack.best, self._best_val, [ledger.best_epoch for ledger in ledgers])
        return {i: (last, best) for i, last, best in zip(runs, lasts, bests, strict=True)}

    def _leave(self, ends: dict[int, Ending]) -> None:
        kept = [i for i in range(len(self.runs)) if i not in ends]
        if not ends or not kept:
            self.runs = [] if not kept else self.runs
            return
        self.runs, self.ledgers = [self.runs[i] for i in kept], [self.ledgers[i] for i in kept]
        groups = left(self.feed.groups, kept)
        self._val, self._best_val = self._val[kept], self._best_val[kept]
        self.stack.keep(kept)
        self.feed.keep(groups, kept)
        self.passes.keep(groups, kept)
        self.update.keep(self.stack.parameters, kept, self.passes.blocking)


def means(task: str, outputs: Tensor, y: Tensor) -> dict[str, list[float]]:
    """Return the metrics of each run that are means over rows; losses are summed in float64.

    Args:
        task: ``classification`` or ``regression``.
        outputs: Logits or predictions, shape ``(run, row, n_outputs)``.
        y: Targets, shape ``(run, row)``.
    """
    if task == "regression":
        return {"loss": F.mse_loss(outputs.squeeze(2), y, reduction="none").mean(1, dtype=torch.float64).tolist()}
    loss = F.cross_entropy(outputs.transpose(1, 2), y, reduction="none")
    is_right = likeliest(outputs) == y
    return {"loss": loss.mean(1, dtype=torch.float64).tolist(), "accuracy": is_right.mean(1, dtype=torch.float64).tolist()}


def _record(ledger: Ledger, ended: Ending, n_steps: int, outcomes: tuple[Outcome, Outcome] | None, seconds: float) -> Record:
    last, best = outcomes or (None, None)
    return ledger.record(ended, n_steps, last, best, seconds)
