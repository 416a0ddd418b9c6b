"""Small trained networks, and their Gauss-Newton matrix built densely by hand."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Letters(nn.Module):
    """Attention over six places, with a fast path that torch takes in eval mode."""

    def __init__(self):
        super().__init__()
        self.letters = nn.Embedding(5, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True, norm_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.block(self.letters(x.long()))[:, -1])


def mlp():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3))


def convnet():
    return nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 3))


def regressor():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))


def rows_for(make, n=40, seed=0):
    """Return a network moved away from its start, rows and targets, float64, and the task."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = make().double()
    if make is Letters:
        x = torch.randint(5, (n, 6), generator=generator).double()
    elif make is convnet:
        x = torch.randn(n, 1, 6, 6, generator=generator, dtype=torch.float64)
        for _ in range(3):
            model(x)
        model.eval()
    else:
        x = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    if make is regressor:
        return model, x, torch.randn(n, generator=generator, dtype=torch.float64), "regression"
    return model, x, torch.randint(3, (n,), generator=generator), "classification"


def dense_gauss_newton(model, x, y, task, parameter):
    """Build the Gauss-Newton matrix of the mean loss by one parameter, output by output and row by row."""
    modes = [module.training for module in model.modules()]
    model.eval()
    total = torch.zeros(parameter.numel(), parameter.numel(), dtype=torch.float64)
    for row, target in zip(x, y, strict=True):
        outputs = model(row[None])[0]
        jacobian = torch.stack([torch.autograd.grad(each, parameter, retain_graph=True)[0].flatten() for each in outputs])

        def loss(given, target=target):
            return F.cross_entropy(given[None], target[None]) if task == "classification" else (given[0] - target).square()

        total += jacobian.T @ torch.autograd.functional.hessian(loss, outputs.detach()) @ jacobian / len(y)
    for module, is_training in zip(model.modules(), modes, strict=True):
        module.training = is_training
    return total
