"""The loop that most people write: a ``DataLoader`` that hands out rows, ``nn.Dropout``, ``torch.optim.SGD``.

Its batches come in the given order by a sampler of its own; rows are stacked one by one, as a ``DataLoader`` does it by default.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from fleet.outcomes import Curves, Outcome, measured
from fleet.peers.indexed import sgd
from fleet.workloads import BATCH, Workload
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler, TensorDataset

from shrinkwise.experiments.records import Variant

EVALUATION_BATCH = 1000


class Order(Sampler[int]):
    """The order of a seed's rows, epoch by epoch."""

    def __init__(self, workload: Workload, seed: int, n_train: int) -> None:
        self.workload, self.seed, self.n_train, self.epoch = workload, seed, n_train, 0

    def __iter__(self) -> Iterator[int]:
        self.epoch += 1
        return iter(self.workload.order(self.seed, self.epoch, self.n_train).tolist())

    def __len__(self) -> int:
        return self.n_train


def train(workload: Workload, mode: str) -> list[Outcome]:
    """Train every run; ``mode`` is the number of torch's threads."""
    torch.set_num_threads(int(mode))
    outcomes = []
    for seed in workload.seeds:
        split = workload.split(seed)
        arrays = ((split.x_train, split.y_train), (split.x_val, split.y_val), (split.x_test, split.y_test))
        sets = [TensorDataset(torch.from_numpy(x), torch.from_numpy(y)) for x, y in arrays]
        outcomes += [train_run(workload, variant, seed, *sets) for variant in workload.variants]
    return outcomes


def train_run(
    workload: Workload, variant: Variant, seed: int, train: TensorDataset, val: TensorDataset, test: TensorDataset
) -> Outcome:
    """Train one run."""
    torch.manual_seed(seed)
    model = workload.plain(variant, seed)
    optimizer = sgd(model, variant)
    batches = DataLoader(train, batch_size=BATCH, sampler=Order(workload, seed, len(train)))
    seen, val_seen, test_seen = (DataLoader(part, batch_size=EVALUATION_BATCH) for part in (train, val, test))
    curves = Curves(variant, seed)
    for _ in range(workload.epochs):
        model.train()
        for x, y in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        curves.add(measured(model, seen), measured(model, val_seen))
    return curves.end(measured(model, test_seen))
