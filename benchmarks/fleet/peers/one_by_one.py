"""What the plain PyTorch loops share: run after run, ``nn.Dropout``, ``torch.optim.SGD``. How rows come is each loop's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from fleet.outcomes import Curves, Outcome, measured
from fleet.workloads import LR, MOMENTUM, Workload, is_penalised
from torch import Tensor, nn
from torch.nn import functional as F

from shrinkwise.experiments.records import Variant

Part = tuple[Tensor, Tensor]
"""Inputs and targets of some rows."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a run, as they are handed out; each can be gone through again and again.

    Attributes:
        batches: Batches of the next epoch.
        train: All training rows, to be measured; ``val`` and ``test`` likewise.
    """

    batches: Iterable[Part]
    train: Iterable[Part]
    val: Iterable[Part]
    test: Iterable[Part]


HandOut = Callable[[Workload, int, Part, Part, Part], Rows]
"""From a seed and its training, validation and test rows to how a run is given them."""


def train_each(workload: Workload, mode: str, hand_out: HandOut) -> list[Outcome]:
    """Train every run; ``mode`` is the number of torch's threads."""
    torch.set_num_threads(int(mode))
    outcomes = []
    for seed in workload.seeds:
        split = workload.split(seed)
        arrays = ((split.x_train, split.y_train), (split.x_val, split.y_val), (split.x_test, split.y_test))
        train, val, test = ((torch.from_numpy(x), torch.from_numpy(y)) for x, y in arrays)
        outcomes += [train_run(workload, each, seed, hand_out(workload, seed, train, val, test)) for each in workload.variants]
    return outcomes


def train_run(workload: Workload, variant: Variant, seed: int, rows: Rows) -> Outcome:
    """Train one run."""
    torch.manual_seed(seed)
    model = workload.plain(variant, seed)
    optimizer = sgd(model, variant)
    curves = Curves(variant, seed)
    for _ in range(workload.epochs):
        model.train()
        for x, y in rows.batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        curves.add(measured(model, rows.train), measured(model, rows.val))
    return curves.end(measured(model, rows.test))


def sgd(model: nn.Module, variant: Variant) -> torch.optim.SGD:
    """Return SGD with λ on weights alone."""
    named = list(model.named_parameters())
    weights = [p for name, p in named if is_penalised(name, p)]
    others = [p for name, p in named if not is_penalised(name, p)]
    groups = [{"params": weights, "weight_decay": float(variant["l2"])}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=LR, momentum=MOMENTUM)
