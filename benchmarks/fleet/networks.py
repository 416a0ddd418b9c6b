"""The networks that are no chain of Linear layers: a small convolutional net with BatchNorm, and a two-layer transformer.

Plain modules without dropout, so that every peer that takes PyTorch modules trains the very same ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shrinkwise.experiments.records import Variant

CHANNELS = (8, 16)
ROWS, WIDTH, HEADS, FEED_FORWARD, LAYERS = 28, 32, 4, 64, 2


class ConvNet(nn.Module):
    """Two 3x3 convolutions of 8 and 16 channels, each with BatchNorm, ReLU and 2x2 max-pooling; a linear head.

    Shape:
        ``(batch, 1, 28, 28)`` -> ``(batch, n_classes)`` logits.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        first, second = CHANNELS
        self.conv1, self.norm1 = nn.Conv2d(1, first, 3, padding=1), nn.BatchNorm2d(first)
        self.conv2, self.norm2 = nn.Conv2d(first, second, 3, padding=1), nn.BatchNorm2d(second)
        self.head = nn.Linear(second * 7 * 7, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        h = F.max_pool2d(torch.relu(self.norm1(self.conv1(x))), 2)
        h = F.max_pool2d(torch.relu(self.norm2(self.conv2(h))), 2)
        return self.head(h.flatten(1))


class Attention(nn.Module):
    """Self-attention of 4 heads over all tokens.

    Shape:
        ``(batch, token, width)`` -> the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Return what each token gathers from all."""
        parts = self.into(x).unflatten(-1, (3, HEADS, WIDTH // HEADS))
        query, key, value = (part.transpose(1, 2) for part in parts.unbind(2))
        shares = (query @ key.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5).softmax(-1)
        return self.out((shares @ value).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a feed-forward net of 64, each behind a LayerNorm and beside a residual path."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.norm2, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, FEED_FORWARD), nn.Linear(FEED_FORWARD, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens, shape as ``x``."""
        x = x + self.attention(self.norm1(x))
        return x + self.down(torch.relu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """The 28 rows of an image as tokens through two blocks; the mean over tokens goes to a linear head.

    Shape:
        ``(batch, 28, 28)`` -> ``(batch, n_classes)`` logits.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.embed, self.position = nn.Linear(ROWS, WIDTH), nn.Embedding(ROWS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        h = self.embed(x) + self.position.weight
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h).mean(1))


def conv_net(variant: Variant) -> ConvNet:
    """Return a fresh convolutional net for the digits 0-4."""
    return ConvNet(5)


def transformer(variant: Variant) -> Transformer:
    """Return a fresh transformer for the digits 0-4."""
    return Transformer(5)
