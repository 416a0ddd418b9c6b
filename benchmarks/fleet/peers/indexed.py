"""A good plain PyTorch loop: one run after another, batches indexed out of tensors, ``nn.Dropout``, ``torch.optim.SGD``."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.outcomes import Outcome, in_parts
from fleet.peers.one_by_one import Part, Rows, train_each
from fleet.workloads import BATCH, Workload


class Batches:
    """The batches of a seed's rows, epoch by epoch."""

    def __init__(self, workload: Workload, seed: int, part: Part) -> None:
        self.workload, self.seed, self.part, self.epoch = workload, seed, part, 0

    def __iter__(self) -> Iterator[Part]:
        self.epoch += 1
        x, y = self.part
        for rows in self.workload.order(self.seed, self.epoch, len(y)).split(BATCH):
            yield x[rows], y[rows]


def train(workload: Workload, mode: str) -> list[Outcome]:
    """Train every run; ``mode`` is the number of torch's threads."""
    return train_each(workload, mode, _indexed)


def _indexed(workload: Workload, seed: int, *parts: Part) -> Rows:
    return Rows(Batches(workload, seed, parts[0]), *(list(in_parts(*part)) for part in parts))
