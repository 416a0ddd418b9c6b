"""The fully connected ReLU network of the classic experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from shrinkwise.experiments.records import Variant
from shrinkwise.regularization.dropout import Backward, Dropout


class MLP(nn.Module):
    """Linear layers with ReLU between them, and a dropout on every hidden layer.

    Weights start as ``torch.nn.Linear`` starts them. Two networks of one shape draw the same initial weights from the same
    generator state whatever their dropout, since dropout draws nothing when it is built.

    Args:
        n_in: Number of input features, the axes of an input flattened; None lets the first rows decide.
        hidden: Widths of the hidden layers; empty for a linear model.
        n_out: Number of outputs: classes, or targets.
        dropout: Makes the dropout of one hidden layer; it acts on what that layer hands to the next.

    Shape:
        ``(batch, ...)`` with ``n_in`` features a row -> ``(batch, n_out)`` logits or predictions, without a softmax.
    """

    def __init__(self, n_in: int | None, hidden: Sequence[int], n_out: int, dropout: Callable[[], Dropout] | None = None) -> None:
        super().__init__()
        widths = [*hidden, n_out]
        first = nn.LazyLinear(widths[0]) if n_in is None else nn.Linear(n_in, widths[0])
        self.layers = nn.ModuleList([first, *(nn.Linear(before, after) for before, after in pairwise(widths))])
        make = dropout or (lambda: Dropout(0.0))
        self.dropouts = nn.ModuleList(make() for _ in hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape ``(batch, n_out)``."""
        first, *rest = self.layers
        h: Tensor = first(x.flatten(1))
        for dropout, layer in zip(self.dropouts, rest, strict=True):
            h = dropout(torch.relu(h), layer)
        return h


@dataclass(frozen=True)
class MLPFactory:
    """Makes the network of a variant, whose ``dropout`` is the rate on every hidden layer.

    Attributes:
        n_in: Number of input features; None lets the first rows decide.
        hidden: Widths of the hidden layers.
        n_out: Number of outputs.
        every: Dropout acts at every so-many-th optimiser step.
        hold: A dropout mask is drawn every so many steps, and held.
        backward: ``masked``, ``identity`` or ``full``: what the backward pass of the dropout does.
    """

    n_in: int | None
    hidden: tuple[int, ...]
    n_out: int
    every: int = 1
    hold: int = 1
    backward: Backward = "masked"

    def __call__(self, variant: Variant) -> MLP:
        """Return a fresh network."""
        rate = float(variant.get("dropout", 0.0))
        return MLP(
            self.n_in, self.hidden, self.n_out, lambda: Dropout(rate, every=self.every, hold=self.hold, backward=self.backward)
        )
