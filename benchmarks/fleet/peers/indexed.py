"""A good plain PyTorch loop: one run after another, batches indexed out of tensors, ``nn.Dropout``, ``torch.optim.SGD``."""

from __future__ import annotations

import torch
from fleet.outcomes import Curves, Outcome, in_parts, measured
from fleet.workloads import BATCH, LR, MOMENTUM, Workload, is_penalised
from torch import Tensor, nn
from torch.nn import functional as F

from shrinkwise.experiments.records import Variant

Part = tuple[Tensor, Tensor]


def train(workload: Workload, mode: str) -> list[Outcome]:
    """Train every run; ``mode`` is the number of torch's threads."""
    torch.set_num_threads(int(mode))
    outcomes = []
    for seed in workload.seeds:
        split = workload.split(seed)
        arrays = ((split.x_train, split.y_train), (split.x_val, split.y_val), (split.x_test, split.y_test))
        parts = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in arrays]
        outcomes += [train_run(workload, variant, seed, *parts) for variant in workload.variants]
    return outcomes


def train_run(workload: Workload, variant: Variant, seed: int, train: Part, val: Part, test: Part) -> Outcome:
    """Train one run."""
    torch.manual_seed(seed)
    model = workload.plain(variant, seed)
    optimizer = sgd(model, variant)
    x, y = train
    curves = Curves(variant, seed)
    for epoch in range(1, workload.epochs + 1):
        model.train()
        for rows in workload.order(seed, epoch, len(y)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        model.eval()
        curves.add(measured(model, in_parts(x, y)), measured(model, in_parts(*val)))
    return curves.end(measured(model, in_parts(*test)))


def sgd(model: nn.Module, variant: Variant) -> torch.optim.SGD:
    """Return SGD with λ on weights alone."""
    named = list(model.named_parameters())
    weights = [p for name, p in named if is_penalised(name, p)]
    others = [p for name, p in named if not is_penalised(name, p)]
    groups = [{"params": weights, "weight_decay": float(variant["l2"])}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=LR, momentum=MOMENTUM)
