"""The loop that most people write: a ``DataLoader`` that hands out rows, ``nn.Dropout``, ``torch.optim.SGD``.

Its batches come in the given order by a sampler of its own; rows are stacked one by one, as a ``DataLoader`` does it by default.
"""

from __future__ import annotations

from collections.abc import Iterator

from fleet.outcomes import Outcome
from fleet.peers.one_by_one import Part, Rows, train_each
from fleet.workloads import BATCH, Workload
from torch.utils.data import DataLoader, Sampler, TensorDataset

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
    return train_each(workload, mode, _loaded)


def _loaded(workload: Workload, seed: int, *parts: Part) -> Rows:
    sets = [TensorDataset(*part) for part in parts]
    batches = DataLoader(sets[0], batch_size=BATCH, sampler=Order(workload, seed, len(sets[0])))
    return Rows(batches, *(DataLoader(each, batch_size=EVALUATION_BATCH) for each in sets))
