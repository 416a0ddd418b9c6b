"""Networks of many kinds for tests of the fleet: whatever torch.func can stack, no chain of dense layers among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations

from shrinkwise.regularization.dropout import Dropout

N_CLASSES, N_FEATURES = 3, 6


class Net(nn.Module):
    """A body of any modules in a row, behind inputs of any shape, and a linear head."""

    def __init__(self, *body: nn.Module, width: int = N_FEATURES, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.body, self.head, self.shape = nn.ModuleList(body), nn.Linear(width, N_CLASSES), shape

    def forward(self, x):
        h = x.reshape(len(x), *self.shape) if self.shape else x
        for module in self.body:
            h = module(h)
        return self.head(h.flatten(1))


class Ids(nn.Module):
    """Turns numbers into ids of words."""

    def forward(self, x):
        return (x * 2).long().clamp(-3, 3) + 3


class Viewing(nn.Module):
    """Asks for the usual order of memory, which a convolution with channels last does not keep."""

    def forward(self, x):
        return x.view(len(x), -1)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2)

    def forward(self, x):
        return x + torch.relu(self.norm(self.conv(x)))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, N_CLASSES)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.head(self.second(torch.tanh(self.first(x))))


class Shared(nn.Module):
    """One module under two names, with a dropout under two."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        layer, dropout = nn.Linear(6, 6), Dropout(rate)
        self.first = nn.Sequential(layer, nn.Tanh(), dropout)
        self.second = nn.Sequential(layer, nn.Tanh(), dropout)
        self.head = nn.Linear(6, N_CLASSES)

    def forward(self, x):
        return self.head(self.second(self.first(x)))


class Counting(nn.Module):
    """Buffers of its own: one replaced at every pass in training, one written to, one that seldom changes, one left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("peak", torch.tensor(2.2))
        self.register_buffer("scale", torch.full((6,), 0.5), persistent=False)

    def forward(self, x):
        if self.training:
            self.passes = self.passes + 1
            self.mean.lerp_(x.mean(0), 0.1)
            self.peak = torch.maximum(self.peak, x.max())
        return x * self.scale / self.peak - self.mean + torch.log1p(self.passes)


class Dropped(nn.Module):
    """Dropout of any form, behind a norm, so that no chain of dense layers is seen in it."""

    def __init__(self, rate: float, **form: Any) -> None:
        super().__init__()
        self.first, self.norm, self.second, self.head = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, N_CLASSES)
        self.one, self.two = Dropout(rate, **form), Dropout(rate / 2, **form)

    def forward(self, x):
        h = self.one(torch.relu(self.norm(self.first(x))), self.second)
        return self.two(torch.tanh(h), self.head)


def _partly_frozen() -> nn.Module:
    net = Net(nn.Linear(6, 6), nn.Tanh(), nn.LayerNorm(6))
    net.body[0].bias.requires_grad_(False)
    return net


def _with_unused() -> nn.Module:
    net = Net(nn.Linear(6, 6), nn.Tanh())
    net.unused = nn.Linear(4, 4)
    return net


def _encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)


NETS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: Net(nn.Linear(6, 8), nn.ReLU(), width=8),
    "convolution": lambda: Net(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Conv2d(3, 4, (1, 2), padding=1), width=36, shape=(1, 2, 3)),
    "batch norm 1d": lambda: Net(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), width=8),
    "batch norm 2d": lambda: Net(nn.Conv2d(2, 3, 2, padding=1), nn.BatchNorm2d(3), nn.Tanh(), width=24, shape=(2, 1, 3)),
    "layer norm": lambda: Net(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), width=8),
    "group norm": lambda: Net(nn.Conv1d(2, 4, 2), nn.GroupNorm(2, 4), nn.Tanh(), width=8, shape=(2, 3)),
    "pooling": lambda: Net(nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(2, 1), nn.AvgPool2d((1, 2)), width=3, shape=(1, 2, 3)),
    "embedding": lambda: Net(Ids(), nn.Embedding(7, 4), nn.LayerNorm(4), width=24),
    "attention": lambda: Net(nn.Linear(3, 4), Attending(), width=8, shape=(2, 3)),
    "transformer layer": lambda: Net(nn.Linear(2, 4), _encoder(), width=12, shape=(3, 2)),
    "residual block": lambda: Net(Residual(), Residual(), width=6, shape=(2, 1, 3)),
    "tied": Tied,
    "shared module": lambda: Shared(0.3),
    "frozen": _partly_frozen,
    "unused": _with_unused,
    "own buffers": lambda: Net(Counting(), nn.Linear(6, 6), nn.Tanh()),
    "torch dropout at rate 0": lambda: Net(nn.Linear(6, 6), nn.Dropout(0.0)),
    "weight norm": lambda: Net(parametrizations.weight_norm(nn.Linear(6, 6)), nn.Tanh()),
}
