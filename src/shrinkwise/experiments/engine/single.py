"""The single loop: one run, trained exactly and simply."""

from __future__ import annotations

import copy
import math
import time

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine.build import build_model, predict
from shrinkwise.experiments.engine.metrics import constant_loss, criterion, means, per_row, summary
from shrinkwise.experiments.engine.optimizers import set_lr
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.experiments.engine.threads import limited_threads
from shrinkwise.experiments.records import Outcome, Record, RunKey, Status
from shrinkwise.regularization.apply import param_groups
from shrinkwise.regularization.dropout import place_dropout, set_step
from shrinkwise.regularization.rules import Key, Role, place
from shrinkwise.regularization.strength import to_lam
from shrinkwise.seeding import derive, isolated_rng, torch_generator

_EVALUATION_ROWS = 4096


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
    with limited_threads(recipe.threads):
        run = _Run(recipe, split, key)
        with isolated_rng("training", key.seed):
            status = run.train()
        weights = run.best_state if select == "best-val" else copy.deepcopy(run.model.state_dict())
        record = run.record(status, time.perf_counter() - started)
    if status is Status.DONE:
        run.model.load_state_dict(weights)
    return run.model.eval(), record


class _Run:
    """The live state of one run: network, optimiser, rows as tensors, and what has been seen so far."""

    def __init__(self, recipe: Recipe, split: Split, key: RunKey) -> None:
        self.recipe, self.split, self.key = recipe, split, key
        self.task = recipe.task
        self.x, self.y = torch.from_numpy(split.x_train), torch.from_numpy(split.y_train)
        self.x_val, self.y_val = torch.from_numpy(split.x_val), torch.from_numpy(split.y_val)
        self.lam = to_lam(float(key.variant.get("l2", 0.0)), recipe.unit, n_samples=len(self.y), batch_size=recipe.batch_size)
        self.model = build_model(recipe, key.variant, key.seed, self.x[:2])
        place_dropout(self.model, derive("dropout", key.seed))
        strengths: float | dict[Key, float] = self.lam
        if recipe.profile is not None:
            strengths = {name: self.lam * by for name, by in recipe.profile.items()}
        groups = param_groups(self.model, strengths, apply_to=recipe.apply_to)
        self.optimizer: Optimizer = set_lr(recipe.optimizer(groups), key.variant)
        self.matrices = {p.name: p.parameter for p in place(self.model) if p.role is Role.WEIGHT}
        self.curves: dict[str, list[float]] = {}
        self.norms: dict[str, list[float]] = {name: [] for name in self.matrices}
        self.step = 0
        self.best_loss, self.best_epoch = math.inf, 0
        self.best_state: dict[str, Tensor] = {}

    def train(self) -> Status:
        self._look_at_weights()
        for epoch in range(1, self.recipe.epochs + 1):
            self._train_epoch(epoch)
            self._look_at_weights()
            if not self._look_at_losses(epoch):
                return Status.DIVERGED
        return Status.DONE

    def record(self, status: Status, seconds: float) -> Record:
        last = best = None
        if status is Status.DONE:
            last = self._outcome(self.recipe.epochs)
            best = last
            if self.best_epoch < self.recipe.epochs:
                self.model.load_state_dict(self.best_state)
                best = self._outcome(self.best_epoch)
        split = self.split
        return Record(
            key=self.key,
            status=status,
            lam=self.lam,
            n_train=len(split.y_train),
            n_val=len(split.y_val),
            n_test=len(split.y_test),
            curves={name: tuple(values) for name, values in self.curves.items()},
            weight_norms={name: tuple(values) for name, values in self.norms.items()},
            constant_loss=constant_loss(self.task, self.y),
            last=last,
            best_val=best,
            test_rows=split.test_rows,
            seconds=seconds,
            threads=self.recipe.threads,
            message=""
            if status is Status.DONE
            else f"the loss stopped being a finite number in epoch {len(self.curves['train_loss'])}",
        )

    def _train_epoch(self, epoch: int) -> None:
        self.model.train()
        order = torch.randperm(len(self.y), generator=torch_generator("order", self.key.seed, epoch))
        for rows in _batches(order, self.recipe.batch_size):
            self.step += 1
            set_step(self.model, self.step)
            self.optimizer.zero_grad()
            outputs = self.model(self.x[rows])
            criterion(self.task, outputs, self.y[rows]).mean().backward()
            self.optimizer.step()

    def _look_at_weights(self) -> None:
        for name, weight in self.matrices.items():
            self.norms[name].append(float(torch.linalg.vector_norm(weight.detach(), dtype=torch.float64)))

    def _look_at_losses(self, epoch: int) -> bool:
        """Add a point to every curve, keep the weights of the least validation loss, and say whether all is finite."""
        points = {}
        for part, x, y in (("train", self.x, self.y), ("val", self.x_val, self.y_val)):
            rows = per_row(self.task, self._predict(x), y)
            points.update({f"{part}_{name}": value for name, value in means(rows).items()})
        for name, value in points.items():
            self.curves.setdefault(name, []).append(value)
        if points["val_loss"] < self.best_loss:
            self.best_loss, self.best_epoch = points["val_loss"], epoch
            self.best_state = copy.deepcopy(self.model.state_dict())
        return math.isfinite(points["train_loss"]) and math.isfinite(points["val_loss"])

    def _outcome(self, epoch: int) -> Outcome:
        """Measure the present weights; test rows are looked at here and nowhere else, after training."""
        y_test = torch.from_numpy(self.split.y_test)
        outputs = self._predict(torch.from_numpy(self.split.x_test))
        return Outcome(
            epoch=epoch,
            val=summary(self.task, self._predict(self.x_val), self.y_val, self.split.y_scale),
            test=summary(self.task, outputs, y_test, self.split.y_scale),
            examples=per_row(self.task, outputs, y_test),
        )

    def _predict(self, x: Tensor) -> Tensor:
        return torch.cat([predict(self.recipe, self.model, rows) for rows in x.split(_EVALUATION_ROWS)])


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Cut an order of rows into batches; a last row that would stand alone joins the batch before, since a batch norm needs two."""
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
