"""The single loop: one run, trained exactly and simply."""

from __future__ import annotations

import copy
import time

import torch
from torch import Tensor, nn

from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine.build import EVALUATION_ROWS, predict
from shrinkwise.experiments.engine.ledger import Ledger
from shrinkwise.experiments.engine.live import LiveRun, prepare
from shrinkwise.experiments.engine.metrics import criterion, means, per_row
from shrinkwise.experiments.engine.order import batches, order
from shrinkwise.experiments.engine.pace import paced
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.experiments.engine.stopping import Ending
from shrinkwise.experiments.engine.threads import limited_threads
from shrinkwise.experiments.records import Outcome, Record, RunKey, Status
from shrinkwise.regularization.dropout import dropouts, set_step
from shrinkwise.seeding import isolated_rng


def train_one(recipe: Recipe, split: Split, key: RunKey) -> Record:
    """Train one run and return what it leaves.

    Everything random hangs on the seed alone, never on the variant: for one seed all variants start from the same weights, see
    the same batches in the same order, and draw the same dropout masks. Torch's global generators are seeded for the model's
    own code and restored afterwards; the thread count likewise.

    Args:
        recipe: How to train.
        split: The rows of this condition and seed.
        key: Which run it is.

    Raises:
        ModelError: The network's outputs do not fit the task.
    """
    return train_model(recipe, split, key)[1]


def train_model(recipe: Recipe, split: Split, key: RunKey, select: str = "last") -> tuple[nn.Module, Record]:
    """Train one run as :func:`train_one` does, and keep the network.

    Args:
        recipe: How to train.
        split: The rows of this condition and seed.
        key: Which run it is.
        select: Whose weights the network has: those of the ``last`` epoch, or ``best-val``, of the least validation loss.

    Returns:
        The network, in eval mode, and the record of the run; a run that diverged has weights that are good for nothing.

    Raises:
        ModelError: The network's outputs do not fit the task.
    """
    started = time.perf_counter()
    recipe = paced(recipe, len(split.y_train))
    with limited_threads(recipe.threads):
        run = _Run(recipe, prepare(recipe, split, key))
        with isolated_rng("training", key.seed):
            ended = run.train()
        weights = run.best_state if select == "best-val" else copy.deepcopy(run.model.state_dict())
        last, best = run.outcomes() if ended[0] is Status.DONE else (None, None)
        record = run.ledger.record(ended, run.step, last, best, time.perf_counter() - started)
    if ended[0] is Status.DONE:
        run.model.load_state_dict(weights)
    return run.model.eval(), record


class _Run:
    """One run under way."""

    def __init__(self, recipe: Recipe, live: LiveRun) -> None:
        self.recipe, self.live, self.model = recipe, live, live.model
        self.ledger = Ledger(recipe, live.split, live.key, live.lam, live.matrices)
        self.rates = [float(group.get("lr", 0.0)) for group in live.optimizer.param_groups]
        self.step = 0
        # Found once: to look for them at every step costs a hundredth of a small network's training.
        self.dropouts = nn.ModuleList(dropouts(self.model))
        self.best_state: dict[str, Tensor] = {}
        # What the weights gave on validation rows after the last epoch and the best: neither has to be looked at again.
        self.val = self.best_val = torch.empty(0)

    def train(self) -> Ending:
        self._look_at_weights()
        while True:
            self._train_epoch(self.ledger.epoch + 1)
            self._look_at_weights()
            self._look_at_losses()
            if ended := self.ledger.ending():
                return ended

    def outcomes(self) -> tuple[Outcome, Outcome]:
        """Measure the last weights and the best; test rows are looked at here and nowhere else, after training."""
        ledger = self.ledger
        last = self._outcome(ledger.epoch, self.val)
        if ledger.best_epoch == ledger.epoch:
            return last, last
        self.model.load_state_dict(self.best_state)
        return last, self._outcome(ledger.best_epoch, self.best_val)

    def _train_epoch(self, epoch: int) -> None:
        live, recipe = self.live, self.recipe
        self.model.train()
        for rows in batches(order(live.key.seed, epoch, len(live.y)), recipe.batch_size):
            self._set_rates()
            self.step += 1
            set_step(self.dropouts, self.step)
            live.optimizer.zero_grad()
            outputs = self.model(live.x[rows])
            criterion(recipe.task, outputs, live.y[rows]).mean().backward()
            live.optimizer.step()

    def _set_rates(self) -> None:
        if (schedule := self.recipe.lr_schedule) is not None:
            for group, rate in zip(self.live.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * schedule.factor(self.step, rate, rate)

    def _look_at_weights(self) -> None:
        self.ledger.see_norms(
            {
                name: float(torch.linalg.vector_norm(weight.detach(), dtype=torch.float64))
                for name, weight in self.live.matrices.items()
            }
        )

    def _look_at_losses(self) -> None:
        """Add a point to every curve, and keep the weights of the least validation loss."""
        live, points = self.live, {}
        on_train, self.val = self._predict(live.x), self._predict(live.x_val)
        for part, outputs, y in (("train", on_train, live.y), ("val", self.val, live.y_val)):
            rows = per_row(self.recipe.task, outputs, y)
            points.update({f"{part}_{name}": value for name, value in means(rows).items()})
        if self.ledger.see(points):
            self.best_state, self.best_val = copy.deepcopy(self.model.state_dict()), self.val

    def _outcome(self, epoch: int, val: Tensor) -> Outcome:
        x_test = torch.from_numpy(self.live.split.x_test).to(self.recipe.device)
        return self.ledger.outcome(epoch, val.cpu(), self._predict(x_test).cpu())

    def _predict(self, x: Tensor) -> Tensor:
        return torch.cat([predict(self.recipe, self.model, rows) for rows in x.split(EVALUATION_ROWS)])
