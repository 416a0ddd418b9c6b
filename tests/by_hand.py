"""A small network trained by our single loop, and by a loop by hand that says what it should do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shrinkwise.experiments.data import Split, cut, digits
from shrinkwise.experiments.engine import NamedOptimizer, Recipe, train_one
from shrinkwise.experiments.engine.pace import steps_per_epoch
from shrinkwise.experiments.models import MLPFactory
from shrinkwise.experiments.records import Condition, Record, RunKey, Variant
from shrinkwise.regularization.strength.schedules import Schedule
from shrinkwise.seeding import isolated_rng, torch_generator

SPLIT = cut(digits("0-2"), Condition(), seed=5)
LR, EPOCHS, BATCH = 0.05, 3, 32
RECIPE = Recipe(
    model=MLPFactory(64, (16,), 3),
    task="classification",
    n_outputs=3,
    optimizer=NamedOptimizer("sgd", LR),
    epochs=EPOCHS,
    batch_size=BATCH,
)
N = EPOCHS * steps_per_epoch(RECIPE, len(SPLIT.y_train))
Factor = Callable[[int], float]


def run(variant: dict[str, Any], recipe: Recipe = RECIPE, split: Split = SPLIT) -> Record:
    return train_one(recipe, split, RunKey(Variant(**variant), Condition(), 5))


def losses(record: Record) -> np.ndarray:
    assert record.last is not None, record.message
    return record.last.examples["loss"]


def by_hand(
    *,
    term: Callable[[Tensor, Tensor], Tensor] | None = None,
    decoupled: float = 0.0,
    limit: float | None = None,
    factor: Factor = lambda _: 1.0,
    rate: Factor = lambda _: 1.0,
    kind: Any = None,
) -> np.ndarray:
    """Train by hand and return the loss of each test row.

    Args:
        term: Penalty of one weight matrix, given the matrix and what it was at the start; it stands in the loss.
        decoupled: Share of lr by which each step shrinks a matrix, beside the loss.
        limit: Largest norm of a row of a matrix.
        factor: Factor on the penalty at each step, from 0; ``rate`` likewise on the learning rate.
        kind: Makes the optimiser; SGD with momentum if left out.
    """
    with isolated_rng("weights", 5):
        model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3))
    matrices = [model[0].weight, model[2].weight]
    starts = [matrix.detach().clone() for matrix in matrices]
    optimizer = kind(model.parameters()) if kind else torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    lr = optimizer.param_groups[0]["lr"]
    x, y = torch.from_numpy(SPLIT.x_train), torch.from_numpy(SPLIT.y_train)
    step = 0
    for epoch in range(1, EPOCHS + 1):
        for rows in torch.randperm(len(y), generator=torch_generator("order", 5, epoch)).split(BATCH):
            optimizer.param_groups[0]["lr"] = lr * rate(step)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[rows]), y[rows])
            if term is not None:
                loss = loss + factor(step) * sum(term(w, w0) for w, w0 in zip(matrices, starts, strict=True))
            loss.backward()
            with torch.no_grad():
                for matrix in matrices:
                    matrix.mul_(1 - lr * rate(step) * decoupled * factor(step))
                optimizer.step()
                for matrix in matrices if limit is not None else ():
                    norms = matrix.norm(dim=1, keepdim=True)
                    matrix.mul_(norms.clamp(max=limit) / norms)
            step += 1
    with torch.no_grad():
        return F.cross_entropy(model(torch.from_numpy(SPLIT.x_test)), torch.from_numpy(SPLIT.y_test), reduction="none").numpy()


def half_square(w: Tensor, _: Tensor) -> Tensor:
    return 0.2 / 2 * w.square().sum()


class Every(Schedule):
    """Somebody's own: 1 at every k-th step."""

    def __init__(self, k: int, height: float = 1.0) -> None:
        self.k, self.height = k, height

    def factor(self, step: int, lr: float, lr_max: float) -> float:
        return self.height * (step % self.k == 0)
