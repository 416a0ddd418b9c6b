"""What everybody hands back of a run, and how the peers in PyTorch measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shrinkwise.experiments.records import Variant

EVALUATION_ROWS = 4096


@dataclass(frozen=True)
class Outcome:
    """What a run was worth; None where a peer's own tool does not measure it.

    Attributes:
        l2: λ.
        dropout: Rate.
        seed: Seed.
        train_loss: Mean training loss without dropout and without the penalty after each epoch; ``val_loss`` likewise.
        val_accuracy: Share of validation rows that are right after each epoch.
        test_loss: Mean loss on test rows at the end; ``test_accuracy`` likewise.
    """

    l2: float
    dropout: float
    seed: int
    train_loss: tuple[float, ...] | None
    val_loss: tuple[float, ...] | None
    val_accuracy: tuple[float, ...]
    test_loss: float | None
    test_accuracy: float | None


class Curves:
    """Collects what is seen of one run.

    Args:
        variant: Variant of the run.
        seed: Seed of the run.
    """

    def __init__(self, variant: Variant, seed: int) -> None:
        self.variant, self.seed = variant, seed
        self.points: list[tuple[float, float, float]] = []

    def add(self, train: tuple[float, float], val: tuple[float, float]) -> None:
        """Take mean loss and accuracy on training and on validation rows after an epoch."""
        self.points.append((train[0], *val))

    def end(self, test: tuple[float, float]) -> Outcome:
        """Return what the run was worth, given mean loss and accuracy on test rows."""
        train_loss, val_loss, val_accuracy = zip(*self.points, strict=True)
        return Outcome(*settings(self.variant), self.seed, train_loss, val_loss, val_accuracy, *test)


def settings(variant: Variant) -> tuple[float, float]:
    """Return λ and dropout rate of a variant."""
    return float(variant["l2"]), float(variant.get("dropout", 0.0))


def measured(model: nn.Module | Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Return mean loss and accuracy of a network that is in eval mode."""
    loss = hits = n = 0.0
    with torch.no_grad():
        for x, y in batches:
            logits = model(x)
            loss += float(F.cross_entropy(logits, y, reduction="sum"))
            hits += float((logits.argmax(1) == y).sum())
            n += len(y)
    return loss / n, hits / n


def in_parts(x: Tensor, y: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    """Cut rows into parts that are large and yet fit the memory."""
    return zip(x.split(EVALUATION_ROWS), y.split(EVALUATION_ROWS), strict=True)
