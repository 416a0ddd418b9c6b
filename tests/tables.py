"""A model with a table of words, and the optimisers under which its rows are decayed."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adagrad, SparseAdam

from shrinkwise.seeding import torch_generator

N, LAM = 7, 0.4
MODES = ("touched", "catch_up")
every_mode = pytest.mark.parametrize("mode", MODES)


class Words(nn.Module):
    """A table of words whose rows are pulled together, so that each gradient depends on the weights that were read."""

    def __init__(self, kind="embedding", *, sparse=False, padding_idx=None):
        super().__init__()
        make = nn.Embedding if kind == "embedding" else nn.EmbeddingBag
        options = {} if kind == "embedding" else {"mode": "sum"}
        self.words = make(N, 3, sparse=sparse, padding_idx=padding_idx, dtype=torch.float64, **options)
        with torch.no_grad():
            self.words.weight.copy_(torch.randn(N, 3, dtype=torch.float64, generator=torch_generator("words")))
        self.head = nn.Linear(3, 2, dtype=torch.float64)
        with torch.no_grad():
            for p in self.head.parameters():
                p.copy_(torch.randn(p.shape, dtype=p.dtype, generator=torch_generator("head")))

    def forward(self, rows):
        found = self.words(rows.view(1, -1)) if isinstance(self.words, nn.EmbeddingBag) else self.words(rows)
        return self.head(found).square().mean()


OPTIMIZERS = {
    "sgd": (SGD, False),
    "sgd_sparse": (SGD, True),
    "adagrad": (Adagrad, False),
    "adagrad_sparse": (Adagrad, True),
    "sparse_adam": (SparseAdam, True),
}

every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def optimizer_of(name, model, lr=0.1):
    return OPTIMIZERS[name][0](model.words.parameters(), lr=lr)


def step(model, optimizer, batches, lr, before=lambda: None):
    """Take a step on the mean over some batches of rows, each with a forward and a backward pass of its own."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    for batch in batches:
        (model(torch.tensor(batch)) / len(batches)).backward()
    before()
    optimizer.step()


def assert_same(one, other):
    torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)
